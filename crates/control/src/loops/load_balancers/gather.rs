//! From rows to what a balancer is told. Values that an operation let through are taken as they are; what cannot be read
//! (a row of an older version) counts as its default.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use balancer::TargetState;
use balancer::configuration::{
    Action, Admission, Admitted, Algorithm, Condition, DesyncMitigationMode, Forward, ForwardedForMode,
    GroupProtocol, HealthCheck, Listener, LoadBalancerAttributes, Matcher, Protocol, ProtocolVersion,
    Redirect, Rule, Stickiness, Target, TargetGroup,
};
use balancer::pattern::Pattern;
use balancer::tls::Certificate;
use base::Scope;
use domain::{
    Attributed as _, LoadBalancer, NetworkInterface, PrefixList, RuleAction, RuleCondition, RuleValues,
    SecurityGroup, SecurityGroupPeer, Subnet, TargetRegistration, Vpc,
};
use store::rows_load_balancing::{
    certificate_by_arn, listeners_of, load_balancer_by_arn, rules_of, target_registration_key, targets_of,
};
use store::rows_vpc::{security_group_key, subnet_key};
use store::{Key, Prefix, Revision, Snapshot};

use crate::seams::{LoadBalancerInterface, ServedLoadBalancer, VpcOfLoadBalancer};

/// The policy of a listener that names none. Source: "CreateListener".
const SECURITY_POLICY: &str = "ELBSecurityPolicy-2016-08";
/// How long cookies hold where an attribute says nothing.
const SECONDS_OF_A_DAY: u64 = 86_400;

/// Certificates that were read already: reading a key takes longer than all else, and the sessions of a listener go on
/// where its certificates are the same.
#[derive(Default)]
pub struct Certificates(BTreeMap<String, (Revision, Arc<Certificate>)>);

impl Certificates {
    fn get(&mut self, snapshot: &Snapshot, arn: &str) -> Result<Arc<Certificate>, String> {
        let Some(row) = certificate_by_arn(snapshot, arn) else {
            self.0.remove(arn);
            return Err(format!("The certificate {arn} is gone: give the listener another one."));
        };
        if let Some((revision, known)) = self.0.get(arn)
            && *revision == row.revision
        {
            return Ok(Arc::clone(known));
        }
        let chain = row.certificate_chain.as_deref().unwrap_or_default();
        let read = Certificate::from_pem(
            arn,
            row.subject_alternative_names.clone(),
            row.certificate.as_bytes(),
            chain.as_bytes(),
            row.private_key.as_bytes(),
        );
        let read = Arc::new(read.map_err(|error| format!("The certificate {arn} cannot be used: {error}."))?);
        self.0.insert(arn.to_owned(), (row.revision, Arc::clone(&read)));
        Ok(read)
    }
}

/// The network interfaces of all load balancers.
pub fn interfaces(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot
        .scan::<LoadBalancer>(Prefix::everything(), None)
        .flat_map(|row| {
            row.subnets.iter().filter_map(|subnet| subnet.network_interface.clone()).collect::<Vec<_>>()
        })
        .collect()
}

/// A load balancer; the error says what it lacks.
pub fn load_balancer(
    snapshot: &Snapshot,
    row: &LoadBalancer,
    certificates: &mut Certificates,
) -> Result<ServedLoadBalancer, String> {
    let listeners = listeners_of(snapshot, row);
    let listeners = listeners.iter().map(|listener| self::listener(snapshot, listener, certificates));
    Ok(ServedLoadBalancer {
        arn: row.arn().as_str().into(),
        is_internet_facing: row.scheme == "internet-facing",
        vpc: Arc::new(vpc(snapshot, &row.scope, &row.vpc)?),
        interfaces: row
            .subnets
            .iter()
            .map(|subnet| interface(snapshot, &row.scope, subnet))
            .collect::<Result<_, _>>()?,
        admission: admission(snapshot, row),
        listeners: listeners.collect::<Result<_, _>>()?,
        attributes: attributes(&row.attributes),
    })
}

