//! Takes tags off a resource. AWS: UntagResource. Differs from AWS: nothing known.

use api::ecs::operations::UntagResource;
use api::ecs::{UntagResourceRequest, UntagResourceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::launch::wishes::is_reserved;
use crate::resources::{tag, tagged};
use crate::{Ecs, faults};

impl Operation<UntagResource> for Ecs {
    fn permissions(&self, _call: &Call, input: &UntagResourceRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:UntagResource", input.resource_arn.clone().unwrap_or_default())]
    }

    async fn handle(&self, call: &Call, input: UntagResourceRequest) -> Result<UntagResourceResponse, Fault> {
        let resource = tagged::parse(call, input.resource_arn.as_deref().unwrap_or_default())?;
        let keys = input.tag_keys.unwrap_or_default();
        keys.iter().try_for_each(|key| tag::check_key(key))?;
        if matches!(resource, tagged::Tagged::Task(..)) && keys.iter().any(|key| is_reserved(key)) {
            return Err(faults::invalid("A task keeps the reserved tags that it was started with."));
        }

        let update = self.store.update(|snapshot| {
            tagged::change(snapshot, call, &resource, |there| {
                there.retain(|tag| !keys.contains(&tag.key));
                Ok(())
            })
        });
        update.await.map_err(faults::of_update)?;

        Ok(UntagResourceResponse {})
    }
}
