//! Managed daemons, their revisions and deployments.
//!
//! Differs from AWS: there a daemon belongs to capacity providers of ECS Managed Instances; here to any capacity provider
//! of the cluster but FARGATE and FARGATE_SPOT, whose machines are not the caller's. The wording of what is refused is
//! ours where it names daemons: no public source shows AWS's.

use api::ecs as shape;
use api::ecs::faults as modelled;
use base::{Arn, Scope};
use domain::{
    CapacityProvider, ContainerInstance, ContainerInstanceStatus, Daemon, DaemonDeployment, DaemonGoal,
    DaemonPlace, DaemonRevision, DaemonTaskDefinition, HealthStatus, MonitorStatus, Task, TaskStatus,
};
use store::rows::{container_instance_key, task_key};
use store::rows_daemon::{
    DAEMON_PLACES_BY_CONTAINER_INSTANCE, DAEMONS_BY_CAPACITY_PROVIDER, daemon_key, of_daemon, of_daemon_key,
};
use store::{Key, Snapshot, Versioned};
use wire::{Call, Fault};

use super::{cluster, identifier};
use crate::faults::invalid;

/// ARNs in one Describe call. Source: DescribeDaemonDeployments, DescribeDaemonRevisions.
pub const DESCRIBE_MAXIMUM: usize = 20;

/// How a caller names a daemon: its cluster and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The cluster's name.
    pub cluster: String,
    /// The daemon's name.
    pub name: String,
}

/// Reads a daemon's ARN.
pub fn parse(call: &Call, text: &str) -> Result<Reference, Fault> {
    let rest = identifier::own_arn(call, text, "daemon")?;
    match rest.split_once('/') {
        Some((cluster, name)) if identifier::is_name(cluster) && identifier::is_name(name) => {
            Ok(Reference { cluster: cluster.to_owned(), name: name.to_owned() })
        }
        _ => Err(invalid("Invalid arn syntax.")),
    }
}

/// Reads the ARN of a revision (`kind` is `daemon-revision`) or deployment (`daemon-deployment`): daemon and id.
pub fn parse_part(call: &Call, text: &str, kind: &str) -> Result<(Reference, String), Fault> {
    let rest = identifier::own_arn(call, text, kind)?;
    let mut parts = rest.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(cluster), Some(name), Some(id), None)
            if identifier::is_name(cluster) && identifier::is_name(name) && identifier::is_name(id) =>
        {
            Ok((Reference { cluster: cluster.to_owned(), name: name.to_owned() }, id.to_owned()))
        }
        _ => Err(invalid("Invalid arn syntax.")),
    }
}

/// The ARN that permissions are asked for.
pub fn arn_for_permission(call: &Call, text: Option<&str>) -> String {
    match text.map(|text| parse(call, text)) {
        Some(Ok(daemon)) => Daemon::arn_of(&call.scope, &daemon.cluster, &daemon.name).to_string(),
        _ => "*".to_owned(),
    }
}

/// The daemon; the modelled fault where cluster or daemon is not there.
pub fn get(snapshot: &Snapshot, call: &Call, reference: &Reference) -> Result<Versioned<Daemon>, Fault> {
    cluster::get(snapshot, &call.scope, &reference.cluster)?;
    find(snapshot, &call.scope, reference)
        .ok_or_else(|| modelled::daemon_not_found_exception("Daemon not found."))
}

/// The daemon; `None` where there is none.
pub fn find(snapshot: &Snapshot, scope: &Scope, reference: &Reference) -> Option<Versioned<Daemon>> {
    snapshot.get::<Daemon>(&daemon_key(scope, &reference.cluster, &reference.name))
}

/// A revision of a daemon.
pub fn revision(snapshot: &Snapshot, daemon: &Daemon, id: &str) -> Option<Versioned<DaemonRevision>> {
    snapshot.get(&of_daemon_key(&daemon.scope, &daemon.cluster, &daemon.name, id))
}

/// A deployment of a daemon.
pub fn deployment(snapshot: &Snapshot, daemon: &Daemon, id: &str) -> Option<Versioned<DaemonDeployment>> {
    snapshot.get(&of_daemon_key(&daemon.scope, &daemon.cluster, &daemon.name, id))
}

