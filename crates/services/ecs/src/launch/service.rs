//! From a service and one of its revisions or task sets to task rows. What a call checks once was checked when the
//! service was made; what has gone since (a subnet, the task definition) is the reason that a start fails.
//!
//! Differs from AWS: tasks of a definition that was deleted meanwhile are started as long as its row is there.

use std::collections::{BTreeMap, BTreeSet};

use api::ecs::{
    AwsVpcConfiguration as WireNetwork, NetworkConfiguration, PlacementConstraint, PlacementStrategy,
    RunTaskRequest,
};
use base::{Arn, Ids, Scope, Tag, Timestamp};
use domain::{
    AwsVpcConfiguration, CapacityProviderStrategyItem, ContainerInstance, ContainerInstanceStatus,
    LaunchType, Service, ServiceRevision, Task, TaskDefinition, TaskRegistry, TaskSet, TaskTarget,
};
use scheduler::cluster_query_language::Expression;
use scheduler::placement::{Candidate, Constraint, Desired, Reason, refusal};
use store::rows::{cluster_key, container_instance_key, task_definition_key};
use store::{Key, Snapshot, Versioned};
use wire::{Call, Fault, Principal};

use super::place::Placed;
use super::{EXTERNAL_ATTRIBUTE, Launch, constraints, network, overrides, queue};
use crate::faults::{client, cluster_not_found, invalid};
use crate::resources::{capacity_provider, service_revision, tag, task_set};
use crate::service_validation::{load_balancers, service_registries};

/// What the tasks of a revision or task set are.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its id.
    pub id: String,
    /// The task definition's revision.
    pub task_definition: Arn,
    /// Launch type; with a strategy, that of its providers.
    pub launch_type: LaunchType,
    /// The strategy.
    pub strategy: Vec<CapacityProviderStrategyItem>,
    /// `awsvpcConfiguration`.
    pub network: Option<AwsVpcConfiguration>,
    /// Target groups that they are registered in.
    pub targets: Vec<TaskTarget>,
    /// Services of AWS Cloud Map that they are registered in.
    pub registries: Vec<TaskRegistry>,
    /// The namespace whose services they call through Service Connect.
    pub connects_to: Option<String>,
}

/// Service registries, and what Service Connect registers.
fn registries(revision: &ServiceRevision, document: &api::ecs::ServiceRevision) -> Vec<TaskRegistry> {
    let mut registries = service_registries::registries(document.service_registries.as_deref());
    let serves = revision.connect.iter().flat_map(|connect| &connect.serves);
    registries.extend(serves.map(|(_, registry)| registry.clone()));
    registries
}

impl Workload {
    /// Of a service's revision; `None` where it names no task definition.
    pub fn of_revision(revision: &ServiceRevision) -> Option<Self> {
        let document = service_revision::document(revision).ok()?;
        Some(Self {
            id: revision.id.clone(),
            task_definition: revision.task_definition.clone()?,
            launch_type: revision.launch_type,
            strategy: revision.capacity_provider_strategy.clone(),
            network: revision.awsvpc_configuration.clone(),
            targets: load_balancers::targets(
                document.load_balancers.as_deref(),
                document.resolved_configuration.as_ref(),
            ),
            registries: registries(revision, &document),
            connects_to: revision.connect.as_ref().map(|connect| connect.namespace.clone()),
        })
    }

    /// Of a task set.
    pub fn of_task_set(task_set: &TaskSet) -> Self {
        let document = task_set::document(task_set).unwrap_or_default();
        Self {
            id: task_set.id.clone(),
            task_definition: task_set.task_definition.clone(),
            launch_type: task_set.launch_type,
            strategy: task_set.capacity_provider_strategy.clone(),
            network: task_set.awsvpc_configuration.clone(),
            targets: load_balancers::targets(document.load_balancers.as_deref(), None),
            registries: service_registries::registries(document.service_registries.as_deref()),
            connects_to: None,
        }
    }
}

