//! Which tasks have run for as long as they may: those with a wall-clock limit that is over are to be stopped.
//!
//! The limit counts from the moment that a task was first RUNNING, as that of AWS Batch does: pulling an image or waiting
//! for room takes nothing of it. It goes on while an agent or the control plane is away.

use base::Timestamp;
use domain::Task;

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Tasks with a deadline, in any order.
    pub tasks: &'a [&'a Task],
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wish that a task stop.
    Stop {
        /// Index in [`Observed::tasks`].
        task: usize,
        /// What it shows as its reason.
        reason: String,
    },
}

/// What to do, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In order.
    pub actions: Vec<Action>,
    /// When the next limit is over.
    pub wake_at: Option<Timestamp>,
}

/// Compares every deadline with the time.
pub fn decide(observed: Observed<'_>, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    for (index, task) in observed.tasks.iter().enumerate() {
        let (Some(deadline), Some(limit)) = (task.deadline(), task.max_runtime_seconds) else { continue };
        if deadline <= now {
            let reason =
                format!("Task ran for longer than its limit of {limit} s (roadstead:max-runtime-seconds)");
            decision.actions.push(Action::Stop { task: index, reason });
        } else {
            decision.wake_at = Some(decision.wake_at.map_or(deadline, |there| there.min(deadline)));
        }
    }
    decision
}