/// The places of a daemon, by container instance.
pub fn places(snapshot: &Snapshot, daemon: &Daemon) -> Vec<Versioned<DaemonPlace>> {
    snapshot.scan(of_daemon(&daemon.scope, &daemon.cluster, &daemon.name), None).collect()
}

/// The task that has a place.
pub fn task_of(snapshot: &Snapshot, place: &DaemonPlace) -> Option<Versioned<Task>> {
    snapshot.get(&task_key(&place.scope, &place.cluster, place.task.as_deref()?))
}

/// Whether a daemon's task does its work: it runs, and no health check says or may still say otherwise.
pub fn is_well(task: &Task) -> bool {
    task.last_status == TaskStatus::Running
        && task.health_status != HealthStatus::Unhealthy
        && !(task.health_status == HealthStatus::Unknown && has_health_check(task))
}

/// Whether an essential container of the task has a health check.
pub fn has_health_check(task: &Task) -> bool {
    task.containers.iter().any(|container| container.essential && container.has_health_check)
}

/// Whether no other task may be placed on the machine yet: a critical daemon belongs on it and does not run there.
///
/// A machine that was there before the daemon goes on as it did until its turn in the deployment comes.
pub fn holds_back(snapshot: &Snapshot, instance: &ContainerInstance) -> bool {
    let Some(provider) = &instance.capacity_provider else { return false };
    let (account, region) = (instance.scope.account.as_str(), instance.scope.region.as_str());
    let parts = [account, region, instance.cluster.as_str(), provider.as_str()];
    snapshot
        .index::<Daemon>(DAEMONS_BY_CAPACITY_PROVIDER, &parts, None)
        .any(|daemon| daemon_holds_back(snapshot, &daemon, instance, provider))
}

fn daemon_holds_back(
    snapshot: &Snapshot,
    daemon: &Daemon,
    instance: &ContainerInstance,
    provider: &String,
) -> bool {
    let current = deployment(snapshot, daemon, &daemon.deployment);
    let goal = match current.as_ref().filter(|_| daemon.deploying) {
        Some(deployment) => deployment.goal(),
        None => daemon.steady.as_ref(),
    };
    if !goal.is_some_and(|goal| goal.critical && goal.capacity_providers.contains(provider)) {
        return false;
    }
    let key = of_daemon_key(&daemon.scope, &daemon.cluster, &daemon.name, &instance.id);
    match snapshot.get::<DaemonPlace>(&key) {
        Some(place) => !task_of(snapshot, &place).is_some_and(|task| is_well(&task)),
        None => {
            !daemon.deploying
                || current.is_none_or(|deployment| instance.registered_at >= deployment.created_at)
        }
    }
}

/// Reads the capacity providers of a call: names or ARNs of providers that the cluster has.
pub fn parse_capacity_providers(
    snapshot: &Snapshot,
    call: &Call,
    given: &[String],
    of_cluster: &[String],
) -> Result<Vec<String>, Fault> {
    if given.is_empty() {
        return Err(invalid("capacityProviderArns cannot be empty."));
    }
    let mut names: Vec<String> = Vec::new();
    for text in given {
        let name = if text.starts_with("arn:") {
            identifier::own_arn(call, text, "capacity-provider")?
        } else {
            text.clone()
        };
        if matches!(name.as_str(), "FARGATE" | "FARGATE_SPOT") {
            return Err(invalid(format!("Daemons are not supported on the capacity provider {name}.")));
        }
        let there = snapshot.get::<CapacityProvider>(&Key::new(&call.scope, &[&name])).is_some();
        if !there {
            return Err(invalid(
                "The specified capacity provider was not found. Specify a valid name or ARN and try again.",
            ));
        }
        if !of_cluster.contains(&name) {
            return Err(invalid(format!(
                "The capacity provider {name} is not associated with the cluster. Associate the capacity provider with \
                 the cluster and try again."
            )));
        }
        if names.contains(&name) {
            return Err(invalid("A capacity provider can only be specified once."));
        }
        names.push(name);
    }
    Ok(names)
}

/// The ARN of a capacity provider.
pub fn capacity_provider_arn(scope: &Scope, name: &str) -> String {
    Arn::new("ecs", scope, format!("capacity-provider/{name}")).to_string()
}

/// How the instances of one capacity provider stand towards a revision.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    running: i32,
    draining: i32,
    without: i32,
}

