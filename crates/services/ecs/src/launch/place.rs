//! From a checked launch to task rows: candidates are gathered, `scheduler` chooses, and one transaction writes tasks,
//! orders and the allocation counters that keep two launches from taking the same room.

use std::collections::{BTreeMap, BTreeSet};

use api::ecs::Failure;
use base::Ids;
use domain::{
    Attachment, ContainerInstance, ContainerInstanceStatus, DesiredStatus, ELASTIC_NETWORK_INTERFACE,
    HealthStatus, LaunchType, OutboxMessage, OutboxOrder, Task, TaskContainer, TaskStatus, TaskTimes,
};
use scheduler::placement::{Action, Candidate, Desired, Observed, PlacedTask, Reason, decide, refusal};
use store::rows::CONTAINER_INSTANCES_FARGATE;
use store::{Key, Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::{Launch, PLATFORM_VERSION};
use crate::faults::invalid;
use crate::resources::{capacity_provider, container_instance};

/// AWS's sentence for want of Fargate capacity.
const FARGATE_UNAVAILABLE: &str =
    "Capacity is unavailable at this time. Please try again later or in a different availability zone";
/// The attribute of machines that joined from elsewhere (ECS Anywhere).
const EXTERNAL_ATTRIBUTE: &str = "ecs.capability.external";
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

/// The machines that a launch may go to, and what is on them.
struct Machines {
    instances: Vec<Versioned<ContainerInstance>>,
    tasks: Vec<Vec<Versioned<Task>>>,
}

impl Machines {
    fn gather(snapshot: &Snapshot, instances: Vec<Versioned<ContainerInstance>>) -> Self {
        let tasks = instances.iter().map(|instance| container_instance::tasks(snapshot, instance)).collect();
        Self { instances, tasks }
    }

    fn observed(&self) -> Observed<'_> {
        Observed { candidates: self.instances.iter().zip(&self.tasks).map(candidate).collect() }
    }
}

fn candidate<'a>(
    (instance, tasks): (&'a Versioned<ContainerInstance>, &'a Vec<Versioned<Task>>),
) -> Candidate<'a> {
    let placed = |task: &Versioned<Task>| PlacedTask {
        group: task.group.clone(),
        running: task.last_status == TaskStatus::Running,
    };
    Candidate {
        container_instance: &instance.value,
        held: container_instance::held(tasks.iter().map(|task| task.value.as_ref())),
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
    let machines = Machines::gather(snapshot, machines(snapshot, call, launch)?);
    let observed = machines.observed();
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
    let decision = decide(&desired, &observed, call.now);
    let providers = providers(launch, count);
    let mut placed = Placed::default();
    placed.transaction.require_unchanged(&launch.cluster);
    for (number, Action::Place { candidate, gpu_ids }) in decision.actions.iter().enumerate() {
        let instance = &machines.instances[*candidate].value;
        let provider = providers.get(number).cloned().flatten();
        let task = task(call, ids, launch, instance, gpu_ids, provider)?;
        write(&mut placed, task);
    }
    placed.failures = if launch.launch_type == LaunchType::Fargate {
        let short = decision.actions.len() < count;
        short.then(|| failure(None, FARGATE_UNAVAILABLE)).into_iter().collect()
    } else {
        let refused = |(index, reason): &(usize, Reason)| {
            failure(Some(machines.instances[*index].arn().to_string()), reason.as_str())
        };
        decision.report.refusals.iter().map(refused).collect()
    };
    let used: BTreeSet<usize> =
        decision.actions.iter().map(|Action::Place { candidate, .. }| *candidate).collect();
    for index in used {
        container_instance::touch_allocation(snapshot, &mut placed.transaction, &machines.instances[index]);
    }
    Ok(placed)
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
        let machines = Machines::gather(snapshot, vec![instance]);
        let observed = machines.observed();
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
            let task = task(call, ids, launch, &machines.instances[0].value, &gpu_ids, None)?;
            write(&mut placed, task);
            container_instance::touch_allocation(snapshot, &mut placed.transaction, &machines.instances[0]);
        }
    }
    Ok(placed)
}

