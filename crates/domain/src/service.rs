//! Services. Source: AWS, "Service" data type and "Service definition parameters".

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{AwsVpcConfiguration, CapacityProviderStrategyItem, LaunchType, TaskRegistry};

word_enum! {
    /// A service's state.
    ServiceStatus {
        /// Kept at its desired count.
        Active = "ACTIVE",
        /// Deleted: its tasks are being stopped.
        Draining = "DRAINING",
        /// Gone; can be described for a while.
        Inactive = "INACTIVE",
    }
}

word_enum! {
    /// How many tasks a service has, and where.
    SchedulingStrategy {
        /// The desired count, wherever there is room.
        Replica = "REPLICA",
        /// One on every container instance that fits.
        Daemon = "DAEMON",
    }
}

word_enum! {
    /// Who rolls out a service's new revisions.
    DeploymentControllerType {
        /// Amazon ECS.
        Ecs = "ECS",
        /// AWS CodeDeploy, through task sets.
        CodeDeploy = "CODE_DEPLOY",
        /// Anyone, through task sets.
        External = "EXTERNAL",
    }
}

word_enum! {
    /// How far a revision's rollout is. Source: AWS, "Deployment" data type.
    RolloutState {
        /// Under way.
        InProgress = "IN_PROGRESS",
        /// Reached a steady state.
        Completed = "COMPLETED",
        /// Ended by a circuit breaker, an alarm, a hook or a call.
        Failed = "FAILED",
    }
}

word_enum! {
    /// What a revision is to its service. Source: AWS, "Deployment" data type, `status`.
    RevisionStatus {
        /// The newest one.
        Primary = "PRIMARY",
        /// An older one that still has tasks.
        Active = "ACTIVE",
        /// Replaced in full.
        Inactive = "INACTIVE",
    }
}

/// A service. What changes at every deployment is in its [`ServiceRevision`]s; what applies at once is here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// 1 to 255 letters, digits, hyphens and underscores.
    pub name: String,
    /// Identity of this life of the service: a name may be used again after a deletion.
    pub id: String,
    /// State.
    pub status: ServiceStatus,
    /// Scheduling strategy.
    pub scheduling_strategy: SchedulingStrategy,
    /// Deployment controller.
    pub deployment_controller: DeploymentControllerType,
    /// How many tasks are wanted (REPLICA; 0 for DAEMON).
    pub desired_count: i32,
    /// When it was made.
    pub created_at: Timestamp,
    /// The principal's ARN.
    #[serde(default)]
    pub created_by: Option<String>,
    /// `role` of the call: a role's name or ARN.
    #[serde(default)]
    pub role: Option<String>,
    /// `DeploymentConfiguration` with its defaults filled in, in awsJson: what Describe echoes and a deployment takes a
    /// copy of when it begins.
    pub deployment_configuration_document: String,
    /// `placementConstraints` in order: type and expression.
    #[serde(default)]
    pub placement_constraints: Vec<(String, Option<String>)>,
    /// `placementStrategy` in order: type and field.
    #[serde(default)]
    pub placement_strategy: Vec<(String, Option<String>)>,
    /// `platformVersion` as it was asked for (`LATEST` or `1.4.0`); `None` off Fargate.
    #[serde(default)]
    pub platform_version: Option<String>,
    /// SHA-256 of CreateService's parameters, in hexadecimal: the same call again is answered with the same service.
    #[serde(default)]
    pub request_digest: Option<String>,
    /// Seconds for which failing load balancer and container health checks do not count.
    #[serde(default)]
    pub health_check_grace_period_seconds: Option<i32>,
    /// Whether tasks are moved to even out Availability Zones.
    #[serde(default)]
    pub availability_zone_rebalancing: bool,
    /// Whether tasks get `aws:ecs:` tags.
    #[serde(default)]
    pub enable_ecs_managed_tags: bool,
    /// Whether ECS Exec was asked for.
    #[serde(default)]
    pub enable_execute_command: bool,
    /// `TASK_DEFINITION`, `SERVICE` or `NONE`.
    #[serde(default)]
    pub propagate_tags: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// The revisions that have or may get tasks, newest (PRIMARY) first. Empty with the EXTERNAL and CODE_DEPLOY
    /// controllers, which have task sets instead.
    #[serde(default)]
    pub revisions: Vec<RevisionInUse>,
    /// The service deployment under way.
    #[serde(default)]
    pub current_deployment: Option<String>,
    /// Counts every change that a caller asked for; a decision made for an older one is void.
    #[serde(default)]
    pub generation: u64,
    /// Number of the last event written.
    #[serde(default)]
    pub last_event: u64,
    /// Whether the last word said was that it has reached a steady state.
    #[serde(default)]
    pub steady: bool,
    /// When the scheduler last said so: AWS repeats it every six hours.
    #[serde(default)]
    pub steady_at: Option<Timestamp>,
    /// Tasks in a row that ended without having been RUNNING for long enough: the throttle's measure.
    #[serde(default)]
    pub failed_starts: u32,
    /// No task is started before this moment: the throttle's verdict.
    #[serde(default)]
    pub start_not_before: Option<Timestamp>,
}

