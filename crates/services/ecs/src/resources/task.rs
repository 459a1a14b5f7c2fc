//! Tasks.

use api::ecs as wire_shapes;
use domain::{Attachment, Cluster, LaunchType, Task, TaskContainer};
use store::rows::task_key;
use store::{Snapshot, Versioned};
use wire::{Call, Fault};

use super::{identifier, tag};

/// The id of a task of `cluster`, from an id or ARN.
pub fn id(call: &Call, cluster: &str, text: &str) -> Result<String, Fault> {
    identifier::id_in_cluster(call, cluster, text, "task")
}

/// The task; `None` where there is none.
pub fn get(snapshot: &Snapshot, call: &Call, cluster: &str, id: &str) -> Option<Versioned<Task>> {
    snapshot.get::<Task>(&task_key(&call.scope, cluster, id))
}

/// The task as the API shows it.
pub fn describe(task: &Task, with_tags: bool) -> Result<wire_shapes::Task, Fault> {
    let times = &task.times;
    let overrides = if task.overrides_document.is_empty() {
        wire_shapes::TaskOverride {
            container_overrides: Some(
                task.containers
                    .iter()
                    .map(|container| wire_shapes::ContainerOverride {
                        name: Some(container.name.clone()),
                        ..Default::default()
                    })
                    .collect(),
            ),
            inference_accelerator_overrides: Some(Vec::new()),
            ..Default::default()
        }
    } else {
        wire::json::from_str(&task.overrides_document).map_err(Fault::server)?
    };
    let is_fargate = task.launch_type == LaunchType::Fargate;
    Ok(wire_shapes::Task {
        attachments: Some(task.attachments.iter().map(describe_attachment).collect()),
        attributes: Some(task.attributes.iter().map(describe_attribute).collect()),
        availability_zone: task.availability_zone.clone(),
        capacity_provider_name: task.capacity_provider.clone(),
        cluster_arn: Some(Cluster::arn_of(&task.scope, &task.cluster).to_string()),
        connectivity: task.connectivity.map(|connectivity| connectivity.to_string()),
        connectivity_at: times.connectivity_at,
        container_instance_arn: task
            .container_instance
            .as_ref()
            .filter(|_| !is_fargate)
            .map(ToString::to_string),
        containers: Some(
            task.containers.iter().map(|container| describe_container(task, container)).collect(),
        ),
        cpu: Some(task_amount(task.cpu_units, task.resources.cpu_units)),
        created_at: Some(times.created_at),
        desired_status: Some(task.desired_status.to_string()),
        enable_execute_command: Some(task.enable_execute_command),
        ephemeral_storage: task
            .ephemeral_storage_gib
            .map(|size| wire_shapes::EphemeralStorage { size_in_gi_b: Some(size) }),
        execution_stopped_at: times.execution_stopped_at,
        fargate_ephemeral_storage: task
            .ephemeral_storage_gib
            .map(|size| wire_shapes::TaskEphemeralStorage { size_in_gi_b: Some(size), kms_key_id: None }),
        group: Some(task.group.clone()),
        health_status: Some(task.health_status.to_string()),
        inference_accelerators: Some(Vec::new()),
        last_status: Some(task.last_status.to_string()),
        launch_type: Some(task.launch_type.to_string()),
        memory: Some(task_amount(task.memory_mib, task.resources.memory_mib)),
        overrides: Some(overrides),
        platform_family: task.platform_family.clone(),
        platform_version: task.platform_version.clone(),
        pull_started_at: times.pull_started_at,
        pull_stopped_at: times.pull_stopped_at,
        started_at: times.started_at,
        started_by: task.started_by.clone(),
        stop_code: task.stop_code.map(|code| code.to_string()),
        stopped_at: times.stopped_at,
        stopped_reason: task.stopped_reason.clone(),
        stopping_at: times.stopping_at,
        tags: Some(if with_tags { tag::describe(&task.tags) } else { Vec::new() }),
        task_arn: Some(task.arn().to_string()),
        task_definition_arn: Some(task.task_definition.to_string()),
        trusted_execution_summary: None,
        version: Some(task.version),
    })
}

