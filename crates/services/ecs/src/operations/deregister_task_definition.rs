//! Makes a task definition INACTIVE. AWS: DeregisterTaskDefinition. Differs from AWS: nothing known.

use api::ecs::operations::DeregisterTaskDefinition;
use api::ecs::{DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse};
use domain::{TaskDefinition, TaskDefinitionStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::task_definition;
use crate::{Ecs, faults};

impl Operation<DeregisterTaskDefinition> for Ecs {
    fn permissions(&self, _call: &Call, _input: &DeregisterTaskDefinitionRequest) -> Vec<Permission> {
        // AWS knows no resource for this action.
        vec![Permission::new("ecs:DeregisterTaskDefinition", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeregisterTaskDefinitionRequest,
    ) -> Result<DeregisterTaskDefinitionResponse, Fault> {
        let reference = task_definition::parse(call, input.task_definition.as_deref().unwrap_or_default())?;
        if reference.revision.is_none() {
            return Err(faults::client("Revision is missing."));
        }

        let update = self.store.update(|snapshot| {
            let there = task_definition::find(snapshot, &call.scope, &reference)
                .ok_or_else(|| faults::client("The specified task definition does not exist."))?;
            if there.status != TaskDefinitionStatus::Active {
                return Err(faults::client(
                    "The specified task definition is inactive. Specify a valid task definition and try again.",
                ));
            }
            let mut next = TaskDefinition::clone(&there);
            next.status = TaskDefinitionStatus::Inactive;
            next.deregistered_at = Some(call.now);
            let mut transaction = Transaction::new();
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let definition = update.await.map_err(faults::of_update)?;

        Ok(DeregisterTaskDefinitionResponse {
            task_definition: Some(task_definition::describe(&definition)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn from_active_to_gone() {
        let world = World::with_cluster().await;
        world.register("web").await;
        world.register("web").await;
        let (one, two) = ("web:1", "web:2");
        assert_eq!(
            world.refused("DeregisterTaskDefinition", json!({"taskDefinition": "web"})).await,
            "ClientException: Revision is missing."
        );
        let failed = world.ok("DeleteTaskDefinitions", json!({"taskDefinitions": [one, "web:9"]})).await;
        assert!(text(&failed, "/failures/0/reason").contains("still in ACTIVE status"));
        assert!(text(&failed, "/failures/1/reason").contains("does not exist"));
        let gone = world.ok("DeregisterTaskDefinition", json!({"taskDefinition": two})).await;
        assert_eq!(text(&gone, "/taskDefinition/status"), "INACTIVE");
        assert!(gone["taskDefinition"]["deregisteredAt"].is_number());
        let latest = world.ok("DescribeTaskDefinition", json!({"taskDefinition": "web"})).await;
        assert_eq!(latest["taskDefinition"]["revision"], json!(1));
        assert!(
            world
                .refused("DeregisterTaskDefinition", json!({"taskDefinition": two}))
                .await
                .contains("inactive")
        );
        assert_eq!(
            world.refused("RunTask", json!({"taskDefinition": two})).await,
            "ClientException: TaskDefinition is inactive"
        );
        let listed = |status: &'static str| {
            let world = &world;
            async move {
                world.ok("ListTaskDefinitions", json!({"status": status})).await["taskDefinitionArns"].clone()
            }
        };
        let arn =
            |revision| json!([format!("arn:aws:ecs:us-east-1:000000000000:task-definition/web:{revision}")]);
        assert_eq!((listed("ACTIVE").await, listed("INACTIVE").await), (arn(1), arn(2)));
        let deleted = world.ok("DeleteTaskDefinitions", json!({"taskDefinitions": [two]})).await;
        assert_eq!(text(&deleted, "/taskDefinitions/0/status"), "DELETE_IN_PROGRESS");
        assert_eq!(listed("DELETE_IN_PROGRESS").await, arn(2));
        world.clock.advance_millis(2 * 3600 * 1000);
        world.register("web").await;
        assert_eq!(listed("DELETE_IN_PROGRESS").await, json!([]));
        let newest = world.ok("DescribeTaskDefinition", json!({"taskDefinition": "web"})).await;
        assert_eq!(newest["taskDefinition"]["revision"], json!(3), "revisions are never used twice");
        assert_eq!(
            world.refused("DescribeTaskDefinition", json!({"taskDefinition": two})).await,
            "ClientException: Unable to describe task definition."
        );
    }

    #[tokio::test]
    async fn families_and_order() {
        let world = World::new();
        for family in ["api", "web", "web", "worker"] {
            world.register(family).await;
        }
        world.ok("DeregisterTaskDefinition", json!({"taskDefinition": "api:1"})).await;
        let families = |body| {
            let world = &world;
            async move { world.ok("ListTaskDefinitionFamilies", body).await["families"].clone() }
        };
        assert_eq!(families(json!({})).await, json!(["api", "web", "worker"]));
        assert_eq!(families(json!({"status": "ACTIVE"})).await, json!(["web", "worker"]));
        assert_eq!(families(json!({"status": "INACTIVE"})).await, json!(["api"]));
        assert_eq!(families(json!({"familyPrefix": "w", "maxResults": 1})).await, json!(["web"]));
        let down = world.ok("ListTaskDefinitions", json!({"sort": "DESC", "maxResults": 2})).await;
        let names = |answer: &serde_json::Value| -> Vec<String> {
            let arns = answer["taskDefinitionArns"].as_array().unwrap();
            arns.iter().map(|arn| arn.as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&down), ["worker:1", "web:2"]);
        let rest = world
            .ok(
                "ListTaskDefinitions",
                json!({"sort": "DESC", "maxResults": 2, "nextToken": down["nextToken"]}),
            )
            .await;
        assert_eq!(names(&rest), ["web:1"]);
        let web = world.ok("ListTaskDefinitions", json!({"familyPrefix": "web"})).await;
        assert_eq!(names(&web), ["web:1", "web:2"]);
    }
}
