//! Removes tags from a log group, by its name. AWS: UntagLogGroup.
//!
//! Differs from AWS: nothing known.

use api::logs::UntagLogGroupRequest;
use api::logs::operations::UntagLogGroup;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::{log_group, tags};
use crate::{Logs, faults};

impl Operation<UntagLogGroup> for Logs {
    fn permissions(&self, call: &Call, input: &UntagLogGroupRequest) -> Vec<Permission> {
        let arn = log_group::permission_arn(&call.scope, input.log_group_name.as_deref(), None);
        vec![Permission::new("logs:UntagLogGroup", arn)]
    }

    async fn handle(&self, call: &Call, input: UntagLogGroupRequest) -> Result<Unit, Fault> {
        let name = faults::required(input.log_group_name, "logGroupName")?;
        let keys = faults::required(input.tags, "tags")?;

        let find = |snapshot: &store::Snapshot| log_group::find(snapshot, &call.scope, &name);
        tags::change(self, find, |tags| tags.retain(|key, _| !keys.contains(key))).await?;

        Ok(Unit {})
    }
}
