//! Tasks. Source: AWS, "Task" data type and "Amazon ECS task lifecycle".

use std::borrow::Cow;
use std::collections::BTreeMap;

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Resources, TransportProtocol};

word_enum! {
    /// Where a task stands. Later is greater: a task only ever moves to a greater status.
    TaskStatus {
        /// Waits for capacity or for a network interface.
        Provisioning = "PROVISIONING",
        /// Handed to an agent: images are pulled, containers made.
        Pending = "PENDING",
        /// Runs, but is not yet registered where it must be.
        Activating = "ACTIVATING",
        /// Runs.
        Running = "RUNNING",
        /// Runs, and is being taken out of where it was registered.
        Deactivating = "DEACTIVATING",
        /// Its containers are being stopped.
        Stopping = "STOPPING",
        /// Its network interface and the like are being given back.
        Deprovisioning = "DEPROVISIONING",
        /// Holds nothing any more.
        Stopped = "STOPPED",
    }
}

word_enum! {
    /// What a task is meant to be.
    DesiredStatus {
        /// Meant to run.
        Running = "RUNNING",
        /// Meant to be stopped.
        Stopped = "STOPPED",
    }
}

word_enum! {
    /// Why a task stopped, in one word.
    StopCode {
        /// It never ran.
        TaskFailedToStart = "TaskFailedToStart",
        /// An essential container ended.
        EssentialContainerExited = "EssentialContainerExited",
        /// A call of StopTask.
        UserInitiated = "UserInitiated",
        /// A service's scheduler.
        ServiceSchedulerInitiated = "ServiceSchedulerInitiated",
        /// Spot capacity was taken back.
        SpotInterruption = "SpotInterruption",
        /// The infrastructure announced its end.
        TerminationNotice = "TerminationNotice",
        /// The infrastructure failed.
        InfrastructureHealth = "InfrastructureHealth",
    }
}

word_enum! {
    /// What a task runs on.
    LaunchType {
        /// A container instance of the cluster.
        Ec2 = "EC2",
        /// Capacity without container instances.
        Fargate = "FARGATE",
        /// A machine that joined from elsewhere.
        External = "EXTERNAL",
        /// Instances that ECS manages.
        ManagedInstances = "MANAGED_INSTANCES",
    }
}

word_enum! {
    /// How a task is joined to the network.
    NetworkMode {
        /// A network interface of its own.
        AwsVpc = "awsvpc",
        /// Behind the host's bridge.
        Bridge = "bridge",
        /// The host's own network.
        Host = "host",
        /// Loopback only.
        None = "none",
    }
}

word_enum! {
    /// Health as the container's health check sees it.
    HealthStatus {
        /// The check passes.
        Healthy = "HEALTHY",
        /// The check failed too often.
        Unhealthy = "UNHEALTHY",
        /// No check, or no verdict yet.
        Unknown = "UNKNOWN",
    }
}

word_enum! {
    /// Whether the task's agent is connected.
    Connectivity {
        /// It is.
        Connected = "CONNECTED",
        /// It is not.
        Disconnected = "DISCONNECTED",
    }
}

word_enum! {
    /// Where a task stands with one of its target groups. Later is greater: it only ever moves on, but between the two
    /// verdicts of the health checks.
    TargetState {
        /// Not yet a target.
        Unregistered = "unregistered",
        /// Registered; the load balancer has no verdict yet.
        Initial = "initial",
        /// Passes the load balancer's health checks.
        Healthy = "healthy",
        /// Fails them, or was taken out of the target group by somebody else.
        Unhealthy = "unhealthy",
        /// Deregistered; requests under way are let finish.
        Draining = "draining",
        /// No target any more.
        Deregistered = "deregistered",
    }
}

impl TargetState {
    /// Whether it is a target that requests are sent to.
    pub const fn is_registered(self) -> bool {
        matches!(self, Self::Initial | Self::Healthy | Self::Unhealthy)
    }
}

/// A target group that a service's task is registered in while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTarget {
    /// The target group's ARN.
    pub target_group: Arn,
    /// The container that serves.
    pub container: String,
    /// Its port.
    pub container_port: u16,
    /// An address or the id of an EC2 instance, and a port: what it was registered as.
    #[serde(default)]
    pub target: Option<(String, u16)>,
    /// Where it stands.
    pub state: TargetState,
    /// Why it is unhealthy, in the load balancer's words.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it was deregistered.
    #[serde(default)]
    pub deregistered_at: Option<Timestamp>,
}

word_enum! {
    /// Where a task stands with one of its service registries. Later is greater: it only ever moves on.
    RegistryState {
        /// No instance yet.
        Unregistered = "unregistered",
        /// An instance of the service.
        Registered = "registered",
        /// No instance any more.
        Deregistered = "deregistered",
    }
}

