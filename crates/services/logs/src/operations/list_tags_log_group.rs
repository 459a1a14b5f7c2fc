//! The tags of a log group, by its name. AWS: ListTagsLogGroup.
//!
//! Differs from AWS: nothing known.

use api::logs::operations::ListTagsLogGroup;
use api::logs::{ListTagsLogGroupRequest, ListTagsLogGroupResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::log_group;
use crate::{Logs, faults};

impl Operation<ListTagsLogGroup> for Logs {
    fn permissions(&self, call: &Call, input: &ListTagsLogGroupRequest) -> Vec<Permission> {
        let arn = log_group::permission_arn(&call.scope, input.log_group_name.as_deref(), None);
        vec![Permission::new("logs:ListTagsLogGroup", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListTagsLogGroupRequest,
    ) -> Result<ListTagsLogGroupResponse, Fault> {
        let name = faults::required(input.log_group_name, "logGroupName")?;

        let group = log_group::find(&self.store.snapshot(), &call.scope, &name)?;

        Ok(ListTagsLogGroupResponse { tags: Some(group.tags.clone()) })
    }
}
