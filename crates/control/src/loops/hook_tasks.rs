//! Hooks whose target is a task definition: one task runs before or after a deployment, and its end is the hook's answer.
//!
//! The task is found again by the hook's id in its `startedBy`, so that a crash starts no second one.

use std::ops::ControlFlow;

use base::Scope;
use domain::{Service, ServiceRevision, StopCode, Task, TaskStatus};
use ecs::launch::one_off::{self, STARTED_BY_HOOK};
use ecs::launch::service::{Workload, call as call_of};
use scheduler::deployment::hooks::Answer;
use store::rows::TASKS_BY_STARTED_BY;
use store::rows_service::service_revision_key;
use store::{Key, Row as _, Snapshot, Transaction};
use wire::Fault;

use crate::Control;
use crate::seams::HookCall;

/// Whether a hook's target is a task definition.
pub fn is_task_definition(target: &str) -> bool {
    target.parse::<base::Arn>().is_ok_and(|arn| arn.aws_service() == "ecs")
}

/// Runs the hook's task, where it does not run yet, and waits for its end.
pub async fn run(control: &Control, service: &Key, revision: &str, hook: &HookCall) -> Answer {
    loop {
        let snapshot = control.store.snapshot();
        let since = snapshot.version();
        let Some(row) = snapshot.get::<Service>(service) else {
            return Answer::Impossible("the service is gone.".to_owned());
        };
        match task_of(&snapshot, &row.scope, &row.cluster, &hook.execution_id) {
            Some(task) => {
                if let ControlFlow::Break(answer) = verdict(&task) {
                    return answer;
                }
                let _ = control.store.changed(&[Task::TABLE], since).await;
            }
            None => {
                if let Err(answer) = start(control, &row, revision, hook).await {
                    return answer;
                }
            }
        }
    }
}

fn task_of(snapshot: &Snapshot, scope: &Scope, cluster: &str, id: &str) -> Option<Task> {
    let started_by = format!("{STARTED_BY_HOOK}{id}");
    let parts = [scope.account.as_str(), scope.region.as_str(), cluster, &started_by];
    snapshot.index::<Task>(TASKS_BY_STARTED_BY, &parts, None).next().map(|task| Task::clone(&task))
}

/// What a task says; one that has not ended says nothing yet.
fn verdict(task: &Task) -> ControlFlow<Answer> {
    if task.last_status != TaskStatus::Stopped {
        return ControlFlow::Continue(());
    }
    let ended_well = task
        .containers
        .iter()
        .filter(|container| container.essential)
        .all(|container| container.exit_code == Some(0));
    if ended_well && task.stop_code == Some(StopCode::EssentialContainerExited) {
        return ControlFlow::Break(Answer::Succeeded);
    }
    let exits = task
        .containers
        .iter()
        .filter_map(|container| Some(format!("{} ended with {}", container.name, container.exit_code?)));
    let mut why: Vec<String> = exits.collect();
    why.extend(task.stopped_reason.clone());
    ControlFlow::Break(Answer::Impossible(format!(
        "The task {} did not succeed: {}.",
        task.arn(),
        why.join("; ")
    )))
}

async fn start(control: &Control, service: &Service, revision: &str, hook: &HookCall) -> Result<(), Answer> {
    let _turn = ecs::launch::turn(&control.store).await;
    let started = control.store.update(|snapshot| {
        if task_of(snapshot, &service.scope, &service.cluster, &hook.execution_id).is_some() {
            return Ok((Transaction::new(), Vec::new()));
        }
        let key = service_revision_key(&service.scope, &service.cluster, &service.name, revision);
        let workload =
            snapshot.get::<ServiceRevision>(&key).and_then(|revision| Workload::of_revision(&revision));
        let workload = workload.ok_or_else(|| Fault::new("ClientException", "The revision is gone.", 400))?;
        let call = call_of(&service.scope, control.clock.now());
        let ids = control.ids.as_ref();
        let placed =
            one_off::start(snapshot, &call, ids, service, &workload, &hook.target, &hook.execution_id)?;
        Ok((placed.transaction, placed.failures))
    });
    let failures = started.await.map_err(|error: store::UpdateError<Fault>| match error {
        store::UpdateError::Refused(fault) => {
            Answer::Impossible(format!("Its task cannot be started: {}", fault.message()))
        }
        store::UpdateError::Transact(error) => Answer::None(error.to_string()),
    })?;
    match failures.first() {
        None => Ok(()),
        Some(failure) => {
            let reason = failure.reason.as_deref().unwrap_or_default();
            Err(Answer::Impossible(format!("Its task cannot be started: {reason}.")))
        }
    }
}
