//! Express services: an image becomes a task definition, a service on Fargate, and an endpoint on a load balancer that several
//! of them share ([`super::express_ingress`]).
//!
//! Differs from AWS: there is no automatic scaling: `scalingTarget` is kept and shown, and `minTaskCount` tasks run. No alarm
//! watches the canary. The cluster is not made. A service stays with its load balancer. The names of the family and the log
//! group, and where no public source says better the wording of refusals, are ours.

use api::ecs as shape;
use api::ecs::faults as modelled;
use domain::{
    ExpressIngress, ExpressLoadBalancer, ExpressRevision, ExpressService, ManagedResourceStatus,
    RevisionStatus, Service, ServiceRevision, ServiceStatus,
};
use store::rows_gateway::{express_ingress_of, express_service_key, express_service_of};
use store::{Snapshot, Versioned};
use wire::{Call, Fault};

use super::{express_ingress, identifier, service, tag, task_definition};
use crate::faults::invalid;
use crate::launch;

/// The name of the container of an Express service. Source: "Resources created by Amazon ECS Express Mode services".
pub const CONTAINER: &str = "Main";
/// `cpu` where the caller does not say. Source: as above.
const CPU_DEFAULT: &str = "1024";
/// `memory` where the caller does not say. Source: as above.
const MEMORY_DEFAULT: &str = "2048";
/// The container's port where the caller does not say. Source: ExpressGatewayContainer.
const PORT_DEFAULT: i32 = 80;
/// Tasks at most where the caller does not say. Source: "Resources created by Amazon ECS Express Mode services".
const MAX_TASKS_DEFAULT: i32 = 20;
/// The metric's target where the caller does not say. Source: as above.
const TARGET_DEFAULT: i32 = 60;
/// Tasks of one service. Source: "Amazon ECS service quotas".
const TASKS_MAXIMUM: i32 = 5_000;
/// Percent of the traffic that a new revision gets first. Source: "Updating an Amazon ECS Express Mode service".
const CANARY_PERCENT: f64 = 5.0;
/// Minutes before the rest follows, and again before the old tasks are stopped. Source: as above.
const BAKE_MINUTES: i32 = 3;

/// How a caller names an Express service: cluster and name.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The cluster's name.
    pub cluster: String,
    /// The service's name.
    pub name: String,
}

/// Reads a service's ARN.
pub fn parse(call: &Call, text: Option<&str>) -> Result<Reference, Fault> {
    let rest = identifier::own_arn(call, text.unwrap_or_default(), "service")?;
    match rest.split_once('/') {
        Some((cluster, name)) if identifier::is_name(cluster) && identifier::is_name(name) => {
            Ok(Reference { cluster: cluster.to_owned(), name: name.to_owned() })
        }
        _ => Err(invalid("Invalid arn syntax.")),
    }
}

/// The ARN that permissions are asked for.
pub fn arn_for_permission(call: &Call, text: Option<&str>) -> String {
    match parse(call, text) {
        Ok(there) => Service::arn_of(&call.scope, &there.cluster, &there.name).to_string(),
        Err(_) => "*".to_owned(),
    }
}

/// The Express service and its service, whatever its state.
pub fn find(
    snapshot: &Snapshot,
    call: &Call,
    reference: &Reference,
) -> Option<(Versioned<ExpressService>, Versioned<Service>)> {
    let key = express_service_key(&call.scope, &reference.cluster, &reference.name);
    let row = snapshot.get::<ExpressService>(&key)?;
    let service = service::find(snapshot, &call.scope, &reference.cluster, &reference.name)?;
    Some((row, service))
}

/// One that is ACTIVE, or the fault of Update and Delete.
pub fn active(
    snapshot: &Snapshot,
    call: &Call,
    reference: &Reference,
) -> Result<(Versioned<ExpressService>, Versioned<Service>), Fault> {
    super::cluster::get(snapshot, &call.scope, &reference.cluster)?;
    let there = find(snapshot, call, reference)
        .ok_or_else(|| modelled::service_not_found_exception("Service not found."))?;
    if there.1.status == ServiceStatus::Active {
        Ok(there)
    } else {
        Err(modelled::service_not_active_exception("Service was not ACTIVE."))
    }
}

