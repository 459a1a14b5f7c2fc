//! The books of one request: what went through, when it last moved, and its line in the access log.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Timestamp;
use tokio::time::Instant;

/// One finished request. Source: "Access logs for your Application Load Balancer", syntax.
#[derive(Clone, Debug)]
pub struct AccessLogEntry {
    /// Where it is to be written, as its load balancer's attributes say.
    pub place: Arc<str>,
    /// The load balancer's ARN.
    pub load_balancer: Arc<str>,
    /// The address that took the request.
    pub node: IpAddr,
    /// When the request came.
    pub began: Timestamp,
    /// `http`, `https`, `h2`, `grpcs`, `ws`, `wss`.
    pub kind: &'static str,
    /// Where the request came from.
    pub client: SocketAddr,
    /// Where it went.
    pub target: Option<SocketAddr>,
    /// From the head of the request to the choice of a target.
    pub request_processing: Duration,
    /// To the head of the answer.
    pub target_processing: Option<Duration>,
    /// To the end.
    pub response_processing: Option<Duration>,
    /// The status that the client got.
    pub status: u16,
    /// The status that the target gave.
    pub target_status: Option<u16>,
    /// Bytes of body from the client.
    pub received_bytes: u64,
    /// Bytes of body to the client.
    pub sent_bytes: u64,
    /// `GET http://host:port/path HTTP/1.1`.
    pub request: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// TLS version and suite.
    pub tls: Option<(&'static str, String)>,
    /// The name that the client asked for in its TLS handshake.
    pub server_name: Option<Arc<str>>,
    /// The target group.
    pub target_group: Option<Arc<str>>,
    /// `Root=…`.
    pub trace: String,
    /// The priority of the rule that was met, 0 for the default rule; `None` where none was looked for.
    pub priority: Option<u32>,
    /// `forward`, `redirect`, `fixed-response`.
    pub action: Option<&'static str>,
    /// Where a redirect leads.
    pub redirect: Option<String>,
    /// Whether the request's framing was in doubt.
    pub is_ambiguous: bool,
}

/// What is told of finished requests. Must not wait.
pub trait AccessLog: Send + Sync + 'static {
    /// Takes one entry.
    fn write(&self, entry: AccessLogEntry);
}

/// The books of one request; closed when dropped.
pub struct Exchange {
    began: Instant,
    received: AtomicU64,
    sent: AtomicU64,
    moved: AtomicU64,
    line: Mutex<Option<Line>>,
}

/// What is to be written, and when the answer's head was there.
struct Line {
    log: Arc<dyn AccessLog>,
    entry: AccessLogEntry,
    head_at: Instant,
}

impl Exchange {
    /// Opens the books.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            line: Mutex::new(None),
        })
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    fn touch(&self) {
        let moved = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(moved, Ordering::Relaxed);
    }

    /// Bytes of body from the client.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    /// Bytes of body to the client.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// When the request's body last moved.
    pub fn moved_at(&self) -> Instant {
        self.began + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    /// What is to be written when the answer is through; the answer's head is there now.
    pub fn log(&self, log: Arc<dyn AccessLog>, entry: AccessLogEntry) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Line { log, entry, head_at: Instant::now() });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let line = self.line.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Line { log, mut entry, head_at }) = line {
            entry.received_bytes = self.received.load(Ordering::Relaxed);
            entry.sent_bytes = self.sent.load(Ordering::Relaxed);
            entry.response_processing = entry.target_processing.map(|_| head_at.elapsed());
            log.write(entry);
        }
    }
}
