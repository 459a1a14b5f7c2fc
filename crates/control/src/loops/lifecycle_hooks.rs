//! Calls the functions that lifecycle hooks name, and notes what they answer.
//!
//! What is to be called is read off the rows of open deployments: a hook that is IN_PROGRESS and whose wait is over. A
//! crash while a call is under way repeats the call, with the hook's own identity; what the answer means is decided in
//! `scheduler::deployment::hooks`.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use base::{Ids, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{HookRun, HookStatus, LifecycleStage, Service, ServiceDeployment, ServiceRevision};
use scheduler::deployment::Decision;
use scheduler::deployment::hooks::{self, AWS_LAMBDA, Answer};
use serde_json::{Map, Value, json};
use store::rows_service::{SERVICE_DEPLOYMENTS_OPEN, service_key};
use store::{Key, Row as _, Snapshot, Transaction};
use tokio::task::JoinSet;

use crate::Control;
use crate::deployment_configuration;
use crate::loops::hook_tasks;
use crate::seams::{CallError, HookCall};

/// Calls under way at once. A call may take a quarter of an hour: some that hang must not keep the others waiting.
const CALLS_AT_ONCE: usize = 256;
/// The loop looks at least this often, so that a clock that was set does no lasting harm.
const SLOW_SCAN: Duration = Duration::from_secs(60);
/// What could not be noted is tried again after this.
const BREATHER: Duration = Duration::from_secs(1);
/// The most bytes of `hookDetails` that are kept between two calls. It is part of the deployment's row.
const DETAILS_BYTES_MAXIMUM: usize = 16 * 1024;
/// What the id of a pause begins with. Source: AWS, "Pause hooks for Amazon ECS service deployments".
const PAUSE_PREFIX: &str = "ecs-pause-";

/// A hook that is being called: the deployment's key, and the hook's id.
type Run = (Key, String);

