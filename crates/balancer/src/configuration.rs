//! What a balancer is told: load balancers, listeners, rules, target groups. Plain values; nothing here acts.
//!
//! Source: Elastic Load Balancing API reference (2015-12-01), the data types of the same names.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::application::rules;
use crate::pattern::Pattern;
use crate::place::Place;
use crate::tls::Certificate;

/// Everything that one balancer serves.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// The load balancers.
    pub load_balancers: Vec<LoadBalancer>,
    /// The target groups that their rules name, by ARN.
    pub target_groups: Vec<Arc<TargetGroup>>,
}

/// A load balancer.
#[derive(Clone, Debug)]
pub struct LoadBalancer {
    /// Its ARN.
    pub arn: Arc<str>,
    /// Where it listens. It speaks to targets from the first place.
    pub places: Vec<Place>,
    /// Who may connect where it listens in this process's own namespace, which no firewall of the load balancer's guards;
    /// `None` is everybody.
    pub admission: Option<Arc<Admission>>,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Attributes that act on every listener of it.
    pub attributes: LoadBalancerAttributes,
}

/// Who may connect: what the load balancer's security groups let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission(pub Vec<Admitted>);

/// A network that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The network.
    pub network: IpAddr,
    /// Bits of it.
    pub prefix_length: u8,
    /// By TCP (`true`) or UDP.
    pub is_tcp: bool,
    /// First and last port.
    pub ports: (u16, u16),
}

impl Admission {
    /// Whether the client may connect to the port.
    pub fn admits(&self, client: IpAddr, is_tcp: bool, port: u16) -> bool {
        self.0.iter().any(|admitted| {
            admitted.is_tcp == is_tcp
                && (admitted.ports.0..=admitted.ports.1).contains(&port)
                && rules::contains(admitted.network, admitted.prefix_length, client)
        })
    }
}

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/2 where the client knows beforehand.
    Http,
    /// The same in TLS.
    Https,
    /// Bytes.
    Tcp,
    /// Bytes in TLS.
    Tls,
    /// Datagrams.
    Udp,
    /// Bytes and datagrams on one port.
    TcpUdp,
}

/// A listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its ARN.
    pub arn: Arc<str>,
    /// 1 to 65,535.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Rules by priority, the default rule last.
    pub rules: Vec<Rule>,
    /// Certificates, the default one first.
    pub certificates: Vec<Arc<Certificate>>,
    /// Name of a predefined security policy.
    pub security_policy: String,
    /// TLS listeners of a network load balancer: protocols offered by ALPN, best first.
    pub alpn: Vec<String>,
    /// `tcp.idle_timeout.seconds`.
    pub tcp_idle_timeout: Duration,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its ARN.
    pub arn: Arc<str>,
    /// 1 to 50,000; `None` for the default rule.
    pub priority: Option<u32>,
    /// All must hold; none in a default rule.
    pub conditions: Vec<Condition>,
    /// What happens.
    pub action: Action,
}

/// A condition of a rule: one of its values must match.
#[derive(Clone, Debug)]
pub enum Condition {
    /// The host, without port, in lower case.
    HostHeader(Vec<Pattern>),
    /// The path, as sent, with its case.
    PathPattern(Vec<Pattern>),
    /// A header's value, without regard to case.
    HttpHeader {
        /// Name in lower case.
        name: String,
        /// Values.
        values: Vec<Pattern>,
    },
    /// The method, exactly.
    HttpRequestMethod(Vec<String>),
    /// A key and value, or a value under any key, without regard to case.
    QueryString(Vec<(Option<Pattern>, Pattern)>),
    /// The address that the connection comes from.
    SourceIp(Vec<(IpAddr, u8)>),
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// To one of the groups.
    Forward(Forward),
    /// Elsewhere.
    Redirect(Redirect),
    /// An answer of the balancer's own.
    FixedResponse {
        /// 2xx, 4xx or 5xx.
        status: u16,
        /// `text/plain` and so on.
        content_type: Option<String>,
        /// At most 1,024 bytes.
        body: String,
    },
}

