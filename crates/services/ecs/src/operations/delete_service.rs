//! Deletes a service: its tasks are stopped, and it is INACTIVE when the last of them is. AWS: DeleteService.
//!
//! Differs from AWS: an INACTIVE service stays to be described until one of the same name is made.

use api::ecs::operations::DeleteService;
use api::ecs::{DeleteServiceRequest, DeleteServiceResponse};
use domain::{SchedulingStrategy, Service, ServiceStatus, TaskSet, TaskSetStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, service, task_set};
use crate::{Ecs, faults};

impl Operation<DeleteService> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteServiceRequest) -> Vec<Permission> {
        let cluster = input.cluster.as_deref();
        let resource = service::arn_for_permission(call, cluster, input.service.as_deref());
        vec![
            Permission::new("ecs:DeleteService", resource)
                .when("ecs:cluster", cluster::arn_for_permission(call, cluster)),
        ]
    }

    async fn handle(&self, call: &Call, input: DeleteServiceRequest) -> Result<DeleteServiceResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;
        let name = service::name(call, &cluster_name, input.service.as_deref().unwrap_or_default())?;
        let force = input.force == Some(true);

        let _turn = service::turn(&self.store, call, &cluster_name, &name).await;
        let update = self.store.update(|snapshot| {
            cluster::get(snapshot, &call.scope, &cluster_name)?;
            let there = service::get(snapshot, &call.scope, &cluster_name, &name)?;
            let mut transaction = Transaction::new();
            match there.status {
                ServiceStatus::Inactive => {
                    return Err(api::ecs::faults::service_not_found_exception("Service not found."));
                }
                ServiceStatus::Draining => return Ok((transaction, Service::clone(&there))),
                ServiceStatus::Active => {}
            }
            let daemon = there.scheduling_strategy == SchedulingStrategy::Daemon;
            if there.desired_count > 0 && !force && !daemon {
                return Err(faults::invalid("The service cannot be stopped while it is scaled above 0."));
            }
            let task_sets = task_set::of_service(snapshot, &there);
            if !task_sets.is_empty() && !force {
                return Err(faults::invalid("The service cannot be stopped while deployments are active."));
            }
            for row in task_sets {
                let next = TaskSet {
                    status: TaskSetStatus::Draining,
                    computed_desired_count: 0,
                    updated_at: call.now,
                    ..TaskSet::clone(&row)
                };
                transaction.replace(&row, next);
            }
            let mut next = Service {
                status: ServiceStatus::Draining,
                desired_count: 0,
                generation: there.generation.saturating_add(1),
                ..Service::clone(&there)
            };
            for revision in &mut next.revisions {
                revision.desired_count = 0;
            }
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let deleted = update.await.map_err(faults::of_update)?;

        let described = service::describe(&self.store.snapshot(), &deleted, true)?;
        Ok(DeleteServiceResponse { service: Some(described) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn it_drains() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let body = json!({"serviceName": "s", "taskDefinition": "web", "desiredCount": 2});
        world.ok("CreateService", body).await;
        assert_eq!(
            world.refused("DeleteService", json!({"service": "s"})).await,
            "InvalidParameterException: The service cannot be stopped while it is scaled above 0."
        );
        let gone = world.ok("DeleteService", json!({"service": "s", "force": true})).await;
        assert_eq!(text(&gone, "/service/status"), "DRAINING");
        assert_eq!(gone["service"]["desiredCount"], json!(0));
        assert_eq!(world.ok("ListServices", json!({})).await["serviceArns"], json!([]));
        let again = world.ok("DeleteService", json!({"service": "s"})).await;
        assert_eq!(text(&again, "/service/status"), "DRAINING");
        world.finish_services().await;
        let described = world.ok("DescribeServices", json!({"services": ["s"]})).await;
        assert_eq!(text(&described, "/services/0/status"), "INACTIVE");
        for (body, refusal) in [
            (json!({"service": "s"}), "ServiceNotFoundException: Service not found."),
            (json!({"service": "ghost"}), "ServiceNotFoundException: Service not found."),
            (json!({"service": "s", "cluster": "ghost"}), "ClusterNotFoundException: Cluster not found."),
            (json!({"service": ""}), "InvalidParameterException: Service can not be blank."),
        ] {
            assert_eq!(world.refused("DeleteService", body).await, refusal);
        }
    }

    #[tokio::test]
    async fn a_daemon_needs_no_force() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let body = json!({"serviceName": "d", "taskDefinition": "web", "schedulingStrategy": "DAEMON"});
        world.ok("CreateService", body).await;
        let gone = world.ok("DeleteService", json!({"service": "d"})).await;
        assert_eq!(text(&gone, "/service/status"), "DRAINING");
    }
}
