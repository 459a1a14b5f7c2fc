//! Looks at the endpoints of health checks, and writes what it finds. Source: "How Amazon Route 53 determines whether a health
//! check is healthy", Amazon Route 53 developer guide.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Timestamp};
use bytes::Bytes;
use domain::{HealthCheck, HealthCheckStatus, HealthCheckType};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use store::rows_dns::health_check_key;
use store::{Prefix, Store, Transaction, Versioned};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::resolver::Resolver;

/// How often it is looked at what is due: a fraction of the shortest interval.
const TICK: Duration = Duration::from_millis(500);
/// Looks at once. Ours.
const AT_ONCE: usize = 64;
/// How long a TCP connection may take. Source: the page above.
const TCP_PATIENCE: Duration = Duration::from_secs(10);
/// How long the connection of an HTTP check may take. Source: the same.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
/// How long the status, and then the body, may take. Source: the same.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a body in which a text is looked for. Source: the same.
const SEARCHED_BYTES: usize = 5120;
/// Seconds after which an unchanged finding is written again, so that its time is not older. Ours.
const WRITTEN_AGAIN_SECONDS: i64 = 60;

/// Looks at endpoints until it is dropped.
pub struct HealthChecker {
    /// All rows.
    pub store: Store,
    /// For endpoints that are named.
    pub resolver: Resolver,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// What a look found, in words; `Err`: the endpoint failed.
type Finding = Result<String, String>;

/// What comes back from a look.
struct Look {
    check: Versioned<HealthCheck>,
    finding: Finding,
}

impl HealthChecker {
    /// Runs for ever.
    pub async fn run(self) {
        let mut due: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut looks: JoinSet<Look> = JoinSet::new();
        let tls = Arc::new(tls_configuration());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.start_what_is_due(&mut due, &mut looks, &tls),
                Some(done) = looks.join_next() => {
                    if let Ok(look) = done {
                        self.write(look).await;
                    }
                }
            }
        }
    }

    fn start_what_is_due(
        &self,
        due: &mut BTreeMap<String, Timestamp>,
        looks: &mut JoinSet<Look>,
        tls: &Arc<rustls::ClientConfig>,
    ) {
        let snapshot = self.store.snapshot();
        if snapshot.count::<HealthCheck>() == 0 {
            due.clear();
            return;
        }
        let now = self.clock.now();
        let mut known = BTreeMap::new();
        for check in snapshot.scan::<HealthCheck>(Prefix::everything(), None) {
            if check.check_type == HealthCheckType::Calculated || check.disabled == Some(true) {
                continue;
            }
            let interval = i64::from(check.request_interval_seconds.unwrap_or_default().max(1)) * 1000;
            let at = due.get(&check.id).copied().unwrap_or(now);
            if at > now || looks.len() >= AT_ONCE {
                known.insert(check.id.clone(), at);
                continue;
            }
            known.insert(check.id.clone(), Timestamp::from_millis(now.as_millis() + interval));
            let (resolver, tls) = (self.resolver.clone(), Arc::clone(tls));
            looks.spawn(async move {
                let finding = look(&check, &resolver, &tls).await;
                Look { check, finding }
            });
        }
        *due = known;
    }

    async fn write(&self, look: Look) {
        let snapshot = self.store.snapshot();
        let key = health_check_key(&look.check.id);
        let before = snapshot.get::<HealthCheckStatus>(&key);
        let now = self.clock.now();
        let Some(after) = next(before.as_deref(), &look.check, &look.finding, now) else { return };
        let mut transaction = Transaction::new();
        // A finding about what has been changed or removed meanwhile is none.
        transaction.require_unchanged(&look.check).put(after);
        if let Err(error) = self.store.transact(transaction).await {
            tracing::debug!(%error, check = look.check.id, "a health check's finding was not written");
        }
    }
}

/// What is known after one more look; `None` where that is what was known before.
fn next(
    before: Option<&HealthCheckStatus>,
    check: &HealthCheck,
    finding: &Finding,
    now: Timestamp,
) -> Option<HealthCheckStatus> {
    let threshold = check.failure_threshold.unwrap_or(1).max(1);
    let mut after = match before {
        Some(before) => before.clone(),
        // Healthy until looks say otherwise.
        None => HealthCheckStatus {
            health_check: check.id.clone(),
            version: check.version,
            is_healthy: true,
            contrary: 0,
            observation: String::new(),
            checked_at: now,
            last_failure: None,
        },
    };
    after.version = check.version;
    after.contrary = if finding.is_ok() == after.is_healthy { 0 } else { after.contrary + 1 };
    if after.contrary >= threshold {
        after.is_healthy = finding.is_ok();
        after.contrary = 0;
    }
    let (Ok(words) | Err(words)) = finding;
    after.observation.clone_from(words);
    if finding.is_err() {
        after.last_failure = Some((words.clone(), now));
    }
    let is_news = before.is_none_or(|before| {
        (before.is_healthy, before.contrary, before.version, &before.observation)
            != (after.is_healthy, after.contrary, after.version, &after.observation)
            || now.as_millis() - before.checked_at.as_millis() >= WRITTEN_AGAIN_SECONDS * 1000
    });
    after.checked_at = now;
    is_news.then_some(after)
}

