//! Health checks: one task a target, from registration to deregistration.
//!
//! A new target is healthy after its first pass, as documented; after that the thresholds decide. Until it has a verdict it
//! is asked again and again at growing pauses, so that what starts is in service as soon as it can be; the failures of that
//! time count as if it had been asked once an interval, so that nothing is called unhealthy sooner than on AWS.

use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::configuration::{GroupProtocol, ProtocolVersion, TargetGroup};
use crate::group::{Group, Member, TargetState};
use crate::place::{self, Place};
use crate::tls;

/// Bytes of a health check's answer that are read at most.
const ANSWER_BYTES: usize = 64 * 1024;
/// The first pause between two checks of a target without a verdict, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// What the checks call themselves.
const USER_AGENT: &str = "ELB-HealthChecker/2.0";

/// How one check failed.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Timeout,
    Code(u16),
    Connection,
}

impl Failure {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Timeout => "Target.Timeout",
            Self::Code(_) => "Target.ResponseCodeMismatch",
            Self::Connection => "Target.FailedHealthChecks",
        }
    }

    fn description(&self) -> String {
        match self {
            Self::Timeout => "Request timed out".to_owned(),
            Self::Code(code) => format!("Health checks failed with these codes: [{code}]"),
            Self::Connection => "Health checks failed".to_owned(),
        }
    }
}

/// Checks one member until it or its group goes away.
pub async fn watch(group: Weak<Group>, member: Weak<Member>) {
    let (mut passes, mut failures) = (0_u32, 0_u32);
    let mut state = TargetState::Initial;
    {
        let (Some(group), Some(member)) = (group.upgrade(), member.upgrade()) else { return };
        match member.state() {
            known @ (TargetState::Healthy | TargetState::Unhealthy) => state = known,
            _ => {
                let text = Some("Initial health checks in progress".to_owned());
                group.judge(&member, state, Some("Elb.InitialHealthChecking"), text);
            }
        }
    }
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let (settings, outcome) = {
            let (Some(group), Some(member)) = (group.upgrade(), member.upgrade()) else { return };
            let settings = group.configuration();
            if !settings.health_check.enabled {
                group.judge(&member, TargetState::Healthy, None, None);
                return;
            }
            let (address, origin) = (member.address, group.origin());
            drop((group, member));
            let outcome = check(&settings, address, origin).await;
            (settings, outcome)
        };
        let (Some(group), Some(member)) = (group.upgrade(), member.upgrade()) else { return };
        let rules = &settings.health_check;
        match outcome {
            Ok(()) => {
                (passes, failures) = (passes.saturating_add(1), 0);
                let needed = if state == TargetState::Initial { 1 } else { rules.healthy_threshold };
                if passes >= needed {
                    state = TargetState::Healthy;
                    group.judge(&member, state, None, None);
                }
            }
            Err(failure) => {
                passes = 0;
                failures = match state {
                    TargetState::Initial => intervals(began - started, rules.interval).saturating_add(1),
                    _ => failures.saturating_add(1),
                };
                if failures >= rules.unhealthy_threshold {
                    state = TargetState::Unhealthy;
                    group.judge(&member, state, Some(failure.reason()), Some(failure.description()));
                }
            }
        }
        drop((group, member));
        if state == TargetState::Initial {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE).min(rules.interval);
        } else {
            tokio::time::sleep_until(began + rules.interval).await;
        }
    }
}

/// How many whole intervals have passed.
fn intervals(time: Duration, interval: Duration) -> u32 {
    u32::try_from(time.as_millis() / interval.as_millis().max(1)).unwrap_or(u32::MAX)
}

async fn check(group: &TargetGroup, target: SocketAddr, origin: Option<Place>) -> Result<(), Failure> {
    let check = &group.health_check;
    let address = SocketAddr::new(target.ip(), check.port.unwrap_or(target.port()));
    let done = async {
        let stream = place::connect(origin.as_ref(), address).await.map_err(|_| Failure::Connection)?;
        match check.protocol {
            GroupProtocol::Http => ask(group, address, stream).await,
            GroupProtocol::Https => {
                let alpn: &[&str] =
                    if group.protocol_version == ProtocolVersion::Http1 { &["http/1.1"] } else { &["h2"] };
                let connector = tokio_rustls::TlsConnector::from(tls::target_config(alpn));
                let name = rustls::pki_types::ServerName::IpAddress(address.ip().into());
                let stream = connector.connect(name, stream).await.map_err(|_| Failure::Connection)?;
                ask(group, address, stream).await
            }
            GroupProtocol::Tcp | GroupProtocol::Tls | GroupProtocol::Udp | GroupProtocol::TcpUdp => Ok(()),
        }
    };
    tokio::time::timeout(check.timeout, done).await.unwrap_or(Err(Failure::Timeout))
}

async fn ask<T>(group: &TargetGroup, address: SocketAddr, stream: T) -> Result<(), Failure>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let check = &group.health_check;
    let is_grpc = group.protocol_version == ProtocolVersion::Grpc;
    let is_h1 = group.protocol_version == ProtocolVersion::Http1;
    // An empty gRPC message: not compressed, no bytes.
    let body = if is_grpc { Bytes::from_static(&[0; 5]) } else { Bytes::new() };
    let uri = if is_h1 { check.path.clone() } else { format!("http://{address}{}", check.path) };
    let mut request = Request::builder()
        .method(if is_grpc { "POST" } else { "GET" })
        .uri(uri)
        .version(if is_h1 { Version::HTTP_11 } else { Version::HTTP_2 })
        .header("user-agent", USER_AGENT)
        .header("accept-encoding", "gzip, compressed");
    if is_h1 {
        request = request.header("host", address.to_string()).header("connection", "close");
    }
    if is_grpc {
        request = request.header("content-type", "application/grpc").header("te", "trailers");
    }
    let request = request.body(Full::new(body)).map_err(|_| Failure::Connection)?;
    let io = TokioIo::new(stream);
    let (response, driver) = if is_h1 {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(|_| Failure::Connection)?;
        let driver = tokio::spawn(async move { drop(connection.await) });
        (sender.send_request(request).await, driver)
    } else {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .map_err(|_| Failure::Connection)?;
        let driver = tokio::spawn(async move { drop(connection.await) });
        (sender.send_request(request).await, driver)
    };
    let verdict = match response {
        Ok(response) if is_grpc => grpc_code(response).await.ok_or(Failure::Connection),
        Ok(response) => Ok(response.status().as_u16()),
        Err(_) => Err(Failure::Connection),
    };
    driver.abort();
    let code = verdict?;
    if check.matcher.matches(code) { Ok(()) } else { Err(Failure::Code(code)) }
}

/// The status of a gRPC answer: in its headers where there is no message, else in its trailers.
async fn grpc_code(response: http::Response<hyper::body::Incoming>) -> Option<u16> {
    if response.status() != StatusCode::OK {
        return None;
    }
    let code = |headers: &http::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    if let Some(found) = code(response.headers()) {
        return Some(found);
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.ok()?;
    code(body.trailers()?)
}
