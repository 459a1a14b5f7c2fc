//! [`Rooms`]: what is free where, for every cluster and for Fargate, kept in memory and fed by the store's changes.
//!
//! Nothing here is stored: what a machine's tasks hold (ports that it found for them included) is the sum over its tasks that
//! are not STOPPED, and follows from their rows alone. A launch that places by it raises the allocation counters of the machines that it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::Scope;
use domain::{ContainerInstance, ContainerInstanceStatus, Task, TaskStatus};
use scheduler::placement::Room;
use store::rows::TASKS_HOLDING;
use store::{ChangeBatch, Prefix, RowChange, Snapshot, View};

use super::EXTERNAL_ATTRIBUTE;

/// Machines that the same launches may go to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pool {
    /// Every machine that is Fargate capacity, of whatever account.
    Fargate,
    /// A cluster's container instances: those that joined from elsewhere (ECS Anywhere), or the others.
    Cluster {
        /// Whose and where.
        scope: Scope,
        /// The cluster's name.
        cluster: String,
        /// Whether they are ECS Anywhere's.
        external: bool,
    },
    /// The container instances of a capacity provider in a cluster.
    Provider {
        /// Whose and where.
        scope: Scope,
        /// The cluster's name.
        cluster: String,
        /// The capacity provider's name.
        capacity_provider: String,
    },
}

/// A pool's room.
#[derive(Debug, Default)]
pub struct PoolRoom {
    /// What is free. Machines that are not ACTIVE are in it too: they may become so again.
    pub room: Room<Arc<ContainerInstance>>,
    /// How many of the machines are ACTIVE.
    pub active: usize,
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Rooms {
    rooms: BTreeMap<Pool, PoolRoom>,
    /// By the container instance's ARN.
    machines: BTreeMap<String, Machine>,
}

#[derive(Debug)]
struct Machine {
    instance: Arc<ContainerInstance>,
    slots: Vec<(Pool, usize)>,
}

impl Rooms {
    /// A pool's room; `None` if there is no machine in it.
    pub fn room(&mut self, pool: &Pool) -> Option<&mut PoolRoom> {
        self.rooms.get_mut(pool)
    }

    /// Adds a machine that has not been there, and the tasks that it has in the snapshot.
    fn enter(&mut self, snapshot: &Snapshot, instance: &Arc<ContainerInstance>) {
        let arn = instance.arn().to_string();
        let active = usize::from(instance.status == ContainerInstanceStatus::Active);
        let mut slots = Vec::new();
        for pool in pools(instance) {
            let room = self.rooms.entry(pool.clone()).or_default();
            room.active += active;
            slots.push((pool, room.room.add(Arc::clone(instance))));
        }
        self.machines.insert(arn.clone(), Machine { instance: Arc::clone(instance), slots });
        for task in snapshot.index::<Task>(TASKS_HOLDING, &[&arn], None) {
            self.task(&arn, &task, true);
        }
    }

    fn leave(&mut self, arn: &str) {
        let Some(machine) = self.machines.remove(arn) else { return };
        let active = usize::from(machine.instance.status == ContainerInstanceStatus::Active);
        for (pool, slot) in machine.slots {
            if let Some(room) = self.rooms.get_mut(&pool) {
                room.room.remove(slot);
                room.active -= active;
                if room.room.is_empty() {
                    self.rooms.remove(&pool);
                }
            }
        }
    }

    /// A machine's row changed, and its pools did not.
    fn change(&mut self, arn: &str, instance: &Arc<ContainerInstance>) {
        let Some(machine) = self.machines.get_mut(arn) else { return };
        let was = usize::from(machine.instance.status == ContainerInstanceStatus::Active);
        let is = usize::from(instance.status == ContainerInstanceStatus::Active);
        machine.instance = Arc::clone(instance);
        for (pool, slot) in &machine.slots {
            if let Some(room) = self.rooms.get_mut(pool) {
                room.active = room.active + is - was;
                room.room.replace(*slot, Arc::clone(instance));
            }
        }
    }

    /// A task comes to hold what it does, or ceases to.
    fn task(&mut self, arn: &str, task: &Task, comes: bool) {
        let Some(machine) = self.machines.get(arn) else { return };
        let running = task.last_status == TaskStatus::Running;
        let taken = task.taken();
        for (pool, slot) in &machine.slots {
            let Some(PoolRoom { room, .. }) = self.rooms.get_mut(pool) else { continue };
            if comes {
                room.hold(*slot, &taken);
                room.enter(*slot, &task.group, running);
            } else {
                room.free(*slot, &taken);
                room.leave(*slot, &task.group, running);
            }
        }
    }

