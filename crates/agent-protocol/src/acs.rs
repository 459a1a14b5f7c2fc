//! The ACS web socket: orders to an agent, and its answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::frame::{self, FrameError};
use crate::names::{NAME_ANSWER, NAME_QUESTION, NameAnswerMessage, NameQuestionMessage};
use crate::network_policy::{NETWORK_POLICY, NetworkPolicyMessage};
use crate::payload::{
    Attachment, DesiredStatus, NetworkInterface, PayloadMessage, RoleCredentials, RoleType,
};
use crate::service_connect::{SERVICE_CONNECT, ServiceConnectMessage};

/// What the control plane sends.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    /// Proof of life; wants a `HeartbeatAckRequest`.
    Heartbeat(HeartbeatMessage),
    /// Tasks to run and to stop.
    Payload(Box<PayloadMessage>),
    /// New credentials of one role of one task.
    RoleCredentials(Box<IamRoleCredentialsMessage>),
    /// All tasks that the agent should be running.
    TaskManifest(TaskManifestMessage),
    /// Confirms that tasks which the agent asked about must stop.
    TaskStopVerificationAck(TaskStopVerificationAck),
    /// A network interface comes for a task.
    AttachTaskNetworkInterfaces(AttachNetworkInterfacesMessage),
    /// A network interface comes for the instance.
    AttachInstanceNetworkInterfaces(AttachNetworkInterfacesMessage),
    /// A volume comes for a task.
    ConfirmAttachment(ConfirmAttachmentMessage),
    /// An agent update should be fetched.
    StageUpdate(UpdateMessage),
    /// A fetched update should be carried out.
    PerformUpdate(UpdateMessage),
    /// What is enforced on the node's networks has changed; ours alone.
    NetworkPolicy(Box<NetworkPolicyMessage>),
    /// Where services are that tasks call through Service Connect.
    ServiceConnect(Box<ServiceConnectMessage>),
    /// What a name leads to that the agent asked about; ours alone.
    NameAnswer(NameAnswerMessage),
    /// The connection is about to be closed, or an error (`ErrorMessage` and the exceptions); to be logged only.
    Notice {
        /// `CloseMessage`, `ErrorMessage`, `InactiveInstanceException` …
        kind: String,
        /// In words.
        message: String,
    },
    /// A type that this version does not know: to be logged and dropped.
    Unknown(String),
}

/// The types that are a [`ServerMessage::Notice`].
const NOTICES: [&str; 8] = [
    "CloseMessage",
    "ErrorMessage",
    "InvalidInstanceException",
    "InvalidClusterException",
    "InactiveInstanceException",
    "AccessDeniedException",
    "BadRequestException",
    "ServerException",
];

