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

impl Ports {
    /// Whether the two share no port.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.tcp.is_disjoint(&other.tcp) && self.udp.is_disjoint(&other.udp)
    }

    /// Whether no port is taken.
    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.udp.is_empty()
    }
}

impl Resources {
    /// Adds what another task holds. Sums are held at the ends of the range.
    pub fn add(&mut self, other: &Self) {
        self.cpu_units = self.cpu_units.saturating_add(other.cpu_units);
        self.memory_mib = self.memory_mib.saturating_add(other.memory_mib);
        self.ports.tcp.extend(&other.ports.tcp);
        self.ports.udp.extend(&other.ports.udp);
        self.gpu_ids.extend(other.gpu_ids.iter().cloned());
    }
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
    /// The id of the node's access key that it was registered with: the one that may speak for it besides the root
    /// user. `None` where the root user registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_access_key_id: Option<String>,
}

const fn no_over_commit() -> i64 {
    100
}

impl ContainerInstance {
    /// `arn:aws:ecs:REGION:ACCOUNT:container-instance/CLUSTER/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new("ecs", &self.scope, format!("container-instance/{}/{}", self.cluster, self.id))
    }

    /// What may be promised of the machine in all: what is there, times the over-commit, and the free GPUs. Its ports
    /// are those that were taken from the start.
    pub fn capacity(&self) -> Resources {
        let over_committed = |amount: i64| amount.saturating_mul(self.over_commit_percent) / 100;
        Resources {
            cpu_units: over_committed(self.registered.cpu_units),
            memory_mib: over_committed(self.registered.memory_mib),
            ports: self.registered.ports.clone(),
            gpu_ids: self.registered.gpu_ids.clone(),
        }
    }

    /// What is left of the machine when tasks hold `held`; its ports are all that are taken.
    pub fn remaining(&self, held: &Resources) -> Resources {
        let capacity = self.capacity();
        let mut ports = capacity.ports;
        ports.tcp.extend(&held.ports.tcp);
        ports.udp.extend(&held.ports.udp);
        Resources {
            cpu_units: capacity.cpu_units.saturating_sub(held.cpu_units),
            memory_mib: capacity.memory_mib.saturating_sub(held.memory_mib),
            ports,
            gpu_ids: capacity.gpu_ids.difference(&held.gpu_ids).cloned().collect(),
        }
    }

    /// The attribute's value; `Some(None)` where it is there without one.
    pub fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| attribute.value.as_deref())
    }
}

/// The lock that placements on one container instance share: whoever takes resources of the machine, or changes
/// what may be placed on it, raises its counter on condition that it is as read. Thus two calls that saw the same room
/// cannot both take it, while heartbeats and reports, which leave it alone, never conflict with a placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Scope of the container instance.
    pub scope: Scope,
    /// Its cluster's name.
    pub cluster: String,
    /// Its id.
    pub container_instance: String,
    /// Raised by one at each placement and each change of the instance's state or size.
    pub counter: u64,
}
