//! `PayloadMessage`: tasks to run and to stop, in all their parts.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use crate::docker::DockerConfig;
use crate::word::open_words;

open_words! {
    /// What a task is meant to be.
    DesiredStatus {
        /// Meant to run.
        Running = "RUNNING",
        /// Meant to be stopped.
        Stopped = "STOPPED",
    }
}

open_words! {
    /// Whom a set of credentials is for.
    RoleType {
        /// The task's containers.
        TaskApplication = "TaskApplication",
        /// The agent, on behalf of the task: images, secrets, logs.
        TaskExecution = "TaskExecution",
    }
}

open_words! {
    /// What a container waits for before it starts.
    DependencyCondition {
        /// The other was started.
        Start = "START",
        /// The other has ended, whatever its exit code.
        Complete = "COMPLETE",
        /// The other has ended with exit code 0.
        Success = "SUCCESS",
        /// The other's health check passes.
        Healthy = "HEALTHY",
    }
}

/// Tasks to run and to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PayloadMessage {
    /// Cluster ARN.
    pub cluster_arn: String,
    /// Container instance ARN.
    pub container_instance_arn: String,
    /// Echoed by the answer.
    pub message_id: String,
    /// Milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<i64>,
    /// Rising number of this container instance, shared with the manifests' `timeline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq_num: Option<i64>,
    /// Unused by the stock agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<i64>,
    /// The tasks.
    #[serde(default)]
    pub tasks: Vec<Task>,
}

/// A task to run or to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// `arn:…:task/CLUSTER/ID`.
    pub arn: String,
    /// The task's cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_cluster_arn: Option<String>,
    /// Task definition family.
    #[serde(default)]
    pub family: String,
    /// Task definition revision, in decimal.
    #[serde(default)]
    pub version: String,
    /// RUNNING or STOPPED.
    pub desired_status: DesiredStatus,
    /// Unused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<String>,
    /// Containers; may be empty in an order to stop.
    #[serde(default)]
    pub containers: Vec<Container>,
    /// Volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Account of the task definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_definition_account_id: Option<String>,
    /// Availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// `EC2` or `EXTERNAL`; for Fargate see [`TaskExtension::launch_type`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<String>,
    /// `bridge`, `host`, `awsvpc` or `none`; absent is `bridge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// `host` or `task`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<String>,
    /// `host`, `task` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<String>,
    /// CPUs of the whole task (1.0 is one vCPU).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Memory of the whole task in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// Keys of the task role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_credentials: Option<RoleCredentials>,
    /// Keys of the execution role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_role_credentials: Option<RoleCredentials>,
    /// Network interfaces (awsvpc: one).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elastic_network_interfaces: Vec<NetworkInterface>,
    /// GPUs and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub associations: Vec<Association>,
    /// App Mesh proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_configuration: Option<ProxyConfiguration>,
    /// Volumes and Service Connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// The service it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Task group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether the fault injection endpoint answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_fault_injection: Option<bool>,
    /// What only our own agent reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roadstead: Option<TaskExtension>,
}

/// What our control plane tells our agent beyond the stock agent's protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskExtension {
    /// Raised at every order about this task; an order with a lower number than one already seen is void.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The launch type as the API shows it: `FARGATE` besides those of the stock agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<String>,
    /// In an order to stop: milliseconds since the epoch at which nothing of the task may run any more, whatever its
    /// containers' stop timeouts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_by: Option<i64>,
    /// Ephemeral storage of a Fargate task in GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_gib: Option<i64>,
    /// The VPC of the task's interface, for the metadata endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// That VPC's networks: what a node needs to set it up before the first of its interfaces is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<VpcExtension>,
    /// Names and ports that the task calls through Service Connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_connect: Vec<ServiceConnectExtension>,
    /// Ports at which the task is called instead of its containers'.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_connect_ingress: Vec<ServiceConnectIngress>,
    /// Where the proxy of Service Connect writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_connect_log: Option<ServiceConnectLog>,
}

/// A port at which a task is called instead of its container's (`ingressPortOverride`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceConnectIngress {
    /// Where the proxy listens.
    pub port: u16,
    /// Where the container does.
    pub container_port: u16,
}

/// Where the proxy of Service Connect writes, and what of requests and connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceConnectLog {
    /// As for a container.
    pub log_config: crate::docker::LogConfig,
    /// `TEXT` or `JSON`, where requests and connections are logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log_format: Option<String>,
    /// Whether what follows a path's question mark is logged too.
    pub include_query_parameters: bool,
}

