//! Says which task set of a service serves production traffic. AWS: UpdateServicePrimaryTaskSet. Differs from AWS:
//! nothing known.

use api::ecs::operations::UpdateServicePrimaryTaskSet;
use api::ecs::{UpdateServicePrimaryTaskSetRequest, UpdateServicePrimaryTaskSetResponse};
use domain::{Service, TaskSet, TaskSetStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, service, task_set};
use crate::{Ecs, faults};

impl Operation<UpdateServicePrimaryTaskSet> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateServicePrimaryTaskSetRequest) -> Vec<Permission> {
        let cluster = input.cluster.as_deref();
        let resource = service::arn_for_permission(call, cluster, input.service.as_deref());
        vec![
            Permission::new("ecs:UpdateServicePrimaryTaskSet", resource)
                .when("ecs:cluster", cluster::arn_for_permission(call, cluster)),
        ]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateServicePrimaryTaskSetRequest,
    ) -> Result<UpdateServicePrimaryTaskSetResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let name = service::name(call, &cluster_name, input.service.as_deref().unwrap_or_default())?;

        let _turn = service::turn(&self.store, call, &cluster_name, &name).await;
        let update = self.store.update(|snapshot| {
            cluster::get(snapshot, &call.scope, &cluster_name)?;
            let of_service = service::with_task_sets(snapshot, &call.scope, &cluster_name, &name)?;
            let given = input.primary_task_set.as_deref().unwrap_or_default();
            let id = task_set::id(call, &of_service, given)?;
            let there = task_set::live(snapshot, &of_service, &id)?;
            let mut transaction = Transaction::new();
            let of = |row: &TaskSet, status| TaskSet { status, updated_at: call.now, ..row.clone() };
            let before = task_set::primary(snapshot, &of_service).filter(|before| before.id != id);
            if let Some(before) = before {
                transaction.replace(&before, of(&before, TaskSetStatus::Active));
            }
            let next = of(&there, TaskSetStatus::Primary);
            transaction.replace(&there, next.clone());
            let updated = Service {
                generation: of_service.generation.saturating_add(1),
                ..Service::clone(&of_service)
            };
            transaction.replace(&of_service, updated);
            Ok((transaction, (of_service, next)))
        });
        let (of_service, updated) = update.await.map_err(faults::of_update)?;

        let described = task_set::describe_counted(&self.store.snapshot(), &of_service, &updated)?;
        Ok(UpdateServicePrimaryTaskSetResponse { task_set: Some(described) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn there_is_one() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let external = json!({"serviceName": "s", "deploymentController": {"type": "EXTERNAL"}});
        world.ok("CreateService", external).await;
        let of = json!({"cluster": "default", "service": "s", "taskDefinition": "web"});
        let one = text(&world.ok("CreateTaskSet", of.clone()).await, "/taskSet/id");
        world.clock.advance_millis(10);
        let two = text(&world.ok("CreateTaskSet", of).await, "/taskSet/id");
        for primary in [&one, &two, &two] {
            let body = json!({"cluster": "default", "service": "s", "primaryTaskSet": primary});
            let updated = world.ok("UpdateServicePrimaryTaskSet", body).await;
            assert_eq!(text(&updated, "/taskSet/status"), "PRIMARY");
        }
        let described = world.ok("DescribeTaskSets", json!({"cluster": "default", "service": "s"})).await;
        assert_eq!(text(&described, "/taskSets/0/status"), "ACTIVE");
        assert_eq!(text(&described, "/taskSets/1/status"), "PRIMARY");
        for (body, code) in [
            (
                json!({"cluster": "default", "service": "s", "primaryTaskSet": "ecs-svc/1"}),
                "TaskSetNotFoundException",
            ),
            (
                json!({"cluster": "default", "service": "x", "primaryTaskSet": "ecs-svc/1"}),
                "ServiceNotFoundException",
            ),
            (
                json!({"cluster": "ghost", "service": "s", "primaryTaskSet": "ecs-svc/1"}),
                "ClusterNotFoundException",
            ),
            (
                json!({"cluster": "default", "service": "s", "primaryTaskSet": ""}),
                "InvalidParameterException",
            ),
        ] {
            let refused = world.refused("UpdateServicePrimaryTaskSet", body).await;
            assert!(refused.starts_with(code), "{refused}");
        }
        world.ok("DeleteService", json!({"service": "s", "force": true})).await;
        let body = json!({"cluster": "default", "service": "s", "primaryTaskSet": one});
        let refused = world.refused("UpdateServicePrimaryTaskSet", body).await;
        assert!(refused.starts_with("ServiceNotActiveException"), "{refused}");
    }
}
