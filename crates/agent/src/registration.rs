//! Joining a cluster: what this node has and can do, told with `RegisterContainerInstance`.

use std::time::Duration;

use api::ecs::operations::{CreateCluster, RegisterContainerInstance};
use api::ecs::{Attribute, CreateClusterRequest, RegisterContainerInstanceRequest, Resource};
use client::{Backoff, Client, ClientError};

use crate::config::AgentConfig;
use crate::state::{StateDirectory, StateError};

/// What this agent can do, in ECS's words. Honest: only what engine, network and drivers carry out. Source: "Amazon ECS container
/// agent capabilities".
const CAPABILITIES: &[&str] = &[
    "com.amazonaws.ecs.capability.privileged-container",
    "com.amazonaws.ecs.capability.docker-remote-api.1.17",
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.19",
    "com.amazonaws.ecs.capability.docker-remote-api.1.20",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
    "com.amazonaws.ecs.capability.docker-remote-api.1.22",
    "com.amazonaws.ecs.capability.docker-remote-api.1.23",
    "com.amazonaws.ecs.capability.docker-remote-api.1.24",
    "com.amazonaws.ecs.capability.docker-remote-api.1.25",
    "com.amazonaws.ecs.capability.docker-remote-api.1.28",
    "com.amazonaws.ecs.capability.docker-remote-api.1.29",
    "com.amazonaws.ecs.capability.docker-remote-api.1.30",
    "com.amazonaws.ecs.capability.docker-remote-api.1.32",
    "com.amazonaws.ecs.capability.logging-driver.awslogs",
    "com.amazonaws.ecs.capability.logging-driver.json-file",
    "com.amazonaws.ecs.capability.logging-driver.none",
    "com.amazonaws.ecs.capability.task-iam-role",
    "ecs.capability.container-health-check",
    "ecs.capability.container-ordering",
    "ecs.capability.container-restart-policy",
    "ecs.capability.execution-role-awslogs",
    "ecs.capability.full-sync",
    "ecs.capability.increased-task-cpu-limit",
    "ecs.capability.network.container-port-range",
    "ecs.capability.pid-ipc-namespace-sharing",
    "ecs.capability.task-cpu-mem-limit",
    "ecs.capability.task-eni",
    "ecs.capability.docker-plugin.local",
];
/// Set on a node that is Fargate capacity too.
pub const FARGATE_CAPACITY: &str = "roadstead.fargate-capacity";
/// The Auto Scaling group that the node belongs to.
pub const AUTO_SCALING_GROUP: &str = "roadstead.auto-scaling-group";
/// How far CPU and memory may be promised beyond what is there, in percent.
pub const OVER_COMMIT_PERCENT: &str = "roadstead.over-commit-percent";
/// Version that this agent tells of itself; the protocol is that of the stock agent's 1.x line.
pub const AGENT_VERSION: &str = concat!("1.105.1-roadstead.", env!("CARGO_PKG_VERSION"));
/// What stands for Docker's version.
pub const RUNTIME_VERSION: &str = concat!("roadstead-", env!("CARGO_PKG_VERSION"));

/// Why this node cannot join.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The control plane refuses it for good.
    #[error("the control plane refuses this node")]
    Refused(#[source] ClientError),
    /// The control plane gave no usable answer.
    #[error("the control plane's answer to the registration lacks the container instance's ARN")]
    Answer,
    /// What was given cannot be written down.
    #[error(transparent)]
    State(#[from] StateError),
    /// The machine does not tell its size.
    #[error("the machine's memory cannot be read from /proc/meminfo")]
    Memory,
}

/// Registers this node, for as long as it takes. Returns the container instance's ARN.
pub async fn register(
    config: &AgentConfig,
    client: &Client,
    state: &StateDirectory,
) -> Result<String, RegistrationError> {
    let mut identity = state.identity();
    if identity.cluster != config.cluster {
        identity.container_instance_arn = None;
    }
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30), 2.0);
    let mut told = false;
    loop {
        let request = request(config, identity.container_instance_arn.clone())?;
        match client.call::<RegisterContainerInstance>(&request).await {
            Ok(answer) => {
                let arn = answer
                    .container_instance
                    .and_then(|instance| instance.container_instance_arn)
                    .ok_or(RegistrationError::Answer)?;
                let cluster = config.cluster.clone();
                state.change_identity(|identity| {
                    if identity.container_instance_arn.as_deref() != Some(&arn) {
                        identity.sequence_number = None;
                    }
                    identity.container_instance_arn = Some(arn.clone());
                    identity.cluster = cluster;
                })?;
                tracing::info!(container_instance = arn, cluster = config.cluster, "joined the cluster");
                return Ok(arn);
            }
            Err(error)
                if error.code() == Some("ClusterNotFoundException")
                    && (config.create_cluster || config.cluster == "default") =>
            {
                create_cluster(client, &config.cluster).await?;
            }
            // A control plane that lost its state does not know us any more: join anew.
            Err(error)
                if identity.container_instance_arn.is_some()
                    && matches!(error.code(), Some("ClientException" | "InvalidParameterException")) =>
            {
                tracing::warn!(%error, "this node is no longer known; joining anew");
                identity.container_instance_arn = None;
            }
            Err(error) if error.is_retryable() => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, endpoint = %config.endpoint, "the control plane does not answer yet");
                }
                tokio::time::sleep(backoff.next(&*config.ids)).await;
            }
            Err(error) => return Err(RegistrationError::Refused(error)),
        }
    }
}