/// A service of AWS Cloud Map that a service's task is registered in while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRegistry {
    /// The service's ARN.
    pub service: Arn,
    /// `port`, where that was given.
    #[serde(default)]
    pub port: Option<u16>,
    /// The container that serves.
    #[serde(default)]
    pub container: Option<String>,
    /// Its port.
    #[serde(default)]
    pub container_port: Option<u16>,
    /// The port at which the task is called instead (Service Connect, `ingressPortOverride`).
    #[serde(default)]
    pub ingress_port: Option<u16>,
    /// Where it stands.
    pub state: RegistryState,
    /// Whether AWS Cloud Map was told that the task is healthy; `None` where it does not ask.
    #[serde(default)]
    pub told_healthy: Option<bool>,
}

impl TaskStatus {
    /// Whether the task still holds resources of its host.
    pub const fn holds_resources(self) -> bool {
        !matches!(self, Self::Stopped)
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Whose and where.
    pub scope: Scope,
    /// 32 hexadecimal digits.
    pub id: String,
    /// The cluster's name.
    pub cluster: String,
    /// The revision's ARN.
    pub task_definition: Arn,
    /// Its family.
    pub family: String,
    /// Its revision.
    pub revision: i32,
    /// Launch type.
    pub launch_type: LaunchType,
    /// The capacity provider it was placed by.
    #[serde(default)]
    pub capacity_provider: Option<String>,
    /// The container instance whose agent runs it. Set for Fargate tasks too, though the API does not show it there.
    #[serde(default)]
    pub container_instance: Option<Arn>,
    /// Where it stands.
    pub last_status: TaskStatus,
    /// What it is meant to be.
    pub desired_status: DesiredStatus,
    /// Raised by one at every change that the API shows.
    pub version: i64,
    /// Raised by one at every order that goes to an agent; orders of an older generation are void.
    #[serde(default)]
    pub generation: u64,
    /// Task group, such as `family:hello` or `service:web`.
    pub group: String,
    /// Who started it, as the caller said.
    #[serde(default)]
    pub started_by: Option<String>,
    /// CPU units of the whole task, after overrides.
    #[serde(default)]
    pub cpu_units: Option<i32>,
    /// Memory of the whole task in MiB, after overrides.
    #[serde(default)]
    pub memory_mib: Option<i32>,
    /// The `TaskOverride` of the call, in awsJson; empty where none was given.
    #[serde(default)]
    pub overrides_document: String,
    /// Network mode.
    pub network_mode: NetworkMode,
    /// `awsvpcConfiguration` of the call.
    #[serde(default)]
    pub awsvpc_configuration: Option<AwsVpcConfiguration>,
    /// What it holds on its container instance.
    pub resources: Resources,
    /// Containers, in the task definition's order.
    pub containers: Vec<TaskContainer>,
    /// Network interfaces and volumes attached to it.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// Attributes shown with the task, such as `ecs.cpu-architecture`.
    #[serde(default)]
    pub attributes: Vec<(String, String)>,
    /// The zone it runs in.
    #[serde(default)]
    pub availability_zone: Option<String>,
    /// Fargate platform version, such as `1.4.0`.
    #[serde(default)]
    pub platform_version: Option<String>,
    /// Fargate platform family, such as `Linux`.
    #[serde(default)]
    pub platform_family: Option<String>,
    /// Ephemeral storage in GiB (Fargate).
    #[serde(default)]
    pub ephemeral_storage_gib: Option<i32>,
    /// Whether ECS Exec was asked for.
    #[serde(default)]
    pub enable_execute_command: bool,
    /// Whether its agent is connected.
    #[serde(default)]
    pub connectivity: Option<Connectivity>,
    /// Health of the whole task.
    pub health_status: HealthStatus,
    /// Every moment that AWS shows.
    pub times: TaskTimes,
    /// Why it stopped, in one word.
    #[serde(default)]
    pub stop_code: Option<StopCode>,
    /// Why it stopped, in a sentence.
    #[serde(default)]
    pub stopped_reason: Option<String>,
    /// When it must be gone: its capacity is taken back then, whatever its containers' stop timeouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_by: Option<Timestamp>,
    /// What ECS itself refers to it by; kept, never shown.
    #[serde(default)]
    pub reference_id: Option<String>,
    /// Until when a service's scheduler does not stop it to scale in or to deploy; `None` is unprotected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected_until: Option<Timestamp>,
    /// Whether its service has taken note of its end: each end counts once, in the transaction that sets this.
    #[serde(default)]
    pub accounted: bool,
    /// How long it may be RUNNING, in seconds, where the caller set a limit (`roadstead:max-runtime-seconds`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runtime_seconds: Option<i64>,
    /// Target groups of its service's load balancers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TaskTarget>,
    /// Services of AWS Cloud Map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<TaskRegistry>,
    /// The namespace of AWS Cloud Map whose services it calls through Service Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connects_to: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

impl Attachment {
    /// `arn:aws:ecs:REGION:ACCOUNT:attachment/ID`.
    pub fn arn(&self, scope: &Scope) -> Arn {
        Arn::new("ecs", scope, format!("attachment/{}", self.id))
    }
}

/// The type of an [`Attachment`] that is a network interface.
pub const ELASTIC_NETWORK_INTERFACE: &str = "ElasticNetworkInterface";

impl Task {
    /// The container called `name`.
    pub fn container(&self, name: &str) -> Option<&TaskContainer> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// Whether a service's scheduler started it: no caller may name such a group.
    pub fn is_of_service(&self) -> bool {
        self.group.starts_with("service:")
    }

    /// The id of the revision or task set that a service's scheduler started it for.
    pub fn service_revision(&self) -> Option<&str> {
        self.started_by.as_deref()?.strip_prefix(crate::STARTED_BY_SERVICE).filter(|_| self.is_of_service())
    }

    /// Whether a load balancer may send it requests, new ones or the rest of those under way.
    pub fn is_served_by_load_balancers(&self) -> bool {
        let served =
            |target: &TaskTarget| target.state.is_registered() || target.state == TargetState::Draining;
        self.targets.iter().any(served)
    }

    /// Whether AWS Cloud Map tells others of it.
    pub fn is_discovered(&self) -> bool {
        self.registries.iter().any(|there| there.state == RegistryState::Registered)
    }

    /// Whether others may be sent to it, by load balancers or AWS Cloud Map.
    pub fn is_served(&self) -> bool {
        self.is_served_by_load_balancers() || self.is_discovered()
    }

    /// Whether it is to be registered somewhere before it is RUNNING.
    pub fn waits_for_registration(&self) -> bool {
        self.targets.iter().any(|target| target.state == TargetState::Unregistered)
            || self.registries.iter().any(|there| there.state == RegistryState::Unregistered)
    }

    /// Whether AWS Cloud Map is to be told of it: that it is there, is healthy or not, or goes.
    pub fn is_discovered_anew(&self) -> bool {
        let serves =
            self.desired_status == DesiredStatus::Running && self.last_status < TaskStatus::Deactivating;
        if !serves {
            return self.is_discovered();
        }
        let healthy = self.passes_checks();
        self.registries.iter().any(|there| match there.state {
            RegistryState::Unregistered => self.last_status == TaskStatus::Activating,
            RegistryState::Registered => there.told_healthy == Some(!healthy),
            RegistryState::Deregistered => false,
        })
    }

    /// Whether its containers' health checks pass; where essential ones have checks, not before the first verdict.
    pub fn passes_checks(&self) -> bool {
        match self.health_status {
            HealthStatus::Healthy => true,
            HealthStatus::Unhealthy => false,
            HealthStatus::Unknown => {
                !self.containers.iter().any(|container| container.essential && container.has_health_check)
            }
        }
    }

    /// What it takes of its container instance: what it asked for, and the ports that the instance found for it.
    pub fn taken(&self) -> Cow<'_, Resources> {
        let mut bindings =
            self.containers.iter().flat_map(|container| &container.network_bindings).peekable();
        if bindings.peek().is_none() {
            return Cow::Borrowed(&self.resources);
        }
        let mut taken = self.resources.clone();
        for binding in bindings {
            match binding.protocol {
                TransportProtocol::Tcp => taken.ports.tcp.extend(binding.host_ports()),
                TransportProtocol::Udp => taken.ports.udp.extend(binding.host_ports()),
            }
        }
        Cow::Owned(taken)
    }

    /// Whether it is STOPPED, and the moment is written: it holds nothing, and only its service may not have counted its end yet.
    pub fn is_over(&self) -> bool {
        self.times.stopped_at.is_some() && !self.last_status.holds_resources()
    }

    /// Its network interface, where it has one.
    pub fn network_interface(&self) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.attachment_type == ELASTIC_NETWORK_INTERFACE)
    }

    /// When it has run for as long as it may; `None` while it has not begun to run, is being stopped, or has no limit.
    pub fn deadline(&self) -> Option<Timestamp> {
        let meant_to_run =
            self.desired_status == DesiredStatus::Running && self.last_status.holds_resources();
        let started_at = self.times.started_at.filter(|_| meant_to_run)?;
        Some(started_at.plus_seconds(self.max_runtime_seconds?))
    }

    /// `arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new("ecs", &self.scope, format!("task/{}/{}", self.cluster, self.id))
    }
}

