//! Services.

use std::collections::BTreeMap;

use api::ecs as wire_shapes;
use api::ecs::faults as modelled;
use base::limits::SERVICE_EVENTS;
use base::{Arn, Scope};
use domain::{
    Cluster, DeploymentControllerType, DesiredStatus, LaunchType, RevisionInUse, RevisionStatus,
    STARTED_BY_SERVICE, SchedulingStrategy, Service, ServiceEvent, ServiceRevision, ServiceStatus, Task,
    TaskSet, TaskStatus,
};
use store::rows::TASKS_LIVE_BY_GROUP;
use store::rows_gateway::express_service_of;
use store::rows_service::{SERVICES_OF_CLUSTER, of_service, service_key};
use store::{IndexScan, Snapshot, Store, Versioned};
use tokio::sync::OwnedMutexGuard;
use wire::{Call, Fault, Permission};

use super::{identifier, service_deployment, service_revision, tag, task_set, turn};
use crate::faults::invalid;
use crate::service_validation::load_balancers;
use crate::service_validation::placement::{describe_constraints, describe_strategies};
use crate::service_validation::workload::{describe_network, describe_strategy};

/// The name of a service of `cluster`, from a name or an ARN with or without the cluster's name.
pub fn name(call: &Call, cluster: &str, text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(invalid("Service can not be blank."));
    }
    let name = if text.starts_with("arn:") {
        let rest = identifier::own_arn(call, text, "service")?;
        match rest.split_once('/') {
            None => rest,
            Some((there, name)) if there == cluster => name.to_owned(),
            Some((there, _)) => {
                return Err(invalid(format!(
                    "Invalid identifier: Identifier is for cluster {there}. Your cluster is {cluster}"
                )));
            }
        }
    } else {
        text.to_owned()
    };
    if identifier::is_name(&name) { Ok(name) } else { Err(invalid(format!("Invalid service name: {name}"))) }
}

/// The ARN that permissions are asked for.
pub fn arn_for_permission(call: &Call, cluster: Option<&str>, service: Option<&str>) -> String {
    let arn = || {
        let cluster = super::cluster::name(call, cluster).ok()?;
        let name = name(call, &cluster, service?).ok()?;
        Some(Service::arn_of(&call.scope, &cluster, &name).to_string())
    };
    arn().unwrap_or_else(|| "*".to_owned())
}

/// The roles that a deployment configuration and load balancers hand on.
pub fn roles_passed(
    configuration: Option<&wire_shapes::DeploymentConfiguration>,
    of_load_balancers: Option<&[wire_shapes::LoadBalancer]>,
) -> Vec<Permission> {
    let hooks = configuration.and_then(|given| given.lifecycle_hooks.as_deref()).unwrap_or_default();
    let roles = hooks.iter().filter_map(|hook| hook.role_arn.clone());
    let roles = roles.chain(load_balancers::roles(of_load_balancers));
    roles.map(|role| Permission::new("iam:PassRole", role)).collect()
}

/// Waits for a turn with a service.
pub async fn turn(store: &Store, call: &Call, cluster: &str, name: &str) -> OwnedMutexGuard<()> {
    turn::of(store, &[call.scope.account.as_str(), call.scope.region.as_str(), cluster, name]).await
}

/// The service of this name, whatever its status.
pub fn find(snapshot: &Snapshot, scope: &Scope, cluster: &str, name: &str) -> Option<Versioned<Service>> {
    snapshot.get(&service_key(scope, cluster, name))
}

/// The service of this name, whatever its status.
pub fn get(
    snapshot: &Snapshot,
    scope: &Scope,
    cluster: &str,
    name: &str,
) -> Result<Versioned<Service>, Fault> {
    find(snapshot, scope, cluster, name)
        .ok_or_else(|| modelled::service_not_found_exception("Service not found."))
}

/// The ACTIVE service of this name.
pub fn active(
    snapshot: &Snapshot,
    scope: &Scope,
    cluster: &str,
    name: &str,
) -> Result<Versioned<Service>, Fault> {
    let service = get(snapshot, scope, cluster, name)?;
    if service.status == ServiceStatus::Active {
        Ok(service)
    } else {
        Err(modelled::service_not_active_exception("Service was not ACTIVE."))
    }
}

