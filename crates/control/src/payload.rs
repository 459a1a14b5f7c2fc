//! From rows to the message that an agent understands: the task object of a `PayloadMessage`.
//!
//! Made when it is sent, from the task and its definition, so that nothing in it needs to be stored. Overrides are
//! merged here: the agent sees what shall run, not how it came about. Docker's own parameters travel in
//! `dockerConfig`, in the form of the Docker Engine API.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use agent_protocol as protocol;
use api::ecs as shape;
use base::{Arn, Timestamp};
use domain::{LaunchType, Task, TaskDefinition};
use protocol::docker::{
    ContainerConfig, DeviceMapping, DockerConfig, HealthConfig, HostConfig, LogConfig, Ulimit,
};
use protocol::payload as wire_task;
use store::{Key, Revision, Row as _, Versioned};

/// Bytes of a MiB.
const MIB: i64 = 1024 * 1024;
/// Docker's API version that our configuration texts are written for. Source: agent protocol, `dockerConfig.version`.
const DOCKER_API_VERSION: &str = "1.25";
/// Health check defaults in seconds and counts. Source: AWS, "HealthCheck" data type.
const HEALTH_INTERVAL_SECONDS: i64 = 30;
const HEALTH_TIMEOUT_SECONDS: i64 = 5;
const HEALTH_RETRIES: i64 = 3;

/// Why no message can be made of a task.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The stored document cannot be read.
    #[error("the document of {arn} cannot be read: {message}")]
    Document {
        /// The ARN of what it is of.
        arn: String,
        /// Why not.
        message: String,
    },
}

/// What of the account and the network goes into a task's message besides its rows.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The account setting `defaultLogDriverMode`.
    pub default_log_driver_mode: Option<String>,
    /// The task's interface.
    pub network_interface: Option<wire_task::NetworkInterface>,
    /// The interface's VPC.
    pub vpc: Option<wire_task::VpcExtension>,
    /// Names and ports that it calls through Service Connect.
    pub service_connect: Vec<wire_task::ServiceConnectExtension>,
    /// Where its proxy of Service Connect writes.
    pub service_connect_log: Option<shape::ServiceConnectConfiguration>,
    /// By container: the digest that the task's service revision runs from its first pull on.
    pub image_digests: BTreeMap<String, String>,
}

/// An order to stop: the task's name is all that the agent needs.
pub fn stop_order(task: &Task) -> wire_task::Task {
    let mut order = bare(task);
    order.desired_status = wire_task::DesiredStatus::Stopped;
    if let Some(extension) = &mut order.roadstead {
        extension.stop_by = task.stop_by.map(Timestamp::as_millis);
    }
    order
}

/// What a definition says, read.
pub fn document(definition: &TaskDefinition) -> Result<shape::TaskDefinition, PayloadError> {
    wire::json::from_str(&definition.document).map_err(|error| PayloadError::Document {
        arn: definition.arn().to_string(),
        message: error.to_string(),
    })
}

/// Documents that were read: thousands of tasks of one revision are ordered one after the other.
#[derive(Default)]
pub struct Documents(Mutex<BTreeMap<Key, (Revision, Arc<shape::TaskDefinition>)>>);

/// Documents that are kept, some tens of kilobytes each at most. Ours: services that are deployed at the same time.
const DOCUMENTS: usize = 64;

impl Documents {
    /// What a definition says.
    pub fn of(
        &self,
        definition: &Versioned<TaskDefinition>,
    ) -> Result<Arc<shape::TaskDefinition>, PayloadError> {
        let key = definition.key();
        let mut documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, document)) = documents.get(&key)
            && *revision == definition.revision
        {
            return Ok(Arc::clone(document));
        }
        let read = Arc::new(document(definition)?);
        if documents.len() >= DOCUMENTS {
            documents.clear();
        }
        documents.insert(key, (definition.revision, Arc::clone(&read)));
        Ok(read)
    }
}

