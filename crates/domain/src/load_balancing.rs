//! Load balancers, listeners, rules, target groups, targets, certificates. Source: Elastic Load Balancing API reference
//! (version 2015-12-01) and AWS Certificate Manager API reference, the data types of the same names.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use base::{Arn, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

word_enum! {
    /// The kind of a load balancer.
    LoadBalancerType {
        /// HTTP.
        Application = "application",
        /// TCP, TLS, UDP.
        Network = "network",
    }
}

word_enum! {
    /// A load balancer's state.
    LoadBalancerState {
        /// Its addresses are being made.
        Provisioning = "provisioning",
        /// It listens, or would if it had listeners.
        Active = "active",
        /// It works, but not as it should.
        ActiveImpaired = "active_impaired",
        /// It could not be set up.
        Failed = "failed",
    }
}

/// A load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Whose and where.
    pub scope: Scope,
    /// Unique in account and region.
    pub name: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// Kind.
    pub load_balancer_type: LoadBalancerType,
    /// `internet-facing` or `internal`.
    pub scheme: String,
    /// `ipv4`, `dualstack` …
    pub ip_address_type: String,
    /// The VPC of its subnets.
    pub vpc: String,
    /// Its subnets, one a zone.
    pub subnets: Vec<LoadBalancerSubnet>,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// State.
    pub state: LoadBalancerState,
    /// Why.
    #[serde(default)]
    pub state_reason: Option<String>,
    /// `NAME-ID.REGION.elb.…`, in lower case: see the service's `resources`.
    pub dns_name: String,
    /// Attributes that differ from the defaults.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// A subnet of a load balancer, with its address there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancerSubnet {
    /// The subnet's id.
    pub subnet: String,
    /// Its zone's name.
    pub zone: String,
    /// The network interface made for it.
    #[serde(default)]
    pub network_interface: Option<String>,
    /// Its private address: what it listens on.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// Whether the caller chose the address.
    #[serde(default)]
    pub is_address_chosen: bool,
    /// The Elastic IP's allocation, where one was given.
    #[serde(default)]
    pub allocation: Option<String>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Whose and where.
    pub scope: Scope,
    /// Its load balancer's name.
    pub load_balancer: String,
    /// Its load balancer's id.
    pub load_balancer_id: String,
    /// Its load balancer's kind, which its ARN has.
    pub load_balancer_type: LoadBalancerType,
    /// 16 hexadecimal digits.
    pub id: String,
    /// 1 to 65,535.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TCP`, `TLS`, `UDP`, `TCP_UDP`.
    pub protocol: String,
    /// Security policy (HTTPS, TLS).
    #[serde(default)]
    pub ssl_policy: Option<String>,
    /// Certificates, the default one first.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// ALPN policy (TLS).
    #[serde(default)]
    pub alpn_policy: Option<String>,
    /// Attributes that differ from the defaults.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// A rule of a listener. The default rule has no priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerRule {
    /// Whose and where.
    pub scope: Scope,
    /// Its load balancer's name.
    pub load_balancer: String,
    /// Its load balancer's id.
    pub load_balancer_id: String,
    /// Its load balancer's kind.
    pub load_balancer_type: LoadBalancerType,
    /// Its listener's id.
    pub listener: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// 1 to 50,000; `None` for the default rule.
    pub priority: Option<u32>,
    /// Conditions.
    #[serde(default)]
    pub conditions: Vec<RuleCondition>,
    /// What happens.
    pub action: RuleAction,
    /// Made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// A condition, as registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleCondition {
    /// `host-header`.
    HostHeader(RuleValues),
    /// `path-pattern`.
    PathPattern(RuleValues),
    /// `http-header`: name and values.
    HttpHeader(String, RuleValues),
    /// `http-request-method`.
    HttpRequestMethod(Vec<String>),
    /// `query-string`: key, where given, and value.
    QueryString(Vec<(Option<String>, String)>),
    /// `source-ip`: networks.
    SourceIp(Vec<String>),
}

/// What a text is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleValues {
    /// `Values`: `*` is any number of characters, `?` exactly one.
    Wildcards(Vec<String>),
    /// `RegexValues`.
    Regexes(Vec<String>),
}

