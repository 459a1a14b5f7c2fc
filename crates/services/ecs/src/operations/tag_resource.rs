//! Puts tags on a resource. AWS: TagResource. Differs from AWS: nothing known.

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
        let tags = tag::parse_with_wishes(input.tags, tagged::on(&resource))?;

        let update = self.store.update(|snapshot| {
            tagged::change(snapshot, call, &resource, |there| tag::merge(there, tags.clone()))
        });
        update.await.map_err(faults::of_update)?;

        Ok(TagResourceResponse {})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn every_kind_of_resource() {
        let (world, instance) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web"})).await;
        let prefix = "arn:aws:ecs:us-east-1:000000000000";
        let arns = [
            format!("{prefix}:cluster/default"),
            format!("{prefix}:task-definition/web:1"),
            instance,
            text(&run, "/tasks/0/taskArn"),
        ];
        for arn in arns {
            let tags = json!([{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]);
            world.ok("TagResource", json!({"resourceArn": arn, "tags": tags})).await;
            let over = json!([{"key": "a", "value": "3"}]);
            world.ok("TagResource", json!({"resourceArn": arn, "tags": over})).await;
            world.ok("UntagResource", json!({"resourceArn": arn, "tagKeys": ["b"]})).await;
            let listed = world.ok("ListTagsForResource", json!({"resourceArn": arn})).await;
            assert_eq!(listed["tags"], over, "{arn}");
        }
        let made = world
            .ok("CreateService", json!({"serviceName": "s", "deploymentController": {"type": "EXTERNAL"}}));
        let service = text(&made.await, "/service/serviceArn");
        let body = json!({"cluster": "default", "service": "s", "taskDefinition": "web"});
        let task_set = text(&world.ok("CreateTaskSet", body).await, "/taskSet/taskSetArn");
        for arn in [service, task_set] {
            let tags = json!([{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]);
            world.ok("TagResource", json!({"resourceArn": arn, "tags": tags})).await;
            world.ok("UntagResource", json!({"resourceArn": arn, "tagKeys": ["b"]})).await;
            let listed = world.ok("ListTagsForResource", json!({"resourceArn": arn})).await;
            assert_eq!(listed["tags"], json!([{"key": "a", "value": "1"}]), "{arn}");
        }
        let on = |arn: String| json!({"resourceArn": arn, "tags": [{"key": "a", "value": "b"}]});
        assert_eq!(
            world.refused("TagResource", on(format!("{prefix}:cluster/ghost"))).await,
            "ClusterNotFoundException: Cluster not found."
        );
        let ghost = format!("{prefix}:task/default/{}", "0".repeat(32));
        assert!(
            world.refused("TagResource", on(ghost.clone())).await.starts_with("ResourceNotFoundException")
        );
        assert!(
            world
                .refused("ListTagsForResource", json!({"resourceArn": ghost}))
                .await
                .starts_with("InvalidParameter")
        );
        assert_eq!(
            world.refused("TagResource", on("x".into())).await,
            "InvalidParameterException: Invalid arn syntax."
        );
        for ghost in ["service/default/ghost", "task-set/default/s/ecs-svc/1"] {
            let refused = world.refused("TagResource", on(format!("{prefix}:{ghost}"))).await;
            assert!(refused.starts_with("ResourceNotFoundException"), "{refused}");
        }
        assert_eq!(
            world.refused("TagResource", on(format!("{prefix}:service/s"))).await,
            "InvalidParameterException: Long arn format must be used for tagging operations"
        );
        world.refused("TagResource", on(format!("{prefix}:colour/red"))).await;
        world.refused("TagResource", on("arn:aws:s3:::bucket".into())).await;
    }
}
