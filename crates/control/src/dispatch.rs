//! Which agents have a session, and waking the session that an order or a network's change is for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{NetworkInterface, OutboxMessage};
use store::{Change, Snapshot};
use tokio::sync::{Notify, watch};

use crate::{Control, network_policy};

/// The live sessions, by container instance ARN: at most one each. In order, so that they are always woken in the same one.
#[derive(Default)]
pub struct Sessions(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    live: BTreeMap<String, Live>,
    /// Which sessions are to know of a VPC's changes.
    followers: BTreeMap<String, BTreeSet<String>>,
    /// The sessions of machines that load balancers are on: of all VPCs that have one.
    hosts: BTreeSet<String>,
}

struct Live {
    epoch: u64,
    wake: Arc<Notify>,
    /// Turns true when a newer session takes over.
    fence: watch::Sender<bool>,
    /// The VPCs that it follows.
    vpcs: BTreeSet<String>,
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
        let mut sessions = self.entries();
        if let Some(older) = sessions.live.get(container_instance) {
            if older.epoch >= epoch {
                return None;
            }
            older.fence.send_replace(true);
        }
        sessions.forget(container_instance);
        let live = Live { epoch, wake: Arc::clone(&wake), fence, vpcs: BTreeSet::new() };
        sessions.live.insert(container_instance.to_owned(), live);
        Some(Registration { wake, fenced })
    }

    /// Takes a session's entry out; says whether it was still the live one.
    pub fn leave(&self, container_instance: &str, epoch: u64) -> bool {
        let mut sessions = self.entries();
        let live = sessions.live.get(container_instance).is_some_and(|live| live.epoch == epoch);
        if live {
            sessions.forget(container_instance);
        }
        live
    }

    /// Whether this session is the live one.
    pub fn is_live(&self, container_instance: &str, epoch: u64) -> bool {
        self.entries().live.get(container_instance).is_some_and(|live| live.epoch == epoch)
    }

    /// From now on the session is woken when something of the VPC changes.
    pub fn follow(&self, container_instance: &str, epoch: u64, vpc: &str) {
        let mut sessions = self.entries();
        let Some(live) = sessions.live.get_mut(container_instance).filter(|live| live.epoch == epoch) else {
            return;
        };
        live.vpcs.insert(vpc.to_owned());
        sessions.followers.entry(vpc.to_owned()).or_default().insert(container_instance.to_owned());
    }

    /// From now on the session is woken when an interface of no task changes.
    pub fn follow_hosted(&self, container_instance: &str, epoch: u64) {
        let mut sessions = self.entries();
        if sessions.live.get(container_instance).is_some_and(|live| live.epoch == epoch) {
            sessions.hosts.insert(container_instance.to_owned());
        }
    }

    /// Ends every session.
    pub fn close_all(&self) {
        for live in self.entries().live.values() {
            live.fence.send_replace(true);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, news: &News) {
        let sessions = self.entries();
        let followers = news.vpcs.iter().filter_map(|vpc| sessions.followers.get(vpc)).flatten();
        let hosts = sessions.hosts.iter().filter(|_| news.hosted);
        let concerned: BTreeSet<&String> =
            news.container_instances.iter().chain(followers).chain(hosts).collect();
        for live in
            concerned.into_iter().filter_map(|container_instance| sessions.live.get(container_instance))
        {
            live.wake.notify_one();
        }
    }

    fn wake_all(&self) {
        for live in self.entries().live.values() {
            live.wake.notify_one();
        }
    }
}

impl Entries {
    fn forget(&mut self, container_instance: &str) {
        let Some(gone) = self.live.remove(container_instance) else { return };
        self.hosts.remove(container_instance);
        for vpc in gone.vpcs {
            if let Some(followers) = self.followers.get_mut(&vpc) {
                followers.remove(container_instance);
                if followers.is_empty() {
                    self.followers.remove(&vpc);
                }
            }
        }
    }
}

/// Whom the changes of one transaction concern.
#[derive(Default)]
struct News {
    /// They have orders.
    container_instances: BTreeSet<String>,
    /// Something of these changed.
    vpcs: BTreeSet<String>,
    /// An interface of no task changed.
    hosted: bool,
}

impl News {
    fn of(changes: &[Change], snapshot: &Snapshot) -> Self {
        let mut news = Self::default();
        for change in changes {
            if let Some(order) = change.of::<OutboxMessage>() {
                let ordered = order.after.map(|order| order.container_instance.to_string());
                news.container_instances.extend(ordered);
                continue;
            }
            news.vpcs.extend(network_policy::vpcs_of(change, snapshot));
            news.hosted |= change.of::<NetworkInterface>().is_some_and(|interface| {
                interface.before.iter().chain(&interface.after).any(|row| row.owner_task.is_none())
            });
        }
        news
    }
}

/// Waits until the flag is true, or its owner gone.
pub async fn turned_true(flag: &mut watch::Receiver<bool>) {
    // What `wait_for` gives holds a lock: it must not live across another await.
    drop(flag.wait_for(|flag| *flag).await);
}

/// Follows the store and wakes each session that has a new order, or whose networks changed. Work is in proportion to that.
pub async fn run(control: Control) {
    let mut feed = control.store.changes(control.store.snapshot().version());
    control.sessions.wake_all();
    loop {
        match feed.next().await {
            Ok(batch) => {
                let news = News::of(&batch.changes, &control.store.snapshot());
                control.sessions.wake(&news);
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
