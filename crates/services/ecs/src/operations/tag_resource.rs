//! Puts tags on a cluster, task, container instance or task definition. AWS: TagResource. Differs from AWS: nothing known.

use api::ecs::operations::TagResource;
use api::ecs::{TagResourceRequest, TagResourceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{tag, tagged};
use crate::{Ecs, faults};

impl Operation<TagResource> for Ecs {
    fn permissions(&self, _call: &Call, input: &TagResourceRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:TagResource", input.resource_arn.clone().unwrap_or_default())]
    }

    async fn handle(&self, call: &Call, input: TagResourceRequest) -> Result<TagResourceResponse, Fault> {
        let resource = tagged::parse(call, input.resource_arn.as_deref().unwrap_or_default())?;
        let tags = tag::parse(input.tags)?;

        let update = self.store.update(|snapshot| {
            tagged::change(snapshot, call, &resource, |there| tag::merge(there, tags.clone()))
        });
        update.await.map_err(faults::of_update)?;

        Ok(TagResourceResponse {})
    }
}
