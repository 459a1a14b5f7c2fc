//! Stops tasks whose wall-clock limit is over. A limit is on the task's row, and so is the moment that it counts from: a
//! start of the control plane goes on where the last one ended, and stops at once what is overdue.

use std::convert::Infallible;
use std::time::Duration;

use base::Timestamp;
use domain::{OutboxMessage, StopCode, Task};
use scheduler::task_deadline::{Action, Observed, decide};
use scheduler::task_lifecycle;
use store::rows::TASKS_BY_DEADLINE;
use store::{Row as _, Snapshot, Transaction, Versioned};

use crate::Control;

/// The loop looks at least this often, so that a clock that was set does no lasting harm.
const SLOW_SCAN: Duration = Duration::from_secs(60);
/// How soon it tries again what could not be written.
const RETRY: Duration = Duration::from_secs(1);
/// Tasks stopped in one transaction. Ours: more of them conflict more often.
const BATCH: usize = 64;

/// Stops what is overdue; sleeps until the next limit is over or a task changes.
pub async fn run(control: Control) {
    loop {
        let since = control.store.snapshot().version();
        let wait = match pass(&control, control.clock.now()).await {
            Ok(Some(wake_at)) => until(wake_at, control.clock.now()).min(SLOW_SCAN),
            Ok(None) => SLOW_SCAN,
            Err(error) => {
                tracing::warn!(%error, "a task runs for longer than it may");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        tokio::select! {
            biased;
            _ = control.store.changed(&[Task::TABLE], since) => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn until(wake_at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(wake_at.since_millis(now)).unwrap_or_default())
}

/// Stops all that are overdue, and says when the next one will be.
async fn pass(
    control: &Control,
    now: Timestamp,
) -> Result<Option<Timestamp>, store::UpdateError<Infallible>> {
    loop {
        let (more, wake_at) = control.store.update(|snapshot| Ok(step(snapshot, now))).await?;
        if !more {
            return Ok(wake_at);
        }
    }
}

/// Stops the first ones; whether there may be more, and when to look again.
fn step(snapshot: &Snapshot, now: Timestamp) -> (Transaction, (bool, Option<Timestamp>)) {
    let rows: Vec<Versioned<Task>> =
        snapshot.index::<Task>(TASKS_BY_DEADLINE, &[], None).take(BATCH).collect();
    let tasks: Vec<&Task> = rows.iter().map(|row| row.value.as_ref()).collect();
    let decision = decide(Observed { tasks: &tasks }, now);
    let mut transaction = Transaction::new();
    for Action::Stop { task, reason } in &decision.actions {
        let row = &rows[*task];
        let next = task_lifecycle::request_stop(row, StopCode::UserInitiated, reason, now).task;
        if task_lifecycle::may_be_told_to_stop(&next)
            && let Some(order) = OutboxMessage::stop(&next, now)
        {
            transaction.put(order);
        }
        transaction.replace(row, next);
    }
    (transaction, (decision.actions.len() == BATCH, decision.wake_at))
}