/// Target groups by weight.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// ARN and weight, 0 to 999.
    pub target_groups: Vec<(Arc<str>, u32)>,
    /// How long a client stays with its group; `None` is not at all.
    pub stickiness: Option<Duration>,
}

/// A redirect: each part may hold `#{protocol}`, `#{host}`, `#{port}`, `#{path}`, `#{query}`.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// `HTTP`, `HTTPS` or `#{protocol}`.
    pub protocol: String,
    /// Host.
    pub host: String,
    /// Port.
    pub port: String,
    /// Path.
    pub path: String,
    /// Query, without the question mark.
    pub query: String,
    /// 301 or 302.
    pub status: u16,
}

/// How requests are treated whose framing is in doubt. Source: "Desync mitigation mode" (Application Load Balancers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesyncMitigationMode {
    /// Everything that can be parsed goes through.
    Monitor,
    /// The default: ambiguous requests go through, and their connections are closed after.
    Defensive,
    /// Only requests that the RFC allows go through.
    Strictest,
}

/// What happens to `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedForMode {
    /// The client's address is added.
    Append,
    /// It goes as it came.
    Preserve,
    /// It goes away.
    Remove,
}

/// Attributes of a load balancer. Source: "LoadBalancerAttribute" data type.
#[derive(Clone, Debug)]
pub struct LoadBalancerAttributes {
    /// `idle_timeout.timeout_seconds`.
    pub idle_timeout: Duration,
    /// `client_keep_alive.seconds`.
    pub client_keep_alive: Duration,
    /// `routing.http2.enabled`.
    pub http2: bool,
    /// `routing.http.drop_invalid_header_fields.enabled`.
    pub drop_invalid_header_fields: bool,
    /// `routing.http.preserve_host_header.enabled`.
    pub preserve_host_header: bool,
    /// `routing.http.x_amzn_tls_version_and_cipher_suite.enabled`.
    pub tls_headers: bool,
    /// `routing.http.xff_client_port.enabled`.
    pub forwarded_client_port: bool,
    /// `routing.http.xff_header_processing.mode`.
    pub forwarded_for: ForwardedForMode,
    /// `routing.http.desync_mitigation_mode`.
    pub desync_mitigation: DesyncMitigationMode,
    /// Network load balancers: whether targets of all zones are used, or those of the zone that a connection came to.
    pub cross_zone: bool,
    /// Where an access log entry is written for each request, in words that the log understands; `None` is nowhere.
    pub access_logs: Option<Arc<str>>,
}

impl Default for LoadBalancerAttributes {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            client_keep_alive: Duration::from_secs(3600),
            http2: true,
            drop_invalid_header_fields: false,
            preserve_host_header: false,
            tls_headers: false,
            forwarded_client_port: false,
            forwarded_for: ForwardedForMode::Append,
            desync_mitigation: DesyncMitigationMode::Defensive,
            cross_zone: true,
            access_logs: None,
        }
    }
}

/// How a target is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
}

/// Which target is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// In turn.
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastOutstandingRequests,
    /// Any.
    WeightedRandom,
}

/// How a client stays with a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stickiness {
    /// A cookie of the balancer's own, good for so long.
    LoadBalancerCookie(Duration),
    /// With the application's cookie of this name, for so long.
    ApplicationCookie(String, Duration),
    /// Network load balancers: by the client's address.
    SourceIp,
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Its ARN.
    pub arn: Arc<str>,
    /// Protocol to the targets.
    pub protocol: GroupProtocol,
    /// Version of HTTP to the targets.
    pub protocol_version: ProtocolVersion,
    /// Registered targets.
    pub targets: Vec<Target>,
    /// Health check.
    pub health_check: HealthCheck,
    /// `load_balancing.algorithm.type`.
    pub algorithm: Algorithm,
    /// `deregistration_delay.timeout_seconds`.
    pub deregistration_delay: Duration,
    /// `slow_start.duration_seconds`; zero is off.
    pub slow_start: Duration,
    /// Stickiness.
    pub stickiness: Option<Stickiness>,
    /// `preserve_client_ip.enabled` (network load balancers).
    pub preserve_client_ip: bool,
    /// `proxy_protocol_v2.enabled` (network load balancers).
    pub proxy_protocol_v2: bool,
    /// `deregistration_delay.connection_termination.enabled` (network load balancers).
    pub connection_termination: bool,
    /// Whether targets of all zones are used, whatever the load balancer says (network load balancers).
    pub cross_zone: bool,
}

