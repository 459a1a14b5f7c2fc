//! [`TaskPlan`]: a task as ordered, read once and checked. Everything that decides and acts reads the plan, not the message.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_protocol::docker::{ContainerConfig, HealthConfig, HostConfig};
use agent_protocol::payload::{
    Container, DependencyCondition, NetworkInterface, RestartPolicy, SubnetExtension, Task, Volume,
};
use base::Arn;
use network::{PortWish, SubnetNetwork, VpcNetwork};

use super::bridge::{self, Link};
use super::connect::{self, ConnectPlan};

/// Seconds that a container must have run before it is restarted, where the policy does not say. Source: ContainerRestartPolicy.
const RESTART_ATTEMPT_PERIOD_DEFAULT: i64 = 300;
/// Ephemeral storage of a Fargate task whose definition asks for none. Source: EphemeralStorage.
const FARGATE_STORAGE_GIB_DEFAULT: u64 = 20;
/// Containers of one task. Ours: AWS allows ten, the stock agent adds its own.
const CONTAINERS_MAXIMUM: usize = 32;

/// Why an ordered task cannot be run by this agent; becomes its stop reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(pub String);

/// A task as ordered.
#[derive(Clone, Debug)]
pub struct TaskPlan {
    /// Its ARN.
    pub arn: Arn,
    /// The last part of the ARN; checked to be a plain name, since it becomes part of paths.
    pub id: String,
    /// The cluster's name.
    pub cluster: String,
    /// How it is joined to the network.
    pub network: NetworkPlan,
    /// Process ids shared with the host or in the task.
    pub pid_mode: Sharing,
    /// IPC shared with the host or in the task.
    pub ipc_mode: Sharing,
    /// Microseconds of CPU time per 100 ms for the whole task.
    pub cpu_quota_microseconds: Option<i64>,
    /// CPU shares of the whole task.
    pub cpu_shares: Option<u64>,
    /// Memory of the whole task.
    pub memory_bytes: Option<u64>,
    /// What its writable layers and volumes may hold together (Fargate); absent: whatever the machine has.
    pub storage: Option<StoragePlan>,
    /// In the order of the message.
    pub containers: Vec<ContainerPlan>,
    /// By name.
    pub volumes: BTreeMap<String, VolumePlan>,
    /// The VPC of its interface, where the control plane tells it.
    pub vpc: Option<VpcNetwork>,
    /// What Service Connect is to it.
    pub connect: ConnectPlan,
    /// Family, for labels and metadata.
    pub family: String,
    /// Revision.
    pub revision: String,
    /// `EC2` or `FARGATE`.
    pub launch_type: String,
}

/// The bounded storage of a Fargate task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoragePlan {
    /// Its size.
    pub bytes: u64,
    /// Whether the task definition asks for it, rather than getting Fargate's default: then the task does not run without.
    pub asked_for: bool,
}

/// How a task is joined to the network.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkPlan {
    /// Loopback only.
    None,
    /// The host's own.
    Host,
    /// An address for each container, and ports of the host.
    Bridge,
    /// An interface of its own.
    AwsVpc(Box<NetworkInterface>),
}

/// How far a namespace is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Every container its own.
    #[default]
    Container,
    /// All containers of the task one.
    Task,
    /// The host's.
    Host,
    /// Its own, and nothing of it shared even within (`ipcMode` none).
    Nothing,
}

/// A volume of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumePlan {
    /// A path of the host.
    HostPath(String),
    /// A directory that lives as long as the task.
    Task,
    /// A directory that outlives the task, by name.
    Shared {
        /// The volume's name on this node.
        name: String,
        /// Whether it is made when missing.
        autoprovision: bool,
    },
}

/// A container as ordered.
#[derive(Clone, Debug)]
pub struct ContainerPlan {
    /// Unique in the task.
    pub name: String,
    /// Whether the task ends with it.
    pub essential: bool,
    /// What must be so before it is made.
    pub dependencies: Vec<Dependency>,
    /// How long its dependants wait for it, from its start.
    pub start_timeout: Option<Duration>,
    /// Between the stop signal and SIGKILL; absent: the agent's default.
    pub stop_timeout: Option<Duration>,
    /// Ports that it is to be reached at, in mode bridge.
    pub ports: Vec<PortWish>,
    /// Containers that it knows by name, in mode bridge.
    pub links: Vec<Link>,
    /// Restart in place.
    pub restart: Option<RestartPlan>,
    /// Health check.
    pub health_check: Option<HealthCheckPlan>,
    /// The message's own container.
    pub message: Container,
    /// `dockerConfig.config`.
    pub config: ContainerConfig,
    /// `dockerConfig.hostConfig`.
    pub host: HostConfig,
}

