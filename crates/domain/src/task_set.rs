//! Task sets: revisions of a service whose rollout somebody else leads. Source: AWS, "TaskSet" data type.

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{AwsVpcConfiguration, CapacityProviderStrategyItem, LaunchType};

word_enum! {
    /// What a task set is to its service.
    TaskSetStatus {
        /// Serves production traffic.
        Primary = "PRIMARY",
        /// Does not.
        Active = "ACTIVE",
        /// Its tasks are being stopped.
        Draining = "DRAINING",
    }
}

word_enum! {
    /// Whether a task set has what it should have.
    StabilityStatus {
        /// As many running tasks as computed, none pending, none unhealthy.
        SteadyState = "STEADY_STATE",
        /// Not yet.
        Stabilizing = "STABILIZING",
    }
}

/// A task set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSet {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The service's name.
    pub service: String,
    /// 19 digits; on the wire `ecs-svc/ID`, which is also `startedBy` of its tasks.
    pub id: String,
    /// What it is to the service.
    pub status: TaskSetStatus,
    /// `externalId`.
    #[serde(default)]
    pub external_id: Option<String>,
    /// `CODE_DEPLOY` where that controller made it.
    #[serde(default)]
    pub started_by: Option<String>,
    /// The task definition's revision.
    pub task_definition: Arn,
    /// Launch type; with a strategy, that of its providers.
    pub launch_type: LaunchType,
    /// The strategy.
    #[serde(default)]
    pub capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    /// Fargate platform version.
    #[serde(default)]
    pub platform_version: Option<String>,
    /// `awsvpcConfiguration`.
    #[serde(default)]
    pub awsvpc_configuration: Option<AwsVpcConfiguration>,
    /// `loadBalancers` and `serviceRegistries`: a `TaskSet` in awsJson with only those members set.
    pub document: String,
    /// Percent of the service's desired count, in hundredths of a percent (0 to 10,000).
    pub scale_hundredths_percent: i32,
    /// Desired count times scale, rounded up.
    pub computed_desired_count: i32,
    /// Stability.
    pub stability_status: StabilityStatus,
    /// Since when.
    pub stability_status_at: Timestamp,
    /// Made.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

impl TaskSet {
    /// `arn:aws:ecs:REGION:ACCOUNT:task-set/CLUSTER/SERVICE/ecs-svc/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new(
            "ecs",
            &self.scope,
            format!("task-set/{}/{}/ecs-svc/{}", self.cluster, self.service, self.id),
        )
    }
}
