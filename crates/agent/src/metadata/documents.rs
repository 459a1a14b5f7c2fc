//! The metadata documents, versions 2 to 4. Source: "Amazon ECS task metadata endpoint version 4".

use serde_json::{Map, Value, json};

use crate::task_engine::decide::Verdict;
use crate::task_engine::plan::{ContainerPlan, NetworkPlan, TaskPlan, VolumePlan};
use crate::task_engine::record::{ContainerRecord, Desired, KnownStatus};
use crate::task_engine::view::TaskView;

/// The version of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V2,
    V3,
    V4,
}

/// Facts of the node that documents show.
pub(super) struct NodeFacts<'a> {
    pub(super) cluster: &'a str,
    pub(super) availability_zone: &'a str,
}

/// The document of a task.
pub(super) fn task(view: &TaskView, version: Version, node: &NodeFacts) -> Value {
    let (plan, record) = (&view.plan, &view.record);
    let containers: Vec<Value> =
        (0..plan.containers.len()).map(|index| container(view, index, version)).collect();
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| {
        document.insert(name.to_owned(), value);
    };
    put("Cluster", json!(record.task.task_cluster_arn.as_deref().unwrap_or(node.cluster)));
    put("TaskARN", json!(plan.arn.to_string()));
    put("Family", json!(plan.family));
    put("Revision", json!(plan.revision));
    put("DesiredStatus", json!(if record.desired == Desired::Running { "RUNNING" } else { "STOPPED" }));
    put("KnownStatus", json!(known_status_of_task(view)));
    put("Containers", Value::Array(containers));
    let mut limits = Map::new();
    if let Some(cpu) = record.task.cpu.filter(|cpu| *cpu > 0.0) {
        limits.insert("CPU".to_owned(), json!(cpu));
    }
    if let Some(memory) = record.task.memory.filter(|memory| *memory > 0) {
        limits.insert("Memory".to_owned(), json!(memory));
    }
    if !limits.is_empty() {
        put("Limits", Value::Object(limits));
    }
    for (name, at) in [
        ("PullStartedAt", record.pull_started_at),
        ("PullStoppedAt", record.pull_stopped_at),
        ("ExecutionStoppedAt", record.execution_stopped_at),
    ] {
        if let Some(at) = at {
            put(name, json!(at.to_string()));
        }
    }
    put("AvailabilityZone", json!(record.task.zone.as_deref().unwrap_or(node.availability_zone)));
    if version == Version::V4 {
        put("LaunchType", json!(plan.launch_type));
        if let Some(vpc) = record.task.roadstead.as_ref().and_then(|extension| extension.vpc_id.as_deref()) {
            put("VPCID", json!(vpc));
        }
        if let Some(service) = &record.task.service_name {
            put("ServiceName", json!(service));
        }
        if let Some(group) = &record.task.group {
            put("Group", json!(group));
        }
        put("FaultInjectionEnabled", json!(false));
    }
    Value::Object(document)
}

fn known_status_of_task(view: &TaskView) -> &'static str {
    let lowest = view.record.containers.iter().map(|container| container.known).min();
    lowest.map_or("NONE", known_status)
}

fn known_status(known: KnownStatus) -> &'static str {
    match known {
        KnownStatus::None => "NONE",
        KnownStatus::Pulled => "PULLED",
        KnownStatus::Created => "CREATED",
        KnownStatus::Running => "RUNNING",
        KnownStatus::Stopped => "STOPPED",
    }
}

/// The document of a container; `null` when there is none at that place.
pub(super) fn container(view: &TaskView, index: usize, version: Version) -> Value {
    let (Some(plan), Some(record)) = (view.plan.containers.get(index), view.record.containers.get(index))
    else {
        return Value::Null;
    };
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| {
        document.insert(name.to_owned(), value);
    };
    put("DockerId", json!(record.runtime_id));
    put("Name", json!(plan.name));
    put("DockerName", json!(record.docker_name));
    put("Image", json!(plan.message.image));
    put("ImageID", json!(record.image_id.as_deref().unwrap_or_default()));
    put("Labels", labels(view, index));
    put("DesiredStatus", json!(if view.record.desired == Desired::Running { "RUNNING" } else { "STOPPED" }));
    put("KnownStatus", json!(known_status(record.known)));
    if let Some(code) = record.exit_code {
        put("ExitCode", json!(code));
    }
    // AWS shows no CPU limit below 2, the kernel's least.
    put("Limits", json!({"CPU": plan.message.cpu.max(2), "Memory": plan.message.memory}));
    for (name, at) in [
        ("CreatedAt", record.created_at),
        ("StartedAt", record.started_at),
        ("FinishedAt", record.finished_at),
    ] {
        if let Some(at) = at {
            put(name, json!(at.to_string()));
        }
    }
    put("Type", json!("NORMAL"));
    if let Some(health) = health(view, index) {
        put("Health", health);
    }
    put("Volumes", volumes(&view.plan, index));
    put("Networks", Value::Array(vec![network(&view.plan, record, version)]));
    let ports = ports(&view.plan, plan, record, version);
    if !ports.is_empty() {
        put("Ports", Value::Array(ports));
    }
    if version == Version::V4 {
        if let Some(arn) = &plan.message.container_arn {
            put("ContainerARN", json!(arn));
        }
        if let Some(log) = &plan.host.log_config {
            put("LogDriver", json!(log.kind));
            put("LogOptions", json!(log.config));
        }
        if plan.restart.is_some() {
            put("RestartCount", json!(record.restart_count));
        }
    }
    Value::Object(document)
}

