//! Tasks that find no room and wait for it in PROVISIONING, in order.
//!
//! Source: AWS, "Automatically manage Amazon ECS capacity with cluster auto scaling" (tasks of a provider with managed
//! scaling wait), "Amazon ECS service quotas" (500 tasks in PROVISIONING a cluster), and "Deep Dive on Amazon ECS
//! Cluster Auto Scaling" (a task waits for 10 to 30 minutes). What AWS says of a task whose wait is over is not known to us;
//! the sentence is ours.
//!
//! Beyond AWS: a RunTask whose tags say `roadstead:queue` = `enabled` waits too, whatever its launch type and for as long as
//! it takes.
//!
//! The order: of tasks that wait for the capacity of one provider none is placed before an earlier one that would have fitted
//! there. One that does not fit holds up only those that are like it, so that a large task cannot starve small ones of
//! room that it cannot use.

use std::collections::BTreeSet;

use api::ecs::{PlacementConstraint, PlacementStrategy, TaskOverride};
use base::{Ids, Scope, Timestamp};
use domain::{
    ContainerInstance, DesiredStatus, LaunchType, OutboxMessage, OutboxOrder, QueuedTask, Subnet, Task,
    TaskDefinition, TaskStatus,
};
use scheduler::task_lifecycle;
use store::rows::{container_instance_key, task_definition_key, task_key};
use store::rows_capacity::{QUEUED_BY_TASK, of_cluster};
use store::rows_vpc::subnet_key;
use store::{Snapshot, Store, Transaction, Versioned};
use wire::{Call, Fault, Principal};

use super::place::{self, Placed};
use super::{Launch, Network, constraints};
use crate::faults::{client, invalid};
use crate::resources::{capacity_provider, cluster, container_instance};

/// Tasks that may wait in a cluster. Source: "Amazon ECS service quotas", tasks in the PROVISIONING state per cluster.
pub const PROVISIONING_MAXIMUM: usize = 500;
/// How long a task waits for the capacity of a provider: the upper end of AWS's 10 to 30 minutes.
const WAIT_SECONDS: i64 = 30 * 60;
/// Tasks placed in one transaction: enough to share a disk write, few enough to leave others their turn.
const TOGETHER: usize = 50;
/// The tag of a RunTask call that asks to wait for room, and its value.
pub const QUEUE_TAG: (&str, &str) = ("roadstead:queue", "enabled");
const NO_INSTANCES: &str = "No Container Instances were found in your capacity provider.";

/// Placement constraints and strategies as the call or the service gives them: type, and expression or field.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `placementConstraints`.
    pub constraints: Vec<(String, Option<String>)>,
    /// `placementStrategy`.
    pub strategies: Vec<(String, Option<String>)>,
}

impl Asked {
    /// Those of a call.
    pub fn of(constraints: Option<&[PlacementConstraint]>, strategies: Option<&[PlacementStrategy]>) -> Self {
        let constraints = constraints.unwrap_or_default().iter();
        let strategies = strategies.unwrap_or_default().iter();
        Self {
            constraints: constraints
                .map(|given| (given.type_.clone().unwrap_or_default(), given.expression.clone()))
                .collect(),
            strategies: strategies
                .map(|given| (given.type_.clone().unwrap_or_default(), given.field.clone()))
                .collect(),
        }
    }
}

/// The end of a cluster's queue, where tasks are put by one transaction.
#[derive(Debug)]
pub struct Tail {
    next: u64,
    waiting: usize,
    providers: BTreeSet<Option<String>>,
}

impl Tail {
    /// Of the queue of a cluster.
    pub fn of(snapshot: &Snapshot, scope: &Scope, cluster: &str) -> Self {
        let mut tail = Self { next: 0, waiting: 0, providers: BTreeSet::new() };
        for queued in snapshot.scan::<QueuedTask>(of_cluster(scope, cluster), None) {
            tail.next = queued.number.saturating_add(1);
            tail.waiting += 1;
            if let Some(task) = waiting_task(snapshot, &queued) {
                tail.providers.insert(task.capacity_provider.clone());
            }
        }
        tail
    }