/// An ACTIVE service whose deployments somebody else leads, through task sets.
pub fn with_task_sets(
    snapshot: &Snapshot,
    scope: &Scope,
    cluster: &str,
    name: &str,
) -> Result<Versioned<Service>, Fault> {
    let service = active(snapshot, scope, cluster, name)?;
    if service.deployment_controller == DeploymentControllerType::Ecs {
        return Err(invalid(
            "Task sets are only supported for services with an EXTERNAL or CODE_DEPLOY deployment controller.",
        ));
    }
    Ok(service)
}

/// The services of a cluster that are not INACTIVE.
pub fn of_cluster<'a>(snapshot: &'a Snapshot, scope: &Scope, cluster: &str) -> IndexScan<'a, Service> {
    let parts = [scope.account.as_str(), scope.region.as_str(), cluster];
    snapshot.index::<Service>(SERVICES_OF_CLUSTER, &parts, None)
}

/// The tasks of a task group that are not STOPPED.
pub fn live_tasks<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    cluster: &str,
    group: &str,
) -> IndexScan<'a, Task> {
    let parts = [scope.account.as_str(), scope.region.as_str(), cluster, group];
    snapshot.index::<Task>(TASKS_LIVE_BY_GROUP, &parts, None)
}

/// RUNNING and PENDING tasks of a service by the revision or task set that started them.
#[derive(Clone, Debug, Default)]
pub struct TaskCounts(BTreeMap<String, (i32, i32)>);

impl TaskCounts {
    /// Counts the live tasks of a task group. Tasks that are being stopped count as neither.
    pub fn of_group(snapshot: &Snapshot, scope: &Scope, cluster: &str, group: &str) -> Self {
        let mut counts: BTreeMap<String, (i32, i32)> = BTreeMap::new();
        for task in live_tasks(snapshot, scope, cluster, group) {
            let id = task.started_by.as_deref().and_then(|text| text.strip_prefix(STARTED_BY_SERVICE));
            let (Some(id), DesiredStatus::Running) = (id, task.desired_status) else { continue };
            let count = counts.entry(id.to_owned()).or_default();
            match task.last_status {
                TaskStatus::Running => count.0 += 1,
                TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating => count.1 += 1,
                _ => {}
            }
        }
        Self(counts)
    }

    /// RUNNING and PENDING tasks of one revision or task set.
    pub fn of(&self, id: &str) -> (i32, i32) {
        self.0.get(id).copied().unwrap_or_default()
    }

    /// RUNNING and PENDING tasks of all.
    pub fn total(&self) -> (i32, i32) {
        self.0.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }
}

/// The launch type by which services are counted and listed; `None` where there is neither revision nor task set.
pub fn launch_type(snapshot: &Snapshot, service: &Service) -> Option<LaunchType> {
    match primary_revision(snapshot, service) {
        Some(revision) => Some(revision.launch_type),
        None => task_set::primary(snapshot, service).map(|task_set| task_set.launch_type),
    }
}

/// Who manages the service: ECS where it is an Express service, which is made in the same moment.
pub fn resource_management_type(snapshot: &Snapshot, service: &Service) -> &'static str {
    if express_service_of(snapshot, service).is_some() { "ECS" } else { "CUSTOMER" }
}

/// The row of the PRIMARY revision, else of the newest there is.
pub fn primary_revision(snapshot: &Snapshot, service: &Service) -> Option<Versioned<ServiceRevision>> {
    let id = &service.primary().or(service.revisions.first())?.id;
    service_revision::get(snapshot, service, id)
}