/// What a caller may set, in Create and in Update.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `cpu`.
    pub cpu: Option<String>,
    /// `cpuArchitecture`.
    pub cpu_architecture: Option<String>,
    /// `executionRoleArn`.
    pub execution_role_arn: Option<String>,
    /// `healthCheckPath`.
    pub health_check_path: Option<String>,
    /// `memory`.
    pub memory: Option<String>,
    /// `networkConfiguration`.
    pub network_configuration: Option<shape::ExpressGatewayServiceNetworkConfiguration>,
    /// `primaryContainer`.
    pub primary_container: Option<shape::ExpressGatewayContainer>,
    /// `scalingTarget`.
    pub scaling_target: Option<shape::ExpressGatewayScalingTarget>,
    /// `taskDefinitionArn`.
    pub task_definition_arn: Option<String>,
    /// `taskRoleArn`.
    pub task_role_arn: Option<String>,
}

/// Puts what is asked over what is there, fills in AWS's defaults, and checks it all.
pub fn configure(
    there: shape::ExpressGatewayServiceConfiguration,
    asked: Asked,
    default_subnets: impl FnOnce() -> Vec<String>,
) -> Result<shape::ExpressGatewayServiceConfiguration, Fault> {
    let mut next = there;
    if asked.task_definition_arn.is_some() {
        let set = [
            ("primaryContainer", asked.primary_container.is_some()),
            ("executionRoleArn", asked.execution_role_arn.is_some()),
            ("taskRoleArn", asked.task_role_arn.is_some()),
            ("cpu", asked.cpu.is_some()),
            ("memory", asked.memory.is_some()),
            ("cpuArchitecture", asked.cpu_architecture.is_some()),
        ];
        if let Some((field, _)) = set.into_iter().find(|(_, set)| *set) {
            return Err(invalid(format!("{field} cannot be specified with taskDefinitionArn.")));
        }
        let kept = shape::ExpressGatewayServiceConfiguration {
            health_check_path: next.health_check_path,
            network_configuration: next.network_configuration,
            scaling_target: next.scaling_target,
            task_definition_arn: asked.task_definition_arn,
            ..Default::default()
        };
        next = kept;
    } else if asked.primary_container.is_some() || next.primary_container.is_some() {
        next.task_definition_arn = None;
        put(&mut next.primary_container, asked.primary_container);
        put(&mut next.execution_role_arn, asked.execution_role_arn);
        put(&mut next.task_role_arn, asked.task_role_arn);
        put(&mut next.cpu, asked.cpu);
        put(&mut next.memory, asked.memory);
        put(&mut next.cpu_architecture, asked.cpu_architecture);
        next.cpu.get_or_insert_with(|| CPU_DEFAULT.to_owned());
        next.memory.get_or_insert_with(|| MEMORY_DEFAULT.to_owned());
        check_container(&mut next)?;
    } else if next.task_definition_arn.is_none() {
        return Err(invalid("One of primaryContainer and taskDefinitionArn must be specified."));
    }
    put(&mut next.health_check_path, asked.health_check_path);
    put(&mut next.network_configuration, asked.network_configuration);
    let path = next.health_check_path.get_or_insert_with(|| "/ping".to_owned());
    if !path.starts_with('/') || path.len() > 1024 {
        return Err(invalid("healthCheckPath is invalid."));
    }
    let network = next.network_configuration.get_or_insert_default();
    if network.subnets.as_ref().is_none_or(Vec::is_empty) {
        network.subnets = Some(default_subnets());
    }
    next.scaling_target = Some(scaling_target(next.scaling_target, asked.scaling_target)?);
    Ok(next)
}

fn put<T>(there: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *there = given;
    }
}

fn check_container(next: &mut shape::ExpressGatewayServiceConfiguration) -> Result<(), Fault> {
    let Some(role) = &next.execution_role_arn else {
        return Err(invalid("executionRoleArn must be specified."));
    };
    for (field, role) in [("executionRoleArn", Some(role)), ("taskRoleArn", next.task_role_arn.as_ref())] {
        if let Some(role) = role {
            launch::check_role(field, role).map_err(|fault| invalid(fault.message()))?;
        }
    }
    if let Some(word) = next.cpu_architecture.as_deref()
        && !matches!(word, "X86_64" | "ARM64")
    {
        return Err(invalid(format!("Invalid value for cpuArchitecture: {word}")));
    }
    let container = next.primary_container.get_or_insert_default();
    let port = *container.container_port.get_or_insert(PORT_DEFAULT);
    if !(1..=65_535).contains(&port) {
        return Err(invalid("primaryContainer.containerPort must be between 1 and 65535."));
    }
    Ok(())
}

