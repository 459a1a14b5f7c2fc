//! Deletes a log group with all its streams and events. AWS: DeleteLogGroup.
//!
//! The commit removes the group's row, and with it everything is out of sight; streams and files are cleared away behind it.
//!
//! Differs from AWS: nothing known.

use api::logs::DeleteLogGroupRequest;
use api::logs::faults::validation_exception;
use api::logs::operations::DeleteLogGroup;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::log_group;
use crate::{Deleted, Logs, faults};

impl Operation<DeleteLogGroup> for Logs {
    fn permissions(&self, call: &Call, input: &DeleteLogGroupRequest) -> Vec<Permission> {
        let arn = log_group::permission_arn(&call.scope, input.log_group_name.as_deref(), None);
        vec![Permission::new("logs:DeleteLogGroup", arn)]
    }

    async fn handle(&self, call: &Call, input: DeleteLogGroupRequest) -> Result<Unit, Fault> {
        let name = faults::required(input.log_group_name, "logGroupName")?;

        let outcome = self.store.update(|snapshot| {
            let group = log_group::find(snapshot, &call.scope, &name)?;
            if group.deletion_protection_enabled {
                return Err(validation_exception("The specified log group has deletion protection enabled."));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&group);
            Ok((transaction, group.id))
        });
        let id = outcome.await.map_err(faults::commit)?;
        self.clear_away(Deleted::Group(call.scope.clone(), id));

        Ok(Unit {})
    }
}