/// Whom the load balancer's security groups let in from outside of its VPC. Rules that name a group mean addresses within.
fn admission(snapshot: &Snapshot, row: &LoadBalancer) -> Option<Arc<Admission>> {
    if row.security_groups.is_empty() {
        return None;
    }
    let groups = row.security_groups.iter();
    let groups = groups.filter_map(|id| snapshot.get::<SecurityGroup>(&security_group_key(&row.scope, id)));
    let mut admitted = Vec::new();
    for group in groups {
        for rule in group.rules.iter().filter(|rule| !rule.is_egress) {
            let port = |port: i32| u16::try_from(port).ok();
            let (protocols, ports): (&[bool], _) = match rule.ip_protocol.as_str() {
                "-1" => (&[true, false], Some((0, u16::MAX))),
                "tcp" | "6" => (&[true], port(rule.from_port).zip(port(rule.to_port))),
                "udp" | "17" => (&[false], port(rule.from_port).zip(port(rule.to_port))),
                _ => continue,
            };
            let Some(ports) = ports else { continue };
            for (network, prefix_length) in networks(snapshot, row, &rule.peer) {
                let of = |is_tcp: &bool| Admitted { network, prefix_length, is_tcp: *is_tcp, ports };
                admitted.extend(protocols.iter().map(of));
            }
        }
    }
    Some(Arc::new(Admission(admitted)))
}

fn networks(snapshot: &Snapshot, row: &LoadBalancer, peer: &SecurityGroupPeer) -> Vec<(IpAddr, u8)> {
    let parse = |text: String| network(&text);
    match peer {
        SecurityGroupPeer::Ipv4(cidr) => parse(cidr.to_string()).into_iter().collect(),
        SecurityGroupPeer::Ipv6(cidr) => parse(cidr.to_string()).into_iter().collect(),
        SecurityGroupPeer::Group(_) => Vec::new(),
        SecurityGroupPeer::PrefixList(id) => snapshot
            .get::<PrefixList>(&Key::new(&row.scope, &[id]))
            .map(|list| list.entries.iter().filter_map(|entry| parse(entry.cidr.to_string())).collect())
            .unwrap_or_default(),
    }
}

fn vpc(snapshot: &Snapshot, scope: &Scope, id: &str) -> Result<VpcOfLoadBalancer, String> {
    let vpc = snapshot.get::<Vpc>(&Key::new(scope, &[id])).ok_or_else(|| format!("The VPC {id} is gone."))?;
    let subnets = snapshot
        .scan::<Subnet>(Key::prefix(scope, &[]), None)
        .filter(|subnet| subnet.vpc == id)
        .map(|subnet| (subnet.id.clone(), subnet.cidr))
        .collect();
    Ok(VpcOfLoadBalancer { id: id.to_owned(), cidr: vpc.cidr, subnets })
}

fn interface(
    snapshot: &Snapshot,
    scope: &Scope,
    of: &domain::LoadBalancerSubnet,
) -> Result<LoadBalancerInterface, String> {
    let missing = || format!("It has no network interface in the subnet {}.", of.subnet);
    let address = of.address.ok_or_else(missing)?;
    let row = snapshot
        .get::<NetworkInterface>(&Key::new(scope, &[&of.subnet, &address.to_string()]))
        .ok_or_else(missing)?;
    let subnet = snapshot.get::<Subnet>(&subnet_key(scope, &of.subnet)).ok_or_else(missing)?;
    Ok(LoadBalancerInterface {
        id: row.id.clone(),
        mac: row.mac,
        address,
        subnet: subnet.cidr,
        zone: subnet.availability_zone.as_str().into(),
        has_security_groups: !row.security_groups.is_empty(),
    })
}

fn listener(
    snapshot: &Snapshot,
    row: &domain::Listener,
    certificates: &mut Certificates,
) -> Result<Listener, String> {
    let read = row.certificates.iter().map(|arn| certificates.get(snapshot, arn));
    let alpn: &[&str] = match row.alpn_policy.as_deref() {
        Some("HTTP1Only") => &["http/1.1", "http/1.0"],
        Some("HTTP2Only") => &["h2"],
        Some("HTTP2Optional") => &["http/1.1", "http/1.0", "h2"],
        Some("HTTP2Preferred") => &["h2", "http/1.1", "http/1.0"],
        _ => &[],
    };
    Ok(Listener {
        arn: row.arn().as_str().into(),
        port: row.port,
        protocol: match row.protocol.as_str() {
            "HTTPS" => Protocol::Https,
            "TCP" => Protocol::Tcp,
            "TLS" => Protocol::Tls,
            "UDP" => Protocol::Udp,
            "TCP_UDP" => Protocol::TcpUdp,
            _ => Protocol::Http,
        },
        rules: rules_of(snapshot, row).iter().map(|rule| self::rule(rule)).collect(),
        certificates: read.collect::<Result<_, _>>()?,
        security_policy: row.ssl_policy.clone().unwrap_or_else(|| SECURITY_POLICY.to_owned()),
        alpn: alpn.iter().map(|name| (*name).to_owned()).collect(),
        tcp_idle_timeout: seconds(&row.attributes, "tcp.idle_timeout.seconds", 350),
    })
}