    fn task_changed(&mut self, change: &RowChange<Task>, anew: &BTreeSet<String>) {
        let holds = |task: &Option<Arc<Task>>| {
            let task = task.as_ref().filter(|task| task.last_status.holds_resources())?;
            Some((task.container_instance.as_ref()?.to_string(), Arc::clone(task)))
        };
        let (before, after) = (holds(&change.before), holds(&change.after));
        if let (Some((old_place, old)), Some((new_place, new))) = (&before, &after)
            && old_place == new_place
            && is_alike(old, new)
        {
            return;
        }
        for (held, comes) in [(before, false), (after, true)] {
            if let Some((arn, task)) = held
                && !anew.contains(&arn)
            {
                self.task(&arn, &task, comes);
            }
        }
    }

    /// Takes in a machine's change; `true`: it must be read anew, with its tasks.
    fn machine_changed(&mut self, change: &RowChange<ContainerInstance>) -> Option<String> {
        let row = change.after.as_ref().or(change.before.as_ref())?;
        let arn = row.arn().to_string();
        let after = change.after.as_ref().filter(|row| row.status != ContainerInstanceStatus::Inactive);
        let Some(after) = after else {
            self.leave(&arn);
            return None;
        };
        let known = self.machines.get(&arn);
        if known.is_some_and(|machine| pools(&machine.instance) == pools(after)) {
            self.change(&arn, after);
            return None;
        }
        self.leave(&arn);
        Some(arn)
    }
}

impl View for Rooms {
    fn of(snapshot: &Snapshot) -> Self {
        let mut rooms = Self::default();
        for instance in snapshot.scan::<ContainerInstance>(Prefix::everything(), None) {
            if instance.status != ContainerInstanceStatus::Inactive {
                rooms.enter(snapshot, &instance.value);
            }
        }
        rooms
    }

    fn follow(&mut self, batches: &[ChangeBatch], snapshot: &Snapshot) {
        // Machines whose tasks are read from the snapshot at the end, rather than change by change.
        let mut anew = BTreeSet::new();
        for change in batches.iter().flat_map(|batch| batch.changes.iter()) {
            if let Some(change) = change.of::<ContainerInstance>()
                && let Some(arn) = self.machine_changed(&change)
            {
                anew.insert(arn);
            } else if let Some(change) = change.of::<Task>() {
                self.task_changed(&change, &anew);
            }
        }
        for arn in anew {
            self.leave(&arn);
            let instance = arn.parse::<base::Arn>().ok().and_then(|arn| instance(snapshot, &arn));
            if let Some(instance) = instance.filter(|row| row.status != ContainerInstanceStatus::Inactive) {
                self.enter(snapshot, &instance);
            }
        }
    }
}

fn instance(snapshot: &Snapshot, arn: &base::Arn) -> Option<Arc<ContainerInstance>> {
    let (cluster, id) = arn.resource().strip_prefix("container-instance/")?.split_once('/')?;
    let key = store::rows::container_instance_key(&arn.scope()?, cluster, id);
    snapshot.get::<ContainerInstance>(&key).map(|row| row.value)
}

/// Whether two states of a task are the same to a placement.
fn is_alike(one: &Task, other: &Task) -> bool {
    let runs = |task: &Task| task.last_status == TaskStatus::Running;
    one.taken() == other.taken() && one.group == other.group && runs(one) == runs(other)
}

/// The pools that a machine is in.
fn pools(instance: &ContainerInstance) -> Vec<Pool> {
    let mut pools = vec![Pool::Cluster {
        scope: instance.scope.clone(),
        cluster: instance.cluster.clone(),
        external: instance.attribute(EXTERNAL_ATTRIBUTE).is_some(),
    }];
    if let Some(capacity_provider) = &instance.capacity_provider {
        pools.push(Pool::Provider {
            scope: instance.scope.clone(),
            cluster: instance.cluster.clone(),
            capacity_provider: capacity_provider.clone(),
        });
    }
    if instance.fargate_capacity {
        pools.push(Pool::Fargate);
    }
    pools
}

#[cfg(test)]
mod tests {
    use domain::DesiredStatus;
    use proptest::prelude::*;
    use serde_json::json;
    use store::{Options, Row as _, Store, Transaction};

    use super::*;
    use crate::testing::World;

