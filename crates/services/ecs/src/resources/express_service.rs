//! Express services: an image becomes a task definition and a service on Fargate.
//!
//! Differs from AWS: no load balancer is made for them, no certificate, and no automatic scaling. So there is no ingress path
//! (`ingressPaths` is empty), `healthCheckPath` and `scalingTarget` are kept and shown but nothing acts on them,
//! `minTaskCount` tasks run, and `status.statusReason` says so. Deployments are rolling ones, where AWS shifts traffic by
//! canary. The cluster is not made. The names of the family and the log group, and where no public source says better the
//! wording of refusals, are ours.

use api::ecs as shape;
use api::ecs::faults as modelled;
use domain::{ExpressService, Service, ServiceRevision, ServiceStatus};
use store::rows_gateway::express_service_key;
use store::{Snapshot, Versioned};
use wire::{Call, Fault};

use super::{identifier, service, tag};
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
/// What a live Express service says of itself.
const WITHOUT_LOAD_BALANCER: &str = "This release of Roadstead gives Express services no load balancer and no automatic \
     scaling: the service has no endpoint and runs minTaskCount tasks.";

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

/// The network that the service's tasks get.
pub fn network(configuration: &shape::ExpressGatewayServiceConfiguration) -> shape::NetworkConfiguration {
    let network = configuration.network_configuration.clone().unwrap_or_default();
    shape::NetworkConfiguration {
        awsvpc_configuration: Some(shape::AwsVpcConfiguration {
            subnets: network.subnets,
            security_groups: network.security_groups,
            assign_public_ip: Some("ENABLED".to_owned()),
        }),
    }
}

/// The stored configuration.
pub fn configuration(row: &ExpressService) -> Result<shape::ExpressGatewayServiceConfiguration, Fault> {
    wire::json::from_str(&row.configuration_document).map_err(Fault::server)
}

/// The configuration as Describe shows it.
pub fn describe_configuration(
    row: &ExpressService,
    service: &Service,
) -> Result<shape::ExpressGatewayServiceConfiguration, Fault> {
    let revision = service.primary().map(|revision| {
        ServiceRevision::arn_of(&row.scope, &row.cluster, &row.service, &revision.id).to_string()
    });
    Ok(shape::ExpressGatewayServiceConfiguration {
        created_at: Some(row.updated_at),
        ingress_paths: Some(Vec::new()),
        service_revision_arn: revision,
        ..configuration(row)?
    })
}

/// The state on the wire.
pub fn describe_status(service: &Service) -> shape::ExpressGatewayServiceStatus {
    let is_active = service.status == ServiceStatus::Active;
    shape::ExpressGatewayServiceStatus {
        status_code: Some(service.status.to_string()),
        status_reason: is_active.then(|| WITHOUT_LOAD_BALANCER.to_owned()),
    }
}

/// The Express service as the API shows it.
pub fn describe(
    row: &ExpressService,
    service: &Service,
    with_tags: bool,
) -> Result<shape::ECSExpressGatewayService, Fault> {
    let deployment = service.current_deployment.as_ref().map(|id| {
        let resource = format!("service-deployment/{}/{}/{id}", row.cluster, row.service);
        base::Arn::new("ecs", &row.scope, resource).to_string()
    });
    Ok(shape::ECSExpressGatewayService {
        active_configurations: Some(vec![describe_configuration(row, service)?]),
        cluster: Some(row.cluster.clone()),
        created_at: Some(row.created_at),
        current_deployment: deployment,
        infrastructure_role_arn: Some(row.infrastructure_role_arn.clone()),
        service_arn: Some(service.arn().to_string()),
        service_name: Some(row.service.clone()),
        status: Some(describe_status(service)),
        tags: with_tags.then(|| tag::describe(&service.tags)),
        updated_at: Some(row.updated_at),
    })
}
