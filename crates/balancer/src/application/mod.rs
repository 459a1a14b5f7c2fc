//! The Application Load Balancer's half: connections of clients, requests, and the way to a target.

pub mod answers;
pub mod desync;
pub mod exchange;
pub mod headers;
mod idle;
pub mod rules;
pub mod stickiness;
mod upgrade;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Timestamp;
use http::header::{CONNECTION, HOST, HeaderValue, LOCATION, UPGRADE, USER_AGENT};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::upgrade::asked as asked_upgrade;

use self::answers::{Answer, error};
use self::desync::{Inspected, Verdict, Verdicts};
use self::exchange::{AccessLogEntry, Exchange};
use self::headers::Client;
use self::idle::Idle;
use self::rules::Facts;
use crate::balancer::{Running, Shared, State};
use crate::configuration::{Action, Forward, Listener, Protocol, ProtocolVersion, Rule, Stickiness};
use crate::group::{Group, Member, Outstanding};
use crate::request_body::RequestBody;
use crate::upstream::{self, UpstreamError};

/// Time for a TLS handshake, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Headers of one request.
const HEADERS_MAXIMUM: usize = 100;
/// Streams of one HTTP/2 connection at a time, as documented.
const STREAMS_MAXIMUM: u32 = 128;
/// Streams that a client may reset before they are answered, before the connection is ended (CVE-2023-44487), and
/// streams that its own faults make us reset (CVE-2025-8671).
const RESETS_MAXIMUM: usize = 64;

/// `stream`, ended when nothing moves on it for `timeout`.
pub fn idle_stream<T>(stream: T, timeout: Duration) -> impl AsyncRead + AsyncWrite + Unpin
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    Idle::new(stream, timeout)
}

/// One connection: what it is and what is shared with all others.
struct Connection {
    shared: Arc<Shared>,
    running: Arc<Running>,
    client: Client,
    verdicts: Option<Arc<Verdicts>>,
}

/// Serves one accepted connection to its end.
pub async fn serve(
    shared: Arc<Shared>,
    running: Arc<Running>,
    stream: TcpStream,
    address: SocketAddr,
    stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let state = running.state();
    let timeout = state.attributes.idle_timeout;
    let mut client = Client { address, listener_port: state.listener.port, tls: None, server_name: None };
    if state.listener.protocol != Protocol::Https {
        http1(shared, running, client, Idle::new(stream, timeout), stop).await;
        return;
    }
    let Some(config) = state.tls.clone() else { return };
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await else { return };
    let session = stream.get_ref().1;
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let suite =
        session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    client.tls = Some((version, suite));
    client.server_name = session.server_name().map(Arc::from);
    if session.alpn_protocol() == Some(b"h2") {
        http2(shared, running, client, Idle::new(stream, timeout), stop).await;
    } else {
        http1(shared, running, client, Idle::new(stream, timeout), stop).await;
    }
}