fn failure(arn: Option<String>, reason: &str) -> Failure {
    Failure { arn, reason: Some(reason.to_owned()), detail: None }
}

fn seed(ids: &dyn Ids) -> u64 {
    let mut bytes = [0; 8];
    ids.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn machines(
    snapshot: &Snapshot,
    call: &Call,
    launch: &Launch,
) -> Result<Vec<Versioned<ContainerInstance>>, Fault> {
    if launch.launch_type == LaunchType::Fargate {
        let machines = snapshot.index::<ContainerInstance>(CONTAINER_INSTANCES_FARGATE, &[], None);
        return Ok(machines.filter(|machine| machine.status == ContainerInstanceStatus::Active).collect());
    }
    let external = launch.launch_type == LaunchType::External;
    let machines: Vec<_> = snapshot
        .scan::<ContainerInstance>(Key::prefix(&call.scope, &[&launch.cluster.name]), None)
        .filter(|machine| machine.status == ContainerInstanceStatus::Active)
        .filter(|machine| machine.attribute(EXTERNAL_ATTRIBUTE).is_some() == external)
        .collect();
    if machines.is_empty() {
        return Err(invalid("No Container Instances were found in your cluster."));
    }
    Ok(machines)
}

/// On Fargate only the platform counts: everything else is there by definition.
fn required_attributes(launch: &Launch) -> Vec<(String, Option<String>)> {
    let all = &launch.definition.projection.requires_attributes;
    let platform = |(name, _): &&(String, Option<String>)| {
        launch.launch_type != LaunchType::Fargate
            || matches!(name.as_str(), CPU_ARCHITECTURE_ATTRIBUTE | "ecs.os-family")
    };
    all.iter().filter(platform).cloned().collect()
}

/// A Fargate task lies in the zone of its subnet wherever its machine stands.
fn zones(launch: &Launch) -> Option<BTreeSet<String>> {
    let network = launch.network.as_ref().filter(|_| launch.launch_type != LaunchType::Fargate)?;
    Some(network.zones())
}

/// The capacity provider of each task in turn.
fn providers(launch: &Launch, count: usize) -> Vec<Option<String>> {
    if launch.strategy.is_empty() {
        return vec![None; count];
    }
    let shares = capacity_provider::split(&launch.strategy, count, &[]);
    launch
        .strategy
        .iter()
        .zip(shares)
        .flat_map(|(item, share)| std::iter::repeat_n(Some(item.capacity_provider.clone()), share))
        .collect()
}

fn write(placed: &mut Placed, task: Task) {
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

fn task(
    call: &Call,
    ids: &dyn Ids,
    launch: &Launch,
    instance: &ContainerInstance,
    gpu_ids: &BTreeSet<String>,
    capacity_provider: Option<String>,
) -> Result<Task, Fault> {
    let is_fargate = launch.launch_type == LaunchType::Fargate;
    let subnet = subnet(launch, instance, ids)?;
    let definition = &launch.definition;
    let mut resources = launch.resources.clone();
    resources.gpu_ids.clone_from(gpu_ids);
    let zone = match &subnet {
        Some((zone, _)) if is_fargate => Some(zone.clone()),
        _ => instance.attribute("ecs.availability-zone").flatten().map(str::to_owned),
    };
    let architecture = instance.attribute(CPU_ARCHITECTURE_ATTRIBUTE).flatten();
    Ok(Task {
        scope: call.scope.clone(),
        id: ids.hex(32),
        cluster: launch.cluster.name.clone(),
        task_definition: definition.arn(),
        family: definition.family.clone(),
        revision: definition.value.revision,
        launch_type: launch.launch_type,
        capacity_provider,
        container_instance: Some(instance.arn()),
        last_status: if subnet.is_some() { TaskStatus::Provisioning } else { TaskStatus::Pending },
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