async fn look(check: &HealthCheck, resolver: &Resolver, tls: &Arc<rustls::ClientConfig>) -> Finding {
    let address = match check.address {
        Some(address) => address,
        None => {
            let name = check.domain_name.as_deref().unwrap_or_default();
            let found = resolver.addresses(name).await.into_iter().next();
            found.map(IpAddr::V4).ok_or_else(|| format!("Failure: DNS resolution failed: {name}"))?
        }
    };
    let endpoint = SocketAddr::new(address, check.port.unwrap_or_default());
    let patience = if check.check_type == HealthCheckType::Tcp { TCP_PATIENCE } else { CONNECT_PATIENCE };
    let stream = match tokio::time::timeout(patience, TcpStream::connect(endpoint)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("Failure: {error}. Resolved IP: {address}")),
        Err(_) => {
            return Err(format!(
                "Failure: Connection timed out. The endpoint or the internet connection is down, or requests are being \
                 blocked by your firewall. Resolved IP: {address}"
            ));
        }
    };
    let is_over_tls = match check.check_type {
        HealthCheckType::Tcp | HealthCheckType::Calculated => {
            return Ok("Success: TCP connection was established".to_owned());
        }
        HealthCheckType::Http | HealthCheckType::HttpStrMatch => false,
        HealthCheckType::Https | HealthCheckType::HttpsStrMatch => true,
    };
    let asked = async {
        if !is_over_tls {
            return ask(check, endpoint, TokioIo::new(stream)).await;
        }
        let name = check.domain_name.clone().filter(|_| check.enable_sni != Some(false));
        let name = name.and_then(|name| ServerName::try_from(name).ok()).unwrap_or_else(|| address.into());
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(tls));
        let stream = tokio::time::timeout(CONNECT_PATIENCE, connector.connect(name, stream)).await;
        let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        ask(check, endpoint, TokioIo::new(stream)).await
    };
    match asked.await {
        Ok(finding) => finding.map_err(|words| format!("{words}. Resolved IP: {address}")),
        Err(error) => Err(format!("Failure: {error}. Resolved IP: {address}")),
    }
}

/// One request over a connection.
async fn ask<I>(check: &HealthCheck, endpoint: SocketAddr, io: I) -> io::Result<Finding>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(io::Error::other)?;
    let driving = tokio::spawn(connection);
    let path = check.resource_path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/");
    let host = check.domain_name.clone().unwrap_or_else(|| endpoint.ip().to_string());
    let request = http::Request::get(path)
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, "Amazon-Route53-Health-Check-Service (Roadstead)")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answered = tokio::time::timeout(ANSWER_PATIENCE, sender.send_request(request)).await.map_err(late);
    let finding = async {
        let answer = answered?.map_err(io::Error::other)?;
        let status = answer.status();
        let words = format!(
            "HTTP Status Code {}, {}",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default()
        );
        // Source: the page above: 2xx and 3xx are good.
        if !(200..400).contains(&status.as_u16()) {
            return Ok(Err(format!("Failure: {words}")));
        }
        let Some(text) = &check.search_string else { return Ok(Ok(format!("Success: {words}"))) };
        let body = first_bytes(Limited::new(answer.into_body(), SEARCHED_BYTES));
        let body = tokio::time::timeout(ANSWER_PATIENCE, body).await.map_err(late)?;
        let is_there = body.windows(text.len().max(1)).any(|window| window == text.as_bytes());
        Ok(if is_there {
            Ok(format!("Success: {words}, search string found"))
        } else {
            Err(format!(
                "Failure: {words}, the search string was not found in the first {SEARCHED_BYTES} bytes"
            ))
        })
    };
    let finding = finding.await;
    driving.abort();
    finding
}

/// What comes before the bound, or before the body breaks off.
async fn first_bytes<B>(mut body: B) -> Vec<u8>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    bytes
}

fn tls_configuration() -> rustls::ClientConfig {
    let provider = rustls::crypto::ring::default_provider();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider));
    match builder.with_safe_default_protocol_versions() {
        Ok(builder) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth(),
        Err(error) => unreachable!("ring speaks the default versions: {error}"),
    }
}

/// Certificates are not verified. Source: "HealthCheckConfig", `Type`: "HTTPS health checks don't validate SSL/TLS
/// certificates".
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Row as _;

    fn check(threshold: u32) -> HealthCheck {
        let value = serde_json::json!({
            "account": "123456789012", "id": "h", "caller_reference": "r", "version": 1, "check_type": "TCP",
            "failure_threshold": threshold, "created_at": 0,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_verdict_changes_after_as_many_looks_as_the_threshold() {
        let check = check(3);
        let now = Timestamp::from_millis;
        let (good, bad): (Finding, Finding) = (Ok("good".to_owned()), Err("bad".to_owned()));
        let mut status: Option<HealthCheckStatus> = None;
        let mut verdicts = String::new();
        for (at, finding) in
            [&good, &bad, &bad, &good, &bad, &bad, &bad, &good, &good, &good].iter().enumerate()
        {
            status = next(status.as_ref(), &check, finding, now(at as i64)).or(status);
            verdicts.push(if status.as_ref().unwrap().is_healthy { '+' } else { '-' });
        }
        assert_eq!(verdicts, "++++++---+");
        assert_eq!(status.clone().unwrap().last_failure, Some(("bad".to_owned(), now(6))));
        assert_eq!(next(status.as_ref(), &check, &good, now(20)), None, "nothing new");
        assert!(next(status.as_ref(), &check, &good, now(70_000)).is_some(), "but its time");
        assert_eq!(check.key(), status.unwrap().key());
    }
}
