//! From a checked launch to task rows: `scheduler` chooses in the room that the pool has, and one transaction writes
//! tasks, orders and the allocation counters that keep two launches from taking the same room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::ecs::Failure;
use base::Ids;
use domain::{
    Attachment, ContainerInstance, DesiredStatus, ELASTIC_NETWORK_INTERFACE, HealthStatus, LaunchType,
    OutboxMessage, OutboxOrder, Task, TaskContainer, TaskStatus, TaskTimes,
};
use scheduler::placement::{Action, Candidate, Desired, Observed, PlacedTask, Reason, decide, refusal};
use store::rows::TASKS_LIVE_BY_GROUP;
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::rooms::{Pool, PoolRoom, Rooms};
use super::{Launch, Network, PLATFORM_VERSION};
use crate::faults::invalid;
use crate::resources::{capacity_provider, container_instance};

/// AWS's sentence for want of Fargate capacity.
const FARGATE_UNAVAILABLE: &str =
    "Capacity is unavailable at this time. Please try again later or in a different availability zone";
const CPU_ARCHITECTURE_ATTRIBUTE: &str = "ecs.cpu-architecture";

/// What a launch comes to.
#[derive(Default)]
pub struct Placed {
    /// Writes and conditions.
    pub transaction: Transaction,
    /// The tasks, as written.
    pub tasks: Vec<Task>,
    /// Why there are not more.
    pub failures: Vec<Failure>,
}

/// An instance and what is on it, read from the rows.
pub fn candidate<'a>(snapshot: &Snapshot, instance: &'a ContainerInstance) -> Candidate<'a> {
    let tasks = container_instance::tasks(snapshot, instance);
    let placed = |task: &Versioned<Task>| PlacedTask {
        group: task.group.clone(),
        running: task.last_status == TaskStatus::Running,
    };
    Candidate {
        container_instance: instance,
        held: container_instance::taken(tasks.iter().map(|task| task.value.as_ref())),
        tasks: tasks.iter().map(placed).collect(),
    }
}

/// Places `count` tasks where there is room (RunTask).
pub fn place(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    launch: &Launch,
    count: usize,
) -> Result<Placed, Fault> {
    let pool = pool(call, launch);
    let required = required_attributes(launch);
    let zones = zones(launch);
    let desired = Desired {
        count,
        group: &launch.group,
        resources: &launch.resources,
        gpus: launch.gpus,
        required_attributes: &required,
        constraints: &launch.constraints,
        strategies: &launch.strategies,
        availability_zones: zones.as_ref(),
        seed: seed(ids),
    };
    let places = places(snapshot, &pool, &desired);
    if places.is_empty && launch.launch_type != LaunchType::Fargate && launch.capacity_provider.is_none() {
        return Err(invalid("No Container Instances were found in your cluster."));
    }
    let providers = providers(launch, count);
    let by_zone = by_zone(launch);
    let spread = over_zones(snapshot, launch, &by_zone, places.taken.len());
    let mut spread = spread.iter().filter_map(|zone| by_zone.get(zone));
    let mut placed = Placed::default();
    placed.transaction.require_unchanged(&launch.cluster);
    for (number, place) in places.taken.iter().enumerate() {
        let provider = providers.get(number).cloned().flatten();
        let launch = spread.next().unwrap_or(launch);
        let task = task(call, ids, launch, Some(&place.instance), &place.gpu_ids, provider)?;
        write(&mut placed, task);
    }
    placed.failures = if launch.launch_type == LaunchType::Fargate {
        let short = places.taken.len() < count;
        short.then(|| failure(None, FARGATE_UNAVAILABLE)).into_iter().collect()
    } else {
        let refused = places.refused.iter();
        refused.map(|(instance, reason)| failure(Some(instance.arn().to_string()), reason.as_str())).collect()
    };
    let used: BTreeMap<String, &Place> =
        places.taken.iter().map(|place| (place.instance.arn().to_string(), place)).collect();
    for place in used.values() {
        container_instance::touch_allocation(snapshot, &mut placed.transaction, &place.instance);
    }
    Ok(placed)
}

/// The launch of a Fargate task by the zone that it goes to; empty where the machine settles the zone.
fn by_zone(launch: &Launch) -> BTreeMap<String, Launch> {
    let Some(network) = launch.network.as_ref().filter(|_| launch.launch_type == LaunchType::Fargate) else {
        return BTreeMap::new();
    };
    let only = |(zone, subnets): (&String, &Vec<String>)| {
        let subnets_by_zone = BTreeMap::from([(zone.clone(), subnets.clone())]);
        let network = Network { subnets_by_zone, ..network.clone() };
        (zone.clone(), Launch { network: Some(network), ..launch.clone() })
    };
    network.subnets_by_zone.iter().map(only).collect()
}