/// Gives the hooks that a decision begins their ids and adds them to its deployment.
pub fn mint(decision: &mut Decision, ids: &dyn Ids) {
    let begun = std::mem::take(&mut decision.begin_hooks);
    let Some(deployment) = &mut decision.deployment else { return };
    for mut hook in begun {
        hook.id = if hook.target_type == AWS_LAMBDA {
            ids.uuid()
        } else {
            let mut bytes = [0; 32];
            ids.fill(&mut bytes);
            format!("{PAUSE_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
        };
        deployment.hooks.push(hook);
    }
}

/// Calls what is due, until the process ends.
pub async fn run(control: Control) {
    let mut calls = JoinSet::new();
    let mut under_way = BTreeSet::new();
    loop {
        let snapshot = control.store.snapshot();
        let since = snapshot.version();
        let now = control.clock.now();
        let (due, next) = due(&snapshot, now);
        for run in due {
            if under_way.len() >= CALLS_AT_ONCE {
                break;
            }
            if !under_way.contains(&run)
                && let Some(call) = call_of(&snapshot, &run)
            {
                under_way.insert(run.clone());
                calls.spawn(one(control.clone(), run, call));
            }
        }
        let wait = next.map_or(SLOW_SCAN, |next| {
            Duration::from_millis(u64::try_from(next.since_millis(now)).unwrap_or_default())
        });
        tokio::select! {
            biased;
            Some(done) = calls.join_next() => match done {
                Ok(run) => { under_way.remove(&run); }
                Err(error) => {
                    // Whose call it was is not said: all are taken up again, each with its own id.
                    tracing::error!(%error, "a call of a lifecycle hook ended badly");
                    calls.shutdown().await;
                    under_way.clear();
                }
            },
            _ = control.store.changed(&[ServiceDeployment::TABLE], since) => {}
            () = tokio::time::sleep(wait.min(SLOW_SCAN)) => {}
        }
    }
}

/// The hooks to call now, and when the next one will be due.
fn due(snapshot: &Snapshot, now: Timestamp) -> (Vec<Run>, Option<Timestamp>) {
    let mut due = Vec::new();
    let mut next: Option<Timestamp> = None;
    for deployment in snapshot.index::<ServiceDeployment>(SERVICE_DEPLOYMENTS_OPEN, &[], None) {
        for hook in deployment.hooks.iter().filter(|hook| is_called(hook)) {
            match hook.call_not_before {
                Some(later) if now < later => next = Some(next.map_or(later, |next| next.min(later))),
                _ => due.push((deployment.key(), hook.id.clone())),
            }
        }
    }
    (due, next)
}

fn is_called(hook: &HookRun) -> bool {
    hook.target_type == AWS_LAMBDA && hook.status == HookStatus::InProgress
}

/// A call, with the last moment at which its answer matters.
struct Prepared {
    call: HookCall,
    /// Whose deployment it is, and the revision that it goes to.
    service: Key,
    revision: String,
    details: Map<String, Value>,
    expires_at: Option<Timestamp>,
}

fn call_of(snapshot: &Snapshot, (key, id): &Run) -> Option<Prepared> {
    let deployment = snapshot.get::<ServiceDeployment>(key)?;
    let hook = deployment.hooks.iter().find(|hook| hook.id == *id)?;
    let service =
        snapshot.get::<Service>(&service_key(&deployment.scope, &deployment.cluster, &deployment.service))?;
    let details = details(&deployment, hook);
    Some(Prepared {
        service: service.key(),
        revision: deployment.target_revision.clone(),
        call: HookCall {
            target: hook.target.clone()?,
            execution_id: hook.id.clone(),
            payload: payload(&service, &deployment, hook, &details).to_string(),
        },
        details,
        expires_at: hook.expires_at,
    })
}

/// The configuration's `hookDetails`, and over them what the function gave with IN_PROGRESS.
fn details(deployment: &ServiceDeployment, hook: &HookRun) -> Map<String, Value> {
    let configuration = deployment_configuration::read(&deployment.deployment_configuration_document);
    let configured = configuration
        .lifecycle_hooks
        .and_then(|hooks| hooks.into_iter().nth(usize::from(hook.hook)))
        .and_then(|hook| hook.hook_details);
    let mut details = match configured {
        Some(Value::Object(details)) => details,
        _ => Map::new(),
    };
    if let Some(Ok(Value::Object(given))) = hook.callback.as_deref().map(serde_json::from_str::<Value>) {
        details.extend(given);
    }
    details
}

/// The function's event. Source: AWS, "Lambda hooks for Amazon ECS service deployments", "Lifecycle payloads".
fn payload(
    service: &Service,
    deployment: &ServiceDeployment,
    hook: &HookRun,
    details: &Map<String, Value>,
) -> Value {
    let arn =
        |id: &str| ServiceRevision::arn_of(&service.scope, &service.cluster, &service.name, id).to_string();
    let weights = |shown: bool, weight: fn(&domain::RevisionInUse) -> u16| {
        let shown = service.revisions.iter().filter(|_| shown);
        shown.map(|revision| (arn(&revision.id), percent(weight(revision)))).collect::<Map<_, _>>()
    };
    let test = hook.stage == LifecycleStage::TestTrafficShift;
    let production = matches!(
        hook.stage,
        LifecycleStage::PreProductionTrafficShift | LifecycleStage::ProductionTrafficShift
    );
    let mut event = json!({
        "executionId": hook.id,
        "lifecycleStage": hook.stage.as_str(),
        "resourceArn": deployment.arn().to_string(),
        "executionDetails": {
            "serviceArn": service.arn().to_string(),
            "targetServiceRevisionArn": arn(&deployment.target_revision),
            "testTrafficWeights": weights(test, |revision| revision.test_weight),
            "productionTrafficWeights": weights(production, |revision| revision.production_weight),
        },
    });
    if !details.is_empty() {
        event["hookDetails"] = Value::Object(details.clone());
    }
    event
}

/// Tenths of a percent as a JSON number of percent: a whole one where it is whole.
fn percent(tenths: u16) -> Value {
    if tenths.is_multiple_of(10) { json!(tenths / 10) } else { json!(f64::from(tenths) / 10.0) }
}

/// Calls one function and notes the answer.
async fn one(control: Control, run: Run, prepared: Prepared) -> Run {
    let Prepared { call, service, revision, details, expires_at } = prepared;
    let target = call.target.clone();
    let left = expires_at.map_or(SLOW_SCAN, |expires_at| {
        let millis = expires_at.since_millis(control.clock.now());
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    });
    let asking = async {
        if hook_tasks::is_task_definition(&target) {
            return hook_tasks::run(&control, &service, &revision, &call).await;
        }
        match control.seams.hook_targets.call(call).await {
            Ok(body) => read(&body, details),
            Err(CallError::Unanswered(why)) => Answer::None(why),
            Err(CallError::Impossible(why)) => Answer::Impossible(why),
        }
    };
    // Whoever waits for the hook gives it up then: so does the call.
    let answered = tokio::time::timeout(left, asking).await;
    let answer = answered.unwrap_or_else(|_| Answer::None("its time ran out.".to_owned()));
    tracing::debug!(target, ?answer, "a lifecycle hook's function was called");
    let done = control.store.update(|snapshot| {
        let mut transaction = Transaction::new();
        if let Some(row) = snapshot.get::<ServiceDeployment>(&run.0) {
            let mut next = ServiceDeployment::clone(&row);
            if let Some(hook) = next.hooks.iter_mut().find(|hook| hook.id == run.1) {
                hooks::note(hook, answer.clone(), control.clock.now());
            }
            if next != *row {
                next.updated_at = control.clock.now();
                transaction.replace(&row, next);
            }
        }
        Ok::<_, Infallible>((transaction, ()))
    });
    if let Err(error) = done.await {
        tracing::warn!(%error, target, "a lifecycle hook's answer was not noted: it is called again");
        tokio::time::sleep(BREATHER).await;
    }
    run
}

/// Reads a function's result.
fn read(body: &[u8], mut details: Map<String, Value>) -> Answer {
    let Ok(Value::Object(result)) = serde_json::from_slice::<Value>(body) else {
        return Answer::Unreadable("the response is not a JSON object.".to_owned());
    };
    match result.get("hookStatus") {
        Some(Value::String(status)) if status == "SUCCEEDED" => Answer::Succeeded,
        Some(Value::String(status)) if status == "FAILED" => Answer::Failed,
        Some(Value::String(status)) if status == "IN_PROGRESS" => {
            let given = match result.get("hookDetails") {
                None | Some(Value::Null) => None,
                Some(Value::Object(given)) => {
                    details.extend(given.clone());
                    Some(Value::Object(details).to_string())
                }
                Some(_) => return Answer::Unreadable("hookDetails must be an object.".to_owned()),
            };
            if given.as_ref().is_some_and(|given| given.len() > DETAILS_BYTES_MAXIMUM) {
                return Answer::Unreadable(format!(
                    "hookDetails must have at most {DETAILS_BYTES_MAXIMUM} bytes."
                ));
            }
            match result.get("callBackDelay") {
                None | Some(Value::Null) => Answer::InProgress { callback_seconds: None, details: given },
                Some(delay) => match delay.as_i64() {
                    Some(seconds) => Answer::InProgress { callback_seconds: Some(seconds), details: given },
                    None => Answer::Unreadable("callBackDelay must be a whole number.".to_owned()),
                },
            }
        }
        None | Some(Value::Null) => Answer::Unreadable("HookStatus must not be null.".to_owned()),
        Some(_) => Answer::Unreadable("HookStatus must be one of SUCCEEDED, FAILED, IN_PROGRESS.".to_owned()),
    }
}
