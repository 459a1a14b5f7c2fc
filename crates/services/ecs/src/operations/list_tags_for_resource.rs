//! Lists the tags of a resource. AWS: ListTagsForResource. Differs from AWS: nothing known.

use api::ecs::operations::ListTagsForResource;
use api::ecs::{ListTagsForResourceRequest, ListTagsForResourceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{tag, tagged};
use crate::{Ecs, faults};

impl Operation<ListTagsForResource> for Ecs {
    fn permissions(&self, _call: &Call, input: &ListTagsForResourceRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:ListTagsForResource", input.resource_arn.clone().unwrap_or_default())]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Fault> {
        let resource = tagged::parse(call, input.resource_arn.as_deref().unwrap_or_default())?;

        // This operation has no ResourceNotFoundException in the model.
        let tags = tagged::tags(&self.store.snapshot(), call, &resource).map_err(|fault| {
            if fault.code() == "ResourceNotFoundException" { faults::invalid(fault.message()) } else { fault }
        })?;
        Ok(ListTagsForResourceResponse { tags: Some(tag::describe(&tags)) })
    }
}
