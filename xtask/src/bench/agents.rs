//! Fake agents: container instances whose agents connect, take orders and report, and run nothing. They speak the agent
//! protocol over real web sockets, so that the control plane does all of its work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_protocol::acs::{AckRequest, AgentMessage, HeartbeatAckRequest, ServerMessage};
use agent_protocol::payload::{DesiredStatus, PayloadMessage};
use agent_protocol::query::AcsQuery;
use api::ecs as shape;
use base::{RandomIds, SystemClock};
use client::websocket::{Socket, connect};
use client::{Client, ClientConfig, SecretKey, SigningKey};
use futures_util::{SinkExt as _, StreamExt as _, stream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;

use super::process::wait_for;
use super::roadstead::Roadstead;

/// Agents that register and connect at once.
const AT_ONCE: usize = 32;
/// Reports under way at once: agents share connections here, which real ones do not.
const REPORTS_AT_ONCE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(300);

/// What the agents have heard.
#[derive(Default)]
pub struct Heard {
    /// Orders to start, each task once.
    starts: Mutex<BTreeMap<String, Instant>>,
    /// Orders to stop.
    stops: AtomicUsize,
    /// Reports of RUNNING or STOPPED that were answered.
    reported: AtomicUsize,
}

/// Agents that are connected. They go when dropped.
pub struct Agents {
    /// What they have heard.
    pub heard: Arc<Heard>,
    _runtime: Runtime,
}

#[derive(Clone)]
struct Common {
    client: Client,
    heard: Arc<Heard>,
    reports: Option<Arc<Semaphore>>,
    cluster: String,
}

impl Agents {
    /// Registers `count` container instances in `cluster` and connects them; they report what tasks do if `report`.
    pub fn start(roadstead: &Roadstead, cluster: &str, count: usize, report: bool) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let target = &roadstead.target;
        let client = Client::new(ClientConfig {
            endpoint: format!("http://{}", target.address).parse().map_err(|_| "no address".to_owned())?,
            region: "us-east-1".to_owned(),
            credentials: Arc::new(SigningKey {
                access_key_id: target.access_key_id.clone(),
                secret_access_key: SecretKey::new(target.secret_access_key.clone()),
                session_token: None,
            }),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
        });
        let common = Common {
            client,
            heard: Arc::default(),
            reports: report.then(|| Arc::new(Semaphore::new(REPORTS_AT_ONCE))),
            cluster: cluster.to_owned(),
        };
        let heard = Arc::clone(&common.heard);
        let all = stream::iter(0..count).map(|number| {
            let common = common.clone();
            tokio::spawn(async move { join(&common, number).await })
        });
        let joined: Vec<_> = runtime.block_on(async { all.buffer_unordered(AT_ONCE).collect().await });
        for agent in joined {
            agent.map_err(|error| error.to_string())??;
        }
        Ok(Self { heard, _runtime: runtime })
    }
}