    /// Whether one more task may wait.
    pub fn has_room(&self) -> bool {
        self.waiting < PROVISIONING_MAXIMUM
    }

    /// Whether tasks wait for the provider already: who comes later must not go first.
    pub fn waits_for(&self, provider: Option<&String>) -> bool {
        self.providers.contains(&provider.cloned())
    }

    /// Puts a task at the end. The task, in PROVISIONING and without a container instance, is written by the caller.
    pub fn push(&mut self, transaction: &mut Transaction, launch: &Launch, task: &Task) -> Result<(), Fault> {
        if !self.has_room() {
            return Err(client("Tasks provisioning capacity limit exceeded."));
        }
        assert!(task.container_instance.is_none(), "a task that waits is nowhere");
        let asked = launch.queue_when_full;
        transaction.insert(QueuedTask {
            scope: task.scope.clone(),
            cluster: task.cluster.clone(),
            task_id: task.id.clone(),
            number: self.next,
            constraints: launch.asked.constraints.clone(),
            strategies: launch.asked.strategies.clone(),
            gpus: launch.gpus,
            queued_at: task.times.created_at,
            give_up_at: (!asked).then(|| task.times.created_at.plus_seconds(WAIT_SECONDS)),
            reason: None,
        });
        self.next = self.next.saturating_add(1);
        self.waiting += 1;
        Ok(())
    }
}

/// Whether tasks of this provider wait where they find no room: managed scaling is on.
pub fn waits(snapshot: &Snapshot, scope: &Scope, provider: &str) -> bool {
    capacity_provider::get(snapshot, scope, provider).is_some_and(|there| there.managed_scaling.enabled)
}

/// How many of `count` tasks a service may start now: where they may have to wait, no more than the queue takes.
pub fn admitted(snapshot: &Snapshot, launch: &Launch, count: usize) -> usize {
    let (scope, cluster) = (&launch.cluster.scope, &launch.cluster.name);
    if launch.launch_type != LaunchType::Ec2
        || !launch.strategy.iter().any(|item| waits(snapshot, scope, &item.capacity_provider))
    {
        return count;
    }
    count.min(PROVISIONING_MAXIMUM.saturating_sub(Tail::of(snapshot, scope, cluster).waiting))
}

/// A new task of the launch that waits for room. It is not written, and not queued: see [`Tail::push`].
pub fn new_task(call: &Call, ids: &dyn Ids, launch: &Launch) -> Result<Task, Fault> {
    place::task(call, ids, launch, None, &BTreeSet::new(), launch.capacity_provider.clone())
}

/// A task's place in its cluster's queue, from 1, and how many wait there.
pub fn position(snapshot: &Snapshot, task: &Task) -> Option<(usize, usize)> {
    let (account, region) = (task.scope.account.as_str(), task.scope.region.as_str());
    let parts = [account, region, &task.cluster, &task.id];
    let own = snapshot.index::<QueuedTask>(QUEUED_BY_TASK, &parts, None).next()?;
    let (mut before, mut all) = (0, 0);
    for queued in snapshot.scan::<QueuedTask>(of_cluster(&task.scope, &task.cluster), None) {
        all += 1;
        before += usize::from(queued.number < own.number);
    }
    Some((before + 1, all))
}

/// Why a task waits in the queue, as the last try to place it said.
pub fn reason(snapshot: &Snapshot, task: &Task) -> Option<String> {
    let (account, region) = (task.scope.account.as_str(), task.scope.region.as_str());
    let parts = [account, region, &task.cluster, &task.id];
    snapshot.index::<QueuedTask>(QUEUED_BY_TASK, &parts, None).next()?.reason.clone()
}