/// The task-level size where the definition or override gives one, else the sum over the containers.
fn task_amount(given: Option<i32>, sum: i64) -> String {
    given.map_or_else(|| sum.to_string(), |given| given.to_string())
}

fn describe_attribute((name, value): &(String, String)) -> wire_shapes::Attribute {
    wire_shapes::Attribute { name: Some(name.clone()), value: Some(value.clone()), ..Default::default() }
}

/// The order in which AWS shows the details of a network interface.
const DETAIL_ORDER: &[&str] =
    &["subnetId", "networkInterfaceId", "macAddress", "privateDnsName", "privateIPv4Address", "ipv6Address"];

fn describe_attachment(attachment: &Attachment) -> wire_shapes::Attachment {
    let mut details: Vec<(&String, &String)> = attachment.details.iter().collect();
    details.sort_by_key(|(name, _)| {
        DETAIL_ORDER.iter().position(|known| known == name).unwrap_or(DETAIL_ORDER.len())
    });
    wire_shapes::Attachment {
        id: Some(attachment.id.clone()),
        type_: Some(attachment.attachment_type.clone()),
        status: Some(attachment.status.clone()),
        details: Some(
            details
                .into_iter()
                .map(|(name, value)| wire_shapes::KeyValuePair {
                    name: Some(name.clone()),
                    value: Some(value.clone()),
                })
                .collect(),
        ),
    }
}

fn describe_container(task: &Task, container: &TaskContainer) -> wire_shapes::Container {
    let arn = base::Arn::new(
        "ecs",
        &task.scope,
        format!("container/{}/{}/{}", task.cluster, task.id, container.id),
    );
    let network_interfaces = task
        .network_interface()
        .and_then(|interface| {
            let address = interface.details.get("privateIPv4Address")?;
            Some(wire_shapes::NetworkInterface {
                attachment_id: Some(interface.id.clone()),
                private_ipv4_address: Some(address.clone()),
                ipv6_address: interface.details.get("ipv6Address").cloned(),
            })
        })
        .into_iter()
        .collect();
    let bindings = container.network_bindings.iter().map(|binding| wire_shapes::NetworkBinding {
        bind_ip: Some(binding.bind_ip.clone()),
        container_port: binding.container_port,
        host_port: binding.host_port,
        protocol: Some(binding.protocol.to_string()),
        container_port_range: binding.container_port_range.clone(),
        host_port_range: binding.host_port_range.clone(),
    });
    wire_shapes::Container {
        container_arn: Some(arn.to_string()),
        task_arn: Some(task.arn().to_string()),
        name: Some(container.name.clone()),
        image: Some(container.image.clone()),
        image_digest: container.image_digest.clone(),
        runtime_id: container.runtime_id.clone(),
        last_status: Some(container.last_status.to_string()),
        exit_code: container.exit_code,
        reason: container.reason.clone(),
        network_bindings: Some(bindings.collect()),
        network_interfaces: Some(network_interfaces),
        health_status: Some(container.health_status.to_string()),
        managed_agents: (!container.managed_agents.is_empty()).then(|| {
            container
                .managed_agents
                .iter()
                .map(|agent| wire_shapes::ManagedAgent {
                    name: Some(agent.name.clone()),
                    last_status: Some(agent.last_status.clone()),
                    reason: agent.reason.clone(),
                    last_started_at: agent.last_started_at,
                })
                .collect()
        }),
        cpu: container.cpu.clone(),
        memory: container.memory.clone(),
        memory_reservation: container.memory_reservation.clone(),
        gpu_ids: (!container.gpu_ids.is_empty()).then(|| container.gpu_ids.clone()),
        neuron_device_ids: None,
        gpu_sharing_strategy: None,
    }
}
