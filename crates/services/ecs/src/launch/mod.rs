//! What RunTask and StartTask share: from a request to validated [`Launch`], and from that to task rows.
//!
//! Differs from AWS: what this release cannot do is refused by the name of the field with a `ClientException`:
//! `overrides.containerOverrides.environmentFiles` (Amazon S3), `overrides.inferenceAcceleratorOverrides`,
//! `volumeConfigurations` (Amazon EBS), `enableExecuteCommand` (ECS Exec), and platform versions other than 1.4.0. `assignPublicIp` is taken: tasks reach the outside by NAT with or without it, and no
//! public address is shown.

mod constraints;
pub mod daemon;
mod explain;
mod fargate;
mod network;
pub mod one_off;
mod overrides;
mod place;
pub mod queue;
mod rooms;
pub mod service;
pub mod traffic;
pub mod wishes;

use std::sync::Arc;

use api::ecs::{RunTaskRequest, TaskOverride, faults};
use base::Tag;
use domain::{
    CapacityProviderStrategyItem, Cluster, LaunchType, Resources, TaskDefinition, TaskRegistry, TaskTarget,
};
use scheduler::placement::{Constraint, Strategy};
use store::{Snapshot, Store, Versioned};
use tokio::sync::{Mutex, OwnedMutexGuard};
use wire::{Call, Fault};

use crate::faults::{client, invalid};
use crate::resources::{capacity_provider, cluster, identifier, tag, task_definition};

pub use constraints::{check_expression, constraints as check_constraints, strategies as check_strategies};
pub use explain::explanation;
pub use fargate::check_size as check_fargate_size;
pub use network::{Network, check as check_network};
pub use overrides::gpus_of;
pub use place::{Place, Placed, Places, candidate, on_instances, place, places};
pub use rooms::{Pool, PoolRoom, Rooms};
pub use wishes::{On, Wishes};

/// The only platform version that there is.
pub const PLATFORM_VERSION: &str = "1.4.0";
/// The attribute of machines that joined from elsewhere (ECS Anywhere).
pub const EXTERNAL_ATTRIBUTE: &str = "ecs.capability.external";
/// Characters of `startedBy`. Source: RunTask.
const STARTED_BY_CHARACTERS: usize = 128;
/// Characters of a task group. Source: "Group related Amazon ECS tasks" names none; AWS takes 255.
const GROUP_CHARACTERS: usize = 255;

/// Launches from one store take turns within a process. They all raise the allocation counters of the same few machines, so that
/// of many at once one would succeed a commit and the others start over, with effort that grows as the square of the
/// callers. The counters stay the truth: they hold against other processes, and against reports.
#[derive(Default)]
struct Turns(Arc<Mutex<()>>);

/// Waits for this launch's turn.
pub async fn turn(store: &Store) -> OwnedMutexGuard<()> {
    Arc::clone(&store.beside::<Turns>().0).lock_owned().await
}

/// The fault for what this release cannot do.
pub fn unsupported(field: &str) -> Fault {
    client(format!("{field} is not supported by this release of Roadstead."))
}

/// A request to start tasks, checked.
#[derive(Clone, Debug)]
#[allow(clippy::struct_field_names)]
pub struct Launch {
    /// The cluster.
    pub cluster: Versioned<Cluster>,
    /// The definition.
    pub definition: Versioned<TaskDefinition>,
    /// Launch type; with a strategy, that of its providers.
    pub launch_type: LaunchType,
    /// The strategy; empty where the launch type was given or defaulted.
    pub strategy: Vec<CapacityProviderStrategyItem>,
    /// The one provider, over an Auto Scaling group, on whose instances the tasks are to be placed.
    pub capacity_provider: Option<String>,
    /// Task group.
    pub group: String,
    /// `startedBy`.
    pub started_by: Option<String>,
    /// `referenceId`.
    pub reference_id: Option<String>,
    /// Tags of every task.
    pub tags: Vec<Tag>,
    /// Overrides as they are stored and shown.
    pub overrides: TaskOverride,
    /// What one task takes.
    pub resources: Resources,
    /// Task-level CPU units after overrides.
    pub cpu_units: Option<i32>,
    /// Task-level memory in MiB after overrides.
    pub memory_mib: Option<i32>,
    /// Whole GPUs that one task takes.
    pub gpus: usize,
    /// Ephemeral storage in GiB after overrides (Fargate).
    pub ephemeral_storage_gib: Option<i32>,
    /// The network, for `awsvpc`.
    pub network: Option<Network>,
    /// Constraints of the definition and of the call.
    pub constraints: Vec<Constraint>,
    /// Strategies of the call.
    pub strategies: Vec<Strategy>,
    /// Both as they were asked for, without those of the definition.
    pub asked: queue::Asked,
    /// Whether the tasks wait in PROVISIONING where they find no room (the tag `roadstead:queue` of the call).
    pub queue_when_full: bool,
    /// How long one of the tasks may run.
    pub max_runtime_seconds: Option<i64>,
    /// Target groups that the tasks are registered in.
    pub targets: Vec<TaskTarget>,
    /// Services of AWS Cloud Map that the tasks are registered in.
    pub registries: Vec<TaskRegistry>,
    /// The namespace whose services the tasks call through Service Connect.
    pub connects_to: Option<String>,
}

