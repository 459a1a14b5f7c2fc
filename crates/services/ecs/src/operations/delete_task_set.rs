//! Deletes a task set: its tasks are stopped first. AWS: DeleteTaskSet. Differs from AWS: nothing known.

use api::ecs::operations::DeleteTaskSet;
use api::ecs::{DeleteTaskSetRequest, DeleteTaskSetResponse};
use domain::{StabilityStatus, TaskSet, TaskSetStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, service, task_set};
use crate::{Ecs, faults};

impl Operation<DeleteTaskSet> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteTaskSetRequest) -> Vec<Permission> {
        let (cluster, of_service) = (input.cluster.as_deref(), input.service.as_deref());
        let resource = task_set::arn_for_permission(call, cluster, of_service, input.task_set.as_deref());
        vec![
            Permission::new("ecs:DeleteTaskSet", resource)
                .when("ecs:cluster", cluster::arn_for_permission(call, cluster))
                .when("ecs:service", service::arn_for_permission(call, cluster, of_service)),
        ]
    }

    async fn handle(&self, call: &Call, input: DeleteTaskSetRequest) -> Result<DeleteTaskSetResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let name = service::name(call, &cluster_name, input.service.as_deref().unwrap_or_default())?;
        let force = input.force == Some(true);

        let _turn = service::turn(&self.store, call, &cluster_name, &name).await;
        let update = self.store.update(|snapshot| {
            cluster::get(snapshot, &call.scope, &cluster_name)?;
            let of_service = service::with_task_sets(snapshot, &call.scope, &cluster_name, &name)?;
            let id = task_set::id(call, &of_service, input.task_set.as_deref().unwrap_or_default())?;
            let there = task_set::live(snapshot, &of_service, &id)?;
            if !force && there.status == TaskSetStatus::Primary {
                return Err(faults::invalid(
                    "The task set cannot be deleted while it is the primary task set.",
                ));
            }
            if !force && there.computed_desired_count > 0 {
                return Err(faults::invalid("The task set cannot be deleted while it is scaled above 0."));
            }
            let next = TaskSet {
                status: TaskSetStatus::Draining,
                scale_hundredths_percent: 0,
                computed_desired_count: 0,
                stability_status: StabilityStatus::Stabilizing,
                stability_status_at: call.now,
                updated_at: call.now,
                ..TaskSet::clone(&there)
            };
            let mut transaction = Transaction::new();
            transaction.require_unchanged(&of_service).replace(&there, next.clone());
            Ok((transaction, (of_service, next)))
        });
        let (of_service, deleted) = update.await.map_err(faults::of_update)?;

        let described = task_set::describe_counted(&self.store.snapshot(), &of_service, &deleted)?;
        Ok(DeleteTaskSetResponse { task_set: Some(described) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn only_what_is_scaled_down_goes_without_force() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let external =
            json!({"serviceName": "s", "desiredCount": 1, "deploymentController": {"type": "EXTERNAL"}});
        world.ok("CreateService", external).await;
        let body = json!({"cluster": "default", "service": "s", "taskDefinition": "web",
            "scale": {"value": 100.0, "unit": "PERCENT"}});
        let arn = text(&world.ok("CreateTaskSet", body).await, "/taskSet/taskSetArn");
        let body = json!({"cluster": "default", "service": "s", "taskSet": arn});
        assert_eq!(
            world.refused("DeleteTaskSet", body.clone()).await,
            "InvalidParameterException: The task set cannot be deleted while it is scaled above 0."
        );
        assert_eq!(
            world.refused("DeleteService", json!({"service": "s"})).await,
            "InvalidParameterException: The service cannot be stopped while it is scaled above 0."
        );
        let mut down = body.clone();
        down["scale"] = json!({"value": 0.0, "unit": "PERCENT"});
        world.ok("UpdateTaskSet", down).await;
        assert_eq!(text(&world.ok("DeleteTaskSet", body.clone()).await, "/taskSet/status"), "DRAINING");
        let refused = world.refused("DeleteTaskSet", body).await;
        assert!(refused.starts_with("TaskSetNotFoundException"), "{refused}");
        for (body, code) in [
            (json!({"cluster": "ghost", "service": "s", "taskSet": "ecs-svc/1"}), "ClusterNotFoundException"),
            (
                json!({"cluster": "default", "service": "x", "taskSet": "ecs-svc/1"}),
                "ServiceNotFoundException",
            ),
        ] {
            assert!(world.refused("DeleteTaskSet", body).await.starts_with(code));
        }
    }
}