impl Heard {
    /// How many tasks agents were told to start.
    pub fn starts(&self) -> usize {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// When the last of the first `count` orders to start came; waits for it.
    pub fn wait_for_starts(&self, count: usize) -> Result<Instant, String> {
        self.wait_until_started(count)?;
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut moments: Vec<Instant> = starts.values().copied().collect();
        moments.sort_unstable();
        moments.get(count - 1).copied().ok_or_else(|| "no order".to_owned())
    }

    /// Waits for so many orders to start.
    pub fn wait_until_started(&self, count: usize) -> Result<(), String> {
        let enough = || Ok((self.starts() >= count).then_some(()));
        wait_for(&format!("{count} orders to start"), PATIENCE, enough)
    }

    /// Waits until so many reports were answered.
    pub fn wait_for_reports(&self, count: usize) -> Result<(), String> {
        let enough = || Ok((self.reported.load(Ordering::Relaxed) >= count).then_some(()));
        wait_for(&format!("{count} reports to be answered"), PATIENCE, enough)
    }
}

/// Registers and connects one agent; it goes on in a task of its own.
async fn join(common: &Common, number: usize) -> Result<(), String> {
    let (arn, endpoint) = register(common, number).await?;
    let query = AcsQuery {
        agent_hash: "0".to_owned(),
        agent_version: "1.105.1".to_owned(),
        cluster: common.cluster.clone(),
        container_instance_arn: arn.clone(),
        docker_version: "DockerVersion: 20.10.24".to_owned(),
        protocol_version: 2,
        send_credentials: true,
        seq_num: 1,
    };
    let url = format!("{}/ws?{}", endpoint.trim_end_matches('/'), query.to_query());
    let url = url.parse().map_err(|_| format!("{url} is no address"))?;
    let socket = connect(&url, "ecs", common.client.config()).await.map_err(|error| error.to_string())?;
    let common = common.clone();
    tokio::spawn(async move { serve(common, arn, socket).await });
    Ok(())
}

async fn register(common: &Common, number: usize) -> Result<(String, String), String> {
    let resource = |name: &str, value: i32| shape::Resource {
        name: Some(name.to_owned()),
        type_: Some("INTEGER".to_owned()),
        integer_value: Some(value),
        ..shape::Resource::default()
    };
    let zone = ["us-east-1a", "us-east-1b", "us-east-1c"][number % 3];
    let attribute = |name: &str, value: Option<&str>| shape::Attribute {
        name: Some(name.to_owned()),
        value: value.map(str::to_owned),
        ..shape::Attribute::default()
    };
    let request = shape::RegisterContainerInstanceRequest {
        cluster: Some(common.cluster.clone()),
        total_resources: Some(vec![resource("CPU", 1 << 20), resource("MEMORY", 1 << 24)]),
        attributes: Some(vec![attribute("roadstead.availability-zone", Some(zone))]),
        ..shape::RegisterContainerInstanceRequest::default()
    };
    let failed = |error: client::ClientError| error.to_string();
    let answer = common.client.call::<shape::operations::RegisterContainerInstance>(&request).await;
    let instance = answer.map_err(failed)?.container_instance.unwrap_or_default();
    let arn = instance.container_instance_arn.unwrap_or_default();
    let request = shape::DiscoverPollEndpointRequest {
        container_instance: Some(arn.clone()),
        cluster: Some(common.cluster.clone()),
    };
    let answer = common.client.call::<shape::operations::DiscoverPollEndpoint>(&request).await;
    Ok((arn, answer.map_err(failed)?.endpoint.unwrap_or_default()))
}

async fn serve(common: Common, arn: String, mut socket: Socket) {
    while let Some(Ok(frame)) = socket.next().await {
        let Message::Text(text) = frame else { continue };
        let answer = match ServerMessage::parse(text.as_str()) {
            Ok(ServerMessage::Heartbeat(heartbeat)) => AgentMessage::HeartbeatAck(HeartbeatAckRequest {
                message_id: heartbeat.message_id.unwrap_or_default(),
            }),
            Ok(ServerMessage::Payload(payload)) => {
                let ack = AckRequest {
                    cluster: payload.cluster_arn.clone(),
                    container_instance: arn.clone(),
                    message_id: payload.message_id.clone(),
                };
                hear(&common, *payload);
                AgentMessage::Ack(ack)
            }
            _ => continue,
        };
        if socket.send(Message::text(answer.to_text())).await.is_err() {
            return;
        }
    }
}

fn hear(common: &Common, payload: PayloadMessage) {
    for task in payload.tasks {
        let starts = task.desired_status == DesiredStatus::Running;
        if starts {
            let mut heard = common.heard.starts.lock().unwrap_or_else(PoisonError::into_inner);
            heard.entry(task.arn.clone()).or_insert_with(Instant::now);
        } else {
            common.heard.stops.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(places) = common.reports.clone() {
            let common = common.clone();
            tokio::spawn(async move {
                let _place = places.acquire().await;
                report(&common, task.arn, if starts { "RUNNING" } else { "STOPPED" }).await;
            });
        }
    }
}

async fn report(common: &Common, task: String, status: &str) {
    let container = shape::ContainerStateChange {
        container_name: Some("main".to_owned()),
        status: Some(status.to_owned()),
        exit_code: (status == "STOPPED").then_some(0),
        ..shape::ContainerStateChange::default()
    };
    let request = shape::SubmitTaskStateChangeRequest {
        cluster: Some(common.cluster.clone()),
        task: Some(task),
        status: Some(status.to_owned()),
        containers: Some(vec![container]),
        ..shape::SubmitTaskStateChangeRequest::default()
    };
    // One that is not taken is missed by whoever waits for all of them.
    if common.client.call::<shape::operations::SubmitTaskStateChange>(&request).await.is_ok() {
        common.heard.reported.fetch_add(1, Ordering::Relaxed);
    }
}