impl ServerMessage {
    /// Reads a text frame.
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let (kind, message) = frame::open(text)?;
        Ok(match kind.as_str() {
            "HeartbeatMessage" => Self::Heartbeat(frame::body(&kind, message)?),
            "PayloadMessage" => Self::Payload(frame::body(&kind, message)?),
            "IAMRoleCredentialsMessage" => Self::RoleCredentials(frame::body(&kind, message)?),
            SERVICE_CONNECT => Self::ServiceConnect(frame::body(&kind, message)?),
            "TaskManifestMessage" => Self::TaskManifest(frame::body(&kind, message)?),
            "TaskStopVerificationAck" => Self::TaskStopVerificationAck(frame::body(&kind, message)?),
            "AttachTaskNetworkInterfacesMessage" => {
                Self::AttachTaskNetworkInterfaces(frame::body(&kind, message)?)
            }
            "AttachInstanceNetworkInterfacesMessage" => {
                Self::AttachInstanceNetworkInterfaces(frame::body(&kind, message)?)
            }
            "ConfirmAttachmentMessage" => Self::ConfirmAttachment(frame::body(&kind, message)?),
            "StageUpdateMessage" => Self::StageUpdate(frame::body(&kind, message)?),
            "PerformUpdateMessage" => Self::PerformUpdate(frame::body(&kind, message)?),
            NETWORK_POLICY => Self::NetworkPolicy(frame::body(&kind, message)?),
            NAME_ANSWER => Self::NameAnswer(frame::body(&kind, message)?),
            notice if NOTICES.contains(&notice) => {
                let message = message.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
                Self::Notice { kind, message }
            }
            _ => Self::Unknown(kind),
        })
    }

    /// Writes a text frame. An unknown message is written without a body.
    pub fn to_text(&self) -> String {
        match self {
            Self::Heartbeat(message) => frame::seal("HeartbeatMessage", message),
            Self::Payload(message) => frame::seal("PayloadMessage", message),
            Self::RoleCredentials(message) => frame::seal("IAMRoleCredentialsMessage", message),
            Self::ServiceConnect(message) => frame::seal(SERVICE_CONNECT, message),
            Self::TaskManifest(message) => frame::seal("TaskManifestMessage", message),
            Self::TaskStopVerificationAck(message) => frame::seal("TaskStopVerificationAck", message),
            Self::AttachTaskNetworkInterfaces(message) => {
                frame::seal("AttachTaskNetworkInterfacesMessage", message)
            }
            Self::AttachInstanceNetworkInterfaces(message) => {
                frame::seal("AttachInstanceNetworkInterfacesMessage", message)
            }
            Self::ConfirmAttachment(message) => frame::seal("ConfirmAttachmentMessage", message),
            Self::StageUpdate(message) => frame::seal("StageUpdateMessage", message),
            Self::PerformUpdate(message) => frame::seal("PerformUpdateMessage", message),
            Self::NetworkPolicy(message) => frame::seal(NETWORK_POLICY, message),
            Self::NameAnswer(message) => frame::seal(NAME_ANSWER, message),
            Self::Notice { kind, message } => frame::seal(kind, &Notice { message }),
            Self::Unknown(kind) => frame::seal(kind, &Value::Object(serde_json::Map::new())),
        }
    }
}

#[derive(Serialize)]
struct Notice<'a> {
    message: &'a str,
}

/// What an agent sends.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentMessage {
    /// An order was accepted.
    Ack(AckRequest),
    /// An order was refused.
    Nack(NackRequest),
    /// Answer to a heartbeat.
    HeartbeatAck(HeartbeatAckRequest),
    /// Credentials were taken over.
    RoleCredentialsAck(IamRoleCredentialsAckRequest),
    /// "These run here and are not in your manifest: shall I stop them?"
    TaskStopVerification(TaskStopVerificationMessage),
    /// What does a name lead to? Ours alone.
    NameQuestion(NameQuestionMessage),
    /// A type that this version does not know: to be logged and dropped.
    Unknown(String),
}

impl AgentMessage {
    /// Reads a text frame.
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let (kind, message) = frame::open(text)?;
        Ok(match kind.as_str() {
            "AckRequest" => Self::Ack(frame::body(&kind, message)?),
            "NackRequest" => Self::Nack(frame::body(&kind, message)?),
            "HeartbeatAckRequest" => Self::HeartbeatAck(frame::body(&kind, message)?),
            "IAMRoleCredentialsAckRequest" => Self::RoleCredentialsAck(frame::body(&kind, message)?),
            "TaskStopVerificationMessage" => Self::TaskStopVerification(frame::body(&kind, message)?),
            NAME_QUESTION => Self::NameQuestion(frame::body(&kind, message)?),
            _ => Self::Unknown(kind),
        })
    }

    /// Writes a text frame. An unknown message is written without a body.
    pub fn to_text(&self) -> String {
        match self {
            Self::Ack(message) => frame::seal("AckRequest", message),
            Self::Nack(message) => frame::seal("NackRequest", message),
            Self::HeartbeatAck(message) => frame::seal("HeartbeatAckRequest", message),
            Self::RoleCredentialsAck(message) => frame::seal("IAMRoleCredentialsAckRequest", message),
            Self::TaskStopVerification(message) => frame::seal("TaskStopVerificationMessage", message),
            Self::NameQuestion(message) => frame::seal(NAME_QUESTION, message),
            Self::Unknown(kind) => frame::seal(kind, &Value::Object(serde_json::Map::new())),
        }
    }
}

