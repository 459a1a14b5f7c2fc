//! Managed daemons: one task on every container instance of the capacity providers named. Source: AWS, "Amazon ECS
//! Managed Daemons" and the data types `DaemonDetail`, `DaemonRevision`, `DaemonDeployment`, `DaemonTaskDefinition`.

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ContainerImage, MonitorStatus, TaskDefinition, TaskDefinitionProjection, TaskDefinitionStatus};

word_enum! {
    /// A daemon task definition's state.
    DaemonTaskDefinitionStatus {
        /// May be used.
        Active = "ACTIVE",
        /// Deleted; daemons and tasks still refer to it.
        DeleteInProgress = "DELETE_IN_PROGRESS",
        /// Deleted, and nothing refers to it.
        Deleted = "DELETED",
    }
}

word_enum! {
    /// A daemon's state.
    DaemonStatus {
        /// Kept on every instance.
        Active = "ACTIVE",
        /// Its tasks are being stopped.
        DeleteInProgress = "DELETE_IN_PROGRESS",
    }
}

word_enum! {
    /// Where a daemon deployment stands.
    DaemonDeploymentStatus {
        /// Written, not begun.
        Pending = "PENDING",
        /// Every instance runs the target revision.
        Successful = "SUCCESSFUL",
        /// Failed without a way back, or replaced by a newer deployment.
        Stopped = "STOPPED",
        /// Is to go back; not begun.
        StopRequested = "STOP_REQUESTED",
        /// Under way.
        InProgress = "IN_PROGRESS",
        /// On the way back.
        RollbackInProgress = "ROLLBACK_IN_PROGRESS",
        /// Back at the revision before.
        RollbackSuccessful = "ROLLBACK_SUCCESSFUL",
        /// Could not go back.
        RollbackFailed = "ROLLBACK_FAILED",
    }
}

impl DaemonDeploymentStatus {
    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Successful | Self::Stopped | Self::RollbackSuccessful | Self::RollbackFailed)
    }
}

/// One revision of a daemon task definition family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonTaskDefinition {
    /// Whose and where.
    pub scope: Scope,
    /// 1 to 255 letters, digits, hyphens and underscores.
    pub family: String,
    /// From 1, never used again within the family.
    pub revision: i32,
    /// State.
    pub status: DaemonTaskDefinitionStatus,
    /// The AWS `DaemonTaskDefinition` shape in awsJson, as Describe echoes it (without status and moments).
    pub document: String,
    /// The `TaskDefinition` shape that its tasks run by, in awsJson.
    pub task_document: String,
    /// What placement needs of it.
    pub projection: TaskDefinitionProjection,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// The principal's ARN.
    pub registered_by: String,
    /// When its deletion was asked for.
    #[serde(default)]
    pub delete_requested_at: Option<Timestamp>,
    /// When it went to DELETED.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
}

/// A family: what was registered under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonTaskDefinitionFamily {
    /// Whose and where.
    pub scope: Scope,
    /// The name.
    pub family: String,
    /// The last revision given out; revisions are never used twice.
    pub last_revision: i32,
}

/// The first part of a daemon task definition's resource name.
const DAEMON_TASK_DEFINITION: &str = "daemon-task-definition";

impl DaemonTaskDefinition {
    /// `arn:aws:ecs:REGION:ACCOUNT:daemon-task-definition/FAMILY:REVISION`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.family, self.revision)
    }

    /// The ARN that the revision has or would have.
    pub fn arn_of(scope: &Scope, family: &str, revision: i32) -> Arn {
        Arn::new("ecs", scope, format!("{DAEMON_TASK_DEFINITION}/{family}:{revision}"))
    }

    /// Whether an ARN names a daemon task definition.
    pub fn is_arn(arn: &Arn) -> bool {
        arn.resource_type_and_id().is_some_and(|(kind, _)| kind == DAEMON_TASK_DEFINITION)
    }

    /// Family and revision that an ARN names.
    pub fn parse_arn(arn: &Arn) -> Option<(String, i32)> {
        let (kind, rest) = arn.resource_type_and_id()?;
        let (family, revision) = rest.split_once(':').filter(|_| kind == DAEMON_TASK_DEFINITION)?;
        Some((family.to_owned(), revision.parse().ok()?))
    }

    /// The plain task definition that its tasks run by.
    pub fn as_task_definition(&self) -> TaskDefinition {
        TaskDefinition {
            scope: self.scope.clone(),
            family: self.family.clone(),
            revision: self.revision,
            status: TaskDefinitionStatus::Active,
            document: self.task_document.clone(),
            projection: self.projection.clone(),
            tags: self.tags.clone(),
            registered_at: self.registered_at,
            registered_by: self.registered_by.clone(),
            deregistered_at: None,
            delete_requested_at: self.delete_requested_at,
        }
    }
}