/// A zone for each of `count` tasks: always the one with the fewest of the group. Source: AWS, "Amazon ECS services": the
/// scheduler spreads Fargate tasks over the zones as best it can.
fn over_zones(
    snapshot: &Snapshot,
    launch: &Launch,
    zones: &BTreeMap<String, Launch>,
    count: usize,
) -> Vec<String> {
    if zones.len() < 2 {
        return zones.keys().flat_map(|zone| std::iter::repeat_n(zone.clone(), count)).collect();
    }
    let mut tasks: BTreeMap<&str, usize> = zones.keys().map(|zone| (zone.as_str(), 0)).collect();
    let scope = &launch.cluster.scope;
    let parts = [scope.account.as_str(), scope.region.as_str(), &launch.cluster.name, &launch.group];
    for task in snapshot.index::<Task>(TASKS_LIVE_BY_GROUP, &parts, None) {
        let zone =
            task.availability_zone.as_deref().filter(|_| task.desired_status == DesiredStatus::Running);
        if let Some(there) = zone.and_then(|zone| tasks.get_mut(zone)) {
            *there += 1;
        }
    }
    let mut spread = Vec::with_capacity(count);
    for _ in 0..count {
        let Some((zone, there)) = tasks.iter_mut().min_by_key(|(_, there)| **there) else { break };
        *there += 1;
        spread.push((*zone).to_owned());
    }
    spread
}

/// A place for one task.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where.
    pub instance: Arc<ContainerInstance>,
    /// The GPUs that it gets.
    pub gpu_ids: BTreeSet<String>,
}

/// The places that a pool has for tasks. They are not taken yet: that is up to the transaction, which must raise the
/// allocation counter of every instance in it as the same snapshot has it.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Whether the pool has no ACTIVE instance.
    pub is_empty: bool,
    /// One for each task that finds a place.
    pub taken: Vec<Place>,
    /// Where fewer do than are wanted: every ACTIVE instance, and why not there.
    pub refused: Vec<(Arc<ContainerInstance>, Reason)>,
}

/// Looks for places in a pool.
pub fn places(snapshot: &Snapshot, pool: &Pool, desired: &Desired<'_>) -> Places {
    snapshot.view(|rooms: &mut Rooms| {
        let Some(PoolRoom { room, .. }) = rooms.room(pool).filter(|room| room.active > 0) else {
            return Places { is_empty: true, ..Places::default() };
        };
        let decision = room.place(desired);
        room.undo(desired, &decision);
        let instance = |index: usize| room.instance(index).cloned();
        let taken = decision.actions.iter().filter_map(|Action::Place { candidate, gpu_ids }| {
            Some(Place { instance: instance(*candidate)?, gpu_ids: gpu_ids.clone() })
        });
        let refused = decision.report.refusals.iter().filter(|(_, reason)| *reason != Reason::Inactive);
        Places {
            is_empty: false,
            taken: taken.collect(),
            refused: refused
                .filter_map(|(index, reason)| Some((instance(*index)?, reason.clone())))
                .collect(),
        }
    })
}

/// Puts one task on each of the instances named (StartTask). `None` stands for one that there is not.
pub fn on_instances(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    launch: &Launch,
    instances: Vec<(String, Option<Versioned<ContainerInstance>>)>,
) -> Result<Placed, Fault> {
    let required = required_attributes(launch);
    let zones = zones(launch);
    let mut placed = Placed::default();
    placed.transaction.require_unchanged(&launch.cluster);
    for (arn, instance) in instances {
        let Some(instance) = instance else {
            placed.failures.push(failure(Some(arn), "MISSING"));
            continue;
        };
        let observed = Observed { candidates: vec![candidate(snapshot, &instance)] };
        // StartTask goes where the caller says: constraints and strategies have no part in it.
        let desired = Desired {
            count: 1,
            group: &launch.group,
            resources: &launch.resources,
            gpus: launch.gpus,
            required_attributes: &required,
            constraints: &[],
            strategies: &[],
            availability_zones: zones.as_ref(),
            seed: seed(ids),
        };
        if let Some(reason) = observed.candidates.first().and_then(|candidate| refusal(&desired, candidate)) {
            placed.failures.push(failure(Some(arn), reason.as_str()));
            continue;
        }
        for Action::Place { gpu_ids, .. } in decide(&desired, &observed, call.now).actions {
            let task = task(call, ids, launch, Some(&instance), &gpu_ids, None)?;
            write(&mut placed, task);
            container_instance::touch_allocation(snapshot, &mut placed.transaction, &instance);
        }
    }
    Ok(placed)
}