/// Where the tasks may go.
#[derive(Clone, Debug)]
pub enum Spot {
    /// Wherever placement puts them.
    Anywhere,
    /// In this Availability Zone.
    Zone(String),
    /// On instances whose attribute has this value.
    Attribute(String, String),
    /// One on each of these container instances.
    Instances(Vec<String>),
}

/// A call in the name of the service's scheduler.
pub fn call(scope: &Scope, now: Timestamp) -> Call {
    Call {
        scope: scope.clone(),
        now,
        request_id: String::new(),
        principal: Principal::root(&scope.account, "ecs-service-scheduler"),
        source_ip: None,
        endpoint: String::new(),
    }
}

/// What a task of the service comes to. The fault's message is the reason why none can be started.
pub fn prepare(
    snapshot: &Snapshot,
    call: &Call,
    service: &Service,
    workload: &Workload,
) -> Result<Launch, Fault> {
    let cluster = snapshot.get::<domain::Cluster>(&cluster_key(&service.scope, &service.cluster));
    let cluster = cluster.ok_or_else(cluster_not_found)?;
    let definition = definition(snapshot, &workload.task_definition)
        .ok_or_else(|| client("Unable to describe task definition."))?;
    let request = request(workload);
    let launch_type = workload.launch_type;
    let network = network::check(snapshot, call, &request, &definition, launch_type)?;
    let given: Vec<PlacementConstraint> = service
        .placement_constraints
        .iter()
        .map(|(kind, expression)| PlacementConstraint {
            type_: Some(kind.clone()),
            expression: expression.clone(),
        })
        .collect();
    let strategy = strategies(service, launch_type);
    let constraints = constraints::constraints(&definition, Some(&given), launch_type)?;
    let strategies = constraints::strategies(Some(&strategy), launch_type)?;
    let sized = overrides::check(None, &definition, launch_type)?;
    Ok(Launch {
        tags: tags(service, &definition)?,
        cluster,
        launch_type,
        strategy: workload.strategy.clone(),
        capacity_provider: None,
        group: service.group(),
        started_by: Some(format!("{}{}", domain::STARTED_BY_SERVICE, workload.id)),
        reference_id: None,
        overrides: sized.overrides,
        resources: sized.resources,
        cpu_units: sized.cpu_units,
        memory_mib: sized.memory_mib,
        gpus: sized.gpus,
        ephemeral_storage_gib: sized.ephemeral_storage_gib,
        network,
        constraints,
        strategies,
        asked: queue::Asked::of(Some(&given), Some(&strategy)),
        queue_when_full: false,
        max_runtime_seconds: super::Wishes::of(&service.tags, &definition.tags)?.max_runtime_seconds,
        targets: workload.targets.clone(),
        registries: workload.registries.clone(),
        connects_to: workload.connects_to.clone(),
        definition,
    })
}

/// The service's strategies; without any its tasks are spread over the zones. Source: AWS, "Amazon ECS services".
fn strategies(service: &Service, launch_type: LaunchType) -> Vec<PlacementStrategy> {
    let strategy = |kind: &str, field: Option<&str>| PlacementStrategy {
        type_: Some(kind.to_owned()),
        field: field.map(str::to_owned),
    };
    if service.placement_strategy.is_empty() && launch_type != LaunchType::Fargate {
        return vec![
            strategy("spread", Some("attribute:ecs.availability-zone")),
            strategy("spread", Some("instanceId")),
        ];
    }
    service.placement_strategy.iter().map(|(kind, field)| strategy(kind, field.as_deref())).collect()
}

fn definition(snapshot: &Snapshot, arn: &Arn) -> Option<Versioned<TaskDefinition>> {
    let (family, revision) = arn.resource().strip_prefix("task-definition/")?.split_once(':')?;
    snapshot.get::<TaskDefinition>(&task_definition_key(&arn.scope()?, family, revision.parse().ok()?))
}

fn request(workload: &Workload) -> RunTaskRequest {
    RunTaskRequest { network_configuration: network_of(workload), ..RunTaskRequest::default() }
}

