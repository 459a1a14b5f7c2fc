//! The TCS web socket: metrics every 20 seconds, health as often and whenever it changes, the state of the container runtime.

use std::sync::Arc;
use std::time::Duration;

use agent_protocol::query::TcsQuery;
use agent_protocol::tcs::{
    AgentFrame, AgentMessage, ContainerHealth, HealthMetadata, HealthStatus, InstanceStatus,
    InstanceStatusMetadata, MetricsMetadata, PublishHealthRequest, PublishInstanceStatusRequest,
    PublishMetricsRequest, ServerMessage, TASKS_PER_FRAME_MAXIMUM, TaskHealth,
};
use client::Backoff;
use client::websocket::Socket;
use futures_util::{SinkExt, StreamExt};
use http::Uri;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{CONNECTION_LIFE, INACTIVITY, WRITE_TIMEOUT, discover, jittered, socket_url};
use crate::registration::{AGENT_VERSION, RUNTIME_VERSION};
use crate::task_engine::TaskEngine;
use crate::task_engine::decide::Verdict;
use crate::task_engine::view::TaskView;
use crate::telemetry::Telemetry;

/// Between two rounds. The stock agent's.
const ROUND: Duration = Duration::from_secs(20);

/// The TCS session of a node. It never ends by itself; who runs it aborts it.
pub struct TcsSession {
    tasks: TaskEngine,
    telemetry: Telemetry,
    instance: String,
}

impl TcsSession {
    /// The session of the container instance `instance`.
    pub fn new(tasks: TaskEngine, telemetry: Telemetry, instance: String) -> Self {
        Self { tasks, telemetry, instance }
    }