impl RuleValues {
    /// The values of either kind.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Wildcards(texts) | Self::Regexes(texts) => texts,
        }
    }
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleAction {
    /// `forward`: target groups' ARNs with weights (0 to 999), and seconds of stickiness.
    Forward {
        /// ARN and weight.
        target_groups: Vec<(String, u32)>,
        /// Stickiness in seconds; `None` is off.
        stickiness_seconds: Option<u32>,
    },
    /// `redirect`.
    Redirect {
        /// Protocol.
        protocol: String,
        /// Host.
        host: String,
        /// Port.
        port: String,
        /// Path.
        path: String,
        /// Query.
        query: String,
        /// 301 or 302.
        status: u16,
    },
    /// `fixed-response`.
    FixedResponse {
        /// Status.
        status: u16,
        /// Content type.
        content_type: Option<String>,
        /// Body.
        body: String,
    },
}

impl RuleAction {
    /// The target groups that it forwards to, with their weights; none where it does something else.
    pub fn target_groups(&self) -> &[(String, u32)] {
        match self {
            Self::Forward { target_groups, .. } => target_groups,
            Self::Redirect { .. } | Self::FixedResponse { .. } => &[],
        }
    }
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// Whose and where.
    pub scope: Scope,
    /// Unique in account and region.
    pub name: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// `HTTP`, `HTTPS`, `TCP`, `TLS`, `UDP`, `TCP_UDP`.
    pub protocol: String,
    /// `HTTP1`, `HTTP2`, `GRPC` (HTTP and HTTPS).
    #[serde(default)]
    pub protocol_version: Option<String>,
    /// Port where a target names none.
    pub port: u16,
    /// The VPC.
    #[serde(default)]
    pub vpc: Option<String>,
    /// `instance`, `ip`, `alb`, `lambda`.
    pub target_type: String,
    /// `ipv4` or `ipv6`.
    pub ip_address_type: String,
    /// Health check.
    pub health_check: TargetGroupHealthCheck,
    /// Attributes that differ from the defaults.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// How a target group's targets are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroupHealthCheck {
    /// Whether it is.
    pub enabled: bool,
    /// `HTTP`, `HTTPS`, `TCP`.
    pub protocol: String,
    /// A port, or `traffic-port`.
    pub port: String,
    /// Path or method (HTTP, HTTPS).
    #[serde(default)]
    pub path: Option<String>,
    /// Seconds between checks.
    pub interval_seconds: u32,
    /// Seconds for an answer.
    pub timeout_seconds: u32,
    /// Passes.
    pub healthy_threshold: u32,
    /// Failures.
    pub unhealthy_threshold: u32,
    /// HTTP or gRPC codes that pass.
    #[serde(default)]
    pub matcher: Option<String>,
}

/// A target to be registered, or to be found among the registered ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetDescription {
    /// An address, or an instance's id.
    pub target: String,
    /// Port.
    pub port: u16,
    /// `AvailabilityZone`: a zone's name, or `all`.
    pub zone: Option<String>,
}

/// A registered target: one row each, so that tasks come and go without touching one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRegistration {
    /// Whose and where.
    pub scope: Scope,
    /// Its target group's name.
    pub target_group: String,
    /// Its target group's id.
    pub target_group_id: String,
    /// An address, or an instance's id.
    pub target: String,
    /// Port.
    pub port: u16,
    /// `AvailabilityZone` of the call.
    #[serde(default)]
    pub zone: Option<String>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it was deregistered: it drains. The row goes when that is over.
    #[serde(default)]
    pub deregistered_at: Option<Timestamp>,
    /// What the balancer last saw: `initial`, `healthy`, `unhealthy`, `draining`, `unused`.
    pub state: String,
    /// AWS's reason code.
    #[serde(default)]
    pub reason: Option<String>,
    /// In words.
    #[serde(default)]
    pub description: Option<String>,
}

/// A certificate with its private key. The key is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whose and where.
    pub scope: Scope,
    /// A UUID.
    pub id: String,
    /// `IMPORTED` or `AMAZON_ISSUED`.
    pub certificate_type: String,
    /// The main name.
    pub domain_name: String,
    /// All names.
    pub subject_alternative_names: Vec<String>,
    /// PEM.
    pub certificate: String,
    /// PEM, the chain above it.
    #[serde(default)]
    pub certificate_chain: Option<String>,
    /// PEM.
    pub private_key: String,
    /// Facts read from the certificate (serial, subject, issuer, dates, algorithms), for Describe.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// Made.
    pub created_at: Timestamp,
    /// Imported.
    #[serde(default)]
    pub imported_at: Option<Timestamp>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("id", &self.id)
            .field("domain_name", &self.domain_name)
            .finish_non_exhaustive()
    }
}

