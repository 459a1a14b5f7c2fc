//! Overrides of a launch, and what a task takes once they are applied.

use api::ecs::{ContainerOverride, ResourceRequirement, TaskOverride};
use domain::{
    ContainerProjection, LaunchType, NetworkMode, Ports, Resources, TaskDefinition, TransportProtocol,
};
use wire::Fault;

use super::{check_role, fargate, unsupported};
use crate::faults::{client, invalid};
use crate::task_definition_validation::size;

/// Characters of all overrides as JSON. Source: RunTask, `overrides`.
const OVERRIDES_CHARACTERS: usize = 8192;
/// Least memory of a container in MiB. Source: ContainerDefinition, `memory`.
const LEAST_MEMORY_MIB: i32 = 6;

/// What a task of the launch takes.
#[derive(Debug)]
pub struct Sized {
    /// As stored: every container is named.
    pub overrides: TaskOverride,
    /// On the host.
    pub resources: Resources,
    /// Task level.
    pub cpu_units: Option<i32>,
    /// Task level.
    pub memory_mib: Option<i32>,
    /// Whole GPUs.
    pub gpus: usize,
    /// In GiB, on Fargate.
    pub ephemeral_storage_gib: Option<i32>,
}

/// Checks overrides against the definition and sums up.
pub fn check(
    given: Option<&TaskOverride>,
    definition: &TaskDefinition,
    launch_type: LaunchType,
) -> Result<Sized, Fault> {
    let empty = TaskOverride::default();
    let given = given.unwrap_or(&empty);
    if wire::json::to_string(given).chars().count() > OVERRIDES_CHARACTERS {
        return Err(invalid(format!("Container Overrides length must be at most {OVERRIDES_CHARACTERS}")));
    }
    if given.inference_accelerator_overrides.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(unsupported("overrides.inferenceAcceleratorOverrides"));
    }
    for (field, role) in
        [("taskRoleArn", &given.task_role_arn), ("executionRoleArn", &given.execution_role_arn)]
    {
        if let Some(role) = role {
            check_role(field, role)?;
        }
    }
    let projection = &definition.projection;
    let of_containers =
        container_overrides(given, projection.containers.iter().map(|there| there.name.as_str()))?;
    let cpu_units = match &given.cpu {
        Some(text) => Some(size::cpu_units(text)?),
        None => projection.cpu_units,
    };
    let memory_mib = match &given.memory {
        Some(text) => Some(size::memory_mib(text)?),
        None => projection.memory_mib,
    };
    if launch_type == LaunchType::Fargate {
        fargate::check_size(cpu_units, memory_mib).map_err(|fault| invalid(fault.message()))?;
    }
    let (resources, gpus) = resources(definition, &of_containers, cpu_units, memory_mib)?;
    let ephemeral_storage_gib = ephemeral_storage(given, definition, launch_type)?;
    let overrides = TaskOverride {
        container_overrides: Some(of_containers),
        inference_accelerator_overrides: Some(Vec::new()),
        ..given.clone()
    };
    Ok(Sized { overrides, resources, cpu_units, memory_mib, gpus, ephemeral_storage_gib })
}