/// An order to run `task` as its definition's `document` says.
pub fn start_order(
    task: &Task,
    document: &shape::TaskDefinition,
    surroundings: Surroundings,
) -> Result<wire_task::Task, PayloadError> {
    let overrides: shape::TaskOverride = if task.overrides_document.is_empty() {
        shape::TaskOverride::default()
    } else {
        wire::json::from_str(&task.overrides_document).map_err(|error| PayloadError::Document {
            arn: task.arn().to_string(),
            message: error.to_string(),
        })?
    };
    let mut order = bare(task);
    order.containers = document
        .container_definitions
        .iter()
        .flatten()
        .map(|definition| container(task, definition, &overrides, &surroundings))
        .collect();
    order.volumes = document.volumes.iter().flatten().map(volume).collect();
    order.pid_mode.clone_from(&document.pid_mode);
    order.ipc_mode.clone_from(&document.ipc_mode);
    order.enable_fault_injection = document.enable_fault_injection;
    let service_connect_log =
        surroundings.service_connect_log.as_ref().and_then(|given| service_connect_log(given, &surroundings));
    order.elastic_network_interfaces.extend(surroundings.network_interface);
    if let Some(extension) = &mut order.roadstead {
        extension.vpc_id = surroundings.vpc.as_ref().map(|vpc| vpc.id.clone());
        extension.vpc = surroundings.vpc;
        extension.service_connect_ingress = service_connect_ingress(task);
        extension.service_connect_log = service_connect_log;
        extension.service_connect = surroundings.service_connect;
    }
    Ok(order)
}

/// The parts that an order to start and an order to stop share.
fn bare(task: &Task) -> wire_task::Task {
    wire_task::Task {
        arn: task.arn().to_string(),
        task_cluster_arn: Some(domain::Cluster::arn_of(&task.scope, &task.cluster).to_string()),
        family: task.family.clone(),
        version: task.revision.to_string(),
        desired_status: wire_task::DesiredStatus::Running,
        overrides: Some("{}".to_owned()),
        containers: Vec::new(),
        volumes: Vec::new(),
        task_definition_account_id: Some(task.scope.account.to_string()),
        zone: task.availability_zone.clone(),
        launch_type: Some(wire_launch_type(task.launch_type).to_owned()),
        network_mode: Some(task.network_mode.as_str().to_owned()),
        pid_mode: None,
        ipc_mode: None,
        cpu: task.cpu_units.map(|units| f64::from(units) / 1024.0),
        memory: task.memory_mib.map(i64::from),
        role_credentials: None,
        execution_role_credentials: None,
        elastic_network_interfaces: Vec::new(),
        associations: Vec::new(),
        proxy_configuration: None,
        attachments: Vec::new(),
        service_name: task.group.strip_prefix("service:").map(str::to_owned),
        group: Some(task.group.clone()),
        enable_fault_injection: None,
        roadstead: Some(wire_task::TaskExtension {
            generation: Some(task.generation),
            launch_type: Some(task.launch_type.as_str().to_owned()),
            ephemeral_storage_gib: task.ephemeral_storage_gib.map(i64::from),
            ..wire_task::TaskExtension::default()
        }),
    }
}

/// The stock agent knows EC2 and EXTERNAL only.
fn wire_launch_type(launch_type: LaunchType) -> &'static str {
    match launch_type {
        LaunchType::External => "EXTERNAL",
        LaunchType::Ec2 | LaunchType::Fargate | LaunchType::ManagedInstances => "EC2",
    }
}

