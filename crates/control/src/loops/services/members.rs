//! [`Members`]: the tasks that count for each service, and all container instances, kept in memory and fed by the store's
//! changes.
//!
//! A pass over a service decides by all of its tasks, thousands of them, and comes again with every few that change. Rows are
//! kilobytes in many places of memory, and finding them through an index, and each one's machine by its key, costs more than
//! all that is then decided about them. So what the decisions ask of each task stands ready beside it ([`Facts`]); a change
//! costs its own tasks only, and a pass takes what there is without copying it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base::Arn;
use domain::{ContainerInstance, ContainerInstanceStatus, Task};
use scheduler::service_scheduler::Facts;
use store::rows::{TASKS_UNACCOUNTED, TASKS_UNFINISHED};
use store::rows_service::service_key;
use store::{ChangeBatch, Key, Prefix, Row as _, Snapshot, Versioned, View};

/// Names that a service's tasks share, the latest that came: revisions and zones.
const NAMES_MAXIMUM: usize = 16;

/// See the file's head.
#[derive(Debug, Default)]
pub struct Members {
    /// By the service's key. Whoever looks at one shares it; it is copied only if it changes meanwhile.
    services: HashMap<Key, Arc<Tasks>>,
    machines: Arc<Machines>,
}

/// A service's tasks by their keys: the order of the indexes.
#[derive(Clone, Debug, Default)]
struct Tasks {
    /// Those that are not STOPPED.
    live: BTreeMap<Key, Member>,
    /// Those that ended and were not counted.
    ended: BTreeMap<Key, Versioned<Task>>,
    names: Vec<Arc<str>>,
}

/// A task of a service, and what decisions ask of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its row.
    pub row: Versioned<Task>,
    /// What decisions ask of it.
    pub facts: Facts,
    /// The revision or task set that it is of.
    pub revision: Option<Arc<str>>,
    /// Its Availability Zone.
    pub zone: Option<Arc<str>>,
    /// Its place among the machines.
    machine: Option<usize>,
}

/// Machines that are there or have tasks, each in a place of its own.
#[derive(Clone, Debug, Default)]
struct Machines {
    places: HashMap<Arn, usize>,
    all: Vec<Machine>,
    free: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Machine {
    arn: Arn,
    /// `None`: it is gone.
    row: Option<Versioned<ContainerInstance>>,
    is_active: bool,
    /// Members that are on it.
    tasks: usize,
}

/// What a pass sees of its service. It may be newer than the snapshot that it was asked through.
#[derive(Debug, Default)]
pub struct Seen {
    tasks: Arc<Tasks>,
    machines: Arc<Machines>,
}

impl Seen {
    /// Tasks that are not STOPPED, with their keys.
    pub fn live(&self) -> impl Iterator<Item = (&Key, &Member)> {
        self.tasks.live.iter()
    }

    /// Tasks that ended and were not counted.
    pub fn ended(&self) -> impl Iterator<Item = &Versioned<Task>> {
        self.tasks.ended.values()
    }

    /// The machine that a task is on; `None` where it has none or that is gone.
    pub fn machine(&self, member: &Member) -> Option<&Versioned<ContainerInstance>> {
        self.machines.all[member.machine?].row.as_ref()
    }

    /// Its ARN, gone or not.
    pub fn machine_arn(&self, member: &Member) -> Option<&Arn> {
        member.machine.map(|place| &self.machines.all[place].arn)
    }

    /// Whether the task's machine drains or is gone.
    pub fn leaves(&self, member: &Member) -> bool {
        member.machine.is_some_and(|place| !self.machines.all[place].is_active)
    }
}

impl Members {
    /// What there is of a service.
    pub fn of_service(&self, service: &Key) -> Seen {
        let tasks = self.services.get(service).cloned().unwrap_or_default();
        Seen { tasks, machines: Arc::clone(&self.machines) }
    }

    fn put(&mut self, key: &Key, row: Versioned<Task>) {
        if row.is_over() && row.accounted {
            return self.remove(key, &row);
        }
        let Some(service) = service_of(&row) else { return };
        let tasks = Arc::make_mut(self.services.entry(service).or_default());
        let before = if row.is_over() {
            tasks.ended.insert(key.clone(), row);
            tasks.live.remove(key)
        } else {
            tasks.ended.remove(key);
            let machines = &mut self.machines;
            let machine = row.container_instance.as_ref().map(|arn| Arc::make_mut(machines).enter(arn));
            let member = Member {
                facts: Facts::of(&row),
                revision: row.service_revision().map(|name| tasks.name(name)),
                zone: row.availability_zone.as_deref().map(|name| tasks.name(name)),
                machine,
                row,
            };
            tasks.live.insert(key.clone(), member)
        };
        self.leave(before);
    }