/// The ports of a container: those of the host that lead to it in mode bridge, its own elsewhere.
fn ports(task: &TaskPlan, plan: &ContainerPlan, record: &ContainerRecord, version: Version) -> Vec<Value> {
    if task.network == NetworkPlan::Bridge {
        let each = record.published.iter().flat_map(|ports| ports.pairs().map(|pair| (ports.protocol, pair)));
        return each
            .map(|(protocol, (container, host))| {
                let mut port =
                    json!({"ContainerPort": container, "Protocol": protocol.to_string(), "HostPort": host});
                if version == Version::V4 {
                    port["HostIp"] = json!("0.0.0.0");
                }
                port
            })
            .collect();
    }
    let own = plan.message.port_mappings.iter().filter_map(|mapping| {
        let port = mapping.container_port?;
        let protocol = mapping.protocol.as_deref().unwrap_or("tcp");
        Some(json!({"ContainerPort": port, "Protocol": protocol, "HostPort": port}))
    });
    own.collect()
}

fn labels(view: &TaskView, index: usize) -> Value {
    let Some(plan) = view.plan.containers.get(index) else { return Value::Null };
    let mut labels = view.image_labels.get(index).cloned().unwrap_or_default();
    labels.extend(plan.config.labels.clone());
    for (name, value) in [
        ("cluster", view.record.task.task_cluster_arn.as_deref().unwrap_or(&view.plan.cluster)),
        ("container-name", &plan.name),
        ("task-arn", &view.plan.arn.to_string()),
        ("task-definition-family", &view.plan.family),
        ("task-definition-version", &view.plan.revision),
    ] {
        labels.insert(format!("com.amazonaws.ecs.{name}"), value.to_owned());
    }
    json!(labels)
}

fn health(view: &TaskView, index: usize) -> Option<Value> {
    view.plan.containers.get(index)?.health_check.as_ref()?;
    let health = view.health.get(index)?;
    let mut document = Map::new();
    let status = match health.verdict {
        Verdict::Healthy => "HEALTHY",
        Verdict::Unhealthy => "UNHEALTHY",
        Verdict::Unknown => "UNKNOWN",
    };
    document.insert("status".to_owned(), json!(status));
    if let Some(since) = health.since {
        document.insert("statusSince".to_owned(), json!(since.to_string()));
    }
    if let Some(code) = health.exit_code {
        document.insert("exitCode".to_owned(), json!(code));
        document.insert("output".to_owned(), json!(health.output));
    }
    Some(Value::Object(document))
}

fn volumes(plan: &TaskPlan, index: usize) -> Value {
    let Some(container) = plan.containers.get(index) else { return Value::Null };
    let volumes: Vec<Value> = container
        .message
        .mount_points
        .iter()
        .map(|point| match plan.volumes.get(&point.source_volume) {
            Some(VolumePlan::HostPath(path)) => json!({"Source": path, "Destination": point.container_path}),
            // Where a volume lies on the host is nothing to a task.
            _ => json!({"DockerName": point.source_volume, "Destination": point.container_path}),
        })
        .collect();
    Value::Array(volumes)
}

fn network(plan: &TaskPlan, record: &ContainerRecord, version: Version) -> Value {
    let interface = match &plan.network {
        NetworkPlan::None => return json!({"NetworkMode": "none"}),
        NetworkPlan::Host => return json!({"NetworkMode": "host"}),
        NetworkPlan::Bridge => {
            let addresses: Vec<String> = record.address.iter().map(ToString::to_string).collect();
            return json!({"NetworkMode": "bridge", "IPv4Addresses": addresses});
        }
        NetworkPlan::AwsVpc(interface) => interface,
    };
    let addresses: Vec<&str> =
        interface.ipv4_addresses.iter().map(|address| address.private_address.as_str()).collect();
    let mut document = Map::new();
    document.insert("NetworkMode".to_owned(), json!("awsvpc"));
    document.insert("IPv4Addresses".to_owned(), json!(addresses));
    if version == Version::V4 {
        let gateway = interface.subnet_gateway_ipv4_address.as_str();
        let subnet = gateway.split_once('/').and_then(|(address, prefix)| {
            base::Ipv4Cidr::containing(address.parse().ok()?, prefix.parse().ok()?)
        });
        for (name, value) in [
            ("AttachmentIndex", json!(interface.index.unwrap_or(0))),
            ("MACAddress", json!(interface.mac_address)),
            ("IPv4SubnetCIDRBlock", json!(subnet.map(|subnet| subnet.to_string()))),
            ("DomainNameServers", json!(interface.domain_name_servers)),
            ("PrivateDNSName", json!(interface.private_dns_name)),
            ("SubnetGatewayIpv4Address", json!(gateway)),
        ] {
            if !value.is_null() {
                document.insert(name.to_owned(), value);
            }
        }
        if !interface.domain_name.is_empty() {
            document.insert("DomainNameSearchList".to_owned(), json!(interface.domain_name));
        }
    }
    Value::Object(document)
}
