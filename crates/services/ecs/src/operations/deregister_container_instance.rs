//! Deregisters a container instance. AWS: DeregisterContainerInstance.
//!
//! Differs from AWS: with `force`, tasks on it are shown STOPPED at once and an agent that is connected is told to stop them. On
//! AWS they run on, orphaned, until the machine ends, which nobody would do here. An agent that is away when this happens
//! stops them when it is back: the manifest of its next session does not have them.

use api::ecs::operations::DeregisterContainerInstance;
use api::ecs::{DeregisterContainerInstanceRequest, DeregisterContainerInstanceResponse};
use base::Arn;
use domain::{ContainerInstance, ContainerInstanceStatus, OutboxMessage, OutboxOrder, StopCode, Task};
use scheduler::task_lifecycle::{lost, was_handed_out};
use store::{Key, Prefix, Row, Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, container_instance, node};
use crate::{Ecs, faults};

/// INACTIVE container instances that a cluster remembers. Ours.
const INACTIVE_INSTANCES: usize = 100;

impl Operation<DeregisterContainerInstance> for Ecs {
    fn permissions(&self, call: &Call, input: &DeregisterContainerInstanceRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:DeregisterContainerInstance", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeregisterContainerInstanceRequest,
    ) -> Result<DeregisterContainerInstanceResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let id =
            container_instance::id(call, &name, input.container_instance.as_deref().unwrap_or_default())?;
        let force = input.force.unwrap_or(false);

        let update = self.store.update(|snapshot| {
            cluster::get(snapshot, &call.scope, &name)?;
            let there = container_instance::get(snapshot, call, &name, &id)
                .filter(|instance| container_instance::is_registered(instance))
                .ok_or_else(|| faults::invalid("Referenced container instance not found."))?;
            node::check_instance(call, &there)?;
            let tasks = container_instance::tasks(snapshot, &there);
            if !tasks.is_empty() && !force {
                return Err(faults::invalid("Found running tasks on the instance."));
            }
            let mut transaction = Transaction::new();
            withdraw_orders(snapshot, &mut transaction, &there.arn());
            for task in &tasks {
                let reason = format!("Container instance {} was deregistered.", there.ec2_instance_id);
                let mut outcome = lost(task, StopCode::InfrastructureHealth, &reason, call.now);
                if outcome.changed {
                    if there.agent_connected && was_handed_out(task) {
                        outcome.task.generation = outcome.task.generation.saturating_add(1);
                        transaction.put(stop_order(&there, &outcome.task, call));
                    }
                    transaction.replace(task, outcome.task);
                }
            }
            let mut next = ContainerInstance::clone(&there);
            next.status = ContainerInstanceStatus::Inactive;
            next.agent_connected = false;
            next.version = next.version.saturating_add(1);
            transaction.replace(&there, next.clone());
            container_instance::touch_allocation(snapshot, &mut transaction, &next);
            forget(snapshot, &mut transaction, &next);
            Ok((transaction, next))
        });
        let instance = update.await.map_err(faults::of_update)?;

        let described = container_instance::describe(&self.store.snapshot(), &instance, true, false);
        Ok(DeregisterContainerInstanceResponse { container_instance: Some(described) })
    }
}

fn stop_order(instance: &ContainerInstance, task: &Task, call: &Call) -> OutboxMessage {
    OutboxMessage {
        container_instance: instance.arn(),
        scope: task.scope.clone(),
        cluster: task.cluster.clone(),
        task_id: task.id.clone(),
        order: OutboxOrder::Stop,
        generation: task.generation,
        written_at: call.now,
    }
}

fn withdraw_orders(snapshot: &Snapshot, transaction: &mut Transaction, instance: &Arn) {
    for order in snapshot.scan::<OutboxMessage>(Prefix::global(&[&instance.to_string()]), None) {
        transaction.delete::<OutboxMessage>(&order.key());
    }
}

fn forget(snapshot: &Snapshot, transaction: &mut Transaction, instance: &ContainerInstance) {
    let inactive: Vec<_> = snapshot
        .scan::<ContainerInstance>(Key::prefix(&instance.scope, &[&instance.cluster]), None)
        .filter(|there| !container_instance::is_registered(there) && there.id != instance.id)
        .collect();
    for there in inactive.iter().take(inactive.len().saturating_sub(INACTIVE_INSTANCES - 1)) {
        withdraw_orders(snapshot, transaction, &there.arn());
        transaction.delete::<ContainerInstance>(&there.key());
        transaction.delete::<domain::Allocation>(&there.key());
    }
}

#[cfg(test)]
mod tests {
    use domain::{OutboxMessage, OutboxOrder};
    use serde_json::json;
    use store::Prefix;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn with_force_and_without() {
        let (world, instance) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web"})).await;
        assert_eq!(
            world.refused("DeregisterContainerInstance", json!({"containerInstance": instance})).await,
            "InvalidParameterException: Found running tasks on the instance."
        );
        let body = json!({"containerInstance": instance, "force": true});
        let gone = world.ok("DeregisterContainerInstance", body.clone()).await;
        assert_eq!(text(&gone, "/containerInstance/status"), "INACTIVE");
        let task = world.ok("DescribeTasks", json!({"tasks": [run["tasks"][0]["taskArn"]]})).await;
        assert_eq!(text(&task, "/tasks/0/lastStatus"), "STOPPED");
        assert_eq!(text(&task, "/tasks/0/stopCode"), "InfrastructureHealth");
        // Its containers run yet: the agent is told to stop them.
        let orders: Vec<_> =
            world.store.snapshot().scan::<OutboxMessage>(Prefix::everything(), None).collect();
        assert_eq!(orders.iter().map(|order| order.order).collect::<Vec<_>>(), [OutboxOrder::Stop]);
        world.refused("DeregisterContainerInstance", body).await;
        assert_eq!(
            world.refused("RunTask", json!({"taskDefinition": "web"})).await,
            "InvalidParameterException: No Container Instances were found in your cluster."
        );
        assert_eq!(world.ok("ListContainerInstances", json!({})).await["containerInstanceArns"], json!([]));
    }
}
