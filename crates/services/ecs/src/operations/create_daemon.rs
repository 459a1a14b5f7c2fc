//! Makes a daemon: one task on every container instance of the capacity providers. AWS: CreateDaemon.
//!
//! Differs from AWS: see [`crate::resources::daemon`]. The machines are the caller's own, so that a deployment replaces the
//! daemon's task on a machine and not the machine. `enableExecuteCommand` is refused.

use api::ecs::operations::CreateDaemon;
use api::ecs::{CreateDaemonRequest, CreateDaemonResponse, DaemonDeploymentConfiguration};
use base::{Ids, Tag};
use domain::{
    Cluster, ContainerImage, Daemon, DaemonDeployment, DaemonDeploymentStatus, DaemonGoal, DaemonRevision,
    DaemonStatus, DaemonTaskDefinition, MonitorStatus,
};
use store::rows_daemon::{daemon_key, of_daemon, of_daemon_key};
use store::{Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{
    client_token, cluster, daemon, daemon_task_definition, identifier, tag, task_definition::Reference,
};
use crate::{Ecs, faults, launch};

/// `drainPercent` where the caller does not say, in hundredths. Source: "Daemon deployments".
pub const DRAIN_PERCENT_DEFAULT_HUNDREDTHS: u32 = 2_500;
/// Minutes of bake time at most. Source: "Daemon deployments" (0-1440).
const BAKE_MINUTES_MAXIMUM: i32 = 1_440;
/// Alarms of one deployment. Ours: AWS names no bound for daemons.
const ALARMS: usize = 10;
/// Deployments that are kept of one daemon. Ours: AWS keeps those of services for 90 days.
const DEPLOYMENTS_KEPT: usize = 100;

/// The deployment parameters of a call, checked.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// `drainPercent` in hundredths.
    pub drain_percent_hundredths: u32,
    /// `bakeTimeInMinutes`.
    pub bake_time_minutes: u32,
    /// `alarms.alarmNames`.
    pub alarm_names: Vec<String>,
    /// `alarms.enable`.
    pub alarms_enabled: bool,
}

impl Configuration {
    /// That of an earlier deployment.
    pub fn of(deployment: &DaemonDeployment) -> Self {
        Self {
            drain_percent_hundredths: deployment.drain_percent_hundredths,
            bake_time_minutes: deployment.bake_time_minutes,
            alarm_names: deployment.alarm_names.clone(),
            alarms_enabled: deployment.alarms_enabled,
        }
    }
}

impl Operation<CreateDaemon> for Ecs {
    fn permissions(&self, call: &Call, input: &CreateDaemonRequest) -> Vec<Permission> {
        let cluster = cluster::name(call, input.cluster_arn.as_deref()).unwrap_or_else(|_| "*".to_owned());
        let name = input.daemon_name.as_deref().unwrap_or("*");
        let resource = Daemon::arn_of(&call.scope, &cluster, name).to_string();
        let cluster = cluster::arn_for_permission(call, input.cluster_arn.as_deref());
        vec![Permission::new("ecs:CreateDaemon", resource).when("ecs:cluster", cluster)]
    }

