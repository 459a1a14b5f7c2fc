//! The ACS web socket: orders come, are carried out, and are acknowledged once they are on disk.
//!
//! Orders are handled one after the other in the read loop: what came first is done first. Nothing in here waits for a task.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use agent_protocol::acs::{
    AckRequest, AgentMessage, AttachNetworkInterfacesMessage, HeartbeatAckRequest,
    IamRoleCredentialsAckRequest, IamRoleCredentialsMessage, NackRequest, ServerMessage, TaskIdentifier,
    TaskManifestMessage, TaskStopVerificationAck, TaskStopVerificationMessage, UpdateMessage,
};
use agent_protocol::names::NameQuestionMessage;
use agent_protocol::network_policy::NetworkPolicyMessage;
use agent_protocol::payload::{DesiredStatus, PayloadMessage, RoleType, Task};
use agent_protocol::query::AcsQuery;
use agent_protocol::service_connect::{ConnectedService, ServiceConnectMessage};
use client::websocket::{ConnectError, Socket};
use client::{Backoff, ClientError};
use futures_util::{SinkExt, StreamExt};
use service_connect::AppProtocol;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{CONNECTION_LIFE, INACTIVITY, WRITE_TIMEOUT, discover, jittered, socket_url};
use crate::network_policy::{NetworkPolicies, Step};
use crate::registration::{AGENT_VERSION, RUNTIME_VERSION};
use crate::reporting;
use crate::task_engine::TaskEngine;
use crate::task_engine::record::Desired;

/// A connection that lasted this long was a good one: the next failure begins with the shortest wait again.
const STABLE: Duration = Duration::from_mins(1);

/// The ACS session of a node.
pub struct AcsSession {
    tasks: TaskEngine,
    instance: String,
    /// True from connect to disconnect.
    connected: watch::Sender<bool>,
    send_credentials: bool,
    /// What is enforced on the networks, as far as it was told.
    networks: NetworkPolicies,
    /// The last manifest, whose acknowledgment to stop tasks is honoured once.
    manifest: Option<String>,
}

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    /// In order, or by a broken connection: again at once.
    Closed(String),
    /// Something is wrong: again after a while.
    Failed(String),
    /// The control plane does not know this instance (any more).
    Inactive(String),
}

/// Why the session ended.
#[derive(Debug)]
pub enum SessionEnd {
    /// This node must register again.
    Deregistered,
}

impl AcsSession {
    /// The session of the container instance `instance`.
    pub fn new(tasks: TaskEngine, instance: String, connected: watch::Sender<bool>) -> Self {
        let networks = NetworkPolicies::default();
        Self { tasks, instance, connected, send_credentials: true, networks, manifest: None }
    }

