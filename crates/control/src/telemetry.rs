//! One TCS session: health, metrics and instance status that an agent reports.
//!
//! Health goes into the task's row. Metrics and instance status are acknowledged, as the agent's session needs it, and
//! logged at debug level: no API of this version shows them.

use std::time::Duration;

use agent_protocol::acs::HeartbeatMessage;
use agent_protocol::query::TcsQuery;
use agent_protocol::tcs::{Acknowledgment, AgentFrame, AgentMessage, ServerMessage};
use base::Arn;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use wire::Principal;

use crate::session::{Refusal, named_instance};
use crate::{Control, health};

/// The agent closes after one to two minutes without a message.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How long one frame may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

impl Control {
    /// Checks the query of a TCS handshake that `caller` signed.
    pub fn admit_tcs(&self, query: &str, caller: &Principal) -> Result<Arn, Refusal> {
        let malformed = || Refusal {
            status: 400,
            kind: "BadRequestException",
            message: "The query string is malformed.".to_owned(),
        };
        let query = TcsQuery::parse(query).ok_or_else(malformed)?;
        let row = named_instance(self, caller, &query.cluster, &query.container_instance)?;
        Ok(row.arn())
    }

    /// Serves a telemetry session until it ends.
    pub async fn serve_tcs<S>(&self, container_instance: Arn, socket: WebSocketStream<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (mut sink, mut stream) = socket.split();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            let answer = tokio::select! {
                // In a fixed order, here as in the other session: a simulation must be able to repeat what happened.
                biased;
                frame = stream.next() => match frame {
                    Some(Ok(Message::Text(text))) => self.hear(&container_instance, text.as_str()).await,
                    Some(Ok(Message::Close(_))) => {
                        let _ = timeout(WRITE_TIMEOUT, sink.close()).await;
                        return;
                    }
                    Some(Ok(_)) => None,
                    Some(Err(_)) | None => return,
                },
                _ = heartbeat.tick() => {
                    Some(ServerMessage::Heartbeat(HeartbeatMessage { healthy: true, message_id: None }))
                }
            };
            if let Some(answer) = answer {
                let sent = timeout(WRITE_TIMEOUT, sink.send(Message::text(answer.to_text()))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }

    async fn hear(&self, container_instance: &Arn, text: &str) -> Option<ServerMessage> {
        let bad =
            |message: String| ServerMessage::Exception { kind: "BadRequestException".to_owned(), message };
        let frame = match AgentFrame::split(text) {
            Ok(frame) => frame,
            Err(error) => return Some(bad(error.to_string())),
        };
        match AgentMessage::parse(frame.body) {
            Ok(AgentMessage::Health(report)) => {
                health::take_over(self, container_instance, &report).await;
                Some(ServerMessage::AckPublishHealth(Acknowledgment::default()))
            }
            Ok(AgentMessage::Metrics(metrics)) => {
                tracing::debug!(%container_instance, tasks = metrics.task_metrics.len(), "metrics");
                Some(ServerMessage::AckPublishMetric(Acknowledgment::default()))
            }
            Ok(AgentMessage::InstanceStatus(status)) => {
                tracing::debug!(%container_instance, ?status, "instance status");
                Some(ServerMessage::AckPublishInstanceStatus(Acknowledgment::default()))
            }
            Ok(AgentMessage::Unknown(_)) => None,
            Err(error) => Some(bad(error.to_string())),
        }
    }
}
