//! Keeps every service at its goals: gathers what there is of it, decides, and writes what is to be done.
//!
//! Work is in proportion to what changed: the store's feed says which services a change touches, a bounded set of timers
//! brings back those for which something will be due, and one that found no room comes back when a task ends or a
//! machine joins in its cluster, or after a pause. A slow scan stands behind it all.

mod apply;
mod balance;
pub mod events;
mod failures;
mod gather;
mod members;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::Timestamp;
use domain::{
    ContainerInstance, ExpressIngress, SchedulingStrategy, Service, ServiceDeployment, ServiceRevision,
    ServiceStatus, Task, TaskSet,
};
use ecs::launch;
use futures_util::StreamExt as _;
use store::rows::TASKS_HOLDING;
use store::rows_service::{SERVICES_LIVE, SERVICES_OF_CLUSTER, service_key};
use store::{Change, Key, Row as _, Snapshot, UpdateError};

use crate::Control;
use apply::{Given, NotMyTurn, Outcome};
use gather::Gathered;

/// Services that are worked on at once: their transactions share disk writes.
const AT_ONCE: usize = 32;
/// Every service is looked at this often, changed or not.
const SLOW_SCAN_SECONDS: i64 = 600;
/// The first pause of a service that found no room; it doubles up to the longest.
const NO_ROOM_SECONDS: i64 = 5;
/// The longest.
const NO_ROOM_LONGEST_SECONDS: i64 = 300;
/// A pause after a pass that could not be written.
const FAILED_SECONDS: i64 = 1;
/// Changes that come within this time are looked at together.
const GATHER_CHANGES: Duration = Duration::from_millis(5);
/// It is longer by as much for each so many tasks that were looked at the last time: what a pass costs grows with them, and
/// thousands of tasks of one service report one after the other.
const GATHER_LONGER_PER_TASKS: usize = 1000;
/// The longest that changes wait for others.
const GATHER_CHANGES_LONGEST: Duration = Duration::from_millis(100);

/// What the loop keeps in mind. All of it can be lost: a first pass over every service finds it again.
#[derive(Debug, Default)]
struct Mind {
    /// Services to look at now.
    dirty: BTreeSet<Key>,
    /// When to look at a service though nothing changes: at most one entry each.
    timers: BTreeMap<Key, Timestamp>,
    /// Services that found no room.
    waiting: BTreeMap<Key, Waiting>,
    /// Tasks that were looked at the last time.
    tasks: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    tries: u32,
    /// It wanted to move tasks only.
    moves: bool,
}

/// Follows the store: each service that something happened to is looked at.
pub async fn run(control: Control) {
    loop {
        let snapshot = control.store.snapshot();
        let mut feed = control.store.changes(snapshot.version());
        let mut mind = Mind::default();
        mind.everything(&snapshot);
        drop(snapshot);
        let mut scanned_at = control.clock.now();
        loop {
            mind.work(&control).await;
            let now = control.clock.now();
            let scan_at = scanned_at.plus_seconds(SLOW_SCAN_SECONDS);
            let due = mind.timers.values().min().copied().map_or(scan_at, |at| at.min(scan_at));
            let wait = if mind.dirty.is_empty() { due.since_millis(now).max(1) } else { 0 };
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or_default());
            tokio::select! {
                biased;
                change = feed.next() => match change {
                    Ok(batch) => {
                        // Where there is more to do anyhow, changes gather while it is done.
                        let busy = !mind.dirty.is_empty();
                        mind.take(&control.store.snapshot(), &batch.changes);
                        if !busy {
                            tokio::time::sleep(mind.gathers()).await;
                        }
                    }
                    Err(lagged) => {
                        tracing::debug!(%lagged, "services start again from a snapshot");
                        break;
                    }
                },
                () = tokio::time::sleep(wait) => {}
            }
            // All that has come in the meantime goes together.
            let snapshot = control.store.snapshot();
            while let Ok(Some(batch)) = feed.try_next() {
                mind.take(&snapshot, &batch.changes);
            }
            let now = control.clock.now();
            if now >= scan_at {
                scanned_at = now;
                mind.everything(&snapshot);
            }
            mind.ring(now);
        }
    }
}