/// Sent every 20 to 30 seconds by the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatMessage {
    /// Whether the control plane is well.
    pub healthy: bool,
    /// Echoed by the answer. Absent on TCS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// Answer to [`HeartbeatMessage`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatAckRequest {
    /// The heartbeat's.
    pub message_id: String,
}

/// An order was accepted; the values are those of the order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AckRequest {
    /// Cluster ARN.
    pub cluster: String,
    /// Container instance ARN.
    pub container_instance: String,
    /// The order's.
    pub message_id: String,
}

/// An order was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NackRequest {
    /// Cluster ARN.
    pub cluster: String,
    /// Container instance ARN.
    pub container_instance: String,
    /// The order's.
    pub message_id: String,
    /// Why.
    pub reason: String,
}

/// New credentials of one role of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IamRoleCredentialsMessage {
    /// Echoed by the answer.
    pub message_id: String,
    /// Whose.
    pub task_arn: String,
    /// The task's cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_cluster_arn: Option<String>,
    /// The application's or the agent's own for this task.
    pub role_type: RoleType,
    /// The keys.
    pub role_credentials: RoleCredentials,
}

/// Credentials were taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IamRoleCredentialsAckRequest {
    /// The message's.
    pub message_id: String,
    /// As sent.
    pub expiration: String,
    /// As sent.
    pub credentials_id: String,
}

/// All tasks that the agent should be running.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskManifestMessage {
    /// Cluster ARN.
    pub cluster_arn: String,
    /// Container instance ARN.
    pub container_instance_arn: String,
    /// Echoed by the answers.
    pub message_id: String,
    /// Milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<i64>,
    /// Must be above every number the agent has seen; drawn from the same counter as `PayloadMessage::seq_num`.
    pub timeline: i64,
    /// The tasks.
    pub tasks: Vec<TaskIdentifier>,
}

/// A task by name, and what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskIdentifier {
    /// The task.
    pub task_arn: String,
    /// Its cluster.
    #[serde(default)]
    pub task_cluster_arn: String,
    /// RUNNING or STOPPED.
    pub desired_status: DesiredStatus,
}

/// Asks whether tasks that the manifest does not list shall be stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStopVerificationMessage {
    /// The manifest's.
    pub message_id: String,
    /// The tasks, with desired status STOPPED.
    pub stop_candidates: Vec<TaskIdentifier>,
}

/// Confirms which tasks must stop. Honoured once, and only for the last manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStopVerificationAck {
    /// The manifest's.
    pub message_id: String,
    /// Milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<i64>,
    /// The tasks.
    pub stop_tasks: Vec<TaskIdentifier>,
}

/// Network interfaces come for a task (or, without the task's members, for the instance).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachNetworkInterfacesMessage {
    /// Cluster ARN.
    pub cluster_arn: String,
    /// Container instance ARN.
    pub container_instance_arn: String,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_arn: Option<String>,
    /// Its cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_cluster_arn: Option<String>,
    /// Echoed by the answer.
    pub message_id: String,
    /// Milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<i64>,
    /// How long the agent waits for the interface, above 0.
    pub wait_timeout_ms: i64,
    /// At least one.
    pub elastic_network_interfaces: Vec<NetworkInterface>,
}

/// A volume comes for a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfirmAttachmentMessage {
    /// Cluster ARN.
    pub cluster_arn: String,
    /// Container instance ARN.
    pub container_instance_arn: String,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_arn: Option<String>,
    /// Its cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_cluster_arn: Option<String>,
    /// Echoed by the answer.
    pub message_id: String,
    /// Milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<i64>,
    /// 0 and absent mean 300,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout_ms: Option<i64>,
    /// What comes.
    pub attachment: Attachment,
}

/// An update of the agent is offered (`StageUpdateMessage`, `PerformUpdateMessage`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateMessage {
    /// Cluster ARN.
    pub cluster_arn: String,
    /// Container instance ARN.
    pub container_instance_arn: String,
    /// Echoed by the answer.
    pub message_id: String,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_info: Option<UpdateInfo>,
}

/// Where an update is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateInfo {
    /// URL.
    pub location: String,
    /// Digest.
    pub signature: String,
}
