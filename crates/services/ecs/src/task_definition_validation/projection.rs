//! What of a definition placement and dispatch read.

use api::ecs::{ContainerDefinition, TaskDefinition};
use domain::{
    ContainerProjection, HostPort, LaunchType, NetworkMode, TaskDefinitionProjection, TransportProtocol,
};
use wire::Fault;

use super::Frame;
use crate::launch;

/// Reads the projection off a definition whose defaults are filled in, and notes in the definition what it can run on.
pub fn project(
    document: &mut TaskDefinition,
    frame: Frame,
    requires_compatibilities: Vec<LaunchType>,
    fits_fargate: bool,
) -> Result<TaskDefinitionProjection, Fault> {
    let mut compatibilities = Vec::new();
    if frame.network_mode != NetworkMode::AwsVpc {
        compatibilities.push(LaunchType::External);
    }
    compatibilities.push(LaunchType::Ec2);
    if fits_fargate {
        compatibilities.push(LaunchType::Fargate);
    }
    document.compatibilities = Some(compatibilities.iter().map(ToString::to_string).collect());
    let containers = document.container_definitions.iter().flatten();
    let containers = containers
        .map(|container| project_container(container, frame.network_mode))
        .collect::<Result<_, _>>()?;
    let attributes = document.requires_attributes.iter().flatten();
    Ok(TaskDefinitionProjection {
        network_mode: frame.network_mode,
        requires_compatibilities,
        compatibilities,
        cpu_units: frame.cpu_units,
        memory_mib: frame.memory_mib,
        requires_attributes: attributes
            .filter_map(|attribute| Some((attribute.name.clone()?, attribute.value.clone())))
            .collect(),
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
