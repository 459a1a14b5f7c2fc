//! Runs a command in a container. AWS: ExecuteCommand.
//!
//! Differs from AWS: no task of this release is started with ECS Exec (`enableExecuteCommand` is refused), so that every
//! call which names a task and a container that are there ends with AWS's fault for a task without it, and one for a task
//! whose agent is away with TargetNotConnectedException.

use api::ecs::operations::ExecuteCommand;
use api::ecs::{ExecuteCommandRequest, ExecuteCommandResponse, faults as modelled};
use base::Arn;
use domain::{ContainerInstance, Task, TaskStatus};
use store::Snapshot;
use store::rows::container_instance_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, task};
use crate::{Ecs, faults};

/// Characters of a command. Ours: AWS names no bound.
const COMMAND_CHARACTERS: usize = 4096;
/// AWS's sentence for a task without ECS Exec.
const NOT_ENABLED: &str = "The execute command failed because execute command was not enabled when the task was run or \
    the execute command agent isn\u{2019}t running. Wait and try again or run a new task with execute command enabled and \
    try again.";
/// AWS's sentence for a task that cannot be reached. Source: ECS API reference, TargetNotConnectedException.
const NOT_CONNECTED: &str = "The execute command failed due to an internal error. Try again later.";

impl Operation<ExecuteCommand> for Ecs {
    fn permissions(&self, call: &Call, input: &ExecuteCommandRequest) -> Vec<Permission> {
        let resource = cluster::name(call, input.cluster.as_deref())
            .and_then(|name| Ok((task::id(call, &name, input.task.as_deref().unwrap_or_default())?, name)))
            .map(|(id, name)| Arn::new("ecs", &call.scope, format!("task/{name}/{id}")).to_string());
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        let resource = resource.unwrap_or_else(|_| "*".to_owned());
        vec![Permission::new("ecs:ExecuteCommand", resource).when("ecs:cluster", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ExecuteCommandRequest,
    ) -> Result<ExecuteCommandResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let id = task::id(call, &name, input.task.as_deref().unwrap_or_default())?;
        let command = input.command.unwrap_or_default();
        if command.trim().is_empty() {
            return Err(faults::invalid("command can not be blank."));
        }
        if command.chars().count() > COMMAND_CHARACTERS {
            return Err(faults::invalid(format!(
                "command must have at most {COMMAND_CHARACTERS} characters."
            )));
        }
        if input.interactive != Some(true) {
            return Err(faults::invalid("Interactive is the only mode supported currently."));
        }

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &name)?;
        let there = task::get(&snapshot, call, &name, &id)
            .ok_or_else(|| faults::invalid("The referenced task was not found."))?;
        check_container(&there, input.container.as_deref())?;
        if there.last_status == TaskStatus::Running && !is_connected(&snapshot, &there) {
            return Err(modelled::target_not_connected_exception(NOT_CONNECTED));
        }
        Err(faults::invalid(NOT_ENABLED))
    }
}

fn check_container(task: &Task, name: Option<&str>) -> Result<(), Fault> {
    match name {
        None if task.containers.len() > 1 => Err(faults::invalid(
            "The container name must be specified when the task has more than one container.",
        )),
        Some(name) if task.container(name).is_none() => {
            Err(faults::invalid(format!("The container {name} was not found in the task.")))
        }
        _ => Ok(()),
    }
}

fn is_connected(snapshot: &Snapshot, task: &Task) -> bool {
    let instance = task.container_instance.as_ref().and_then(|arn| {
        let (cluster, id) = arn.resource().strip_prefix("container-instance/")?.split_once('/')?;
        snapshot.get::<ContainerInstance>(&container_instance_key(&arn.scope()?, cluster, id))
    });
    instance.is_some_and(|instance| instance.agent_connected)
}

#[cfg(test)]
mod tests {
    use domain::TaskStatus;
    use serde_json::{Value, json};

    use crate::testing::{World, text};

    #[tokio::test]
    async fn no_task_has_it() {
        let (world, _) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web"})).await;
        let task = text(&run, "/tasks/0/taskArn");
        let body = |change: Value| {
            let mut body = json!({"task": task, "command": "/bin/sh", "interactive": true});
            for (key, value) in change.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        let refused = world.refused("ExecuteCommand", body(json!({}))).await;
        assert!(
            refused.starts_with(
                "InvalidParameterException: The execute command failed because execute command was not enabled when the \
                 task was run"
            ),
            "{refused}"
        );
        for (change, wanted) in [
            (json!({"cluster": "ghost"}), "Identifier is for cluster default"),
            (json!({"task": "0".repeat(32)}), "The referenced task was not found."),
            (json!({"task": "x"}), "taskId length"),
            (json!({"container": "ghost"}), "The container ghost was not found in the task."),
            (json!({"command": " "}), "command can not be blank."),
            (json!({"interactive": false}), "Interactive is the only mode supported currently."),
        ] {
            let refused = world.refused("ExecuteCommand", body(change)).await;
            assert!(
                refused.starts_with("InvalidParameterException") && refused.contains(wanted),
                "{refused}"
            );
        }
        let elsewhere =
            json!({"cluster": "ghost", "task": "0".repeat(32), "command": "sh", "interactive": true});
        assert_eq!(
            world.refused("ExecuteCommand", elsewhere).await,
            "ClusterNotFoundException: Cluster not found."
        );
    }

    #[tokio::test]
    async fn an_agent_that_is_away() {
        let (world, instance) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web"})).await;
        let task = text(&run, "/tasks/0/taskArn");
        let containers = json!([{"containerName": "app", "status": "RUNNING"}]);
        world.report(&task, TaskStatus::Running, containers).await;
        let id = instance.rsplit('/').next().unwrap();
        let key = store::rows::container_instance_key(&crate::testing::scope(), "default", id);
        let row = world.store.snapshot().get::<domain::ContainerInstance>(&key).unwrap();
        let mut transaction = store::Transaction::new();
        let away =
            domain::ContainerInstance { agent_connected: false, ..domain::ContainerInstance::clone(&row) };
        transaction.put(away);
        world.store.transact(transaction).await.unwrap();
        let body = json!({"task": task, "command": "/bin/sh", "interactive": true});
        let refused = world.refused("ExecuteCommand", body).await;
        assert!(refused.starts_with("TargetNotConnectedException"), "{refused}");
    }
}