impl ContainerPlan {
    /// Whether it has an address and ports of its own.
    pub fn is_on_bridge(&self, task: &TaskPlan) -> bool {
        task.network == NetworkPlan::Bridge && self.config.network_disabled != Some(true)
    }
}

/// What must be so before a container is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Place of the other container in the plan.
    pub on: usize,
    /// What it must have reached.
    pub condition: Condition,
}

/// What a dependency must have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Made: its volumes are there (volumesFrom).
    Created,
    /// Started.
    Start,
    /// Ended.
    Complete,
    /// Ended with 0.
    Success,
    /// Health check passes.
    Healthy,
}

/// Restart in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPlan {
    /// Exit codes that do not restart.
    pub ignored_exit_codes: Vec<i32>,
    /// How long it must have run.
    pub attempt_period: Duration,
}

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckPlan {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// Between two checks.
    pub interval: Duration,
    /// Of one check.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Failures within it after the start do not count.
    pub start_period: Duration,
}

impl TaskPlan {
    /// Reads and checks an ordered task.
    pub fn read(task: &Task) -> Result<Self, PlanError> {
        let (arn, cluster, id) = read_arn(&task.arn)?;
        if task.containers.is_empty() {
            return Err(PlanError("a task needs at least one container".to_owned()));
        }
        if task.containers.len() > CONTAINERS_MAXIMUM {
            return Err(PlanError(format!("a task may have at most {CONTAINERS_MAXIMUM} containers")));
        }
        refuse_unsupported(task)?;
        let volumes = task
            .volumes
            .iter()
            .map(|volume| Ok((volume.name.clone(), read_volume(volume)?)))
            .collect::<Result<BTreeMap<_, _>, PlanError>>()?;
        let containers = task
            .containers
            .iter()
            .map(|container| read_container(container, task, &volumes))
            .collect::<Result<Vec<_>, _>>()?;
        let plan = Self {
            arn,
            id,
            cluster,
            network: read_network(task)?,
            pid_mode: read_sharing("pidMode", task.pid_mode.as_deref())?,
            ipc_mode: read_sharing("ipcMode", task.ipc_mode.as_deref())?,
            // cgroups(7): a quota below 1 ms is refused by the kernel.
            cpu_quota_microseconds: task
                .cpu
                .filter(|cpu| *cpu > 0.0)
                .map(|cpu| ((cpu * 100_000.0) as i64).max(1000)),
            cpu_shares: task
                .cpu
                .filter(|cpu| *cpu > 0.0)
                .map(|cpu| ((cpu * 1024.0) as u64).clamp(2, 262_144)),
            memory_bytes: task.memory.filter(|mib| *mib > 0).map(|mib| mib.unsigned_abs() << 20),
            storage: read_storage(task),
            containers,
            volumes,
            vpc: read_vpc(task)?,
            connect: connect::read(task)?,
            family: task.family.clone(),
            revision: task.version.clone(),
            launch_type: task
                .roadstead
                .as_ref()
                .and_then(|extension| extension.launch_type.clone())
                .or_else(|| task.launch_type.clone())
                .unwrap_or_else(|| "EC2".to_owned()),
        };
        plan.refuse_cycles()?;
        Ok(plan)
    }

    /// The task by name only, without containers: of a task that is not run, only its end is reported.
    pub fn bare(task: &Task) -> Result<Self, PlanError> {
        let (arn, cluster, id) = read_arn(&task.arn)?;
        Ok(Self {
            arn,
            id,
            cluster,
            network: NetworkPlan::None,
            pid_mode: Sharing::Container,
            ipc_mode: Sharing::Container,
            cpu_quota_microseconds: None,
            cpu_shares: None,
            memory_bytes: None,
            storage: None,
            containers: Vec::new(),
            volumes: BTreeMap::new(),
            vpc: None,
            connect: ConnectPlan::default(),
            family: task.family.clone(),
            revision: task.version.clone(),
            launch_type: String::new(),
        })
    }