/// Places `count` tasks where there is room, over the providers of the strategy, and queues those that may wait (RunTask).
pub fn start(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    launch: &Launch,
    count: usize,
) -> Result<Placed, Fault> {
    let own_providers = launch.launch_type == LaunchType::Ec2 && !launch.strategy.is_empty();
    let mut tail = None;
    if !own_providers {
        if !launch.queue_when_full {
            return place::place(snapshot, call, ids, launch, count);
        }
        let mut all = Placed::default();
        let shares = place::providers(launch, count);
        start_share(snapshot, call, ids, launch, &shares, &mut tail, &mut all)?;
        return Ok(all);
    }
    let mut all = Placed::default();
    all.transaction.require_unchanged(&launch.cluster);
    for (item, share) in launch.strategy.iter().zip(capacity_provider::split(&launch.strategy, count, &[])) {
        if share == 0 {
            continue;
        }
        let provider = Some(item.capacity_provider.clone());
        let launch = Launch { capacity_provider: provider.clone(), ..launch.clone() };
        start_share(snapshot, call, ids, &launch, &vec![provider; share], &mut tail, &mut all)?;
    }
    if all.tasks.is_empty() && all.failures.is_empty() {
        return Err(invalid(NO_INSTANCES));
    }
    Ok(all)
}

/// Places tasks of one pool, one for each of `providers`; those that find no room wait if they may.
fn start_share(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    launch: &Launch,
    providers: &[Option<String>],
    tail: &mut Option<Tail>,
    all: &mut Placed,
) -> Result<(), Fault> {
    let of_pool = launch.capacity_provider.as_deref();
    let may_wait = launch.queue_when_full || of_pool.is_some_and(|name| waits(snapshot, &call.scope, name));
    if !may_wait {
        let placed = place::place(snapshot, call, ids, launch, providers.len())?;
        all.take(placed);
        return Ok(());
    }
    let tail = tail.get_or_insert_with(|| Tail::of(snapshot, &call.scope, &launch.cluster.name));
    let late = providers.iter().any(|provider| tail.waits_for(provider.as_ref()));
    let mut placed = Placed::default();
    if !late {
        match place::place(snapshot, call, ids, launch, providers.len()) {
            Ok(done) => placed = done,
            // A cluster without any instance has no room yet.
            Err(fault) if launch.queue_when_full && fault.message().starts_with("No Container Instances") => {
                placed.transaction.require_unchanged(&launch.cluster);
            }
            Err(fault) => return Err(fault),
        }
    }
    let there = placed.tasks.len();
    placed.failures.clear();
    all.take(placed);
    for provider in providers.iter().skip(there) {
        let launch = Launch { capacity_provider: provider.clone(), ..launch.clone() };
        let task = new_task(call, ids, &launch)?;
        tail.push(&mut all.transaction, &launch, &task)?;
        place::write(all, task);
    }
    Ok(())
}

impl Placed {
    fn take(&mut self, other: Self) {
        self.transaction.merge(other.transaction);
        self.tasks.extend(other.tasks);
        self.failures.extend(other.failures);
    }
}

/// Places what waits in a cluster's queue and has room, ends what has waited for too long, and forgets what no longer
/// waits. Says when the next wait is over.
pub async fn pass(
    store: &Store,
    ids: &dyn Ids,
    (scope, cluster): (&Scope, &str),
    now: Timestamp,
) -> Result<Option<Timestamp>, String> {
    let call = own_call(scope, now);
    let mut tried: BTreeSet<u64> = BTreeSet::new();
    // Each step tries at least one task more, and the queue is bounded.
    loop {
        let turn = super::turn(store).await;
        let done = store.update(|snapshot| step(snapshot, &call, ids, cluster, &tried)).await;
        drop(turn);
        let handled = done.map_err(|error| error.to_string())?;
        if handled.is_empty() {
            break;
        }
        tried.extend(handled);
    }
    let snapshot = store.snapshot();
    Ok(snapshot.scan::<QueuedTask>(of_cluster(scope, cluster), None).filter_map(|row| row.give_up_at).min())
}

/// What the control plane itself calls with.
fn own_call(scope: &Scope, now: Timestamp) -> Call {
    Call {
        scope: scope.clone(),
        now,
        request_id: String::new(),
        principal: Principal::root(&scope.account, "control"),
        source_ip: None,
        endpoint: String::new(),
    }
}

