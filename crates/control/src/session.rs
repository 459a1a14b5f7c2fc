//! One ACS session: the web socket over which a container instance's agent gets its orders.
//!
//! An order is a row of the outbox. It is sent when it appears, again when the agent stays silent about it, and again
//! after each reconnect; the row goes away when the agent acknowledges it. Numbers that must rise (`seqNum`,
//! `timeline`) are versions of the store: every connect and every order raises it, durably.

use std::collections::HashMap;
use std::time::Duration;

use agent_protocol::acs::{
    AgentMessage, HeartbeatMessage, ServerMessage, TaskIdentifier, TaskManifestMessage,
    TaskStopVerificationAck, TaskStopVerificationMessage,
};
use agent_protocol::payload::{DesiredStatus as WireStatus, PayloadMessage};
use agent_protocol::query::AcsQuery;
use base::Arn;
use domain::{
    Cluster, ContainerInstance, ContainerInstanceStatus, DesiredStatus, OutboxMessage, OutboxOrder, Task,
    TaskDefinition, TaskStatus, VersionInfo,
};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use scheduler::task_lifecycle;
use store::rows::{TASKS_HOLDING, container_instance_key, task_definition_key, task_key};
use store::{Key, Prefix, Row as _, Transaction, Versioned};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use wire::{Principal, PrincipalKind};

use crate::dispatch::{Registration, turned_true};
use crate::loops::task_network;
use crate::{Control, payload};

/// How often a heartbeat is sent. The stock agent closes after a minute of silence; ours is told sooner.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Silence after which an agent counts as gone: three heartbeats without an answer.
const SILENCE: Duration = Duration::from_secs(15);
/// An order that is not acknowledged is sent again after this time.
const RESEND: Duration = Duration::from_secs(30);
/// How long one frame may take to be written before the peer counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Orders sent and not yet acknowledged in one session. More wait in the outbox.
const IN_FLIGHT_MAXIMUM: usize = 256;

/// Why a handshake is refused: an HTTP status and the stock agent's exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `InvalidInstanceException`, `InvalidClusterException`, `InactiveInstanceException` …
    pub kind: &'static str,
    /// In words.
    pub message: String,
}

impl Refusal {
    /// The answer's body, as the stock agent reads it.
    pub fn body(&self) -> String {
        serde_json::json!({ "type": self.kind, "message": { "message": self.message } }).to_string()
    }

    fn denied(message: &str) -> Self {
        Self { status: 403, kind: "AccessDeniedException", message: message.to_owned() }
    }

    fn invalid_instance(message: impl Into<String>) -> Self {
        Self { status: 400, kind: "InvalidInstanceException", message: message.into() }
    }
}

/// A handshake that was accepted: what [`Control::serve_acs`] needs.
#[derive(Debug)]
pub struct Admission {
    container_instance: Arn,
    cluster: Arn,
    key: Key,
    epoch: u64,
    /// The store's version when the session was admitted: above every number sent before.
    timeline: i64,
}

/// Finds the container instance that a web socket's query names, and that `caller` may speak for: the root user for all
/// of its account, a node for the one that it registered.
pub(crate) fn named_instance(
    control: &Control,
    caller: &Principal,
    cluster: &str,
    container_instance: &str,
) -> Result<Versioned<ContainerInstance>, Refusal> {
    let unknown =
        || Refusal::invalid_instance(format!("The container instance {container_instance} is not known."));
    let arn: Arn = container_instance.parse().map_err(|_| unknown())?;
    let scope = arn.scope().ok_or_else(unknown)?;
    let path = arn.resource().strip_prefix("container-instance/").ok_or_else(unknown)?;
    let (cluster_of_arn, id) = path.split_once('/').ok_or_else(unknown)?;
    let row = control
        .store
        .snapshot()
        .get::<ContainerInstance>(&container_instance_key(&scope, cluster_of_arn, id))
        .ok_or_else(unknown)?;
    if row.scope.account != caller.account {
        return Err(Refusal::denied("The container instance belongs to another account."));
    }
    let own_key = row.node_access_key_id.as_deref() == Some(caller.access_key_id.as_str());
    if caller.kind == PrincipalKind::Node && !own_key {
        return Err(Refusal::denied("The container instance belongs to another node."));
    }
    let cluster_name = cluster.rsplit_once('/').map_or(cluster, |(_, name)| name);
    if cluster_name != row.cluster {
        return Err(Refusal {
            status: 400,
            kind: "InvalidClusterException",
            message: format!("The container instance is not in the cluster {cluster}."),
        });
    }
    if row.status == ContainerInstanceStatus::Inactive {
        return Err(Refusal {
            status: 400,
            kind: "InactiveInstanceException",
            message: "The container instance has been deregistered.".to_owned(),
        });
    }
    Ok(row)
}