    /// Connects, again and again, until the control plane says that this instance is gone.
    pub async fn run(mut self) -> SessionEnd {
        let ids = Arc::clone(&self.tasks.shared().config.ids);
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_mins(2), 1.5);
        loop {
            let began = Instant::now();
            let ended = self.connection().await;
            let was_connected = self.connected.send_replace(false);
            if began.elapsed() >= STABLE {
                backoff.reset();
            }
            match ended {
                // Two refusals in a row would otherwise make a busy loop.
                Ended::Closed(reason) if was_connected => {
                    tracing::info!(reason, "the control plane's connection ended; connecting again");
                    tokio::time::sleep(jittered(Duration::ZERO, Duration::from_millis(100), &*ids)).await;
                }
                Ended::Closed(reason) | Ended::Failed(reason) => {
                    let wait = backoff.next(&*ids);
                    tracing::warn!(reason, ?wait, "no connection to the control plane; tasks go on");
                    tokio::time::sleep(wait).await;
                }
                Ended::Inactive(reason) => {
                    tracing::warn!(reason, "the control plane does not know this node");
                    return SessionEnd::Deregistered;
                }
            }
        }
    }

    async fn connection(&mut self) -> Ended {
        let shared = Arc::clone(self.tasks.shared());
        let endpoints = match discover(&shared.client, &shared.config.cluster, &self.instance).await {
            Ok(endpoints) => endpoints,
            Err(error @ ClientError::Fault { .. }) if !error.is_retryable() => {
                return Ended::Inactive(error.to_string());
            }
            Err(error) => return Ended::Failed(error.to_string()),
        };
        let query = AcsQuery {
            agent_hash: "roadstead".to_owned(),
            agent_version: AGENT_VERSION.to_owned(),
            cluster: shared.config.cluster.clone(),
            container_instance_arn: self.instance.clone(),
            docker_version: format!("DockerVersion: {RUNTIME_VERSION}"),
            protocol_version: 2,
            send_credentials: self.send_credentials,
            seq_num: 1,
        };
        let url = match socket_url(&endpoints.acs, &query.to_query()) {
            Ok(url) => url,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        match client::websocket::connect(&url, "ecs", shared.client.config()).await {
            Ok(socket) => {
                tracing::info!(endpoint = endpoints.acs, "connected to the control plane");
                self.send_credentials = false;
                self.connected.send_replace(true);
                let questions = shared.config.names.connected();
                let ended = self.converse(socket, questions).await;
                shared.config.names.disconnected();
                ended
            }
            Err(ConnectError::Refused { code, message, .. })
                if matches!(code.as_str(), "InactiveInstanceException" | "InvalidInstanceException") =>
            {
                Ended::Inactive(format!("{code}: {message}"))
            }
            Err(error) => Ended::Failed(crate::words(&error)),
        }
    }

    /// Reads and answers until the connection ends.
    async fn converse(
        &mut self,
        mut socket: Socket,
        mut questions: mpsc::Receiver<NameQuestionMessage>,
    ) -> Ended {
        let ids = Arc::clone(&self.tasks.shared().config.ids);
        let life = jittered(CONNECTION_LIFE, Duration::from_mins(5), &*ids);
        let patience = jittered(INACTIVITY, INACTIVITY, &*ids);
        let end = Instant::now() + life;
        let mut silent_since = Instant::now();
        let mut closing = false;
        loop {
            let limit = (silent_since + patience).min(if closing { silent_since + patience } else { end });
            let received = tokio::select! {
                received = tokio::time::timeout_at(limit, socket.next()) => received,
                Some(question) = questions.recv() => {
                    match send(&mut socket, &AgentMessage::NameQuestion(question)).await {
                        Ok(()) => continue,
                        Err(ended) => return ended,
                    }
                }
            };
            let received = match received {
                Ok(received) => received,
                Err(_) if !closing && Instant::now() >= end => {
                    closing = true;
                    silent_since = Instant::now();
                    let reason = "ConnectionExpired: Reconnect to continue".into();
                    let frame = CloseFrame { code: CloseCode::Normal, reason };
                    let _ = timeout(WRITE_TIMEOUT, socket.send(Message::Close(Some(frame)))).await;
                    continue;
                }
                Err(_) => return Ended::Closed("nothing was heard for too long".to_owned()),
            };
            let text = match received {
                None => return Ended::Closed("the control plane closed it".to_owned()),
                Some(Err(error)) => return Ended::Closed(error.to_string()),
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(_)) => continue,
            };
            let message = match ServerMessage::parse(&text) {
                Ok(message) => message,
                Err(error) => {
                    tracing::warn!(error = crate::words(&error), "a message could not be read");
                    continue;
                }
            };
            if !matches!(message, ServerMessage::Unknown(_)) {
                silent_since = Instant::now();
            }
            if let ServerMessage::Notice { kind, message } = &message
                && kind == "InactiveInstanceException"
            {
                return Ended::Inactive(format!("{kind}: {message}"));
            }
            for answer in self.handle(message).await {
                if let Err(ended) = send(&mut socket, &answer).await {
                    return ended;
                }
            }
        }
    }

    /// Carries out a message. Returns what to answer.
    pub(crate) async fn handle(&mut self, message: ServerMessage) -> Vec<AgentMessage> {
        match message {
            ServerMessage::Heartbeat(heartbeat) => {
                let message_id = heartbeat.message_id.unwrap_or_default();
                vec![AgentMessage::HeartbeatAck(HeartbeatAckRequest { message_id })]
            }
            ServerMessage::Payload(payload) => self.payload(*payload).await,
            ServerMessage::RoleCredentials(message) => self.credentials(*message),
            ServerMessage::TaskManifest(manifest) => self.manifest(manifest),
            ServerMessage::TaskStopVerificationAck(ack) => {
                self.stop_verified(ack).await;
                Vec::new()
            }
            ServerMessage::AttachTaskNetworkInterfaces(message) => self.attach(message),
            ServerMessage::AttachInstanceNetworkInterfaces(message) => {
                let reason = "network interfaces of the instance are not supported";
                vec![nack(&message.cluster_arn, &message.container_instance_arn, &message.message_id, reason)]
            }
            ServerMessage::ConfirmAttachment(message) => {
                let reason = "volume attachments are not supported";
                vec![nack(&message.cluster_arn, &message.container_instance_arn, &message.message_id, reason)]
            }
            ServerMessage::StageUpdate(update) | ServerMessage::PerformUpdate(update) => {
                refuse_update(&update)
            }
            ServerMessage::NetworkPolicy(message) => self.network_policy(*message).await,
            ServerMessage::ServiceConnect(message) => {
                self.service_connect(*message);
                Vec::new()
            }
            ServerMessage::NameAnswer(answer) => {
                self.tasks.shared().config.names.answered(answer);
                Vec::new()
            }
            ServerMessage::Notice { kind, message } => {
                tracing::warn!(kind, message, "the control plane says");
                Vec::new()
            }
            ServerMessage::Unknown(kind) => {
                tracing::debug!(kind, "a message of an unknown type is dropped");
                Vec::new()
            }
        }
    }

    /// Stops first, then starts: what stops makes room. Acknowledged only if every task was accepted.
    async fn payload(&mut self, payload: PayloadMessage) -> Vec<AgentMessage> {
        if payload.container_instance_arn != self.instance || payload.message_id.is_empty() {
            tracing::warn!(
                instance = payload.container_instance_arn,
                "a payload for another instance is dropped"
            );
            return Vec::new();
        }
        if let Some(number) = payload.seq_num
            && let Err(error) = self.raise_sequence_number(number)
        {
            tracing::error!(error, "the sequence number could not be written");
            return Vec::new();
        }
        let (starts, stops): (Vec<Task>, Vec<Task>) =
            payload.tasks.into_iter().partition(|task| task.desired_status == DesiredStatus::Running);
        let mut answers = Vec::new();
        let mut all = true;
        for task in stops.into_iter().chain(starts) {
            let arn = task.arn.clone();
            let roles: Vec<_> = [&task.role_credentials, &task.execution_role_credentials]
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            match self.tasks.order(task).await {
                Ok(()) => answers.extend(roles.into_iter().map(|role| {
                    AgentMessage::RoleCredentialsAck(IamRoleCredentialsAckRequest {
                        message_id: payload.message_id.clone(),
                        expiration: role.expiration,
                        credentials_id: role.credentials_id,
                    })
                })),
                Err(error) => {
                    tracing::error!(task = arn, error = crate::words(&error), "an order was not accepted");
                    all = false;
                }
            }
        }
        if all {
            answers
                .insert(0, ack(&payload.cluster_arn, &payload.container_instance_arn, &payload.message_id));
        }
        answers
    }

    /// In force when this returns: the payload that starts a task comes after the message that has its rules.
    async fn network_policy(&mut self, message: NetworkPolicyMessage) -> Vec<AgentMessage> {
        if message.container_instance_arn != self.instance {
            tracing::warn!("networks of another instance are dropped");
            return Vec::new();
        }
        let (cluster, instance, id) =
            (message.cluster_arn.clone(), message.container_instance_arn.clone(), message.message_id.clone());
        let done = match self.networks.take(message) {
            Ok(step) => self.enforce(step).await.map_err(|error| crate::words(&error)),
            Err(error) => Err(crate::words(&error)),
        };
        match done {
            Ok(()) => Vec::new(),
            Err(reason) => {
                tracing::error!(reason, "security groups could not be enforced");
                vec![nack(&cluster, &instance, &id, &reason)]
            }
        }
    }

    /// What leads to a task comes after what keeps others out.
    async fn enforce(&self, step: Step) -> Result<(), network::NetworkError> {
        let network = &self.tasks.shared().network;
        match step {
            Step::Wait => Ok(()),
            Step::Whole(whole) => {
                network.apply_security_groups(&whole.security_groups)?;
                network.apply_public_addresses(whole.public).await
            }
            Step::Change(change) => {
                network.change_security_groups(&change.security_groups)?;
                network.change_public_addresses(change.public).await
            }
        }
    }

    /// What is told stays known while the control plane is away.
    fn service_connect(&self, message: ServiceConnectMessage) {
        if message.container_instance_arn != self.instance {
            tracing::warn!("services of another instance are dropped");
            return;
        }
        let proxy = self.tasks.shared().service_connect.proxy();
        if message.all {
            proxy.retain_services(|id| message.services.contains_key(id));
        }
        for (id, service) in message.services {
            proxy.set_service(&id, service.map(connected_service));
        }
    }

    fn raise_sequence_number(&self, number: i64) -> Result<(), String> {
        let state = &self.tasks.shared().state;
        let raise = |identity: &mut crate::state::Identity| {
            identity.sequence_number = Some(identity.sequence_number.unwrap_or(-1).max(number));
        };
        state.change_identity(raise).map_err(|error| crate::words(&error))
    }

    fn credentials(&self, message: IamRoleCredentialsMessage) -> Vec<AgentMessage> {
        let application = match message.role_type {
            RoleType::TaskApplication => true,
            RoleType::TaskExecution => false,
            RoleType::Other(_) => return Vec::new(),
        };
        let (id, expiration) =
            (message.role_credentials.credentials_id.clone(), message.role_credentials.expiration.clone());
        if !self.tasks.refresh_credentials(&message.task_arn, application, message.role_credentials) {
            return Vec::new();
        }
        vec![AgentMessage::RoleCredentialsAck(IamRoleCredentialsAckRequest {
            message_id: message.message_id,
            expiration,
            credentials_id: id,
        })]
    }

    /// Compares what runs here with what should: what should not is asked about, and stopped only once that is confirmed.
    fn manifest(&mut self, manifest: TaskManifestMessage) -> Vec<AgentMessage> {
        let seen = self.tasks.shared().state.identity().sequence_number.unwrap_or(-1);
        if manifest.timeline <= seen {
            return Vec::new();
        }
        if let Err(error) = self.raise_sequence_number(manifest.timeline) {
            tracing::error!(error, "the sequence number could not be written");
            return Vec::new();
        }
        let wanted = |arn: &str| {
            manifest
                .tasks
                .iter()
                .any(|task| task.task_arn == arn && task.desired_status == DesiredStatus::Running)
        };
        let candidates: Vec<TaskIdentifier> = self
            .tasks
            .views()
            .iter()
            .filter(|view| view.record.desired == Desired::Running)
            .map(|view| view.plan.arn.to_string())
            .filter(|arn| !wanted(arn))
            .map(|task_arn| TaskIdentifier {
                task_arn,
                task_cluster_arn: manifest.cluster_arn.clone(),
                desired_status: DesiredStatus::Stopped,
            })
            .collect();
        self.manifest = Some(manifest.message_id.clone());
        let mut answers =
            vec![ack(&manifest.cluster_arn, &manifest.container_instance_arn, &manifest.message_id)];
        if !candidates.is_empty() {
            answers.push(AgentMessage::TaskStopVerification(TaskStopVerificationMessage {
                message_id: manifest.message_id,
                stop_candidates: candidates,
            }));
        }
        answers
    }

    async fn stop_verified(&mut self, ack: TaskStopVerificationAck) {
        if self.manifest.take_if(|id| *id == ack.message_id).is_none() {
            tracing::warn!("a confirmation to stop tasks that answers no manifest is dropped");
            return;
        }
        for task in ack.stop_tasks {
            tracing::info!(task = task.task_arn, "the task is not in the manifest and is stopped");
            self.tasks.stop(&task.task_arn, None).await;
        }
    }

    /// Our interfaces are made when the task is: they are there as soon as they are announced.
    fn attach(&self, message: AttachNetworkInterfacesMessage) -> Vec<AgentMessage> {
        let Some(task_arn) = message.task_arn.filter(|_| message.wait_timeout_ms > 0) else {
            return Vec::new();
        };
        for interface in message.elastic_network_interfaces {
            let Some(attachment_arn) = interface.attachment_arn else { continue };
            let (shared, task_arn) = (Arc::clone(self.tasks.shared()), task_arn.clone());
            tokio::spawn(
                async move { reporting::submit_attachment(&shared, &task_arn, &attachment_arn).await },
            );
        }
        vec![ack(&message.cluster_arn, &message.container_instance_arn, &message.message_id)]
    }
}