fn scaling_target(
    there: Option<shape::ExpressGatewayScalingTarget>,
    asked: Option<shape::ExpressGatewayScalingTarget>,
) -> Result<shape::ExpressGatewayScalingTarget, Fault> {
    let mut target = there.unwrap_or_default();
    let asked = asked.unwrap_or_default();
    put(&mut target.auto_scaling_metric, asked.auto_scaling_metric);
    put(&mut target.auto_scaling_target_value, asked.auto_scaling_target_value);
    put(&mut target.min_task_count, asked.min_task_count);
    put(&mut target.max_task_count, asked.max_task_count);
    let metric = target.auto_scaling_metric.get_or_insert_with(|| "AVERAGE_CPU".to_owned()).clone();
    let value = *target.auto_scaling_target_value.get_or_insert(TARGET_DEFAULT);
    let least = *target.min_task_count.get_or_insert(1);
    let most = *target.max_task_count.get_or_insert(MAX_TASKS_DEFAULT.max(least));
    let is_percent = match metric.as_str() {
        "AVERAGE_CPU" | "AVERAGE_MEMORY" => true,
        "REQUEST_COUNT_PER_TARGET" => false,
        other => return Err(invalid(format!("Invalid value for autoScalingMetric: {other}"))),
    };
    if value < 1 || (is_percent && value > 100) {
        return Err(invalid("scalingTarget.autoScalingTargetValue is invalid."));
    }
    if !(0..=TASKS_MAXIMUM).contains(&least) || !(1..=TASKS_MAXIMUM).contains(&most) || least > most {
        return Err(invalid("scalingTarget.minTaskCount and maxTaskCount are invalid."));
    }
    Ok(target)
}

/// Whether the primary container of both configurations is run in the same way.
pub fn runs_the_same(
    one: &shape::ExpressGatewayServiceConfiguration,
    other: &shape::ExpressGatewayServiceConfiguration,
) -> bool {
    one.primary_container.is_some()
        && one.primary_container == other.primary_container
        && (&one.cpu, &one.memory, &one.cpu_architecture)
            == (&other.cpu, &other.memory, &other.cpu_architecture)
        && (&one.execution_role_arn, &one.task_role_arn) == (&other.execution_role_arn, &other.task_role_arn)
}

/// Tasks that the service is to run.
pub fn desired_count(configuration: &shape::ExpressGatewayServiceConfiguration) -> i32 {
    configuration.scaling_target.as_ref().and_then(|target| target.min_task_count).unwrap_or(1)
}

