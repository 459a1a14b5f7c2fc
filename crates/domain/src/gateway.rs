//! Gateways: ingress that ECS runs for services of the clusters associated. Source: AWS, "Gateway" and
//! "GatewayClusterAssociationSummary" data types.

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

word_enum! {
    /// A gateway's state.
    GatewayStatus {
        /// Made.
        Active = "ACTIVE",
        /// A change is being carried to its load balancers.
        UpdateInProgress = "UPDATE_IN_PROGRESS",
        /// The last change was carried to every load balancer.
        UpdateComplete = "UPDATE_COMPLETE",
        /// The last change could not be carried to every load balancer.
        UpdateFailed = "UPDATE_FAILED",
        /// Gone.
        Deleted = "DELETED",
    }
}

word_enum! {
    /// An association's state.
    GatewayClusterAssociationStatus {
        /// Services of the cluster may use the gateway.
        Active = "ACTIVE",
        /// Routes of the cluster are still there.
        Disassociating = "DISASSOCIATING",
        /// Gone.
        Inactive = "INACTIVE",
    }
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    /// Whose and where.
    pub scope: Scope,
    /// Unique in account and region.
    pub name: String,
    /// State.
    pub status: GatewayStatus,
    /// `HostSharedAlbConfiguration` with its defaults filled in, in awsJson.
    pub host_shared_alb_document: String,
    /// The infrastructure role's ARN.
    pub infrastructure_role_arn: String,
    /// Whether it may not be deleted.
    pub deletion_protection: bool,
    /// `NONE` or `GATEWAY`.
    pub propagate_tags: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

impl Gateway {
    /// `arn:aws:ecs:REGION:ACCOUNT:gateway/NAME`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.name)
    }

    /// The ARN that the gateway `name` has or would have.
    pub fn arn_of(scope: &Scope, name: &str) -> Arn {
        Arn::new("ecs", scope, format!("gateway/{name}"))
    }
}

/// That services of a cluster may use a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayClusterAssociation {
    /// Whose and where.
    pub scope: Scope,
    /// The gateway's name.
    pub gateway: String,
    /// The cluster's name.
    pub cluster: String,
    /// State.
    pub status: GatewayClusterAssociationStatus,
}