    /// The place of the container called `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.containers.iter().position(|container| container.name == name)
    }

    /// Takes away, round by round, what depends on nothing that is left; what remains is a cycle.
    fn refuse_cycles(&self) -> Result<(), PlanError> {
        let mut placed = vec![false; self.containers.len()];
        loop {
            let next = (0..placed.len()).find(|index| {
                !placed[*index]
                    && self.containers[*index].dependencies.iter().all(|dependency| placed[dependency.on])
            });
            match next {
                Some(index) => placed[index] = true,
                None if placed.iter().all(|done| *done) => return Ok(()),
                None => {
                    return Err(PlanError("the containers depend on each other in a circle".to_owned()));
                }
            }
        }
    }
}

fn read_arn(text: &str) -> Result<(Arn, String, String), PlanError> {
    let refused = || PlanError("the task's ARN is not one of the long form".to_owned());
    let arn: Arn = text.parse().map_err(|_| refused())?;
    let (kind, rest) = arn.resource_type_and_id().ok_or_else(refused)?;
    let (cluster, id) = rest.split_once('/').ok_or_else(refused)?;
    let plain = |name: &str| {
        !name.is_empty()
            && name.len() <= 255
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if kind != "task" || !plain(cluster) || !plain(id) || id.len() > 64 {
        return Err(refused());
    }
    let (cluster, id) = (cluster.to_owned(), id.to_owned());
    Ok((arn, cluster, id))
}

/// What the protocol has and this agent does not do, by name: a task is refused rather than run without it.
fn refuse_unsupported(task: &Task) -> Result<(), PlanError> {
    let refuse = |what: &str| Err(PlanError(format!("{what} is not supported by this agent")));
    if !task.attachments.is_empty() {
        return refuse("an attachment (EBS volume, Service Connect)");
    }
    if !task.associations.is_empty() {
        return refuse("an association (GPU, Elastic Inference)");
    }
    if task.proxy_configuration.is_some() {
        return refuse("proxyConfiguration");
    }
    if task.enable_fault_injection == Some(true) {
        return refuse("enableFaultInjection");
    }
    for container in &task.containers {
        if !container.secrets.is_empty() {
            return refuse("a container's secrets");
        }
        if !container.environment_files.is_empty() {
            return refuse("a container's environmentFiles");
        }
        if container.registry_authentication.is_some() {
            return refuse("a container's registryAuthentication");
        }
        if container.firelens_configuration.is_some() {
            return refuse("firelensConfiguration");
        }
        if !container.managed_agents.is_empty() {
            return refuse("ECS Exec");
        }
    }
    Ok(())
}

fn read_network(task: &Task) -> Result<NetworkPlan, PlanError> {
    match task.network_mode.as_deref().unwrap_or("bridge") {
        "none" => Ok(NetworkPlan::None),
        "bridge" | "" => Ok(NetworkPlan::Bridge),
        "host" => Ok(NetworkPlan::Host),
        "awsvpc" => match task.elastic_network_interfaces.as_slice() {
            [interface] => Ok(NetworkPlan::AwsVpc(Box::new(interface.clone()))),
            interfaces => Err(PlanError(format!(
                "network mode awsvpc needs one network interface, not {}",
                interfaces.len()
            ))),
        },
        other => Err(PlanError(format!("network mode {other} is not supported by this agent"))),
    }
}

fn read_vpc(task: &Task) -> Result<Option<VpcNetwork>, PlanError> {
    let Some(vpc) = task.roadstead.as_ref().and_then(|extension| extension.vpc.as_ref()) else {
        return Ok(None);
    };
    let cidr =
        |text: &str| text.parse().map_err(|error: base::NetError| PlanError(format!("{}: {error}", vpc.id)));
    let ipv6 = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|error: base::NetError| PlanError(format!("{}: {error}", vpc.id)))
        }
    };
    let subnet = |subnet: &SubnetExtension| {
        let (id, cidr) = (subnet.id.clone(), cidr(&subnet.cidr)?);
        Ok(SubnetNetwork { id, cidr, ipv6_cidr: ipv6(&subnet.ipv6_cidr)? })
    };
    Ok(Some(VpcNetwork {
        id: vpc.id.clone(),
        cidr: cidr(&vpc.cidr)?,
        ipv6_cidr: ipv6(&vpc.ipv6_cidr)?,
        subnets: vpc.subnets.iter().map(subnet).collect::<Result<_, PlanError>>()?,
    }))
}