/// A revision as its service uses it. Source: AWS, "Deployment" data type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevisionInUse {
    /// The revision's id; its tasks' `startedBy` is `ecs-svc/ID`.
    pub id: String,
    /// What it is to the service.
    pub status: RevisionStatus,
    /// Tasks it is to have now; the deployment decider sets it.
    pub desired_count: i32,
    /// Since when.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Rollout.
    pub rollout_state: RolloutState,
    /// Why, in AWS's words.
    pub rollout_state_reason: String,
    /// Tasks that failed since the deployment began, as the circuit breaker counts.
    #[serde(default)]
    pub failed_tasks: u32,
    /// Share of production traffic that it is to have, in tenths of a percent (0 to 1,000).
    #[serde(default)]
    pub production_weight: u16,
    /// Share of test traffic that it is to have, in tenths of a percent.
    #[serde(default)]
    pub test_weight: u16,
}

/// A revision: immutable but for what is learned of its images. Source: AWS, "ServiceRevision" data type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRevision {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The service's name.
    pub service: String,
    /// 19 digits.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The task definition's revision; `None` with the EXTERNAL controller.
    #[serde(default)]
    pub task_definition: Option<Arn>,
    /// Launch type; with a strategy, that of its providers.
    pub launch_type: LaunchType,
    /// The strategy; empty where the launch type was given or defaulted.
    #[serde(default)]
    pub capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    /// Fargate platform version, resolved (`1.4.0`).
    #[serde(default)]
    pub platform_version: Option<String>,
    /// `awsvpcConfiguration`.
    #[serde(default)]
    pub awsvpc_configuration: Option<AwsVpcConfiguration>,
    /// The parameters of the call that a revision shows and that are not above (`loadBalancers`, `serviceRegistries`,
    /// `serviceConnectConfiguration`, `volumeConfigurations`, `vpcLatticeConfigurations`, `gatewayConnectors`,
    /// `monitoring`): a `ServiceRevision` in awsJson with only those members set.
    pub document: String,
    /// What Service Connect is to its tasks, where it is on.
    #[serde(default)]
    pub connect: Option<RevisionConnect>,
    /// Images by container: name, image as written, digest once known. Tasks started later run the digest.
    #[serde(default)]
    pub container_images: Vec<ContainerImage>,
}

/// What Service Connect is to a revision's tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionConnect {
    /// The id of the namespace whose services they call.
    pub namespace: String,
    /// Services that they are: discovery name, and what they are registered as.
    #[serde(default)]
    pub serves: Vec<(String, TaskRegistry)>,
}

/// An image that a revision runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerImage {
    /// The container's name.
    pub container: String,
    /// As the task definition writes it.
    pub image: String,
    /// `sha256:…`, once a task has pulled it.
    #[serde(default)]
    pub digest: Option<String>,
    /// Whether tasks started later run the digest (`versionConsistency` is not `disabled`).
    #[serde(default)]
    pub consistent: bool,
}

/// Something that a service's scheduler has to say; the last 100 are kept. Source: AWS, "ServiceEvent" data type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEvent {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The service's name.
    pub service: String,
    /// Rises by one.
    pub number: u64,
    /// A UUID.
    pub id: String,
    /// When.
    pub created_at: Timestamp,
    /// In AWS's words.
    pub message: String,
}

/// What a task's `startedBy` begins with when a service's scheduler started it; a revision's or task set's id follows.
pub const STARTED_BY_SERVICE: &str = "ecs-svc/";

impl Service {
    /// `arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/NAME`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.cluster, &self.name)
    }

    /// The ARN that the service `name` has or would have.
    pub fn arn_of(scope: &Scope, cluster: &str, name: &str) -> Arn {
        Arn::new("ecs", scope, format!("service/{cluster}/{name}"))
    }

    /// The task group of its tasks: `service:NAME`.
    pub fn group(&self) -> String {
        format!("service:{}", self.name)
    }

    /// The newest revision.
    pub fn primary(&self) -> Option<&RevisionInUse> {
        self.revisions.iter().find(|revision| revision.status == RevisionStatus::Primary)
    }
}

impl RevisionInUse {
    /// `ecs-svc/ID`: the deployment's id on the wire, and `startedBy` of its tasks.
    pub fn started_by(&self) -> String {
        format!("{STARTED_BY_SERVICE}{}", self.id)
    }
}

impl ServiceRevision {
    /// `arn:aws:ecs:REGION:ACCOUNT:service-revision/CLUSTER/SERVICE/ID`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.cluster, &self.service, &self.id)
    }

    /// The ARN that the revision `id` has or would have.
    pub fn arn_of(scope: &Scope, cluster: &str, service: &str, id: &str) -> Arn {
        Arn::new("ecs", scope, format!("service-revision/{cluster}/{service}/{id}"))
    }
}
