//! What stands behind the listener: the API gateway, the agents' web sockets, health and reset.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{AccountId, Clock};
use bytes::Bytes;
use control::{Control, Refusal};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use wire::sigv4;

use crate::http::{Answer, Handler, plain};

/// Where an agent gets its orders. The agent appends `/ws?…`.
pub const ACS_PATH: &str = "/_roadstead/acs";
/// Where an agent reports health and metrics.
pub const TCS_PATH: &str = "/_roadstead/tcs";
/// Where the root user takes back the capacity of a Fargate Spot task.
pub const SPOT_INTERRUPT_PATH: &str = "/_roadstead/spot/interrupt";
/// The longest warning of an interruption, in seconds. Ours: an hour.
const WARNING_SECONDS_MAXIMUM: i64 = 3600;
/// Bytes that a web socket reads at once. Ours: an agent's messages are short, and the buffer, which every one of thousands of sessions
/// has, is filled with zeros before each read.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes of one message from an agent: the stock agent's own limit for telemetry is 1 MiB.
const MESSAGE_BYTES_MAXIMUM: usize = 4 * 1024 * 1024;

/// Empties the state; answers once that is done.
pub type Reset = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Who is believed at a web socket's handshake.
pub enum Believed {
    /// Everyone, as the root of this account.
    Anyone(AccountId),
    /// Who signs with one of these keys.
    Keys(Arc<dyn sigv4::Credentials>),
}

/// What stands behind the listener.
pub struct Front {
    /// The AWS API.
    pub gateway: wire::Gateway,
    /// Sessions with agents.
    pub control: Control,
    /// All rows.
    pub store: store::Store,
    /// The main account and region.
    pub scope: base::Scope,
    /// Handshakes.
    pub believed: Believed,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Set once everything is up.
    pub ready: AtomicBool,
    /// With `--allow-reset`.
    pub reset: std::sync::OnceLock<Reset>,
}

impl Handler for Front {
    async fn call(self: Arc<Self>, request: Request<Bytes>, peer: SocketAddr) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/_roadstead/health") => {
                if self.ready.load(Ordering::Acquire) {
                    plain(StatusCode::OK, "ready")
                } else {
                    plain(StatusCode::SERVICE_UNAVAILABLE, "starting")
                }
            }
            (&Method::POST, "/_roadstead/reset") => self.reset().await,
            (&Method::POST, SPOT_INTERRUPT_PATH) => {
                let (parts, _) = request.into_parts();
                self.interrupt(&parts).await
            }
            (_, path) if path.starts_with("/_roadstead/") => {
                plain(StatusCode::NOT_FOUND, "there is nothing here")
            }
            _ => {
                let (parts, body) = self.gateway.call(request, Some(peer.ip())).await.into_parts();
                Response::from_parts(parts, Full::new(body))
            }
        }
    }

    fn is_web_socket(&self, path: &str) -> bool {
        session_kind(path).is_some()
    }

    async fn upgrade(self: Arc<Self>, mut request: Request<Incoming>, _peer: SocketAddr) -> Answer {
        let Some(key) = web_socket_key(&request) else {
            return plain(
                StatusCode::UPGRADE_REQUIRED,
                "this address speaks the web socket protocol, version 13",
            );
        };
        let upgraded = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let caller = match self.believe(&parts) {
            Ok(caller) => caller,
            Err(refusal) => return refused(&refusal),
        };
        let query = parts.uri.query().unwrap_or_default();
        let session = match session_kind(parts.uri.path()) {
            Some(Kind::Acs) => self.control.admit_acs(query, &caller).await.map(Session::Acs),
            _ => self.control.admit_tcs(query, &caller).map(Session::Tcs),
        };
        let session = match session {
            Ok(session) => session,
            Err(refusal) => return refused(&refusal),
        };
        let control = self.control.clone();
        tokio::spawn(async move {
            let Ok(upgraded) = upgraded.await else { return };
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER_BYTES)
                .max_message_size(Some(MESSAGE_BYTES_MAXIMUM))
                .max_frame_size(Some(MESSAGE_BYTES_MAXIMUM));
            let socket =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            match session {
                Session::Acs(admission) => control.serve_acs(admission, socket).await,
                Session::Tcs(container_instance) => control.serve_tcs(container_instance, socket).await,
            }
        });
        switching(&key)
    }
}