fn read_storage(task: &Task) -> Option<StoragePlan> {
    let gib = task.roadstead.as_ref()?.ephemeral_storage_gib.filter(|gib| *gib > 0)?.unsigned_abs();
    // A definition can ask for 21 GiB at least.
    Some(StoragePlan { bytes: gib << 30, asked_for: gib > FARGATE_STORAGE_GIB_DEFAULT })
}

fn read_sharing(what: &str, mode: Option<&str>) -> Result<Sharing, PlanError> {
    match mode.unwrap_or_default() {
        "" => Ok(Sharing::Container),
        "task" => Ok(Sharing::Task),
        "host" => Ok(Sharing::Host),
        "none" if what == "ipcMode" => Ok(Sharing::Nothing),
        other => Err(PlanError(format!("{what} {other} is not one"))),
    }
}

fn read_volume(volume: &Volume) -> Result<VolumePlan, PlanError> {
    // The name becomes part of a path.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !volume.name.bytes().all(plain)
        || !volume.name.starts_with(|first: char| first.is_ascii_alphanumeric())
        || volume.name.len() > 255
    {
        return Err(PlanError(format!("volume name {:?} is not one", volume.name)));
    }
    match volume.kind.as_deref().unwrap_or("host") {
        "host" => {
            let path = volume.host.as_ref().and_then(|host| host.source_path.clone()).unwrap_or_default();
            if path.is_empty() {
                return Ok(VolumePlan::Task);
            }
            if !path.starts_with('/') || path.contains('\0') {
                return Err(PlanError(format!("the host path of volume {} is not absolute", volume.name)));
            }
            Ok(VolumePlan::HostPath(path))
        }
        "docker" => {
            let configuration = volume.docker_volume_configuration.clone().unwrap_or_default();
            if !matches!(configuration.driver.as_deref(), None | Some("" | "local")) {
                return Err(PlanError(format!(
                    "volume {}: driver {} is not supported by this agent",
                    volume.name,
                    configuration.driver.unwrap_or_default()
                )));
            }
            if !configuration.driver_opts.is_empty() {
                return Err(PlanError(format!(
                    "volume {}: driverOpts are not supported by this agent",
                    volume.name
                )));
            }
            match configuration.scope.as_deref().unwrap_or("task") {
                "task" => Ok(VolumePlan::Task),
                "shared" => Ok(VolumePlan::Shared {
                    name: volume.name.clone(),
                    autoprovision: configuration.autoprovision.unwrap_or(false),
                }),
                other => Err(PlanError(format!("volume {}: scope {other} is not one", volume.name))),
            }
        }
        other => {
            Err(PlanError(format!("volume {}: type {other} is not supported by this agent", volume.name)))
        }
    }
}

fn read_container(
    container: &Container,
    task: &Task,
    volumes: &BTreeMap<String, VolumePlan>,
) -> Result<ContainerPlan, PlanError> {
    let name = &container.name;
    if name.is_empty() || task.containers.iter().filter(|other| other.name == *name).count() > 1 {
        return Err(PlanError(format!("container name {name:?} is empty or used twice")));
    }
    let docker = container.docker_config.clone().unwrap_or_default();
    let unreadable = |what: &str| PlanError(format!("container {name}: dockerConfig.{what} cannot be read"));
    let config = docker.container_config().map_err(|_| unreadable("config"))?;
    let host = docker.host_configuration().map_err(|_| unreadable("hostConfig"))?;
    if let Some(missing) =
        container.mount_points.iter().find(|mount| !volumes.contains_key(&mount.source_volume))
    {
        return Err(PlanError(format!("container {name}: there is no volume {}", missing.source_volume)));
    }
    let mut message = container.clone();
    if let Some(command) = read_overrides(container)? {
        message.command = command;
    }
    let health_check = match &config.healthcheck {
        Some(check) => read_health_check(name, check)?,
        None if container.health_check_type.as_deref() == Some("docker") => {
            return Err(PlanError(format!("container {name}: a health check is announced but not given")));
        }
        None => None,
    };
    let seconds = |value: Option<i64>| {
        value.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.unsigned_abs()))
    };
    Ok(ContainerPlan {
        name: name.clone(),
        essential: container.essential,
        dependencies: read_dependencies(container, task)?,
        start_timeout: seconds(container.start_timeout),
        stop_timeout: seconds(container.stop_timeout),
        ports: bridge::read_ports(container)?,
        links: bridge::read_links(container, task)?,
        restart: read_restart(container.restart_policy.as_ref()),
        health_check,
        message,
        config,
        host,
    })
}

