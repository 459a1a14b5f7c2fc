//! Places tasks that wait in PROVISIONING when there is room for them.
//!
//! What waits, and in which order, is in the rows; the loop sleeps until something changes that could make room (an instance
//! comes, changes or is reached again, a task ends), until a task is put into a queue, or until a wait is over. A queue that
//! nothing happens to costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{Scope, Timestamp};
use domain::{ContainerInstance, LaunchType, QueuedTask, Task, TaskStatus};
use store::rows_capacity::of_cluster;
use store::{Change, Prefix, Snapshot};

use crate::Control;

/// Rest between two passes: changes that come close together make one pass.
const BREATHER: Duration = Duration::from_millis(20);
/// A pass that failed is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// A cluster: its scope and name.
type Place = (Scope, String);

/// Follows the store and works on the queues that it could matter to.
pub async fn run(control: Control) {
    // By cluster, when the first wait in its queue is over.
    let mut over: BTreeMap<Place, Timestamp> = BTreeMap::new();
    loop {
        let snapshot = control.store.snapshot();
        let mut feed = control.store.changes(snapshot.version());
        let mut dirty = all(&snapshot);
        drop(snapshot);
        loop {
            for place in std::mem::take(&mut dirty) {
                work(&control, place, &mut over).await;
            }
            tokio::time::sleep(BREATHER).await;
            tokio::select! {
                biased;
                batch = feed.next() => match batch {
                    Ok(batch) => collect(&control, &batch.changes, &mut dirty),
                    Err(lagged) => {
                        tracing::debug!(%lagged, "the placement queues start again from a snapshot");
                        break;
                    }
                },
                () = wait_over(&control, &over) => {
                    let now = control.clock.now();
                    dirty.extend(over.iter().filter(|(_, at)| **at <= now).map(|(place, _)| place.clone()));
                }
            }
            while let Ok(Some(batch)) = feed.try_next() {
                collect(&control, &batch.changes, &mut dirty);
            }
        }
    }
}

async fn work(control: &Control, place: Place, over: &mut BTreeMap<Place, Timestamp>) {
    let (scope, cluster) = &place;
    let is_empty =
        control.store.snapshot().scan::<QueuedTask>(of_cluster(scope, cluster), None).next().is_none();
    if is_empty {
        over.remove(&place);
        return;
    }
    let now = control.clock.now();
    let done = ecs::launch::queue::pass(&control.store, &*control.ids, (scope, cluster), now).await;
    let next = match done {
        Ok(next) => next,
        Err(error) => {
            tracing::warn!(%error, %cluster, "waiting tasks are not placed for now");
            Some(now.plus_millis(i64::try_from(RETRY.as_millis()).unwrap_or(i64::MAX)))
        }
    };
    match next {
        Some(at) => over.insert(place, at),
        None => over.remove(&place),
    };
}

/// Until the first wait is over; for ever where there is none.
async fn wait_over(control: &Control, over: &BTreeMap<Place, Timestamp>) {
    match over.values().min() {
        Some(at) => {
            let milliseconds = at.since_millis(control.clock.now()).max(1);
            tokio::time::sleep(Duration::from_millis(u64::try_from(milliseconds).unwrap_or(1))).await;
        }
        None => std::future::pending().await,
    }
}

/// Every cluster in which a task waits.
fn all(snapshot: &Snapshot) -> BTreeSet<Place> {
    let queued = snapshot.scan::<QueuedTask>(Prefix::everything(), None);
    queued.map(|queued| (queued.scope.clone(), queued.cluster.clone())).collect()
}

/// The clusters whose queue the changes could matter to.
fn collect(control: &Control, changes: &[Change], dirty: &mut BTreeSet<Place>) {
    let mut fargate = false;
    for change in changes {
        if let Some(queued) = change.of::<QueuedTask>() {
            if let (None, Some(new)) = (queued.before, queued.after) {
                dirty.insert((new.scope.clone(), new.cluster.clone()));
            }
        } else if let Some(task) = change.of::<Task>() {
            let Some(after) = task.after else { continue };
            let ended = after.last_status == TaskStatus::Stopped
                && task.before.as_ref().is_none_or(|before| before.last_status != TaskStatus::Stopped);
            if ended || (after.container_instance.is_none() && task.before.is_some()) {
                dirty.insert((after.scope.clone(), after.cluster.clone()));
                fargate |= after.launch_type == LaunchType::Fargate;
                fargate |= ended && is_on_fargate_capacity(control, &after);
            }
        } else if let Some(instance) = change.of::<ContainerInstance>() {
            let Some(after) = instance.after else { continue };
            if instance.before.as_ref().is_none_or(|before| makes_a_difference(before, &after)) {
                dirty.insert((after.scope.clone(), after.cluster.clone()));
                fargate |= after.fargate_capacity;
            }
        }
    }
    if fargate {
        dirty.extend(all(&control.store.snapshot()));
    }
}

/// A machine's instance tasks and its Fargate tasks share its room: either may make room for the other.
fn is_on_fargate_capacity(control: &Control, task: &Task) -> bool {
    let Some(arn) = &task.container_instance else { return false };
    let Some(scope) = arn.scope() else { return false };
    let Some((cluster, id)) =
        arn.resource().strip_prefix("container-instance/").and_then(|path| path.split_once('/'))
    else {
        return false;
    };
    let key = store::rows::container_instance_key(&scope, cluster, id);
    control.store.snapshot().get::<ContainerInstance>(&key).is_some_and(|instance| instance.fargate_capacity)
}

/// Whether what a task could find on the instance has changed.
fn makes_a_difference(before: &ContainerInstance, after: &ContainerInstance) -> bool {
    (before.status, before.agent_connected, before.over_commit_percent)
        != (after.status, after.agent_connected, after.over_commit_percent)
        || before.registered != after.registered
        || before.attributes != after.attributes
        || before.capacity_provider != after.capacity_provider
        || before.fargate_capacity != after.fargate_capacity
}