impl Mind {
    /// For how long changes are waited for, so that they are looked at together.
    fn gathers(&self) -> Duration {
        let longer = u32::try_from(self.tasks / GATHER_LONGER_PER_TASKS).unwrap_or(u32::MAX);
        GATHER_CHANGES.saturating_mul(longer.saturating_add(1)).min(GATHER_CHANGES_LONGEST)
    }

    fn everything(&mut self, snapshot: &Snapshot) {
        self.dirty.extend(snapshot.index::<Service>(SERVICES_LIVE, &[], None).map(|row| row.key()));
    }

    /// Moves the services whose time has come to those to look at.
    fn ring(&mut self, now: Timestamp) {
        let due = self.timers.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone());
        self.dirty.extend(due.collect::<Vec<_>>());
    }

    /// Notes which services a change touches.
    fn take(&mut self, snapshot: &Snapshot, changes: &[Change]) {
        for change in changes {
            if let Some(service) = change.of::<Service>() {
                if service.after.is_some_and(|service| service.status != ServiceStatus::Inactive) {
                    self.dirty.insert(change.key.clone());
                }
            } else if let Some(task) = change.of::<Task>() {
                self.take_task(task.before.as_deref(), task.after.as_deref());
            } else if let Some(instance) = change.of::<ContainerInstance>() {
                self.take_instance(snapshot, instance.before.as_deref(), instance.after.as_deref());
            } else if let Some(row) = change.of::<TaskSet>().and_then(|row| row.after) {
                self.dirty.insert(service_key(&row.scope, &row.cluster, &row.service));
            } else if let Some(row) = change.of::<ServiceDeployment>().and_then(|row| row.after) {
                self.dirty.insert(service_key(&row.scope, &row.cluster, &row.service));
            } else if let Some(row) = change.of::<ServiceRevision>().and_then(|row| row.after) {
                self.dirty.insert(service_key(&row.scope, &row.cluster, &row.service));
            } else if let Some(row) = change.of::<ExpressIngress>().and_then(|row| row.after) {
                self.dirty.insert(service_key(&row.scope, &row.cluster, &row.service));
            }
        }
    }

    fn take_task(&mut self, before: Option<&Task>, after: Option<&Task>) {
        // A new task is the loop's own doing or nobody's business; one that is forgotten was counted.
        let (Some(before), Some(after)) = (before, after) else { return };
        if after.is_of_service()
            && apply::matters(before, after)
            && let Some(name) = after.group.strip_prefix("service:")
        {
            self.dirty.insert(service_key(&after.scope, &after.cluster, name));
        }
        if before.last_status.holds_resources() && !after.last_status.holds_resources() {
            self.room_came();
        }
    }

    /// Services that wait for room try again. Which of them the room is good for, placement finds out.
    fn room_came(&mut self) {
        self.dirty.extend(self.waiting.keys().cloned());
    }

    fn take_instance(
        &mut self,
        snapshot: &Snapshot,
        before: Option<&ContainerInstance>,
        after: Option<&ContainerInstance>,
    ) {
        let same = |a: &ContainerInstance, b: &ContainerInstance| {
            a.status == b.status
                && a.agent_connected == b.agent_connected
                && a.attributes == b.attributes
                && a.registered == b.registered
                && a.capacity_provider == b.capacity_provider
                && a.over_commit_percent == b.over_commit_percent
        };
        if let (Some(before), Some(after)) = (before, after)
            && same(before, after)
        {
            return;
        }
        let Some(instance) = after.or(before) else { return };
        let scope = &instance.scope;
        let parts = [scope.account.as_str(), scope.region.as_str(), instance.cluster.as_str()];
        let of_cluster = snapshot.index::<Service>(SERVICES_OF_CLUSTER, &parts, None);
        // The others notice nothing of a machine that none of their tasks is on.
        let notices = of_cluster.filter(|row| {
            row.scheduling_strategy == SchedulingStrategy::Daemon || balance::is_asked_for(row)
        });
        self.dirty.extend(notices.map(|row| row.key()));
        for task in snapshot.index::<Task>(TASKS_HOLDING, &[&instance.arn().to_string()], None) {
            if let Some(name) = task.group.strip_prefix("service:") {
                self.dirty.insert(service_key(&task.scope, &task.cluster, name));
            }
        }
        self.room_came();
    }

    /// Looks at every service that is to be looked at.
    async fn work(&mut self, control: &Control) {
        let keys = std::mem::take(&mut self.dirty);
        if keys.is_empty() {
            return;
        }
        let waiting = &self.waiting;
        let passes: Vec<(Key, Option<Outcome>)> = futures_util::stream::iter(keys)
            .map(|key| async move {
                let given = waiting.get(&key).map_or(Given::default(), |waiting| Given {
                    no_room: !waiting.moves,
                    ..Given::default()
                });
                let outcome = one(control, &key, given).await;
                (key, outcome)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let now = control.clock.now();
        self.tasks =
            passes.iter().filter_map(|(_, outcome)| outcome.as_ref()).map(|outcome| outcome.tasks).sum();
        for (key, outcome) in passes {
            self.note(key, outcome, now);
        }
    }

    fn note(&mut self, key: Key, outcome: Option<Outcome>, now: Timestamp) {
        self.timers.remove(&key);
        let Some(outcome) = outcome else {
            self.waiting.remove(&key);
            return;
        };
        let mut wake_at = outcome.wake_at;
        let mut sooner = |at: Timestamp| wake_at = Some(wake_at.map_or(at, |there: Timestamp| there.min(at)));
        if outcome.no_room || outcome.no_moves {
            let tries = self.waiting.get(&key).map_or(0, |waiting| waiting.tries).saturating_add(1);
            // The first time at once: where the floor allows it, room is made by stopping tasks first.
            let pause = if tries == 1 { 0 } else { NO_ROOM_SECONDS << tries.saturating_sub(2).min(10) };
            sooner(now.plus_seconds(pause.min(NO_ROOM_LONGEST_SECONDS)));
            self.waiting.insert(key.clone(), Waiting { tries, moves: !outcome.no_room });
        } else {
            self.waiting.remove(&key);
        }
        if let Some(at) = wake_at {
            self.timers.insert(key.clone(), at);
        }
        if outcome.again {
            self.dirty.insert(key);
        }
    }
}

/// One pass over one service: reads, decides and writes, again on a conflict. `None`: there is nothing to look after.
async fn one(control: &Control, key: &Key, given: Given) -> Option<Outcome> {
    let attempt = async |given: Given| {
        let update = control.store.update(|snapshot| {
            let Some(gathered) = Gathered::of(snapshot, key) else {
                return Ok((store::Transaction::new(), None));
            };
            let (transaction, outcome) = apply::pass(control, snapshot, &gathered, given)?;
            Ok::<_, NotMyTurn>((transaction, Some(outcome)))
        });
        update.await
    };
    let mut done = attempt(given).await;
    if matches!(done, Err(UpdateError::Refused(NotMyTurn))) {
        let _turn = launch::turn(&control.store).await;
        done = attempt(Given { may_place: true, ..given }).await;
    }
    match done {
        Ok(outcome) => outcome,
        Err(UpdateError::Refused(NotMyTurn)) => None,
        Err(UpdateError::Transact(error)) => {
            tracing::warn!(%error, %key, "a service waits");
            let retry_at = control.clock.now().plus_seconds(FAILED_SECONDS);
            Some(Outcome { wake_at: Some(retry_at), ..Outcome::default() })
        }
    }
}