/// Counts, by capacity provider, for each of `goals` the instances that run it, that are on their way away from it, and
/// that should run it and do not.
fn counts(snapshot: &Snapshot, daemon: &Daemon, goals: &[&DaemonGoal]) -> Vec<Vec<(String, Count)>> {
    let mut counted: Vec<Vec<(String, Count)>> = goals
        .iter()
        .map(|goal| goal.capacity_providers.iter().map(|name| (name.clone(), Count::default())).collect())
        .collect();
    let places = places(snapshot, daemon);
    let mut add = |index: usize, provider: &str, add: fn(&mut Count)| {
        let of_goal = &mut counted[index];
        match of_goal.iter_mut().find(|(name, _)| name == provider) {
            Some((_, count)) => add(count),
            None => {
                let mut count = Count::default();
                add(&mut count);
                of_goal.push((provider.to_owned(), count));
            }
        }
    };
    let mut covered = std::collections::BTreeSet::new();
    for place in &places {
        let Some(task) = task_of(snapshot, place) else { continue };
        let key = container_instance_key(&place.scope, &place.cluster, &place.container_instance);
        let provider = snapshot.get::<ContainerInstance>(&key).and_then(|row| row.capacity_provider.clone());
        let provider = provider.or_else(|| task.capacity_provider.clone()).unwrap_or_default();
        let index = goals.iter().position(|goal| place.value.revision.as_ref() == Some(&goal.revision));
        if task.last_status == TaskStatus::Running {
            covered.insert(place.container_instance.clone());
        }
        match index {
            Some(index) if place.stopping && task.last_status != TaskStatus::Stopped => {
                add(index, &provider, |count| count.draining += 1);
            }
            Some(index) if task.last_status == TaskStatus::Running => {
                add(index, &provider, |count| count.running += 1);
            }
            _ => {}
        }
    }
    for (index, goal) in goals.iter().enumerate().filter(|(_, goal)| !goal.critical) {
        for row in snapshot.scan::<ContainerInstance>(Key::prefix(&daemon.scope, &[&daemon.cluster]), None) {
            let Some(provider) = &row.capacity_provider else { continue };
            if row.status == ContainerInstanceStatus::Active
                && goal.capacity_providers.contains(provider)
                && !covered.contains(&row.id)
            {
                add(index, provider, |count| count.without += 1);
            }
        }
    }
    counted
}

/// The daemon as DescribeDaemon shows it.
pub fn describe(snapshot: &Snapshot, daemon: &Daemon) -> shape::DaemonDetail {
    let mut goals: Vec<&DaemonGoal> = vec![&daemon.goal];
    let current = deployment(snapshot, daemon, &daemon.deployment);
    let in_use: Vec<String> =
        places(snapshot, daemon).iter().filter_map(|place| place.value.revision.clone()).collect();
    let sources = current.iter().flat_map(|deployment| &deployment.sources).chain(&daemon.steady);
    for goal in sources.filter(|goal| in_use.contains(&goal.revision)) {
        if goals.iter().all(|there| there.revision != goal.revision) {
            goals.push(goal);
        }
    }
    let counted = counts(snapshot, daemon, &goals);
    let revisions = goals.iter().zip(counted).map(|(goal, counted)| shape::DaemonRevisionDetail {
        arn: Some(revision_arn(daemon, goal)),
        total_running_count: Some(counted.iter().map(|(_, count)| count.running).sum()),
        total_without_daemon_count: Some(counted.iter().map(|(_, count)| count.without).sum()),
        capacity_providers: Some(
            counted
                .into_iter()
                .map(|(name, count)| shape::DaemonCapacityProvider {
                    arn: Some(capacity_provider_arn(&daemon.scope, &name)),
                    running_count: Some(count.running),
                    without_daemon_count: Some(count.without),
                })
                .collect(),
        ),
    });
    shape::DaemonDetail {
        cluster_arn: Some(domain::Cluster::arn_of(&daemon.scope, &daemon.cluster).to_string()),
        created_at: Some(daemon.created_at),
        current_revisions: Some(revisions.collect()),
        daemon_arn: Some(daemon.arn().to_string()),
        deployment_arn: Some(daemon.deployment_arn().to_string()),
        status: Some(daemon.status.to_string()),
        updated_at: Some(daemon.updated_at),
    }
}