/// `overrides` may hold a command and nothing else.
fn read_overrides(container: &Container) -> Result<Option<Vec<String>>, PlanError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Overrides {
        #[serde(default)]
        command: Option<Vec<String>>,
    }
    match container.overrides.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => serde_json::from_str::<Overrides>(text)
            .map(|overrides| overrides.command)
            .map_err(|_| PlanError(format!("container {}: overrides cannot be read", container.name))),
    }
}

fn read_dependencies(container: &Container, task: &Task) -> Result<Vec<Dependency>, PlanError> {
    let position = |name: &str| {
        let found = task.containers.iter().position(|other| other.name == name);
        found.ok_or_else(|| {
            PlanError(format!("container {}: there is no container {name} to depend on", container.name))
        })
    };
    let mut dependencies = Vec::new();
    for dependency in &container.depends_on {
        let condition = match &dependency.condition {
            DependencyCondition::Start => Condition::Start,
            DependencyCondition::Complete => Condition::Complete,
            DependencyCondition::Success => Condition::Success,
            DependencyCondition::Healthy => Condition::Healthy,
            DependencyCondition::Other(word) => {
                return Err(PlanError(format!("container {}: condition {word} is not one", container.name)));
            }
        };
        dependencies.push(Dependency { on: position(&dependency.container_name)?, condition });
    }
    for source in &container.volumes_from {
        dependencies
            .push(Dependency { on: position(&source.source_container)?, condition: Condition::Created });
    }
    for link in &container.links {
        let name = link.split(':').next().unwrap_or_default();
        dependencies.push(Dependency { on: position(name)?, condition: Condition::Start });
    }
    Ok(dependencies)
}

fn read_restart(policy: Option<&RestartPolicy>) -> Option<RestartPlan> {
    policy.filter(|policy| policy.enabled).map(|policy| RestartPlan {
        ignored_exit_codes: policy.ignored_exit_codes.clone(),
        attempt_period: Duration::from_secs(
            policy.restart_attempt_period.unwrap_or(RESTART_ATTEMPT_PERIOD_DEFAULT).max(0).unsigned_abs(),
        ),
    })
}

/// Docker's defaults where nothing is said: 30 s, 30 s, 3 retries, no start period.
fn read_health_check(name: &str, check: &HealthConfig) -> Result<Option<HealthCheckPlan>, PlanError> {
    let refused = |why: &str| PlanError(format!("container {name}: the health check {why}"));
    let arguments = match check.test.split_first() {
        None => return Ok(None),
        Some((kind, _)) if kind == "NONE" => return Ok(None),
        Some((kind, rest)) if kind == "CMD" && !rest.is_empty() => rest.to_vec(),
        Some((kind, rest)) if kind == "CMD-SHELL" && !rest.is_empty() => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")]
        }
        Some(_) => return Err(refused("needs CMD or CMD-SHELL and a command")),
    };
    let nanoseconds = |value: Option<i64>, default: u64| match value.unwrap_or(0) {
        0 => Ok(Duration::from_secs(default)),
        given if given > 0 => Ok(Duration::from_nanos(given.unsigned_abs())),
        _ => Err(refused("has a negative duration")),
    };
    Ok(Some(HealthCheckPlan {
        arguments,
        interval: nanoseconds(check.interval, 30)?,
        timeout: nanoseconds(check.timeout, 30)?,
        retries: match check.retries.unwrap_or(0) {
            0 => 3,
            retries => u32::try_from(retries).map_err(|_| refused("has a negative number of retries"))?,
        },
        start_period: nanoseconds(check.start_period, 0)?,
    }))
}
