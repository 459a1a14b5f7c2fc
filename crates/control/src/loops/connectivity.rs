//! What a lost session changes: `agentConnected` of the container instance, and `connectivity` of its tasks, which go on.

use std::time::Duration;

use domain::{Connectivity, ContainerInstance, Task};
use futures_util::StreamExt as _;
use scheduler::task_lifecycle;
use store::rows::TASKS_HOLDING;
use store::{Key, Prefix, Row as _, Transaction};

use crate::Control;

/// How long agents have to come back after a start of the control plane before they count as gone: as long as a live
/// session may be silent. Until then tasks are still placed on their machines: an order waits in the outbox.
const RECONNECT_GRACE: Duration = Duration::from_secs(15);

/// Tasks that are written at once: their transactions share disk writes.
const AT_ONCE: usize = 64;

/// Sessions of the last process that were not taken up again in time are over. Runs once, then does nothing.
pub async fn forget_sessions_of_the_last_process(control: Control) {
    let connected: Vec<_> = control
        .store
        .snapshot()
        .scan::<ContainerInstance>(Prefix::everything(), None)
        .filter(|row| row.agent_connected)
        .map(|row| (row.arn().to_string(), row.key(), row.session_epoch))
        .collect();
    tokio::time::sleep(RECONNECT_GRACE).await;
    for (name, key, epoch) in connected {
        // An agent that was back before this looked.
        if control.sessions.is_live(&name, epoch) {
            continue;
        }
        disconnected(&control, &key, epoch).await;
    }
    std::future::pending::<()>().await;
}

/// Notes that the session `epoch` has ended, unless a newer one has begun.
pub async fn disconnected(control: &Control, key: &Key, epoch: u64) {
    let done = control.store.update(|snapshot| {
        let mut transaction = Transaction::new();
        if let Some(row) = snapshot.get::<ContainerInstance>(key)
            && row.agent_connected
            && row.session_epoch == epoch
        {
            let mut next = ContainerInstance::clone(&row);
            next.agent_connected = false;
            next.version += 1;
            transaction.replace(&row, next);
        }
        Ok::<_, std::convert::Infallible>((transaction, ()))
    });
    if let Err(error) = done.await {
        tracing::warn!(%error, "a lost agent is not noted");
    }
    note_on_tasks(control, key).await;
}

/// Shows on the tasks of a container instance whether its agent is connected. One transaction a task: a machine's tasks are
/// reported on and stopped meanwhile, and none of that must wait for all of them.
pub async fn note_on_tasks(control: &Control, key: &Key) {
    let snapshot = control.store.snapshot();
    let Some(instance) = snapshot.get::<ContainerInstance>(key) else { return };
    let arn = instance.arn().to_string();
    let keys: Vec<Key> = snapshot
        .index::<Task>(TASKS_HOLDING, &[&arn], None)
        .filter(|task| task_lifecycle::was_handed_out(task))
        .map(|task| task.key())
        .collect();
    futures_util::stream::iter(keys).for_each_concurrent(AT_ONCE, |task| note(control, key, task)).await;
}

async fn note(control: &Control, instance: &Key, task: Key) {
    let done = control.store.update(|snapshot| {
        let mut transaction = Transaction::new();
        if let (Some(instance), Some(row)) =
            (snapshot.get::<ContainerInstance>(instance), snapshot.get::<Task>(&task))
        {
            let connected = instance.agent_connected;
            let connectivity = if connected { Connectivity::Connected } else { Connectivity::Disconnected };
            let outcome = task_lifecycle::connectivity(&row, connectivity, control.clock.now());
            if outcome.changed {
                transaction.replace(&row, outcome.task);
            }
        }
        Ok::<_, std::convert::Infallible>((transaction, ()))
    });
    if let Err(error) = done.await {
        tracing::warn!(%error, "a task does not show whether its agent is connected");
    }
}
