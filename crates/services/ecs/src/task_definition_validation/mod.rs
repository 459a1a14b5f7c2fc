//! What RegisterTaskDefinition checks and fills in: every member of the model.
//!
//! | file | what it looks at |
//! | --- | --- |
//! | `unsupported.rs` | what this release cannot do anywhere: refused by the name of the field |
//! | `containers.rs`, `linux.rs` | each container by itself |
//! | `ports.rs`, `volumes.rs`, `dependencies.rs` | containers against each other and the task |
//! | `fargate.rs` | what a task on Fargate must and must not have |
//! | `size.rs` | task-level CPU, memory and storage |
//! | `defaults.rs` | what AWS fills in where a definition is silent |
//! | `attributes.rs` | `requiresAttributes`: what a container instance must be able to do |
//! | `projection.rs` | what placement and dispatch read |
//! | `daemon.rs` | daemon task definitions: turned into plain ones |
//!
//! Differs from AWS:
//! - Refused with a `ClientException` that names the field: environment files (Amazon S3), secrets and private registry
//!   credentials (Systems Manager, Secrets Manager), volumes on EFS, FSx, S3 Files and EBS, App Mesh, FireLens, Elastic
//!   Inference, Neuron, GPU sharing, credential specs, fault injection, trusted execution beyond SHARED, and on Fargate
//!   the log drivers splunk and awsfirelens.
//! - No execution role is asked for on Fargate: nothing here needs one.
//! - The wording is AWS's where a public source shows it; that of rare limits (ranges of health checks, restart policy,
//!   ulimits, tmpfs, capabilities, timeouts, lengths) is ours.

mod attributes;
mod containers;
pub mod daemon;
mod defaults;
mod dependencies;
mod fargate;
mod linux;
mod ports;
mod projection;
pub mod size;
mod unsupported;
mod volumes;

use api::ecs::{RegisterTaskDefinitionRequest, TaskDefinition};
use base::limits::{CONTAINERS_PER_TASK_DEFINITION, TASK_DEFINITION_BYTES};
use domain::{LaunchType, NetworkMode, TaskDefinitionProjection};
use wire::Fault;

use crate::faults::client;
use crate::launch;
use crate::resources::identifier;

/// A definition that passed.
#[derive(Debug)]
pub struct Validated {
    /// As it is stored and shown.
    pub document: TaskDefinition,
    /// What the scheduler reads.
    pub projection: TaskDefinitionProjection,
}

/// What the whole task says that its containers are checked against.
#[derive(Clone, Copy, Debug)]
struct Frame {
    network_mode: NetworkMode,
    cpu_units: Option<i32>,
    memory_mib: Option<i32>,
}

/// Checks a definition and fills in what AWS fills in.
pub fn validate(request: &RegisterTaskDefinitionRequest) -> Result<Validated, Fault> {
    let length = wire::json::to_string(request).len();
    if length > TASK_DEFINITION_BYTES {
        return Err(client(format!(
            "Actual length: '{length}'. Max allowed length is '{TASK_DEFINITION_BYTES}' bytes."
        )));
    }
    check_family(request.family.as_deref().unwrap_or_default())?;
    let containers = request.container_definitions.as_deref().unwrap_or_default();
    if containers.is_empty() {
        return Err(client("Container list cannot be empty."));
    }
    if containers.len() > CONTAINERS_PER_TASK_DEFINITION {
        return Err(client("Too many containers."));
    }
    unsupported::check(request)?;
    let frame = frame(request)?;
    check_task(request)?;
    containers.iter().try_for_each(|container| containers::check(container, frame))?;
    containers::check_together(containers)?;
    ports::check(containers, frame.network_mode)?;
    volumes::check(request.volumes.as_deref().unwrap_or_default(), containers)?;
    dependencies::check(containers)?;
    containers::check_sums(containers, frame)?;

    let mut document = defaults::document(request, frame);
    let tags = request.tags.as_deref().unwrap_or_default();
    let fargate = fargate::check(&document, frame, launch::wishes::uncapped_stop_timeout(tags));
    let wanted = compatibilities(request)?;
    if wanted.contains(&LaunchType::Fargate) {
        fargate.clone()?;
    }
    if wanted.contains(&LaunchType::External) && frame.network_mode == NetworkMode::AwsVpc {
        return Err(client("Tasks using the External launch type do not support networkMode=awsvpc."));
    }
    document.requires_attributes = Some(attributes::required(&document, frame));
    let projection = projection::project(&mut document, frame, wanted, fargate.is_ok())?;
    Ok(Validated { document, projection })
}

