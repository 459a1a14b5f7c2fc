//! Clusters. Source: AWS, "Cluster" data type.

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

word_enum! {
    /// A cluster's state.
    ClusterStatus {
        /// In use.
        Active = "ACTIVE",
        /// Deleted; may be named for a while.
        Inactive = "INACTIVE",
    }
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Whose and where.
    pub scope: Scope,
    /// 1 to 255 letters, digits, hyphens and underscores.
    pub name: String,
    /// State.
    pub status: ClusterStatus,
    /// Settings, such as `containerInsights`.
    #[serde(default)]
    pub settings: Vec<ClusterSetting>,
    /// `ClusterConfiguration` as registered, in awsJson; `None` where none was given.
    #[serde(default)]
    pub configuration_document: Option<String>,
    /// `ClusterServiceConnectDefaultsRequest` as registered, in awsJson.
    #[serde(default)]
    pub service_connect_defaults_document: Option<String>,
    /// Capacity providers associated with it.
    #[serde(default)]
    pub capacity_providers: Vec<String>,
    /// The default strategy.
    #[serde(default)]
    pub default_capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Cluster {
    /// `arn:aws:ecs:REGION:ACCOUNT:cluster/NAME`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.name)
    }

    /// The ARN that the cluster `name` of `scope` has or would have.
    pub fn arn_of(scope: &Scope, name: &str) -> Arn {
        Arn::new("ecs", scope, format!("cluster/{name}"))
    }
}

/// One setting of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSetting {
    /// `containerInsights`.
    pub name: String,
    /// `enabled`, `enhanced` or `disabled`.
    pub value: String,
}

/// One line of a capacity provider strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityProviderStrategyItem {
    /// `FARGATE`, `FARGATE_SPOT` or a provider's name.
    pub capacity_provider: String,
    /// 0 to 1,000.
    pub weight: i32,
    /// 0 to 100,000.
    pub base: i32,
}
