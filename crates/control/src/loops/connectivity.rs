//! What a lost session changes: `agentConnected` of the container instance. Its tasks go on.

use std::time::Duration;

use domain::ContainerInstance;
use store::{Key, Prefix, Row as _, Transaction};

use crate::Control;

/// How long agents have to come back after a start of the control plane before they count as gone: as long as a live
/// session may be silent. Until then tasks are still placed on their machines: an order waits in the outbox.
const RECONNECT_GRACE: Duration = Duration::from_secs(15);

/// Sessions of the last process that were not taken up again in time are over. Runs once, then does nothing.
pub async fn forget_sessions_of_the_last_process(control: Control) {
    let connected: Vec<_> = control
        .store
        .snapshot()
        .scan::<ContainerInstance>(Prefix::everything(), None)
        .filter(|row| row.agent_connected)
        .map(|row| (row.key(), row.session_epoch))
        .collect();
    tokio::time::sleep(RECONNECT_GRACE).await;
    for (key, epoch) in connected {
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
}
