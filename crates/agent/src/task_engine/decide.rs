//! What to do next about a task: a pure function of its plan, its record and what is under way.
//!
//! The words: a container is *waiting* (a dependency is not there yet), *hopeless* (it never will be), *ready* (its next
//! step can be taken), *busy* (a step is under way), *up* (started, not ended) or *down*. A task *rises* while it is meant
//! to run and *falls* from the first reason to stop on: then containers go down in the reverse order of their dependencies.

use base::Timestamp;

use super::plan::{Condition, ContainerPlan, TaskPlan};
use super::record::{ContainerRecord, Desired, KnownStatus, TaskRecord};

/// A step that is under way for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The image is being fetched. May be abandoned at any time.
    Pulling,
    /// It is being made.
    Creating,
    /// It is being started (or started again).
    Starting,
    /// The stop signal was sent.
    Stopping,
}

/// What a health check says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// None yet.
    #[default]
    Unknown,
    /// It passes.
    Healthy,
    /// It failed too often.
    Unhealthy,
}

/// Cgroup, network and volumes of the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskResources {
    /// Not there.
    #[default]
    Absent,
    /// Being made.
    Preparing,
    /// There.
    Ready,
}

/// What is there.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// What was ordered.
    pub plan: &'a TaskPlan,
    /// What is known.
    pub record: &'a TaskRecord,
    /// What the containers share.
    pub resources: TaskResources,
    /// Steps under way, by container.
    pub operations: &'a [Option<Operation>],
    /// Health, by container.
    pub health: &'a [Verdict],
}

/// A step to take. Containers are named by their place in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make what the containers share.
    PrepareResources,
    /// Fetch the image.
    Pull(usize),
    /// Make the container.
    Create(usize),
    /// Start it.
    Start(usize),
    /// Start it again after its end.
    Restart(usize),
    /// Send the stop signal, and SIGKILL after the stop timeout.
    Stop(usize),
    /// It will never run (again): take it as stopped.
    GiveUp {
        /// Which.
        container: usize,
        /// Why, where the container itself is to blame.
        reason: Option<String>,
    },
    /// Turn the task to stopping.
    StopTask {
        /// Why, in ECS's words.
        reason: String,
    },
    /// All is down: give back what the task holds.
    Finish,
}

/// What to do, and when to ask again even if nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Steps, all to be taken now.
    pub actions: Vec<Action>,
    /// A time limit runs out then.
    pub wake_at: Option<Timestamp>,
    /// Why containers wait, for the log.
    pub waiting: Vec<String>,
}

/// How a dependency stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Met,
    Waiting { until: Option<Timestamp> },
    Hopeless(String),
}

/// AWS's words for the end of a task by the end of an essential container.
pub const ESSENTIAL_CONTAINER_EXITED: &str = "Essential container in task exited";

/// What to do next.
pub fn decide(observed: &Observed, now: Timestamp) -> Decision {
    let record = observed.record;
    if record.finished_at.is_some() {
        return Decision::default();
    }
    if record.containers.iter().all(|container| container.known == KnownStatus::Stopped) {
        if let (Desired::Running, Some(reason)) = (record.desired, reason_to_stop(observed)) {
            return Decision { actions: vec![Action::StopTask { reason }], ..Decision::default() };
        }
        // What is being made could not be given back yet.
        let busy =
            observed.operations.iter().any(Option::is_some) || observed.resources == TaskResources::Preparing;
        let actions = if busy { Vec::new() } else { vec![Action::Finish] };
        return Decision { actions, ..Decision::default() };
    }
    match record.desired {
        Desired::Running => rise(observed, now),
        Desired::Stopped => fall(observed),
    }
}

fn rise(observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    if let Some(reason) = reason_to_stop(observed) {
        decision.actions.push(Action::StopTask { reason });
        return decision;
    }
    if observed.resources == TaskResources::Absent {
        decision.actions.push(Action::PrepareResources);
    }
    for (index, container) in observed.record.containers.iter().enumerate() {
        if observed.operations.get(index).copied().flatten().is_some() {
            continue;
        }
        match container.known {
            KnownStatus::None => decision.actions.push(Action::Pull(index)),
            KnownStatus::Pulled => match dependencies(observed, index, now) {
                Standing::Met if observed.resources == TaskResources::Ready => {
                    decision.actions.push(Action::Create(index));
                }
                Standing::Met => {}
                Standing::Waiting { until } => {
                    decision.waiting.push(container.name.clone());
                    decision.wake_at = earlier(decision.wake_at, until);
                }
                Standing::Hopeless(reason) => {
                    decision.actions.push(Action::GiveUp { container: index, reason: Some(reason.clone()) });
                    decision.actions.push(Action::StopTask { reason });
                    return decision;
                }
            },
            KnownStatus::Created => decision.actions.push(Action::Start(index)),
            KnownStatus::Running if container.restart_due => decision.actions.push(Action::Restart(index)),
            KnownStatus::Running | KnownStatus::Stopped => {}
        }
    }
    decision
}