enum Kind {
    Acs,
    Tcs,
}

enum Session {
    Acs(control::Admission),
    Tcs(base::Arn),
}

fn session_kind(path: &str) -> Option<Kind> {
    match path.strip_suffix("/ws")? {
        ACS_PATH => Some(Kind::Acs),
        TCS_PATH => Some(Kind::Tcs),
        _ => None,
    }
}

/// The key of a proper handshake. Source: RFC 6455, section 4.2.1.
fn web_socket_key(request: &Request<Incoming>) -> Option<String> {
    let header = |name: header::HeaderName| request.headers().get(name)?.to_str().ok();
    let upgrades = header(header::UPGRADE)?.eq_ignore_ascii_case("websocket");
    let version = header(header::SEC_WEBSOCKET_VERSION)? == "13";
    let key = header(header::SEC_WEBSOCKET_KEY)?;
    (upgrades && version && key.len() == 24).then(|| key.to_owned())
}

fn switching(key: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}

fn refused(refusal: &Refusal) -> Answer {
    tracing::warn!(kind = refusal.kind, message = refusal.message, "an agent's connection was refused");
    let mut answer = Response::new(Full::new(Bytes::from(refusal.body())));
    *answer.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

impl Front {
    /// Verifies a handshake's signature; says whose key it was.
    fn believe(&self, parts: &http::request::Parts) -> Result<wire::Principal, Refusal> {
        let keys = match &self.believed {
            Believed::Anyone(account) => return Ok(wire::Principal::root(account, "anyone")),
            Believed::Keys(keys) => keys,
        };
        let verified = sigv4::verify(parts, b"", keys.as_ref(), self.clock.now()).map_err(|error| {
            Refusal { status: 403, kind: "AccessDeniedException", message: error.to_string() }
        })?;
        if verified.aws_service != "ecs" {
            return Err(Refusal {
                status: 403,
                kind: "AccessDeniedException",
                message: "Credential should be scoped to correct service: 'ecs'.".to_owned(),
            });
        }
        Ok(verified.principal)
    }

    /// Takes back the capacity of the task that the query names. Only for the root user: the request is signed as a call of
    /// ECS is.
    async fn interrupt(&self, parts: &http::request::Parts) -> Answer {
        let caller = match self.believe(parts) {
            Ok(caller) if caller.kind == wire::PrincipalKind::Root => caller,
            Ok(_) => return plain(StatusCode::FORBIDDEN, "only the root user may interrupt a task"),
            Err(refusal) => return refused(&refusal),
        };
        let query = parts.uri.query().unwrap_or_default();
        let member = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, value)| value)
        };
        let region =
            member("region").and_then(|region| region.parse().ok()).unwrap_or(self.scope.region.clone());
        let scope = base::Scope::new(caller.account, region);
        let cluster = member("cluster").unwrap_or("default");
        let Some(task) = member("task") else {
            return plain(StatusCode::BAD_REQUEST, "the query must name a task");
        };
        let warning = match member("warning").map(str::parse::<i64>) {
            None => ecs::spot::WARNING_SECONDS,
            Some(Ok(seconds)) if (0..=WARNING_SECONDS_MAXIMUM).contains(&seconds) => seconds,
            Some(_) => return plain(StatusCode::BAD_REQUEST, "warning must be 0 to 3600 seconds"),
        };
        let place = (&scope, cluster, task);
        match ecs::spot::interrupt(&self.store, place, warning, self.clock.now()).await {
            Ok(arn) => plain(StatusCode::OK, &arn.to_string()),
            Err(error @ ecs::spot::InterruptError::Store(_)) => {
                plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
            }
            Err(error) => plain(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    async fn reset(&self) -> Answer {
        let Some(reset) = self.reset.get() else {
            return plain(StatusCode::FORBIDDEN, "reset is off: start with --allow-reset to allow it");
        };
        match reset().await {
            Ok(()) => plain(StatusCode::OK, "empty"),
            Err(message) => plain(StatusCode::INTERNAL_SERVER_ERROR, &message),
        }
    }
}