async fn http1<T>(
    shared: Arc<Shared>,
    running: Arc<Running>,
    client: Client,
    stream: T,
    mut stop: watch::Receiver<bool>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let attributes = running.state().attributes.clone();
    let verdicts = Arc::new(Verdicts::default());
    let (mode, timeout) = (attributes.desync_mitigation, attributes.idle_timeout);
    let io = TokioIo::new(Inspected::new(stream, mode, timeout, Arc::clone(&verdicts)));
    let connection = Arc::new(Connection { shared, running, client, verdicts: Some(verdicts) });
    let service = service_fn(move |request| {
        let connection = Arc::clone(&connection);
        async move { Ok::<_, Infallible>(connection.answer(request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(attributes.client_keep_alive.max(HEAD_TIMEOUT))
        .max_headers(HEADERS_MAXIMUM)
        .max_buf_size(desync::HEAD_BYTES_MAXIMUM * 2)
        .preserve_header_case(true)
        .half_close(true);
    let serving = builder.serve_connection(io, service).with_upgrades();
    tokio::pin!(serving);
    let life = tokio::time::sleep(attributes.client_keep_alive);
    tokio::pin!(life);
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            _ = &mut serving => return,
            () = turned_true(&mut stop), if !ending => { ending = true; serving.as_mut().graceful_shutdown(); }
            () = &mut life, if !ending => { ending = true; serving.as_mut().graceful_shutdown(); }
        }
    }
}

async fn http2<T>(
    shared: Arc<Shared>,
    running: Arc<Running>,
    client: Client,
    stream: T,
    mut stop: watch::Receiver<bool>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let life = running.state().attributes.client_keep_alive;
    let connection = Arc::new(Connection { shared, running, client, verdicts: None });
    let service = service_fn(move |request| {
        let connection = Arc::clone(&connection);
        async move { Ok::<_, Infallible>(connection.answer(request).await) }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAXIMUM)
        .max_pending_accept_reset_streams(RESETS_MAXIMUM)
        .max_local_error_reset_streams(RESETS_MAXIMUM)
        .max_header_list_size(u32::try_from(desync::HEAD_BYTES_MAXIMUM).unwrap_or(u32::MAX));
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let life = tokio::time::sleep(life);
    tokio::pin!(life);
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            _ = &mut serving => return,
            () = turned_true(&mut stop), if !ending => { ending = true; serving.as_mut().graceful_shutdown(); }
            () = &mut life, if !ending => { ending = true; serving.as_mut().graceful_shutdown(); }
        }
    }
}

async fn turned_true(flag: &mut watch::Receiver<bool>) {
    // What `wait_for` gives holds a lock: it must not live across another await.
    if flag.wait_for(|flag| *flag).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What one request came to, for its line in the log.
#[derive(Default)]
struct Story {
    priority: Option<u32>,
    action: Option<&'static str>,
    group: Option<Arc<str>>,
    target: Option<SocketAddr>,
    chosen_at: Option<Instant>,
    target_status: Option<u16>,
    kind: Option<&'static str>,
}

/// What is known of a request beside its story.
struct Known {
    place: Arc<str>,
    began: Timestamp,
    /// The request line and the client's name for itself.
    described: (String, String),
    trace: String,
    status: StatusCode,
    redirect: Option<String>,
    is_ambiguous: bool,
}

impl Connection {
    async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let verdict = self.verdicts.as_ref().map_or(Verdict::Allowed, |verdicts| verdicts.next());
        let exchange = Exchange::new();
        let state = self.running.state();
        let wants_upgrade = request.headers().contains_key(UPGRADE);
        let log = self.shared.access_log.clone().zip(state.attributes.access_logs.clone());
        let described = log.as_ref().map(|_| (self.shared.clock.now(), self.describe(&request)));
        let trace = headers::trace_id(self.shared.clock.now(), &self.shared.ids.hex(24));
        let mut story = Story::default();
        let version = request.version();
        let mut response = match verdict {
            Verdict::Refused(status) => error(status),
            _ => {
                let once = verdict == Verdict::AllowedOnce;
                self.route(&state.listener, request, &exchange, &trace, once, &mut story).await
            }
        };
        if let Some(verdicts) = self.verdicts.as_ref().filter(|_| wants_upgrade)
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            verdicts.decide_upgrade(false);
        }
        if verdict != Verdict::Allowed && version != Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let (Some((log, place)), Some((began, described))) = (log, described) {
            let redirect = response.headers().get(LOCATION).filter(|_| story.action == Some("redirect"));
            let known = Known {
                place,
                began,
                described,
                trace,
                status: response.status(),
                redirect: redirect.and_then(|value| value.to_str().ok()).map(str::to_owned),
                is_ambiguous: verdict != Verdict::Allowed,
            };
            let entry = self.entry(&state, story, known, &exchange);
            exchange.log(log, entry);
        }
        response.map(|answer| answer.with(exchange))
    }

    fn describe(&self, request: &Request<Incoming>) -> (String, String) {
        let scheme = if self.client.tls.is_some() { "https" } else { "http" };
        let host = host_of(request.headers().get(HOST), request.uri()).unwrap_or_default();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let line = format!(
            "{} {scheme}://{host}:{}{path} {:?}",
            request.method(),
            self.client.listener_port,
            request.version()
        );
        let user_agent =
            request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("-");
        (line, user_agent.to_owned())
    }

    fn entry(&self, state: &State, story: Story, known: Known, exchange: &Exchange) -> AccessLogEntry {
        let kind = match (story.kind, &self.client.tls, self.verdicts.is_some()) {
            (Some(kind), _, _) => kind,
            (None, None, _) => "http",
            (None, Some(_), true) => "https",
            (None, Some(_), false) => "h2",
        };
        let (request, user_agent) = known.described;
        AccessLogEntry {
            place: known.place,
            load_balancer: Arc::clone(&state.load_balancer),
            node: state.place.address,
            began: known.began,
            kind,
            client: self.client.address,
            target: story.target,
            request_processing: story
                .chosen_at
                .map_or_else(|| exchange.began().elapsed(), |at| at - exchange.began()),
            target_processing: story.target_status.and(story.chosen_at).map(|at| at.elapsed()),
            response_processing: None,
            status: known.status.as_u16(),
            target_status: story.target_status,
            received_bytes: 0,
            sent_bytes: 0,
            request,
            user_agent,
            tls: self.client.tls.clone(),
            server_name: self.client.server_name.clone(),
            target_group: story.group,
            trace: format!("Root={}", known.trace),
            priority: story.priority,
            action: story.action,
            redirect: known.redirect,
            is_ambiguous: known.is_ambiguous,
        }
    }

    async fn route(
        &self,
        listener: &Listener,
        request: Request<Incoming>,
        exchange: &Arc<Exchange>,
        trace: &str,
        once: bool,
        story: &mut Story,
    ) -> Response<Answer> {
        let (head, body) = request.into_parts();
        if head.method == Method::TRACE || head.method == Method::CONNECT {
            return error(405);
        }
        if head.headers.get_all(HOST).iter().count() > 1 {
            return error(400);
        }
        let Some(host) = host_of(head.headers.get(HOST), &head.uri) else { return error(400) };
        let facts = Facts { host: &host, head: &head, client: self.client.address.ip() };
        let Some(rule) = rules::find(&listener.rules, &facts) else { return error(503) };
        story.priority = Some(rule.priority.unwrap_or(0));
        story.action = Some(match &rule.action {
            Action::Forward(_) => "forward",
            Action::Redirect(_) => "redirect",
            Action::FixedResponse { .. } => "fixed-response",
        });
        match &rule.action {
            Action::FixedResponse { status, content_type, body } => {
                answers::fixed(*status, content_type.as_deref(), body)
            }
            Action::Redirect(redirect) => answers::redirect(
                redirect,
                &head,
                &host,
                self.client.listener_port,
                self.client.tls.is_some(),
            ),
            Action::Forward(forward) => {
                let body = RequestBody::new(body, Arc::clone(exchange));
                let way = Way { connection: self, forward, rule, host: &host, exchange, trace, once };
                way.go(head, body, story).await
            }
        }
    }
}

/// The host of a request, in lower case and without port: of the URI where it names one, else of the header.
fn host_of(header: Option<&HeaderValue>, uri: &Uri) -> Option<String> {
    if let Some(host) = uri.host() {
        return Some(host.to_ascii_lowercase());
    }
    let text = header?.to_str().ok()?;
    let authority: http::uri::Authority = text.parse().ok()?;
    Some(authority.host().to_ascii_lowercase())
}

/// A request on its way to a target.
struct Way<'a> {
    connection: &'a Connection,
    forward: &'a Forward,
    rule: &'a Rule,
    host: &'a str,
    exchange: &'a Arc<Exchange>,
    trace: &'a str,
    once: bool,
}

