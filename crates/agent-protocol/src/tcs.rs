//! The TCS web socket: metrics, health and instance status.
//!
//! Frames of an agent carry an HTTP-style header block (a signature over the body) before the JSON: see [`AgentFrame`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::acs::HeartbeatMessage;
use crate::frame::{self, FrameError};
use crate::word::open_words;

/// The most tasks in one metrics or health frame.
pub const TASKS_PER_FRAME_MAXIMUM: usize = 10;
/// The most bytes of a telemetry frame's header block. Ours: a signature with a session token takes about 2 KiB.
pub const HEADER_BLOCK_BYTES_MAXIMUM: usize = 16 * 1024;

/// What the control plane sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// Proof of life; wants no answer.
    Heartbeat(HeartbeatMessage),
    /// Metrics were taken.
    AckPublishMetric(Acknowledgment),
    /// Health was taken.
    AckPublishHealth(Acknowledgment),
    /// Instance status was taken.
    AckPublishInstanceStatus(Acknowledgment),
    /// The session ends.
    StopTelemetrySession(Acknowledgment),
    /// `ServerException`, `BadRequestException`, `ResourceValidationException`, `InvalidParameterException`.
    Exception {
        /// Which.
        kind: String,
        /// In words.
        message: String,
    },
    /// A type that this version does not know.
    Unknown(String),
}

impl ServerMessage {
    /// Reads a text frame.
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let (kind, message) = frame::open(text)?;
        Ok(match kind.as_str() {
            "HeartbeatMessage" => Self::Heartbeat(frame::body(&kind, message)?),
            "AckPublishMetric" => Self::AckPublishMetric(frame::body(&kind, message)?),
            "AckPublishHealth" => Self::AckPublishHealth(frame::body(&kind, message)?),
            "AckPublishInstanceStatus" => Self::AckPublishInstanceStatus(frame::body(&kind, message)?),
            "StopTelemetrySessionMessage" => Self::StopTelemetrySession(frame::body(&kind, message)?),
            "ServerException"
            | "BadRequestException"
            | "ResourceValidationException"
            | "InvalidParameterException" => {
                let message = message.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
                Self::Exception { kind, message }
            }
            _ => Self::Unknown(kind),
        })
    }

    /// Writes a text frame.
    pub fn to_text(&self) -> String {
        match self {
            Self::Heartbeat(message) => frame::seal("HeartbeatMessage", message),
            Self::AckPublishMetric(message) => frame::seal("AckPublishMetric", message),
            Self::AckPublishHealth(message) => frame::seal("AckPublishHealth", message),
            Self::AckPublishInstanceStatus(message) => frame::seal("AckPublishInstanceStatus", message),
            Self::StopTelemetrySession(message) => frame::seal("StopTelemetrySessionMessage", message),
            Self::Exception { kind, message } => {
                frame::seal(kind, &Acknowledgment { message: Some(message.clone()) })
            }
            Self::Unknown(kind) => frame::seal(kind, &Value::Object(serde_json::Map::new())),
        }
    }
}

/// A message with words only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Acknowledgment {
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What an agent sends.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentMessage {
    /// What the tasks use.
    Metrics(Box<PublishMetricsRequest>),
    /// How the containers are.
    Health(PublishHealthRequest),
    /// How the instance is.
    InstanceStatus(PublishInstanceStatusRequest),
    /// A type that this version does not know.
    Unknown(String),
}

impl AgentMessage {
    /// Reads the JSON behind the header block.
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let (kind, message) = frame::open(text)?;
        Ok(match kind.as_str() {
            "PublishMetricsRequest" => Self::Metrics(frame::body(&kind, message)?),
            "PublishHealthRequest" => Self::Health(frame::body(&kind, message)?),
            "PublishInstanceStatusRequest" => Self::InstanceStatus(frame::body(&kind, message)?),
            _ => Self::Unknown(kind),
        })
    }

    /// Writes the JSON that stands behind the header block.
    pub fn to_text(&self) -> String {
        match self {
            Self::Metrics(message) => frame::seal("PublishMetricsRequest", message),
            Self::Health(message) => frame::seal("PublishHealthRequest", message),
            Self::InstanceStatus(message) => frame::seal("PublishInstanceStatusRequest", message),
            Self::Unknown(kind) => frame::seal(kind, &Value::Object(serde_json::Map::new())),
        }
    }
}

