//! The tags of a log group, by its ARN. AWS: ListTagsForResource.
//!
//! Differs from AWS: there are no destinations to be tagged.

use api::logs::operations::ListTagsForResource;
use api::logs::{ListTagsForResourceRequest, ListTagsForResourceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::log_group;
use crate::{Logs, faults};

impl Operation<ListTagsForResource> for Logs {
    fn permissions(&self, _call: &Call, input: &ListTagsForResourceRequest) -> Vec<Permission> {
        vec![Permission::new("logs:ListTagsForResource", input.resource_arn.as_deref().unwrap_or("*"))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Fault> {
        let arn = faults::required(input.resource_arn, "resourceArn")?;
        let name = log_group::name_of_arn(&call.scope, &arn).ok_or_else(faults::no_resource)?;

        let group = log_group::find(&self.store.snapshot(), &call.scope, &name);

        Ok(ListTagsForResourceResponse { tags: Some(group.map_err(|_| faults::no_resource())?.tags.clone()) })
    }
}