/// Checks a request. StartTask gives one without what it does not have.
pub fn check(snapshot: &Snapshot, call: &Call, request: &RunTaskRequest) -> Result<Launch, Fault> {
    let cluster_name = cluster::name(call, request.cluster.as_deref())?;
    let reference = task_definition::parse(call, request.task_definition.as_deref().unwrap_or_default())?;
    let (launch_type, given_strategy) = launch_type(request)?;
    let tags = tag::parse_with_wishes(request.tags.clone(), On::RunTask)?;
    let started_by = started_by(request.started_by.as_deref())?;
    let group = group(request.group.as_deref(), &reference.family)?;
    if request.volume_configurations.as_ref().is_some_and(|volumes| !volumes.is_empty()) {
        return Err(unsupported("volumeConfigurations"));
    }

    let cluster = cluster::get(snapshot, &call.scope, &cluster_name)?;
    let definition = task_definition::runnable(snapshot, &call.scope, &reference)?;
    let (launch_type, strategy) = match (launch_type, given_strategy) {
        (Some(launch_type), _) => (launch_type, Vec::new()),
        (None, Some(strategy)) => {
            let strategy = capacity_provider::parse_strategy(strategy, &cluster.capacity_providers)?;
            (capacity_provider::launch_type_of(&strategy), strategy)
        }
        (None, None) if !cluster.default_capacity_provider_strategy.is_empty() => {
            let strategy = cluster.default_capacity_provider_strategy.clone();
            (capacity_provider::launch_type_of(&strategy), strategy)
        }
        (None, None) => (LaunchType::Ec2, Vec::new()),
    };
    compatibility(&definition, launch_type)?;
    execute_command(request, &definition)?;
    platform_version(request.platform_version.as_deref(), launch_type)?;
    let network = network::check(snapshot, call, request, &definition, launch_type)?;
    let constraints =
        constraints::constraints(&definition, request.placement_constraints.as_deref(), launch_type)?;
    let strategies = constraints::strategies(request.placement_strategy.as_deref(), launch_type)?;
    let sized = overrides::check(request.overrides.as_ref(), &definition, launch_type)?;
    let asked =
        queue::Asked::of(request.placement_constraints.as_deref(), request.placement_strategy.as_deref());
    let wishes = Wishes::of(&tags, &definition.tags)?;
    Ok(Launch {
        tags: all_tags(request, &definition, tags, &cluster_name)?,
        cluster,
        launch_type,
        strategy,
        capacity_provider: None,
        group,
        started_by,
        reference_id: request.reference_id.clone(),
        overrides: sized.overrides,
        resources: sized.resources,
        cpu_units: sized.cpu_units,
        memory_mib: sized.memory_mib,
        gpus: sized.gpus,
        ephemeral_storage_gib: sized.ephemeral_storage_gib,
        network,
        constraints,
        strategies,
        asked,
        queue_when_full: wishes.queue_when_full,
        max_runtime_seconds: wishes.max_runtime_seconds,
        targets: Vec::new(),
        registries: Vec::new(),
        connects_to: None,
        definition,
    })
}

/// A strategy of a call, where it has one.
pub type GivenStrategy = Option<Vec<api::ecs::CapacityProviderStrategyItem>>;