fn container(
    task: &Task,
    definition: &shape::ContainerDefinition,
    overrides: &shape::TaskOverride,
    surroundings: &Surroundings,
) -> wire_task::Container {
    let name = definition.name.clone().unwrap_or_default();
    let changed = overrides
        .container_overrides
        .iter()
        .flatten()
        .find(|other| other.name.as_deref() == Some(name.as_str()));
    let memory = changed.and_then(|changed| changed.memory).or(definition.memory);
    let reservation =
        changed.and_then(|changed| changed.memory_reservation).or(definition.memory_reservation);
    let row = task.containers.iter().find(|container| container.name == name);
    wire_task::Container {
        image: pinned(
            row.map_or_else(|| definition.image.clone().unwrap_or_default(), |row| row.image.clone()),
            surroundings.image_digests.get(&name),
        ),
        container_arn: row.map(|row| {
            Arn::new("ecs", &task.scope, format!("container/{}/{}/{}", task.cluster, task.id, row.id))
                .to_string()
        }),
        essential: definition.essential.unwrap_or(true),
        command: changed
            .and_then(|changed| changed.command.clone())
            .or_else(|| definition.command.clone())
            .unwrap_or_default(),
        entry_point: definition.entry_point.clone().unwrap_or_default(),
        environment: environment(task, definition, changed),
        overrides: Some("{}".to_owned()),
        cpu: i64::from(changed.and_then(|changed| changed.cpu).or(definition.cpu).unwrap_or_default()),
        // With a soft limit only there is no hard one.
        memory: i64::from(memory.unwrap_or_default()),
        links: definition.links.clone().unwrap_or_default(),
        volumes_from: definition.volumes_from.iter().flatten().map(volume_from).collect(),
        mount_points: definition.mount_points.iter().flatten().map(mount_point).collect(),
        port_mappings: definition.port_mappings.iter().flatten().map(port_mapping).collect(),
        secrets: secrets(definition, task),
        environment_files: definition.environment_files.iter().flatten().map(environment_file).collect(),
        health_check_type: definition.health_check.as_ref().map(|_| "docker".to_owned()),
        depends_on: definition.depends_on.iter().flatten().filter_map(dependency).collect(),
        start_timeout: definition.start_timeout.map(i64::from),
        stop_timeout: definition.stop_timeout.map(i64::from),
        restart_policy: definition.restart_policy.as_ref().map(restart_policy),
        docker_config: Some(docker_config(definition, memory, reservation, surroundings)),
        name,
        ..wire_task::Container::default()
    }
}

/// The image by its digest in place of its tag, so that every task of a revision runs the same. Source: AWS, "Container
/// image resolution".
fn pinned(image: String, digest: Option<&String>) -> String {
    let Some(digest) = digest.filter(|_| !image.contains('@')) else { return image };
    // A colon before the last slash is a registry's port.
    let name = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image.as_str(),
    };
    format!("{name}@{digest}")
}

fn environment(
    task: &Task,
    definition: &shape::ContainerDefinition,
    changed: Option<&shape::ContainerOverride>,
) -> wire_task::Environment {
    let execution = match task.launch_type {
        LaunchType::Fargate => "AWS_ECS_FARGATE",
        LaunchType::External => "AWS_ECS_EXTERNAL",
        LaunchType::Ec2 | LaunchType::ManagedInstances => "AWS_ECS_EC2",
    };
    let mut environment = BTreeMap::from([("AWS_EXECUTION_ENV".to_owned(), execution.to_owned())]);
    let own = definition.environment.iter().flatten();
    let over = changed.and_then(|changed| changed.environment.as_ref()).into_iter().flatten();
    for pair in own.chain(over) {
        if let Some(name) = &pair.name {
            environment.insert(name.clone(), pair.value.clone().unwrap_or_default());
        }
    }
    wire_task::Environment(environment)
}

fn volume_from(from: &shape::VolumeFrom) -> wire_task::VolumeFrom {
    wire_task::VolumeFrom {
        source_container: from.source_container.clone().unwrap_or_default(),
        read_only: from.read_only.unwrap_or_default(),
    }
}

fn mount_point(point: &shape::MountPoint) -> wire_task::MountPoint {
    wire_task::MountPoint {
        source_volume: point.source_volume.clone().unwrap_or_default(),
        container_path: point.container_path.clone().unwrap_or_default(),
        read_only: point.read_only.unwrap_or_default(),
    }
}

fn port_mapping(mapping: &shape::PortMapping) -> wire_task::PortMapping {
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
    wire_task::PortMapping {
        container_port: port(mapping.container_port),
        host_port: port(mapping.host_port),
        protocol: Some(mapping.protocol.clone().unwrap_or_else(|| "tcp".to_owned())),
        container_port_range: mapping.container_port_range.clone(),
    }
}

fn environment_file(file: &shape::EnvironmentFile) -> wire_task::EnvironmentFile {
    wire_task::EnvironmentFile {
        value: file.value.clone().unwrap_or_default(),
        kind: file.type_.clone().unwrap_or_default(),
    }
}