/// The first essential container that is down takes the task with it.
fn reason_to_stop(observed: &Observed) -> Option<String> {
    let pairs = observed.plan.containers.iter().zip(&observed.record.containers);
    let mut down = pairs.filter(|(plan, record)| plan.essential && record.known == KnownStatus::Stopped);
    let (_, record) = down.next()?;
    Some(match (&record.reason, record.started_at) {
        (Some(reason), None) => reason.clone(),
        _ => ESSENTIAL_CONTAINER_EXITED.to_owned(),
    })
}

fn fall(observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    for (index, container) in observed.record.containers.iter().enumerate() {
        let operation = observed.operations.get(index).copied().flatten();
        match (container.known, operation) {
            (KnownStatus::Stopped, _)
            | (_, Some(Operation::Creating | Operation::Starting | Operation::Stopping)) => {}
            (KnownStatus::Running, _) if container.restart_due => {
                decision.actions.push(Action::GiveUp { container: index, reason: None });
            }
            (KnownStatus::Running, _) => {
                if dependants_are_down(observed, index) {
                    decision.actions.push(Action::Stop(index));
                } else {
                    decision.waiting.push(container.name.clone());
                }
            }
            (KnownStatus::None | KnownStatus::Pulled | KnownStatus::Created, _) => {
                decision.actions.push(Action::GiveUp { container: index, reason: None });
            }
        }
    }
    decision
}

/// Whether all that depend on the container are down.
fn dependants_are_down(observed: &Observed, index: usize) -> bool {
    observed.plan.containers.iter().zip(&observed.record.containers).all(|(plan, record)| {
        record.known == KnownStatus::Stopped
            || !plan.dependencies.iter().any(|dependency| dependency.on == index)
    })
}

/// How the dependencies of a container stand, all together: the worst counts.
fn dependencies(observed: &Observed, index: usize, now: Timestamp) -> Standing {
    let Some(plan) = observed.plan.containers.get(index) else { return Standing::Met };
    let mut until = None;
    let mut waiting = false;
    for dependency in &plan.dependencies {
        let (Some(on), Some(record)) =
            (observed.plan.containers.get(dependency.on), observed.record.containers.get(dependency.on))
        else {
            continue;
        };
        let health = observed.health.get(dependency.on).copied().unwrap_or_default();
        match standing(dependency.condition, on, record, health, now) {
            Standing::Met => {}
            Standing::Waiting { until: limit } => {
                waiting = true;
                until = earlier(until, limit);
            }
            hopeless @ Standing::Hopeless(_) => return hopeless,
        }
    }
    if waiting { Standing::Waiting { until } } else { Standing::Met }
}

fn standing(
    condition: Condition,
    on: &ContainerPlan,
    record: &ContainerRecord,
    health: Verdict,
    now: Timestamp,
) -> Standing {
    let down = record.known == KnownStatus::Stopped;
    let (met, never, word) = match condition {
        Condition::Created => (record.created_at.is_some(), down, "be created"),
        Condition::Start => (record.started_at.is_some(), down, "start"),
        Condition::Complete => (down && record.started_at.is_some(), down, "complete"),
        Condition::Success => (down && record.exit_code == Some(0), down, "succeed"),
        Condition::Healthy => {
            let up = record.known == KnownStatus::Running;
            (up && health == Verdict::Healthy, down || on.health_check.is_none(), "become healthy")
        }
    };
    if met {
        return Standing::Met;
    }
    let failed = |detail: &str| {
        Standing::Hopeless(format!("DependencyError: container {} did not {word}{detail}", on.name))
    };
    if never {
        return failed("");
    }
    // The start timeout runs from the start of the container that is waited for. Source: ContainerDefinition, startTimeout.
    let limit = match (condition, on.start_timeout, record.started_at) {
        (Condition::Complete | Condition::Success | Condition::Healthy, Some(timeout), Some(started)) => {
            Some((timeout, started.plus_millis(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX))))
        }
        _ => None,
    };
    match limit {
        Some((timeout, at)) if now >= at => {
            failed(&format!(" within its start timeout of {} seconds", timeout.as_secs()))
        }
        Some((_, at)) => Standing::Waiting { until: Some(at) },
        None => Standing::Waiting { until: None },
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whether a container that ended shall be started again in place. It must be meant to run, its exit code not be ignored, and
/// it must have run for the attempt period. Source: ContainerRestartPolicy.
pub fn restarts(plan: &ContainerPlan, desired: Desired, ran_millis: i64, exit_code: i32) -> bool {
    let Some(restart) = &plan.restart else { return false };
    desired == Desired::Running
        && !restart.ignored_exit_codes.contains(&exit_code)
        && ran_millis >= i64::try_from(restart.attempt_period.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