    fn remove(&mut self, key: &Key, task: &Task) {
        let Some(service) = service_of(task) else { return };
        let Some(there) = self.services.get_mut(&service) else { return };
        let tasks = Arc::make_mut(there);
        let before = tasks.live.remove(key);
        tasks.ended.remove(key);
        if tasks.live.is_empty() && tasks.ended.is_empty() {
            self.services.remove(&service);
        }
        self.leave(before);
    }

    /// A task is on its machine no longer.
    fn leave(&mut self, member: Option<Member>) {
        if let Some(place) = member.and_then(|member| member.machine) {
            let machines = Arc::make_mut(&mut self.machines);
            machines.all[place].tasks -= 1;
            machines.forget(place);
        }
    }

    fn put_machine(&mut self, row: Versioned<ContainerInstance>) {
        let machines = Arc::make_mut(&mut self.machines);
        let place = machines.place(&row.arn());
        let machine = &mut machines.all[place];
        machine.is_active = row.status == ContainerInstanceStatus::Active;
        machine.row = Some(row);
    }

    fn remove_machine(&mut self, arn: &Arn) {
        let machines = Arc::make_mut(&mut self.machines);
        let Some(&place) = machines.places.get(arn) else { return };
        let machine = &mut machines.all[place];
        (machine.row, machine.is_active) = (None, false);
        machines.forget(place);
    }
}

impl Tasks {
    /// The name, shared with other tasks that have it.
    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.iter().find(|known| ***known == *name) {
            return Arc::clone(known);
        }
        if self.names.len() >= NAMES_MAXIMUM {
            self.names.remove(0);
        }
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        name
    }
}

impl Machines {
    /// A machine's place; that of one that is not known is new, and it is not there.
    fn place(&mut self, arn: &Arn) -> usize {
        if let Some(&place) = self.places.get(arn) {
            return place;
        }
        let machine = Machine { arn: arn.clone(), row: None, is_active: false, tasks: 0 };
        let place = self.free.pop().unwrap_or(self.all.len());
        match self.all.get_mut(place) {
            Some(there) => *there = machine,
            None => self.all.push(machine),
        }
        self.places.insert(arn.clone(), place);
        place
    }

    /// One more task is on it.
    fn enter(&mut self, arn: &Arn) -> usize {
        let place = self.place(arn);
        self.all[place].tasks += 1;
        place
    }

    /// Frees the place of one that is gone and has no tasks.
    fn forget(&mut self, place: usize) {
        let machine = &self.all[place];
        if machine.row.is_none() && machine.tasks == 0 && self.places.remove(&machine.arn).is_some() {
            self.free.push(place);
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
        for instance in snapshot.scan::<ContainerInstance>(Prefix::everything(), None) {
            members.put_machine(instance);
        }
        let live = snapshot.index::<Task>(TASKS_UNFINISHED, &[], None);
        for task in live.chain(snapshot.index::<Task>(TASKS_UNACCOUNTED, &[], None)) {
            members.put(&task.key(), task);
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
                        self.put_machine(batch.versioned(after));
                    } else if let Some(before) = instance.before {
                        self.remove_machine(&before.arn());
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
            "started_by": format!("ecs-svc/{}", number % 20), "availability_zone": format!("z{}", number % 3),
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
            let seen = members.of_service(&service_key(&scope, "default", &format!("web-{number}")));
            let of = |(key, member): (&Key, &Member)| {
                assert_eq!((member.row.key(), member.facts), (key.clone(), Facts::of(&member.row)));
                assert_eq!(member.revision.as_deref(), member.row.service_revision());
                assert_eq!(member.zone.as_deref(), member.row.availability_zone.as_deref());
                assert_eq!(seen.machine_arn(member), member.row.container_instance.as_ref());
                format!("{:?} {} {:?}", member.row, seen.leaves(member), seen.machine(member))
            };
            let live: Vec<String> = seen.live().map(of).collect();
            format!("{live:?} {:?}", seen.ended().collect::<Vec<_>>())
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
                let kept = snapshot.view(|members: &mut Members| members.machines.all.len());
                assert!(kept <= MACHINES, "places of machines are used again");
            }
        }
        assert_eq!(most, SERVICES);
    }
}