fn dependency(dependency: &shape::ContainerDependency) -> Option<wire_task::ContainerDependency> {
    let condition = match dependency.condition.as_deref()? {
        "START" => wire_task::DependencyCondition::Start,
        "COMPLETE" => wire_task::DependencyCondition::Complete,
        "SUCCESS" => wire_task::DependencyCondition::Success,
        "HEALTHY" => wire_task::DependencyCondition::Healthy,
        _ => return None,
    };
    Some(wire_task::ContainerDependency { container_name: dependency.container_name.clone()?, condition })
}

fn restart_policy(policy: &shape::ContainerRestartPolicy) -> wire_task::RestartPolicy {
    wire_task::RestartPolicy {
        enabled: policy.enabled.unwrap_or_default(),
        ignored_exit_codes: policy.ignored_exit_codes.clone().unwrap_or_default(),
        restart_attempt_period: policy.restart_attempt_period.map(i64::from),
    }
}

/// Secrets of the container and of its log driver. What they name is told apart by the form of `valueFrom`: an ARN of
/// Secrets Manager, or anything else, which is a parameter of Systems Manager. Source: AWS, "Secret" data type.
fn secrets(definition: &shape::ContainerDefinition, task: &Task) -> Vec<wire_task::Secret> {
    let of = |secret: &shape::Secret, target: &str| {
        let value_from = secret.value_from.clone().unwrap_or_default();
        let arn = value_from.parse::<Arn>().ok();
        let provider = match arn.as_ref().map(Arn::aws_service) {
            Some("secretsmanager") => "asm",
            _ => "ssm",
        };
        let region = arn.and_then(|arn| arn.region()).unwrap_or_else(|| task.scope.region.clone());
        wire_task::Secret {
            name: secret.name.clone().unwrap_or_default(),
            value_from,
            region: Some(region.to_string()),
            provider: provider.to_owned(),
            kind: "ENVIRONMENT_VARIABLE".to_owned(),
            target: Some(target.to_owned()),
            container_path: None,
        }
    };
    let log_options = definition.log_configuration.as_ref().and_then(|log| log.secret_options.as_ref());
    let own = definition.secrets.iter().flatten().map(|secret| of(secret, "CONTAINER"));
    own.chain(log_options.into_iter().flatten().map(|secret| of(secret, "LOG_DRIVER"))).collect()
}

fn volume(volume: &shape::Volume) -> wire_task::Volume {
    let docker =
        volume.docker_volume_configuration.as_ref().map(|docker| wire_task::DockerVolumeConfiguration {
            scope: docker.scope.clone(),
            autoprovision: docker.autoprovision,
            driver: docker.driver.clone(),
            driver_opts: docker.driver_opts.clone().unwrap_or_default(),
            labels: docker.labels.clone().unwrap_or_default(),
        });
    let host = docker.is_none().then(|| wire_task::HostVolume {
        source_path: volume.host.as_ref().and_then(|host| host.source_path.clone()),
    });
    wire_task::Volume {
        name: volume.name.clone().unwrap_or_default(),
        kind: Some(if docker.is_some() { "docker" } else { "host" }.to_owned()),
        host,
        docker_volume_configuration: docker,
        efs_volume_configuration: None,
    }
}