    async fn handle(&self, call: &Call, input: CreateDaemonRequest) -> Result<CreateDaemonResponse, Fault> {
        let cluster_name = cluster::name(call, input.cluster_arn.as_deref())?;
        let name = parse_name(input.daemon_name.as_deref())?;
        let definition = daemon_task_definition::parse(
            call,
            input.daemon_task_definition_arn.as_deref().unwrap_or_default(),
        )?;
        let configuration =
            parse_configuration(input.deployment_configuration.as_ref())?.unwrap_or(Configuration {
                drain_percent_hundredths: DRAIN_PERCENT_DEFAULT_HUNDREDTHS,
                bake_time_minutes: 0,
                alarm_names: Vec::new(),
                alarms_enabled: false,
            });
        let tags = tag::parse(input.tags.clone())?;
        let revision = RevisionWish {
            definition,
            critical: input.critical.unwrap_or(true),
            propagate_tags: parse_propagate_tags(input.propagate_tags.as_deref())?
                .unwrap_or_else(|| "NONE".to_owned()),
            enable_ecs_managed_tags: input.enable_ecs_managed_tags.unwrap_or(false),
        };
        refuse_execute_command(input.enable_execute_command)?;
        let providers = input.capacity_provider_arns.clone().unwrap_or_default();
        let token = client_token::parse(input.client_token.as_deref())?;
        let digest = client_token::digest(&CreateDaemonRequest { client_token: None, ..input });

        let update = self.store.update(|snapshot| {
            let cluster = cluster::get(snapshot, &call.scope, &cluster_name)?;
            if let Some(there) = repeated(snapshot, call, token.as_deref(), &digest)? {
                return Ok((Transaction::new(), there));
            }
            refuse_name_in_use(snapshot, call, &cluster, &name)?;
            let providers =
                daemon::parse_capacity_providers(snapshot, call, &providers, &cluster.capacity_providers)?;
            let mut transaction = Transaction::new();
            // The cluster's row is written so that a deletion of the cluster under way starts over and sees the daemon.
            transaction.replace(&cluster, Cluster::clone(&cluster));
            let made = make(snapshot, call, self.ids.as_ref(), &cluster, &name, &tags, &revision, providers)?;
            let (daemon, daemon_revision) = made;
            let deployment = deployment(call, &daemon, Some(daemon.goal.clone()), Vec::new(), &configuration);
            if let Some(token) = &token {
                let made = vec![cluster.name.clone(), name.clone()];
                client_token::remember(
                    snapshot,
                    &mut transaction,
                    call,
                    "CreateDaemon",
                    token,
                    &digest,
                    made,
                );
            }
            transaction.insert(daemon_revision);
            transaction.insert(deployment);
            transaction.insert(daemon.clone());
            Ok((transaction, daemon))
        });
        let daemon = update.await.map_err(faults::of_update)?;

        Ok(CreateDaemonResponse {
            created_at: Some(daemon.created_at),
            daemon_arn: Some(daemon.arn().to_string()),
            deployment_arn: Some(daemon.deployment_arn().to_string()),
            status: Some(daemon.status.to_string()),
        })
    }
}

/// What a revision is made of.
#[derive(Clone, Debug)]
pub struct RevisionWish {
    /// The daemon task definition as the caller names it.
    pub definition: Reference,
    /// `critical`.
    pub critical: bool,
    /// `propagateTags`.
    pub propagate_tags: String,
    /// `enableECSManagedTags`.
    pub enable_ecs_managed_tags: bool,
}

impl RevisionWish {
    /// The revision of `daemon` that this makes.
    pub fn make(
        &self,
        snapshot: &Snapshot,
        call: &Call,
        ids: &dyn Ids,
        daemon: &Daemon,
    ) -> Result<DaemonRevision, Fault> {
        let definition = daemon_task_definition::usable(snapshot, &call.scope, &self.definition)?;
        let image = |container: &domain::ContainerProjection| ContainerImage {
            container: container.name.clone(),
            image: container.image.clone(),
            digest: None,
            consistent: false,
        };
        Ok(DaemonRevision {
            scope: call.scope.clone(),
            cluster: daemon.cluster.clone(),
            daemon: daemon.name.clone(),
            daemon_id: daemon.id.clone(),
            id: ids.uuid(),
            created_at: call.now,
            task_definition: DaemonTaskDefinition::arn(&definition),
            critical: self.critical,
            propagate_tags: self.propagate_tags.clone(),
            enable_ecs_managed_tags: self.enable_ecs_managed_tags,
            enable_execute_command: false,
            container_images: definition.projection.containers.iter().map(image).collect(),
            forget_at: None,
        })
    }
}

#[allow(clippy::too_many_arguments)]
fn make(
    snapshot: &Snapshot,
    call: &Call,
    ids: &dyn Ids,
    cluster: &Cluster,
    name: &str,
    tags: &[Tag],
    wish: &RevisionWish,
    capacity_providers: Vec<String>,
) -> Result<(Daemon, DaemonRevision), Fault> {
    let mut daemon = Daemon {
        scope: call.scope.clone(),
        cluster: cluster.name.clone(),
        name: name.to_owned(),
        id: ids.uuid(),
        status: DaemonStatus::Active,
        created_at: call.now,
        updated_at: call.now,
        goal: DaemonGoal { revision: String::new(), capacity_providers, critical: wish.critical },
        steady: None,
        deployment: ids.word(21),
        deploying: true,
        tags: tags.to_vec(),
    };
    let revision = wish.make(snapshot, call, ids, &daemon)?;
    daemon.goal.revision.clone_from(&revision.id);
    Ok((daemon, revision))
}

