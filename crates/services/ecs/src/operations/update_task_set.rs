//! Changes how large a task set is. AWS: UpdateTaskSet. Differs from AWS: nothing known.

use api::ecs::operations::UpdateTaskSet;
use api::ecs::{UpdateTaskSetRequest, UpdateTaskSetResponse};
use domain::{StabilityStatus, TaskSet};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, service, task_set};
use crate::{Ecs, faults};

impl Operation<UpdateTaskSet> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateTaskSetRequest) -> Vec<Permission> {
        let (cluster, of_service) = (input.cluster.as_deref(), input.service.as_deref());
        let resource = task_set::arn_for_permission(call, cluster, of_service, input.task_set.as_deref());
        vec![
            Permission::new("ecs:UpdateTaskSet", resource)
                .when("ecs:cluster", cluster::arn_for_permission(call, cluster))
                .when("ecs:service", service::arn_for_permission(call, cluster, of_service)),
        ]
    }

    async fn handle(&self, call: &Call, input: UpdateTaskSetRequest) -> Result<UpdateTaskSetResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let name = service::name(call, &cluster_name, input.service.as_deref().unwrap_or_default())?;
        let scale = task_set::scale(input.scale.as_ref())?;

        let _turn = service::turn(&self.store, call, &cluster_name, &name).await;
        let update = self.store.update(|snapshot| {
            cluster::get(snapshot, &call.scope, &cluster_name)?;
            let of_service = service::with_task_sets(snapshot, &call.scope, &cluster_name, &name)?;
            let id = task_set::id(call, &of_service, input.task_set.as_deref().unwrap_or_default())?;
            let there = task_set::live(snapshot, &of_service, &id)?;
            let next = TaskSet {
                scale_hundredths_percent: scale,
                computed_desired_count: task_set::computed_desired_count(of_service.desired_count, scale),
                stability_status: StabilityStatus::Stabilizing,
                stability_status_at: call.now,
                updated_at: call.now,
                ..TaskSet::clone(&there)
            };
            let mut transaction = Transaction::new();
            // A desired count that changes meanwhile counts too.
            transaction.require_unchanged(&of_service).replace(&there, next.clone());
            Ok((transaction, (of_service, next)))
        });
        let (of_service, updated) = update.await.map_err(faults::of_update)?;

        let described = task_set::describe_counted(&self.store.snapshot(), &of_service, &updated)?;
        Ok(UpdateTaskSetResponse { task_set: Some(described) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn refusals() {
        let world = World::with_cluster().await;
        let external = json!({"serviceName": "s", "deploymentController": {"type": "EXTERNAL"}});
        world.ok("CreateService", external).await;
        let body = |more: serde_json::Value| {
            let mut body = json!({"cluster": "default", "service": "s", "taskSet": "ecs-svc/1",
                "scale": {"value": 50.0, "unit": "PERCENT"}});
            for (key, value) in more.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        for (more, code) in [
            (json!({}), "TaskSetNotFoundException"),
            (json!({"taskSet": "1"}), "InvalidParameterException"),
            (
                json!({"taskSet": "arn:aws:ecs:us-east-1:000000000000:task-set/default/other/ecs-svc/1"}),
                "InvalidParameterException",
            ),
            (json!({"scale": {"value": -1.0, "unit": "PERCENT"}}), "InvalidParameterException"),
            (json!({"service": "ghost"}), "ServiceNotFoundException"),
            (json!({"cluster": "ghost"}), "ClusterNotFoundException"),
        ] {
            let refused = world.refused("UpdateTaskSet", body(more.clone())).await;
            assert!(refused.starts_with(code), "{more}: {refused}");
        }
        world.ok("DeleteService", json!({"service": "s"})).await;
        let refused = world.refused("UpdateTaskSet", body(json!({}))).await;
        assert!(refused.starts_with("ServiceNotActiveException"), "{refused}");
    }
}