fn docker_config(
    definition: &shape::ContainerDefinition,
    memory_mib: Option<i32>,
    reservation_mib: Option<i32>,
    surroundings: &Surroundings,
) -> DockerConfig {
    let config = ContainerConfig {
        user: definition.user.clone(),
        working_dir: definition.working_directory.clone(),
        hostname: definition.hostname.clone(),
        network_disabled: definition.disable_networking,
        labels: definition.docker_labels.clone().unwrap_or_default(),
        tty: definition.pseudo_terminal,
        open_stdin: definition.interactive,
        healthcheck: definition.health_check.as_ref().map(health_check),
        ..ContainerConfig::default()
    };
    let mut host = HostConfig {
        log_config: definition.log_configuration.as_ref().map(|log| log_config(log, surroundings)),
        memory_reservation: reservation_mib.map(|mib| i64::from(mib) * MIB),
        privileged: definition.privileged,
        readonly_rootfs: definition.readonly_root_filesystem,
        ulimits: definition.ulimits.iter().flatten().map(ulimit).collect(),
        dns: definition.dns_servers.clone().unwrap_or_default(),
        dns_search: definition.dns_search_domains.clone().unwrap_or_default(),
        extra_hosts: definition.extra_hosts.iter().flatten().filter_map(extra_host).collect(),
        security_opt: definition.docker_security_options.clone().unwrap_or_default(),
        sysctls: definition
            .system_controls
            .iter()
            .flatten()
            .filter_map(|control| Some((control.namespace.clone()?, control.value.clone()?)))
            .collect(),
        ..HostConfig::default()
    };
    if let Some(linux) = &definition.linux_parameters {
        apply_linux_parameters(&mut host, linux, memory_mib);
    }
    let mut docker_config = DockerConfig::new(&config, &host);
    docker_config.version = Some(DOCKER_API_VERSION.to_owned());
    docker_config
}

fn apply_linux_parameters(host: &mut HostConfig, linux: &shape::LinuxParameters, memory_mib: Option<i32>) {
    if let Some(capabilities) = &linux.capabilities {
        host.cap_add = capabilities.add.clone().unwrap_or_default();
        host.cap_drop = capabilities.drop.clone().unwrap_or_default();
    }
    host.devices = linux.devices.iter().flatten().map(device).collect();
    host.init = linux.init_process_enabled;
    host.shm_size = linux.shared_memory_size.map(|mib| i64::from(mib) * MIB);
    host.tmpfs = linux.tmpfs.iter().flatten().filter_map(tmpfs).collect();
    // Docker's figure is memory and swap together. Source: AWS, "LinuxParameters" data type, maxSwap.
    host.memory_swap =
        linux.max_swap.zip(memory_mib).map(|(swap, memory)| (i64::from(swap) + i64::from(memory)) * MIB);
    host.memory_swappiness = linux.swappiness.filter(|_| host.memory_swap.is_some()).map(i64::from);
}

fn device(device: &shape::Device) -> DeviceMapping {
    let letter = |word: &str| match word {
        "read" => "r",
        "write" => "w",
        "mknod" => "m",
        _ => "",
    };
    DeviceMapping {
        path_on_host: device.host_path.clone().unwrap_or_default(),
        path_in_container: device.container_path.clone().unwrap_or_default(),
        cgroup_permissions: device.permissions.iter().flatten().map(|word| letter(word)).collect(),
    }
}

fn tmpfs(tmpfs: &shape::Tmpfs) -> Option<(String, String)> {
    let mut options = vec![format!("size={}m", tmpfs.size?)];
    options.extend(tmpfs.mount_options.iter().flatten().cloned());
    Some((tmpfs.container_path.clone()?, options.join(",")))
}

fn ulimit(ulimit: &shape::Ulimit) -> Ulimit {
    Ulimit {
        name: ulimit.name.clone().unwrap_or_default(),
        soft: i64::from(ulimit.soft_limit.unwrap_or_default()),
        hard: i64::from(ulimit.hard_limit.unwrap_or_default()),
    }
}

fn extra_host(entry: &shape::HostEntry) -> Option<String> {
    Some(format!("{}:{}", entry.hostname.as_ref()?, entry.ip_address.as_ref()?))
}

fn health_check(check: &shape::HealthCheck) -> HealthConfig {
    let nanoseconds = |seconds: Option<i32>, default: i64| {
        Some(seconds.map_or(default, i64::from).saturating_mul(1_000_000_000))
    };
    HealthConfig {
        test: check.command.clone().unwrap_or_default(),
        interval: nanoseconds(check.interval, HEALTH_INTERVAL_SECONDS),
        timeout: nanoseconds(check.timeout, HEALTH_TIMEOUT_SECONDS),
        retries: Some(check.retries.map_or(HEALTH_RETRIES, i64::from)),
        start_period: nanoseconds(check.start_period, 0),
    }
}

fn service_connect_ingress(task: &Task) -> Vec<wire_task::ServiceConnectIngress> {
    let ingress = |there: &domain::TaskRegistry| {
        let (port, container_port) = there.ingress_port.zip(there.container_port)?;
        Some(wire_task::ServiceConnectIngress { port, container_port })
    };
    task.registries.iter().filter_map(ingress).collect()
}

