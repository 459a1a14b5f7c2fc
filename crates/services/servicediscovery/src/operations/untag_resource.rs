//! Removes tags of a namespace or service. AWS: UntagResource.

use api::servicediscovery::operations::UntagResource;
use api::servicediscovery::{UntagResourceRequest, UntagResourceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::tag::Tagged;
use crate::{Servicediscovery, faults};

impl Operation<UntagResource> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &UntagResourceRequest) -> Vec<Permission> {
        let arn = input.resource_arn.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:UntagResource", arn)]
    }

    async fn handle(&self, call: &Call, input: UntagResourceRequest) -> Result<UntagResourceResponse, Fault> {
        let arn = input.resource_arn.unwrap_or_default();
        let removed = input.tag_keys.unwrap_or_default();

        let outcome = self.store.update(|snapshot| {
            let tagged = Tagged::find(snapshot, &call.scope, &arn)?;
            let mut tags = tagged.tags().to_vec();
            tags.retain(|tag| !removed.contains(&tag.key));
            Ok((tagged.replace(tags), ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(UntagResourceResponse {})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn tags_are_removed() {
        let world = World::new();
        let tags = json!([{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]);
        let id = world.made("CreateHttpNamespace", json!({"Name": "web", "Tags": tags})).await;
        let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:namespace/{id}");
        world.ok("UntagResource", json!({"ResourceARN": arn, "TagKeys": ["a", "z"]})).await;
        let left = world.ok("ListTagsForResource", json!({"ResourceARN": arn})).await["Tags"].clone();
        assert_eq!(left, json!([{"Key": "b", "Value": "2"}]));
        let refused = world.refused("UntagResource", json!({"ResourceARN": "arn:x", "TagKeys": []})).await;
        assert!(refused.starts_with("ResourceNotFoundException: "), "{refused}");
    }
}
