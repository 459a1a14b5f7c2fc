//! HTTP with bounds: one request, its redirects, its tries.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use crate::limits::Limits;
use crate::registry::connect::{Connector, connector, is_loopback};

/// A connection that is not used for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept for one host: as many as download at once.
const IDLE_CONNECTIONS: usize = 4;
/// Characters of an error's text that are shown.
const SHOWN_CHARACTERS: usize = 300;

/// Connections to registries; one for all pulls of a store.
pub(crate) struct Client {
    http: legacy::Client<Connector, Empty<Bytes>>,
    limits: Limits,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Why one try of a request brought no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection, or it broke.
    Connection(String),
    /// Nothing came in time.
    Timeout(&'static str),
    /// The server asks for what is unsafe or malformed; trying again does not help.
    Protocol(String),
}

/// An answer and where it came from in the end.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    /// Whether the registry itself gave it, so that its 401 concerns our credentials.
    pub(super) same_origin: bool,
}

impl Client {
    pub(super) fn new(limits: &Limits) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector(limits));
        Self { http, limits: limits.clone() }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// One try of a GET. Follows redirects; `authorization` goes to the first URI's origin only.
    pub(super) async fn get(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let mut at = uri.clone();
        check_scheme(&at)?;
        for _ in 0..=self.limits.redirects {
            let same_origin = origin(&at) == origin(uri);
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = at.clone();
            request.headers_mut().clone_from(headers);
            if let Some(authorization) = authorization.filter(|_| same_origin) {
                request.headers_mut().insert(AUTHORIZATION, authorization.clone());
            }
            let sent = timeout(self.limits.inactivity_timeout, self.http.request(request)).await;
            let response = match sent {
                Err(_) => return Err(Failure::Timeout("an answer")),
                Ok(Err(error)) => return Err(Failure::Connection(causes(&error))),
                Ok(Ok(response)) => response,
            };
            if !is_redirect(response.status()) {
                return Ok(Answer { response, same_origin });
            }
            at = redirect(&at, &response)?;
        }
        Err(Failure::Protocol(format!("more than {} redirects", self.limits.redirects)))
    }

    /// The next stretch of a body; `None` at its end.
    pub(super) async fn chunk(&self, body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
        loop {
            match timeout(self.limits.inactivity_timeout, body.frame()).await {
                Err(_) => return Err(Failure::Timeout("more data")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(Failure::Connection(causes(&error))),
                // Trailers say nothing that we need.
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// A whole body. One that is longer than `maximum` ends in `Ok(None)`, so that the caller can say of what.
    pub(super) async fn body(
        &self,
        response: Response<Incoming>,
        maximum: u64,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        let mut progress = Window::new(&self.limits);
        while let Some(data) = self.chunk(&mut body).await? {
            progress.add(data.len())?;
            if bytes.len() as u64 + data.len() as u64 > maximum {
                return Ok(None);
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Some(bytes))
    }

    /// What an error's body says, for people: the registry's own words, bounded and printable.
    pub(super) async fn explain(&self, response: Response<Incoming>) -> String {
        let status = response.status();
        let body = self.body(response, self.limits.token_bytes).await.ok().flatten().unwrap_or_default();
        let said = serde_json::from_slice::<Errors>(&body).ok().and_then(|errors| {
            let first = errors.errors.into_iter().next()?;
            Some(match (first.code.is_empty(), first.message.is_empty()) {
                (_, true) => first.code.to_ascii_lowercase().replace('_', " "),
                (_, false) => first.message,
            })
        });
        let text = said.filter(|text| !text.is_empty()).unwrap_or_else(|| status.to_string());
        printable(&text)
    }

    /// The pause before try number `attempt` (from 2): doubling, or what the server asks for, up to the maximum.
    pub(super) fn pause(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let doubled = self.limits.backoff.saturating_mul(1 << attempt.saturating_sub(2).min(16));
        retry_after.unwrap_or(doubled).min(self.limits.backoff_maximum)
    }
}

/// Ends a body that trickles: each window of the inactivity timeout must bring enough.
pub(super) struct Window {
    since: tokio::time::Instant,
    bytes: u64,
    length: Duration,
    least: u64,
}

impl Window {
    pub(super) fn new(limits: &Limits) -> Self {
        let (length, least) = (limits.inactivity_timeout, limits.inactivity_bytes);
        Self { since: tokio::time::Instant::now(), bytes: 0, length, least }
    }

    pub(super) fn add(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes as u64;
        if self.since.elapsed() >= self.length {
            if self.bytes < self.least {
                return Err(Failure::Timeout("more than a trickle of data"));
            }
            *self = Self { since: tokio::time::Instant::now(), bytes: 0, ..*self };
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Errors {
    errors: Vec<ErrorMember>,
}

#[derive(serde::Deserialize)]
struct ErrorMember {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Seconds of `Retry-After`; dates are not looked at.
pub(super) fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()))
}

/// Text from outside, fit for a log line and an API's answer.
pub(super) fn printable(text: &str) -> String {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    visible.take(SHOWN_CHARACTERS).collect::<String>().trim().to_owned()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Scheme, host and port.
fn origin(uri: &Uri) -> (Option<&str>, Option<String>, u16) {
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    (uri.scheme_str(), uri.host().map(str::to_ascii_lowercase), port)
}

/// Https anywhere, http to this machine.
fn check_scheme(uri: &Uri) -> Result<(), Failure> {
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Ok(()),
        (Some("http"), Some(host)) if is_loopback(host) => Ok(()),
        (Some("http"), Some(host)) => {
            Err(Failure::Protocol(format!("{} is not spoken to without TLS", printable(host))))
        }
        _ => Err(Failure::Protocol("a URL without https and host".to_owned())),
    }
}

/// Where a redirect leads.
fn redirect(from: &Uri, response: &Response<Incoming>) -> Result<Uri, Failure> {
    let malformed = || Failure::Protocol("a redirect to nowhere".to_owned());
    let location =
        response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(malformed)?;
    let target = match location.strip_prefix('/') {
        None => location.parse::<Uri>().map_err(|_| malformed())?,
        Some(rest) if rest.starts_with('/') => {
            let scheme = from.scheme_str().unwrap_or("https");
            format!("{scheme}:{location}").parse().map_err(|_| malformed())?
        }
        Some(_) => {
            let mut parts = from.clone().into_parts();
            parts.path_and_query = Some(location.parse().map_err(|_| malformed())?);
            Uri::from_parts(parts).map_err(|_| malformed())?
        }
    };
    if from.scheme_str() == Some("https") && target.scheme_str() != Some("https") {
        return Err(Failure::Protocol("a redirect from https to http".to_owned()));
    }
    check_scheme(&target)?;
    Ok(target)
}

/// An error with what caused it: hyper's own text is only "client error (Connect)".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    printable(&text)
}