/// One step: the first task that was not yet tried, and those behind it that are like it. Gives the numbers handled; none
/// when all were tried.
fn step(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    cluster: &str,
    tried: &BTreeSet<u64>,
) -> Result<(Transaction, Vec<u64>), Fault> {
    let mut transaction = Transaction::new();
    let untried: Vec<Versioned<QueuedTask>> = snapshot
        .scan::<QueuedTask>(of_cluster(&call.scope, cluster), None)
        .filter(|queued| !tried.contains(&queued.number))
        .collect();
    let Some(first) = untried.first() else { return Ok((transaction, Vec::new())) };
    let Some(task) = waiting_task(snapshot, first) else {
        transaction.remove(first);
        return Ok((transaction, vec![first.number]));
    };
    if first.give_up_at.is_some_and(|at| at <= call.now) {
        let why = first.reason.as_deref().unwrap_or(NO_INSTANCES);
        give_up(&mut transaction, first, &task, &format!("Timed out waiting for capacity. {why}"), call.now);
        return Ok((transaction, vec![first.number]));
    }
    let launch = match launch_of(snapshot, call, first, &task) {
        Ok(launch) => launch,
        Err(fault) => {
            give_up(&mut transaction, first, &task, fault.message(), call.now);
            return Ok((transaction, vec![first.number]));
        }
    };
    let alike: Vec<(&Versioned<QueuedTask>, Versioned<Task>)> = untried
        .iter()
        .filter_map(|queued| Some((queued, waiting_task(snapshot, queued)?)))
        .filter(|(queued, other)| {
            is_alike((first, &task), (queued, other)) && queued.give_up_at.is_none_or(|at| at > call.now)
        })
        .take(TOGETHER)
        .collect();
    let placed = place::place(snapshot, call, ids, &launch, alike.len()).unwrap_or_default();
    let why = placed.failures.first().and_then(|failure| failure.reason.clone());
    let why = why.unwrap_or_else(|| NO_INSTANCES.to_owned());
    transaction.require_unchanged(&launch.cluster);
    let mut touched = BTreeSet::new();
    let mut places = placed.tasks.into_iter();
    for (queued, waiting) in &alike {
        match places.next() {
            Some(place) => {
                touched.extend(place.container_instance.iter().map(ToString::to_string));
                settle(&mut transaction, queued, waiting, place, call.now);
            }
            None if queued.reason.as_deref() != Some(&why) => {
                let next = QueuedTask { reason: Some(why.clone()), ..QueuedTask::clone(queued) };
                transaction.replace(queued, next);
            }
            None => {}
        }
    }
    for arn in touched {
        touch(snapshot, &mut transaction, &arn);
    }
    Ok((transaction, alike.iter().map(|(queued, _)| queued.number).collect()))
}

/// The queued task's row, if it still waits.
fn waiting_task(snapshot: &Snapshot, queued: &QueuedTask) -> Option<Versioned<Task>> {
    let key = task_key(&queued.scope, &queued.cluster, &queued.task_id);
    snapshot.get::<Task>(&key).filter(|task| {
        task.last_status == TaskStatus::Provisioning
            && task.desired_status == DesiredStatus::Running
            && task.container_instance.is_none()
    })
}

/// Whether two tasks find room in the same places.
fn is_alike(one: (&QueuedTask, &Task), other: (&QueuedTask, &Task)) -> bool {
    let ((queued, task), (other_queued, other_task)) = (one, other);
    (&task.capacity_provider, &task.task_definition, &task.group, &task.overrides_document)
        == (
            &other_task.capacity_provider,
            &other_task.task_definition,
            &other_task.group,
            &other_task.overrides_document,
        )
        && (task.launch_type, &task.resources, &task.awsvpc_configuration)
            == (other_task.launch_type, &other_task.resources, &other_task.awsvpc_configuration)
        && (&queued.constraints, &queued.strategies, queued.gpus)
            == (&other_queued.constraints, &other_queued.strategies, other_queued.gpus)
}

fn give_up(
    transaction: &mut Transaction,
    queued: &Versioned<QueuedTask>,
    task: &Versioned<Task>,
    reason: &str,
    now: Timestamp,
) {
    transaction.replace(task, task_lifecycle::provisioning_failed(task, reason, now).task);
    transaction.remove(queued);
}