fn check_family(family: &str) -> Result<(), Fault> {
    if family.is_empty() {
        return Err(client("Family should not be null or empty."));
    }
    if family.len() > 255 {
        return Err(client("Family should not be longer than 255 characters."));
    }
    if !identifier::is_name(family) {
        return Err(client(
            "Family contains invalid characters. Allowed characters are letters, numbers, hyphens, and underscores.",
        ));
    }
    Ok(())
}

fn frame(request: &RegisterTaskDefinitionRequest) -> Result<Frame, Fault> {
    let network_mode = match request.network_mode.as_deref() {
        None => NetworkMode::Bridge,
        Some(word) => word.parse().map_err(|_| client(format!("Invalid network mode: {word}")))?,
    };
    Ok(Frame {
        network_mode,
        cpu_units: request.cpu.as_deref().map(size::cpu_units).transpose()?,
        memory_mib: request.memory.as_deref().map(size::memory_mib).transpose()?,
    })
}

fn compatibilities(request: &RegisterTaskDefinitionRequest) -> Result<Vec<LaunchType>, Fault> {
    let mut wanted = Vec::new();
    for word in request.requires_compatibilities.iter().flatten() {
        let launch_type = word.parse().map_err(|_| client(format!("Invalid compatibility: {word}")))?;
        if launch_type == LaunchType::ManagedInstances {
            return Err(launch::unsupported("requiresCompatibilities MANAGED_INSTANCES"));
        }
        if !wanted.contains(&launch_type) {
            wanted.push(launch_type);
        }
    }
    Ok(wanted)
}

fn check_task(request: &RegisterTaskDefinitionRequest) -> Result<(), Fault> {
    for (field, role) in
        [("taskRoleArn", &request.task_role_arn), ("executionRoleArn", &request.execution_role_arn)]
    {
        if let Some(role) = role {
            launch::check_role(field, role)?;
        }
    }
    one_of("pidMode", request.pid_mode.as_deref(), &["host", "task"])?;
    one_of("ipcMode", request.ipc_mode.as_deref(), &["host", "task", "none"])?;
    if let Some(storage) = &request.ephemeral_storage {
        size::ephemeral_storage_gib(storage.size_in_gi_b.unwrap_or_default())?;
    }
    if let Some(platform) = &request.runtime_platform {
        one_of(
            "runtimePlatform.cpuArchitecture",
            platform.cpu_architecture.as_deref(),
            &["X86_64", "ARM64"],
        )?;
        if let Some(family) = platform.operating_system_family.as_deref()
            && family != "LINUX"
        {
            return Err(launch::unsupported(&format!("runtimePlatform.operatingSystemFamily {family}")));
        }
    }
    let constraints = request.placement_constraints.as_deref().unwrap_or_default();
    if constraints.len() > 10 {
        return Err(client("A task definition can have at most 10 placement constraints."));
    }
    for constraint in constraints {
        one_of(
            "placementConstraints.type",
            Some(constraint.type_.as_deref().unwrap_or_default()),
            &["memberOf"],
        )?;
        launch::check_expression(constraint.expression.as_deref())?;
    }
    Ok(())
}

/// Refuses a word that is none of those allowed. The model's own check comes first for most; stored values are read
/// again here all the same.
fn one_of(field: &str, word: Option<&str>, allowed: &[&str]) -> Result<(), Fault> {
    match word {
        Some(word) if !allowed.contains(&word) => Err(client(format!("Invalid value for {field}: {word}"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