/// The workload's network as a request has it.
pub fn network_of(workload: &Workload) -> Option<NetworkConfiguration> {
    workload.network.as_ref().map(|network| NetworkConfiguration {
        awsvpc_configuration: Some(WireNetwork {
            subnets: Some(network.subnets.clone()),
            security_groups: Some(network.security_groups.clone()),
            assign_public_ip: network.assign_public_ip.then(|| "ENABLED".to_owned()),
        }),
    })
}

/// Tags of the service's tasks. Source: CreateService, `propagateTags`; "Tagging your Amazon ECS resources".
fn tags(service: &Service, definition: &TaskDefinition) -> Result<Vec<Tag>, Fault> {
    let mut tags = match service.propagate_tags.as_deref() {
        Some("SERVICE") => service.tags.clone(),
        Some("TASK_DEFINITION") => definition.tags.clone(),
        _ => Vec::new(),
    };
    if service.enable_ecs_managed_tags {
        let managed = [("aws:ecs:clusterName", &service.cluster), ("aws:ecs:serviceName", &service.name)];
        let managed = managed.map(|(key, value)| Tag { key: key.to_owned(), value: value.clone() });
        tag::merge(&mut tags, managed.to_vec())?;
    }
    Ok(tags)
}

/// Starts up to `count` tasks. `live` are the workload's tasks that count when its strategy is split.
///
/// With a strategy the tasks of the first provider that is due are started, on Fargate those of one zone, so that no two placements in one transaction
/// take the same room: who calls comes again for the rest. Gives what was placed, and how many were tried.
pub fn start(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    launch: &Launch,
    live: &[&Task],
    count: usize,
    spot: &Spot,
) -> Result<(Placed, usize), Fault> {
    let mut launch = launch.clone();
    let mut count = count;
    if !launch.strategy.is_empty() {
        let of = |item: &CapacityProviderStrategyItem| {
            let name = Some(item.capacity_provider.as_str());
            live.iter().filter(|task| task.capacity_provider.as_deref() == name).count()
        };
        let already: Vec<usize> = launch.strategy.iter().map(of).collect();
        let shares = capacity_provider::split(&launch.strategy, count, &already);
        let due = shares.iter().position(|share| *share > 0);
        let index =
            due.ok_or_else(|| invalid("The capacity provider strategy has no provider with a weight."))?;
        count = shares[index];
        let item = launch.strategy[index].clone();
        launch.strategy = vec![CapacityProviderStrategyItem { weight: 1, base: 0, ..item }];
    }
    match spot {
        Spot::Anywhere => {
            if let Some((zone, share)) = emptiest_zone(&launch, live, count) {
                in_zone(&mut launch, &zone)?;
                count = share;
            }
        }
        Spot::Zone(zone) => in_zone(&mut launch, zone)?,
        Spot::Attribute(name, value) => {
            launch.constraints.push(Constraint::MemberOf(equals(&format!("attribute:{name}"), value)?));
        }
        Spot::Instances(arns) => {
            let rows = arns.iter().map(|arn| (arn.clone(), instance(snapshot, arn))).collect();
            return super::on_instances(snapshot, call, ids, &launch, rows).map(|placed| (placed, count));
        }
    }
    // Tasks of a provider over an Auto Scaling group go to its instances, and wait where there is no room and it may grow.
    match queue::admitted(snapshot, &launch, count) {
        0 => Ok((Placed::default(), count)),
        admitted => queue::start(snapshot, call, ids, &launch, admitted).map(|placed| (placed, count)),
    }
}

/// On Fargate a service's tasks are spread over the zones of its subnets. Source: AWS, "Amazon ECS services", Fargate. The
/// zone that has the fewest, and how many of the new tasks are to go there.
fn emptiest_zone(launch: &Launch, live: &[&Task], count: usize) -> Option<(String, usize)> {
    let network = launch.network.as_ref().filter(|_| launch.launch_type == LaunchType::Fargate)?;
    let mut zones: BTreeMap<&str, usize> =
        network.subnets_by_zone.keys().map(|zone| (zone.as_str(), 0)).collect();
    for task in live {
        if let Some(there) = task.availability_zone.as_deref().and_then(|zone| zones.get_mut(zone)) {
            *there += 1;
        }
    }
    let before = zones.clone();
    let emptiest = |zones: &BTreeMap<&'_ str, usize>| {
        zones.iter().min_by_key(|(_, tasks)| **tasks).map(|(zone, _)| (*zone).to_owned())
    };
    let first = emptiest(&zones)?;
    for _ in 0..count {
        let zone = emptiest(&zones)?;
        *zones.get_mut(zone.as_str())? += 1;
    }
    let share = zones.get(first.as_str())? - before.get(first.as_str())?;
    Some((first, share))
}

