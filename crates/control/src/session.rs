//! One ACS session: the web socket over which a container instance's agent gets its orders.
//!
//! An order is a row of the outbox. It is sent when it appears, again when the agent stays silent about it, and again
//! after each reconnect; the row goes away when the agent acknowledges it. Numbers that must rise (`seqNum`,
//! `timeline`) are versions of the store: every connect and every order raises it, durably.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use agent_protocol::acs::{
    AgentMessage, HeartbeatMessage, ServerMessage, TaskIdentifier, TaskManifestMessage,
    TaskStopVerificationAck, TaskStopVerificationMessage,
};
use agent_protocol::names::NameQuestionMessage;
use agent_protocol::network_policy::NetworkPolicyMessage;
use agent_protocol::payload::{DesiredStatus as WireStatus, PayloadMessage};
use agent_protocol::query::AcsQuery;
use agent_protocol::service_connect::ServiceConnectMessage;
use api::ecs as shape;
use base::{Arn, Scope};
use domain::{
    Cluster, ContainerInstance, ContainerInstanceStatus, DaemonTaskDefinition, OutboxMessage, OutboxOrder,
    Task, TaskDefinition, TaskStatus, VersionInfo,
};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use scheduler::task_lifecycle;
use store::rows::{TASKS_HOLDING, container_instance_key, task_definition_key, task_key};
use store::rows_daemon::daemon_task_definition_key;
use store::rows_vpc::network_interface_of_task;
use store::{Key, Prefix, Row as _, Transaction, Versioned};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use wire::{Principal, PrincipalKind};

use crate::dispatch::{Registration, turned_true};
use crate::loops::task_network;
use crate::network_policy::NetworkPolicies;
use crate::payload::PayloadError;
use crate::{Control, names, payload, service_connect};