impl Way<'_> {
    async fn go(&self, mut head: Parts, body: RequestBody, story: &mut Story) -> Response<Answer> {
        let shared = &self.connection.shared;
        let Some(group) = self.choose_group(&head) else { return error(503) };
        let settings = group.configuration();
        story.group = Some(Arc::clone(&settings.arn));
        let http2_client = self.connection.verdicts.is_none();
        if settings.protocol_version != ProtocolVersion::Http1 && !http2_client {
            return error(464);
        }
        let Some(outstanding) = self.choose_member(&group, settings.stickiness.as_ref(), &head) else {
            return error(503);
        };
        let member = Arc::clone(outstanding.member());
        story.target = Some(member.address);
        story.chosen_at = Some(Instant::now());
        if settings.protocol_version == ProtocolVersion::Grpc {
            story.kind = Some("grpcs");
        }
        let upgrade = upgrade::asked(&head.headers).filter(|_| !http2_client);
        let attributes = self.connection.running.state().attributes.clone();
        if let Err(status) =
            headers::prepare(&mut head.headers, &self.connection.client, &attributes, self.trace)
        {
            return error(status);
        }
        self.address_to(&mut head, settings.protocol_version, &member);
        if let Some(protocol) = upgrade {
            story.kind = Some(if self.connection.client.tls.is_some() { "wss" } else { "ws" });
            let request = upgrade::ask(head, body, &protocol);
            return self.upgraded(&group, outstanding, request, &attributes, story).await;
        }
        let sending =
            upstream::send(&group, &settings, Request::from_parts(head, body), outstanding, !self.once);
        let mut response = match self.in_time(sending, attributes.idle_timeout).await {
            Ok(response) => response,
            Err(status) => return error(status),
        };
        story.target_status = Some(response.status().as_u16());
        let version = if http2_client { Version::HTTP_2 } else { Version::HTTP_11 };
        headers::prepare_answer(response.headers_mut(), version);
        *response.version_mut() = version;
        self.stick(&mut response, &settings, &member, shared);
        response.map(Answer::of_target)
    }

    /// Waits for the head of the answer as long as something moves. The error is the status for the client.
    async fn in_time<F, R>(&self, sending: F, timeout: Duration) -> Result<R, u16>
    where
        F: Future<Output = Result<R, UpstreamError>>,
    {
        tokio::pin!(sending);
        loop {
            let end = self.exchange.moved_at() + timeout;
            match tokio::time::timeout_at(end, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(UpstreamError::ConnectTimeout)) => return Err(504),
                Ok(Err(UpstreamError::Connect | UpstreamError::Broken)) => return Err(502),
                Err(_) if self.exchange.moved_at() + timeout > end => {}
                Err(_) => return Err(504),
            }
        }
    }

    async fn upgraded(
        &self,
        group: &Group,
        outstanding: Outstanding,
        mut request: Request<RequestBody>,
        attributes: &crate::configuration::LoadBalancerAttributes,
        story: &mut Story,
    ) -> Response<Answer> {
        let client = hyper::upgrade::on(&mut request);
        let (settings, member) = (group.configuration(), Arc::clone(outstanding.member()));
        let sending = upstream::send(group, &settings, request, outstanding, false);
        let mut response = match self.in_time(sending, attributes.idle_timeout).await {
            Ok(response) => response,
            Err(status) => return error(status),
        };
        story.target_status = Some(response.status().as_u16());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if let Some(verdicts) = &self.connection.verdicts {
                verdicts.decide_upgrade(true);
            }
            let target = hyper::upgrade::on(&mut response);
            upgrade::join(client, target, member, attributes.idle_timeout);
        } else {
            headers::prepare_answer(response.headers_mut(), Version::HTTP_11);
        }
        response.map(Answer::of_target)
    }

    /// The request line and host as the target is to see them.
    fn address_to(&self, head: &mut Parts, version: ProtocolVersion, member: &Member) {
        let path =
            head.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
        let authority = head.uri.authority().cloned();
        if let Some(authority) = &authority
            && let Ok(value) = HeaderValue::from_str(authority.as_str())
        {
            head.headers.insert(HOST, value);
        }
        if version == ProtocolVersion::Http1 {
            head.uri = Uri::from(path);
            head.version = Version::HTTP_11;
            return;
        }
        let authority = authority
            .map(|authority| authority.to_string())
            .or_else(|| head.headers.get(HOST).and_then(|value| value.to_str().ok()).map(str::to_owned))
            .unwrap_or_else(|| member.address.to_string());
        let scheme = if self.connection.client.tls.is_some() { "https" } else { "http" };
        let built = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        head.uri = built.unwrap_or_default();
        head.version = Version::HTTP_2;
        head.headers.remove(HOST);
    }

    fn choose_group(&self, head: &Parts) -> Option<Arc<Group>> {
        let shared = &self.connection.shared;
        let groups = &self.forward.target_groups;
        if self.forward.stickiness.is_some()
            && let Some(cookie) = stickiness::value(&head.headers, stickiness::GROUP_COOKIE)
            && let Some(arn) = shared.cookies.open(&self.group_purpose(), cookie, shared.clock.now())
            && groups.iter().any(|(there, weight)| **there == *arn && *weight > 0)
            && let Some(group) = shared.group(&arn).filter(|group| group.has_targets())
        {
            return Some(group);
        }
        let total: u64 = groups.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut point = shared.chance.below(total);
        for (arn, weight) in groups {
            let weight = u64::from(*weight);
            if point < weight {
                return shared.group(arn);
            }
            point -= weight;
        }
        None
    }

    fn choose_member(
        &self,
        group: &Group,
        stickiness: Option<&Stickiness>,
        head: &Parts,
    ) -> Option<Outstanding> {
        let shared = &self.connection.shared;
        let (name, needs) = match stickiness {
            Some(Stickiness::LoadBalancerCookie(_)) => (stickiness::TARGET_COOKIE, None),
            Some(Stickiness::ApplicationCookie(name, _)) => {
                (stickiness::APPLICATION_COOKIE, Some(name.as_str()))
            }
            Some(Stickiness::SourceIp) | None => return group.choose(&shared.chance),
        };
        let there = needs.is_none_or(|name| stickiness::value(&head.headers, name).is_some());
        let purpose = member_purpose(&group.configuration().arn);
        let stuck = stickiness::value(&head.headers, name)
            .filter(|_| there)
            .and_then(|cookie| shared.cookies.open(&purpose, cookie, shared.clock.now()))
            .and_then(|content| {
                let (id, port) = content.rsplit_once('|')?;
                group.find(id, port.parse().ok()?)
            });
        stuck.or_else(|| group.choose(&shared.chance))
    }

    fn stick<B>(
        &self,
        response: &mut Response<B>,
        settings: &crate::configuration::TargetGroup,
        member: &Member,
        shared: &Shared,
    ) {
        let now = shared.clock.now();
        if let Some(life) = self.forward.stickiness {
            let sealed = shared.cookies.seal(&*shared.ids, &self.group_purpose(), &settings.arn, now, life);
            stickiness::set(response.headers_mut(), stickiness::GROUP_COOKIE, &sealed, now);
        }
        let (name, life) = match &settings.stickiness {
            Some(Stickiness::LoadBalancerCookie(life)) => (stickiness::TARGET_COOKIE, *life),
            Some(Stickiness::ApplicationCookie(name, life))
                if stickiness::is_set(response.headers(), name) =>
            {
                (stickiness::APPLICATION_COOKIE, *life)
            }
            _ => return,
        };
        let content = format!("{}|{}", member.target.id, member.target.port);
        let sealed = shared.cookies.seal(&*shared.ids, &member_purpose(&settings.arn), &content, now, life);
        stickiness::set(response.headers_mut(), name, &sealed, now);
    }

    fn group_purpose(&self) -> String {
        format!("group {} {}", self.rule.arn, self.host)
    }
}

fn member_purpose(group: &str) -> String {
    format!("target {group}")
}