/// A name and port that a task calls through Service Connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceConnectExtension {
    /// The service's id in AWS Cloud Map.
    pub service: String,
    /// The name, as in /etc/hosts.
    pub host_name: String,
    /// The address that it has there, of 127.255.0.0/16.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// A VPC as a node needs to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VpcExtension {
    /// Such as `vpc-0123456789abcdef0`.
    pub id: String,
    /// Such as `172.31.0.0/16`.
    pub cidr: String,
    /// Such as `fd00:db8::/56`, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_cidr: Option<String>,
    /// Its subnets: id and addresses.
    pub subnets: Vec<SubnetExtension>,
}

/// A subnet as a node needs to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubnetExtension {
    /// Such as `subnet-0123456789abcdef0`.
    pub id: String,
    /// Such as `172.31.0.0/20`.
    pub cidr: String,
    /// Such as `fd00:db8::/64`, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_cidr: Option<String>,
}

/// Keys of a role, for one task. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleCredentials {
    /// Opaque and unguessable: it becomes part of a URL.
    pub credentials_id: String,
    /// The role.
    #[serde(default)]
    pub role_arn: String,
    /// Access key id.
    #[serde(default)]
    pub access_key_id: String,
    /// Secret access key.
    #[serde(default)]
    pub secret_access_key: String,
    /// Session token.
    #[serde(default)]
    pub session_token: String,
    /// RFC 3339.
    #[serde(default)]
    pub expiration: String,
    /// Scope of the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_scope: Option<String>,
}

impl fmt::Debug for RoleCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleCredentials")
            .field("role_arn", &self.role_arn)
            .field("access_key_id", &self.access_key_id)
            .field("expiration", &self.expiration)
            .finish_non_exhaustive()
    }
}

/// Environment variables by name. `Debug` shows the names only: values are often secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(pub BTreeMap<String, String>);

impl Deref for Environment {
    type Target = BTreeMap<String, String>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Environment {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A container of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Unique in the task.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// ARN of this container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_arn: Option<String>,
    /// Whether the task ends with it.
    pub essential: bool,
    /// Replaces the image's command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's entry point.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entry_point: Vec<String>,
    /// Overrides already merged in.
    pub environment: Environment,
    /// A JSON text: `{}` or `{"command": […]}`; any other key makes the task invalid for the stock agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<String>,
    /// CPU shares (1,024 to a vCPU).
    pub cpu: i64,
    /// Hard limit in MiB; 0 is none.
    pub memory: i64,
    /// Docker links: `name` or `name:alias`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// Volumes taken over from other containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumeFrom>,
    /// Volumes mounted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// Secrets, fetched by the agent with the execution role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Files of environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment_files: Vec<EnvironmentFile>,
    /// How to authenticate at the image's registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_authentication: Option<RegistryAuthentication>,
    /// `ExecutionRole`: the log driver uses the execution role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs_auth_strategy: Option<String>,
    /// `docker` when a health check is in the docker configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_type: Option<String>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<ContainerDependency>,
    /// Seconds that its dependants wait for its condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<i64>,
    /// Seconds between the stop signal and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Restart in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// Log router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firelens_configuration: Option<FirelensConfiguration>,
    /// Agents that ECS runs inside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub managed_agents: Vec<ManagedAgent>,
    /// Docker's own parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_config: Option<DockerConfig>,
}

/// Volumes taken over from another container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeFrom {
    /// Name of the other container.
    pub source_container: String,
    /// Mounted read-only.
    pub read_only: bool,
}

/// A volume mounted in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MountPoint {
    /// Name of the volume.
    pub source_volume: String,
    /// Where.
    pub container_path: String,
    /// Mounted read-only.
    pub read_only: bool,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortMapping {
    /// Port in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_port: Option<u16>,
    /// Port on the host; 0 is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// `tcp` or `udp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// `8080-8090`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_port_range: Option<String>,
}

/// A secret that the agent fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// Variable or log option.
    pub name: String,
    /// ARN or parameter name.
    pub value_from: String,
    /// Region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `ssm` or `asm`.
    pub provider: String,
    /// `ENVIRONMENT_VARIABLE`, `MOUNT_POINT` or `BOOTSTRAP`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `CONTAINER` or `LOG_DRIVER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// For `MOUNT_POINT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
}