fn service_connect_log(
    given: &shape::ServiceConnectConfiguration,
    surroundings: &Surroundings,
) -> Option<wire_task::ServiceConnectLog> {
    let access = given.access_log_configuration.clone().unwrap_or_default();
    Some(wire_task::ServiceConnectLog {
        log_config: log_config(given.log_configuration.as_ref()?, surroundings),
        access_log_format: access.format,
        include_query_parameters: access.include_query_parameters.as_deref() == Some("ENABLED"),
    })
}

/// `mode` is what the task definition says, else what the account says. Source: AWS, account setting
/// `defaultLogDriverMode` (non-blocking since June 2025).
fn log_config(log: &shape::LogConfiguration, surroundings: &Surroundings) -> LogConfig {
    let kind = log.log_driver.clone().unwrap_or_default();
    let mut config = log.options.clone().unwrap_or_default();
    if kind == "awslogs" {
        let mode = surroundings.default_log_driver_mode.as_deref().unwrap_or("non-blocking");
        config.entry("mode".to_owned()).or_insert_with(|| mode.to_owned());
    }
    LogConfig { kind, config }
}

#[cfg(test)]
pub(crate) mod tests {
    use base::Scope;
    use domain::{
        DesiredStatus, HealthStatus, NetworkMode, Resources, TaskContainer, TaskDefinitionProjection,
        TaskDefinitionStatus, TaskStatus, TaskTimes,
    };

    use super::*;