/// The waiting task goes where `place`, a new task of the same launch, was put.
fn settle(
    transaction: &mut Transaction,
    queued: &Versioned<QueuedTask>,
    waiting: &Versioned<Task>,
    place: Task,
    now: Timestamp,
) {
    let mut next = Task::clone(waiting);
    next.version = next.version.saturating_add(1);
    next.container_instance = place.container_instance;
    next.last_status = place.last_status;
    next.resources = place.resources;
    next.attachments = place.attachments;
    next.attributes = place.attributes;
    next.availability_zone = place.availability_zone;
    for (container, placed) in next.containers.iter_mut().zip(place.containers) {
        container.gpu_ids = placed.gpu_ids;
    }
    if let (TaskStatus::Pending, Some(container_instance)) = (next.last_status, &next.container_instance) {
        transaction.put(OutboxMessage {
            container_instance: container_instance.clone(),
            scope: next.scope.clone(),
            cluster: next.cluster.clone(),
            task_id: next.id.clone(),
            order: OutboxOrder::Start,
            generation: next.generation,
            written_at: now,
        });
    }
    transaction.replace(waiting, next);
    transaction.remove(queued);
}

fn touch(snapshot: &Snapshot, transaction: &mut Transaction, arn: &str) {
    let instance = arn.parse::<base::Arn>().ok().and_then(|arn| {
        let (cluster, id) = arn.resource().strip_prefix("container-instance/")?.split_once('/')?;
        snapshot.get::<ContainerInstance>(&container_instance_key(&arn.scope()?, cluster, id))
    });
    if let Some(instance) = instance {
        container_instance::touch_allocation(snapshot, transaction, &instance);
    }
}

/// The launch that a waiting task is of, from its rows.
fn launch_of(snapshot: &Snapshot, call: &Call, queued: &QueuedTask, task: &Task) -> Result<Launch, Fault> {
    let cluster = cluster::get(snapshot, &call.scope, &task.cluster)?;
    let key = task_definition_key(&task.scope, &task.family, task.revision);
    let definition =
        snapshot.get::<TaskDefinition>(&key).ok_or_else(|| client("TaskDefinition not found."))?;
    let asked = Asked { constraints: queued.constraints.clone(), strategies: queued.strategies.clone() };
    let given: Vec<PlacementConstraint> = asked
        .constraints
        .iter()
        .map(|(kind, expression)| PlacementConstraint {
            type_: Some(kind.clone()),
            expression: expression.clone(),
        })
        .collect();
    let constraints = constraints::constraints(&definition, Some(&given), task.launch_type)?;
    let given: Vec<PlacementStrategy> = asked
        .strategies
        .iter()
        .map(|(kind, field)| PlacementStrategy { type_: Some(kind.clone()), field: field.clone() })
        .collect();
    let strategies = constraints::strategies(Some(&given), task.launch_type)?;
    let overrides = match task.overrides_document.as_str() {
        "" => TaskOverride::default(),
        document => wire::json::from_str(document).map_err(Fault::server)?,
    };
    let is_fargate = task.launch_type == LaunchType::Fargate;
    Ok(Launch {
        cluster,
        launch_type: task.launch_type,
        strategy: Vec::new(),
        capacity_provider: task.capacity_provider.clone().filter(|_| !is_fargate),
        group: task.group.clone(),
        started_by: task.started_by.clone(),
        reference_id: task.reference_id.clone(),
        tags: task.tags.clone(),
        overrides,
        resources: task.resources.clone(),
        cpu_units: task.cpu_units,
        memory_mib: task.memory_mib,
        gpus: queued.gpus,
        ephemeral_storage_gib: task.ephemeral_storage_gib,
        network: network(snapshot, task),
        constraints,
        strategies,
        asked,
        queue_when_full: queued.give_up_at.is_none(),
        max_runtime_seconds: task.max_runtime_seconds,
        targets: task.targets.clone(),
        registries: task.registries.clone(),
        connects_to: task.connects_to.clone(),
        definition,
    })
}

