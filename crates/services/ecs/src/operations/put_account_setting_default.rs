//! Sets an account setting for everyone who has none of their own. AWS: PutAccountSettingDefault.
//!
//! Differs from AWS: as PutAccountSetting does.

use api::ecs::operations::PutAccountSettingDefault;
use api::ecs::{PutAccountSettingDefaultRequest, PutAccountSettingDefaultResponse};
use domain::{AccountSetting, SettingPrincipal};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::account_setting;
use crate::{Ecs, faults};

impl Operation<PutAccountSettingDefault> for Ecs {
    fn permissions(&self, _call: &Call, input: &PutAccountSettingDefaultRequest) -> Vec<Permission> {
        let setting = input.name.clone().unwrap_or_default();
        vec![Permission::new("ecs:PutAccountSettingDefault", "*").when("ecs:account-setting", setting)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: PutAccountSettingDefaultRequest,
    ) -> Result<PutAccountSettingDefaultResponse, Fault> {
        let definition = account_setting::definition(input.name.as_deref().unwrap_or_default())?;
        let value = input.value.unwrap_or_default();
        definition.check(&value)?;

        let update = self.store.update(|_| {
            let mut transaction = Transaction::new();
            transaction.put(AccountSetting {
                scope: call.scope.clone(),
                name: definition.name.to_owned(),
                principal: SettingPrincipal::Default,
                value: value.clone(),
            });
            Ok::<_, Fault>((transaction, ()))
        });
        update.await.map_err(faults::of_update)?;

        let root = account_setting::root_arn(&call.scope.account);
        Ok(PutAccountSettingDefaultResponse {
            setting: Some(account_setting::describe(definition, &value, &root)),
        })
    }
}
