//! Sets an account setting for one principal. AWS: PutAccountSetting.
//!
//! The root user's own settings are the account's: they hold for everyone who has none of their own.
//!
//! Differs from AWS: `awsvpcTrunking`, `fargateFIPSMode`, `fargateTaskRetirementWaitPeriod` and `fargateEventWindows` are
//! kept and shown, and steer nothing: there is no AWS infrastructure here that they could speak of.

use api::ecs::operations::PutAccountSetting;
use api::ecs::{PutAccountSettingRequest, PutAccountSettingResponse};
use domain::AccountSetting;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::account_setting;
use crate::{Ecs, faults};

impl Operation<PutAccountSetting> for Ecs {
    fn permissions(&self, _call: &Call, input: &PutAccountSettingRequest) -> Vec<Permission> {
        let setting = input.name.clone().unwrap_or_default();
        vec![Permission::new("ecs:PutAccountSetting", "*").when("ecs:account-setting", setting)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: PutAccountSettingRequest,
    ) -> Result<PutAccountSettingResponse, Fault> {
        let definition = account_setting::definition(input.name.as_deref().unwrap_or_default())?;
        let value = input.value.unwrap_or_default();
        definition.check(&value)?;
        let (principal, principal_arn) = account_setting::principal(call, input.principal_arn.as_deref())?;

        let update = self.store.update(|_| {
            let mut transaction = Transaction::new();
            transaction.put(AccountSetting {
                scope: call.scope.clone(),
                name: definition.name.to_owned(),
                principal: principal.clone(),
                value: value.clone(),
            });
            Ok::<_, Fault>((transaction, ()))
        });
        update.await.map_err(faults::of_update)?;

        let setting = account_setting::describe(definition, &value, &principal_arn);
        Ok(PutAccountSettingResponse { setting: Some(setting) })
    }
}
