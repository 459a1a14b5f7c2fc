//! The ends of tasks, each counted once, and the throttle that they bring about.
//!
//! Source: AWS, "Service throttle logic": between tasks that never reach RUNNING the time rises to 15 minutes. The steps are
//! ours: 1, 2, 4 … seconds. AWS paces tasks that run for a moment and end by itself being slow; we are not, so those
//! are paced too, up to [`EXITED_SECONDS`] and without a word.

use base::Timestamp;
use domain::{Service, StopCode, Task};

use super::apply::{UNHEALTHY_REASON, UNHEALTHY_TARGET_REASON};

/// The longest pause between tasks that never reach RUNNING. Source: AWS, "Service throttle logic".
const NEVER_RAN_SECONDS: i64 = 15 * 60;
/// The longest pause between tasks that ran for less than [`SHORT_SECONDS`].
const EXITED_SECONDS: i64 = 30;
/// A task that ran for so long did start; its end is no sign that the next will not.
const SHORT_SECONDS: i64 = 60;
/// From so many failures in a row on the service says so.
const IMPAIRED_AFTER: u32 = 4;

/// AWS's sentence for it.
pub const IMPAIRED: &str = "is unable to consistently start tasks successfully. For more information, see the \
     Troubleshooting section of the Amazon ECS Developer Guide.";

/// How a task of a service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody asked for it, or its machine went.
    Asked,
    /// It never reached RUNNING.
    NeverRan,
    /// The scheduler stopped it for its health.
    Unhealthy,
    /// It was RUNNING, and ended by itself after so many seconds.
    Exited(i64),
}

/// How a STOPPED task ended.
pub fn end(task: &Task) -> End {
    match task.stop_code {
        Some(StopCode::ServiceSchedulerInitiated)
            if task.stopped_reason.as_deref().is_some_and(|reason| {
                reason == UNHEALTHY_REASON || reason.starts_with(UNHEALTHY_TARGET_REASON)
            }) =>
        {
            End::Unhealthy
        }
        Some(StopCode::TaskFailedToStart) => End::NeverRan,
        Some(StopCode::EssentialContainerExited) | None => match task.times.started_at {
            None => End::NeverRan,
            Some(started_at) => {
                let ended_at =
                    task.times.execution_stopped_at.or(task.times.stopped_at).unwrap_or(started_at);
                End::Exited(ended_at.since_millis(started_at) / 1000)
            }
        },
        Some(_) => End::Asked,
    }
}

/// Moves the throttle by what has ended since the last look. Gives whether the service is to say that it is impaired.
pub fn throttle(service: &mut Service, ends: &[End], now: Timestamp) -> bool {
    let ran_long = |end: &End| matches!(end, End::Exited(seconds) if *seconds >= SHORT_SECONDS);
    let renewed = service.primary().is_some_and(|primary| {
        service.start_not_before.is_some_and(|until| {
            primary.created_at > until.plus_seconds(-pause(service.failed_starts, NEVER_RAN_SECONDS))
        })
    });
    if renewed || (service.failed_starts > 0 && ends.iter().any(ran_long)) {
        service.failed_starts = 0;
        service.start_not_before = None;
    }
    let never_ran = ends.contains(&End::NeverRan);
    let short = ends.iter().any(|end| matches!(end, End::Exited(seconds) if *seconds < SHORT_SECONDS));
    // Those that were started together count once.
    if !(never_ran || short) || service.start_not_before.is_some_and(|until| now < until) {
        return false;
    }
    service.failed_starts = service.failed_starts.saturating_add(1);
    let longest = if never_ran { NEVER_RAN_SECONDS } else { EXITED_SECONDS };
    service.start_not_before = Some(now.plus_seconds(pause(service.failed_starts, longest)));
    never_ran && service.failed_starts >= IMPAIRED_AFTER
}

/// Ends the throttle once tasks have run for long.
pub fn recover(
    service: &mut Service,
    youngest_started_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    if service.failed_starts == 0 {
        return None;
    }
    let due = youngest_started_at?.plus_seconds(SHORT_SECONDS);
    if now < due {
        return Some(due);
    }
    service.failed_starts = 0;
    service.start_not_before = None;
    None
}

fn pause(failures: u32, longest: i64) -> i64 {
    1_i64.checked_shl(failures.saturating_sub(1).min(32)).unwrap_or(i64::MAX).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_rise_to_a_quarter_of_an_hour() {
        let pauses: Vec<i64> = (1..=12).map(|failures| pause(failures, NEVER_RAN_SECONDS)).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(pause(u32::MAX, EXITED_SECONDS), 30);
    }
}