    /// What a room says of each of its machines.
    fn told(rooms: &Rooms) -> Vec<String> {
        let mut told = Vec::new();
        for (pool, PoolRoom { room, active }) in &rooms.rooms {
            let mut machines: Vec<String> = room
                .observed()
                .candidates
                .iter()
                .map(|candidate| {
                    let running = candidate.tasks.iter().filter(|task| task.running).count();
                    let groups: Vec<&str> = candidate.tasks.iter().map(|task| task.group.as_str()).collect();
                    let instance = candidate.container_instance;
                    format!("{instance:?} {:?} {groups:?} {running}", candidate.held)
                })
                .collect();
            machines.sort();
            told.push(format!("{pool:?} {active} {machines:?}"));
        }
        told
    }

    /// A machine and a task, as the API makes them.
    async fn samples() -> (ContainerInstance, Task) {
        let (world, _) = World::with_instance(4096, 4096, &[]).await;
        world.register("web").await;
        world.ok("RunTask", json!({"taskDefinition": "web"})).await;
        let snapshot = world.store.snapshot();
        let machine = snapshot.scan::<ContainerInstance>(Prefix::everything(), None).next().unwrap();
        let task = snapshot.scan::<Task>(Prefix::everything(), None).next().unwrap();
        ((*machine.value).clone(), (*task.value).clone())
    }

    #[derive(Clone, Debug)]
    enum Change {
        Machine(usize, u8, bool, bool, bool),
        MachineGone(usize),
        Task { number: usize, machine: Option<usize>, status: TaskStatus, memory: i64, port: u16, group: u8 },
        TaskGone(usize),
    }

    fn change() -> impl Strategy<Value = Change> {
        let machine = (0_usize..4, 0_u8..4, any::<bool>(), any::<bool>(), any::<bool>());
        let status = prop::sample::select(TaskStatus::ALL);
        let task =
            (0_usize..12, prop::option::weighted(0.9, 0_usize..4), status, 1_i64..100, 1_u16..4, 0_u8..3);
        prop_oneof![
            3 => machine.prop_map(|(number, status, fargate, external, provider)|
                Change::Machine(number, status, fargate, external, provider)),
            1 => (0_usize..4).prop_map(Change::MachineGone),
            6 => task.prop_map(|(number, machine, status, memory, port, group)|
                Change::Task { number, machine, status, memory, port, group }),
            1 => (0_usize..12).prop_map(Change::TaskGone),
        ]
    }

    fn apply(change: &Change, (machine, task): &(ContainerInstance, Task), transaction: &mut Transaction) {
        let machine_of =
            |number: usize| ContainerInstance { id: format!("{number:032x}"), ..machine.clone() };
        let task_of = |number: usize| Task { id: format!("{number:032x}"), ..task.clone() };
        match change {
            Change::Machine(number, status, fargate, external, provider) => {
                let mut row = machine_of(*number);
                row.status = [
                    ContainerInstanceStatus::Active,
                    ContainerInstanceStatus::Active,
                    ContainerInstanceStatus::Draining,
                    ContainerInstanceStatus::Inactive,
                ][usize::from(*status)];
                row.fargate_capacity = *fargate;
                row.capacity_provider = provider.then(|| "mine".to_owned());
                if *external {
                    row.attributes
                        .push(domain::Attribute { name: EXTERNAL_ATTRIBUTE.to_owned(), value: None });
                }
                transaction.put(row);
            }
            Change::MachineGone(number) => {
                transaction.delete::<ContainerInstance>(&machine_of(*number).key());
            }
            Change::Task { number, machine, status, memory, port, group } => {
                let mut row = task_of(*number);
                row.container_instance = machine.map(|machine| machine_of(machine).arn());
                row.last_status = *status;
                row.desired_status = DesiredStatus::Running;
                row.resources.memory_mib = *memory;
                row.resources.ports.tcp = [*port].into();
                row.group = format!("family:{group}");
                transaction.put(row);
            }
            Change::TaskGone(number) => {
                transaction.delete::<Task>(&task_of(*number).key());
            }
        }
    }

    proptest! {
        #[test]
        fn followed_rooms_are_as_those_made_anew(
            transactions in prop::collection::vec(
                (prop::collection::vec(change(), 1..6), any::<bool>()), 1..30),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let samples = samples().await;
                let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
                for (changes, look) in &transactions {
                    let mut transaction = Transaction::new();
                    for change in changes {
                        apply(change, &samples, &mut transaction);
                    }
                    store.transact(transaction).await.unwrap();
                    // Several transactions may be taken in at once.
                    if *look {
                        let snapshot = store.snapshot();
                        let followed = snapshot.view(|rooms: &mut Rooms| told(rooms));
                        prop_assert_eq!(followed, told(&Rooms::of(&snapshot)));
                    }
                }
                Ok(())
            })?;
        }
    }
}
