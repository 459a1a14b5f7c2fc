//! Takes back an account setting of one principal. AWS: DeleteAccountSetting.
//!
//! Differs from AWS: the answer shows the value that holds from then on.

use api::ecs::operations::DeleteAccountSetting;
use api::ecs::{DeleteAccountSettingRequest, DeleteAccountSettingResponse};
use domain::AccountSetting;
use store::Transaction;
use store::rows::account_setting_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::account_setting;
use crate::{Ecs, faults};

impl Operation<DeleteAccountSetting> for Ecs {
    fn permissions(&self, _call: &Call, input: &DeleteAccountSettingRequest) -> Vec<Permission> {
        let setting = input.name.clone().unwrap_or_default();
        vec![Permission::new("ecs:DeleteAccountSetting", "*").when("ecs:account-setting", setting)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteAccountSettingRequest,
    ) -> Result<DeleteAccountSettingResponse, Fault> {
        let definition = account_setting::definition(input.name.as_deref().unwrap_or_default())?;
        let (principal, principal_arn) = account_setting::principal(call, input.principal_arn.as_deref())?;

        let key = account_setting_key(&call.scope, definition.name, &principal);
        let update = self.store.update(|_| {
            let mut transaction = Transaction::new();
            transaction.delete::<AccountSetting>(&key);
            Ok::<_, Fault>((transaction, ()))
        });
        update.await.map_err(faults::of_update)?;

        let value =
            account_setting::effective(&self.store.snapshot(), &call.scope, &principal_arn, definition.name);
        let setting = account_setting::describe(definition, &value, &principal_arn);
        Ok(DeleteAccountSettingResponse { setting: Some(setting) })
    }
}
