//! Container instances.

use api::ecs as wire_shapes;
use domain::{Allocation, ContainerInstance, ContainerInstanceStatus, Resources, Task, TaskStatus};
use store::rows::{TASKS_HOLDING, container_instance_key};
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::{attribute, identifier, tag};

/// The attribute by which a registration says that the machine is Fargate capacity for every cluster.
pub const FARGATE_CAPACITY_ATTRIBUTE: &str = "roadstead.fargate-capacity";
/// The attribute by which a registration says in which zone the machine stands.
pub const AVAILABILITY_ZONE_ATTRIBUTE: &str = "roadstead.availability-zone";
/// The attribute by which a registration says how far the machine may be promised, in percent of what it has.
pub const OVER_COMMIT_ATTRIBUTE: &str = "roadstead.over-commit-percent";

/// The attribute by which a registration says to which Auto Scaling group, by name or ARN, the machine belongs.
pub const AUTO_SCALING_GROUP_ATTRIBUTE: &str = "roadstead.auto-scaling-group";

/// The name of the Auto Scaling group that the machine says it belongs to.
pub fn group(instance: &ContainerInstance) -> Option<&str> {
    instance.attribute(AUTO_SCALING_GROUP_ATTRIBUTE).flatten().map(domain::auto_scaling_group_name)
}

/// The id of a container instance of `cluster`, from an id or ARN.
pub fn id(call: &Call, cluster: &str, text: &str) -> Result<String, Fault> {
    identifier::id_in_cluster(call, cluster, text, "container-instance")
}

/// The container instance; `None` where there is none.
pub fn get(
    snapshot: &Snapshot,
    call: &Call,
    cluster: &str,
    id: &str,
) -> Option<Versioned<ContainerInstance>> {
    snapshot.get::<ContainerInstance>(&container_instance_key(&call.scope, cluster, id))
}

/// The tasks that hold resources of it.
pub fn tasks(snapshot: &Snapshot, instance: &ContainerInstance) -> Vec<Versioned<Task>> {
    snapshot.index::<Task>(TASKS_HOLDING, &[&instance.arn().to_string()], None).collect()
}

/// What its tasks hold.
pub fn held<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Resources {
    let mut held = Resources::default();
    for task in tasks {
        held.add(&task.resources);
    }
    held
}

/// What is not to be had for other tasks: that, and the ports that it found for them. AWS does not show these as reserved.
pub fn taken<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Resources {
    let mut taken = Resources::default();
    for task in tasks {
        taken.add(&task.taken());
    }
    taken
}

/// Adds to a transaction that what may be placed on the instance changes: placements that read the instance before
/// start over.
pub fn touch_allocation(snapshot: &Snapshot, transaction: &mut Transaction, instance: &ContainerInstance) {
    let key = container_instance_key(&instance.scope, &instance.cluster, &instance.id);
    match snapshot.get::<Allocation>(&key) {
        Some(row) => {
            let next = Allocation { counter: row.counter.saturating_add(1), ..row.value.as_ref().clone() };
            transaction.replace(&row, next);
        }
        None => {
            transaction.insert(Allocation {
                scope: instance.scope.clone(),
                cluster: instance.cluster.clone(),
                container_instance: instance.id.clone(),
                counter: 1,
            });
        }
    }
}

/// Adds to a transaction that the instance gets another status, and gives it as it is then. Why it is in a status is said of
/// no status that a caller can set: the reason goes.
pub fn set_status(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    there: &Versioned<ContainerInstance>,
    status: ContainerInstanceStatus,
) -> ContainerInstance {
    let mut next = ContainerInstance::clone(there);
    if next.status != status {
        next.status = status;
        next.status_reason = None;
        next.version = next.version.saturating_add(1);
        transaction.replace(there, next.clone());
        touch_allocation(snapshot, transaction, &next);
    }
    next
}

/// The instance as the API shows it.
pub fn describe(
    snapshot: &Snapshot,
    instance: &ContainerInstance,
    with_tags: bool,
    with_health: bool,
) -> wire_shapes::ContainerInstance {
    let tasks = tasks(snapshot, instance);
    // Fargate tasks are on the machine but not of the instance: they count in what is left, not among its tasks.
    let of_instance = |statuses: &[TaskStatus]| {
        let count = tasks
            .iter()
            .filter(|task| {
                task.launch_type != domain::LaunchType::Fargate && statuses.contains(&task.last_status)
            })
            .count();
        Some(i32::try_from(count).unwrap_or(i32::MAX))
    };
    let remaining = instance.remaining(&held(tasks.iter().map(|task| task.value.as_ref())));
    wire_shapes::ContainerInstance {
        container_instance_arn: Some(instance.arn().to_string()),
        ec2_instance_id: Some(instance.ec2_instance_id.clone()),
        capacity_provider_name: instance.capacity_provider.clone(),
        version: Some(instance.version),
        version_info: Some(wire_shapes::VersionInfo {
            agent_version: instance.version_info.agent_version.clone(),
            agent_hash: instance.version_info.agent_hash.clone(),
            docker_version: instance.version_info.docker_version.clone(),
        }),
        remaining_resources: Some(describe_resources(&remaining)),
        registered_resources: Some(describe_resources(&instance.registered)),
        status: Some(instance.status.to_string()),
        status_reason: instance.status_reason.clone(),
        agent_connected: Some(instance.agent_connected),
        running_tasks_count: of_instance(&[TaskStatus::Running]),
        pending_tasks_count: of_instance(&[
            TaskStatus::Provisioning,
            TaskStatus::Pending,
            TaskStatus::Activating,
        ]),
        agent_update_status: None,
        attributes: Some(
            instance.attributes.iter().map(|attribute| attribute::describe(attribute, None)).collect(),
        ),
        registered_at: Some(instance.registered_at),
        attachments: Some(Vec::new()),
        tags: Some(if with_tags { tag::describe(&instance.tags) } else { Vec::new() }),
        health_status: with_health.then(|| health(snapshot, instance)),
        gpu_devices: None,
    }
}

