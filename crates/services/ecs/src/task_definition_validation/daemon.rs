//! What RegisterDaemonTaskDefinition checks: a daemon's containers are those of a plain task definition in the network mode
//! `host`, so that they are turned into one and checked with the same rules.
//!
//! Differs from AWS:
//! - There all daemons of an instance share one network namespace of their own (`daemon_bridge`, 169.254.172.2). Here they
//!   share the machine's. Either way two daemons of one instance cannot bind the same port.
//! - `pidMode` and `ipcMode` `shared` are the machine's namespaces, as there.
//! - `logDriverVolumeConfiguration` is refused by name, as are all that `unsupported.rs` refuses.

use api::ecs as shape;
use api::ecs::{
    ContainerDefinition, DaemonContainerDefinition, DaemonVolume, LinuxParameters,
    RegisterDaemonTaskDefinitionRequest, RegisterTaskDefinitionRequest, Volume,
};
use domain::TaskDefinitionProjection;
use wire::Fault;

use super::one_of;
use crate::faults::client;
use crate::launch::unsupported;

/// A daemon task definition that passed.
#[derive(Debug)]
pub struct ValidatedDaemon {
    /// As Describe shows it, less what registration adds.
    pub document: shape::DaemonTaskDefinition,
    /// What its tasks run by.
    pub task_document: shape::TaskDefinition,
    /// What placement reads.
    pub projection: TaskDefinitionProjection,
}

/// A daemon's container may do without any memory setting; a plain one may not. This stands in while it is checked.
const STAND_IN_MEMORY_MIB: i32 = 6;

/// Checks a daemon task definition and fills in what AWS fills in.
pub fn validate(request: &RegisterDaemonTaskDefinitionRequest) -> Result<ValidatedDaemon, Fault> {
    one_of("pidMode", request.pid_mode.as_deref(), &["none", "shared"])?;
    one_of("ipcMode", request.ipc_mode.as_deref(), &["none", "shared"])?;
    let containers = request.container_definitions.as_deref().unwrap_or_default();
    let volumes = request.volumes.as_deref().unwrap_or_default();
    let without_memory: Vec<bool> = containers
        .iter()
        .map(|container| {
            container.memory.is_none() && container.memory_reservation.is_none() && request.memory.is_none()
        })
        .collect();
    let plain = RegisterTaskDefinitionRequest {
        family: request.family.clone(),
        task_role_arn: request.task_role_arn.clone(),
        execution_role_arn: request.execution_role_arn.clone(),
        network_mode: Some("host".to_owned()),
        container_definitions: Some(
            containers.iter().zip(&without_memory).map(|(container, bare)| plain(container, *bare)).collect(),
        ),
        volumes: Some(volumes.iter().map(plain_volume).collect::<Result<_, _>>()?),
        cpu: request.cpu.clone(),
        memory: request.memory.clone(),
        pid_mode: shared(request.pid_mode.as_deref()),
        ipc_mode: shared(request.ipc_mode.as_deref()),
        ..RegisterTaskDefinitionRequest::default()
    };
    let mut validated = super::validate(&plain)?;
    for (index, bare) in without_memory.into_iter().enumerate() {
        if bare {
            validated.projection.containers[index].memory_reservation_mib = None;
            if let Some(containers) = &mut validated.document.container_definitions {
                containers[index].memory_reservation = None;
            }
        }
    }
    Ok(ValidatedDaemon {
        document: document(request, &validated.document),
        task_document: validated.document,
        projection: validated.projection,
    })
}

fn shared(mode: Option<&str>) -> Option<String> {
    mode.filter(|mode| *mode == "shared").map(|_| "host".to_owned())
}

fn plain(container: &DaemonContainerDefinition, without_memory: bool) -> ContainerDefinition {
    let container = container.clone();
    ContainerDefinition {
        command: container.command,
        cpu: container.cpu,
        depends_on: container.depends_on,
        entry_point: container.entry_point,
        environment: container.environment,
        environment_files: container.environment_files,
        essential: container.essential,
        firelens_configuration: container.firelens_configuration,
        health_check: container.health_check,
        image: container.image,
        interactive: container.interactive,
        linux_parameters: container.linux_parameters.map(|linux| LinuxParameters {
            capabilities: linux.capabilities,
            devices: linux.devices,
            init_process_enabled: linux.init_process_enabled,
            tmpfs: linux.tmpfs,
            ..LinuxParameters::default()
        }),
        log_configuration: container.log_configuration,
        memory: container.memory,
        memory_reservation: if without_memory {
            Some(STAND_IN_MEMORY_MIB)
        } else {
            container.memory_reservation
        },
        mount_points: container.mount_points,
        name: container.name,
        privileged: container.privileged,
        pseudo_terminal: container.pseudo_terminal,
        readonly_root_filesystem: container.readonly_root_filesystem,
        repository_credentials: container.repository_credentials,
        restart_policy: container.restart_policy,
        secrets: container.secrets,
        start_timeout: container.start_timeout,
        stop_timeout: container.stop_timeout,
        system_controls: container.system_controls,
        ulimits: container.ulimits,
        user: container.user,
        working_directory: container.working_directory,
        ..ContainerDefinition::default()
    }
}

/// Daemon volumes are bind mounts of a path of the machine. Source: "Daemon task definitions", volumes.
fn plain_volume(volume: &DaemonVolume) -> Result<Volume, Fault> {
    if volume.log_driver_volume_configuration.is_some() {
        return Err(unsupported("volumes.logDriverVolumeConfiguration"));
    }
    let path = volume.host.as_ref().and_then(|host| host.source_path.as_deref()).unwrap_or_default();
    if path.is_empty() {
        return Err(client(format!(
            "The volume '{}' of a daemon task definition must have a 'host' with a 'sourcePath'.",
            volume.name.as_deref().unwrap_or_default()
        )));
    }
    Ok(Volume { name: volume.name.clone(), host: volume.host.clone(), ..Volume::default() })
}

/// The definition as registered, with the defaults that a plain one gets.
fn document(
    request: &RegisterDaemonTaskDefinitionRequest,
    plain: &shape::TaskDefinition,
) -> shape::DaemonTaskDefinition {
    let filled = plain.container_definitions.iter().flatten();
    let containers = request.container_definitions.iter().flatten().zip(filled);
    shape::DaemonTaskDefinition {
        container_definitions: Some(
            containers
                .map(|(given, filled)| DaemonContainerDefinition {
                    cpu: filled.cpu,
                    essential: filled.essential,
                    environment: filled.environment.clone(),
                    mount_points: filled.mount_points.clone(),
                    system_controls: filled.system_controls.clone(),
                    health_check: filled.health_check.clone(),
                    ..given.clone()
                })
                .collect(),
        ),
        cpu: plain.cpu.clone(),
        execution_role_arn: request.execution_role_arn.clone(),
        family: request.family.clone(),
        ipc_mode: Some(request.ipc_mode.clone().unwrap_or_else(|| "none".to_owned())),
        memory: plain.memory.clone(),
        pid_mode: Some(request.pid_mode.clone().unwrap_or_else(|| "none".to_owned())),
        task_role_arn: request.task_role_arn.clone(),
        volumes: Some(request.volumes.clone().unwrap_or_default()),
        ..shape::DaemonTaskDefinition::default()
    }
}
