//! What the proxy of a task says: of its endpoints, and, where that is wanted, a line for every request and connection.
//!
//! Source: AWS, "Amazon ECS Service Connect access logs"; the lines are Envoy's default ones, "Access logging", and their
//! flags Envoy's response flags. A connection that became a WebSocket has its line when its answer has gone out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::http::header::{HOST, HeaderName, USER_AGENT};
use ::http::{HeaderMap, Request, Response, Version};
use base::Timestamp;
use serde_json::json;
use tokio::time::Instant;

/// Where the lines go.
pub trait LogSink: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
    /// Takes a line without its end. Must not block.
    fn write(&self, line: String);
}

/// `accessLogConfiguration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// JSON dictionaries instead of text.
    pub json: bool,
    /// Whether what follows a path's question mark is written too.
    pub query: bool,
}

/// The log of a task's proxy.
#[derive(Clone)]
pub struct Log {
    /// Where it goes.
    pub sink: Arc<dyn LogSink>,
    /// Whether requests and connections are logged, and how.
    pub access: Option<AccessLog>,
}

impl Log {
    /// Says something of the proxy itself, in the form of Envoy's own lines.
    pub(crate) fn say(&self, level: &str, text: &str) {
        self.sink.write(format!("[{}][{level}][service-connect] {text}", self.sink.now()));
    }
}

/// Envoy's flags for what went wrong.
pub(crate) mod flags {
    pub(crate) const NO_HEALTHY_UPSTREAM: &str = "UH";
    pub(crate) const CONNECTION_FAILURE: &str = "UF";
    pub(crate) const CONNECTION_TERMINATION: &str = "UC";
    pub(crate) const REQUEST_TIMEOUT: &str = "UT";
    pub(crate) const DOWNSTREAM_PROTOCOL_ERROR: &str = "DPE";
}

/// How an exchange went: rides in the answer's extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The endpoint that answered, or that was tried last.
    pub(crate) upstream: Option<SocketAddr>,
    /// Milliseconds until its answer's head.
    pub(crate) upstream_milliseconds: Option<u128>,
    /// What went wrong.
    pub(crate) flags: Option<&'static str>,
}

/// A request that is being logged.
pub(crate) struct Story {
    log: Log,
    access: AccessLog,
    at: Timestamp,
    began: Instant,
    method: String,
    path: String,
    protocol: &'static str,
    authority: Option<String>,
    headers: [Option<String>; 3],
    received: Arc<AtomicU64>,
    status: u16,
    outcome: Outcome,
}

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Story {
    /// Begins where requests are logged.
    pub(crate) fn begin<B>(log: Option<&Log>, request: &Request<B>) -> Option<Self> {
        let log = log?;
        let access = log.access?;
        let text = |name: &HeaderName| header(request.headers(), name);
        let uri = request.uri();
        let path = if access.query { uri.path_and_query().map(ToString::to_string) } else { None };
        Some(Self {
            log: log.clone(),
            access,
            at: log.sink.now(),
            began: Instant::now(),
            method: request.method().to_string(),
            path: path.unwrap_or_else(|| uri.path().to_owned()),
            protocol: match request.version() {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            authority: uri.authority().map(ToString::to_string).or_else(|| text(&HOST)),
            headers: [text(&FORWARDED_FOR), text(&USER_AGENT), text(&REQUEST_ID)],
            received: Arc::default(),
            status: 0,
            outcome: Outcome::default(),
        })
    }

    /// Where the bytes of the request's body are counted.
    pub(crate) fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    /// Takes in the answer's head.
    pub(crate) fn answered<B>(&mut self, answer: &Response<B>) {
        self.status = answer.status().as_u16();
        self.outcome = answer.extensions().get::<Outcome>().cloned().unwrap_or_default();
    }

    /// Writes the line; `sent` bytes of the answer's body have gone out.
    pub(crate) fn end(self, sent: u64) {
        let duration = self.began.elapsed().as_millis();
        let received = self.received.load(Ordering::Relaxed);
        let [forwarded_for, user_agent, request_id] = &self.headers;
        let upstream = self.outcome.upstream.map(|address| address.to_string());
        let line = if self.access.json {
            json!({
                "start_time": self.at.to_string(),
                "method": self.method,
                "path": self.path,
                "protocol": self.protocol,
                "response_code": self.status,
                "response_flags": self.outcome.flags.unwrap_or("-"),
                "bytes_received": received,
                "bytes_sent": sent,
                "duration": duration,
                "upstream_service_time": self.outcome.upstream_milliseconds,
                "x_forwarded_for": forwarded_for,
                "user_agent": user_agent,
                "request_id": request_id,
                "authority": self.authority,
                "upstream_host": upstream,
            })
            .to_string()
        } else {
            let milliseconds = self.outcome.upstream_milliseconds.map(|count| count.to_string());
            format!(
                "[{}] \"{} {} {}\" {} {} {received} {sent} {duration} {} \"{}\" \"{}\" \"{}\" \"{}\" \"{}\"",
                self.at,
                self.method,
                self.path,
                self.protocol,
                self.status,
                self.outcome.flags.unwrap_or("-"),
                or_dash(milliseconds.as_ref()),
                or_dash(forwarded_for.as_ref()),
                or_dash(user_agent.as_ref()),
                or_dash(request_id.as_ref()),
                or_dash(self.authority.as_ref()),
                or_dash(upstream.as_ref()),
            )
        };
        self.log.sink.write(line);
    }
}

/// A connection of TCP that is being logged.
pub(crate) struct ConnectionStory {
    log: Log,
    access: AccessLog,
    at: Timestamp,
    began: Instant,
}

impl ConnectionStory {
    /// Begins where connections are logged.
    pub(crate) fn begin(log: Option<&Log>) -> Option<Self> {
        let log = log?;
        Some(Self { log: log.clone(), access: log.access?, at: log.sink.now(), began: Instant::now() })
    }

    /// Writes the line, with the bytes from and to the client.
    pub(crate) fn end(self, received: u64, sent: u64, outcome: &Outcome) {
        let duration = self.began.elapsed().as_millis();
        let upstream = outcome.upstream.map(|address| address.to_string());
        let line = if self.access.json {
            json!({
                "start_time": self.at.to_string(),
                "response_flags": outcome.flags.unwrap_or("-"),
                "bytes_received": received,
                "bytes_sent": sent,
                "duration": duration,
                "upstream_host": upstream,
            })
            .to_string()
        } else {
            format!(
                "[{}] {} {received} {sent} {duration} \"{}\"",
                self.at,
                outcome.flags.unwrap_or("-"),
                or_dash(upstream.as_ref())
            )
        };
        self.log.sink.write(line);
    }
}

fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn or_dash(text: Option<&String>) -> &str {
    text.map_or("-", String::as_str)
}