/// A deployment of `daemon`, whose id the daemon has already.
pub fn deployment(
    call: &Call,
    daemon: &Daemon,
    target: Option<DaemonGoal>,
    sources: Vec<DaemonGoal>,
    configuration: &Configuration,
) -> DaemonDeployment {
    DaemonDeployment {
        scope: daemon.scope.clone(),
        cluster: daemon.cluster.clone(),
        daemon: daemon.name.clone(),
        daemon_id: daemon.id.clone(),
        id: daemon.deployment.clone(),
        status: DaemonDeploymentStatus::Pending,
        status_reason: None,
        created_at: call.now,
        started_at: None,
        finished_at: None,
        stopped_at: None,
        target,
        sources,
        drain_percent_hundredths: configuration.drain_percent_hundredths,
        bake_time_minutes: configuration.bake_time_minutes,
        alarm_names: configuration.alarm_names.clone(),
        alarms_enabled: configuration.alarms_enabled,
        alarms_ignored: Vec::new(),
        alarms_triggered: Vec::new(),
        failures: 0,
        rollback_failures: 0,
        threshold: 0,
        circuit_breaker: MonitorStatus::Disabled,
        baking_since: None,
        rollback: None,
        forget_at: None,
    }
}

/// Adds to a transaction that deployments and revisions beyond those kept go.
pub fn forget_old(snapshot: &Snapshot, transaction: &mut Transaction, daemon: &Daemon) {
    let prefix = || of_daemon(&daemon.scope, &daemon.cluster, &daemon.name);
    let mut deployments: Vec<_> = snapshot
        .scan::<DaemonDeployment>(prefix(), None)
        .filter(|row| row.status.is_final() && row.id != daemon.deployment)
        .collect();
    let beyond = deployments.len().saturating_sub(DEPLOYMENTS_KEPT - 1);
    deployments.sort_by_key(|row| row.created_at);
    let kept: std::collections::BTreeSet<String> = deployments[beyond..]
        .iter()
        .flat_map(|row| row.target.iter().chain(&row.sources))
        .chain([&daemon.goal])
        .chain(&daemon.steady)
        .map(|goal| goal.revision.clone())
        .collect();
    for row in &deployments[..beyond] {
        transaction.remove(row);
        for goal in row.target.iter().chain(&row.sources).filter(|goal| !kept.contains(&goal.revision)) {
            let key = of_daemon_key(&daemon.scope, &daemon.cluster, &daemon.name, &goal.revision);
            transaction.delete::<DaemonRevision>(&key);
        }
    }
}

fn parse_name(name: Option<&str>) -> Result<String, Fault> {
    match name {
        Some(name) if identifier::is_name(name) => Ok(name.to_owned()),
        _ => Err(faults::invalid(
            "The daemon name can have 1 to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens.",
        )),
    }
}

/// Reads `propagateTags`.
pub fn parse_propagate_tags(word: Option<&str>) -> Result<Option<String>, Fault> {
    match word {
        None => Ok(None),
        Some(word @ ("DAEMON" | "NONE")) => Ok(Some(word.to_owned())),
        Some(other) => Err(faults::invalid(format!("Invalid value for propagateTags: {other}"))),
    }
}

/// No task of this release can be looked into by ECS Exec.
pub fn refuse_execute_command(given: Option<bool>) -> Result<(), Fault> {
    if given == Some(true) {
        return Err(launch::unsupported("enableExecuteCommand"));
    }
    Ok(())
}

/// Reads `deploymentConfiguration`; `None` where the call has none.
pub fn parse_configuration(
    given: Option<&DaemonDeploymentConfiguration>,
) -> Result<Option<Configuration>, Fault> {
    let Some(given) = given else { return Ok(None) };
    let hundredths = match given.drain_percent {
        None => DRAIN_PERCENT_DEFAULT_HUNDREDTHS,
        Some(percent) if (1.0..=100.0).contains(&percent) => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let hundredths = (percent * 100.0).floor() as u32;
            hundredths
        }
        Some(_) => return Err(faults::invalid("drainPercent must be between 1.0 and 100.0.")),
    };
    let minutes = given.bake_time_in_minutes.unwrap_or(0);
    if !(0..=BAKE_MINUTES_MAXIMUM).contains(&minutes) {
        return Err(faults::invalid(format!(
            "bakeTimeInMinutes must be between 0 and {BAKE_MINUTES_MAXIMUM}."
        )));
    }
    let alarms = given.alarms.clone().unwrap_or_default();
    let alarm_names = alarms.alarm_names.unwrap_or_default();
    let alarms_enabled = alarms.enable.unwrap_or(false);
    if alarm_names.len() > ALARMS || alarm_names.iter().any(|name| name.is_empty() || name.len() > 255) {
        return Err(faults::invalid("alarms.alarmNames is invalid."));
    }
    if alarms_enabled && alarm_names.is_empty() {
        return Err(faults::invalid("alarms.alarmNames cannot be empty when the alarms are enabled."));
    }
    Ok(Some(Configuration {
        drain_percent_hundredths: hundredths,
        bake_time_minutes: u32::try_from(minutes).unwrap_or_default(),
        alarm_names,
        alarms_enabled,
    }))
}

