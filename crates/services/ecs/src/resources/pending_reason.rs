//! What a task that does not run yet waits for, in a sentence: shown where its cluster asks for it.
//!
//! Nothing is stored for it: the sentence follows from the rows of the task, its definition, its orders and its queue.

use api::ecs::{Attribute, ContainerDefinition};
use domain::{
    ContainerInstance, DesiredStatus, HealthStatus, OutboxMessage, Task, TaskContainer, TaskDefinition,
    TaskStatus,
};
use store::rows::{container_instance_key, task_definition_key};
use store::{Row as _, Snapshot};

use super::task_definition;
use crate::launch::queue;

/// The attribute of a task that carries the sentence.
pub const PENDING_REASON_ATTRIBUTE: &str = "roadstead.pending-reason";

/// The attribute to show; `None` for a task that runs, has run or is to stop.
pub fn attribute(snapshot: &Snapshot, task: &Task) -> Option<Attribute> {
    Some(Attribute {
        name: Some(PENDING_REASON_ATTRIBUTE.to_owned()),
        value: Some(of(snapshot, task)?),
        ..Attribute::default()
    })
}

/// What the task waits for.
pub fn of(snapshot: &Snapshot, task: &Task) -> Option<String> {
    if task.last_status >= TaskStatus::Running || task.desired_status == DesiredStatus::Stopped {
        return None;
    }
    Some(match (task.last_status, &task.container_instance) {
        (_, None) => waiting_for_capacity(snapshot, task),
        (TaskStatus::Provisioning, Some(_)) => waiting_for_an_interface(task),
        (TaskStatus::Activating, Some(_)) => "Waiting to be registered with its load balancers.".to_owned(),
        (_, Some(_)) => waiting_on_its_instance(snapshot, task),
    })
}

fn waiting_for_capacity(snapshot: &Snapshot, task: &Task) -> String {
    let reason = queue::reason(snapshot, task).map(|reason| format!(": {reason}")).unwrap_or_default();
    let place = queue::position(snapshot, task)
        .map(|(place, of)| format!(" It is number {place} of {of} that wait in its cluster."))
        .unwrap_or_default();
    format!("Waiting for capacity{}.{place}", reason.trim_end_matches('.'))
}

fn waiting_for_an_interface(task: &Task) -> String {
    let subnet = task.network_interface().and_then(|interface| interface.details.get("subnetId"));
    match subnet {
        Some(subnet) => format!("Waiting for a network interface in {subnet}."),
        None => "Waiting for a network interface.".to_owned(),
    }
}

fn waiting_on_its_instance(snapshot: &Snapshot, task: &Task) -> String {
    let instance = instance(snapshot, task);
    let name = instance.as_ref().map(|instance| instance.ec2_instance_id.clone()).unwrap_or_default();
    if instance.is_some_and(|instance| !instance.agent_connected) {
        return format!("Waiting for the agent of {name}, which is not connected.");
    }
    if order_is_unsent(snapshot, task) {
        return format!("Waiting for the agent of {name} to take the order to start it.");
    }
    if task.times.pull_started_at.is_some() && task.times.pull_stopped_at.is_none() {
        let images: Vec<&str> = task
            .containers
            .iter()
            .filter(|container| container.image_digest.is_none())
            .map(|container| container.image.as_str())
            .collect();
        return format!("Waiting for images to be pulled: {}.", images.join(", "));
    }
    let waits = dependencies(snapshot, task);
    if !waits.is_empty() {
        return format!("Waiting for containers: {}.", waits.join("; "));
    }
    let idle: Vec<&str> = task
        .containers
        .iter()
        .filter(|container| container.last_status < TaskStatus::Running)
        .map(|container| container.name.as_str())
        .collect();
    format!("Waiting for containers to start on {name}: {}.", idle.join(", "))
}

fn instance(snapshot: &Snapshot, task: &Task) -> Option<store::Versioned<ContainerInstance>> {
    let arn = task.container_instance.as_ref()?;
    let (cluster, id) = arn.resource().strip_prefix("container-instance/")?.split_once('/')?;
    snapshot.get::<ContainerInstance>(&container_instance_key(&arn.scope()?, cluster, id))
}

/// Whether the agent has not acknowledged the order to start it.
fn order_is_unsent(snapshot: &Snapshot, task: &Task) -> bool {
    let Some(container_instance) = task.container_instance.clone() else { return false };
    let key = OutboxMessage {
        container_instance,
        scope: task.scope.clone(),
        cluster: task.cluster.clone(),
        task_id: task.id.clone(),
        order: domain::OutboxOrder::Start,
        generation: 0,
        written_at: base::Timestamp::default(),
    }
    .key();
    snapshot.get::<OutboxMessage>(&key).is_some()
}

/// Containers that have not started, and the conditions on others that do not hold yet.
fn dependencies(snapshot: &Snapshot, task: &Task) -> Vec<String> {
    let key = task_definition_key(&task.scope, &task.family, task.revision);
    let definition = snapshot.get::<TaskDefinition>(&key);
    let document = definition.and_then(|definition| task_definition::document(&definition).ok());
    let definitions = document.and_then(|document| document.container_definitions).unwrap_or_default();
    definitions.iter().flat_map(|definition| unmet(task, definition)).collect()
}

fn unmet(task: &Task, definition: &ContainerDefinition) -> Vec<String> {
    let name = definition.name.as_deref().unwrap_or_default();
    let waits = task.container(name).is_some_and(|own| own.last_status < TaskStatus::Running);
    let conditions = definition.depends_on.iter().flatten().filter(|_| waits);
    conditions
        .filter_map(|dependency| {
            let other = task.container(dependency.container_name.as_deref()?)?;
            let condition = dependency.condition.as_deref()?;
            (!holds(other, condition)).then(|| format!("{name} waits for {} to be {condition}", other.name))
        })
        .collect()
}

/// Whether a condition on a container holds. Source: AWS, "ContainerDependency".
fn holds(other: &TaskContainer, condition: &str) -> bool {
    match condition {
        "START" => other.last_status >= TaskStatus::Running,
        "COMPLETE" => other.last_status == TaskStatus::Stopped,
        "SUCCESS" => other.last_status == TaskStatus::Stopped && other.exit_code == Some(0),
        "HEALTHY" => other.health_status == HealthStatus::Healthy,
        _ => true,
    }
}
