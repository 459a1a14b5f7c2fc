//! [`AgentConfig`]: what an agent is told about its node.

use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Ids};
use client::SigningKey;
use http::Uri;

use crate::names::NameQuestions;

/// What an agent is told about its node. Names of AWS's settings (`ECS_…`) stand in the comments where there is one.
#[derive(Clone)]
pub struct AgentConfig {
    /// The control plane, `http://host:port` (`ECS_BACKEND_HOST`).
    pub endpoint: Uri,
    /// Region that calls are signed for.
    pub region: String,
    /// Key that calls are signed with. It never reaches a task.
    pub credentials: Arc<SigningKey>,
    /// Cluster to join (`ECS_CLUSTER`).
    pub cluster: String,
    /// Whether the cluster is made where it is missing; `default` always is.
    pub create_cluster: bool,
    /// Directory for state, volumes and log spools; made if missing (`ECS_DATADIR`).
    pub data_dir: PathBuf,
    /// CPU units to offer; absent: 1,024 for each CPU.
    pub cpu_units: Option<i32>,
    /// Memory to offer in MiB; absent: the machine's, less `reserved_memory_mib`.
    pub memory_mib: Option<i32>,
    /// Memory kept back in MiB (`ECS_RESERVED_MEMORY`).
    pub reserved_memory_mib: i32,
    /// TCP ports that tasks may not have (`ECS_RESERVED_PORTS`).
    pub reserved_ports: Vec<u16>,
    /// UDP ports that tasks may not have (`ECS_RESERVED_PORTS_UDP`).
    pub reserved_ports_udp: Vec<u16>,
    /// Custom attributes (`ECS_INSTANCE_ATTRIBUTES`).
    pub attributes: Vec<(String, String)>,
    /// The Auto Scaling group that it says it belongs to, by name or ARN.
    pub auto_scaling_group: Option<String>,
    /// Whether this machine is Fargate capacity too.
    pub fargate_capacity: bool,
    /// The zone it says it is in.
    pub availability_zone: String,
    /// How far CPU and memory may be promised beyond what is there; 100 is no over-commit.
    pub over_commit_percent: i64,
    /// Between the stop signal and SIGKILL where the container does not say (`ECS_CONTAINER_STOP_TIMEOUT`).
    pub stop_timeout_default: Duration,
    /// How long a stopped task's containers stay (`ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION`, there three hours).
    pub task_cleanup_wait: Duration,
    /// When images are pulled (`ECS_IMAGE_PULL_BEHAVIOR`).
    pub image_pull_behavior: ImagePullBehavior,
    /// Credentials of private registries, in the form of Docker's `config.json` (`ECS_ENGINE_AUTH_DATA`).
    pub registry_credentials_file: Option<PathBuf>,
    /// How long a pull may take (`ECS_IMAGE_PULL_TIMEOUT`).
    pub image_pull_timeout: Duration,
    /// How often images that have neither a name nor a container are removed (`ECS_IMAGE_CLEANUP_INTERVAL`).
    pub image_cleanup_interval: Duration,
    /// Where tasks' metadata and credentials are served; absent: on the network's own address for it. Tests set it.
    pub metadata_listen: Option<SocketAddr>,
    /// Where this machine's resolver answers; absent: tasks ask whom the host asks.
    pub resolver: Option<SocketAddrV4>,
    /// What that resolver asks the control plane, where it is not in the same process.
    pub names: NameQuestions,
    /// How often usage is sampled. Metrics go out every 20 seconds.
    pub stats_interval: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids and jitter.
    pub ids: Arc<dyn Ids>,
}

impl AgentConfig {
    /// The stock agent's defaults.
    pub fn new(
        endpoint: Uri,
        region: impl Into<String>,
        credentials: Arc<SigningKey>,
        data_dir: PathBuf,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        let region = region.into();
        Self {
            endpoint,
            availability_zone: format!("{region}a"),
            region,
            credentials,
            cluster: "default".to_owned(),
            create_cluster: false,
            data_dir,
            cpu_units: None,
            memory_mib: None,
            reserved_memory_mib: 0,
            reserved_ports: vec![22, 2375, 2376, 51678, 51679],
            reserved_ports_udp: Vec::new(),
            attributes: Vec::new(),
            auto_scaling_group: None,
            fargate_capacity: false,
            over_commit_percent: 100,
            stop_timeout_default: Duration::from_secs(30),
            task_cleanup_wait: Duration::ZERO,
            image_pull_behavior: ImagePullBehavior::Default,
            registry_credentials_file: None,
            image_pull_timeout: Duration::from_hours(2),
            image_cleanup_interval: Duration::from_mins(30),
            metadata_listen: None,
            resolver: None,
            names: NameQuestions::default(),
            stats_interval: Duration::from_secs(5),
            clock,
            ids,
        }
    }
}

/// When images are pulled. Source: "Amazon ECS container agent configuration", `ECS_IMAGE_PULL_BEHAVIOR`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImagePullBehavior {
    /// Pull, and take the local image when that fails. Images that were loaded from an archive are not asked for anywhere.
    #[default]
    Default,
    /// Pull; a failure is one.
    Always,
    /// Pull only what is not there.
    Once,
    /// The same for us: an image that is there is taken.
    PreferCached,
}