fn revision_arn(daemon: &Daemon, goal: &DaemonGoal) -> String {
    DaemonRevision::arn_of(&daemon.scope, &daemon.cluster, &daemon.name, &goal.revision).to_string()
}

/// A revision on the wire.
pub fn describe_revision(revision: &DaemonRevision) -> shape::DaemonRevision {
    let image = |image: &domain::ContainerImage| shape::DaemonContainerImage {
        container_name: Some(image.container.clone()),
        image: Some(image.image.clone()),
        image_digest: image.digest.clone(),
    };
    let (scope, cluster) = (&revision.scope, &revision.cluster);
    shape::DaemonRevision {
        cluster_arn: Some(domain::Cluster::arn_of(scope, cluster).to_string()),
        container_images: Some(revision.container_images.iter().map(image).collect()),
        created_at: Some(revision.created_at),
        critical: Some(revision.critical),
        daemon_arn: Some(Daemon::arn_of(scope, cluster, &revision.daemon).to_string()),
        daemon_revision_arn: Some(revision.arn().to_string()),
        daemon_task_definition_arn: Some(revision.task_definition.to_string()),
        enable_ecs_managed_tags: Some(revision.enable_ecs_managed_tags),
        enable_execute_command: Some(revision.enable_execute_command),
        propagate_tags: Some(revision.propagate_tags.clone()),
    }
}

/// A deployment on the wire. Counts are of now while it is under way or the daemon's newest, else they are not shown.
pub fn describe_deployment(snapshot: &Snapshot, deployment: &DaemonDeployment) -> shape::DaemonDeployment {
    let (scope, cluster) = (&deployment.scope, &deployment.cluster);
    let reference = Reference { cluster: cluster.clone(), name: deployment.daemon.clone() };
    let daemon = find(snapshot, scope, &reference)
        .filter(|daemon| daemon.id == deployment.daemon_id && daemon.deployment == deployment.id);
    let goals: Vec<&DaemonGoal> = deployment.target.iter().chain(&deployment.sources).collect();
    let counted = daemon.map(|daemon| counts(snapshot, &daemon, &goals));
    let detail = |index: usize, goal: &DaemonGoal| {
        let counted = counted.as_ref().map(|counted| &counted[index]);
        let total = |of: fn(&Count) -> i32| {
            counted.map(|counted| counted.iter().map(|(_, count)| of(count)).sum::<i32>())
        };
        let providers: Vec<(String, Option<Count>)> = match counted {
            Some(counted) => counted.iter().map(|(name, count)| (name.clone(), Some(*count))).collect(),
            None => goal.capacity_providers.iter().map(|name| (name.clone(), None)).collect(),
        };
        shape::DaemonDeploymentRevisionDetail {
            arn: Some(DaemonRevision::arn_of(scope, cluster, &deployment.daemon, &goal.revision).to_string()),
            total_draining_instance_count: total(|count| count.draining),
            total_running_instance_count: total(|count| count.running),
            total_without_daemon_instance_count: total(|count| count.without),
            capacity_providers: Some(
                providers
                    .into_iter()
                    .map(|(name, count)| shape::DaemonDeploymentCapacityProvider {
                        arn: Some(capacity_provider_arn(scope, &name)),
                        draining_instance_count: count.map(|count| count.draining),
                        running_instance_count: count.map(|count| count.running),
                        without_daemon_instance_count: count.map(|count| count.without),
                    })
                    .collect(),
            ),
        }
    };
    let targets = usize::from(deployment.target.is_some());
    shape::DaemonDeployment {
        alarms: Some(describe_alarms(deployment)),
        circuit_breaker: Some(shape::DaemonCircuitBreaker {
            failure_count: Some(i32::try_from(deployment.failures).unwrap_or(i32::MAX)),
            status: Some(deployment.circuit_breaker.to_string()),
            threshold: Some(i32::try_from(deployment.threshold).unwrap_or(i32::MAX)),
        }),
        cluster_arn: Some(domain::Cluster::arn_of(scope, cluster).to_string()),
        created_at: Some(deployment.created_at),
        daemon_deployment_arn: Some(deployment.arn().to_string()),
        deployment_configuration: Some(describe_configuration(deployment)),
        finished_at: deployment.finished_at,
        rollback: deployment.rollback.as_ref().map(|rollback| shape::DaemonRollback {
            reason: Some(rollback.reason.clone()),
            rollback_capacity_providers: Some(
                rollback
                    .goal
                    .capacity_providers
                    .iter()
                    .map(|name| capacity_provider_arn(scope, name))
                    .collect(),
            ),
            rollback_target_daemon_revision_arn: Some(
                DaemonRevision::arn_of(scope, cluster, &deployment.daemon, &rollback.goal.revision)
                    .to_string(),
            ),
            started_at: Some(rollback.started_at),
        }),
        source_daemon_revisions: Some(
            deployment
                .sources
                .iter()
                .enumerate()
                .map(|(index, goal)| detail(targets + index, goal))
                .collect(),
        ),
        started_at: deployment.started_at,
        status: Some(deployment.status.to_string()),
        status_reason: deployment.status_reason.clone(),
        stopped_at: deployment.stopped_at,
        target_daemon_revision: deployment.target.as_ref().map(|goal| detail(0, goal)),
    }
}

