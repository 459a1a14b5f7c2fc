//! How a service gets from one revision to the next: stages, steps, bake times, the circuit breaker, alarms, hooks, and
//! the way back.
//!
//! Vocabulary. The *target* is the revision that a deployment goes to; *sources* are the other revisions in use. The
//! *survivor* is the source that holds the service up meanwhile, as a rule the last COMPLETED one, which is the only one
//! that a rollback goes back to. A task is *settled* when it has been healthy for [`SETTLE_SECONDS`]: an image that exits at once
//! is RUNNING for a moment, and that moment completes nothing.
//!
//! Every clock is a moment in the deployment's row (`stage_at`, `step_at`, a hook's `expires_at`): a crash at any point
//! repeats no bake time, skips none, and calls no hook under a second id. What is waited for and why is in the report.
//!
//! Sources: AWS, "Amazon ECS service deployments", "Amazon ECS blue/green deployments", "… linear deployments", "… canary
//! deployments", "View service history using Amazon ECS service deployments", "Stopping Amazon ECS service deployments".
//!
//! Differs from AWS: a rollback does not give up; where the revision that it goes back to cannot start either, it is tried
//! on (with the throttle's waits), so that a service comes back with its registry. ROLLBACK_FAILED is a rollback without a
//! revision to go to. Rolling deployments pass the traffic stages too, so that hooks at them are called; AWS documents
//! hooks for all strategies, not at which stages of a rolling one. AWS documents the wording of circuit breaker and hook
//! failures; that of alarms, requests, and deployments overtaken by another is ours.

pub mod circuit_breaker;
pub mod configuration;
pub mod hooks;
mod rest;
mod rollback;
mod rollout;
mod stages;
#[cfg(test)]
mod tests;
mod traffic_shift;

use base::Timestamp;
use domain::{
    HookRun, MonitorStatus, RevisionInUse, RevisionStatus, RolloutState, STARTED_BY_SERVICE, Service,
    ServiceDeployment, ServiceDeploymentStatus,
};

pub use configuration::Configuration;
use rollout::Rollout;

/// Seconds that a task must have been healthy to count as up. Long enough that a program which cannot start has ended,
/// short enough not to be felt in a deployment (Docker Swarm's update monitor has the same default).
pub const SETTLE_SECONDS: i64 = 5;
/// Alarms are looked at this often while a deployment is under way.
pub const ALARM_POLL_SECONDS: i64 = 10;
/// Weights that do not hold yet are looked at this often.
pub const TRAFFIC_POLL_SECONDS: i64 = 1;

/// What is wished.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    /// The service.
    pub service: &'a Service,
    /// The deployment under way.
    pub deployment: Option<&'a ServiceDeployment>,
    /// The deployment's configuration; the service's where none is under way.
    pub configuration: &'a Configuration,
    /// Tasks that the service is to have: REPLICA, the service's desired count; DAEMON, the instances that are to have one.
    pub desired_count: i32,
}

/// A revision's tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionObserved {
    /// The revision's id.
    pub id: String,
    /// Wished to run and RUNNING.
    pub running: i32,
    /// Of those, healthy: HEALTHY, or without a health check.
    pub healthy: i32,
    /// Of those, healthy for [`SETTLE_SECONDS`].
    pub settled: i32,
    /// Wished to run, not yet RUNNING.
    pub pending: i32,
    /// Wished to stop, not yet STOPPED.
    pub stopping: i32,
    /// Since the last look, each task once: ended without having been RUNNING, and nobody had asked for it.
    pub failed: u32,
    /// Since the last look, each task once: stopped for its health.
    pub failed_health_checks: u32,
    /// Since the last look, each task once: had been RUNNING and ended by itself.
    pub exited: u32,
}

impl RevisionObserved {
    /// Tasks that are not STOPPED.
    pub fn remaining(&self) -> i32 {
        self.running + self.pending + self.stopping
    }

