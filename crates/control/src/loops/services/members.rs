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

#[cfg(test)]
mod tests {
    use domain::{ContainerInstance, TaskStatus};
    use serde_json::json;
    use store::{Options, Store, Transaction};

    use super::*;

    const SERVICES: usize = 3;
    const MACHINES: usize = 4;

    fn task(number: usize, status: TaskStatus, accounted: bool) -> Task {
        let stopped = status == TaskStatus::Stopped;
        let machine = number % MACHINES;
        let group = match number % (SERVICES + 1) {
            SERVICES => "family:job".to_owned(),
            service => format!("service:web-{service}"),
        };
        let row = json!({
            "scope": {"account": "000000000000", "region": "us-east-1"},
            "id": format!("{number:032x}"), "cluster": "default", "family": "web", "revision": 1, "launch_type": "EC2",
            "task_definition": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1",
            "container_instance": format!("arn:aws:ecs:us-east-1:000000000000:container-instance/default/{machine}"),
            "last_status": status.as_str(), "desired_status": if stopped { "STOPPED" } else { "RUNNING" },
            "version": 1, "group": group, "network_mode": "host", "resources": {"cpu_units": 1, "memory_mib": 1},
            "containers": [], "health_status": "UNKNOWN", "accounted": accounted,
            "times": {"created_at": 0, "stopped_at": if stopped { json!(1) } else { json!(null) }},
        });
        serde_json::from_value(row).unwrap()
    }

    fn machine(number: usize, version: i64) -> ContainerInstance {
        let row = json!({
            "scope": {"account": "000000000000", "region": "us-east-1"}, "id": number.to_string(), "cluster": "default",
            "ec2_instance_id": "i-1", "status": "ACTIVE", "agent_connected": true, "version": version,
            "registered": {"cpu_units": 1, "memory_mib": 1}, "attributes": [], "registered_at": 0,
        });
        serde_json::from_value(row).unwrap()
    }

    /// All that is seen of each service, in words.
    fn told(members: &Members) -> Vec<String> {
        let scope = task(0, TaskStatus::Running, false).scope;
        let seen = (0..=SERVICES).map(|number| {
            let seen = members.of_service(&service_key(&scope, "default", &format!("web-{number}")), 3);
            let mut machines: Vec<String> = seen.instances.values().map(|row| format!("{row:?}")).collect();
            machines.sort();
            format!("{:?} {:?} {machines:?}", seen.tasks, seen.ended)
        });
        seen.collect()
    }

    #[tokio::test]
    async fn a_followed_view_is_as_one_made_anew() {
        let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
        let mut state = 1_u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % bound
        };
        let mut most = 0;
        for round in 0..400 {
            let mut transaction = Transaction::new();
            for _ in 0..=below(4) {
                let number = below(24);
                match below(10) {
                    0 => drop(transaction.delete::<Task>(&task(number, TaskStatus::Running, false).key())),
                    1 => drop(transaction.put(machine(number % MACHINES, round))),
                    2 => drop(transaction.delete::<ContainerInstance>(&machine(number % MACHINES, 0).key())),
                    3..6 => drop(transaction.put(task(number, TaskStatus::Stopped, below(2) == 0))),
                    _ => drop(transaction.put(task(number, TaskStatus::ALL[below(7)], false))),
                }
            }
            store.transact(transaction).await.unwrap();
            // Several transactions may be taken in at once.
            if below(3) > 0 {
                let snapshot = store.snapshot();
                let followed = snapshot.view(|members: &mut Members| told(members));
                assert_eq!(followed, told(&Members::of(&snapshot)), "round {round}");
                most = most.max(snapshot.view(|members: &mut Members| members.services.len()));
            }
        }
        assert_eq!(most, SERVICES);
    }
}
