//! `requiresAttributes`: what a container instance must be able to do to run a task of the definition.
//!
//! Source: the names are those that agents announce; which member asks for which is from the notes on agent and Docker
//! API versions at the members ("requires version 1.18 of the Docker Remote API" and the like).

use std::collections::BTreeMap;

use api::ecs::{Attribute, ContainerDefinition, TaskDefinition};
use domain::NetworkMode;

use super::Frame;

/// Task-level CPU units above which an agent must say that it can. Source: "Task size".
const CPU_UNITS: i32 = 10_240;

#[derive(Default)]
struct Required(BTreeMap<String, Option<String>>);

impl Required {
    fn agent(&mut self, capability: &str) {
        self.0.insert(format!("com.amazonaws.ecs.capability.{capability}"), None);
    }

    fn docker(&mut self, version: &str) {
        self.agent(&format!("docker-remote-api.{version}"));
    }

    fn feature(&mut self, capability: &str) {
        self.0.insert(format!("ecs.capability.{capability}"), None);
    }
}

/// The attributes, ordered by name.
pub fn required(document: &TaskDefinition, frame: Frame) -> Vec<Attribute> {
    let mut required = Required::default();
    let has_execution_role = document.execution_role_arn.is_some();
    if document.task_role_arn.is_some() {
        required.docker("1.17");
        match frame.network_mode {
            NetworkMode::Host => required.agent("task-iam-role-network-host"),
            _ => required.agent("task-iam-role"),
        }
    }
    if frame.network_mode == NetworkMode::AwsVpc {
        required.docker("1.18");
        required.feature("task-eni");
    }
    if frame.cpu_units.is_some_and(|units| units > CPU_UNITS) {
        required.feature("increased-task-cpu-limit");
    }
    if document.pid_mode.is_some() || document.ipc_mode.is_some() {
        required.feature("pid-ipc-namespace-sharing");
    }
    for volume in document.volumes.iter().flatten() {
        if let Some(docker) = &volume.docker_volume_configuration {
            required.docker("1.25");
            required.feature(&format!("docker-plugin.{}", docker.driver.as_deref().unwrap_or("local")));
        }
    }
    let architecture =
        document.runtime_platform.as_ref().and_then(|platform| platform.cpu_architecture.as_deref());
    if let Some(architecture) = architecture {
        let value = architecture.to_ascii_lowercase();
        required.0.insert("ecs.cpu-architecture".to_owned(), Some(value));
    }
    for container in document.container_definitions.iter().flatten() {
        of_container(&mut required, container, has_execution_role);
    }
    required
        .0
        .into_iter()
        .map(|(name, value)| Attribute { name: Some(name), value, ..Attribute::default() })
        .collect()
}

fn of_container(required: &mut Required, container: &ContainerDefinition, has_execution_role: bool) {
    if container.privileged == Some(true) {
        required.agent("privileged-container");
    }
    if let Some(log) = &container.log_configuration {
        let driver = log.log_driver.as_deref().unwrap_or_default();
        required.docker(if driver == "awslogs" { "1.19" } else { "1.18" });
        required.agent(&format!("logging-driver.{driver}"));
        if driver == "awslogs" && has_execution_role {
            required.feature("execution-role-awslogs");
        }
    }
    let image = container.image.as_deref().unwrap_or_default();
    if image.contains(".dkr.ecr.") {
        required.agent("ecr-auth");
        if has_execution_role {
            required.feature("execution-role-ecr-pull");
        }
    }
    if container.memory_reservation.is_some() {
        required.docker("1.21");
    }
    if container.docker_labels.is_some() || container.ulimits.as_ref().is_some_and(|list| !list.is_empty()) {
        required.docker("1.18");
    }
    if container.health_check.is_some() {
        required.docker("1.24");
        required.feature("container-health-check");
    }
    let waits = container.depends_on.as_ref().is_some_and(|list| !list.is_empty());
    if waits || container.start_timeout.is_some() || container.stop_timeout.is_some() {
        required.feature("container-ordering");
    }
    if container.restart_policy.as_ref().is_some_and(|policy| policy.enabled == Some(true)) {
        required.feature("container-restart-policy");
    }
    let mut mappings = container.port_mappings.iter().flatten();
    if mappings.any(|mapping| mapping.container_port_range.is_some()) {
        required.feature("network.container-port-range");
    }
    if let Some(parameters) = &container.linux_parameters {
        if parameters.init_process_enabled == Some(true) {
            required.docker("1.25");
        }
        if parameters.shared_memory_size.is_some() || parameters.tmpfs.is_some() {
            required.docker("1.22");
        }
    }
    if container.system_controls.as_ref().is_some_and(|list| !list.is_empty()) {
        required.docker("1.24");
    }
}