/// A file of environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvironmentFile {
    /// S3 object ARN.
    pub value: String,
    /// `s3`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// How to authenticate at a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryAuthentication {
    /// `ecr` or `asm`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For `ecr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecr_auth_data: Option<EcrAuthData>,
    /// For `asm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asm_auth_data: Option<AsmAuthData>,
}

/// Authentication by Amazon ECR.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EcrAuthData {
    /// Region.
    pub region: String,
    /// Account of the registry.
    pub registry_id: String,
    /// Another endpoint of the ECR API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_override: Option<String>,
    /// Whether the execution role is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_execution_role: Option<bool>,
}

/// Authentication by a secret of Secrets Manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AsmAuthData {
    /// The secret's ARN.
    pub credentials_parameter: String,
    /// Region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// What a container waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDependency {
    /// The other container.
    pub container_name: String,
    /// What it must have reached.
    pub condition: DependencyCondition,
}

/// Restart in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartPolicy {
    /// Whether it counts.
    pub enabled: bool,
    /// Exit codes that do not restart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_exit_codes: Vec<i32>,
    /// Seconds that it must have run before it is restarted; 300 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_attempt_period: Option<i64>,
}

/// A log router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirelensConfiguration {
    /// `fluentd` or `fluentbit`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// An agent that ECS runs inside a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ManagedAgent {
    /// `ExecuteCommandAgent`.
    pub name: String,
    /// Properties.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// A volume of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Unique in the task.
    pub name: String,
    /// `host` (also when absent), `docker`, `efs` …
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostVolume>,
    /// For `docker`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_volume_configuration: Option<DockerVolumeConfiguration>,
    /// For `efs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub efs_volume_configuration: Option<EfsVolumeConfiguration>,
}

/// A directory of the host, or of the task alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostVolume {
    /// Empty or absent: a directory of the task's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
}

/// A Docker volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerVolumeConfiguration {
    /// `task` (also when absent) or `shared`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Makes a shared volume that does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoprovision: Option<bool>,
    /// Volume driver; `local` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The driver's options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// An EFS file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EfsVolumeConfiguration {
    /// File system.
    pub file_system_id: String,
    /// Directory in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    /// `ENABLED` or `DISABLED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transit_encryption: Option<String>,
    /// Port of the encrypting proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transit_encryption_port: Option<i64>,
    /// Access point and IAM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_config: Option<EfsAuthorizationConfig>,
}

/// Access point and IAM of an EFS volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EfsAuthorizationConfig {
    /// Access point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_point_id: Option<String>,
    /// `ENABLED` or `DISABLED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iam: Option<String>,
}

/// An elastic network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkInterface {
    /// The attachment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment_arn: Option<String>,
    /// `eni-…`.
    pub ec2_id: String,
    /// Hardware address.
    pub mac_address: String,
    /// Place among the task's interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// At least one, one of them primary.
    pub ipv4_addresses: Vec<Ipv4Address>,
    /// May be empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ipv6_addresses: Vec<Ipv6Address>,
    /// `172.31.0.1/20`: the gateway and the subnet's prefix length.
    pub subnet_gateway_ipv4_address: String,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domain_name: Vec<String>,
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domain_name_servers: Vec<String>,
    /// `ip-172-31-0-5.ec2.internal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_dns_name: Option<String>,
    /// `default` or `vlan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_association_protocol: Option<String>,
}

/// An IPv4 address of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipv4Address {
    /// Whether it is the first one.
    pub primary: bool,
    /// The address.
    pub private_address: String,
}

/// An IPv6 address of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipv6Address {
    /// Whether it is the first one.
    pub primary: bool,
    /// The address.
    pub address: String,
}

/// A device given to containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Association {
    /// For a GPU its device id.
    pub name: String,
    /// `gpu` or `elastic-inference`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names of containers.
    pub containers: Vec<String>,
    /// What the metadata endpoint tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<AssociationContent>,
}

/// Content of an association.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AssociationContent {
    /// `base64`.
    pub encoding: String,
    /// The value.
    pub value: String,
}

/// App Mesh proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfiguration {
    /// `APPMESH`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The proxy.
    pub container_name: String,
    /// `IgnoredUID` …
    pub properties: BTreeMap<String, String>,
}

/// Something attached to a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    /// Its ARN.
    pub attachment_arn: String,
    /// `amazonebs`, `serviceconnectdetail`, `s3files`.
    pub attachment_type: String,
    /// Names and values, none empty.
    pub attachment_properties: Vec<AttachmentProperty>,
}

/// A name and value of an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachmentProperty {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}
