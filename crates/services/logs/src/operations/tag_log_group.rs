//! Adds tags to a log group, by its name. AWS: TagLogGroup.
//!
//! Differs from AWS: nothing known.

use api::logs::TagLogGroupRequest;
use api::logs::operations::TagLogGroup;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::{log_group, tags};
use crate::{Logs, faults};

impl Operation<TagLogGroup> for Logs {
    fn permissions(&self, call: &Call, input: &TagLogGroupRequest) -> Vec<Permission> {
        let arn = log_group::permission_arn(&call.scope, input.log_group_name.as_deref(), None);
        vec![Permission::new("logs:TagLogGroup", arn)]
    }

    async fn handle(&self, call: &Call, input: TagLogGroupRequest) -> Result<Unit, Fault> {
        let name = faults::required(input.log_group_name, "logGroupName")?;
        let added = faults::required(input.tags, "tags")?;
        tags::check(added.keys())?;

        let find = |snapshot: &store::Snapshot| log_group::find(snapshot, &call.scope, &name);
        tags::change(self, find, |tags| tags.extend(added.clone())).await?;

        Ok(Unit {})
    }
}