/// An agent's telemetry frame, split: header lines, a blank line, JSON. The signature in it covers a GET of the web
/// socket's URL with the JSON as its body.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentFrame<'a> {
    /// Names and values in order.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The JSON.
    pub body: &'a str,
}

impl std::fmt::Debug for AgentFrame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentFrame").field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl<'a> AgentFrame<'a> {
    /// Splits a text frame at its first blank line.
    pub fn split(text: &'a str) -> Result<Self, FrameError> {
        if text.len() > frame::FRAME_BYTES_MAXIMUM {
            return Err(FrameError::TooLong(text.len()));
        }
        let (block, body) = text.split_once("\r\n\r\n").ok_or(FrameError::Header)?;
        if block.len() > HEADER_BLOCK_BYTES_MAXIMUM {
            return Err(FrameError::Header);
        }
        let headers = block
            .split("\r\n")
            .map(|line| line.split_once(':').map(|(name, value)| (name.trim(), value.trim())))
            .collect::<Option<Vec<_>>>()
            .ok_or(FrameError::Header)?;
        Ok(Self { headers, body })
    }

    /// The first header of this name, without regard to case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// Puts a frame together.
    pub fn join(headers: &[(String, String)], body: &str) -> String {
        let mut text = String::with_capacity(body.len() + 512);
        for (name, value) in headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.push_str(body);
        text
    }
}

/// What the tasks use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishMetricsRequest {
    /// Whose.
    pub metadata: MetricsMetadata,
    /// Of the machine; only in the first frame of a round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_metrics: Option<Value>,
    /// At most ten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub task_metrics: Vec<TaskMetric>,
    /// Seconds since the epoch.
    pub timestamp: f64,
}

/// Whose metrics, and where in the round this frame stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsMetadata {
    /// Cluster.
    pub cluster: String,
    /// Container instance ARN.
    pub container_instance: String,
    /// The same in all frames of a round.
    pub message_id: String,
    /// No containers run.
    pub idle: bool,
    /// The last frame of the round.
    pub fin: bool,
}

/// What one task uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskMetric {
    /// The task.
    pub task_arn: String,
    /// Its cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_arn: Option<String>,
    /// Family.
    pub task_definition_family: String,
    /// Revision.
    pub task_definition_version: String,
    /// By container.
    pub container_metrics: Vec<ContainerMetric>,
    /// Ephemeral storage (Fargate).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_metrics: Option<EphemeralStorageMetrics>,
    /// EBS volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_metrics: Vec<VolumeMetric>,
    /// Service Connect, as the proxy gave it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_connect_metrics_wrapper: Vec<Value>,
}

/// Bytes used of a task's ephemeral storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EphemeralStorageMetrics {
    /// Bytes.
    pub bytes_utilized: UlongStatsSet,
}

/// Use of an EBS volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMetric {
    /// Volume.
    pub volume_id: String,
    /// Its name in the task.
    pub volume_name: String,
    /// Bytes used.
    pub utilized: UlongStatsSet,
    /// Bytes there.
    pub size: UlongStatsSet,
}

/// What one container uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerMetric {
    /// Name in the task.
    pub container_name: String,
    /// ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_arn: Option<String>,
    /// Percent of the whole host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_stats_set: Option<CwStatsSet>,
    /// MiB, page cache left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_stats_set: Option<CwStatsSet>,
    /// Absent in network modes host and none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_stats_set: Option<NetworkStatsSet>,
    /// Block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_stats_set: Option<StorageStatsSet>,
    /// Restarts in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_stats_set: Option<RestartStatsSet>,
}

/// Samples of a number, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CwStatsSet {
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// How many.
    pub sample_count: i64,
    /// Sum.
    pub sum: f64,
}

impl CwStatsSet {
    /// Sums up samples; `None` without any.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let first = *samples.first()?;
        Some(samples.iter().fold(
            Self { min: first, max: first, sample_count: 0, sum: 0.0 },
            |set, sample| Self {
                min: set.min.min(*sample),
                max: set.max.max(*sample),
                sample_count: set.sample_count + 1,
                sum: set.sum + sample,
            },
        ))
    }
}

/// Samples of a 64-bit counter, summed up; what exceeds a signed 64-bit number goes to the overflow members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UlongStatsSet {
    /// Least.
    pub min: i64,
    /// Greatest.
    pub max: i64,
    /// How many.
    pub sample_count: i64,
    /// Sum.
    pub sum: i64,
    /// Beyond `min`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow_min: Option<i64>,
    /// Beyond `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow_max: Option<i64>,
    /// Beyond `sum`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow_sum: Option<i64>,
}

