//! Task scale-in protection. Source: AWS, "Protect your Amazon ECS tasks from being terminated by scale-in events" and
//! "API failure reasons".

use api::ecs as wire_shapes;
use base::{Arn, Timestamp};
use domain::{DesiredStatus, RevisionStatus, RolloutState, STARTED_BY_SERVICE, Service, Task};
use store::Snapshot;
use wire::{Call, Permission};

use super::service::{TaskCounts, live_tasks};

/// Minutes of protection where the caller does not say.
pub const DEFAULT_MINUTES: i32 = 120;
/// Most minutes of protection.
pub const MOST_MINUTES: i32 = 2880;

/// Whether the task is protected at `now`.
pub fn is_protected(task: &Task, now: Timestamp) -> bool {
    task.protected_until.is_some_and(|until| until > now)
}

/// Why protection of the task cannot be told or set: no service's scheduler started it, or it is being stopped.
pub fn not_valid(task: &Task) -> Option<&'static str> {
    let of_service = task.group.starts_with("service:")
        && task.started_by.as_deref().is_some_and(|by| by.starts_with(STARTED_BY_SERVICE));
    if !of_service {
        return Some("The specified task is not part of an Amazon ECS service.");
    }
    (task.desired_status == DesiredStatus::Stopped || !task.last_status.holds_resources())
        .then_some("The specified task is stopping or stopped.")
}

/// Whether only protected tasks of older revisions keep the service's deployment from its steady state: nothing more is
/// protected then.
pub fn blocks_deployment(snapshot: &Snapshot, service: &Service, task: &Task, now: Timestamp) -> bool {
    let Some(primary) = service.primary() else { return false };
    let is_old = |task: &Task| {
        let id = task.started_by.as_deref().and_then(|by| by.strip_prefix(STARTED_BY_SERVICE));
        id.is_some_and(|id| id != primary.id)
    };
    if primary.rollout_state != RolloutState::InProgress || !is_old(task) {
        return false;
    }
    let replaced = service.revisions.iter().any(|revision| revision.status == RevisionStatus::Active);
    let counts = TaskCounts::of_group(snapshot, &service.scope, &service.cluster, &service.group());
    let new_are_up = counts.of(&primary.id).0 >= service.desired_count;
    replaced
        && new_are_up
        && live_tasks(snapshot, &service.scope, &service.cluster, &service.group())
            .any(|task| is_old(&task) && is_protected(&task, now))
}

/// The task's protection on the wire.
pub fn describe(task: &Task, now: Timestamp) -> wire_shapes::ProtectedTask {
    let until = task.protected_until.filter(|until| *until > now);
    wire_shapes::ProtectedTask {
        task_arn: Some(task.arn().to_string()),
        protection_enabled: Some(until.is_some()),
        expiration_date: until,
    }
}

/// A failure for the task of this id.
pub fn failure(
    call: &Call,
    cluster: &str,
    id: &str,
    reason: &str,
    detail: Option<&str>,
) -> wire_shapes::Failure {
    wire_shapes::Failure {
        arn: Some(Arn::new("ecs", &call.scope, format!("task/{cluster}/{id}")).to_string()),
        reason: Some(reason.to_owned()),
        detail: detail.map(str::to_owned),
    }
}

/// What a call that names tasks needs.
pub fn permissions(
    call: &Call,
    action: &'static str,
    cluster: Option<&str>,
    tasks: &[String],
) -> Vec<Permission> {
    let of_cluster = super::cluster::arn_for_permission(call, cluster);
    let name = super::cluster::name(call, cluster);
    let permission = |text: &String| {
        let arn = || {
            let name = name.as_ref().ok()?;
            let id = super::task::id(call, name, text).ok()?;
            Some(Arn::new("ecs", &call.scope, format!("task/{name}/{id}")).to_string())
        };
        Permission::new(action, arn().unwrap_or_else(|| "*".to_owned())).when("ecs:cluster", &of_cluster)
    };
    tasks.iter().map(permission).collect()
}