impl Control {
    /// Checks the query of an ACS handshake that `caller` signed, and opens a new epoch.
    pub async fn admit_acs(&self, query: &str, caller: &Principal) -> Result<Admission, Refusal> {
        let query = AcsQuery::parse(query).ok_or_else(|| Refusal {
            status: 400,
            kind: "BadRequestException",
            message: "The query string is malformed.".to_owned(),
        })?;
        let named = named_instance(self, caller, &query.cluster, &query.container_instance_arn)?;
        let key = container_instance_key(&named.scope, &named.cluster, &named.id);
        let version_info = VersionInfo {
            agent_version: Some(query.agent_version),
            agent_hash: Some(query.agent_hash),
            docker_version: Some(query.docker_version),
        };
        let admitted = self.store.update(|snapshot| {
            let row = snapshot
                .get::<ContainerInstance>(&key)
                .ok_or_else(|| Refusal::invalid_instance("The container instance is gone."))?;
            let mut next = ContainerInstance::clone(&row);
            next.agent_connected = true;
            next.session_epoch += 1;
            next.version_info = version_info.clone();
            next.version += 1;
            let epoch = next.session_epoch;
            let mut transaction = Transaction::new();
            transaction.replace(&row, next);
            Ok((transaction, epoch))
        });
        let epoch = admitted.await.map_err(|error| match error {
            store::UpdateError::Refused(refusal) => refusal,
            store::UpdateError::Transact(error) => {
                Refusal { status: 500, kind: "ServerException", message: error.to_string() }
            }
        })?;
        Ok(Admission {
            container_instance: named.arn(),
            cluster: Cluster::arn_of(&named.scope, &named.cluster),
            key,
            epoch,
            timeline: i64::try_from(self.store.snapshot().version().number()).unwrap_or(i64::MAX),
        })
    }

    /// Serves an admitted session until it ends, and notes that the agent is gone.
    pub async fn serve_acs<S>(&self, admission: Admission, socket: WebSocketStream<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let name = admission.container_instance.to_string();
        let Some(registration) = self.sessions.enter(&name, admission.epoch) else { return };
        tracing::info!(container_instance = %name, epoch = admission.epoch, "the agent is connected");
        let (sink, stream) = socket.split();
        let mut session = Session {
            control: self,
            admission: &admission,
            sink,
            in_flight: HashMap::new(),
            next_message: 0,
            manifest: None,
        };
        let end = session.run(stream, registration).await;
        tracing::info!(container_instance = %name, epoch = admission.epoch, %end, "the agent's session has ended");
        if self.sessions.leave(&name, admission.epoch) {
            crate::loops::connectivity::disconnected(self, &admission.key, admission.epoch).await;
        }
    }
}

/// An order that was sent and not yet acknowledged.
struct InFlight {
    order: Versioned<OutboxMessage>,
    sent_at: Instant,
}

struct Session<'a, S> {
    control: &'a Control,
    admission: &'a Admission,
    sink: SplitSink<WebSocketStream<S>, Message>,
    /// By message id.
    in_flight: HashMap<String, InFlight>,
    next_message: u64,
    /// Id of the last manifest.
    manifest: Option<String>,
}