/// The service as the API shows it.
pub fn describe(
    snapshot: &Snapshot,
    service: &Service,
    with_tags: bool,
) -> Result<wire_shapes::Service, Fault> {
    let counts = TaskCounts::of_group(snapshot, &service.scope, &service.cluster, &service.group());
    let (running, pending) = counts.total();
    let task_sets = task_set::of_service(snapshot, service);
    let of_task_sets = service.deployment_controller != DeploymentControllerType::Ecs;
    let desired_count = match (service.scheduling_strategy, service.primary()) {
        (SchedulingStrategy::Daemon, Some(primary)) => primary.desired_count,
        _ => service.desired_count,
    };
    let revision = primary_revision(snapshot, service);
    let shown = Shown::of(revision.as_deref(), task_set::primary(snapshot, service).as_deref());
    let document = match &revision {
        Some(revision) => service_revision::document(revision)?,
        None => {
            let primary = task_set::primary(snapshot, service);
            let document = primary.map(|row| task_set::document(&row)).transpose()?.unwrap_or_default();
            wire_shapes::ServiceRevision {
                load_balancers: document.load_balancers,
                service_registries: document.service_registries,
                ..wire_shapes::ServiceRevision::default()
            }
        }
    };
    let in_use = service.revisions.iter().filter(|there| there.status != RevisionStatus::Inactive);
    let deployments = in_use.clone().map(|there| describe_deployment(snapshot, service, there, &counts));
    let summaries = in_use.map(|there| describe_summary(service, there, &counts));
    let current = service.current_deployment.as_ref().map(|id| {
        let Service { scope, cluster, name, .. } = service;
        domain::ServiceDeployment::arn_of(scope, cluster, name, id).to_string()
    });
    let yes_or_no = if service.availability_zone_rebalancing { "ENABLED" } else { "DISABLED" };
    Ok(wire_shapes::Service {
        availability_zone_rebalancing: Some(yes_or_no.to_owned()),
        capacity_provider_strategy: shown.capacity_provider_strategy,
        cluster_arn: Some(Cluster::arn_of(&service.scope, &service.cluster).to_string()),
        created_at: Some(service.created_at),
        created_by: service.created_by.clone(),
        current_service_deployment: current,
        current_service_revisions: Some(summaries.collect()),
        deployment_configuration: Some(service_deployment::configuration(
            &service.deployment_configuration_document,
        )?),
        deployment_controller: Some(wire_shapes::DeploymentController {
            type_: Some(service.deployment_controller.to_string()),
        }),
        deployments: Some(deployments.collect::<Result<_, _>>()?),
        desired_count: Some(desired_count),
        enable_ecs_managed_tags: Some(service.enable_ecs_managed_tags),
        enable_execute_command: Some(service.enable_execute_command),
        events: Some(events(snapshot, service)),
        health_check_grace_period_seconds: service.health_check_grace_period_seconds,
        launch_type: shown.launch_type,
        load_balancers: Some(document.load_balancers.unwrap_or_default()),
        network_configuration: shown.network_configuration,
        pending_count: Some(pending),
        placement_constraints: Some(describe_constraints(&service.placement_constraints)),
        placement_strategy: Some(describe_strategies(&service.placement_strategy)),
        platform_family: shown.platform_family,
        platform_version: service.platform_version.clone().or(shown.platform_version),
        propagate_tags: Some(service.propagate_tags.clone().unwrap_or_else(|| "NONE".to_owned())),
        resource_management_type: Some(resource_management_type(snapshot, service).to_owned()),
        role_arn: service.role.clone(),
        running_count: Some(running),
        scheduling_strategy: Some(service.scheduling_strategy.to_string()),
        service_arn: Some(service.arn().to_string()),
        service_name: Some(service.name.clone()),
        service_registries: Some(document.service_registries.unwrap_or_default()),
        status: Some(service.status.to_string()),
        tags: with_tags.then(|| tag::describe(&service.tags)),
        task_definition: shown.task_definition,
        task_sets: if of_task_sets {
            let describe = |row: &Versioned<TaskSet>| task_set::describe(row, &counts, with_tags);
            Some(task_sets.iter().map(describe).collect::<Result<_, _>>()?)
        } else {
            None
        },
    })
}

/// What a service shows of its primary revision or task set.
#[derive(Default)]
struct Shown {
    task_definition: Option<String>,
    launch_type: Option<String>,
    capacity_provider_strategy: Option<Vec<wire_shapes::CapacityProviderStrategyItem>>,
    platform_version: Option<String>,
    platform_family: Option<String>,
    network_configuration: Option<wire_shapes::NetworkConfiguration>,
}

impl Shown {
    fn of(revision: Option<&ServiceRevision>, task_set: Option<&TaskSet>) -> Self {
        let (definition, launch_type, strategy, platform_version, network) = match (revision, task_set) {
            (Some(row), _) => (
                row.task_definition.as_ref(),
                row.launch_type,
                &row.capacity_provider_strategy,
                &row.platform_version,
                row.awsvpc_configuration.as_ref(),
            ),
            (None, Some(row)) => (
                Some(&row.task_definition),
                row.launch_type,
                &row.capacity_provider_strategy,
                &row.platform_version,
                row.awsvpc_configuration.as_ref(),
            ),
            (None, None) => return Self::default(),
        };
        let strategy = describe_strategy(strategy);
        Self {
            task_definition: definition.map(ToString::to_string),
            launch_type: strategy.is_none().then(|| launch_type.to_string()),
            capacity_provider_strategy: strategy,
            platform_version: platform_version.clone(),
            platform_family: service_revision::platform_family(launch_type),
            network_configuration: network.map(describe_network),
        }
    }
}

