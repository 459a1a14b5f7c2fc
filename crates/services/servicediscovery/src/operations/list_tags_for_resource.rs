//! Lists the tags of a namespace or service. AWS: ListTagsForResource.

use api::servicediscovery::operations::ListTagsForResource;
use api::servicediscovery::{ListTagsForResourceRequest, ListTagsForResourceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::tag::{self, Tagged};

impl Operation<ListTagsForResource> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &ListTagsForResourceRequest) -> Vec<Permission> {
        let arn = input.resource_arn.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:ListTagsForResource", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Fault> {
        let arn = input.resource_arn.unwrap_or_default();
        let tagged = Tagged::find(&self.store.snapshot(), &call.scope, &arn)?;

        Ok(ListTagsForResourceResponse { tags: Some(tag::describe(tagged.tags())) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn tags_of_a_namespace_and_of_nothing() {
        let world = World::new();
        let tags = json!([{"Key": "a", "Value": "b"}]);
        let id = world.made("CreateHttpNamespace", json!({"Name": "web", "Tags": tags})).await;
        let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:namespace/{id}");
        assert_eq!(world.ok("ListTagsForResource", json!({"ResourceARN": arn})).await["Tags"], tags);
        for arn in [format!("{arn}x"), id] {
            let refused = world.refused("ListTagsForResource", json!({"ResourceARN": arn})).await;
            assert!(refused.starts_with("ResourceNotFoundException: "), "{refused}");
        }
    }
}