/// Why a session ended, in words.
type End = String;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<'_, S> {
    async fn run(
        &mut self,
        mut stream: SplitStream<WebSocketStream<S>>,
        mut registration: Registration,
    ) -> End {
        if let Err(end) = self.open().await {
            return end;
        }
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut last_heard = Instant::now();
        loop {
            let step = tokio::select! {
                frame = stream.next() => match frame {
                    None => Err("the connection was closed".to_owned()),
                    Some(Err(error)) => Err(error.to_string()),
                    Some(Ok(frame)) => {
                        last_heard = Instant::now();
                        self.hear(frame).await
                    }
                },
                () = registration.wake.notified() => self.send_orders().await,
                () = turned_true(&mut registration.fenced) => {
                    self.close("another session of this container instance took over").await;
                    Err("fenced by a newer session or by the end of the process".to_owned())
                }
                _ = heartbeat.tick() => {
                    if last_heard.elapsed() > SILENCE {
                        Err("the agent was silent for too long".to_owned())
                    } else {
                        self.beat().await
                    }
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn open(&mut self) -> Result<(), End> {
        self.send_manifest().await?;
        self.send_orders().await
    }

    async fn beat(&mut self) -> Result<(), End> {
        let message_id = Some(self.message_id());
        self.send(&ServerMessage::Heartbeat(HeartbeatMessage { healthy: true, message_id })).await?;
        // Orders that went unanswered for too long are sent again.
        if self.in_flight.values().any(|order| order.sent_at.elapsed() > RESEND) {
            self.in_flight.retain(|_, order| order.sent_at.elapsed() <= RESEND);
            self.send_orders().await?;
        }
        Ok(())
    }

    async fn hear(&mut self, frame: Message) -> Result<(), End> {
        let text = match frame {
            Message::Text(text) => text,
            Message::Close(_) => {
                let _ = timeout(WRITE_TIMEOUT, self.sink.close()).await;
                return Err("the agent closed the connection".to_owned());
            }
            // Pings are answered by the library.
            _ => return Ok(()),
        };
        match AgentMessage::parse(text.as_str()) {
            Ok(AgentMessage::Ack(ack)) => self.acknowledge(&ack.message_id).await,
            Ok(AgentMessage::Nack(nack)) => {
                tracing::warn!(reason = nack.reason, "the agent refused a message");
                Ok(())
            }
            Ok(AgentMessage::TaskStopVerification(candidates)) => self.verify(&candidates).await,
            Ok(AgentMessage::HeartbeatAck(_) | AgentMessage::RoleCredentialsAck(_)) => Ok(()),
            Ok(AgentMessage::Unknown(kind)) => {
                tracing::debug!(kind, "a message of an unknown type from an agent");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "a malformed message from an agent");
                Ok(())
            }
        }
    }

    /// Takes an acknowledged order out of the outbox; a place in flight is free for the next one.
    async fn acknowledge(&mut self, message_id: &str) -> Result<(), End> {
        let Some(InFlight { order, .. }) = self.in_flight.remove(message_id) else { return Ok(()) };
        let control = self.control.clone();
        // Not awaited: the next order must not wait for this one's disk write.
        tokio::spawn(async move { acknowledged(&control, &order).await });
        if self.in_flight.len() + 1 == IN_FLIGHT_MAXIMUM { self.send_orders().await } else { Ok(()) }
    }

    async fn send_orders(&mut self) -> Result<(), End> {
        let snapshot = self.control.store.snapshot();
        let name = self.admission.container_instance.to_string();
        let pending: Vec<Versioned<OutboxMessage>> =
            snapshot.scan::<OutboxMessage>(Prefix::global(&[&name]), None).collect();
        for order in pending {
            if self.in_flight.len() >= IN_FLIGHT_MAXIMUM {
                break;
            }
            // All orders of one transaction have the same revision: it takes the task too to know one.
            let is_sent = |sent: &InFlight| {
                sent.order.revision == order.revision && sent.order.task_id == order.task_id
            };
            if self.in_flight.values().any(is_sent) {
                continue;
            }
            let Some(task) = message_for(&snapshot, &order) else {
                take_out(self.control, &order).await;
                continue;
            };
            let message_id = self.message_id();
            let message = PayloadMessage {
                cluster_arn: self.admission.cluster.to_string(),
                container_instance_arn: name.clone(),
                message_id: message_id.clone(),
                generated_at: Some(self.control.clock.now().as_millis()),
                seq_num: Some(i64::try_from(order.revision.number()).unwrap_or(i64::MAX)),
                timeline: None,
                tasks: vec![task],
            };
            self.send(&ServerMessage::Payload(Box::new(message))).await?;
            // An older order about the same task is void.
            self.in_flight.retain(|_, sent| sent.order.key() != order.key());
            self.in_flight.insert(message_id, InFlight { order, sent_at: Instant::now() });
        }
        Ok(())
    }

    /// Tells the agent all that it should be running, so that it asks about what it runs besides.
    async fn send_manifest(&mut self) -> Result<(), End> {
        let snapshot = self.control.store.snapshot();
        let name = self.admission.container_instance.to_string();
        let tasks = snapshot
            .index::<Task>(TASKS_HOLDING, &[&name], None)
            .map(|task| TaskIdentifier {
                task_arn: task.arn().to_string(),
                task_cluster_arn: Cluster::arn_of(&task.scope, &task.cluster).to_string(),
                desired_status: match task.desired_status {
                    DesiredStatus::Running => WireStatus::Running,
                    DesiredStatus::Stopped => WireStatus::Stopped,
                },
            })
            .collect();
        let message_id = self.message_id();
        self.manifest = Some(message_id.clone());
        let manifest = TaskManifestMessage {
            cluster_arn: self.admission.cluster.to_string(),
            container_instance_arn: name,
            message_id,
            generated_at: Some(self.control.clock.now().as_millis()),
            timeline: self.admission.timeline,
            tasks,
        };
        self.send(&ServerMessage::TaskManifest(manifest)).await
    }

    /// Confirms which of the agent's candidates must stop: those that the store does not want to run there.
    async fn verify(&mut self, candidates: &TaskStopVerificationMessage) -> Result<(), End> {
        if self.manifest.as_deref() != Some(candidates.message_id.as_str()) {
            return Ok(());
        }
        let snapshot = self.control.store.snapshot();
        let stop_tasks: Vec<TaskIdentifier> = candidates
            .stop_candidates
            .iter()
            .filter(|candidate| !self.wants(&snapshot, &candidate.task_arn))
            .cloned()
            .collect();
        if stop_tasks.is_empty() {
            return Ok(());
        }
        tracing::warn!(count = stop_tasks.len(), "the agent runs tasks that it should not");
        let generated_at = Some(self.control.clock.now().as_millis());
        let message_id = candidates.message_id.clone();
        self.send(&ServerMessage::TaskStopVerificationAck(TaskStopVerificationAck {
            message_id,
            generated_at,
            stop_tasks,
        }))
        .await
    }

    fn wants(&self, snapshot: &store::Snapshot, task_arn: &str) -> bool {
        let Ok(arn) = task_arn.parse::<Arn>() else { return false };
        let Some(scope) = arn.scope() else { return false };
        let Some((cluster, id)) = arn.resource().strip_prefix("task/").and_then(|path| path.split_once('/'))
        else {
            return false;
        };
        snapshot.get::<Task>(&task_key(&scope, cluster, id)).is_some_and(|task| {
            task.desired_status == DesiredStatus::Running
                && task.last_status != TaskStatus::Stopped
                && task.container_instance.as_ref() == Some(&self.admission.container_instance)
        })
    }

    fn message_id(&mut self) -> String {
        self.next_message += 1;
        format!("{}-{}", self.admission.epoch, self.next_message)
    }

    async fn send(&mut self, message: &ServerMessage) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.sink.send(Message::text(message.to_text()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the agent takes no more".to_owned()),
        }
    }

    async fn close(&mut self, reason: &'static str) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: reason.into() };
        let _ = timeout(WRITE_TIMEOUT, self.sink.send(Message::Close(Some(frame)))).await;
    }
}

/// The task object for an order; `None` when there is nothing left to order.
fn message_for(snapshot: &store::Snapshot, order: &OutboxMessage) -> Option<agent_protocol::payload::Task> {
    let task = snapshot.get::<Task>(&task_key(&order.scope, &order.cluster, &order.task_id))?;
    if task.last_status == TaskStatus::Stopped || task.generation != order.generation {
        return None;
    }
    if order.order == OutboxOrder::Stop {
        return Some(payload::stop_order(&task));
    }
    let key = task_definition_key(&task.scope, &task.family, task.value.revision);
    let definition = snapshot.get::<TaskDefinition>(&key)?;
    let surroundings = task_network::surroundings(snapshot, &task);
    match payload::start_order(&task, &definition, surroundings) {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::error!(%error, task = %task.arn(), "no order can be made of a task");
            None
        }
    }
}

/// An order was acknowledged: it leaves the outbox, and a task that was told to stop is stopping.
async fn acknowledged(control: &Control, order: &Versioned<OutboxMessage>) {
    if order.order == OutboxOrder::Start {
        take_out(control, order).await;
        return;
    }
    let key = task_key(&order.scope, &order.cluster, &order.task_id);
    let done = control.store.update(|snapshot| {
        let mut transaction = Transaction::new();
        let current = snapshot.get::<OutboxMessage>(&order.key());
        if current.is_some_and(|current| current.revision == order.revision) {
            transaction.remove(order);
            if let Some(task) = snapshot.get::<Task>(&key) {
                let outcome = task_lifecycle::stop_acknowledged(&task);
                if outcome.changed {
                    transaction.replace(&task, outcome.task);
                }
            }
        }
        Ok::<_, std::convert::Infallible>((transaction, ()))
    });
    if let Err(error) = done.await {
        tracing::warn!(%error, "an order stays in the outbox and will be sent again");
    }
}

/// Takes an order out of the outbox, on condition that no newer order took its place.
async fn take_out(control: &Control, order: &Versioned<OutboxMessage>) {
    let mut transaction = Transaction::new();
    transaction.remove(order);
    match control.store.transact(transaction).await {
        Ok(_) | Err(store::TransactError::Conflict { .. }) => {}
        Err(error) => tracing::warn!(%error, "an order stays in the outbox and will be sent again"),
    }
}
