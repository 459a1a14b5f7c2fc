//! Clusters.

use api::ecs as wire_shapes;
use api::ecs::{ClusterConfiguration, ClusterServiceConnectDefaults, KeyValuePair};
use base::Scope;
use domain::{
    CapacityProviderStrategyItem, Cluster, ClusterSetting, ClusterStatus, ContainerInstance,
    ContainerInstanceStatus, LaunchType, ServiceStatus, Task, TaskStatus,
};
use store::rows::{TASKS_OF_CLUSTER, cluster_key};
use store::{IndexScan, Key, Snapshot, Versioned};
use wire::{Call, Fault};

use super::{capacity_provider, identifier, tag};
use crate::faults::{cluster_not_found, invalid};

/// The cluster that is meant where none is named.
pub const DEFAULT: &str = "default";

/// The name of a cluster, from a name or an ARN; `default` where none is given.
pub fn name(call: &Call, text: Option<&str>) -> Result<String, Fault> {
    let Some(text) = text else { return Ok(DEFAULT.to_owned()) };
    if text.trim().is_empty() {
        return Err(invalid("Clusters can not be blank."));
    }
    let name =
        if text.starts_with("arn:") { identifier::own_arn(call, text, "cluster")? } else { text.to_owned() };
    if identifier::is_name(&name) {
        Ok(name)
    } else {
        Err(invalid(format!("Cluster must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {name}")))
    }
}

/// The ARN of the cluster that `text` means, for permissions: a text that is none stays as it is.
pub fn arn_for_permission(call: &Call, text: Option<&str>) -> String {
    match name(call, text) {
        Ok(name) => Cluster::arn_of(&call.scope, &name).to_string(),
        Err(_) => "*".to_owned(),
    }
}

/// The ACTIVE cluster of this name.
pub fn get(snapshot: &Snapshot, scope: &Scope, name: &str) -> Result<Versioned<Cluster>, Fault> {
    snapshot
        .get::<Cluster>(&cluster_key(scope, name))
        .filter(|cluster| cluster.status == ClusterStatus::Active)
        .ok_or_else(cluster_not_found)
}

/// The cluster's tasks that are not STOPPED.
pub fn unfinished_tasks<'a>(snapshot: &'a Snapshot, cluster: &Cluster) -> IndexScan<'a, Task> {
    let scope = &cluster.scope;
    let parts = [scope.account.as_str(), scope.region.as_str(), cluster.name.as_str()];
    snapshot.index::<Task>(TASKS_OF_CLUSTER, &parts, None)
}

/// What a description includes beside the plain members.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Include {
    /// `ATTACHMENTS`.
    pub attachments: bool,
    /// `CONFIGURATIONS`.
    pub configurations: bool,
    /// `SETTINGS`.
    pub settings: bool,
    /// `STATISTICS`.
    pub statistics: bool,
    /// `TAGS`.
    pub tags: bool,
}

impl Include {
    /// What Create, Update and Delete answer with.
    pub const ON_CHANGE: Self =
        Self { attachments: true, configurations: true, settings: true, statistics: false, tags: true };

    /// Reads the words of DescribeClusters.
    pub fn parse(words: &[String]) -> Result<Self, Fault> {
        let mut include = Self::default();
        for word in words {
            match word.as_str() {
                "ATTACHMENTS" => include.attachments = true,
                "CONFIGURATIONS" => include.configurations = true,
                "SETTINGS" => include.settings = true,
                "STATISTICS" => include.statistics = true,
                "TAGS" => include.tags = true,
                other => return Err(invalid(format!("Unknown include: {other}"))),
            }
        }
        Ok(include)
    }
}

#[derive(Default)]
struct Counts {
    running: [i32; 4],
    pending: [i32; 4],
    active_services: [i32; 4],
    draining_services: [i32; 4],
}

fn slot(launch_type: LaunchType) -> usize {
    match launch_type {
        LaunchType::Ec2 => 0,
        LaunchType::Fargate => 1,
        LaunchType::External => 2,
        LaunchType::ManagedInstances => 3,
    }
}

/// The cluster as the API shows it.
pub fn describe(
    snapshot: &Snapshot,
    cluster: &Cluster,
    include: Include,
) -> Result<wire_shapes::Cluster, Fault> {
    let of_cluster = Key::prefix(&cluster.scope, &[&cluster.name]);
    let mut counts = Counts::default();
    for task in unfinished_tasks(snapshot, cluster) {
        match task.last_status {
            TaskStatus::Running => counts.running[slot(task.launch_type)] += 1,
            TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating => {
                counts.pending[slot(task.launch_type)] += 1;
            }
            _ => {}
        }
    }
    for service in super::service::of_cluster(snapshot, &cluster.scope, &cluster.name) {
        // A service whose task sets are still to come has no launch type: AWS counts it with those of EC2.
        let slot = slot(super::service::launch_type(snapshot, &service).unwrap_or(LaunchType::Ec2));
        match service.status {
            ServiceStatus::Active => counts.active_services[slot] += 1,
            ServiceStatus::Draining => counts.draining_services[slot] += 1,
            ServiceStatus::Inactive => {}
        }
    }
    let registered = snapshot
        .scan::<ContainerInstance>(of_cluster, None)
        .filter(|instance| {
            matches!(instance.status, ContainerInstanceStatus::Active | ContainerInstanceStatus::Draining)
        })
        .count();
    let strategy = &cluster.default_capacity_provider_strategy;
    let (attachments, attachments_status) =
        capacity_provider::attachments(snapshot, &cluster.scope, &cluster.name);
    Ok(wire_shapes::Cluster {
        cluster_arn: Some(cluster.arn().to_string()),
        cluster_name: Some(cluster.name.clone()),
        status: Some(cluster.status.to_string()),
        registered_container_instances_count: Some(i32::try_from(registered).unwrap_or(i32::MAX)),
        running_tasks_count: Some(counts.running.iter().sum()),
        pending_tasks_count: Some(counts.pending.iter().sum()),
        active_services_count: Some(counts.active_services.iter().sum()),
        statistics: Some(if include.statistics { statistics(&counts) } else { Vec::new() }),
        tags: Some(if include.tags { tag::describe(&cluster.tags) } else { Vec::new() }),
        settings: Some(if include.settings { describe_settings(&cluster.settings) } else { Vec::new() }),
        capacity_providers: Some(cluster.capacity_providers.clone()),
        default_capacity_provider_strategy: Some(strategy.iter().map(describe_strategy_item).collect()),
        attachments: include.attachments.then_some(attachments),
        attachments_status: attachments_status.filter(|_| include.attachments),
        configuration: match (&cluster.configuration_document, include.configurations) {
            (Some(document), true) => {
                Some(wire::json::from_str::<ClusterConfiguration>(document).map_err(Fault::server)?)
            }
            _ => None,
        },
        service_connect_defaults: match &cluster.service_connect_defaults_document {
            Some(document) => {
                Some(wire::json::from_str::<ClusterServiceConnectDefaults>(document).map_err(Fault::server)?)
            }
            None => None,
        },
    })
}

