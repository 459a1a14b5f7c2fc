//! Capacity providers of one's own, their associations with clusters, and the queue of tasks that wait for capacity.
//! Source: AWS, "CapacityProvider" data type, "Amazon ECS capacity providers" and "Automatically manage Amazon ECS capacity
//! with cluster auto scaling". `FARGATE` and `FARGATE_SPOT` are always there and have no row.

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

word_enum! {
    /// A capacity provider's state.
    CapacityProviderStatus {
        /// Being made.
        Provisioning = "PROVISIONING",
        /// Can be used.
        Active = "ACTIVE",
        /// Being deleted.
        Deprovisioning = "DEPROVISIONING",
        /// Deleted.
        Inactive = "INACTIVE",
    }
}

word_enum! {
    /// What came of the last change of a capacity provider.
    CapacityProviderUpdateStatus {
        /// Being made.
        CreateInProgress = "CREATE_IN_PROGRESS",
        /// Made.
        CreateComplete = "CREATE_COMPLETE",
        /// Could not be made.
        CreateFailed = "CREATE_FAILED",
        /// Being deleted.
        DeleteInProgress = "DELETE_IN_PROGRESS",
        /// Deleted.
        DeleteComplete = "DELETE_COMPLETE",
        /// Could not be deleted.
        DeleteFailed = "DELETE_FAILED",
        /// Being changed.
        UpdateInProgress = "UPDATE_IN_PROGRESS",
        /// Changed.
        UpdateComplete = "UPDATE_COMPLETE",
        /// Could not be changed.
        UpdateFailed = "UPDATE_FAILED",
    }
}

word_enum! {
    /// Where an association of a provider with a cluster stands.
    AssociationStatus {
        /// Written; the control plane has not taken it up.
        Precreated = "PRECREATED",
        /// In force.
        Created = "CREATED",
        /// The Auto Scaling group cannot be had.
        Failed = "FAILED",
    }
}

/// How a provider scales its Auto Scaling group. Source: AWS, "ManagedScaling" data type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedScaling {
    /// Whether it does.
    pub enabled: bool,
    /// The reservation to hold, in percent, 1 to 100.
    pub target_capacity: i32,
    /// The least number of instances by which to scale out, 1 to 10,000.
    pub minimum_scaling_step_size: i32,
    /// The greatest, 1 to 10,000.
    pub maximum_scaling_step_size: i32,
    /// Seconds until a new instance counts, 0 to 10,000.
    pub instance_warmup_period_seconds: i32,
}

impl Default for ManagedScaling {
    /// AWS's defaults.
    fn default() -> Self {
        Self {
            enabled: false,
            target_capacity: 100,
            minimum_scaling_step_size: 1,
            maximum_scaling_step_size: 10_000,
            instance_warmup_period_seconds: 300,
        }
    }
}

/// A capacity provider of the type `EC2_AUTOSCALING`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityProvider {
    /// Whose and where.
    pub scope: Scope,
    /// 1 to 255 letters, digits, hyphens and underscores.
    pub name: String,
    /// State.
    pub status: CapacityProviderStatus,
    /// What came of the last change; `None` before the first one.
    #[serde(default)]
    pub update_status: Option<CapacityProviderUpdateStatus>,
    /// Why.
    #[serde(default)]
    pub update_status_reason: Option<String>,
    /// `arn:aws:autoscaling:REGION:ACCOUNT:autoScalingGroup:UUID:autoScalingGroupName/NAME`.
    pub auto_scaling_group_arn: String,
    /// Managed scaling.
    pub managed_scaling: ManagedScaling,
    /// Whether instances with tasks are protected from scale in.
    pub managed_termination_protection: bool,
    /// Whether instances are drained before they end.
    pub managed_draining: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was deleted; it can be described for a while after that.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
}

impl CapacityProvider {
    /// `arn:aws:ecs:REGION:ACCOUNT:capacity-provider/NAME`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.name)
    }

    /// The ARN that the provider `name` has or would have.
    pub fn arn_of(scope: &Scope, name: &str) -> Arn {
        Arn::new("ecs", scope, format!("capacity-provider/{name}"))
    }

    /// The name of its Auto Scaling group.
    pub fn auto_scaling_group(&self) -> &str {
        auto_scaling_group_name(&self.auto_scaling_group_arn)
    }
}

/// The name of an Auto Scaling group, from its name or ARN.
pub fn auto_scaling_group_name(text: &str) -> &str {
    text.rsplit_once("autoScalingGroupName/").map_or(text, |(_, name)| name)
}

/// That a provider is associated with a cluster, and how far its group was scaled for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityProviderAssociation {
    /// Whose and where.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// The provider's name.
    pub capacity_provider: String,
    /// Where it stands.
    pub status: AssociationStatus,
    /// Id of the attachment that is the scaling policy: a UUID.
    pub policy_id: String,
    /// Id of the attachment that is the draining hook: a UUID.
    pub draining_id: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When the last datapoint was taken.
    #[serde(default)]
    pub measured_at: Option<Timestamp>,
    /// `CapacityProviderReservation` then, in percent.
    #[serde(default)]
    pub reservation_percent: Option<u32>,
    /// Datapoints in a row that were below the target.
    #[serde(default)]
    pub datapoints_below_target: u32,
    /// When the group was last scaled out.
    #[serde(default)]
    pub scaled_out_at: Option<Timestamp>,
}

/// A task that waits in PROVISIONING for room, and what placing it needs beyond its own row. It goes with the wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedTask {
    /// Scope of the task.
    pub scope: Scope,
    /// Its cluster's name.
    pub cluster: String,
    /// Its id.
    pub task_id: String,
    /// Its place: of two waiting for the same capacity the one with the lesser number goes first.
    pub number: u64,
    /// Placement constraints of the call or service: type and expression.
    #[serde(default)]
    pub constraints: Vec<(String, Option<String>)>,
    /// Placement strategies of the call or service: type and field.
    #[serde(default)]
    pub strategies: Vec<(String, Option<String>)>,
    /// Whole GPUs that it takes.
    #[serde(default)]
    pub gpus: usize,
    /// Since when.
    pub queued_at: Timestamp,
    /// When it is given up; `None` where the caller asked it to wait for as long as it takes.
    #[serde(default)]
    pub give_up_at: Option<Timestamp>,
    /// Why it waits: what the last try to place it said.
    #[serde(default)]
    pub reason: Option<String>,
}
