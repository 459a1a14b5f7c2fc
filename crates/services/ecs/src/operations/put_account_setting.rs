//! Sets an account setting for one principal. AWS: PutAccountSetting.
//!
//! The root user's own settings are the account's: they hold for everyone who has none of their own.
//!
//! Differs from AWS: of the settings that can be changed, `defaultLogDriverMode` acts. These are kept and shown, and have no
//! other effect: `awsvpcTrunking` (task interfaces are not bounded by a machine's network cards), `containerInsights` (a
//! new cluster shows it; there are no CloudWatch metrics), `fargateEventWindows`, `fargateFIPSMode` and
//! `fargateTaskRetirementWaitPeriod` (nothing is ever retired), and `tagResourceAuthorization` (the root user may do
//! everything, and there are no IAM policies yet).

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
