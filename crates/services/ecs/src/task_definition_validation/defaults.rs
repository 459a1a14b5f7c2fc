//! What AWS fills in where a definition is silent.

use api::ecs::{
    ContainerDefinition, HostVolumeProperties, RegisterTaskDefinitionRequest, TaskDefinition, Volume,
};
use domain::NetworkMode;

use super::Frame;

/// The definition as Describe shows it, less what registration itself adds (revision, status, attributes, moments).
pub fn document(request: &RegisterTaskDefinitionRequest, frame: Frame) -> TaskDefinition {
    let containers = request.container_definitions.iter().flatten();
    TaskDefinition {
        family: request.family.clone(),
        task_role_arn: request.task_role_arn.clone(),
        execution_role_arn: request.execution_role_arn.clone(),
        network_mode: request.network_mode.clone(),
        container_definitions: Some(
            containers.map(|container| with_defaults(container, frame.network_mode)).collect(),
        ),
        volumes: Some(request.volumes.iter().flatten().map(volume).collect()),
        placement_constraints: Some(request.placement_constraints.clone().unwrap_or_default()),
        requires_compatibilities: request.requires_compatibilities.clone(),
        // "1 vCPU" and "2 GB" are shown as the numbers that they mean.
        cpu: frame.cpu_units.map(|units| units.to_string()),
        memory: frame.memory_mib.map(|mib| mib.to_string()),
        pid_mode: request.pid_mode.clone(),
        ipc_mode: request.ipc_mode.clone(),
        ephemeral_storage: request.ephemeral_storage.clone(),
        runtime_platform: request.runtime_platform.clone(),
        enable_fault_injection: request.enable_fault_injection,
        trusted_execution_configuration: request.trusted_execution_configuration.clone(),
        ..TaskDefinition::default()
    }
}

/// A volume that says nothing of where it is lies on the host, in a place that goes with the task.
fn volume(given: &Volume) -> Volume {
    let mut volume = given.clone();
    if volume.docker_volume_configuration.is_none() {
        volume.host.get_or_insert_with(HostVolumeProperties::default);
    }
    if let Some(docker) = &mut volume.docker_volume_configuration {
        docker.scope.get_or_insert_with(|| "task".to_owned());
        docker.driver.get_or_insert_with(|| "local".to_owned());
    }
    volume
}

fn with_defaults(given: &ContainerDefinition, network_mode: NetworkMode) -> ContainerDefinition {
    let mut container = given.clone();
    container.cpu.get_or_insert(0);
    container.essential.get_or_insert(true);
    container.environment.get_or_insert_default();
    container.mount_points.get_or_insert_default();
    container.volumes_from.get_or_insert_default();
    container.system_controls.get_or_insert_default();
    for mapping in container.port_mappings.get_or_insert_default() {
        mapping.protocol.get_or_insert_with(|| "tcp".to_owned());
        match network_mode {
            // The host's port is the container's: both see the same interface.
            NetworkMode::AwsVpc | NetworkMode::Host if mapping.container_port_range.is_none() => {
                mapping.host_port = mapping.container_port;
            }
            _ if mapping.container_port_range.is_none() => {
                mapping.host_port.get_or_insert(0);
            }
            _ => {}
        }
    }
    if let Some(check) = &mut container.health_check {
        check.interval.get_or_insert(30);
        check.timeout.get_or_insert(5);
        check.retries.get_or_insert(3);
    }
    container
}
