//! Adds tags to a log group, by its ARN. AWS: TagResource.
//!
//! Differs from AWS: there are no destinations to be tagged.

use api::logs::TagResourceRequest;
use api::logs::operations::TagResource;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::{log_group, tags};
use crate::{Logs, faults};

impl Operation<TagResource> for Logs {
    fn permissions(&self, _call: &Call, input: &TagResourceRequest) -> Vec<Permission> {
        vec![Permission::new("logs:TagResource", input.resource_arn.as_deref().unwrap_or("*"))]
    }

    async fn handle(&self, call: &Call, input: TagResourceRequest) -> Result<Unit, Fault> {
        let arn = faults::required(input.resource_arn, "resourceArn")?;
        let name = log_group::name_of_arn(&call.scope, &arn).ok_or_else(faults::no_resource)?;
        let added = faults::required(input.tags, "tags")?;
        tags::check(added.keys())?;

        let find = |snapshot: &store::Snapshot| {
            log_group::find(snapshot, &call.scope, &name).map_err(|_| faults::no_resource())
        };
        tags::change(self, find, |tags| tags.extend(added.clone())).await?;

        Ok(Unit {})
    }
}