/// The task's subnets that are still there, by zone.
fn network(snapshot: &Snapshot, task: &Task) -> Option<Network> {
    let configuration = task.awsvpc_configuration.clone()?;
    let mut network = Network { configuration, subnets_by_zone: std::collections::BTreeMap::new() };
    for id in &network.configuration.subnets {
        if let Some(subnet) = snapshot.get::<Subnet>(&subnet_key(&task.scope, id)) {
            network.subnets_by_zone.entry(subnet.availability_zone.clone()).or_default().push(id.clone());
        }
    }
    Some(network)
}

#[cfg(test)]
mod tests {
    use domain::{Task, TaskStatus};
    use serde_json::{Value, json};
    use store::Prefix;

    use super::{PROVISIONING_MAXIMUM, pass, position};
    use crate::testing::{World, scope, text};

    const GROUP: &[(&str, Option<&str>)] = &[("roadstead.auto-scaling-group", Some("group"))];

    /// A cluster whose provider has managed scaling and no instance yet.
    async fn empty() -> World {
        let world = World::with_cluster().await;
        world.with_provider(json!({"status": "ENABLED"})).await;
        world.register("web").await;
        world
    }

    async fn run(world: &World, count: usize) -> Vec<String> {
        let answer = world.ok("RunTask", json!({"taskDefinition": "web", "count": count})).await;
        assert_eq!(answer["failures"], json!([]));
        let tasks = answer["tasks"].as_array().unwrap();
        tasks.iter().map(|task| text(task, "/taskArn")).collect()
    }

    async fn settle(world: &World) {
        let now = base::Clock::now(&*world.clock);
        let ids = base::SeededIds::new(3);
        pass(&world.store, &ids, (&scope(), "default"), now).await.unwrap();
    }

    async fn statuses(world: &World, tasks: &[String]) -> Vec<String> {
        let mut statuses = Vec::new();
        for tasks in tasks.chunks(100) {
            let described = world.ok("DescribeTasks", json!({"tasks": tasks})).await;
            let tasks = described["tasks"].as_array().unwrap();
            statuses.extend(tasks.iter().map(|task| text(task, "/lastStatus")));
        }
        statuses
    }

    fn count(statuses: &[String], status: &str) -> usize {
        statuses.iter().filter(|there| *there == status).count()
    }

    #[tokio::test]
    async fn f31_at_most_500_wait_and_are_placed_in_order() {
        let world = empty().await;
        let mut tasks = Vec::new();
        for _ in 0..PROVISIONING_MAXIMUM / 10 {
            tasks.extend(run(&world, 10).await);
        }
        assert_eq!(
            world.refused("RunTask", json!({"taskDefinition": "web"})).await,
            "ClientException: Tasks provisioning capacity limit exceeded."
        );
        let described = world.ok("DescribeTasks", json!({"tasks": [tasks[7]]})).await;
        let task = &described["tasks"][0];
        assert_eq!(text(task, "/lastStatus"), "PROVISIONING");
        assert_eq!(text(task, "/capacityProviderName"), "mine");
        assert_eq!(text(task, "/launchType"), "EC2");
        assert!(task.get("containerInstanceArn").is_none(), "{task}");
        let id = tasks[7].rsplit('/').next().unwrap();
        let snapshot = world.store.snapshot();
        let row = snapshot.get::<Task>(&store::rows::task_key(&scope(), "default", id)).unwrap();
        assert_eq!(position(&snapshot, &row), Some((8, PROVISIONING_MAXIMUM)));
        settle(&world).await;
        assert_eq!(count(&statuses(&world, &tasks).await, "PROVISIONING"), PROVISIONING_MAXIMUM);
        let version = world.store.snapshot().version();
        settle(&world).await;
        assert_eq!(world.store.snapshot().version(), version, "a pass that changes nothing writes nothing");

        // Room for 123 of 128 MiB each.
        world.add_instance(1_000_000, 123 * 128, GROUP).await;
        settle(&world).await;
        let now = statuses(&world, &tasks).await;
        assert!(now[..123].iter().all(|status| status == "PENDING"), "the first ones");
        assert!(now[123..].iter().all(|status| status == "PROVISIONING"), "the others wait on");
        // One more call does not get ahead, though there were room by now.
        world.add_instance(1_000_000, 128, GROUP).await;
        let late = run(&world, 1).await;
        settle(&world).await;
        let now = statuses(&world, &tasks).await;
        assert_eq!((count(&now, "PENDING"), now[123].as_str()), (124, "PENDING"));
        assert_eq!(statuses(&world, &late).await, ["PROVISIONING"]);
        // The cluster's counts show them.
        let cluster = world.ok("DescribeClusters", json!({})).await;
        assert_eq!(cluster["clusters"][0]["pendingTasksCount"], json!(PROVISIONING_MAXIMUM + 1));
    }