/// How often a heartbeat is sent. The stock agent closes after a minute of silence; ours is told sooner.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Silence after which an agent counts as gone: three heartbeats without an answer.
const SILENCE: Duration = Duration::from_secs(15);
/// An order that is not acknowledged is sent again after this time.
const RESEND: Duration = Duration::from_secs(30);
/// How long one frame may take to be written before the peer counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The manifest is sent again after this many heartbeats, a minute: whatever went wrong, a machine does not run for long what it
/// should not.
const MANIFEST_BEATS: u32 = 12;
/// A deregistered container instance has this many heartbeats to take its last orders.
const FAREWELL_BEATS: u32 = 6;
/// How the ids of messages about networks start.
const POLICY: &str = "network-";
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
        let named = match named_instance(self, caller, &query.cluster, &query.container_instance_arn) {
            Ok(named) => named,
            Err(refusal) => {
                if refusal.kind == "InactiveInstanceException" {
                    withdraw_orders(self, &query.container_instance_arn).await;
                }
                return Err(refusal);
            }
        };
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
            acknowledging: JoinSet::new(),
            farewell_beats: 0,
            beats_since_manifest: 0,
            networks: BTreeMap::new(),
            hosts_load_balancers: false,
            refused_policies: false,
            connected: service_connect::Told::default(),
            wake: Arc::clone(&registration.wake),
        };
        let noting = crate::loops::connectivity::note_on_tasks(self, &admission.key);
        let (end, ()) = tokio::join!(biased; session.run(stream, registration), noting);
        session.acknowledging.detach_all();
        self.followers.leave(&name, &session.wake);
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
    /// Acknowledgments on their way to the store: at most as many as orders in flight.
    acknowledging: JoinSet<()>,
    /// Heartbeats since the container instance was deregistered.
    farewell_beats: u32,
    /// Heartbeats since the last manifest.
    beats_since_manifest: u32,
    /// The VPCs of the instance's tasks, and the version of each that the agent was told; `None`: nothing yet.
    networks: BTreeMap<String, Option<u64>>,
    /// Whether the load balancers of this control plane are on this machine.
    hosts_load_balancers: bool,
    /// The agent lacks something of what it was told: it is told everything again at the next heartbeat.
    refused_policies: bool,
    /// What the agent knows of services that its tasks call.
    connected: service_connect::Told,
    /// Rings when there may be something to send.
    wake: Arc<Notify>,
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
                // What is rare comes first, so that an agent which sends without end starves nothing but its own orders.
                biased;
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
                frame = stream.next() => match frame {
                    None => Err("the connection was closed".to_owned()),
                    Some(Err(error)) => Err(error.to_string()),
                    Some(Ok(frame)) => {
                        last_heard = Instant::now();
                        self.hear(frame).await
                    }
                },
                () = registration.wake.notified() => self.send_orders().await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn open(&mut self) -> Result<(), End> {
        self.send_whole_policy().await?;
        self.send_manifest().await?;
        let snapshot = self.control.store.snapshot();
        let name = self.admission.container_instance.to_string();
        let tasks = snapshot.index::<Task>(TASKS_HOLDING, &[&name], None);
        for namespace in tasks.filter_map(|task| service_connect::namespace_of(&task)) {
            self.follow(namespace);
        }
        self.send_services(&snapshot, true).await?;
        drop(snapshot);
        self.send_orders().await
    }

    /// From now on the agent is told of the namespace's services.
    fn follow(&mut self, namespace: service_connect::Namespace) {
        let name = self.admission.container_instance.to_string();
        self.control.followers.enter(&namespace, &name, &self.wake);
        self.connected.follow(namespace);
    }

    /// Tells the agent where the services are that its tasks call, as far as it does not know.
    async fn send_services(&mut self, snapshot: &store::Snapshot, all: bool) -> Result<(), End> {
        let services = self.connected.news(snapshot);
        if services.is_empty() {
            return Ok(());
        }
        let message = ServiceConnectMessage {
            cluster_arn: self.admission.cluster.to_string(),
            container_instance_arn: self.admission.container_instance.to_string(),
            message_id: self.message_id(),
            all,
            services,
        };
        self.send(&ServerMessage::ServiceConnect(Box::new(message))).await
    }

    async fn beat(&mut self) -> Result<(), End> {
        if self.is_dismissed().await {
            self.close("the container instance was deregistered").await;
            return Err("the container instance was deregistered".to_owned());
        }
        let message_id = Some(self.message_id());
        self.send(&ServerMessage::Heartbeat(HeartbeatMessage { healthy: true, message_id })).await?;
        self.beats_since_manifest += 1;
        if self.beats_since_manifest >= MANIFEST_BEATS {
            self.send_manifest().await?;
        }
        if std::mem::take(&mut self.refused_policies) {
            self.send_whole_policy().await?;
        }
        // Orders that went unanswered for too long are sent again.
        if self.in_flight.values().any(|order| order.sent_at.elapsed() > RESEND) {
            self.in_flight.retain(|_, order| order.sent_at.elapsed() <= RESEND);
            self.send_orders().await?;
        }
        Ok(())
    }

    /// Whether the container instance was deregistered, and has heard its last orders or had the time to. Its agent learns of it
    /// when it connects again.
    async fn is_dismissed(&mut self) -> bool {
        let snapshot = self.control.store.snapshot();
        let row = snapshot.get::<ContainerInstance>(&self.admission.key);
        if row.is_some_and(|row| row.status != ContainerInstanceStatus::Inactive) {
            return false;
        }
        let name = self.admission.container_instance.to_string();
        let has_orders = snapshot.scan::<OutboxMessage>(Prefix::global(&[&name]), None).next().is_some();
        self.farewell_beats += 1;
        if has_orders && self.farewell_beats < FAREWELL_BEATS {
            return false;
        }
        withdraw_orders(self.control, &name).await;
        true
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
                self.refused_policies |= nack.message_id.starts_with(POLICY);
                Ok(())
            }
            Ok(AgentMessage::TaskStopVerification(candidates)) => self.verify(&candidates).await,
            Ok(AgentMessage::NameQuestion(question)) => self.answer_name(&question).await,
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

    /// Tells the node's resolver what a name of ours leads to.
    async fn answer_name(&mut self, question: &NameQuestionMessage) -> Result<(), End> {
        let Some(scope) = self.admission.cluster.scope() else { return Ok(()) };
        let snapshot = self.control.store.snapshot();
        let answer = names::answer(&snapshot, &scope, |vpc| self.networks.contains_key(vpc), question);
        drop(snapshot);
        self.send(&ServerMessage::NameAnswer(answer)).await
    }

    /// Takes an acknowledged order out of the outbox; a place in flight is free for the next one.
    async fn acknowledge(&mut self, message_id: &str) -> Result<(), End> {
        let Some(InFlight { order, .. }) = self.in_flight.remove(message_id) else { return Ok(()) };
        let control = self.control.clone();
        // Not awaited: the next order must not wait for this one's disk write.
        while self.acknowledging.try_join_next().is_some() {}
        self.acknowledging.spawn(async move { acknowledged(&control, &order).await });
        if self.in_flight.len() + 1 == IN_FLIGHT_MAXIMUM { self.send_orders().await } else { Ok(()) }
    }

    async fn send_orders(&mut self) -> Result<(), End> {
        let snapshot = self.control.store.snapshot();
        let name = self.admission.container_instance.to_string();
        self.send_services(&snapshot, false).await?;
        let pending: Vec<Versioned<OutboxMessage>> =
            snapshot.scan::<OutboxMessage>(Prefix::global(&[&name]), None).collect();
        // Before the tasks themselves: no packet of theirs passes unfiltered.
        for order in pending.iter().filter(|order| order.order == OutboxOrder::Start) {
            self.follow_network_of(&snapshot, &order.scope, &order.cluster, &order.task_id);
        }
        self.send_policy(&snapshot, false).await?;
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
            let Some(task) = message_for(self.control, &snapshot, &order) else {
                take_out(self.control, &order).await;
                continue;
            };
            // What a task calls is told before it runs.
            let key = task_key(&order.scope, &order.cluster, &order.task_id);
            let namespace = snapshot.get::<Task>(&key).and_then(|task| service_connect::namespace_of(&task));
            if let Some(namespace) = namespace.filter(|_| order.order == OutboxOrder::Start) {
                self.follow(namespace);
                self.send_services(&snapshot, false).await?;
            }
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
    /// Tells the agent all that it enforces: what it has from before may be of an older process, or in pieces.
    async fn send_whole_policy(&mut self) -> Result<(), End> {
        let snapshot = self.control.store.snapshot();
        let name = self.admission.container_instance.to_string();
        self.networks.clear();
        self.hosts_load_balancers =
            snapshot.get::<ContainerInstance>(&self.admission.key).is_some_and(|row| row.fargate_capacity);
        if self.hosts_load_balancers {
            self.control.sessions.follow_hosted(&name, self.admission.epoch);
        }
        for task in snapshot.index::<Task>(TASKS_HOLDING, &[&name], None) {
            self.follow_network_of(&snapshot, &task.scope, &task.cluster, &task.id);
        }
        self.send_policy(&snapshot, true).await
    }

    /// A task of the instance has an interface: its VPC is to be enforced here.
    fn follow_network_of(&mut self, snapshot: &store::Snapshot, scope: &Scope, cluster: &str, id: &str) {
        let arn = Arn::new("ecs", scope, format!("task/{cluster}/{id}")).to_string();
        if let Some(interface) = network_interface_of_task(snapshot, &arn) {
            self.follow_network(&interface.vpc);
        }
    }

    fn follow_network(&mut self, vpc: &str) {
        if !self.networks.contains_key(vpc) {
            let name = self.admission.container_instance.to_string();
            self.control.sessions.follow(&name, self.admission.epoch, vpc);
            self.networks.insert(vpc.to_owned(), None);
        }
    }

    /// Tells the agent what changed of the networks since it was told; with `all`, that there are no others.
    async fn send_policy(&mut self, snapshot: &store::Snapshot, all: bool) -> Result<(), End> {
        if self.hosts_load_balancers {
            let hosted = snapshot
                .view(|policies: &mut NetworkPolicies| policies.hosted().cloned().collect::<Vec<_>>());
            for vpc in &hosted {
                self.follow_network(vpc);
            }
        }
        let news = snapshot.view(|policies: &mut NetworkPolicies| {
            let parts = self.networks.iter().map(|(vpc, told)| (vpc.clone(), policies.since(vpc, *told)));
            parts.filter(|(_, parts)| !parts.is_empty()).collect::<Vec<_>>()
        });
        let mut messages: Vec<NetworkPolicyMessage> = Vec::new();
        for (vpc, parts) in news {
            for part in parts {
                self.networks.insert(vpc.clone(), Some(part.version));
                messages.push(NetworkPolicyMessage {
                    vpcs: BTreeMap::from([(vpc.clone(), part)]),
                    more: true,
                    ..NetworkPolicyMessage::default()
                });
            }
        }
        if all && messages.is_empty() {
            messages.push(NetworkPolicyMessage::default());
        }
        let last = messages.len().saturating_sub(1);
        for (index, mut message) in messages.into_iter().enumerate() {
            message.cluster_arn = self.admission.cluster.to_string();
            message.container_instance_arn = self.admission.container_instance.to_string();
            message.message_id = format!("{POLICY}{}", self.message_id());
            message.all = all && index == 0;
            message.more = index < last;
            self.send(&ServerMessage::NetworkPolicy(Box::new(message))).await?;
        }
        Ok(())
    }

    async fn send_manifest(&mut self) -> Result<(), End> {
        let snapshot = self.control.store.snapshot();
        let name = self.admission.container_instance.to_string();
        let tasks = snapshot
            .index::<Task>(TASKS_HOLDING, &[&name], None)
            .map(|task| TaskIdentifier {
                task_arn: task.arn().to_string(),
                task_cluster_arn: Cluster::arn_of(&task.scope, &task.cluster).to_string(),
                desired_status: if task_lifecycle::is_kept_running(&task) {
                    WireStatus::Running
                } else {
                    WireStatus::Stopped
                },
            })
            .collect();
        let message_id = self.message_id();
        self.manifest = Some(message_id.clone());
        self.beats_since_manifest = 0;
        let manifest = TaskManifestMessage {
            cluster_arn: self.admission.cluster.to_string(),
            container_instance_arn: name,
            message_id,
            generated_at: Some(self.control.clock.now().as_millis()),
            // Above every number sent before.
            timeline: i64::try_from(snapshot.version().number()).unwrap_or(i64::MAX),
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
            task_lifecycle::is_kept_running(&task)
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
fn message_for(
    control: &Control,
    snapshot: &store::Snapshot,
    order: &OutboxMessage,
) -> Option<agent_protocol::payload::Task> {
    let task = snapshot.get::<Task>(&task_key(&order.scope, &order.cluster, &order.task_id))?;
    if task.generation != order.generation {
        return None;
    }
    if order.order == OutboxOrder::Stop {
        // Also for a task that is shown STOPPED already: its machine was deregistered by force, and it may run yet.
        return Some(payload::stop_order(&task));
    }
    if task.last_status == TaskStatus::Stopped {
        return None;
    }
    let document = document_of(control, snapshot, &task)?;
    let surroundings = task_network::surroundings(snapshot, &task);
    let message = document.and_then(|document| payload::start_order(&task, document.as_ref(), surroundings));
    match message {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::error!(%error, task = %task.arn(), "no order can be made of a task");
            None
        }
    }
}

/// What a task runs by; a daemon's task has a daemon task definition. `None` where it is gone.
fn document_of(
    control: &Control,
    snapshot: &store::Snapshot,
    task: &Task,
) -> Option<Result<Arc<shape::TaskDefinition>, PayloadError>> {
    if DaemonTaskDefinition::is_arn(&task.task_definition) {
        let key = daemon_task_definition_key(&task.scope, &task.family, task.revision);
        let definition = snapshot.get::<DaemonTaskDefinition>(&key)?.as_task_definition();
        return Some(payload::document(&definition).map(Arc::new));
    }
    let key = task_definition_key(&task.scope, &task.family, task.revision);
    let definition = snapshot.get::<TaskDefinition>(&key)?;
    Some(control.store.beside::<payload::Documents>().of(&definition))
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

/// Forgets the orders to a container instance that was deregistered: its agent joins as a new one, which is told what it should
/// be running.
async fn withdraw_orders(control: &Control, container_instance: &str) {
    let done = control.store.update(|snapshot| {
        let mut transaction = Transaction::new();
        for order in snapshot.scan::<OutboxMessage>(Prefix::global(&[container_instance]), None) {
            transaction.remove(&order);
        }
        Ok::<_, std::convert::Infallible>((transaction, ()))
    });
    if let Err(error) = done.await {
        tracing::warn!(%error, "orders to a container instance that is gone stay in the outbox");
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
