//! Has the events of a log group kept for ever. AWS: DeleteRetentionPolicy.
//!
//! Differs from AWS: there are no account-level retention policies.

use api::logs::DeleteRetentionPolicyRequest;
use api::logs::operations::DeleteRetentionPolicy;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::log_group;
use crate::{Logs, faults};

impl Operation<DeleteRetentionPolicy> for Logs {
    fn permissions(&self, call: &Call, input: &DeleteRetentionPolicyRequest) -> Vec<Permission> {
        let arn = log_group::permission_arn(&call.scope, input.log_group_name.as_deref(), None);
        vec![Permission::new("logs:DeleteRetentionPolicy", arn)]
    }

    async fn handle(&self, call: &Call, input: DeleteRetentionPolicyRequest) -> Result<Unit, Fault> {
        let name = faults::required(input.log_group_name, "logGroupName")?;

        let outcome = self.store.update(|snapshot| {
            let group = log_group::find(snapshot, &call.scope, &name)?;
            let mut changed = (*group.value).clone();
            changed.retention_in_days = None;
            let mut transaction = Transaction::new();
            transaction.replace(&group, changed);
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::commit)?;

        Ok(Unit {})
    }
}