fn statistics(counts: &Counts) -> Vec<KeyValuePair> {
    let pair = |name: String, value: i32| KeyValuePair { name: Some(name), value: Some(value.to_string()) };
    let kinds = ["EC2", "Fargate", "External", "ManagedInstances"];
    let mut pairs = Vec::new();
    for (kind, count) in kinds.iter().zip(counts.running) {
        pairs.push(pair(format!("running{kind}TasksCount"), count));
    }
    for (kind, count) in kinds.iter().zip(counts.pending) {
        pairs.push(pair(format!("pending{kind}TasksCount"), count));
    }
    for (state, counts) in [("active", counts.active_services), ("draining", counts.draining_services)] {
        for (kind, count) in kinds.iter().zip(counts) {
            pairs.push(pair(format!("{state}{kind}ServiceCount"), count));
        }
    }
    pairs
}

/// A cluster that was made without a call (the first one of a region) has AWS's default.
fn describe_settings(settings: &[ClusterSetting]) -> Vec<wire_shapes::ClusterSetting> {
    let default = [ClusterSetting { name: "containerInsights".to_owned(), value: "disabled".to_owned() }];
    let settings = if settings.is_empty() { &default } else { settings };
    settings
        .iter()
        .map(|setting| wire_shapes::ClusterSetting {
            name: Some(setting.name.clone()),
            value: Some(setting.value.clone()),
        })
        .collect()
}

fn describe_strategy_item(item: &CapacityProviderStrategyItem) -> wire_shapes::CapacityProviderStrategyItem {
    wire_shapes::CapacityProviderStrategyItem {
        capacity_provider: Some(item.capacity_provider.clone()),
        weight: Some(item.weight),
        base: Some(item.base),
    }
}

/// Reads and checks the settings of a call.
pub fn parse_settings(settings: Vec<wire_shapes::ClusterSetting>) -> Result<Vec<ClusterSetting>, Fault> {
    let mut parsed: Vec<ClusterSetting> = Vec::new();
    for setting in settings {
        let name = setting.name.unwrap_or_default();
        let value = setting.value.unwrap_or_default();
        if name != "containerInsights" {
            return Err(invalid(format!("Invalid setting name: {name}")));
        }
        if !matches!(value.as_str(), "enabled" | "enhanced" | "disabled") {
            return Err(invalid(format!("Invalid value for {name}: {value}")));
        }
        if parsed.iter().any(|there| there.name == name) {
            return Err(invalid(format!("Duplicate setting name: {name}")));
        }
        parsed.push(ClusterSetting { name, value });
    }
    Ok(parsed)
}

/// Checks the configuration of a call and gives it as it is stored.
///
/// ECS Exec and AWS KMS are not there in this release, so what would steer them is refused by name.
pub fn parse_configuration(configuration: &ClusterConfiguration) -> Result<String, Fault> {
    if let Some(execute_command) = &configuration.execute_command_configuration {
        if execute_command.kms_key_id.is_some() {
            return Err(crate::launch::unsupported("configuration.executeCommandConfiguration.kmsKeyId"));
        }
        match (execute_command.logging.as_deref(), &execute_command.log_configuration) {
            (Some("OVERRIDE"), None) => {
                return Err(invalid(
                    "A logConfiguration must be specified when the logging value is set to OVERRIDE.",
                ));
            }
            (None | Some("OVERRIDE"), Some(_)) => {
                return Err(crate::launch::unsupported(
                    "configuration.executeCommandConfiguration.logConfiguration",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "The logConfiguration can only be specified when the logging value is set to OVERRIDE.",
                ));
            }
            (None | Some("NONE" | "DEFAULT"), None) => {}
            (Some(other), None) => return Err(invalid(format!("Invalid logging value: {other}"))),
        }
    }
    if configuration.managed_storage_configuration.is_some() {
        return Err(crate::launch::unsupported("configuration.managedStorageConfiguration"));
    }
    Ok(wire::json::to_string(configuration))
}

/// Puts `new` over `settings`.
pub fn merge_settings(settings: &mut Vec<ClusterSetting>, new: &[ClusterSetting]) {
    for setting in new {
        match settings.iter_mut().find(|there| there.name == setting.name) {
            Some(there) => there.value.clone_from(&setting.value),
            None => settings.push(setting.clone()),
        }
    }
}