/// The protocol between balancer and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupProtocol {
    /// HTTP.
    Http,
    /// HTTP in TLS; the target's certificate is not checked, as documented.
    Https,
    /// Bytes.
    Tcp,
    /// Bytes in TLS.
    Tls,
    /// Datagrams.
    Udp,
    /// Both.
    TcpUdp,
}

/// A registered target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// As it was registered: an instance id or an address.
    pub id: Arc<str>,
    /// Where it is.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// The availability zone that it is in; `None` is all.
    pub zone: Option<Arc<str>>,
}

/// How a target's health is checked. Source: "Health checks for your target groups".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Off for Lambda targets only.
    pub enabled: bool,
    /// HTTP, HTTPS, TCP (and TLS).
    pub protocol: GroupProtocol,
    /// `None` is the traffic port.
    pub port: Option<u16>,
    /// Path, or gRPC method.
    pub path: String,
    /// Time between checks.
    pub interval: Duration,
    /// Time for an answer.
    pub timeout: Duration,
    /// Passes in a row that make an unhealthy target healthy.
    pub healthy_threshold: u32,
    /// Failures in a row that make it unhealthy.
    pub unhealthy_threshold: u32,
    /// Codes that pass, such as `200-299,301`; gRPC codes where the group speaks gRPC.
    pub matcher: Matcher,
}

/// Codes that pass: single ones and ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher(pub Vec<(u16, u16)>);

impl Matcher {
    /// Reads `200`, `200,202` or `200-299`. `None` where it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |part: &str| part.trim().parse::<u16>().ok();
        let ranges = text.split(',').map(|part| match part.split_once('-') {
            Some((first, last)) => Some((number(first)?, number(last)?)),
            None => number(part).map(|only| (only, only)),
        });
        let ranges: Vec<(u16, u16)> = ranges.collect::<Option<_>>()?;
        ranges.iter().all(|(first, last)| first <= last).then_some(Self(ranges))
    }

    /// Whether the code passes.
    pub fn matches(&self, code: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_admitted() {
        let admitted = |network: &str, prefix_length, is_tcp, ports| {
            let network = network.parse().unwrap();
            Admitted { network, prefix_length, is_tcp, ports }
        };
        let admission = Admission(vec![
            admitted("10.0.0.0", 8, true, (80, 443)),
            admitted("::", 0, false, (0, u16::MAX)),
        ]);
        let admits = |client: &str, is_tcp, port| admission.admits(client.parse().unwrap(), is_tcp, port);
        assert!(
            admits("10.9.9.9", true, 80) && admits("::ffff:10.0.0.1", true, 443) && admits("::1", false, 9)
        );
        assert!(
            !admits("10.9.9.9", true, 444) && !admits("11.0.0.1", true, 80) && !admits("10.9.9.9", false, 80)
        );
        assert!(!Admission::default().admits("127.0.0.1".parse().unwrap(), true, 80), "no rule, nobody");
    }

    #[test]
    fn matchers() {
        let matcher = Matcher::parse("200-299,301").unwrap();
        assert!(matcher.matches(204) && matcher.matches(301) && !matcher.matches(302));
        for wrong in ["", "2oo", "300-200", "200,", "200-"] {
            assert_eq!(Matcher::parse(wrong), None, "{wrong}");
        }
    }
}