/// On Fargate the subnet makes the zone, elsewhere the machine.
fn in_zone(launch: &mut Launch, zone: &str) -> Result<(), Fault> {
    if launch.launch_type == LaunchType::Fargate
        && let Some(network) = launch.network.as_mut()
    {
        network.subnets_by_zone.retain(|there, _| there == zone);
    } else {
        let constraint = Constraint::MemberOf(equals("attribute:ecs.availability-zone", zone)?);
        launch.constraints.push(constraint);
    }
    Ok(())
}

fn equals(subject: &str, value: &str) -> Result<Expression, Fault> {
    let text = format!("{subject} == '{}'", value.replace('\'', ""));
    Expression::parse(&text).map_err(|error| invalid(format!("Invalid expression: {error}")))
}

fn instance(snapshot: &Snapshot, arn: &str) -> Option<Versioned<ContainerInstance>> {
    let arn: Arn = arn.parse().ok()?;
    let (cluster, id) = arn.resource().strip_prefix("container-instance/")?.split_once('/')?;
    snapshot.get::<ContainerInstance>(&container_instance_key(&arn.scope()?, cluster, id))
}

/// The container instances that are to have a task of a DAEMON service: those that may take one whatever is on them now,
/// and those whose agent is away but that have one (`has`).
pub fn daemon_instances(snapshot: &Snapshot, launch: &Launch, has: &BTreeSet<String>) -> BTreeSet<String> {
    let required = super::place::required_attributes(launch);
    let zones = super::place::zones(launch);
    let desired = Desired {
        count: 1,
        group: "",
        resources: &launch.resources,
        gpus: launch.gpus,
        required_attributes: &required,
        constraints: &launch.constraints,
        strategies: &[],
        availability_zones: zones.as_ref(),
        seed: 0,
    };
    let external = launch.launch_type == LaunchType::External;
    let may_have = |row: &Versioned<ContainerInstance>| {
        let candidate = Candidate {
            container_instance: row.value.as_ref(),
            held: domain::Resources::default(),
            tasks: Vec::new(),
        };
        match refusal(&desired, &candidate) {
            None => true,
            Some(Reason::Agent) => has.contains(&row.arn().to_string()),
            Some(_) => false,
        }
    };
    in_cluster(snapshot, &launch.cluster.scope, &launch.cluster.name)
        .filter(|row| row.attribute(EXTERNAL_ATTRIBUTE).is_some() == external)
        .filter(may_have)
        .map(|row| row.arn().to_string())
        .collect()
}

/// The ACTIVE container instances of a cluster.
pub fn in_cluster<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    cluster: &str,
) -> impl Iterator<Item = Versioned<ContainerInstance>> + 'a {
    let all = snapshot.scan::<ContainerInstance>(Key::prefix(scope, &[cluster]), None);
    all.filter(|row| row.status == ContainerInstanceStatus::Active)
}

/// The values of an instance attribute over which a service's tasks can be evened out: those of the instances that could
/// have one, were they empty.
pub fn values_to_balance(snapshot: &Snapshot, launch: &Launch, attribute: &str) -> BTreeSet<String> {
    if let Some(network) = launch.network.as_ref().filter(|_| launch.launch_type == LaunchType::Fargate) {
        return network.zones();
    }
    let could = daemon_instances(snapshot, launch, &BTreeSet::new());
    let rows = in_cluster(snapshot, &launch.cluster.scope, &launch.cluster.name);
    rows.filter(|row| could.contains(&row.arn().to_string()))
        .filter_map(|row| row.attribute(attribute).flatten().map(str::to_owned))
        .collect()
}