    fn scope() -> Scope {
        Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap())
    }

    fn definition(document: &str) -> TaskDefinition {
        TaskDefinition {
            scope: scope(),
            family: "web".to_owned(),
            revision: 3,
            status: TaskDefinitionStatus::Active,
            document: document.to_owned(),
            projection: TaskDefinitionProjection {
                network_mode: NetworkMode::Host,
                requires_compatibilities: vec![],
                compatibilities: vec![],
                cpu_units: None,
                memory_mib: None,
                requires_attributes: vec![],
                member_of: vec![],
                containers: vec![],
            },
            tags: vec![],
            registered_at: Timestamp::default(),
            registered_by: String::new(),
            deregistered_at: None,
            delete_requested_at: None,
        }
    }

    pub(crate) fn task(overrides: &str) -> Task {
        let container = serde_json::from_value::<TaskContainer>(serde_json::json!({
            "id": "c0ffee", "name": "app", "image": "app@sha256:1", "last_status": "PENDING", "health_status": "UNKNOWN"
        }));
        Task {
            scope: scope(),
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            cluster: "default".to_owned(),
            task_definition: definition("").arn(),
            family: "web".to_owned(),
            revision: 3,
            launch_type: LaunchType::Fargate,
            capacity_provider: None,
            container_instance: None,
            last_status: TaskStatus::Pending,
            desired_status: DesiredStatus::Running,
            version: 1,
            generation: 7,
            group: "service:web".to_owned(),
            started_by: None,
            reference_id: None,
            stop_by: None,
            protected_until: None,
            accounted: false,
            max_runtime_seconds: None,
            targets: vec![],
            registries: vec![],
            connects_to: None,
            cpu_units: Some(512),
            memory_mib: Some(1024),
            overrides_document: overrides.to_owned(),
            network_mode: NetworkMode::Host,
            awsvpc_configuration: None,
            resources: Resources::default(),
            containers: vec![container.unwrap()],
            attachments: vec![],
            attributes: vec![],
            availability_zone: None,
            platform_version: None,
            platform_family: None,
            ephemeral_storage_gib: None,
            enable_execute_command: false,
            connectivity: None,
            health_status: HealthStatus::Unknown,
            times: TaskTimes::default(),
            stop_code: None,
            stopped_reason: None,
            tags: vec![],
        }
    }

    const DOCUMENT: &str = r#"{"pidMode": "task", "volumes": [{"name": "v"}, {"name": "h", "host": {"sourcePath": "/x"}}],
        "containerDefinitions": [{"name": "app", "image": "app:1", "essential": true, "cpu": 10, "memory": 64,
        "memoryReservation": 32, "command": ["a"], "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "linuxParameters": {"maxSwap": 64, "swappiness": 10, "sharedMemorySize": 8, "initProcessEnabled": true,
            "capabilities": {"add": ["NET_ADMIN"]}, "tmpfs": [{"containerPath": "/t", "size": 5, "mountOptions": ["noexec"]}],
            "devices": [{"hostPath": "/dev/null", "permissions": ["read", "write"]}]},
        "healthCheck": {"command": ["CMD", "true"], "interval": 5},
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}},
        "dependsOn": [{"containerName": "other", "condition": "HEALTHY"}]}]}"#;

    #[test]
    fn overrides_win_over_the_definition() {
        let overrides = r#"{"containerOverrides": [{"name": "app", "command": ["b"], "memory": 128,
            "environment": [{"name": "B", "value": "3"}]}]}"#;
        let order =
            start_order(&task(overrides), &document(&definition(DOCUMENT)).unwrap(), Surroundings::default())
                .unwrap();
        let container = &order.containers[0];
        assert_eq!(container.command, ["b"]);
        assert_eq!((container.cpu, container.memory), (10, 128));
        assert_eq!(container.image, "app@sha256:1", "the digest that was resolved for the task");
        let environment: Vec<_> =
            container.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(environment, ["A=1", "AWS_EXECUTION_ENV=AWS_ECS_FARGATE", "B=3"]);
    }

    #[test]
    fn a_digest_takes_the_place_of_the_tag() {
        let digest = "sha256:feed".to_owned();
        let pinned = |image: &str| pinned(image.to_owned(), Some(&digest));
        assert_eq!(pinned("busybox"), "busybox@sha256:feed");
        assert_eq!(pinned("host:5000/a/busybox:1"), "host:5000/a/busybox@sha256:feed");
        assert_eq!(pinned("host:5000/busybox"), "host:5000/busybox@sha256:feed");
        assert_eq!(pinned("busybox@sha256:1"), "busybox@sha256:1");
    }

    #[test]
    fn docker_parameters_travel_in_the_docker_configuration() {
        let order =
            start_order(&task(""), &document(&definition(DOCUMENT)).unwrap(), Surroundings::default())
                .unwrap();
        let docker = order.containers[0].docker_config.clone().unwrap();
        let host = docker.host_configuration().unwrap();
        assert_eq!(host.memory_swap, Some((64 + 64) * MIB));
        assert_eq!(host.memory_reservation, Some(32 * MIB));
        assert_eq!(host.tmpfs["/t"], "size=5m,noexec");
        assert_eq!(host.devices[0].cgroup_permissions, "rw");
        let log = host.log_config.unwrap();
        assert_eq!((log.kind.as_str(), log.config["mode"].as_str()), ("awslogs", "non-blocking"));
        let health = docker.container_config().unwrap().healthcheck.unwrap();
        assert_eq!(
            (health.interval, health.timeout, health.retries),
            (Some(5_000_000_000), Some(5_000_000_000), Some(3))
        );
    }

    #[test]
    fn the_task_carries_its_own_parameters() {
        let order =
            start_order(&task(""), &document(&definition(DOCUMENT)).unwrap(), Surroundings::default())
                .unwrap();
        assert_eq!((order.cpu, order.memory), (Some(0.5), Some(1024)));
        assert_eq!(order.pid_mode.as_deref(), Some("task"));
        assert_eq!(order.service_name.as_deref(), Some("web"));
        assert_eq!(order.volumes[1].host.as_ref().unwrap().source_path.as_deref(), Some("/x"));
        let extension = order.roadstead.unwrap();
        assert_eq!((extension.generation, extension.launch_type.as_deref()), (Some(7), Some("FARGATE")));
    }

    #[test]
    fn an_order_to_stop_names_the_task_and_its_generation() {
        let order = stop_order(&task(""));
        assert_eq!(order.desired_status, wire_task::DesiredStatus::Stopped);
        assert!(order.containers.is_empty());
        assert_eq!(order.roadstead.unwrap().generation, Some(7));
    }
}