pub(super) fn failure(arn: Option<String>, reason: &str) -> Failure {
    Failure { arn, reason: Some(reason.to_owned()), detail: None }
}

pub(super) fn seed(ids: &dyn Ids) -> u64 {
    let mut bytes = [0; 8];
    ids.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Where a launch's tasks may go.
pub(super) fn pool(call: &Call, launch: &Launch) -> Pool {
    let (scope, cluster) = (call.scope.clone(), launch.cluster.name.clone());
    match (launch.launch_type, launch.capacity_provider.clone()) {
        (LaunchType::Fargate, _) => Pool::Fargate,
        (_, Some(capacity_provider)) => Pool::Provider { scope, cluster, capacity_provider },
        (launch_type, None) => {
            Pool::Cluster { scope, cluster, external: launch_type == LaunchType::External }
        }
    }
}

/// On Fargate only the platform counts: everything else is there by definition.
pub(super) fn required_attributes(launch: &Launch) -> Vec<(String, Option<String>)> {
    let all = &launch.definition.projection.requires_attributes;
    let platform = |(name, _): &&(String, Option<String>)| {
        launch.launch_type != LaunchType::Fargate
            || matches!(name.as_str(), CPU_ARCHITECTURE_ATTRIBUTE | "ecs.os-family")
    };
    all.iter().filter(platform).cloned().collect()
}

/// A Fargate task lies in the zone of its subnet wherever its machine stands.
pub(super) fn zones(launch: &Launch) -> Option<BTreeSet<String>> {
    let network = launch.network.as_ref().filter(|_| launch.launch_type != LaunchType::Fargate)?;
    Some(network.zones())
}

/// The capacity provider of each task in turn.
pub(super) fn providers(launch: &Launch, count: usize) -> Vec<Option<String>> {
    if launch.capacity_provider.is_some() || launch.strategy.is_empty() {
        return vec![launch.capacity_provider.clone(); count];
    }
    let shares = capacity_provider::split(&launch.strategy, count, &[]);
    launch
        .strategy
        .iter()
        .zip(shares)
        .flat_map(|(item, share)| std::iter::repeat_n(Some(item.capacity_provider.clone()), share))
        .collect()
}

pub(super) fn write(placed: &mut Placed, task: Task) {
    placed.transaction.insert(task.clone());
    if let (TaskStatus::Pending, Some(container_instance)) = (task.last_status, &task.container_instance) {
        placed.transaction.put(OutboxMessage {
            container_instance: container_instance.clone(),
            scope: task.scope.clone(),
            cluster: task.cluster.clone(),
            task_id: task.id.clone(),
            order: OutboxOrder::Start,
            generation: task.generation,
            written_at: task.times.created_at,
        });
    }
    placed.tasks.push(task);
}

/// A new task on `instance`; without one, a task that waits for an instance.
pub(super) fn task(
    call: &Call,
    ids: &dyn Ids,
    launch: &Launch,
    instance: Option<&ContainerInstance>,
    gpu_ids: &BTreeSet<String>,
    capacity_provider: Option<String>,
) -> Result<Task, Fault> {
    let is_fargate = launch.launch_type == LaunchType::Fargate;
    let subnet = match instance {
        Some(instance) => subnet(launch, instance, ids)?,
        None => None,
    };
    let definition = &launch.definition;
    let mut resources = launch.resources.clone();
    resources.gpu_ids.clone_from(gpu_ids);
    let zone = match &subnet {
        Some((zone, _)) if is_fargate => Some(zone.clone()),
        _ => instance.and_then(|there| there.attribute("ecs.availability-zone").flatten()).map(str::to_owned),
    };
    let architecture = instance.and_then(|instance| instance.attribute(CPU_ARCHITECTURE_ATTRIBUTE).flatten());
    let waits = instance.is_none() || subnet.is_some();
    Ok(Task {
        scope: call.scope.clone(),
        id: ids.hex(32),
        cluster: launch.cluster.name.clone(),
        task_definition: definition.arn(),
        family: definition.family.clone(),
        revision: definition.value.revision,
        launch_type: launch.launch_type,
        capacity_provider,
        container_instance: instance.map(ContainerInstance::arn),
        last_status: if waits { TaskStatus::Provisioning } else { TaskStatus::Pending },
        desired_status: DesiredStatus::Running,
        version: 1,
        generation: 1,
        group: launch.group.clone(),
        started_by: launch.started_by.clone(),
        cpu_units: launch.cpu_units,
        memory_mib: launch.memory_mib,
        overrides_document: wire::json::to_string(&launch.overrides),
        network_mode: definition.projection.network_mode,
        awsvpc_configuration: launch.network.as_ref().map(|network| network.configuration.clone()),
        resources,
        containers: containers(ids, launch, gpu_ids),
        attachments: subnet.into_iter().map(|(_, subnet)| network_interface(ids, subnet)).collect(),
        attributes: architecture
            .map(|architecture| (CPU_ARCHITECTURE_ATTRIBUTE.to_owned(), architecture.to_owned()))
            .into_iter()
            .collect(),
        availability_zone: zone,
        platform_version: is_fargate.then(|| PLATFORM_VERSION.to_owned()),
        platform_family: is_fargate.then(|| "Linux".to_owned()),
        ephemeral_storage_gib: launch.ephemeral_storage_gib,
        enable_execute_command: false,
        connectivity: None,
        health_status: HealthStatus::Unknown,
        times: TaskTimes { created_at: call.now, ..TaskTimes::default() },
        stop_code: None,
        stopped_reason: None,
        reference_id: launch.reference_id.clone(),
        stop_by: None,
        protected_until: None,
        accounted: false,
        max_runtime_seconds: launch.max_runtime_seconds,
        targets: launch.targets.clone(),
        registries: launch.registries.clone(),
        connects_to: launch.connects_to.clone(),
        tags: launch.tags.clone(),
    })
}

/// One of the subnets: on Fargate any, else one in the machine's zone. Zone and subnet.
fn subnet(
    launch: &Launch,
    instance: &ContainerInstance,
    ids: &dyn Ids,
) -> Result<Option<(String, String)>, Fault> {
    let Some(network) = &launch.network else { return Ok(None) };
    let zone = instance.attribute("ecs.availability-zone").flatten();
    let fit: Vec<(&String, &String)> = network
        .subnets_by_zone
        .iter()
        .filter(|(there, _)| launch.launch_type == LaunchType::Fargate || Some(there.as_str()) == zone)
        .flat_map(|(zone, subnets)| subnets.iter().map(move |subnet| (zone, subnet)))
        .collect();
    let pick = usize::try_from(seed(ids) % (fit.len().max(1) as u64)).unwrap_or(0);
    match fit.get(pick) {
        Some((zone, subnet)) => Ok(Some(((*zone).clone(), (*subnet).clone()))),
        None => Err(Fault::server("a task was placed outside of its subnets")),
    }
}

fn network_interface(ids: &dyn Ids, subnet: String) -> Attachment {
    Attachment {
        id: ids.uuid(),
        attachment_type: ELASTIC_NETWORK_INTERFACE.to_owned(),
        status: "PRECREATED".to_owned(),
        details: BTreeMap::from([("subnetId".to_owned(), subnet)]),
    }
}

fn containers(ids: &dyn Ids, launch: &Launch, gpu_ids: &BTreeSet<String>) -> Vec<TaskContainer> {
    let mut free_gpus = gpu_ids.iter().cloned();
    let overrides = launch.overrides.container_overrides.as_deref().unwrap_or_default();
    let projections = &launch.definition.projection.containers;
    let mut containers = Vec::with_capacity(projections.len());
    for (container, given) in projections.iter().zip(overrides) {
        let gpus = match &given.resource_requirements {
            Some(requirements) => requirements
                .iter()
                .filter_map(|requirement| requirement.value.as_ref()?.parse::<usize>().ok())
                .sum(),
            None => usize::try_from(container.gpus).unwrap_or(0),
        };
        let memory = given.memory.or(container.memory_mib);
        let reservation = given.memory_reservation.or(container.memory_reservation_mib);
        containers.push(TaskContainer {
            id: ids.uuid(),
            name: container.name.clone(),
            image: container.image.clone(),
            essential: container.essential,
            has_health_check: container.has_health_check,
            image_digest: None,
            runtime_id: None,
            last_status: TaskStatus::Pending,
            exit_code: None,
            reason: None,
            network_bindings: Vec::new(),
            health_status: HealthStatus::Unknown,
            managed_agents: Vec::new(),
            cpu: Some(given.cpu.unwrap_or(container.cpu_units).to_string()),
            memory: memory.map(|memory| memory.to_string()),
            memory_reservation: reservation.map(|reservation| reservation.to_string()),
            gpu_ids: free_gpus.by_ref().take(gpus).collect(),
        });
    }
    containers
}
