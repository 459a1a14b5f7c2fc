//! Container instances, and the account of what a machine has and what is taken.

use std::collections::BTreeSet;

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

word_enum! {
    /// A container instance's state.
    ContainerInstanceStatus {
        /// Takes tasks.
        Active = "ACTIVE",
        /// Keeps its tasks, takes no new ones.
        Draining = "DRAINING",
        /// Being registered.
        Registering = "REGISTERING",
        /// Being deregistered.
        Deregistering = "DEREGISTERING",
        /// Could not be registered.
        RegistrationFailed = "REGISTRATION_FAILED",
        /// Gone.
        Inactive = "INACTIVE",
    }
}

/// Ports taken on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// TCP ports.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tcp: BTreeSet<u16>,
    /// UDP ports.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub udp: BTreeSet<u16>,
}

/// An amount of a machine: what it has, or what a task holds of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU units, 1,024 to a core.
    pub cpu_units: i64,
    /// MiB of memory.
    pub memory_mib: i64,
    /// Ports taken.
    #[serde(default)]
    pub ports: Ports,
    /// GPU device ids.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gpu_ids: BTreeSet<String>,
}

/// A name and value on a container instance, used by placement constraints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attribute {
    /// Name, 1 to 128 characters.
    pub name: String,
    /// Value; `None` where it has none.
    #[serde(default)]
    pub value: Option<String>,
}

/// What the agent says of itself when it connects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Version.
    #[serde(default)]
    pub agent_version: Option<String>,
    /// Source hash.
    #[serde(default)]
    pub agent_hash: Option<String>,
    /// `DockerVersion: …`.
    #[serde(default)]
    pub docker_version: Option<String>,
}

/// A machine that an agent registered in a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerInstance {
    /// Whose and where.
    pub scope: Scope,
    /// 32 hexadecimal digits.
    pub id: String,
    /// The cluster's name.
    pub cluster: String,
    /// The EC2 or machine instance id, such as `i-…` or `mi-…`.
    pub ec2_instance_id: String,
    /// State.
    pub status: ContainerInstanceStatus,
    /// Why it is in that state.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// Whether its agent has a live session.
    pub agent_connected: bool,
    /// Raised at every change that the API shows.
    pub version: i64,
    /// What the machine has (ports: those taken from the start).
    pub registered: Resources,
    /// Attributes, custom and built in, by name.
    pub attributes: Vec<Attribute>,
    /// Version of the agent.
    #[serde(default)]
    pub version_info: VersionInfo,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// The capacity provider it belongs to.
    #[serde(default)]
    pub capacity_provider: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// Whether it is Fargate capacity for every cluster of every account and region of this control plane.
    #[serde(default)]
    pub fargate_capacity: bool,
    /// How far its CPU and memory may be promised beyond what is there, in percent; 100 is no over-commit.
    #[serde(default = "no_over_commit")]
    pub over_commit_percent: i64,
    /// Session epoch: raised at each connect, so that an older session is fenced.
    #[serde(default)]
    pub session_epoch: u64,
    /// Last number drawn for a payload or manifest; they share one rising counter.
    #[serde(default)]
    pub sequence_number: i64,
}

const fn no_over_commit() -> i64 {
    100
}

impl ContainerInstance {
    /// `arn:aws:ecs:REGION:ACCOUNT:container-instance/CLUSTER/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new("ecs", &self.scope, format!("container-instance/{}/{}", self.cluster, self.id))
    }

    /// The attribute's value; `Some(None)` where it is there without one.
    pub fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| attribute.value.as_deref())
    }
}
