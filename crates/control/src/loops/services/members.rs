//! [`Members`]: the tasks that count for each service, and all container instances, kept in memory and fed by the store's
//! changes.
//!
//! A pass over a service looks at all of its tasks, thousands of them, and comes again with every few that change. Finding them
//! through an index, and each one's machine by its key, costs more than all that is then decided about them: so what the pass is
//! to see stands ready, and a change costs its own tasks only.

use std::collections::{BTreeMap, HashMap};

use base::Arn;
use domain::{ContainerInstance, Task};
use store::rows::{TASKS_UNACCOUNTED, TASKS_UNFINISHED};
use store::rows_service::service_key;
use store::{ChangeBatch, Key, Prefix, Row as _, Snapshot, Versioned, View};

/// See the file's head.
#[derive(Debug, Default)]
pub struct Members {
    /// By the service's key.
    services: HashMap<Key, Tasks>,
    /// Machines that are there.
    instances: HashMap<Arn, Versioned<ContainerInstance>>,
}

/// A service's tasks by their keys: the order of the indexes.
#[derive(Debug, Default)]
struct Tasks {
    /// Those that are not STOPPED.
    live: BTreeMap<Key, Versioned<Task>>,
    /// Those that ended and were not counted.
    ended: BTreeMap<Key, Versioned<Task>>,
}

/// What a pass sees of its service. It may be newer than the snapshot that it was asked through.
#[derive(Debug, Default)]
pub struct Seen {
    /// Tasks that are not STOPPED.
    pub tasks: Vec<Versioned<Task>>,
    /// Tasks that ended and were not counted, the first of them.
    pub ended: Vec<Versioned<Task>>,
    /// Machines of the former; one that is missing is gone.
    pub instances: HashMap<Arn, Versioned<ContainerInstance>>,
}

impl Members {
    /// What there is of a service; of its ends no more than `ends`.
    pub fn of_service(&self, service: &Key, ends: usize) -> Seen {
        let Some(there) = self.services.get(service) else { return Seen::default() };
        let mut instances = HashMap::new();
        for arn in there.live.values().filter_map(|task| task.container_instance.as_ref()) {
            if let Some(row) = self.instances.get(arn)
                && !instances.contains_key(arn)
            {
                instances.insert(arn.clone(), row.clone());
            }
        }
        Seen {
            tasks: there.live.values().cloned().collect(),
            ended: there.ended.values().take(ends).cloned().collect(),
            instances,
        }
    }

    fn put(&mut self, key: &Key, task: Versioned<Task>) {
        if task.is_over() && task.accounted {
            return self.remove(key, &task);
        }
        let Some(service) = service_of(&task) else { return };
        let service = self.services.entry(service).or_default();
        let (now, before) = if task.is_over() {
            (&mut service.ended, &mut service.live)
        } else {
            (&mut service.live, &mut service.ended)
        };
        before.remove(key);
        now.insert(key.clone(), task);
    }

    fn remove(&mut self, key: &Key, task: &Task) {
        let Some(service) = service_of(task) else { return };
        let Some(there) = self.services.get_mut(&service) else { return };
        there.live.remove(key);
        there.ended.remove(key);
        if there.live.is_empty() && there.ended.is_empty() {
            self.services.remove(&service);
        }
    }
}

/// The key of the service that a task is of.
fn service_of(task: &Task) -> Option<Key> {
    task.group.strip_prefix("service:").map(|name| service_key(&task.scope, &task.cluster, name))
}

impl View for Members {
    fn of(snapshot: &Snapshot) -> Self {
        let mut members = Self::default();
        let live = snapshot.index::<Task>(TASKS_UNFINISHED, &[], None);
        for task in live.chain(snapshot.index::<Task>(TASKS_UNACCOUNTED, &[], None)) {
            members.put(&task.key(), task);
        }
        for instance in snapshot.scan::<ContainerInstance>(Prefix::everything(), None) {
            members.instances.insert(instance.arn(), instance);
        }
        members
    }

    fn follow(&mut self, batches: &[ChangeBatch], _snapshot: &Snapshot) {
        for batch in batches {
            for change in batch.changes.iter() {
                if let Some(task) = change.of::<Task>() {
                    match (task.before, task.after) {
                        (_, Some(after)) => self.put(&change.key, batch.versioned(after)),
                        (Some(before), None) => self.remove(&change.key, &before),
                        (None, None) => {}
                    }
                } else if let Some(instance) = change.of::<ContainerInstance>() {
                    if let Some(after) = instance.after {
                        self.instances.insert(after.arn(), batch.versioned(after));
                    } else if let Some(before) = instance.before {
                        self.instances.remove(&before.arn());
                    }
                }
            }
        }
    }
}
