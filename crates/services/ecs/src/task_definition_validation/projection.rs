//! What of a definition placement and dispatch read.

use api::ecs::{ContainerDefinition, TaskDefinition};
use domain::{
    ContainerProjection, HostPort, LaunchType, NetworkMode, TaskDefinitionProjection, TransportProtocol,
};
use wire::Fault;

use super::size;
use crate::faults::client;
use crate::launch;

/// Reads the projection off a definition whose defaults are filled in.
pub fn project(document: &mut TaskDefinition) -> Result<TaskDefinitionProjection, Fault> {
    let network_mode = match document.network_mode.as_deref() {
        None => NetworkMode::Bridge,
        Some(word) => word.parse().map_err(|_| client(format!("Invalid network mode: {word}")))?,
    };
    let requires_compatibilities = document
        .requires_compatibilities
        .iter()
        .flatten()
        .map(|word| word.parse().map_err(|_| client(format!("Invalid compatibility: {word}"))))
        .collect::<Result<Vec<LaunchType>, Fault>>()?;
    let cpu_units = document.cpu.as_deref().map(size::cpu_units).transpose()?;
    let memory_mib = document.memory.as_deref().map(size::memory_mib).transpose()?;
    let mut compatibilities = vec![LaunchType::Ec2];
    let is_fargate =
        network_mode == NetworkMode::AwsVpc && launch::check_fargate_size(cpu_units, memory_mib).is_ok();
    if is_fargate {
        compatibilities.push(LaunchType::Fargate);
    }
    document.compatibilities = Some(compatibilities.iter().map(ToString::to_string).collect());
    let containers = document.container_definitions.iter().flatten();
    let containers =
        containers.map(|container| project_container(container, network_mode)).collect::<Result<_, _>>()?;
    Ok(TaskDefinitionProjection {
        network_mode,
        requires_compatibilities,
        compatibilities,
        cpu_units,
        memory_mib,
        requires_attributes: Vec::new(),
        member_of: document
            .placement_constraints
            .iter()
            .flatten()
            .filter_map(|constraint| constraint.expression.clone())
            .collect(),
        containers,
    })
}

fn project_container(
    container: &ContainerDefinition,
    network_mode: NetworkMode,
) -> Result<ContainerProjection, Fault> {
    let mut gpus = 0;
    for requirement in container.resource_requirements.iter().flatten() {
        gpus += i32::try_from(launch::gpus_of(requirement)?).unwrap_or(i32::MAX);
    }
    Ok(ContainerProjection {
        name: container.name.clone().unwrap_or_default(),
        image: container.image.clone().unwrap_or_default(),
        essential: container.essential.unwrap_or(true),
        cpu_units: container.cpu.unwrap_or(0),
        memory_mib: container.memory,
        memory_reservation_mib: container.memory_reservation,
        gpus,
        host_ports: if network_mode == NetworkMode::AwsVpc { Vec::new() } else { host_ports(container) },
        has_health_check: container.health_check.is_some(),
        docker_labels: container.docker_labels.clone().unwrap_or_default(),
    })
}

fn host_ports(container: &ContainerDefinition) -> Vec<HostPort> {
    let mappings = container.port_mappings.iter().flatten();
    mappings
        .filter_map(|mapping| {
            let port = u16::try_from(mapping.host_port?).ok().filter(|port| *port > 0)?;
            let protocol = match mapping.protocol.as_deref() {
                Some("udp") => TransportProtocol::Udp,
                _ => TransportProtocol::Tcp,
            };
            Some(HostPort { port, protocol })
        })
        .collect()
}
