//! What a lost session changes: `agentConnected` of the container instance. Its tasks go on.

use domain::ContainerInstance;
use store::{Key, Prefix, Transaction};

use crate::Control;

/// After a start no session lives yet, whatever the rows say.
pub async fn forget_sessions_of_the_last_process(control: &Control) {
    let snapshot = control.store.snapshot();
    let connected: Vec<_> = snapshot
        .scan::<ContainerInstance>(Prefix::everything(), None)
        .filter(|row| row.agent_connected)
        .collect();
    for row in connected {
        let key = store::rows::container_instance_key(&row.scope, &row.cluster, &row.id);
        disconnected(control, &key, row.session_epoch).await;
    }
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
