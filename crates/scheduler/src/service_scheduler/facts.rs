//! [`Facts`]: what the decisions on a service ask of a task, in one piece of memory.

use base::Timestamp;
use domain::{DesiredStatus, HealthStatus, TargetState, Task, TaskStatus};

use super::{Grace, Verdict};

/// What the decisions on a service ask of a task's row. A row is some kilobytes in many places of memory: whoever keeps these
/// beside it decides on thousands of tasks without reading their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How far it is.
    pub last_status: TaskStatus,
    /// Meant to run, and has not begun to end.
    pub live: bool,
    /// What its containers' checks say.
    health: HealthStatus,
    /// An essential container has a check.
    checked: bool,
    /// A load balancer's check fails.
    target_fails: bool,
    /// A load balancer has no verdict.
    target_waits: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was RUNNING.
    pub started_at: Option<Timestamp>,
    /// Scale-in leaves it alone until then.
    pub protected_until: Option<Timestamp>,
}

impl Facts {
    /// Reads them off its row.
    pub fn of(task: &Task) -> Self {
        let any = |wanted: fn(TargetState) -> bool| task.targets.iter().any(|target| wanted(target.state));
        Self {
            last_status: task.last_status,
            live: task.desired_status == DesiredStatus::Running
                && task.last_status < TaskStatus::Deactivating,
            health: task.health_status,
            checked: task
                .containers
                .iter()
                .any(|container| container.essential && container.has_health_check),
            target_fails: any(|state| state == TargetState::Unhealthy),
            target_waits: any(|state| !matches!(state, TargetState::Healthy | TargetState::Unhealthy)),
            created_at: task.times.created_at,
            started_at: task.times.started_at,
            protected_until: task.protected_until,
        }
    }

    /// Whether it counts as running or pending.
    pub fn occupies(&self) -> bool {
        self.last_status < TaskStatus::Deactivating
    }

    /// What is known of its health now.
    pub fn verdict(&self, grace: Grace, now: Timestamp) -> Verdict {
        if self.last_status != TaskStatus::Running {
            return Verdict::Starting;
        }
        // One check that fails is enough, and one that has no verdict leaves none.
        self.targets_verdict(grace, now).min(self.containers_verdict(grace, now))
    }

    fn targets_verdict(&self, grace: Grace, now: Timestamp) -> Verdict {
        if self.target_fails && now >= self.grace_ends(grace.targets_seconds) {
            Verdict::Unhealthy
        } else if self.target_fails || self.target_waits {
            Verdict::Starting
        } else {
            Verdict::Healthy
        }
    }

    fn containers_verdict(&self, grace: Grace, now: Timestamp) -> Verdict {
        match self.health {
            HealthStatus::Unhealthy if now < self.grace_ends(grace.containers_seconds) => Verdict::Starting,
            HealthStatus::Unhealthy => Verdict::Unhealthy,
            HealthStatus::Healthy => Verdict::Healthy,
            HealthStatus::Unknown if self.checked => Verdict::Starting,
            HealthStatus::Unknown => Verdict::Healthy,
        }
    }

    /// When a check that fails now begins to count; `None` where none fails, or it counts already or never will.
    pub(super) fn counts_from(&self, grace: Grace, now: Timestamp) -> Option<Timestamp> {
        let failing = [
            (self.health == HealthStatus::Unhealthy, grace.containers_seconds),
            (self.target_fails, grace.targets_seconds),
        ];
        let ends = failing
            .into_iter()
            .filter(|(fails, seconds)| self.live && *fails && *seconds != Grace::FOR_EVER_SECONDS)
            .map(|(_, seconds)| self.grace_ends(seconds));
        ends.filter(|ends| now < *ends).min()
    }

    fn grace_ends(&self, grace_period_seconds: i32) -> Timestamp {
        let started_at = self.started_at.unwrap_or(self.created_at);
        started_at.plus_seconds(i64::from(grace_period_seconds.max(0)))
    }
}