async fn send(socket: &mut Socket, message: &AgentMessage) -> Result<(), Ended> {
    match timeout(WRITE_TIMEOUT, socket.send(Message::text(message.to_text()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Ended::Closed(error.to_string())),
        Err(_) => Err(Ended::Closed("writing took too long".to_owned())),
    }
}

fn ack(cluster: &str, instance: &str, message_id: &str) -> AgentMessage {
    AgentMessage::Ack(AckRequest {
        cluster: cluster.to_owned(),
        container_instance: instance.to_owned(),
        message_id: message_id.to_owned(),
    })
}

/// A service in the proxy's terms. Endpoints without a readable address are left out.
fn connected_service(service: ConnectedService) -> service_connect::Service {
    let endpoint = |given: agent_protocol::service_connect::ConnectedEndpoint| {
        let address: IpAddr = given.address.parse().ok()?;
        Some(service_connect::Endpoint {
            id: given.id,
            address: SocketAddr::new(address, given.port),
            group: given.revision,
        })
    };
    let group = |given: agent_protocol::service_connect::ConnectedRevision| service_connect::Group {
        name: given.id,
        production_weight: given.production_weight,
        test_weight: given.test_weight,
    };
    service_connect::Service {
        protocol: match service.app_protocol.as_str() {
            "http" => AppProtocol::Http,
            "http2" => AppProtocol::Http2,
            "grpc" => AppProtocol::Grpc,
            _ => AppProtocol::Tcp,
        },
        idle_timeout: Duration::from_secs(u64::from(service.idle_timeout_seconds)),
        request_timeout: Duration::from_secs(u64::from(service.request_timeout_seconds)),
        endpoints: service.endpoints.into_iter().filter_map(endpoint).collect(),
        split: (!service.revisions.is_empty()).then(|| service_connect::Split {
            groups: service.revisions.into_iter().map(group).collect(),
            test_header: (service.test_header, service.test_header_value),
        }),
    }
}

fn nack(cluster: &str, instance: &str, message_id: &str, reason: &str) -> AgentMessage {
    AgentMessage::Nack(NackRequest {
        cluster: cluster.to_owned(),
        container_instance: instance.to_owned(),
        message_id: message_id.to_owned(),
        reason: reason.to_owned(),
    })
}

fn refuse_update(update: &UpdateMessage) -> Vec<AgentMessage> {
    vec![nack(
        &update.cluster_arn,
        &update.container_instance_arn,
        &update.message_id,
        "Updates are disabled",
    )]
}