fn health(snapshot: &Snapshot, instance: &ContainerInstance) -> wire_shapes::ContainerInstanceHealthStatus {
    let daemons = super::daemon::health(snapshot, instance);
    let status = if instance.agent_connected { "OK" } else { "INSUFFICIENT_DATA" };
    let detail = |kind: &str, status: &str, reason: Option<String>| wire_shapes::InstanceHealthCheckResult {
        type_: Some(kind.to_owned()),
        status: Some(status.to_owned()),
        last_updated: Some(instance.registered_at),
        last_status_change: Some(instance.registered_at),
        status_reason: reason,
    };
    let mut details = vec![detail("CONTAINER_RUNTIME", status, None)];
    let impaired = matches!(daemons, Some(Err(_)));
    match daemons {
        None => {}
        Some(Ok(())) => details.push(detail("DAEMON", "OK", None)),
        Some(Err(reason)) => details.push(detail("DAEMON", "IMPAIRED", Some(reason))),
    }
    wire_shapes::ContainerInstanceHealthStatus {
        overall_status: Some(if impaired { "IMPAIRED" } else { status }.to_owned()),
        details: Some(details),
    }
}

fn describe_resources(resources: &Resources) -> Vec<wire_shapes::Resource> {
    let integer = |name: &str, value: i64| wire_shapes::Resource {
        name: Some(name.to_owned()),
        type_: Some("INTEGER".to_owned()),
        double_value: Some(0.0),
        long_value: Some(0),
        integer_value: Some(i32::try_from(value).unwrap_or(if value < 0 { 0 } else { i32::MAX })),
        string_set_value: None,
    };
    let set = |name: &str, values: Vec<String>| wire_shapes::Resource {
        name: Some(name.to_owned()),
        type_: Some("STRINGSET".to_owned()),
        double_value: Some(0.0),
        long_value: Some(0),
        integer_value: Some(0),
        string_set_value: Some(values),
    };
    let texts = |ports: &std::collections::BTreeSet<u16>| ports.iter().map(u16::to_string).collect();
    let mut described = vec![
        integer("CPU", resources.cpu_units),
        integer("MEMORY", resources.memory_mib),
        set("PORTS", texts(&resources.ports.tcp)),
        set("PORTS_UDP", texts(&resources.ports.udp)),
    ];
    if !resources.gpu_ids.is_empty() {
        described.push(set("GPU", resources.gpu_ids.iter().cloned().collect()));
    }
    described
}

/// Reads the resources and devices of a registration.
pub fn parse_resources(
    resources: Vec<wire_shapes::Resource>,
    devices: Vec<wire_shapes::PlatformDevice>,
) -> Result<Resources, Fault> {
    let mut parsed = Resources::default();
    for resource in resources {
        let name = resource.name.unwrap_or_default();
        let amount = || {
            let value = resource.integer_value.map_or(0, i64::from).max(resource.long_value.unwrap_or(0));
            if value >= 0 {
                Ok(value)
            } else {
                Err(crate::faults::invalid(format!("Invalid resource value: {name}")))
            }
        };
        let ports = || {
            let mut ports = std::collections::BTreeSet::new();
            for port in resource.string_set_value.iter().flatten() {
                ports.insert(
                    port.parse::<u16>()
                        .map_err(|_| crate::faults::invalid(format!("Invalid port: {port}")))?,
                );
            }
            Ok::<_, Fault>(ports)
        };
        match name.as_str() {
            "CPU" => parsed.cpu_units = amount()?,
            "MEMORY" => parsed.memory_mib = amount()?,
            "PORTS" => parsed.ports.tcp = ports()?,
            "PORTS_UDP" => parsed.ports.udp = ports()?,
            // What a machine has and we do not place by is none of a task's business.
            _ => {}
        }
    }
    for device in devices {
        if device.type_.as_deref() == Some("GPU") {
            parsed.gpu_ids.insert(device.id.unwrap_or_default());
        }
    }
    Ok(parsed)
}

/// Whether the instance is listed and may be named in operations.
pub fn is_registered(instance: &ContainerInstance) -> bool {
    instance.status != ContainerInstanceStatus::Inactive
}
