//! What AWS fills in where a definition is silent.

use api::ecs::{ContainerDefinition, RegisterTaskDefinitionRequest, TaskDefinition};

/// The definition as Describe shows it, less what registration itself adds (revision, status, attributes, moments).
pub fn document(request: &RegisterTaskDefinitionRequest) -> TaskDefinition {
    let network_mode = request.network_mode.clone();
    let containers = request.container_definitions.iter().flatten();
    TaskDefinition {
        family: request.family.clone(),
        task_role_arn: request.task_role_arn.clone(),
        execution_role_arn: request.execution_role_arn.clone(),
        network_mode: network_mode.clone(),
        container_definitions: Some(
            containers.map(|container| with_defaults(container, network_mode.as_deref())).collect(),
        ),
        volumes: Some(request.volumes.clone().unwrap_or_default()),
        placement_constraints: Some(request.placement_constraints.clone().unwrap_or_default()),
        requires_compatibilities: request.requires_compatibilities.clone(),
        cpu: request.cpu.clone(),
        memory: request.memory.clone(),
        pid_mode: request.pid_mode.clone(),
        ipc_mode: request.ipc_mode.clone(),
        ephemeral_storage: request.ephemeral_storage.clone(),
        runtime_platform: request.runtime_platform.clone(),
        enable_fault_injection: request.enable_fault_injection,
        ..TaskDefinition::default()
    }
}

fn with_defaults(given: &ContainerDefinition, network_mode: Option<&str>) -> ContainerDefinition {
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
            Some("awsvpc" | "host") if mapping.container_port_range.is_none() => {
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