/// The task definition that runs the primary container.
pub fn task_definition(
    call: &Call,
    reference: &Reference,
    configuration: &shape::ExpressGatewayServiceConfiguration,
) -> shape::RegisterTaskDefinitionRequest {
    let container = configuration.primary_container.clone().unwrap_or_default();
    let logs = container.aws_logs_configuration.unwrap_or_default();
    let group =
        logs.log_group.unwrap_or_else(|| format!("/aws/ecs/{}/{}", reference.cluster, reference.name));
    let options = [
        ("awslogs-group", group),
        ("awslogs-region", call.scope.region.to_string()),
        ("awslogs-stream-prefix", logs.log_stream_prefix.unwrap_or_else(|| "ecs".to_owned())),
        ("awslogs-create-group", "true".to_owned()),
    ];
    let main = shape::ContainerDefinition {
        name: Some(CONTAINER.to_owned()),
        image: container.image,
        command: container.command,
        environment: container.environment,
        essential: Some(true),
        port_mappings: Some(vec![shape::PortMapping {
            container_port: container.container_port,
            protocol: Some("tcp".to_owned()),
            ..Default::default()
        }]),
        secrets: container.secrets,
        repository_credentials: container.repository_credentials.map(|credentials| {
            shape::RepositoryCredentials { credentials_parameter: credentials.credentials_parameter }
        }),
        log_configuration: Some(shape::LogConfiguration {
            log_driver: Some("awslogs".to_owned()),
            options: Some(options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            secret_options: None,
        }),
        ..Default::default()
    };
    let family = format!("{}-{}", reference.cluster, reference.name);
    shape::RegisterTaskDefinitionRequest {
        family: Some(if family.len() > 255 { reference.name.clone() } else { family }),
        task_role_arn: configuration.task_role_arn.clone(),
        execution_role_arn: configuration.execution_role_arn.clone(),
        network_mode: Some("awsvpc".to_owned()),
        container_definitions: Some(vec![main]),
        requires_compatibilities: Some(vec!["FARGATE".to_owned()]),
        cpu: configuration.cpu.clone(),
        memory: configuration.memory.clone(),
        runtime_platform: Some(shape::RuntimePlatform {
            cpu_architecture: configuration.cpu_architecture.clone(),
            operating_system_family: Some("LINUX".to_owned()),
        }),
        ..Default::default()
    }
}

/// The container and port that the load balancer sends requests to: the primary container, else of the caller's task
/// definition the container `Main`, or the first one that has a port.
pub fn target(
    snapshot: &Snapshot,
    call: &Call,
    configuration: &shape::ExpressGatewayServiceConfiguration,
) -> Result<(String, i32), Fault> {
    if let Some(container) = &configuration.primary_container {
        return Ok((CONTAINER.to_owned(), container.container_port.unwrap_or(PORT_DEFAULT)));
    }
    let reference =
        task_definition::parse(call, configuration.task_definition_arn.as_deref().unwrap_or_default())?;
    let definition = task_definition::runnable(snapshot, &call.scope, &reference)?;
    let containers = task_definition::document(&definition)?.container_definitions.unwrap_or_default();
    let port = |container: &shape::ContainerDefinition| {
        container.port_mappings.iter().flatten().find_map(|mapping| mapping.container_port)
    };
    let named = containers.iter().find(|container| container.name.as_deref() == Some(CONTAINER));
    let chosen = named.or_else(|| containers.iter().find(|container| port(container).is_some()));
    chosen.and_then(|container| Some((container.name.clone()?, port(container)?))).ok_or_else(|| {
        invalid("The task definition must have a container with a port mapping for the load balancer.")
    })
}

/// The network that the service's tasks get, less the security group that lets the load balancer in.
pub fn network(
    configuration: &shape::ExpressGatewayServiceConfiguration,
    is_public: bool,
) -> shape::NetworkConfiguration {
    let network = configuration.network_configuration.clone().unwrap_or_default();
    shape::NetworkConfiguration {
        awsvpc_configuration: Some(shape::AwsVpcConfiguration {
            subnets: network.subnets,
            security_groups: network.security_groups,
            assign_public_ip: Some(if is_public { "ENABLED" } else { "DISABLED" }.to_owned()),
        }),
    }
}

/// How deployments go: a part of the traffic first, then all of it, each with a while to look.
pub fn deployment_configuration() -> shape::DeploymentConfiguration {
    shape::DeploymentConfiguration {
        strategy: Some("CANARY".to_owned()),
        canary_configuration: Some(shape::CanaryConfiguration {
            canary_percent: Some(CANARY_PERCENT),
            canary_bake_time_in_minutes: Some(BAKE_MINUTES),
        }),
        bake_time_in_minutes: Some(BAKE_MINUTES),
        deployment_circuit_breaker: Some(shape::DeploymentCircuitBreaker {
            enable: Some(true),
            rollback: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Checks the strategy that a service is to be deployed with: Express services shift traffic. The sentence is AWS's.
pub fn check_strategy(
    snapshot: &Snapshot,
    service: &Service,
    given: Option<&shape::DeploymentConfiguration>,
) -> Result<(), Fault> {
    let is_rolling = given.is_some_and(|given| given.strategy.as_deref() == Some("ROLLING"));
    if is_rolling && express_service_of(snapshot, service).is_some() {
        return Err(invalid(
            "Updating to ROLLING deployment strategy is not supported for ExpressGatewayServices.",
        ));
    }
    Ok(())
}

/// A stored configuration.
pub fn parse_document(document: &str) -> Result<shape::ExpressGatewayServiceConfiguration, Fault> {
    wire::json::from_str(document).map_err(Fault::server)
}

/// What the PRIMARY revision was made from, which an update changes.
pub fn current(
    row: &ExpressService,
    service: &Service,
) -> Result<shape::ExpressGatewayServiceConfiguration, Fault> {
    let document = service
        .primary()
        .map_or(row.configuration_document.as_str(), |revision| row.configuration_of(&revision.id).0);
    parse_document(document)
}

/// The row after an update whose configuration is `document`; `before` was the PRIMARY revision. What revisions that are in
/// use were made from is kept.
pub fn updated(
    row: &ExpressService,
    before: Option<&str>,
    after: &Service,
    document: String,
    now: base::Timestamp,
) -> ExpressService {
    let mut next = row.clone();
    next.updated_at = now;
    let primary = after.primary().map(|revision| revision.id.as_str());
    if before == primary
        && let Some(older) = next.older.iter_mut().find(|older| Some(older.revision.as_str()) == primary)
    {
        // Its deployment was rolled back to this revision, which goes on with the new values.
        older.configuration_document = document;
        return next;
    }
    if before != primary {
        let in_use = after.revisions.iter().filter(|there| there.status != RevisionStatus::Inactive);
        let kept = in_use.filter(|there| Some(there.id.as_str()) != primary).map(|there| {
            let (document, created_at) = row.configuration_of(&there.id);
            ExpressRevision {
                revision: there.id.clone(),
                configuration_document: document.to_owned(),
                created_at,
            }
        });
        next.older = kept.collect();
    }
    next.configuration_document = document;
    next
}

/// The configuration of one revision as Describe shows it.
fn describe_revision(
    snapshot: &Snapshot,
    row: &ExpressService,
    revision: Option<&str>,
) -> Result<shape::ExpressGatewayServiceConfiguration, Fault> {
    let (document, created_at) =
        revision.map_or((row.configuration_document.as_str(), row.updated_at), |id| row.configuration_of(id));
    let paths = express_ingress_of(snapshot, row);
    Ok(shape::ExpressGatewayServiceConfiguration {
        created_at: Some(created_at),
        ingress_paths: Some(express_ingress::summaries(paths.as_ref())),
        service_revision_arn: revision
            .map(|id| ServiceRevision::arn_of(&row.scope, &row.cluster, &row.service, id).to_string()),
        ..parse_document(document)?
    })
}

/// The configuration of the PRIMARY revision as Update shows it.
pub fn describe_configuration(
    snapshot: &Snapshot,
    row: &ExpressService,
    service: &Service,
) -> Result<shape::ExpressGatewayServiceConfiguration, Fault> {
    describe_revision(snapshot, row, service.primary().map(|revision| revision.id.as_str()))
}

/// The state on the wire, and what keeps requests from being served.
pub fn describe_status(
    snapshot: &Snapshot,
    row: &ExpressService,
    service: &Service,
) -> shape::ExpressGatewayServiceStatus {
    let paths = express_ingress_of(snapshot, row).filter(|_| service.status == ServiceStatus::Active);
    shape::ExpressGatewayServiceStatus {
        status_code: Some(service.status.to_string()),
        status_reason: paths.and_then(|(ingress, load_balancer)| reason(snapshot, &ingress, &load_balancer)),
    }
}

fn reason(
    snapshot: &Snapshot,
    ingress: &ExpressIngress,
    load_balancer: &ExpressLoadBalancer,
) -> Option<String> {
    if ingress.status == ManagedResourceStatus::Failed {
        return ingress.status_reason.clone();
    }
    express_ingress::load_balancer_status(snapshot, load_balancer).1
}

/// The log groups that the containers of a revision's task definition write to.
pub fn log_groups(
    snapshot: &Snapshot,
    call: &Call,
    revision: &ServiceRevision,
) -> Result<Vec<String>, Fault> {
    let Some(arn) = &revision.task_definition else { return Ok(Vec::new()) };
    let reference = task_definition::parse(call, arn.as_str())?;
    let Some(definition) = task_definition::find(snapshot, &call.scope, &reference) else {
        return Ok(Vec::new());
    };
    let mut groups = Vec::new();
    for container in task_definition::document(&definition)?.container_definitions.unwrap_or_default() {
        let logs = container.log_configuration.unwrap_or_default();
        let is_ours = logs.log_driver.as_deref() == Some("awslogs");
        let group = logs.options.and_then(|options| options.get("awslogs-group").cloned());
        groups.extend(group.filter(|group| is_ours && !groups.contains(group)));
    }
    Ok(groups)
}

/// The Express service as the API shows it: with a configuration for each revision in use.
pub fn describe(
    snapshot: &Snapshot,
    row: &ExpressService,
    service: &Service,
    with_tags: bool,
) -> Result<shape::ECSExpressGatewayService, Fault> {
    let deployment = service.current_deployment.as_ref().map(|id| {
        let resource = format!("service-deployment/{}/{}/{id}", row.cluster, row.service);
        base::Arn::new("ecs", &row.scope, resource).to_string()
    });
    let in_use = service.revisions.iter().filter(|there| there.status != RevisionStatus::Inactive);
    let shown = in_use.map(|there| describe_revision(snapshot, row, Some(&there.id)));
    let mut active: Vec<_> = shown.collect::<Result<_, _>>()?;
    if active.is_empty() {
        active.push(describe_revision(snapshot, row, None)?);
    }
    Ok(shape::ECSExpressGatewayService {
        active_configurations: Some(active),
        cluster: Some(row.cluster.clone()),
        created_at: Some(row.created_at),
        current_deployment: deployment,
        infrastructure_role_arn: Some(row.infrastructure_role_arn.clone()),
        service_arn: Some(service.arn().to_string()),
        service_name: Some(row.service.clone()),
        status: Some(describe_status(snapshot, row, service)),
        tags: with_tags.then(|| tag::describe(&service.tags)),
        updated_at: Some(row.updated_at),
    })
}