fn repeated(
    snapshot: &Snapshot,
    call: &Call,
    token: Option<&str>,
    digest: &str,
) -> Result<Option<Daemon>, Fault> {
    let used = token.and_then(|token| client_token::used(snapshot, call, "CreateDaemon", token, digest));
    let Some((same, made)) = used else { return Ok(None) };
    if !same {
        return Err(faults::invalid("The client token was used before with other parameters."));
    }
    let [cluster, name] = made.as_slice() else { return Ok(None) };
    let there = snapshot.get::<Daemon>(&daemon_key(&call.scope, cluster, name));
    Ok(there.map(|there| Daemon::clone(&there)))
}

fn refuse_name_in_use(snapshot: &Snapshot, call: &Call, cluster: &Cluster, name: &str) -> Result<(), Fault> {
    match snapshot.get::<Daemon>(&daemon_key(&call.scope, &cluster.name, name)) {
        None => Ok(()),
        Some(there) if there.status == DaemonStatus::Active => {
            Err(faults::invalid("Creation of daemon was not idempotent."))
        }
        Some(_) => Err(faults::invalid("Unable to create a daemon that is still being deleted.")),
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use crate::testing::{World, text};

    /// A cluster with a capacity provider `own` of machines of one's own, and the daemon task definition `agent`.
    pub async fn world() -> World {
        let world = World::with_cluster().await;
        let group = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:a:autoScalingGroupName/own";
        let body = json!({"name": "own", "autoScalingGroupProvider": {"autoScalingGroupArn": group}});
        world.ok("CreateCapacityProvider", body).await;
        let body = json!({"cluster": "default", "capacityProviders": ["own"], "defaultCapacityProviderStrategy": []});
        world.ok("PutClusterCapacityProviders", body).await;
        register(&world, "busybox").await;
        world
    }

    /// Registers a revision of `agent` with this image.
    pub async fn register(world: &World, image: &str) {
        let container = json!({"name": "app", "image": image, "memory": 64});
        let body = json!({"family": "agent", "containerDefinitions": [container]});
        world.ok("RegisterDaemonTaskDefinition", body).await;
    }

    /// The plain request, with `change` merged into it.
    pub fn request(change: Value) -> Value {
        let mut body = json!({
            "daemonName": "watch",
            "daemonTaskDefinitionArn": "agent",
            "capacityProviderArns": ["arn:aws:ecs:us-east-1:000000000000:capacity-provider/own"],
        });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    }

    #[tokio::test]
    async fn is_written_with_its_revision_and_deployment() {
        let world = world().await;
        let made = world
            .ok("CreateDaemon", request(json!({"clientToken": "t", "tags": [{"key": "a", "value": "b"}]})))
            .await;
        let arn = text(&made, "/daemonArn");
        assert_eq!(arn, "arn:aws:ecs:us-east-1:000000000000:daemon/default/watch");
        assert_eq!(text(&made, "/status"), "ACTIVE");
        let again = world
            .ok("CreateDaemon", request(json!({"clientToken": "t", "tags": [{"key": "a", "value": "b"}]})))
            .await;
        assert_eq!(again, made, "the same token");
        world.ok("TagResource", json!({"resourceArn": arn, "tags": [{"key": "c", "value": "d"}]})).await;
        world.ok("UntagResource", json!({"resourceArn": arn, "tagKeys": ["a"]})).await;
        let tags = world.ok("ListTagsForResource", json!({"resourceArn": arn})).await;
        assert_eq!(tags["tags"], json!([{"key": "c", "value": "d"}]));
        let shown = world.ok("DescribeDaemon", json!({"daemonArn": arn})).await;
        let revision = text(&shown, "/daemon/currentRevisions/0/arn");
        assert_eq!(
            shown["daemon"]["currentRevisions"][0]["capacityProviders"],
            json!([{"arn": "arn:aws:ecs:us-east-1:000000000000:capacity-provider/own", "runningCount": 0, "withoutDaemonCount": 0}])
        );
        let revisions = world.ok("DescribeDaemonRevisions", json!({"daemonRevisionArns": [revision]})).await;
        let revision = &revisions["daemonRevisions"][0];
        assert_eq!(revision["critical"], true, "the default");
        assert_eq!(revision["propagateTags"], "NONE");
        assert_eq!(revision["containerImages"], json!([{"containerName": "app", "image": "busybox"}]));
        let deployment = text(&made, "/deploymentArn");
        let shown =
            world.ok("DescribeDaemonDeployments", json!({"daemonDeploymentArns": [deployment]})).await;
        let shown = &shown["daemonDeployments"][0];
        assert_eq!(shown["status"], "PENDING");
        assert_eq!(
            shown["deploymentConfiguration"],
            json!({"alarms": {"alarmNames": [], "enable": false}, "bakeTimeInMinutes": 0, "drainPercent": 25.0})
        );
        assert_eq!(shown["alarms"]["status"], "DISABLED");
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = world().await;
        world.ok("CreateDaemon", request(json!({"clientToken": "t"}))).await;
        for (change, wanted) in [
            (json!({}), "InvalidParameterException: Creation of daemon was not idempotent."),
            (
                json!({"clientToken": "t", "critical": false}),
                "InvalidParameterException: The client token was used before with other parameters.",
            ),
            (json!({"clusterArn": "ghost"}), "ClusterNotFoundException: Cluster not found."),
            (
                json!({"daemonName": "two", "daemonTaskDefinitionArn": "ghost"}),
                "ClientException: DaemonTaskDefinition not found.",
            ),
            (
                json!({"daemonName": "two", "capacityProviderArns": []}),
                "InvalidParameterException: capacityProviderArns cannot be empty.",
            ),
            (
                json!({"daemonName": "two", "capacityProviderArns": ["FARGATE"]}),
                "InvalidParameterException: Daemons are not supported on the capacity provider FARGATE.",
            ),
            (
                json!({"daemonName": "two", "capacityProviderArns": ["ghost"]}),
                "InvalidParameterException: The specified capacity provider was not found. Specify a valid name or ARN and try again.",
            ),
            (
                json!({"daemonName": "two", "capacityProviderArns": ["own", "own"]}),
                "InvalidParameterException: A capacity provider can only be specified once.",
            ),
            (
                json!({"daemonName": "two", "enableExecuteCommand": true}),
                "ClientException: enableExecuteCommand is not supported by this release of Roadstead.",
            ),
            (
                json!({"daemonName": "two", "deploymentConfiguration": {"drainPercent": 0.5}}),
                "InvalidParameterException: drainPercent must be between 1.0 and 100.0.",
            ),
            (
                json!({"daemonName": "two", "deploymentConfiguration": {"bakeTimeInMinutes": 1441}}),
                "InvalidParameterException: bakeTimeInMinutes must be between 0 and 1440.",
            ),
        ] {
            assert_eq!(world.refused("CreateDaemon", request(change.clone())).await, wanted, "{change}");
        }
        for change in [
            json!({"daemonName": "a b"}),
            json!({"daemonName": "x".repeat(256)}),
            json!({"daemonName": "two", "clientToken": "x".repeat(37)}),
            json!({"daemonName": "two", "propagateTags": "SERVICE"}),
            json!({"daemonName": "two", "deploymentConfiguration": {"drainPercent": 101.0}}),
            json!({"daemonName": "two", "deploymentConfiguration": {"alarms": {"enable": true, "alarmNames": []}}}),
            json!({"daemonName": "two", "tags": [{"key": "aws:x", "value": "y"}]}),
        ] {
            world.refused("CreateDaemon", request(change)).await;
        }
        let listed = world.ok("ListDaemons", json!({})).await;
        assert_eq!(
            listed["daemonSummariesList"].as_array().unwrap().len(),
            1,
            "what is refused leaves nothing"
        );
    }
}