/// The moments of a task's life. Source: AWS, "Task" data type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTimes {
    /// Asked for.
    pub created_at: Timestamp,
    /// Connectivity last went to CONNECTED or DISCONNECTED.
    #[serde(default)]
    pub connectivity_at: Option<Timestamp>,
    /// The first image pull began.
    #[serde(default)]
    pub pull_started_at: Option<Timestamp>,
    /// The last image pull ended.
    #[serde(default)]
    pub pull_stopped_at: Option<Timestamp>,
    /// Went PENDING to RUNNING.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// Desired status went to STOPPED.
    #[serde(default)]
    pub stopping_at: Option<Timestamp>,
    /// The first essential container ended.
    #[serde(default)]
    pub execution_stopped_at: Option<Timestamp>,
    /// Went to STOPPED.
    #[serde(default)]
    pub stopped_at: Option<Timestamp>,
}

const fn yes() -> bool {
    true
}

/// A container of a task. Source: AWS, "Container" data type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskContainer {
    /// Identity within its task: a UUID, the last part of its ARN.
    pub id: String,
    /// Name in the task definition.
    pub name: String,
    /// Image as written.
    pub image: String,
    /// Whether the task ends with it.
    #[serde(default = "yes")]
    pub essential: bool,
    /// Whether a health check is defined for it.
    #[serde(default)]
    pub has_health_check: bool,
    /// Digest that ran.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// The engine's id.
    #[serde(default)]
    pub runtime_id: Option<String>,
    /// PENDING, RUNNING or STOPPED.
    pub last_status: TaskStatus,
    /// Exit code, once ended.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Why it ended or could not start.
    #[serde(default)]
    pub reason: Option<String>,
    /// Ports bound on the host.
    #[serde(default)]
    pub network_bindings: Vec<NetworkBinding>,
    /// Health.
    pub health_status: HealthStatus,
    /// Managed agents inside it.
    #[serde(default)]
    pub managed_agents: Vec<ManagedAgent>,
    /// CPU units as AWS shows them.
    #[serde(default)]
    pub cpu: Option<String>,
    /// Memory in MiB as AWS shows it.
    #[serde(default)]
    pub memory: Option<String>,
    /// Soft limit in MiB as AWS shows it.
    #[serde(default)]
    pub memory_reservation: Option<String>,
    /// Device ids.
    #[serde(default)]
    pub gpu_ids: Vec<String>,
}

