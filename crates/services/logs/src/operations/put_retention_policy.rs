//! Says how many days the events of a log group are kept. AWS: PutRetentionPolicy.
//!
//! Differs from AWS: there are no account-level retention policies.

use api::logs::PutRetentionPolicyRequest;
use api::logs::operations::PutRetentionPolicy;
use domain::RETENTION_DAYS;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::log_group;
use crate::{Logs, faults};

impl Operation<PutRetentionPolicy> for Logs {
    fn permissions(&self, call: &Call, input: &PutRetentionPolicyRequest) -> Vec<Permission> {
        let arn = log_group::permission_arn(&call.scope, input.log_group_name.as_deref(), None);
        vec![Permission::new("logs:PutRetentionPolicy", arn)]
    }

    async fn handle(&self, call: &Call, input: PutRetentionPolicyRequest) -> Result<Unit, Fault> {
        let name = faults::required(input.log_group_name, "logGroupName")?;
        let days = faults::required(input.retention_in_days, "retentionInDays")?;
        if !RETENTION_DAYS.contains(&days) {
            let allowed = RETENTION_DAYS.map(|days| days.to_string()).join(", ");
            return Err(faults::invalid(format!(
                "1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: [{allowed}]"
            )));
        }

        let outcome = self.store.update(|snapshot| {
            let group = log_group::find(snapshot, &call.scope, &name)?;
            let mut changed = (*group.value).clone();
            changed.retention_in_days = Some(days);
            let mut transaction = Transaction::new();
            transaction.replace(&group, changed);
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::commit)?;

        Ok(Unit {})
    }
}