    #[tokio::test]
    async fn a_large_task_does_not_starve_small_ones() {
        let world = empty().await;
        let large = json!({
            "family": "large",
            "networkMode": "host",
            "containerDefinitions": [{"name": "app", "image": "busybox", "memory": 4096}],
        });
        world.ok("RegisterTaskDefinition", large).await;
        let large = world.ok("RunTask", json!({"taskDefinition": "large"})).await;
        let large = text(&large, "/tasks/0/taskArn");
        let small = run(&world, 2).await;
        world.add_instance(1024, 1024, GROUP).await;
        settle(&world).await;
        assert_eq!(statuses(&world, &small).await, ["PENDING", "PENDING"]);
        assert_eq!(statuses(&world, std::slice::from_ref(&large)).await, ["PROVISIONING"]);
        world.add_instance(1024, 4096, GROUP).await;
        settle(&world).await;
        assert_eq!(statuses(&world, &[large]).await, ["PENDING"]);
    }

    #[tokio::test]
    async fn instances_of_others_are_no_room() {
        let world = empty().await;
        world.add_instance(8192, 8192, &[]).await;
        world.add_instance(8192, 8192, &[("roadstead.auto-scaling-group", Some("other"))]).await;
        let tasks = run(&world, 1).await;
        settle(&world).await;
        assert_eq!(statuses(&world, &tasks).await, ["PROVISIONING"]);
    }

    #[tokio::test]
    async fn waiting_ends_by_a_stop_or_after_half_an_hour() {
        let world = empty().await;
        let tasks = run(&world, 2).await;
        let stopped = world.ok("StopTask", json!({"task": tasks[0]})).await;
        assert_eq!(text(&stopped, "/task/desiredStatus"), "STOPPED");
        settle(&world).await;
        let queued = |world: &World| world.store.snapshot().count::<domain::QueuedTask>();
        assert_eq!(queued(&world), 1, "the other one waits on");
        world.clock.advance_millis((29 * 60) * 1000);
        settle(&world).await;
        assert_eq!(queued(&world), 1);
        world.clock.advance_millis((61) * 1000);
        settle(&world).await;
        assert_eq!(queued(&world), 0);
        let described = world.ok("DescribeTasks", json!({"tasks": [tasks[1]]})).await;
        let task = &described["tasks"][0];
        assert_eq!(text(task, "/lastStatus"), "STOPPED");
        assert_eq!(text(task, "/stopCode"), "TaskFailedToStart");
        assert_eq!(
            text(task, "/stoppedReason"),
            "Timed out waiting for capacity. No Container Instances were found in your capacity provider."
        );
    }

    #[tokio::test]
    async fn without_managed_scaling_nothing_waits() {
        let world = World::with_cluster().await;
        world.with_provider(json!({"status": "DISABLED"})).await;
        world.register("web").await;
        assert_eq!(
            world.refused("RunTask", json!({"taskDefinition": "web"})).await,
            "InvalidParameterException: No Container Instances were found in your capacity provider."
        );
        let instance = world.add_instance(1024, 128, GROUP).await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web", "count": 2})).await;
        assert_eq!(run["tasks"].as_array().unwrap().len(), 1);
        assert_eq!(run["failures"], json!([{"arn": instance, "reason": "RESOURCE:MEMORY"}]));
    }