/// One override a container, in the definition's order.
fn container_overrides<'a>(
    given: &TaskOverride,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<ContainerOverride>, Fault> {
    let mut all: Vec<ContainerOverride> =
        names.map(|name| ContainerOverride { name: Some(name.to_owned()), ..Default::default() }).collect();
    let mut seen = std::collections::BTreeSet::new();
    for container in given.container_overrides.iter().flatten() {
        let name = container.name.as_deref().unwrap_or_default();
        let Some(there) = all.iter_mut().find(|there| there.name.as_deref() == Some(name)) else {
            return Err(invalid(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        };
        if !seen.insert(name.to_owned()) {
            return Err(invalid(format!("Container named {name} is overridden more than once.")));
        }
        check_container(container)?;
        there.clone_from(container);
    }
    Ok(all)
}

fn check_container(container: &ContainerOverride) -> Result<(), Fault> {
    let name = container.name.as_deref().unwrap_or_default();
    if container.environment_files.as_ref().is_some_and(|files| !files.is_empty()) {
        return Err(unsupported("overrides.containerOverrides.environmentFiles"));
    }
    for pair in container.environment.iter().flatten() {
        if pair.name.as_deref().unwrap_or_default().is_empty() {
            return Err(invalid(format!("Environment variable name can not be blank for container {name}.")));
        }
        if pair.name.as_deref().is_some_and(|name| name.contains(['\0', '='])) {
            return Err(invalid(format!("Environment variable name is invalid for container {name}.")));
        }
    }
    if container.cpu.is_some_and(|cpu| cpu < 0) {
        return Err(invalid(format!("Invalid 'cpu' override for container '{name}'.")));
    }
    for (field, value) in [("memory", container.memory), ("memoryReservation", container.memory_reservation)]
    {
        if value.is_some_and(|value| value < LEAST_MEMORY_MIB) {
            return Err(invalid(format!(
                "Invalid '{field}' override for container '{name}': it must be at least {LEAST_MEMORY_MIB}."
            )));
        }
    }
    for requirement in container.resource_requirements.iter().flatten() {
        gpus_of(requirement)?;
    }
    Ok(())
}

/// Whole GPUs that a requirement asks for.
pub fn gpus_of(requirement: &ResourceRequirement) -> Result<usize, Fault> {
    if requirement.sharing_strategy.is_some() {
        return Err(unsupported("resourceRequirements.sharingStrategy"));
    }
    match requirement.type_.as_deref() {
        Some("GPU") => {
            let value = requirement.value.as_deref().unwrap_or_default();
            value.parse::<usize>().ok().filter(|gpus| (1..=64).contains(gpus)).ok_or_else(|| {
                client(format!(
                    "Invalid setting for GPU resource requirement: {value}. It must be a number of GPUs."
                ))
            })
        }
        other => Err(unsupported(&format!("resourceRequirements of type {}", other.unwrap_or_default()))),
    }
}

fn resources(
    definition: &TaskDefinition,
    overrides: &[ContainerOverride],
    cpu_units: Option<i32>,
    memory_mib: Option<i32>,
) -> Result<(Resources, usize), Fault> {
    let projection = &definition.projection;
    let mut sum = Resources::default();
    let mut gpus = 0;
    for (container, given) in projection.containers.iter().zip(overrides) {
        let memory = given.memory.or(container.memory_mib);
        let reservation = given.memory_reservation.or(container.memory_reservation_mib);
        if let (Some(memory), Some(reservation)) = (memory, reservation)
            && reservation > memory
        {
            return Err(invalid(format!(
                "Invalid setting for container '{}'. The 'memory' value must be greater than or equal to \
                 'memoryReservation'.",
                container.name
            )));
        }
        sum.cpu_units += i64::from(given.cpu.unwrap_or(container.cpu_units));
        sum.memory_mib += i64::from(reservation.or(memory).unwrap_or(0));
        gpus += match &given.resource_requirements {
            Some(requirements) => requirements.iter().map(gpus_of).sum::<Result<usize, Fault>>()?,
            None => usize::try_from(container.gpus).unwrap_or(0),
        };
        if projection.network_mode != NetworkMode::AwsVpc {
            take_ports(&mut sum.ports, container);
        }
    }
    if let Some(cpu) = cpu_units {
        if sum.cpu_units > i64::from(cpu) {
            return Err(invalid(
                "The total amount of CPU reserved for all containers within a task must be lower than or equal to \
                 the task-level CPU value.",
            ));
        }
        sum.cpu_units = i64::from(cpu);
    }
    if let Some(memory) = memory_mib {
        if sum.memory_mib > i64::from(memory) {
            return Err(invalid(
                "The total amount of memory reserved for all containers within a task must be lower than or equal to \
                 the task-level memory value.",
            ));
        }
        sum.memory_mib = i64::from(memory);
    }
    Ok((sum, gpus))
}

fn take_ports(ports: &mut Ports, container: &ContainerProjection) {
    for port in &container.host_ports {
        match port.protocol {
            TransportProtocol::Tcp => ports.tcp.insert(port.port),
            TransportProtocol::Udp => ports.udp.insert(port.port),
        };
    }
}

fn ephemeral_storage(
    given: &TaskOverride,
    definition: &TaskDefinition,
    launch_type: LaunchType,
) -> Result<Option<i32>, Fault> {
    let own = given.ephemeral_storage.as_ref().and_then(|storage| storage.size_in_gi_b);
    if launch_type != LaunchType::Fargate {
        return match own {
            None => Ok(None),
            Some(_) => Err(invalid("Ephemeral storage is only supported for tasks hosted on Fargate.")),
        };
    }
    if let Some(own) = own {
        size::ephemeral_storage_gib(own)?;
    }
    let registered = crate::resources::task_definition::document(definition)?
        .ephemeral_storage
        .and_then(|storage| storage.size_in_gi_b);
    Ok(Some(own.or(registered).unwrap_or(size::DEFAULT_EPHEMERAL_STORAGE_GIB)))
}
