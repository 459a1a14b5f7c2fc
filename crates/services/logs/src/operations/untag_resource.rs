//! Removes tags from a log group, by its ARN. AWS: UntagResource.
//!
//! Differs from AWS: there are no destinations to be tagged.

use api::logs::UntagResourceRequest;
use api::logs::operations::UntagResource;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::{log_group, tags};
use crate::{Logs, faults};

impl Operation<UntagResource> for Logs {
    fn permissions(&self, _call: &Call, input: &UntagResourceRequest) -> Vec<Permission> {
        vec![Permission::new("logs:UntagResource", input.resource_arn.as_deref().unwrap_or("*"))]
    }

    async fn handle(&self, call: &Call, input: UntagResourceRequest) -> Result<Unit, Fault> {
        let arn = faults::required(input.resource_arn, "resourceArn")?;
        let name = log_group::name_of_arn(&call.scope, &arn).ok_or_else(faults::no_resource)?;
        let keys = faults::required(input.tag_keys, "tagKeys")?;

        let find = |snapshot: &store::Snapshot| {
            log_group::find(snapshot, &call.scope, &name).map_err(|_| faults::no_resource())
        };
        tags::change(self, find, |tags| tags.retain(|key, _| !keys.contains(key))).await?;

        Ok(Unit {})
    }
}