    #[tokio::test]
    async fn base_and_weight_over_two_providers() {
        let world = World::with_cluster().await;
        for name in ["a", "b"] {
            let provider = json!({"autoScalingGroupArn": name, "managedScaling": {"status": "ENABLED"}});
            world
                .ok("CreateCapacityProvider", json!({"name": name, "autoScalingGroupProvider": provider}))
                .await;
        }
        let put = json!({"cluster": "default", "capacityProviders": ["a", "b"], "defaultCapacityProviderStrategy": []});
        world.ok("PutClusterCapacityProviders", put).await;
        world.register("web").await;
        world.add_instance(4096, 4096, &[("roadstead.auto-scaling-group", Some("a"))]).await;
        let strategy = json!([
            {"capacityProvider": "a", "base": 2, "weight": 1},
            {"capacityProvider": "b", "weight": 3},
        ]);
        let run = world
            .ok(
                "RunTask",
                json!({"taskDefinition": "web", "count": 10, "capacityProviderStrategy": strategy}),
            )
            .await;
        let of = |provider: &str| -> Vec<&Value> {
            let tasks = run["tasks"].as_array().unwrap().iter();
            tasks.filter(|task| task["capacityProviderName"] == json!(provider)).collect()
        };
        assert_eq!((of("a").len(), of("b").len()), (4, 6));
        assert!(of("a").iter().all(|task| task["lastStatus"] == json!("PENDING")));
        assert!(of("b").iter().all(|task| task["lastStatus"] == json!("PROVISIONING")));
        for (key, value) in [
            ("launchType", json!("EC2")),
            (
                "capacityProviderStrategy",
                json!([{"capacityProvider": "a", "weight": 1}, {"capacityProvider": "FARGATE", "weight": 1}]),
            ),
        ] {
            let mut body = json!({"taskDefinition": "web", "capacityProviderStrategy": strategy});
            body[key] = value;
            world.refused("RunTask", body).await;
        }
    }

    #[tokio::test]
    async fn a_call_can_ask_to_wait() {
        let world = World::with_cluster().await;
        world.register("web").await;
        world.refused("RunTask", json!({"taskDefinition": "web"})).await;
        let tags = json!([{"key": "roadstead:queue", "value": "enabled"}]);
        let run = world.ok("RunTask", json!({"taskDefinition": "web", "count": 3, "tags": tags})).await;
        let tasks: Vec<String> =
            run["tasks"].as_array().unwrap().iter().map(|task| text(task, "/taskArn")).collect();
        assert_eq!(statuses(&world, &tasks).await, ["PROVISIONING"; 3]);
        // It waits for as long as it takes.
        world.clock.advance_millis((24 * 3600) * 1000);
        settle(&world).await;
        assert_eq!(statuses(&world, &tasks).await, ["PROVISIONING"; 3]);
        world.add_instance(1024, 2 * 128, &[]).await;
        settle(&world).await;
        assert_eq!(statuses(&world, &tasks).await, ["PENDING", "PENDING", "PROVISIONING"]);
        world.report(&tasks[0], TaskStatus::Stopped, json!([])).await;
        settle(&world).await;
        assert_eq!(statuses(&world, &tasks).await, ["STOPPED", "PENDING", "PENDING"]);
        let rows = world.store.snapshot().scan::<domain::OutboxMessage>(Prefix::everything(), None).count();
        assert_eq!(rows, 3, "an order for each that was placed");
    }

    #[tokio::test]
    async fn fargate_tasks_wait_with_their_interface() {
        let world = World::with_fargate().await;
        let tags = json!([{"key": "roadstead:queue", "value": "enabled"}]);
        let run = world.run_on_fargate(json!({"count": 10, "tags": tags})).await;
        let tasks: Vec<String> =
            run["tasks"].as_array().unwrap().iter().map(|task| text(task, "/taskArn")).collect();
        assert_eq!(tasks.len(), 10);
        let attached = |world: &World| {
            let tasks = world.store.snapshot();
            let tasks = tasks.scan::<Task>(Prefix::everything(), None);
            tasks.filter(|task| task.container_instance.is_some() && task.attachments.len() == 1).count()
        };
        // 2,048 MiB are room for four of 512.
        assert_eq!(attached(&world), 4);
        world.report(&tasks[0], TaskStatus::Stopped, json!([])).await;
        settle(&world).await;
        assert_eq!(attached(&world), 4, "its interface is there until it is given back");
    }
}
