//! The agent's half of the two web sockets: orders and telemetry, over a network that may lose them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent_protocol::acs::{
    AckRequest, AgentMessage, HeartbeatAckRequest, ServerMessage, TaskIdentifier, TaskManifestMessage,
    TaskStopVerificationMessage,
};
use agent_protocol::payload::{DesiredStatus, PayloadMessage};
use agent_protocol::query::{AcsQuery, TcsQuery};
use agent_protocol::tcs::{
    AgentFrame, AgentMessage as Telemetry, ContainerHealth, HealthMetadata, HealthStatus,
    PublishHealthRequest, TaskHealth,
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::link::Towards;
use crate::machine::{Machine, until};
use crate::plane::Plane;
use crate::world::World;

/// Bytes under way in one direction of a socket.
const SOCKET_BYTES: usize = 256 * 1024;
/// An agent that hears nothing for this long connects anew.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries to connect: shortest and longest, in milliseconds.
const CONNECT_AGAIN_MILLIS: (u64, u64) = (250, 3000);
/// Between two reports of health.
const HEALTH_ROUND: Duration = Duration::from_secs(20);

/// What every machine can do.
const CAPABILITIES: [&str; 8] = [
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.19",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
    "com.amazonaws.ecs.capability.docker-remote-api.1.24",
    "com.amazonaws.ecs.capability.docker-remote-api.1.29",
    "com.amazonaws.ecs.capability.privileged-container",
    "ecs.capability.container-health-check",
    "ecs.capability.task-eni",
];

/// Why a connection ended.
enum Ended {
    /// It broke.
    Broken,
    /// The control plane does not know the instance.
    Unknown,
}

/// The agent's main job: registers, and keeps a session.
pub(crate) async fn stay_connected(world: Arc<World>, machine: Arc<Machine>) {
    loop {
        if machine.arn().is_none() && !register(&world, &machine).await {
            tokio::time::sleep(machine.between(CONNECT_AGAIN_MILLIS)).await;
            continue;
        }
        match connection(&world, &machine).await {
            Ended::Broken => {}
            Ended::Unknown => {
                world.say(format!("  {}: the control plane does not know it", machine.name));
                machine.disk().instance_arn = None;
            }
        }
        tokio::time::sleep(machine.between(CONNECT_AGAIN_MILLIS)).await;
    }
}

async fn register(world: &Arc<World>, machine: &Machine) -> bool {
    let mut resources = vec![
        json!({"name": "CPU", "type": "INTEGER", "integerValue": machine.size.cpu_units}),
        json!({"name": "MEMORY", "type": "INTEGER", "integerValue": machine.size.memory_mib}),
        json!({"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "51678"]}),
        json!({"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []}),
    ];
    if !machine.size.gpu_ids.is_empty() {
        resources.push(json!({"name": "GPU", "type": "STRINGSET", "stringSetValue": machine.size.gpu_ids}));
    }
    let zone = format!("us-east-1{}", machine.zone);
    let mut attributes: Vec<Value> = CAPABILITIES.iter().map(|name| json!({"name": name})).collect();
    attributes.push(json!({"name": "ecs.availability-zone", "value": zone}));
    attributes.push(json!({"name": "name", "value": machine.name}));
    let identity = json!({"instanceId": format!("i-{:0>17}", machine.name.replace("i-", "")),
        "availabilityZone": zone});
    let body = json!({
        "cluster": "default",
        "instanceIdentityDocument": identity.to_string(),
        "instanceIdentityDocumentSignature": "",
        "totalResources": resources,
        "attributes": attributes,
    });
    let answer = machine.call(world, "RegisterContainerInstance", &body).await;
    let arn = answer.as_ref().filter(|(status, _)| *status == 200).and_then(|(_, answer)| {
        answer.pointer("/containerInstance/containerInstanceArn")?.as_str().map(str::to_owned)
    });
    let Some(arn) = arn else {
        if let Some((status, answer)) = answer {
            world.broken(format!("{} cannot register: {status} {answer}", machine.name));
        }
        return false;
    };
    world.watcher.name_machine(&arn, &machine.name);
    machine.disk().instance_arn = Some(arn);
    true
}

/// One try to reach the control plane: a message each way.
async fn reach(world: &World, machine: &Machine) -> Option<Arc<Plane>> {
    let forth = machine.link.carry(Towards::ControlPlane).into_iter().min()?;
    let back = machine.link.carry(Towards::Agent).into_iter().min()?;
    tokio::time::sleep(forth + back).await;
    world.plane()
}

fn sockets_ends() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(SOCKET_BYTES)
}

async fn connection(world: &Arc<World>, machine: &Arc<Machine>) -> Ended {
    let Some(plane) = reach(world, machine).await else { return Ended::Broken };
    let Some(arn) = machine.arn() else { return Ended::Unknown };
    let query = AcsQuery {
        agent_hash: "sim".to_owned(),
        agent_version: "1.0.0".to_owned(),
        cluster: "default".to_owned(),
        container_instance_arn: arn.clone(),
        docker_version: "DockerVersion: sim".to_owned(),
        protocol_version: 2,
        send_credentials: false,
        seq_num: 1,
    };
    let (ours, theirs) = sockets_ends();
    let (reply, answer) = tokio::sync::oneshot::channel();
    let control = plane.control.clone();
    let principal = Plane::principal(world.scope());
    plane.spawn(async move {
        match control.admit_acs(&query.to_query(), &principal).await {
            Ok(admission) => {
                let _ = reply.send(Ok(()));
                let socket = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
                control.serve_acs(admission, socket).await;
            }
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
            }
        }
    });
    drop(plane);
    match answer.await {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => {
            return match refusal.kind {
                "InactiveInstanceException" | "InvalidInstanceException" => Ended::Unknown,
                _ => Ended::Broken,
            };
        }
        Err(_) => return Ended::Broken,
    }
    world.say(format!("  {}: connected", machine.name));
    let socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let ended = Conversation::new(world, machine, arn).run(socket).await;
    world.say(format!("  {}: disconnected", machine.name));
    ended
}

/// Messages under way in one direction, by arrival.
struct UnderWay {
    messages: BTreeMap<(Instant, u64), String>,
    sent: u64,
    latest: Instant,
}

impl UnderWay {
    fn new() -> Self {
        Self { messages: BTreeMap::new(), sent: 0, latest: Instant::now() }
    }

    fn send(&mut self, machine: &Machine, towards: Towards, text: &str) {
        for delay in machine.link.carry(towards) {
            let mut at = Instant::now() + delay;
            if !machine.link.reorders(towards) {
                at = at.max(self.latest);
            }
            self.latest = self.latest.max(at);
            self.sent += 1;
            self.messages.insert((at, self.sent), text.to_owned());
        }
    }

    fn next_at(&self) -> Option<Instant> {
        self.messages.keys().next().map(|(at, _)| *at)
    }

    fn take(&mut self) -> Option<String> {
        self.messages.pop_first().map(|(_, text)| text)
    }
}

struct Conversation<'a> {
    world: &'a Arc<World>,
    machine: &'a Arc<Machine>,
    instance: String,
    manifest: Option<String>,
}

impl<'a> Conversation<'a> {
    fn new(world: &'a Arc<World>, machine: &'a Arc<Machine>, instance: String) -> Self {
        Self { world, machine, instance, manifest: None }
    }

    async fn run(&mut self, mut socket: WebSocketStream<DuplexStream>) -> Ended {
        let (mut coming, mut going) = (UnderWay::new(), UnderWay::new());
        let mut heard_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.machine.link.broken() => return Ended::Broken,
                () = until(coming.next_at()) => {
                    let Some(text) = coming.take() else { continue };
                    heard_at = Instant::now();
                    let Ok(message) = ServerMessage::parse(&text) else {
                        self.world.broken(format!("an agent cannot read {text}"));
                        continue;
                    };
                    for answer in self.handle(message) {
                        going.send(self.machine, Towards::ControlPlane, &answer.to_text());
                    }
                }
                () = until(going.next_at()) => {
                    if let Some(text) = going.take()
                        && socket.send(Message::text(text)).await.is_err()
                    {
                        return Ended::Broken;
                    }
                }
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => coming.send(self.machine, Towards::Agent, &text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ended::Broken,
                    Some(Ok(_)) => {}
                },
                () = tokio::time::sleep_until(heard_at + PATIENCE) => return Ended::Broken,
            }
        }
    }

    fn handle(&mut self, message: ServerMessage) -> Vec<AgentMessage> {
        match message {
            ServerMessage::Heartbeat(heartbeat) => {
                let message_id = heartbeat.message_id.unwrap_or_default();
                vec![AgentMessage::HeartbeatAck(HeartbeatAckRequest { message_id })]
            }
            ServerMessage::Payload(payload) => self.payload(&payload),
            ServerMessage::TaskManifest(manifest) => self.manifest(&manifest),
            ServerMessage::TaskStopVerificationAck(ack) => {
                if self.manifest.take().as_ref() == Some(&ack.message_id) {
                    for task in &ack.stop_tasks {
                        let (name, short) = (&self.machine.name, self.world.short(&task.task_arn));
                        self.world.say(format!("  {name}: {short} is not wanted and stops"));
                        self.machine.stop(&task.task_arn);
                    }
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn payload(&self, payload: &PayloadMessage) -> Vec<AgentMessage> {
        if payload.container_instance_arn != self.instance {
            self.world.broken(format!("{} was sent an order for another instance", self.machine.name));
            return Vec::new();
        }
        let number = payload.seq_num.unwrap_or(-1);
        {
            let mut disk = self.machine.disk();
            disk.sequence_number = disk.sequence_number.max(number);
        }
        let (starts, stops): (Vec<_>, Vec<_>) =
            payload.tasks.iter().partition(|task| task.desired_status == DesiredStatus::Running);
        for task in stops.into_iter().chain(starts) {
            self.machine.order(self.world, task);
        }
        vec![self.ack(&payload.cluster_arn, &payload.message_id)]
    }

    fn manifest(&mut self, manifest: &TaskManifestMessage) -> Vec<AgentMessage> {
        {
            let mut disk = self.machine.disk();
            if manifest.timeline <= disk.sequence_number {
                return Vec::new();
            }
            disk.sequence_number = manifest.timeline;
        }
        let wanted = |arn: &str| {
            let listed =
                |task: &TaskIdentifier| task.task_arn == arn && task.desired_status == DesiredStatus::Running;
            manifest.tasks.iter().any(listed)
        };
        let stop_candidates: Vec<TaskIdentifier> = self
            .machine
            .unwanted(wanted)
            .into_iter()
            .map(|task_arn| TaskIdentifier {
                task_arn,
                task_cluster_arn: manifest.cluster_arn.clone(),
                desired_status: DesiredStatus::Stopped,
            })
            .collect();
        self.manifest = Some(manifest.message_id.clone());
        let mut answers = vec![self.ack(&manifest.cluster_arn, &manifest.message_id)];
        if !stop_candidates.is_empty() {
            answers.push(AgentMessage::TaskStopVerification(TaskStopVerificationMessage {
                message_id: manifest.message_id.clone(),
                stop_candidates,
            }));
        }
        answers
    }

    fn ack(&self, cluster: &str, message_id: &str) -> AgentMessage {
        AgentMessage::Ack(AckRequest {
            cluster: cluster.to_owned(),
            container_instance: self.instance.clone(),
            message_id: message_id.to_owned(),
        })
    }
}

/// The telemetry job: tells the verdicts of health checks whenever there is a new one, and now and then.
pub(crate) async fn tell_health(world: Arc<World>, machine: Arc<Machine>) {
    loop {
        if health_report(&machine).is_none() {
            machine.health_changed.notified().await;
            continue;
        }
        telemetry(&world, &machine).await;
        tokio::time::sleep(machine.between(CONNECT_AGAIN_MILLIS)).await;
    }
}

async fn telemetry(world: &World, machine: &Machine) {
    let Some(plane) = reach(world, machine).await else { return };
    let Some(arn) = machine.arn() else { return };
    let query = TcsQuery {
        agent_hash: "sim".to_owned(),
        agent_version: "1.0.0".to_owned(),
        cluster: "default".to_owned(),
        container_instance: arn,
        docker_version: "sim".to_owned(),
    };
    let (ours, theirs) = sockets_ends();
    let Ok(instance) = plane.control.admit_tcs(&query.to_query(), &Plane::principal(world.scope())) else {
        return;
    };
    let control = plane.control.clone();
    plane.spawn(async move {
        let socket = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        control.serve_tcs(instance, socket).await;
    });
    drop(plane);
    let mut socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let mut told_at: Option<Instant> = None;
    loop {
        let Some(report) = health_report(machine) else { return };
        let due = told_at.map_or_else(Instant::now, |at| at + HEALTH_ROUND);
        tokio::select! {
            biased;
            () = machine.link.broken() => return,
            () = machine.health_changed.notified() => told_at = None,
            () = tokio::time::sleep_until(due) => {
                told_at = Some(Instant::now());
                let text = AgentFrame::join(&[], &Telemetry::Health(report).to_text());
                if !machine.link.carry(Towards::ControlPlane).is_empty()
                    && socket.send(Message::text(text)).await.is_err()
                {
                    return;
                }
            }
            frame = socket.next() => if !matches!(frame, Some(Ok(_))) { return },
        }
    }
}

/// What health checks say now; `None` where there are none.
fn health_report(machine: &Machine) -> Option<PublishHealthRequest> {
    let disk = machine.disk();
    let tasks: Vec<TaskHealth> = disk
        .tasks
        .iter()
        .filter_map(|(arn, record)| {
            let healthy = record.healthy?;
            let verdict = if healthy { HealthStatus::Healthy } else { HealthStatus::Unhealthy };
            let containers = record
                .checked
                .iter()
                .map(|name| ContainerHealth {
                    container_name: name.clone(),
                    health_status: verdict.clone(),
                    status_since: None,
                    status_message: None,
                })
                .collect();
            Some(TaskHealth {
                task_arn: arn.clone(),
                cluster_arn: Some(record.cluster_arn.clone()),
                task_definition_family: record.family.clone(),
                task_definition_version: record.version.clone(),
                containers,
            })
        })
        .collect();
    let metadata = HealthMetadata {
        cluster: "default".to_owned(),
        container_instance: disk.instance_arn.clone()?,
        message_id: "health".to_owned(),
        fin: true,
    };
    (!tasks.is_empty()).then_some(PublishHealthRequest { metadata, tasks, timestamp: 0.0 })
}