fn rule(row: &domain::ListenerRule) -> Rule {
    Rule {
        arn: row.arn().as_str().into(),
        priority: row.priority,
        conditions: row.conditions.iter().map(condition).collect(),
        action: action(&row.action),
    }
}

fn condition(row: &RuleCondition) -> Condition {
    match row {
        RuleCondition::HostHeader(values) => Condition::HostHeader(patterns(values, true)),
        RuleCondition::PathPattern(values) => Condition::PathPattern(patterns(values, false)),
        RuleCondition::HttpHeader(name, values) => {
            Condition::HttpHeader { name: name.to_ascii_lowercase(), values: patterns(values, true) }
        }
        RuleCondition::HttpRequestMethod(methods) => Condition::HttpRequestMethod(methods.clone()),
        RuleCondition::QueryString(pairs) => {
            let pattern = |text: &String| Pattern::ignoring_case(text);
            let pairs = pairs.iter().map(|(key, value)| (key.as_ref().map(pattern), pattern(value)));
            Condition::QueryString(pairs.collect())
        }
        RuleCondition::SourceIp(networks) => {
            Condition::SourceIp(networks.iter().filter_map(|text| network(text)).collect())
        }
    }
}

fn patterns(values: &RuleValues, ignore_case: bool) -> Vec<Pattern> {
    match values {
        RuleValues::Wildcards(texts) if ignore_case => {
            texts.iter().map(|text| Pattern::ignoring_case(text)).collect()
        }
        RuleValues::Wildcards(texts) => texts.iter().map(|text| Pattern::new(text)).collect(),
        // One that is none matches nothing.
        RuleValues::Regexes(texts) => {
            texts.iter().filter_map(|text| Pattern::regex(text, ignore_case)).collect()
        }
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

fn action(row: &RuleAction) -> Action {
    match row {
        RuleAction::Forward { target_groups, stickiness_seconds } => Action::Forward(Forward {
            target_groups: target_groups.iter().map(|(arn, weight)| (arn.as_str().into(), *weight)).collect(),
            stickiness: stickiness_seconds.map(|seconds| Duration::from_secs(seconds.into())),
        }),
        RuleAction::Redirect { protocol, host, port, path, query, status } => Action::Redirect(Redirect {
            protocol: protocol.clone(),
            host: host.clone(),
            port: port.clone(),
            path: path.clone(),
            query: query.clone(),
            status: *status,
        }),
        RuleAction::FixedResponse { status, content_type, body } => {
            Action::FixedResponse { status: *status, content_type: content_type.clone(), body: body.clone() }
        }
    }
}

type Attributes = BTreeMap<String, String>;

fn flag(attributes: &Attributes, key: &str, default: bool) -> bool {
    attributes.get(key).map_or(default, |value| value == "true")
}

fn seconds(attributes: &Attributes, key: &str, default: u64) -> Duration {
    Duration::from_secs(attributes.get(key).and_then(|value| value.parse().ok()).unwrap_or(default))
}

fn attributes(row: &Attributes) -> LoadBalancerAttributes {
    LoadBalancerAttributes {
        idle_timeout: seconds(row, "idle_timeout.timeout_seconds", 60),
        client_keep_alive: seconds(row, "client_keep_alive.seconds", 3600),
        http2: flag(row, "routing.http2.enabled", true),
        drop_invalid_header_fields: flag(row, "routing.http.drop_invalid_header_fields.enabled", false),
        preserve_host_header: flag(row, "routing.http.preserve_host_header.enabled", false),
        tls_headers: flag(row, "routing.http.x_amzn_tls_version_and_cipher_suite.enabled", false),
        forwarded_client_port: flag(row, "routing.http.xff_client_port.enabled", false),
        forwarded_for: match row.get("routing.http.xff_header_processing.mode").map(String::as_str) {
            Some("preserve") => ForwardedForMode::Preserve,
            Some("remove") => ForwardedForMode::Remove,
            _ => ForwardedForMode::Append,
        },
        desync_mitigation: match row.get("routing.http.desync_mitigation_mode").map(String::as_str) {
            Some("monitor") => DesyncMitigationMode::Monitor,
            Some("strictest") => DesyncMitigationMode::Strictest,
            _ => DesyncMitigationMode::Defensive,
        },
        access_logs: flag(row, "access_logs.s3.enabled", false).then(|| {
            let part = |key| row.get(key).map(String::as_str).unwrap_or_default();
            format!("{}/{}", part("access_logs.s3.bucket"), part("access_logs.s3.prefix")).into()
        }),
        cross_zone: flag(row, "load_balancing.cross_zone.enabled", false),
    }
}

/// A target group with what its rows say beyond its settings.
pub struct GatheredTargetGroup {
    /// The group with its registered targets.
    pub group: TargetGroup,
    /// What was last seen of them.
    pub seen: Vec<(Target, TargetState)>,
    /// Those that were deregistered.
    pub draining: Vec<Target>,
    /// Registered targets that lead nowhere, by the keys of their rows.
    pub lost: Vec<Key>,
}

/// A target group.
pub fn target_group(snapshot: &Snapshot, row: &domain::TargetGroup) -> GatheredTargetGroup {
    let (mut targets, mut seen) = (Vec::new(), Vec::new());
    let (mut draining, mut lost) = (Vec::new(), Vec::new());
    let places =
        Places { snapshot, group: row, gateway: gateway(snapshot, row), subnets: subnets(snapshot, row) };
    for registration in targets_of(snapshot, row) {
        let target = places.find(&registration);
        match (target, registration.deregistered_at) {
            (None, None) => lost.push(target_registration_key(
                &registration.scope,
                &registration.target_group,
                &registration.target,
                registration.port,
            )),
            (target, Some(_)) => draining.push(target.unwrap_or_else(|| nowhere(&registration))),
            (Some(target), None) => {
                match registration.state.as_str() {
                    "healthy" => seen.push((target.clone(), TargetState::Healthy)),
                    "unhealthy" => seen.push((target.clone(), TargetState::Unhealthy)),
                    _ => {}
                }
                targets.push(target);
            }
        }
    }
    let protocol = group_protocol(&row.protocol);
    let is_http = matches!(protocol, GroupProtocol::Http | GroupProtocol::Https);
    let protocol_version = match row.protocol_version.as_deref() {
        Some("HTTP2") => ProtocolVersion::Http2,
        Some("GRPC") => ProtocolVersion::Grpc,
        _ => ProtocolVersion::Http1,
    };
    let group = TargetGroup {
        arn: row.arn().as_str().into(),
        protocol,
        protocol_version,
        targets,
        health_check: health_check(&row.health_check, protocol_version, is_http),
        algorithm: match row.attributes.get("load_balancing.algorithm.type").map(String::as_str) {
            Some("least_outstanding_requests") => Algorithm::LeastOutstandingRequests,
            Some("weighted_random") => Algorithm::WeightedRandom,
            _ => Algorithm::RoundRobin,
        },
        deregistration_delay: seconds(&row.attributes, "deregistration_delay.timeout_seconds", 300),
        slow_start: seconds(&row.attributes, "slow_start.duration_seconds", 0),
        stickiness: stickiness(&row.attributes, is_http),
        preserve_client_ip: !is_http && row.is_attribute_on("preserve_client_ip.enabled"),
        proxy_protocol_v2: flag(&row.attributes, "proxy_protocol_v2.enabled", false),
        connection_termination: !is_http
            && row.is_attribute_on("deregistration_delay.connection_termination.enabled"),
        cross_zone: row
            .attributes
            .get("load_balancing.cross_zone.enabled")
            .is_some_and(|value| value == "true"),
    };
    GatheredTargetGroup { group, seen, draining, lost }
}

fn group_protocol(text: &str) -> GroupProtocol {
    match text {
        "HTTPS" => GroupProtocol::Https,
        "TCP" => GroupProtocol::Tcp,
        "TLS" => GroupProtocol::Tls,
        "UDP" => GroupProtocol::Udp,
        "TCP_UDP" => GroupProtocol::TcpUdp,
        _ => GroupProtocol::Http,
    }
}

fn health_check(
    row: &domain::TargetGroupHealthCheck,
    version: ProtocolVersion,
    is_http: bool,
) -> HealthCheck {
    // Source: "Matcher" data type.
    let (path, codes) = match (version, is_http) {
        (ProtocolVersion::Grpc, _) => ("/AWS.ALB/healthcheck", "12"),
        (_, true) => ("/", "200"),
        (_, false) => ("/", "200-399"),
    };
    let matcher = Matcher::parse(row.matcher.as_deref().unwrap_or(codes));
    HealthCheck {
        enabled: row.enabled,
        protocol: group_protocol(&row.protocol),
        port: row.port.parse().ok(),
        path: row.path.clone().unwrap_or_else(|| path.to_owned()),
        interval: Duration::from_secs(row.interval_seconds.into()),
        timeout: Duration::from_secs(row.timeout_seconds.into()),
        healthy_threshold: row.healthy_threshold,
        unhealthy_threshold: row.unhealthy_threshold,
        matcher: matcher.unwrap_or(Matcher(vec![(200, 200)])),
    }
}

fn stickiness(row: &Attributes, is_http: bool) -> Option<Stickiness> {
    if !flag(row, "stickiness.enabled", false) {
        return None;
    }
    if !is_http {
        return Some(Stickiness::SourceIp);
    }
    Some(match row.get("stickiness.type").map(String::as_str) {
        Some("app_cookie") => Stickiness::ApplicationCookie(
            row.get("stickiness.app_cookie.cookie_name").cloned().unwrap_or_default(),
            seconds(row, "stickiness.app_cookie.duration_seconds", SECONDS_OF_A_DAY),
        ),
        _ => Stickiness::LoadBalancerCookie(seconds(
            row,
            "stickiness.lb_cookie.duration_seconds",
            SECONDS_OF_A_DAY,
        )),
    })
}

/// Where the targets of a group are.
struct Places<'a> {
    snapshot: &'a Snapshot,
    group: &'a domain::TargetGroup,
    gateway: Option<IpAddr>,
    /// Of a network load balancer's group: where an address is tells its zone.
    subnets: Vec<Subnet>,
}

impl Places<'_> {
    fn find(&self, registration: &TargetRegistration) -> Option<Target> {
        let address = match self.group.target_type.as_str() {
            // Every container instance that tasks can be reached on is this machine.
            "instance" => self.gateway?,
            "alb" => {
                let found = load_balancer_by_arn(self.snapshot, &registration.target)?;
                found.subnets.iter().find_map(|subnet| subnet.address)?.into()
            }
            _ => registration.target.parse().ok()?,
        };
        let zone = match (registration.zone.as_deref(), address) {
            (Some("all"), _) => None,
            (Some(zone), _) => Some(zone.into()),
            (None, IpAddr::V4(address)) => {
                let subnet = self.subnets.iter().find(|subnet| subnet.cidr.contains(address));
                subnet.map(|subnet| subnet.availability_zone.as_str().into())
            }
            (None, IpAddr::V6(_)) => None,
        };
        Some(Target { id: registration.target.as_str().into(), address, port: registration.port, zone })
    }
}

fn subnets(snapshot: &Snapshot, row: &domain::TargetGroup) -> Vec<Subnet> {
    if row.is_http() || row.target_type != "ip" {
        return Vec::new();
    }
    let all = snapshot.scan::<Subnet>(Key::prefix(&row.scope, &[]), None);
    all.filter(|subnet| Some(&subnet.vpc) == row.vpc.as_ref()).map(|subnet| Subnet::clone(&subnet)).collect()
}

fn nowhere(registration: &TargetRegistration) -> Target {
    let address = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    Target { id: registration.target.as_str().into(), address, port: registration.port, zone: None }
}

/// An address of this machine in the group's VPC: a gateway's, which load balancers reach it by.
fn gateway(snapshot: &Snapshot, row: &domain::TargetGroup) -> Option<IpAddr> {
    if row.target_type != "instance" {
        return None;
    }
    let vpc = row.vpc.as_deref()?;
    let mut subnets = snapshot.scan::<Subnet>(Key::prefix(&row.scope, &[]), None);
    subnets.find(|subnet| subnet.vpc == vpc).map(|subnet| subnet.gateway().into())
}