/// What a daemon runs, and where: a revision and the capacity providers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonGoal {
    /// The revision's id.
    pub revision: String,
    /// Names of capacity providers, as given.
    pub capacity_providers: Vec<String>,
    /// Whether an instance counts as fit only while the daemon runs on it.
    pub critical: bool,
}

/// A daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// 1 to 255 letters, digits, hyphens and underscores.
    pub name: String,
    /// Identity of this life of the daemon: a name may be used again after a deletion.
    pub id: String,
    /// State.
    pub status: DaemonStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last change that a caller asked for.
    pub updated_at: Timestamp,
    /// What was asked for last.
    pub goal: DaemonGoal,
    /// What the last successful deployment reached, and a rollback goes to; `None` before the first one.
    #[serde(default)]
    pub steady: Option<DaemonGoal>,
    /// The newest deployment's id.
    pub deployment: String,
    /// Whether that deployment is under way.
    pub deploying: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// A revision: immutable but for what is learned of its images. Source: AWS, "DaemonRevision" data type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonRevision {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The daemon's name.
    pub daemon: String,
    /// Identity of the daemon's life.
    pub daemon_id: String,
    /// A UUID.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The daemon task definition.
    pub task_definition: Arn,
    /// Whether an instance counts as fit only while the daemon runs on it.
    pub critical: bool,
    /// `DAEMON` or `NONE`.
    pub propagate_tags: String,
    /// Whether tasks get `aws:ecs:` tags.
    pub enable_ecs_managed_tags: bool,
    /// Whether ECS Exec was asked for.
    #[serde(default)]
    pub enable_execute_command: bool,
    /// Images by container: name, image as written, digest once known.
    #[serde(default)]
    pub container_images: Vec<ContainerImage>,
    /// When it goes for good; `None` while its daemon is there.
    #[serde(default)]
    pub forget_at: Option<Timestamp>,
}

/// A deployment of a daemon. Source: AWS, "DaemonDeployment" data type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonDeployment {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The daemon's name.
    pub daemon: String,
    /// Identity of the daemon's life.
    pub daemon_id: String,
    /// 21 letters and digits.
    pub id: String,
    /// State.
    pub status: DaemonDeploymentStatus,
    /// Why, in a sentence.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended, whichever way.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// When it was stopped: it failed or was replaced.
    #[serde(default)]
    pub stopped_at: Option<Timestamp>,
    /// What it brings about; `None` is the daemon's end.
    #[serde(default)]
    pub target: Option<DaemonGoal>,
    /// The revisions that were running when it began.
    #[serde(default)]
    pub sources: Vec<DaemonGoal>,
    /// Percent of the instances that are replaced at once, in hundredths (2,500 is 25 %).
    pub drain_percent_hundredths: u32,
    /// Minutes between the last instance's update and the end.
    #[serde(default)]
    pub bake_time_minutes: u32,
    /// `alarms`: names, and whether they are watched.
    #[serde(default)]
    pub alarm_names: Vec<String>,
    /// Whether the alarms are watched.
    #[serde(default)]
    pub alarms_enabled: bool,
    /// Alarms that were in ALARM at the beginning: they do not count.
    #[serde(default)]
    pub alarms_ignored: Vec<String>,
    /// Alarms that ended it.
    #[serde(default)]
    pub alarms_triggered: Vec<String>,
    /// Failures so far, as the circuit breaker counts.
    #[serde(default)]
    pub failures: u32,
    /// Failures on the way back.
    #[serde(default)]
    pub rollback_failures: u32,
    /// Failures that end it; 0 before it began.
    #[serde(default)]
    pub threshold: u32,
    /// The circuit breaker.
    pub circuit_breaker: MonitorStatus,
    /// Since when every instance has been updated: the bake time's beginning.
    #[serde(default)]
    pub baking_since: Option<Timestamp>,
    /// The way back.
    #[serde(default)]
    pub rollback: Option<DaemonRollback>,
    /// When it goes for good; `None` while its daemon is there.
    #[serde(default)]
    pub forget_at: Option<Timestamp>,
}