    /// Connects, again and again.
    pub async fn run(self) {
        let ids = Arc::clone(&self.tasks.shared().config.ids);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1), 2.0);
        loop {
            match self.connection().await {
                Ok(()) => backoff.reset(),
                Err(error) => tracing::debug!(error, "no telemetry connection"),
            }
            tokio::time::sleep(backoff.next(&*ids)).await;
        }
    }

    async fn connection(&self) -> Result<(), String> {
        let shared = self.tasks.shared();
        let endpoints = discover(&shared.client, &shared.config.cluster, &self.instance)
            .await
            .map_err(|error| crate::words(&error))?;
        let query = TcsQuery {
            agent_hash: "roadstead".to_owned(),
            agent_version: AGENT_VERSION.to_owned(),
            cluster: shared.config.cluster.clone(),
            container_instance: self.instance.clone(),
            docker_version: RUNTIME_VERSION.to_owned(),
        };
        let url = socket_url(&endpoints.telemetry, &query.to_query()).map_err(|error| error.to_string())?;
        let socket = client::websocket::connect(&url, "ecs", shared.client.config())
            .await
            .map_err(|error| crate::words(&error))?;
        self.converse(socket, &url).await
    }

    /// Publishes and reads until the connection ends. `Ok`: it had been a good one.
    async fn converse(&self, mut socket: Socket, url: &Uri) -> Result<(), String> {
        let shared = Arc::clone(self.tasks.shared());
        let ids = &*shared.config.ids;
        let end = Instant::now() + jittered(CONNECTION_LIFE, Duration::from_mins(5), ids);
        let patience = jittered(INACTIVITY, INACTIVITY, ids);
        let mut silent_since = Instant::now();
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut runtime = None;
        loop {
            tokio::select! {
                _ = rounds.tick() => {
                    for message in self.metrics().into_iter().chain(self.health()) {
                        self.send(&mut socket, url, message).await?;
                    }
                    let well = shared.engine.list().await.map_err(|error| crate::words(&error));
                    if runtime.replace(well.is_ok()) != Some(well.is_ok()) {
                        self.send(&mut socket, url, self.runtime_status(well.err())).await?;
                    }
                }
                () = shared.health_changed.notified() => {
                    for message in self.health() {
                        self.send(&mut socket, url, message).await?;
                    }
                }
                received = socket.next() => match received {
                    None | Some(Err(_)) => return Ok(()),
                    Some(Ok(Message::Text(text))) => match ServerMessage::parse(&text) {
                        Ok(ServerMessage::Exception { kind, message }) => {
                            tracing::warn!(kind, message, "the control plane refuses telemetry");
                        }
                        Ok(ServerMessage::StopTelemetrySession(_)) => return Ok(()),
                        Ok(ServerMessage::Unknown(kind)) => tracing::debug!(kind, "a message of an unknown type is dropped"),
                        Ok(_) => silent_since = Instant::now(),
                        Err(error) => tracing::warn!(error = crate::words(&error), "a message could not be read"),
                    },
                    Some(Ok(_)) => {}
                },
                () = tokio::time::sleep_until(silent_since + patience) => return Ok(()),
                () = tokio::time::sleep_until(end) => {
                    let frame = CloseFrame {
                        code: CloseCode::Normal,
                        reason: "ConnectionExpired: Reconnect to continue".into(),
                    };
                    let _ = timeout(WRITE_TIMEOUT, socket.close(Some(frame))).await;
                    return Ok(());
                }
            }
        }
    }

    /// Sends a message behind its own signature, which covers a GET of the web socket's URL with the JSON as its body.
    async fn send(&self, socket: &mut Socket, url: &Uri, message: AgentMessage) -> Result<(), String> {
        let config = self.tasks.shared().client.config();
        let body = message.to_text();
        let request = http::Request::get(url.clone()).body(()).map_err(|error| error.to_string())?;
        let (mut parts, ()) = request.into_parts();
        let now = config.clock.now();
        wire::sigv4::sign(&mut parts, body.as_bytes(), &config.credentials, "ecs", &config.region, now);
        let headers: Vec<(String, String)> = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let frame = AgentFrame::join(&headers, &body);
        match timeout(WRITE_TIMEOUT, socket.send(Message::text(frame))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("writing took too long".to_owned()),
        }
    }

    fn timestamp(&self) -> f64 {
        self.tasks.shared().config.clock.now().as_seconds_f64()
    }

    fn metrics(&self) -> Vec<AgentMessage> {
        let config = &self.tasks.shared().config;
        let views = self.tasks.views();
        let metrics = self.telemetry.take_metrics(&views);
        let idle = metrics.is_empty();
        let message_id = config.ids.uuid();
        let frames: Vec<_> = if idle {
            vec![Vec::new()]
        } else {
            metrics.chunks(TASKS_PER_FRAME_MAXIMUM).map(<[_]>::to_vec).collect()
        };
        let last = frames.len().saturating_sub(1);
        frames
            .into_iter()
            .enumerate()
            .map(|(index, task_metrics)| {
                AgentMessage::Metrics(Box::new(PublishMetricsRequest {
                    metadata: MetricsMetadata {
                        cluster: config.cluster.clone(),
                        container_instance: self.instance.clone(),
                        message_id: message_id.clone(),
                        idle,
                        fin: index == last,
                    },
                    instance_metrics: None,
                    task_metrics,
                    timestamp: self.timestamp(),
                }))
            })
            .collect()
    }

    /// Health of all tasks with health checks; nothing when there are none.
    fn health(&self) -> Vec<AgentMessage> {
        let config = &self.tasks.shared().config;
        let tasks: Vec<TaskHealth> = self.tasks.views().iter().filter_map(|view| task_health(view)).collect();
        let message_id = config.ids.uuid();
        let last = tasks.len().div_ceil(TASKS_PER_FRAME_MAXIMUM).saturating_sub(1);
        tasks
            .chunks(TASKS_PER_FRAME_MAXIMUM)
            .enumerate()
            .map(|(index, tasks)| {
                AgentMessage::Health(PublishHealthRequest {
                    metadata: HealthMetadata {
                        cluster: config.cluster.clone(),
                        container_instance: self.instance.clone(),
                        message_id: message_id.clone(),
                        fin: index == last,
                    },
                    tasks: tasks.to_vec(),
                    timestamp: self.timestamp(),
                })
            })
            .collect()
    }

    fn runtime_status(&self, failure: Option<String>) -> AgentMessage {
        let config = &self.tasks.shared().config;
        let now = self.timestamp();
        AgentMessage::InstanceStatus(PublishInstanceStatusRequest {
            metadata: InstanceStatusMetadata {
                cluster: config.cluster.clone(),
                container_instance: self.instance.clone(),
                request_id: config.ids.uuid(),
            },
            statuses: vec![InstanceStatus {
                kind: "ContainerRuntime".to_owned(),
                status: if failure.is_none() { "OK" } else { "IMPAIRED" }.to_owned(),
                last_updated: now,
                last_status_change: now,
                status_reason: failure,
            }],
            timestamp: now,
        })
    }
}

fn task_health(view: &TaskView) -> Option<TaskHealth> {
    let containers: Vec<ContainerHealth> = view
        .plan
        .containers
        .iter()
        .zip(&view.health)
        .filter(|(plan, _)| plan.health_check.is_some())
        .map(|(plan, health)| ContainerHealth {
            container_name: plan.name.clone(),
            health_status: match health.verdict {
                Verdict::Healthy => HealthStatus::Healthy,
                Verdict::Unhealthy => HealthStatus::Unhealthy,
                Verdict::Unknown => HealthStatus::Unknown,
            },
            status_since: health.since.map(base::Timestamp::as_seconds_f64),
            status_message: Some(health.output.clone()).filter(|output| !output.is_empty()),
        })
        .collect();
    (!containers.is_empty()).then(|| TaskHealth {
        task_arn: view.plan.arn.to_string(),
        cluster_arn: view.record.task.task_cluster_arn.clone(),
        task_definition_family: view.plan.family.clone(),
        task_definition_version: view.plan.revision.clone(),
        containers,
    })
}
