//! The laws of states, beside those of decisions in [`laws`](crate::laws): a simulation asks them after each transaction,
//! of what was there before and after it.

use base::Timestamp;
use domain::{DesiredStatus, HealthStatus, StopCode, TargetState, Task, TaskStatus};

/// How many tasks a service may have at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Healthy ones at least, as far as the scheduler can help it.
    pub floor: i64,
    /// Running and pending ones at most.
    pub ceiling: i64,
}

impl Bounds {
    /// Source: AWS, "DeploymentConfiguration" data type: the minimum is rounded up, the maximum down.
    pub fn of(desired_count: i32, minimum_healthy_percent: i64, maximum_percent: i64) -> Self {
        let desired = i64::from(desired_count);
        Self {
            floor: desired.saturating_mul(minimum_healthy_percent).saturating_add(99) / 100,
            ceiling: desired.saturating_mul(maximum_percent) / 100,
        }
    }
}

/// Whether the task is running or pending.
fn occupies(task: &Task) -> bool {
    task.last_status < TaskStatus::Deactivating
}

/// Whether it is, and is meant to be.
fn counts(task: &Task) -> bool {
    task.desired_status == DesiredStatus::Running && occupies(task)
}

fn is_healthy(task: &Task) -> bool {
    let is_checked =
        task.containers.iter().any(|container| container.essential && container.has_health_check);
    let passes = if is_checked { HealthStatus::Healthy } else { HealthStatus::Unknown };
    let serves = task.targets.iter().all(|target| target.state == TargetState::Healthy);
    counts(task) && task.last_status == TaskStatus::Running && task.health_status == passes && serves
}

/// A task as a broken law tells of it.
fn seen(task: &Task) -> String {
    let targets: Vec<String> = task.targets.iter().map(|target| format!("{:?}", target.state)).collect();
    let (last, desired, health) = (task.last_status, task.desired_status, task.health_status);
    format!("{} {last:?}, to be {desired:?}, {health:?} {}", task.id, targets.join(" "))
}

/// The tasks that a service's scheduler stopped between the two.
fn stopped_by_scheduler<'a>(before: &[&'a Task], after: &[&Task]) -> Vec<&'a Task> {
    let is_stopped = |task: &&&Task| {
        counts(task)
            && after.iter().any(|now| {
                now.id == task.id
                    && now.desired_status == DesiredStatus::Stopped
                    && now.stop_code == Some(StopCode::ServiceSchedulerInitiated)
            })
    };
    before.iter().filter(is_stopped).copied().collect()
}

/// A service's scheduler starts nothing above the ceiling, and stops nothing healthy below the floor. `before` and `after` are
/// the service's tasks that are not STOPPED, on both sides of one transaction. What else takes tasks away (faults, users,
/// machines that go) may well leave fewer than the floor.
pub fn service_within_bounds(bounds: Bounds, before: &[&Task], after: &[&Task]) -> Result<(), String> {
    let occupying = after.iter().filter(|task| occupies(task)).count() as i64;
    let started =
        after.iter().filter(|task| counts(task) && !before.iter().any(|there| there.id == task.id)).count();
    if started > 0 && occupying > bounds.ceiling {
        let ceiling = bounds.ceiling;
        return Err(format!(
            "{started} tasks are started, which makes {occupying}, and {ceiling} is the ceiling"
        ));
    }
    let stopped = stopped_by_scheduler(before, after).into_iter().filter(|task| is_healthy(task)).count();
    let healthy = after.iter().filter(|task| is_healthy(task)).count() as i64;
    if stopped > 0 && healthy < bounds.floor {
        let floor = bounds.floor;
        let all: Vec<String> = before.iter().map(|task| seen(task)).collect();
        return Err(format!(
            "{stopped} healthy tasks are stopped, which leaves {healthy}, and {floor} is the floor; before: {}",
            all.join(", ")
        ));
    }
    Ok(())
}

/// A service's scheduler stops no protected task that is well.
pub fn protection_holds(before: &[&Task], after: &[&Task], now: Timestamp) -> Result<(), String> {
    let is_well = |task: &Task| {
        task.health_status != HealthStatus::Unhealthy
            && task.targets.iter().all(|target| target.state != TargetState::Unhealthy)
    };
    let protected = |task: &&Task| task.protected_until.is_some_and(|until| now < until) && is_well(task);
    match stopped_by_scheduler(before, after).into_iter().find(protected) {
        Some(task) => Err(format!("task {} is stopped though it is protected", task.id)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, last: &str, desired: &str) -> Task {
        serde_json::from_value(serde_json::json!({
            "scope": {"account": "000000000000", "region": "us-east-1"}, "id": id, "cluster": "default",
            "task_definition": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1", "family": "web",
            "revision": 1, "launch_type": "EC2", "last_status": last, "desired_status": desired, "version": 1,
            "group": "service:web", "network_mode": "host", "resources": {"cpu_units": 1, "memory_mib": 1},
            "containers": [], "health_status": "UNKNOWN", "times": {"created_at": 0},
            "stop_code": if desired == "STOPPED" { Some("ServiceSchedulerInitiated") } else { None },
        }))
        .unwrap()
    }

    #[test]
    fn rounding_follows_aws() {
        assert_eq!(Bounds::of(3, 50, 150), Bounds { floor: 2, ceiling: 4 });
        assert_eq!(Bounds::of(1, 100, 100), Bounds { floor: 1, ceiling: 1 });
        assert_eq!(Bounds::of(0, 100, 200), Bounds { floor: 0, ceiling: 0 });
    }

    #[test]
    fn starts_and_stops_are_held_against_the_bounds() {
        let [one, two, new] = ["1", "2", "3"].map(|id| task(id, "RUNNING", "RUNNING"));
        let bounds = Bounds { floor: 2, ceiling: 2 };
        assert!(service_within_bounds(bounds, &[&one, &two], &[&one, &two, &new]).is_err());
        assert!(service_within_bounds(bounds, &[&one], &[&one, &two]).is_ok());
        let stopped = task("2", "RUNNING", "STOPPED");
        assert!(service_within_bounds(bounds, &[&one, &two], &[&one, &stopped]).is_err());
        assert!(service_within_bounds(bounds, &[&one, &two, &new], &[&one, &stopped, &new]).is_ok());
        // A wish of the user's is not the scheduler's.
        let by_user = Task { stop_code: Some(StopCode::UserInitiated), ..stopped.clone() };
        assert!(service_within_bounds(bounds, &[&one, &two], &[&one, &by_user]).is_ok());
        // Over the ceiling already, but nothing is started: a smaller desired count.
        assert!(service_within_bounds(Bounds { floor: 0, ceiling: 1 }, &[&one, &two], &[&one, &two]).is_ok());
        let now = Timestamp::from_millis(10);
        let protected = Task { protected_until: Some(Timestamp::from_millis(11)), ..two };
        assert!(protection_holds(&[&protected], &[&stopped], now).is_err());
        assert!(protection_holds(&[&protected], &[&stopped], Timestamp::from_millis(11)).is_ok());
    }
}
