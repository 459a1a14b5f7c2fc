//! Targets and configurations for tests: real servers on loopback.

#![allow(dead_code)]

pub mod http2;
pub mod raw;
pub mod tls;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use balancer::configuration::{
    Action, Algorithm, Configuration, Forward, GroupProtocol, HealthCheck, Listener, LoadBalancer,
    LoadBalancerAttributes, Matcher, Protocol, ProtocolVersion, Rule, Target, TargetGroup,
};
use balancer::{Balancer, Place, Settings, TargetState};
use base::{RandomIds, SystemClock};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

pub fn balancer() -> Balancer {
    limited_balancer(50_000)
}

/// A balancer that serves so many connections at a time.
pub fn limited_balancer(connections_maximum: usize) -> Balancer {
    Balancer::new(Settings {
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        cookie_key: [3; 32],
        access_log: None,
        connections_maximum,
    })
}

/// A port that nothing listens on.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A web server that answers with its name, the request line and the headers it saw.
pub struct Server {
    pub address: SocketAddr,
    pub requests: Arc<AtomicUsize>,
    pub healthy: Arc<std::sync::atomic::AtomicBool>,
}

impl Server {
    pub async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let healthy = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let (count, well) = (Arc::clone(&requests), Arc::clone(&healthy));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (count, well) = (Arc::clone(&count), Arc::clone(&well));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (count, well) = (Arc::clone(&count), Arc::clone(&well));
                        async move { Ok::<_, Infallible>(respond(name, request, &count, &well).await) }
                    });
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, requests, healthy }
    }

    pub fn target(&self) -> Target {
        target(self.address)
    }
}

pub fn target(address: SocketAddr) -> Target {
    Target { id: address.ip().to_string().into(), address: address.ip(), port: address.port(), zone: None }
}

async fn respond(
    name: &str,
    request: Request<Incoming>,
    count: &AtomicUsize,
    well: &std::sync::atomic::AtomicBool,
) -> Response<Full<Bytes>> {
    let is_check =
        request.headers().get("user-agent").is_some_and(|value| value.as_bytes().starts_with(b"ELB-Health"));
    if is_check {
        let status = if well.load(Ordering::SeqCst) { 200 } else { 500 };
        return Response::builder().status(status).body(Full::default()).unwrap();
    }
    count.fetch_add(1, Ordering::SeqCst);
    let mut text = format!("{name} {} {}\n", request.method(), request.uri());
    for (key, value) in request.headers() {
        let _ = writeln!(text, "{key}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    let path = request.uri().path().to_owned();
    if let Some(milliseconds) = path.strip_prefix("/slow/") {
        tokio::time::sleep(Duration::from_millis(milliseconds.parse().unwrap())).await;
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let _ = writeln!(text, "body: {}", String::from_utf8_lossy(&body));
    let response = Response::builder().header("x-name", name);
    let response = if path == "/app" { response.header("set-cookie", "session=1") } else { response };
    response.body(Full::from(text)).unwrap()
}

pub fn group(arn: &str, targets: Vec<Target>) -> TargetGroup {
    TargetGroup {
        arn: arn.into(),
        protocol: GroupProtocol::Http,
        protocol_version: ProtocolVersion::Http1,
        targets,
        health_check: HealthCheck {
            enabled: true,
            protocol: GroupProtocol::Http,
            port: None,
            path: "/".into(),
            interval: Duration::from_millis(100),
            timeout: Duration::from_millis(500),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: Matcher::parse("200").unwrap(),
        },
        algorithm: Algorithm::RoundRobin,
        deregistration_delay: Duration::from_secs(5),
        slow_start: Duration::ZERO,
        stickiness: None,
        preserve_client_ip: false,
        proxy_protocol_v2: false,
        connection_termination: false,
        cross_zone: false,
    }
}

pub fn forward(groups: &[(&str, u32)]) -> Action {
    let target_groups = groups.iter().map(|(arn, weight)| ((*arn).into(), *weight)).collect();
    Action::Forward(Forward { target_groups, stickiness: None })
}

pub fn default_rule(action: Action) -> Rule {
    Rule { arn: "default".into(), priority: None, conditions: Vec::new(), action }
}

pub fn listener(port: u16, protocol: Protocol, rules: Vec<Rule>) -> Listener {
    Listener {
        arn: "listener".into(),
        port,
        protocol,
        rules,
        certificates: Vec::new(),
        security_policy: "ELBSecurityPolicy-TLS13-1-2-2021-06".into(),
        alpn: Vec::new(),
        tcp_idle_timeout: Duration::from_secs(350),
    }
}

pub fn configuration(listeners: Vec<Listener>, groups: Vec<TargetGroup>) -> Configuration {
    with_attributes(listeners, groups, LoadBalancerAttributes::default())
}

pub fn with_attributes(
    listeners: Vec<Listener>,
    groups: Vec<TargetGroup>,
    attributes: LoadBalancerAttributes,
) -> Configuration {
    Configuration {
        load_balancers: vec![LoadBalancer {
            arn: "load-balancer".into(),
            places: vec![Place::here("127.0.0.1".parse().unwrap())],
            admission: None,
            listeners,
            attributes,
        }],
        target_groups: groups.into_iter().map(Arc::new).collect(),
    }
}

/// Applies, and waits until every target of every group has a verdict.
pub async fn apply(balancer: &Balancer, configuration: Configuration) {
    let groups: Vec<Arc<str>> =
        configuration.target_groups.iter().map(|group| Arc::clone(&group.arn)).collect();
    let errors = balancer.apply(configuration).await;
    assert!(errors.is_empty(), "{errors:?}");
    let mut changes = balancer.changes();
    let settled = || {
        groups.iter().all(|arn| {
            balancer.target_health(arn).unwrap().iter().all(|health| health.state != TargetState::Initial)
        })
    };
    while !settled() {
        tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    }
}

/// Waits until the states of a group's targets are these.
pub async fn wait_for(balancer: &Balancer, group: &str, states: &[TargetState]) {
    let mut changes = balancer.changes();
    let done = async {
        loop {
            let now: Vec<TargetState> =
                balancer.target_health(group).unwrap().into_iter().map(|health| health.state).collect();
            if now == states {
                return;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), done).await.expect("the targets never got there");
}

/// One request on a connection of its own: status, headers and body.
pub async fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> (u16, http::HeaderMap, String) {
    let mut request = Request::builder().uri(path).header("host", "example.com");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, body) = send(port, request.body(Full::default()).unwrap()).await.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, String::from_utf8_lossy(&bytes).into_owned())
}

pub async fn send(port: u16, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.unwrap()
}
