//! What a task on Fargate must have, and what it must not.
//!
//! Source: AWS, "Task definition differences for Fargate".

use api::ecs::{ContainerDefinition, TaskDefinition};
use domain::NetworkMode;
use wire::Fault;

use super::Frame;
use crate::faults::client;
use crate::launch::{check_fargate_size, unsupported};

/// Whether the definition can be run on Fargate; and why not.
pub fn check(document: &TaskDefinition, frame: Frame, uncapped_stop_timeout: bool) -> Result<(), Fault> {
    if frame.network_mode != NetworkMode::AwsVpc {
        return Err(client("Fargate only supports network mode ‘awsvpc’."));
    }
    check_fargate_size(frame.cpu_units, frame.memory_mib)?;
    if document.ipc_mode.is_some() {
        return Err(not_supported("ipcMode"));
    }
    if document.pid_mode.as_deref() == Some("host") {
        return Err(not_supported("pidMode host"));
    }
    if document.placement_constraints.as_ref().is_some_and(|constraints| !constraints.is_empty()) {
        return Err(not_supported("placementConstraints"));
    }
    for volume in document.volumes.iter().flatten() {
        if volume.host.as_ref().is_some_and(|host| host.source_path.is_some()) {
            return Err(client("host.sourcePath should not be set for volumes in Fargate."));
        }
        if volume.docker_volume_configuration.is_some() {
            return Err(not_supported("dockerVolumeConfiguration"));
        }
    }
    let mut containers = document.container_definitions.iter().flatten();
    containers.try_for_each(|container| check_container(container, uncapped_stop_timeout))
}

fn not_supported(what: &str) -> Fault {
    client(format!("Tasks using the Fargate launch type do not support {what}."))
}

fn check_container(container: &ContainerDefinition, uncapped_stop_timeout: bool) -> Result<(), Fault> {
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let refused = [
        ("privileged", container.privileged == Some(true)),
        ("links", has(&container.links)),
        ("disableNetworking", container.disable_networking == Some(true)),
        ("dockerSecurityOptions", has(&container.docker_security_options)),
        (
            "GPU resource requirements",
            container.resource_requirements.as_ref().is_some_and(|list| !list.is_empty()),
        ),
    ];
    for (what, given) in refused {
        if given {
            return Err(not_supported(what));
        }
    }
    if let Some(parameters) = &container.linux_parameters {
        let refused = [
            ("devices", parameters.devices.as_ref().is_some_and(|devices| !devices.is_empty())),
            ("sharedMemorySize", parameters.shared_memory_size.is_some()),
            ("maxSwap", parameters.max_swap.is_some()),
            ("swappiness", parameters.swappiness.is_some()),
        ];
        for (what, given) in refused {
            if given {
                return Err(not_supported(what));
            }
        }
        let added = parameters.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        for capability in added {
            if capability != "SYS_PTRACE" {
                return Err(not_supported(&format!("adding the kernel capability {capability}")));
            }
        }
    }
    for (field, value) in [("startTimeout", container.start_timeout), ("stopTimeout", container.stop_timeout)]
    {
        let most = if uncapped_stop_timeout && field == "stopTimeout" { i32::MAX } else { 120 };
        if value.is_some_and(|value| !(2..=most).contains(&value)) {
            return Err(client(format!("The {field} on Fargate must be between 2 and 120 seconds.")));
        }
    }
    if let Some(log) = &container.log_configuration {
        match log.log_driver.as_deref().unwrap_or_default() {
            "awslogs" => {
                let options = log.options.as_ref();
                if !options.is_some_and(|options| options.contains_key("awslogs-stream-prefix")) {
                    return Err(client("Log driver awslogs requires options: awslogs-stream-prefix"));
                }
            }
            "splunk" => return Err(unsupported("logConfiguration.logDriver splunk on Fargate")),
            other => return Err(not_supported(&format!("the log driver {other}"))),
        }
    }
    Ok(())
}