fn describe_alarms(deployment: &DaemonDeployment) -> shape::DaemonDeploymentAlarms {
    let status = if !deployment.alarms_enabled {
        MonitorStatus::Disabled
    } else if !deployment.alarms_triggered.is_empty() {
        MonitorStatus::Triggered
    } else if deployment.status.is_final() || deployment.rollback.is_some() {
        MonitorStatus::MonitoringComplete
    } else {
        MonitorStatus::Monitoring
    };
    shape::DaemonDeploymentAlarms {
        alarm_names: Some(deployment.alarm_names.clone()),
        status: Some(status.to_string()),
        triggered_alarm_names: Some(deployment.alarms_triggered.clone()),
    }
}

fn describe_configuration(deployment: &DaemonDeployment) -> shape::DaemonDeploymentConfiguration {
    shape::DaemonDeploymentConfiguration {
        alarms: Some(shape::DaemonAlarmConfiguration {
            alarm_names: Some(deployment.alarm_names.clone()),
            enable: Some(deployment.alarms_enabled),
        }),
        bake_time_in_minutes: Some(i32::try_from(deployment.bake_time_minutes).unwrap_or(i32::MAX)),
        drain_percent: Some(f64::from(deployment.drain_percent_hundredths) / 100.0),
    }
}

/// A deployment in a listing.
pub fn summarize_deployment(deployment: &DaemonDeployment) -> shape::DaemonDeploymentSummary {
    let (scope, cluster) = (&deployment.scope, &deployment.cluster);
    shape::DaemonDeploymentSummary {
        cluster_arn: Some(domain::Cluster::arn_of(scope, cluster).to_string()),
        created_at: Some(deployment.created_at),
        daemon_arn: Some(Daemon::arn_of(scope, cluster, &deployment.daemon).to_string()),
        daemon_deployment_arn: Some(deployment.arn().to_string()),
        finished_at: deployment.finished_at,
        started_at: deployment.started_at,
        status: Some(deployment.status.to_string()),
        status_reason: deployment.status_reason.clone(),
        stopped_at: deployment.stopped_at,
        target_daemon_revision_arn: deployment.target.as_ref().map(|goal| {
            DaemonRevision::arn_of(scope, cluster, &deployment.daemon, &goal.revision).to_string()
        }),
    }
}

/// How an instance's daemons are: nothing where it has none, else why a critical one does not run there, if so.
pub fn health(snapshot: &Snapshot, instance: &ContainerInstance) -> Option<Result<(), String>> {
    let (account, region) = (instance.scope.account.as_str(), instance.scope.region.as_str());
    let parts = [account, region, instance.cluster.as_str(), instance.id.as_str()];
    let mut places =
        snapshot.index::<DaemonPlace>(DAEMON_PLACES_BY_CONTAINER_INSTANCE, &parts, None).peekable();
    places.peek()?;
    let impaired = places
        .find(|place| place.drained)
        .map(|place| format!("{}: {}", place.daemon, place.reason.as_deref().unwrap_or("does not run")));
    Some(impaired.map_or(Ok(()), Err))
}

/// The definition that a revision's tasks run by.
pub fn definition(snapshot: &Snapshot, revision: &DaemonRevision) -> Option<Versioned<DaemonTaskDefinition>> {
    super::daemon_task_definition::by_arn(snapshot, &revision.task_definition)
}