/// A deployment's way back. Source: AWS, "DaemonRollback" data type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonRollback {
    /// Why.
    pub reason: String,
    /// Since when.
    pub started_at: Timestamp,
    /// Where to.
    pub goal: DaemonGoal,
}

/// A daemon's place on one container instance: which task has it, and how often it failed there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonPlace {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The daemon's name.
    pub daemon: String,
    /// The container instance's id.
    pub container_instance: String,
    /// The task that has the place; `None` between two.
    #[serde(default)]
    pub task: Option<String>,
    /// The revision that the task runs.
    #[serde(default)]
    pub revision: Option<String>,
    /// Whether the task was stopped on purpose, so that its end is no failure.
    #[serde(default)]
    pub stopping: bool,
    /// Failures in a row.
    #[serde(default)]
    pub failures: u32,
    /// No task is started before.
    #[serde(default)]
    pub start_not_before: Option<Timestamp>,
    /// Whether the daemon's failure has put the instance into DRAINING.
    #[serde(default)]
    pub drained: bool,
    /// Why the last attempt came to nothing.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a daemon task's group begins with; the daemon's name follows.
pub const GROUP_DAEMON: &str = "daemon:";
/// What a daemon task's `startedBy` begins with; the revision's id follows.
pub const STARTED_BY_DAEMON: &str = "ecs-daemon/";

impl Daemon {
    /// `arn:aws:ecs:REGION:ACCOUNT:daemon/CLUSTER/NAME`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.cluster, &self.name)
    }

    /// The ARN that the daemon `name` has or would have.
    pub fn arn_of(scope: &Scope, cluster: &str, name: &str) -> Arn {
        Arn::new("ecs", scope, format!("daemon/{cluster}/{name}"))
    }

    /// The task group of its tasks: `daemon:NAME`.
    pub fn group(&self) -> String {
        format!("{GROUP_DAEMON}{}", self.name)
    }

    /// The ARN of its newest deployment.
    pub fn deployment_arn(&self) -> Arn {
        DaemonDeployment::arn_of(&self.scope, &self.cluster, &self.name, &self.deployment)
    }
}

impl DaemonRevision {
    /// `arn:aws:ecs:REGION:ACCOUNT:daemon-revision/CLUSTER/DAEMON/ID`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.cluster, &self.daemon, &self.id)
    }

    /// The ARN that the revision `id` has or would have.
    pub fn arn_of(scope: &Scope, cluster: &str, daemon: &str, id: &str) -> Arn {
        Arn::new("ecs", scope, format!("daemon-revision/{cluster}/{daemon}/{id}"))
    }
}

impl DaemonDeployment {
    /// `arn:aws:ecs:REGION:ACCOUNT:daemon-deployment/CLUSTER/DAEMON/ID`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.cluster, &self.daemon, &self.id)
    }

    /// The ARN that the deployment `id` has or would have.
    pub fn arn_of(scope: &Scope, cluster: &str, daemon: &str, id: &str) -> Arn {
        Arn::new("ecs", scope, format!("daemon-deployment/{cluster}/{daemon}/{id}"))
    }

    /// Where it goes now: the target, or on the way back what was before. `None` is the daemon's end.
    pub fn goal(&self) -> Option<&DaemonGoal> {
        match &self.rollback {
            Some(rollback) => Some(&rollback.goal),
            None => self.target.as_ref(),
        }
    }
}