async fn create_cluster(client: &Client, name: &str) -> Result<(), RegistrationError> {
    let request =
        CreateClusterRequest { cluster_name: Some(name.to_owned()), ..CreateClusterRequest::default() };
    client.call::<CreateCluster>(&request).await.map(drop).map_err(RegistrationError::Refused)
}

fn request(
    config: &AgentConfig,
    arn: Option<String>,
) -> Result<RegisterContainerInstanceRequest, RegistrationError> {
    let custom = arn.is_none();
    Ok(RegisterContainerInstanceRequest {
        attributes: Some(attributes(config, custom)),
        cluster: Some(config.cluster.clone()),
        container_instance_arn: arn,
        instance_identity_document: Some(String::new()),
        instance_identity_document_signature: Some(String::new()),
        total_resources: Some(total_resources(config)?),
        ..RegisterContainerInstanceRequest::default()
    })
}

fn attributes(config: &AgentConfig, custom: bool) -> Vec<Attribute> {
    let attribute = |name: &str, value: Option<&str>| Attribute {
        name: Some(name.to_owned()),
        value: value.map(str::to_owned),
        ..Attribute::default()
    };
    let mut attributes = Vec::new();
    if custom {
        attributes.extend(config.attributes.iter().map(|(name, value)| attribute(name, Some(value))));
    }
    attributes.extend(CAPABILITIES.iter().map(|name| attribute(name, None)));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    for (name, value) in [
        ("ecs.os-type", "linux"),
        ("ecs.os-family", "LINUX"),
        ("ecs.cpu-architecture", architecture),
        ("ecs.availability-zone", config.availability_zone.as_str()),
    ] {
        attributes.push(attribute(name, Some(value)));
    }
    if let Some(group) = &config.auto_scaling_group {
        attributes.push(attribute(AUTO_SCALING_GROUP, Some(group)));
    }
    if config.fargate_capacity {
        attributes.push(attribute(FARGATE_CAPACITY, None));
    }
    if config.over_commit_percent != 100 {
        attributes.push(attribute(OVER_COMMIT_PERCENT, Some(&config.over_commit_percent.to_string())));
    }
    attributes
}

fn total_resources(config: &AgentConfig) -> Result<Vec<Resource>, RegistrationError> {
    let integer = |name: &str, value: i32| Resource {
        name: Some(name.to_owned()),
        type_: Some("INTEGER".to_owned()),
        integer_value: Some(value),
        ..Resource::default()
    };
    let ports = |name: &str, ports: &[u16]| Resource {
        name: Some(name.to_owned()),
        type_: Some("STRINGSET".to_owned()),
        string_set_value: Some(ports.iter().map(u16::to_string).collect()),
        ..Resource::default()
    };
    let memory = match config.memory_mib {
        Some(memory) => memory,
        None => {
            let text = std::fs::read_to_string("/proc/meminfo").map_err(|_| RegistrationError::Memory)?;
            total_memory_mib(&text)
                .ok_or(RegistrationError::Memory)?
                .saturating_sub(config.reserved_memory_mib)
        }
    };
    Ok(vec![
        integer("CPU", config.cpu_units.unwrap_or_else(cpu_units)),
        integer("MEMORY", memory),
        ports("PORTS", &config.reserved_ports),
        ports("PORTS_UDP", &config.reserved_ports_udp),
    ])
}

/// 1,024 for each CPU that this process may use.
fn cpu_units() -> i32 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    i32::try_from(cpus.saturating_mul(1024)).unwrap_or(i32::MAX)
}

fn total_memory_mib(meminfo: &str) -> Option<i32> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: i64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    i32::try_from(kib / 1024).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(total_memory_mib("MemTotal:       16384000 kB\nMemFree: 1 kB\n"), Some(16_000));
        for bad in ["", "MemTotal:", "MemTotal: x kB"] {
            assert_eq!(total_memory_mib(bad), None);
        }
    }
}
