//! Which agents have a session, and waking the session that an order is for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use domain::OutboxMessage;
use tokio::sync::{Notify, watch};

use crate::Control;

/// The live sessions, by container instance ARN: at most one each.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<String, Live>>);

struct Live {
    epoch: u64,
    wake: Arc<Notify>,
    /// Turns true when a newer session takes over.
    fence: watch::Sender<bool>,
}

/// A session's own end of its entry.
pub struct Registration {
    /// Rings when there may be orders to send.
    pub wake: Arc<Notify>,
    /// Turns true when the session must end.
    pub fenced: watch::Receiver<bool>,
}

impl Sessions {
    /// Enters a session; an older one of the same container instance is fenced. `None` if a newer one is there.
    pub fn enter(&self, container_instance: &str, epoch: u64) -> Option<Registration> {
        let (fence, fenced) = watch::channel(false);
        let wake = Arc::new(Notify::new());
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = sessions.get(container_instance) {
            if older.epoch >= epoch {
                return None;
            }
            older.fence.send_replace(true);
        }
        sessions.insert(container_instance.to_owned(), Live { epoch, wake: Arc::clone(&wake), fence });
        Some(Registration { wake, fenced })
    }

    /// Takes a session's entry out; says whether it was still the live one.
    pub fn leave(&self, container_instance: &str, epoch: u64) -> bool {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = sessions.get(container_instance).is_some_and(|live| live.epoch == epoch);
        if live {
            sessions.remove(container_instance);
        }
        live
    }

    /// Ends every session.
    pub fn close_all(&self) {
        for live in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            live.fence.send_replace(true);
        }
    }

    fn wake<'a>(&self, container_instances: impl Iterator<Item = &'a String>) {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for container_instance in container_instances {
            if let Some(live) = sessions.get(container_instance) {
                live.wake.notify_one();
            }
        }
    }

    fn wake_all(&self) {
        for live in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            live.wake.notify_one();
        }
    }
}

/// Waits until the flag is true, or its owner gone.
pub async fn turned_true(flag: &mut watch::Receiver<bool>) {
    // What `wait_for` gives holds a lock: it must not live across another await.
    drop(flag.wait_for(|flag| *flag).await);
}

/// Follows the store and wakes each session that has a new order. Work is in proportion to the orders.
pub async fn run(control: Control) {
    let mut feed = control.store.changes(control.store.snapshot().version());
    control.sessions.wake_all();
    loop {
        match feed.next().await {
            Ok(batch) => {
                let ordered: HashSet<String> = batch
                    .changes
                    .iter()
                    .filter_map(|change| change.of::<OutboxMessage>()?.after)
                    .map(|message| message.container_instance.to_string())
                    .collect();
                control.sessions.wake(ordered.iter());
            }
            Err(lagged) => {
                tracing::debug!(%lagged, "dispatch starts again from a snapshot");
                feed = control.store.changes(control.store.snapshot().version());
                control.sessions.wake_all();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f17_a_newer_session_fences_the_older_one() {
        let sessions = Sessions::default();
        let first = sessions.enter("arn", 1).unwrap();
        assert!(sessions.enter("arn", 1).is_none(), "the same epoch twice");
        let second = sessions.enter("arn", 2).unwrap();
        assert!(*first.fenced.borrow());
        assert!(!*second.fenced.borrow());
        assert!(!sessions.leave("arn", 1), "the older one no longer owns the entry");
        assert!(sessions.leave("arn", 2));
    }
}
