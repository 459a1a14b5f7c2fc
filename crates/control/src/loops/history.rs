//! Forgets what is kept for a time only: stopped tasks, uses of client tokens, and operations of AWS Cloud Map.

use std::time::Duration;

use base::Timestamp;
use domain::{ClientTokenUse, DiscoveryOperation, Task};
use store::rows::{CLIENT_TOKENS_BY_TIME, TASKS_STOPPED_AT};
use store::rows_service_discovery::DISCOVERY_OPERATIONS_BY_TIME;
use store::{Row, Transaction};

use crate::Control;

/// How long a client token protects. Source: AWS, "Ensuring idempotency in Amazon ECS API requests" (24 hours).
const CLIENT_TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long GetOperation tells of an operation of AWS Cloud Map. Ours: AWS does not say how long it does.
const DISCOVERY_OPERATION_LIFE: Duration = Duration::from_secs(24 * 3600);
/// The loop looks at least this often, so that a clock that was set does no lasting harm.
const SLOW_SCAN: Duration = Duration::from_secs(600);
/// And at most this often.
const BREATHER: Duration = Duration::from_secs(1);
/// Rows removed in one transaction.
const BATCH: usize = 500;

/// Removes rows when their time has come; sleeps until the next one's.
pub async fn run(control: Control) {
    loop {
        let now = control.clock.now();
        let since = control.store.snapshot().version();
        let next = forget(&control, now).await;
        let wait = next.map_or(SLOW_SCAN, |next| {
            Duration::from_millis(u64::try_from(next.since_millis(now)).unwrap_or_default())
        });
        tokio::time::sleep(wait.clamp(BREATHER, SLOW_SCAN)).await;
        if next.is_none() {
            // Nothing ages: sleep until something is there that could.
            control
                .store
                .changed(&[Task::TABLE, ClientTokenUse::TABLE, DiscoveryOperation::TABLE], since)
                .await;
        }
    }
}

/// Removes what is due and says when the next row will be.
async fn forget(control: &Control, now: Timestamp) -> Option<Timestamp> {
    let history = i64::try_from(control.config.task_history.as_millis()).unwrap_or(i64::MAX);
    let token_life = i64::try_from(CLIENT_TOKEN_LIFE.as_millis()).unwrap_or(i64::MAX);
    let operation_life = i64::try_from(DISCOVERY_OPERATION_LIFE.as_millis()).unwrap_or(i64::MAX);
    let snapshot = control.store.snapshot();
    let mut transaction = Transaction::new();
    let mut next: Option<Timestamp> = None;
    let mut removed = 0;
    let mut due = |at: Timestamp| {
        let is_due = at <= now && removed < BATCH;
        if is_due {
            removed += 1;
        } else {
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        is_due
    };
    for task in snapshot.index::<Task>(TASKS_STOPPED_AT, &[], None) {
        let stopped_at = task.times.stopped_at.unwrap_or(task.times.created_at);
        if !due(stopped_at.plus_millis(history)) {
            break;
        }
        transaction.remove(&task);
    }
    for token in snapshot.index::<ClientTokenUse>(CLIENT_TOKENS_BY_TIME, &[], None) {
        if !due(token.used_at.plus_millis(token_life)) {
            break;
        }
        transaction.remove(&token);
    }
    for operation in snapshot.index::<DiscoveryOperation>(DISCOVERY_OPERATIONS_BY_TIME, &[], None) {
        if !due(operation.created_at.plus_millis(operation_life)) {
            break;
        }
        transaction.remove(&operation);
    }
    if !transaction.is_empty()
        && let Err(error) = control.store.transact(transaction).await
    {
        tracing::warn!(%error, "old rows stay for now");
        return Some(now.plus_seconds(10));
    }
    next
}
