//! Task definitions: the document as registered, and the projection of it that placement and dispatch read.

use std::collections::BTreeMap;

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{LaunchType, NetworkMode};

word_enum! {
    /// A revision's state.
    TaskDefinitionStatus {
        /// May be run.
        Active = "ACTIVE",
        /// Deregistered: runs on where it is used, may not be used anew by name of family.
        Inactive = "INACTIVE",
        /// Deleted; goes away when nothing refers to it.
        DeleteInProgress = "DELETE_IN_PROGRESS",
    }
}

word_enum! {
    /// A transport protocol of a port mapping.
    TransportProtocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}

/// One revision of a task definition family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinition {
    /// Whose and where.
    pub scope: Scope,
    /// 1 to 255 letters, digits, hyphens and underscores.
    pub family: String,
    /// From 1, never used again within the family.
    pub revision: i32,
    /// State.
    pub status: TaskDefinitionStatus,
    /// The AWS `TaskDefinition` shape in awsJson, as Describe echoes it (without status, and the moments below).
    pub document: String,
    /// What the scheduler needs of it.
    pub projection: TaskDefinitionProjection,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// The principal's ARN.
    pub registered_by: String,
    /// When it was deregistered.
    #[serde(default)]
    pub deregistered_at: Option<Timestamp>,
    /// When its deletion was asked for.
    #[serde(default)]
    pub delete_requested_at: Option<Timestamp>,
}

impl TaskDefinition {
    /// `arn:aws:ecs:REGION:ACCOUNT:task-definition/FAMILY:REVISION`.
    pub fn arn(&self) -> Arn {
        Arn::new("ecs", &self.scope, format!("task-definition/{}:{}", self.family, self.revision))
    }
}

/// A family: what was registered under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDefinitionFamily {
    /// Whose and where.
    pub scope: Scope,
    /// The name.
    pub family: String,
    /// The last revision given out; revisions are never used twice, deleted ones included.
    pub last_revision: i32,
}

/// The part of a task definition that placement and dispatch read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinitionProjection {
    /// Never absent here: what AWS defaults to (bridge) is filled in.
    pub network_mode: NetworkMode,
    /// Launch types that it was validated for.
    pub requires_compatibilities: Vec<LaunchType>,
    /// Launch types that it could run on.
    pub compatibilities: Vec<LaunchType>,
    /// CPU units of the whole task (1,024 to a vCPU), where given.
    #[serde(default)]
    pub cpu_units: Option<i32>,
    /// Memory of the whole task in MiB, where given.
    #[serde(default)]
    pub memory_mib: Option<i32>,
    /// `requiresAttributes`: name and, where one is needed, value.
    #[serde(default)]
    pub requires_attributes: Vec<(String, Option<String>)>,
    /// Expressions of `memberOf` placement constraints.
    #[serde(default)]
    pub member_of: Vec<String>,
    /// By container, in order.
    pub containers: Vec<ContainerProjection>,
}

/// The part of a container definition that placement reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerProjection {
    /// Unique within the task definition.
    pub name: String,
    /// The image reference as written.
    pub image: String,
    /// Whether the task ends with it.
    pub essential: bool,
    /// CPU units.
    pub cpu_units: i32,
    /// Hard limit in MiB.
    #[serde(default)]
    pub memory_mib: Option<i32>,
    /// Soft limit in MiB.
    #[serde(default)]
    pub memory_reservation_mib: Option<i32>,
    /// Whole GPUs.
    #[serde(default)]
    pub gpus: i32,
    /// Fixed host ports that it takes (bridge and host mode).
    #[serde(default)]
    pub host_ports: Vec<HostPort>,
    /// Whether a health check is defined.
    #[serde(default)]
    pub has_health_check: bool,
    /// Docker labels.
    #[serde(default)]
    pub docker_labels: BTreeMap<String, String>,
}

/// A fixed port on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// 1 to 65,535.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: TransportProtocol,
}
