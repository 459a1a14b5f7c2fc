//! Starts tasks where there is room. AWS: RunTask.
//!
//! Differs from AWS: see [`crate::launch`]. With a strategy of several Fargate providers each task's provider is settled
//! in this call; FARGATE_SPOT is never taken back.

use api::ecs::operations::RunTask;
use api::ecs::{ConflictException, RunTaskRequest, RunTaskResponse, faults as modelled};
use base::Arn;
use base::limits::RUN_TASK_COUNT_MAXIMUM;
use domain::{ClientTokenUse, Task};
use sha2::{Digest, Sha256};
use store::rows::{CLIENT_TOKENS_BY_TIME, client_token_key};
use store::{Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, task, task_definition};
use crate::{Ecs, faults, launch};

/// Hours for which a client token is remembered. Source: "Ensuring idempotency" (ECS API reference).
const CLIENT_TOKEN_HOURS: i64 = 24;
/// Characters of a client token. Source: RunTask, `clientToken`.
const CLIENT_TOKEN_CHARACTERS: usize = 64;
/// Forgotten tokens that one call clears away.
const CLIENT_TOKENS_CLEARED: usize = 16;

impl Operation<RunTask> for Ecs {
    fn permissions(&self, call: &Call, input: &RunTaskRequest) -> Vec<Permission> {
        let definition = task_definition::arn_for_permission(
            &self.store.snapshot(),
            call,
            input.task_definition.as_deref(),
        );
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        let mut permissions = vec![Permission::new("ecs:RunTask", definition).when("ecs:cluster", cluster)];
        if let Some(overrides) = &input.overrides {
            let roles = [&overrides.task_role_arn, &overrides.execution_role_arn];
            permissions.extend(roles.into_iter().flatten().map(|role| Permission::new("iam:PassRole", role)));
        }
        permissions
    }

    async fn handle(&self, call: &Call, input: RunTaskRequest) -> Result<RunTaskResponse, Fault> {
        let count = input.count.unwrap_or(1);
        if !(1..=RUN_TASK_COUNT_MAXIMUM).contains(&count) {
            return Err(faults::invalid(format!("Count must be between 1 and {RUN_TASK_COUNT_MAXIMUM}.")));
        }
        let count = usize::try_from(count).unwrap_or(1);
        let token = client_token(input.client_token.as_deref())?;
        let digest = digest(&input);

        let update = self.store.update(|snapshot| {
            if let Some(tasks) = repeated(snapshot, call, token.as_deref(), &digest)? {
                return Ok((Transaction::new(), (tasks, Vec::new())));
            }
            let launch = launch::check(snapshot, call, &input)?;
            let mut placed = launch::place(snapshot, call, self.ids.as_ref(), &launch, count)?;
            if let Some(token) = token.as_deref().filter(|_| !placed.tasks.is_empty()) {
                remember(snapshot, &mut placed.transaction, call, token, &digest, &placed.tasks);
            }
            Ok((placed.transaction, (placed.tasks, placed.failures)))
        });
        let (tasks, failures) = update.await.map_err(faults::of_update)?;

        let tasks = tasks.iter().map(|started| task::describe(started, true)).collect::<Result<_, _>>()?;
        Ok(RunTaskResponse { tasks: Some(tasks), failures: Some(failures) })
    }
}

fn client_token(text: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > CLIENT_TOKEN_CHARACTERS || !text.bytes().all(|byte| (33..=126).contains(&byte)) {
        return Err(faults::invalid(format!(
            "clientToken must have at most {CLIENT_TOKEN_CHARACTERS} characters in the range of 33-126, inclusive."
        )));
    }
    Ok(Some(text.to_owned()))
}