/// A port of a container, bound on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBinding {
    /// Address on the host.
    pub bind_ip: String,
    /// Port in the container.
    #[serde(default)]
    pub container_port: Option<i32>,
    /// Port on the host.
    #[serde(default)]
    pub host_port: Option<i32>,
    /// Protocol.
    pub protocol: TransportProtocol,
    /// Range in the container.
    #[serde(default)]
    pub container_port_range: Option<String>,
    /// Range on the host.
    #[serde(default)]
    pub host_port_range: Option<String>,
}

impl NetworkBinding {
    /// The ports on the host; none where what an agent told makes no sense.
    pub fn host_ports(&self) -> std::ops::RangeInclusive<u16> {
        let single = |port: i32| u16::try_from(port).ok().filter(|port| *port > 0).map(|port| (port, port));
        let range = |text: &str| {
            let (first, last) = text.split_once('-')?;
            Some((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?))
        };
        let found = match (self.host_port, self.host_port_range.as_deref()) {
            (Some(port), _) => single(port),
            (None, Some(text)) => range(text),
            (None, None) => None,
        };
        let (first, last) = found.unwrap_or((1, 0));
        first..=last
    }
}

/// An agent that ECS runs inside a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedAgent {
    /// `ExecuteCommandAgent`.
    pub name: String,
    /// Its state.
    pub last_status: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it started.
    #[serde(default)]
    pub last_started_at: Option<Timestamp>,
}

/// Something attached to a task or cluster. Source: AWS, "Attachment" data type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// A UUID.
    pub id: String,
    /// `ElasticNetworkInterface` and so on.
    pub attachment_type: String,
    /// PRECREATED, CREATED, ATTACHING, ATTACHED, DETACHING, DETACHED, DELETED, FAILED.
    pub status: String,
    /// `subnetId`, `networkInterfaceId`, `macAddress`, `privateIPv4Address` …
    pub details: BTreeMap<String, String>,
}

/// `awsvpcConfiguration` of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsVpcConfiguration {
    /// 1 to 16 subnet ids.
    pub subnets: Vec<String>,
    /// Up to 5 security group ids; empty means the VPC's default group.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// Whether a public address was asked for.
    #[serde(default)]
    pub assign_public_ip: bool,
}

/// That a client token was used: the same token again gives the same tasks. Source: AWS, "Ensuring idempotency".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTokenUse {
    /// Whose and where.
    pub scope: Scope,
    /// The operation's name.
    pub operation: String,
    /// The token.
    pub token: String,
    /// SHA-256 of the request's parameters, in hexadecimal.
    pub parameters_digest: String,
    /// Ids of what was made.
    pub made: Vec<String>,
    /// When.
    pub used_at: Timestamp,
}