fn describe_deployment(
    snapshot: &Snapshot,
    service: &Service,
    in_use: &RevisionInUse,
    counts: &TaskCounts,
) -> Result<wire_shapes::Deployment, Fault> {
    let row = service_revision::get(snapshot, service, &in_use.id);
    let shown = Shown::of(row.as_deref(), None);
    let document = match &row {
        Some(row) => service_revision::document(row)?,
        None => wire_shapes::ServiceRevision::default(),
    };
    let (running, pending) = counts.of(&in_use.id);
    Ok(wire_shapes::Deployment {
        capacity_provider_strategy: shown.capacity_provider_strategy,
        created_at: Some(in_use.created_at),
        desired_count: Some(in_use.desired_count),
        failed_tasks: Some(i32::try_from(in_use.failed_tasks).unwrap_or(i32::MAX)),
        fargate_ephemeral_storage: None,
        id: Some(in_use.started_by()),
        launch_type: shown.launch_type,
        network_configuration: shown.network_configuration,
        pending_count: Some(pending),
        platform_family: shown.platform_family,
        platform_version: shown.platform_version,
        rollout_state: Some(in_use.rollout_state.to_string()),
        rollout_state_reason: Some(in_use.rollout_state_reason.clone()),
        running_count: Some(running),
        service_connect_configuration: document.service_connect_configuration,
        service_connect_resources: row.as_deref().and_then(service_connect_resources),
        status: Some(in_use.status.to_string()),
        task_definition: shown.task_definition,
        updated_at: Some(in_use.updated_at),
        volume_configurations: document.volume_configurations,
        vpc_lattice_configurations: document.vpc_lattice_configurations,
    })
}

/// The services of AWS Cloud Map that Service Connect made for a revision.
fn service_connect_resources(
    revision: &domain::ServiceRevision,
) -> Option<Vec<wire_shapes::ServiceConnectServiceResource>> {
    let serves = &revision.connect.as_ref()?.serves;
    let resource =
        |(name, registry): &(String, domain::TaskRegistry)| wire_shapes::ServiceConnectServiceResource {
            discovery_arn: Some(registry.service.to_string()),
            discovery_name: Some(name.clone()),
        };
    Some(serves.iter().map(resource).collect())
}

fn describe_summary(
    service: &Service,
    in_use: &RevisionInUse,
    counts: &TaskCounts,
) -> wire_shapes::ServiceCurrentRevisionSummary {
    let (running, pending) = counts.of(&in_use.id);
    let Service { scope, cluster, name, .. } = service;
    wire_shapes::ServiceCurrentRevisionSummary {
        arn: Some(ServiceRevision::arn_of(scope, cluster, name, &in_use.id).to_string()),
        requested_task_count: Some(in_use.desired_count),
        running_task_count: Some(running),
        pending_task_count: Some(pending),
    }
}

/// The last events of this life of the service, newest first.
fn events(snapshot: &Snapshot, service: &Service) -> Vec<wire_shapes::ServiceEvent> {
    let prefix = of_service(&service.scope, &service.cluster, &service.name);
    let mut events: Vec<Versioned<ServiceEvent>> = snapshot
        .scan::<ServiceEvent>(prefix, None)
        .filter(|event| event.created_at >= service.created_at)
        .collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.number));
    let describe = |event: &Versioned<ServiceEvent>| wire_shapes::ServiceEvent {
        created_at: Some(event.created_at),
        id: Some(event.id.clone()),
        message: Some(event.message.clone()),
    };
    events.iter().take(SERVICE_EVENTS).map(describe).collect()
}

/// The failure for a service that there is not.
pub fn missing(scope: &Scope, cluster: &str, name: &str) -> wire_shapes::Failure {
    let arn: Arn = Service::arn_of(scope, cluster, name);
    wire_shapes::Failure { arn: Some(arn.to_string()), reason: Some("MISSING".to_owned()), detail: None }
}