impl LoadBalancerType {
    /// `app` or `net`: what ARNs have.
    pub const fn arn_word(self) -> &'static str {
        match self {
            Self::Application => "app",
            Self::Network => "net",
        }
    }
}

const ELASTIC_LOAD_BALANCING: &str = "elasticloadbalancing";

impl LoadBalancer {
    /// `arn:aws:elasticloadbalancing:REGION:ACCOUNT:loadbalancer/app/NAME/ID`.
    pub fn arn(&self) -> Arn {
        let kind = self.load_balancer_type.arn_word();
        Arn::new(
            ELASTIC_LOAD_BALANCING,
            &self.scope,
            format!("loadbalancer/{kind}/{}/{}", self.name, self.id),
        )
    }
}

impl Listener {
    /// `arn:aws:elasticloadbalancing:REGION:ACCOUNT:listener/app/NAME/ID/ID`.
    pub fn arn(&self) -> Arn {
        let kind = self.load_balancer_type.arn_word();
        let path = format!("listener/{kind}/{}/{}/{}", self.load_balancer, self.load_balancer_id, self.id);
        Arn::new(ELASTIC_LOAD_BALANCING, &self.scope, path)
    }

    /// The ARN of its load balancer.
    pub fn load_balancer_arn(&self) -> Arn {
        let kind = self.load_balancer_type.arn_word();
        let path = format!("loadbalancer/{kind}/{}/{}", self.load_balancer, self.load_balancer_id);
        Arn::new(ELASTIC_LOAD_BALANCING, &self.scope, path)
    }
}

impl ListenerRule {
    /// `arn:aws:elasticloadbalancing:REGION:ACCOUNT:listener-rule/app/NAME/ID/ID/ID`.
    pub fn arn(&self) -> Arn {
        let kind = self.load_balancer_type.arn_word();
        let path = format!(
            "listener-rule/{kind}/{}/{}/{}/{}",
            self.load_balancer, self.load_balancer_id, self.listener, self.id
        );
        Arn::new(ELASTIC_LOAD_BALANCING, &self.scope, path)
    }

    /// The ARN of its load balancer.
    pub fn load_balancer_arn(&self) -> Arn {
        let kind = self.load_balancer_type.arn_word();
        let path = format!("loadbalancer/{kind}/{}/{}", self.load_balancer, self.load_balancer_id);
        Arn::new(ELASTIC_LOAD_BALANCING, &self.scope, path)
    }

    /// The ARN of its listener.
    pub fn listener_arn(&self) -> Arn {
        let kind = self.load_balancer_type.arn_word();
        let path =
            format!("listener/{kind}/{}/{}/{}", self.load_balancer, self.load_balancer_id, self.listener);
        Arn::new(ELASTIC_LOAD_BALANCING, &self.scope, path)
    }
}

impl TargetGroup {
    /// `arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new(ELASTIC_LOAD_BALANCING, &self.scope, format!("targetgroup/{}/{}", self.name, self.id))
    }
}

impl TargetRegistration {
    /// A new target of a group. It is `initial` until the balancer has checked it.
    pub fn new(group: &TargetGroup, target: &TargetDescription, now: Timestamp) -> Self {
        Self {
            scope: group.scope.clone(),
            target_group: group.name.clone(),
            target_group_id: group.id.clone(),
            target: target.target.clone(),
            port: target.port,
            zone: target.zone.clone(),
            registered_at: now,
            deregistered_at: None,
            state: "initial".to_owned(),
            reason: Some("Elb.RegistrationInProgress".to_owned()),
            description: Some("Target registration is in progress".to_owned()),
        }
    }

    /// The ARN of its target group.
    pub fn target_group_arn(&self) -> Arn {
        let path = format!("targetgroup/{}/{}", self.target_group, self.target_group_id);
        Arn::new(ELASTIC_LOAD_BALANCING, &self.scope, path)
    }

    /// The same, on its way out: it gets no new connections.
    #[must_use]
    pub fn draining(&self, now: Timestamp) -> Self {
        Self {
            deregistered_at: Some(now),
            state: "draining".to_owned(),
            reason: Some("Target.DeregistrationInProgress".to_owned()),
            description: Some("Target deregistration is in progress".to_owned()),
            ..self.clone()
        }
    }
}

impl Certificate {
    /// `arn:aws:acm:REGION:ACCOUNT:certificate/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new("acm", &self.scope, format!("certificate/{}", self.id))
    }
}