/// `launchType` and `capacityProviderStrategy` of a call, at most one of which is given.
pub fn launch_type(request: &RunTaskRequest) -> Result<(Option<LaunchType>, GivenStrategy), Fault> {
    let strategy = request.capacity_provider_strategy.clone().filter(|strategy| !strategy.is_empty());
    let launch_type = match request.launch_type.as_deref() {
        None => None,
        Some(word) => {
            Some(word.parse::<LaunchType>().map_err(|_| invalid(format!("Invalid launch type: {word}")))?)
        }
    };
    if launch_type.is_some() && strategy.is_some() {
        return Err(invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        ));
    }
    if launch_type == Some(LaunchType::ManagedInstances) {
        return Err(unsupported("launchType MANAGED_INSTANCES"));
    }
    Ok((launch_type, strategy))
}

/// Whether a task of the definition can run on the launch type.
pub fn compatibility(definition: &TaskDefinition, launch_type: LaunchType) -> Result<(), Fault> {
    if !definition.projection.compatibilities.contains(&launch_type) {
        return Err(invalid(format!("Task definition does not support launch_type {launch_type}.")));
    }
    Ok(())
}

fn execute_command(request: &RunTaskRequest, definition: &TaskDefinition) -> Result<(), Fault> {
    if request.enable_execute_command != Some(true) {
        return Ok(());
    }
    let override_role = request.overrides.as_ref().and_then(|overrides| overrides.task_role_arn.as_deref());
    let document = task_definition::document(definition)?;
    if override_role.or(document.task_role_arn.as_deref()).is_none() {
        return Err(invalid(
            "The task can't be run because a valid taskRoleArn is not being used. Specify a valid task role in your \
             task definition and try again.",
        ));
    }
    Err(invalid("enableExecuteCommand is not supported by this release of Roadstead."))
}

/// Checks `platformVersion`.
pub fn platform_version(version: Option<&str>, launch_type: LaunchType) -> Result<(), Fault> {
    match (version, launch_type) {
        (None, _) => Ok(()),
        (Some("LATEST" | PLATFORM_VERSION), LaunchType::Fargate) => Ok(()),
        (Some(_), LaunchType::Fargate) => {
            Err(faults::platform_unknown_exception("The specified platform does not exist."))
        }
        (Some(_), _) => Err(invalid("The platform version must be null when specifying an EC2 launch type.")),
    }
}

fn started_by(text: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-/_".contains(character);
    if text.chars().count() > STARTED_BY_CHARACTERS {
        return Err(invalid(format!("startedBy length must be at most {STARTED_BY_CHARACTERS}")));
    }
    if !text.chars().all(allowed) {
        return Err(invalid("startedBy contains invalid characters."));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn group(text: Option<&str>, family: &str) -> Result<String, Fault> {
    match text {
        None | Some("") => Ok(format!("family:{family}")),
        Some(text) if text.starts_with("service:") || text.starts_with(domain::GROUP_DAEMON) => {
            Err(invalid("Invalid namespace for group."))
        }
        Some(text) if text.len() > GROUP_CHARACTERS => {
            Err(invalid(format!("group length must be at most {GROUP_CHARACTERS}")))
        }
        Some(text) => {
            let name = text.strip_prefix("family:").unwrap_or(text);
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:./".contains(&byte);
            if name.bytes().all(allowed) {
                Ok(text.to_owned())
            } else {
                Err(invalid("Invalid namespace for group."))
            }
        }
    }
}

fn all_tags(
    request: &RunTaskRequest,
    definition: &TaskDefinition,
    own: Vec<Tag>,
    cluster: &str,
) -> Result<Vec<Tag>, Fault> {
    let mut tags = match request.propagate_tags.as_deref() {
        None | Some("NONE") => Vec::new(),
        Some("TASK_DEFINITION") => definition.tags.clone(),
        Some(other) => {
            return Err(invalid(format!("Invalid value for propagateTags: {other}")));
        }
    };
    tag::merge(&mut tags, own)?;
    if request.enable_ecs_managed_tags == Some(true) {
        tags.push(Tag { key: "aws:ecs:clusterName".to_owned(), value: cluster.to_owned() });
    }
    Ok(tags)
}

/// Whether `text` may be a role: an ARN of IAM, or a role's name.
pub fn check_role(field: &str, text: &str) -> Result<(), Fault> {
    let is_arn = text.parse::<base::Arn>().is_ok_and(|arn| {
        arn.aws_service() == "iam" && arn.resource().starts_with("role/") && arn.account().is_some()
    });
    let is_role_name = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@-_".contains(&byte));
    if is_arn || is_role_name || identifier::is_name(text) {
        Ok(())
    } else {
        Err(client(format!("Role is not valid: {field} {text}")))
    }
}