    /// Failures since the last look, as the circuit breaker counts.
    pub fn failures(&self) -> u32 {
        self.failed.saturating_add(self.failed_health_checks).saturating_add(self.exited)
    }
}

/// What is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed<'a> {
    /// Every revision that has tasks; one that is missing has none.
    pub revisions: &'a [RevisionObserved],
    /// Of the configuration's alarms, those that are in ALARM.
    pub firing_alarms: &'a [String],
    /// For how long the alarms want to watch a rolling deployment that is over.
    pub alarm_bake_seconds: i64,
    /// Whether the traffic weights that are stored with the service's revisions hold.
    pub traffic_held: bool,
}

/// Bounds of what is started and stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// No healthy task is stopped below this.
    pub floor: i32,
    /// No task is started above this.
    pub ceiling: i32,
    /// The bounds are those of each revision alone, not of all together.
    pub side_by_side: bool,
}

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The deployment's row.
    pub deployment: Option<ServiceDeployment>,
    /// The service's revisions in use, newest (PRIMARY) first.
    pub revisions: Vec<RevisionInUse>,
    /// Hooks to begin: to be given ids and added to the deployment's.
    pub begin_hooks: Vec<HookRun>,
    /// What to say, in AWS's words, behind `(service NAME) `.
    pub events: Vec<String>,
    /// Bounds of what is started and stopped.
    pub limits: Limits,
    /// When something will be due though nothing changes.
    pub wake_at: Option<Timestamp>,
    /// What is waited for.
    pub report: Vec<String>,
}

impl Decision {
    /// The service's `current_deployment` behind it.
    pub fn current_deployment(&self) -> Option<&str> {
        self.deployment.as_ref().filter(|row| !row.status.is_final()).map(|row| row.id.as_str())
    }
}

/// One step of a deployment, or of a service at rest. The same state gives the same rows.
pub fn decide(desired: &Desired<'_>, observed: &Observed<'_>, now: Timestamp) -> Decision {
    match desired.deployment {
        Some(open) if !open.status.is_final() => Rollout::new(desired, observed, open, now).decide(),
        _ => rest::decide(desired, observed, now),
    }
}

/// Bounds for a service without a deployment.
pub fn limits(configuration: &Configuration, desired_count: i32) -> Limits {
    Limits {
        floor: configuration.healthy_floor(desired_count),
        ceiling: configuration.running_ceiling(desired_count),
        side_by_side: false,
    }
}

/// The deployment that another one takes the place of.
pub fn supersede(open: &ServiceDeployment, now: Timestamp) -> ServiceDeployment {
    let mut closed = open.clone();
    end_stopped(&mut closed, "A newer service deployment took its place.", now);
    closed
}

/// `rolloutStateReason` of a rollout under way.
pub fn in_progress(revision: &str) -> String {
    format!("ECS deployment {STARTED_BY_SERVICE}{revision} in progress.")
}

/// `rolloutStateReason` of one that is done.
pub fn completed(revision: &str) -> String {
    format!("ECS deployment {STARTED_BY_SERVICE}{revision} completed.")
}

/// Whether a revision may get new tasks: one whose rollout failed does not.
pub fn may_start(revision: &RevisionInUse) -> bool {
    revision.rollout_state != RolloutState::Failed && revision.status != RevisionStatus::Inactive
}

fn end_stopped(deployment: &mut ServiceDeployment, reason: &str, now: Timestamp) {
    hooks::give_up(&mut deployment.hooks, reason);
    deployment.status = ServiceDeploymentStatus::Stopped;
    deployment.status_reason = Some(reason.to_owned());
    deployment.stopped_at.get_or_insert(now);
    deployment.finished_at = Some(now);
    deployment.updated_at = now;
    end_monitors(deployment);
}

/// Monitors that watched until now have watched to the end.
fn end_monitors(deployment: &mut ServiceDeployment) {
    for status in [&mut deployment.circuit_breaker_status, &mut deployment.alarm_status] {
        if *status == MonitorStatus::Monitoring {
            *status = MonitorStatus::MonitoringComplete;
        }
    }
}