impl UlongStatsSet {
    /// Sums up samples; `None` without any.
    pub fn of(samples: &[u64]) -> Option<Self> {
        let split = |value: u128| {
            let limit = i64::MAX as u128;
            let within = i64::try_from(value.min(limit)).unwrap_or(i64::MAX);
            let beyond = i64::try_from(value.saturating_sub(limit)).unwrap_or(i64::MAX);
            (within, beyond)
        };
        let (min, overflow_min) = split(u128::from(*samples.iter().min()?));
        let (max, overflow_max) = split(u128::from(*samples.iter().max()?));
        let (sum, overflow_sum) = split(samples.iter().map(|sample| u128::from(*sample)).sum());
        Some(Self {
            min,
            max,
            sum,
            sample_count: i64::try_from(samples.len()).unwrap_or(i64::MAX),
            overflow_min: Some(overflow_min),
            overflow_max: Some(overflow_max),
            overflow_sum: Some(overflow_sum),
        })
    }
}

/// Bytes and packets of a container's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkStatsSet {
    /// Bytes received.
    pub rx_bytes: UlongStatsSet,
    /// Packets received.
    pub rx_packets: UlongStatsSet,
    /// Errors received.
    pub rx_errors: UlongStatsSet,
    /// Dropped on receipt.
    pub rx_dropped: UlongStatsSet,
    /// Bytes sent.
    pub tx_bytes: UlongStatsSet,
    /// Packets sent.
    pub tx_packets: UlongStatsSet,
    /// Errors sent.
    pub tx_errors: UlongStatsSet,
    /// Dropped on sending.
    pub tx_dropped: UlongStatsSet,
    /// Received per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_bytes_per_second: Option<CwStatsSet>,
    /// Sent per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_bytes_per_second: Option<CwStatsSet>,
}

/// Bytes moved to and from block devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageStatsSet {
    /// Read.
    pub read_size_bytes: UlongStatsSet,
    /// Written.
    pub write_size_bytes: UlongStatsSet,
}

/// Restarts in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartStatsSet {
    /// Since the start.
    pub restart_count: i64,
}

/// How the containers are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishHealthRequest {
    /// Whose.
    pub metadata: HealthMetadata,
    /// At most ten; only tasks with health checks.
    pub tasks: Vec<TaskHealth>,
    /// Seconds since the epoch.
    pub timestamp: f64,
}

/// Whose health, and where in the round this frame stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthMetadata {
    /// Cluster.
    pub cluster: String,
    /// Container instance ARN.
    pub container_instance: String,
    /// The same in all frames of a round.
    pub message_id: String,
    /// The last frame of the round.
    pub fin: bool,
}

/// How one task's containers are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskHealth {
    /// The task.
    pub task_arn: String,
    /// Its cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_arn: Option<String>,
    /// Family.
    pub task_definition_family: String,
    /// Revision.
    pub task_definition_version: String,
    /// Containers with health checks.
    pub containers: Vec<ContainerHealth>,
}

open_words! {
    /// Verdict of a health check.
    HealthStatus {
        /// It passes.
        Healthy = "HEALTHY",
        /// It failed too often.
        Unhealthy = "UNHEALTHY",
        /// No verdict yet.
        Unknown = "UNKNOWN",
    }
}

/// How one container is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerHealth {
    /// Name in the task.
    pub container_name: String,
    /// Verdict.
    pub health_status: HealthStatus,
    /// Seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_since: Option<f64>,
    /// Output of the check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
}

/// How the instance is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishInstanceStatusRequest {
    /// Whose.
    pub metadata: InstanceStatusMetadata,
    /// By part.
    pub statuses: Vec<InstanceStatus>,
    /// Seconds since the epoch.
    pub timestamp: f64,
}

/// Whose instance status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatusMetadata {
    /// Cluster.
    pub cluster: String,
    /// Container instance ARN.
    pub container_instance: String,
    /// Unique.
    pub request_id: String,
}

/// State of one part of the instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatus {
    /// `ContainerRuntime`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `OK`, `IMPAIRED`, `INSUFFICIENT_DATA` or `INITIALIZING`.
    pub status: String,
    /// Seconds since the epoch.
    pub last_updated: f64,
    /// Seconds since the epoch.
    pub last_status_change: f64,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
}
