//! Sets container instances ACTIVE or DRAINING. AWS: UpdateContainerInstancesState. Differs from AWS: nothing known.

use api::ecs::operations::UpdateContainerInstancesState;
use api::ecs::{Failure, UpdateContainerInstancesStateRequest, UpdateContainerInstancesStateResponse};
use base::Arn;
use domain::ContainerInstanceStatus;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, container_instance, node};
use crate::{Ecs, faults};

/// Container instances in one call. Source: UpdateContainerInstancesState.
const INSTANCES: usize = 10;

impl Operation<UpdateContainerInstancesState> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateContainerInstancesStateRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        let permission = Permission::new("ecs:UpdateContainerInstancesState", "*");
        vec![permission.when("ecs:cluster", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateContainerInstancesStateRequest,
    ) -> Result<UpdateContainerInstancesStateResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let status = match input.status.as_deref() {
            Some("ACTIVE") => ContainerInstanceStatus::Active,
            Some("DRAINING") => ContainerInstanceStatus::Draining,
            other => {
                let word = other.unwrap_or_default();
                return Err(faults::invalid(format!(
                    "Container instance status must be ACTIVE or DRAINING, but was {word}."
                )));
            }
        };
        let given = input.container_instances.unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("Container instances cannot be empty."));
        }
        if given.len() > INSTANCES {
            return Err(faults::invalid(format!(
                "Container instances cannot have more than {INSTANCES} elements."
            )));
        }
        let mut ids = Vec::new();
        for text in &given {
            let id = container_instance::id(call, &name, text)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }

        let update = self.store.update(|snapshot| {
            cluster::get(snapshot, &call.scope, &name)?;
            let (mut changed, mut failures) = (Vec::new(), Vec::new());
            let mut transaction = Transaction::new();
            for id in &ids {
                let there = container_instance::get(snapshot, call, &name, id);
                let reason = match there {
                    None => "MISSING",
                    Some(there) if !container_instance::is_registered(&there) => "INACTIVE",
                    Some(there) => {
                        node::check_instance(call, &there)?;
                        changed.push(container_instance::set_status(
                            snapshot,
                            &mut transaction,
                            &there,
                            status,
                        ));
                        continue;
                    }
                };
                let arn = Arn::new("ecs", &call.scope, format!("container-instance/{name}/{id}"));
                failures.push(Failure {
                    arn: Some(arn.to_string()),
                    reason: Some(reason.to_owned()),
                    detail: None,
                });
            }
            Ok((transaction, (changed, failures)))
        });
        let (changed, failures) = update.await.map_err(faults::of_update)?;

        let snapshot = self.store.snapshot();
        let described = changed
            .iter()
            .map(|instance| container_instance::describe(&snapshot, instance, false, false))
            .collect();
        Ok(UpdateContainerInstancesStateResponse {
            container_instances: Some(described),
            failures: Some(failures),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn a_draining_instance_takes_nothing() {
        let (world, instance) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let ghost = "0".repeat(32);
        let body = json!({"containerInstances": [instance, ghost], "status": "DRAINING"});
        let answer = world.ok("UpdateContainerInstancesState", body).await;
        assert_eq!(text(&answer, "/containerInstances/0/status"), "DRAINING");
        assert_eq!(text(&answer, "/failures/0/reason"), "MISSING");
        world.refused("RunTask", json!({"taskDefinition": "web"})).await;
        let draining = world.ok("ListContainerInstances", json!({"status": "DRAINING"})).await;
        assert_eq!(draining["containerInstanceArns"], json!([instance]));
        let body = json!({"containerInstances": [instance], "status": "ACTIVE"});
        world.ok("UpdateContainerInstancesState", body).await;
        assert_eq!(world.ok("RunTask", json!({"taskDefinition": "web"})).await["failures"], json!([]));
        world
            .refused(
                "UpdateContainerInstancesState",
                json!({"containerInstances": [instance], "status": "REGISTERING"}),
            )
            .await;
    }
}
