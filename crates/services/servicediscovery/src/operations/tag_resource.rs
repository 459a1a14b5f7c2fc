//! Adds tags to a namespace or service. AWS: TagResource.

use api::servicediscovery::operations::TagResource;
use api::servicediscovery::{TagResourceRequest, TagResourceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::tag::{self, Tagged};
use crate::{Servicediscovery, faults};

impl Operation<TagResource> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &TagResourceRequest) -> Vec<Permission> {
        let arn = input.resource_arn.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:TagResource", arn)]
    }

    async fn handle(&self, call: &Call, input: TagResourceRequest) -> Result<TagResourceResponse, Fault> {
        let arn = input.resource_arn.unwrap_or_default();
        let added = tag::parse(input.tags)?;

        let outcome = self.store.update(|snapshot| {
            let tagged = Tagged::find(snapshot, &call.scope, &arn)?;
            let mut tags = tagged.tags().to_vec();
            tag::merge(&mut tags, &added, &arn)?;
            Ok((tagged.replace(tags), ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(TagResourceResponse {})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    #[tokio::test]
    async fn tags_are_added_up_to_fifty() {
        let world = World::new();
        let service = world.backend(&[]).await;
        let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:service/{service}");
        let tag = |key: &str, value: &str| json!({"Key": key, "Value": value});
        let body = json!({"ResourceARN": arn, "Tags": [tag("a", "1"), tag("b", "2")]});
        world.ok("TagResource", body).await;
        world.ok("TagResource", json!({"ResourceARN": arn, "Tags": [tag("a", "3")]})).await;
        let tags = world.ok("ListTagsForResource", json!({"ResourceARN": arn})).await["Tags"].clone();
        assert_eq!(tags, json!([tag("a", "3"), tag("b", "2")]));
        let many: Vec<Value> = (0..49).map(|number| tag(&format!("k{number}"), "")).collect();
        let (_, answer) = world.ask("TagResource", json!({"ResourceARN": arn, "Tags": many})).await;
        assert_eq!(answer["ResourceName"], arn.as_str());
        for (body, code) in [
            (json!({"ResourceARN": arn, "Tags": many}), "TooManyTagsException: "),
            (json!({"ResourceARN": arn, "Tags": [tag("aws:a", "")]}), "InvalidInput: "),
            (json!({"ResourceARN": "arn:x", "Tags": []}), "ResourceNotFoundException: "),
        ] {
            let refused = world.refused("TagResource", body).await;
            assert!(refused.starts_with(code), "{refused}");
        }
    }
}