fn digest(input: &RunTaskRequest) -> String {
    let without_token = RunTaskRequest { client_token: None, ..input.clone() };
    let digest = Sha256::digest(wire::json::to_string(&without_token).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tasks that an earlier call with the same token started.
fn repeated(
    snapshot: &Snapshot,
    call: &Call,
    token: Option<&str>,
    digest: &str,
) -> Result<Option<Vec<Task>>, Fault> {
    let Some(token) = token else { return Ok(None) };
    let Some(used) = snapshot.get::<ClientTokenUse>(&client_token_key(&call.scope, "RunTask", token)) else {
        return Ok(None);
    };
    if is_forgotten(&used, call) {
        return Ok(None);
    }
    if used.parameters_digest != digest {
        let arns = used.made.iter();
        let arns =
            arns.map(|made| Arn::new("ecs", &call.scope, format!("task/{made}")).to_string()).collect();
        let message =
            "The request could not be processed because of conflict in the current state of the resource.";
        return Err(modelled::conflict_exception(message).with_details(ConflictException {
            message: Some(message.to_owned()),
            resource_ids: Some(arns),
        }));
    }
    let tasks = used.made.iter().filter_map(|made| {
        let (cluster, id) = made.split_once('/')?;
        task::get(snapshot, call, cluster, id).map(|there| Task::clone(&there))
    });
    Ok(Some(tasks.collect()))
}

fn is_forgotten(used: &ClientTokenUse, call: &Call) -> bool {
    call.now >= used.used_at.plus_seconds(CLIENT_TOKEN_HOURS * 3600)
}

fn remember(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    call: &Call,
    token: &str,
    digest: &str,
    tasks: &[Task],
) {
    let old = snapshot.index::<ClientTokenUse>(CLIENT_TOKENS_BY_TIME, &[], None);
    for used in old.take(CLIENT_TOKENS_CLEARED).take_while(|used| is_forgotten(used, call)) {
        transaction.delete::<ClientTokenUse>(&store::Row::key(used.value.as_ref()));
    }
    let key = client_token_key(&call.scope, "RunTask", token);
    let there = snapshot.get::<ClientTokenUse>(&key).map(|used| used.revision);
    transaction.require_revision::<ClientTokenUse>(&key, there);
    transaction.put(ClientTokenUse {
        scope: call.scope.clone(),
        operation: "RunTask".to_owned(),
        token: token.to_owned(),
        parameters_digest: digest.to_owned(),
        made: tasks.iter().map(|task| format!("{}/{}", task.cluster, task.id)).collect(),
        used_at: call.now,
    });
}

#[cfg(test)]
mod tests {
    use domain::TaskStatus;
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn a_task_lives_and_ends() {
        let (world, instance) = World::with_instance(2048, 1024, &[]).await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web", "startedBy": "me"})).await;
        let task = text(&run, "/tasks/0/taskArn");
        assert_eq!(text(&run, "/tasks/0/lastStatus"), "PENDING");
        assert_eq!(text(&run, "/tasks/0/containerInstanceArn"), instance);
        assert_eq!(text(&run, "/tasks/0/group"), "family:web");
        let listed = world.ok("ListTasks", json!({"startedBy": "me"})).await;
        assert_eq!(listed["taskArns"], json!([task]));

        world
            .report(
                &task,
                TaskStatus::Running,
                json!([{"containerName": "app", "status": "RUNNING", "runtimeId": "abc"}]),
            )
            .await;
        let described = world.ok("DescribeTasks", json!({"tasks": [task]})).await;
        assert_eq!(text(&described, "/tasks/0/lastStatus"), "RUNNING");
        assert_eq!(text(&described, "/tasks/0/containers/0/runtimeId"), "abc");

        let stopped = world.ok("StopTask", json!({"task": task, "reason": "enough"})).await;
        assert_eq!(text(&stopped, "/task/desiredStatus"), "STOPPED");
        assert_eq!(text(&stopped, "/task/stopCode"), "UserInitiated");
        world
            .report(
                &task,
                TaskStatus::Stopped,
                json!([{"containerName": "app", "status": "STOPPED", "exitCode": 137}]),
            )
            .await;
        let described = world.ok("DescribeTasks", json!({"tasks": [task]})).await;
        assert_eq!(text(&described, "/tasks/0/lastStatus"), "STOPPED");
        assert_eq!(described["tasks"][0]["containers"][0]["exitCode"], json!(137));
        assert_eq!(text(&described, "/tasks/0/stoppedReason"), "enough");
    }
}
