//! Attributes of load balancers, target groups and listeners: which there are, what they may be, and what they are where
//! nobody set them. Source: the "LoadBalancerAttribute", "TargetGroupAttribute" and "ListenerAttribute" data types.

use std::collections::BTreeMap;

use crate::{Listener, LoadBalancer, LoadBalancerType, TargetGroup};
use AttributeValues::{Boolean, Number, OffOrNumber, Text, Words, ZeroOrNumber};

/// What an attribute may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeValues {
    /// `true` or `false`.
    Boolean,
    /// A number from the first to the second.
    Number(u32, u32),
    /// Zero, or a number from the first to the second.
    ZeroOrNumber(u32, u32),
    /// `off`, or a number from the first to the second.
    OffOrNumber(u32, u32),
    /// One of these.
    Words(&'static [&'static str]),
    /// Text of so many characters at most.
    Text(usize),
}

/// An attribute of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Such as `idle_timeout.timeout_seconds`.
    pub key: &'static str,
    /// What it is where nobody set it.
    pub default: &'static str,
    /// What AWS lets it be.
    pub values: AttributeValues,
    /// What it may be here: where this is not empty, other values would not act, and are refused.
    pub served: &'static [&'static str],
}

impl Attribute {
    const fn new(key: &'static str, default: &'static str, values: AttributeValues) -> Self {
        Self { key, default, values, served: &[] }
    }

    /// The same, of which only these values act.
    const fn serving(self, served: &'static [&'static str]) -> Self {
        Self { served, ..self }
    }

    /// Whether AWS takes the value.
    pub fn allows(&self, value: &str) -> bool {
        let within = |first: u32, last: u32| {
            let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            is_number && value.parse().is_ok_and(|number: u32| (first..=last).contains(&number))
        };
        match self.values {
            AttributeValues::Boolean => matches!(value, "true" | "false"),
            AttributeValues::Number(first, last) => within(first, last),
            AttributeValues::ZeroOrNumber(first, last) => value == "0" || within(first, last),
            AttributeValues::OffOrNumber(first, last) => value == "off" || within(first, last),
            AttributeValues::Words(words) => words.contains(&value),
            AttributeValues::Text(characters) => value.chars().count() <= characters,
        }
    }
}

/// What has attributes.
pub trait Attributed {
    /// What AWS calls it at the start of a sentence, such as `Load balancer`.
    const NOUN: &'static str;

    /// Whether resources of the same type, but perhaps another kind, have the attribute.
    fn is_key_of_some_kind(key: &str) -> bool;

    /// Its kind, such as `load balancers of type 'network'`.
    fn kind(&self) -> String;

    /// Those that it has, by key.
    fn known_attributes(&self) -> Vec<Attribute>;

    /// Those that differ from their defaults.
    fn set_attributes(&self) -> &BTreeMap<String, String>;

    /// What an attribute is, set or not; `None` where the resource does not have it.
    fn attribute(&self, key: &str) -> Option<String> {
        let known = self.known_attributes().into_iter().find(|known| known.key == key)?;
        Some(self.set_attributes().get(key).cloned().unwrap_or_else(|| known.default.to_owned()))
    }

    /// Whether an attribute is `true`.
    fn is_attribute_on(&self, key: &str) -> bool {
        self.attribute(key).is_some_and(|value| value == "true")
    }

    /// What an attribute is that is a number.
    fn attribute_number(&self, key: &str) -> Option<u32> {
        self.attribute(key)?.parse().ok()
    }
}

/// Only what is so anyway.
const OFF: &[&str] = &["false"];
/// Only the default.
const EMPTY: &[&str] = &[""];
/// Characters of an S3 bucket's name, and of a prefix.
const S3_CHARACTERS: usize = 1024;
/// Seconds of a week: the longest that cookies and connections are kept.
const WEEK_SECONDS: u32 = 604_800;

/// Attributes that every load balancer has.
const LOAD_BALANCER: [Attribute; 3] = [
    Attribute::new("deletion_protection.enabled", "false", Boolean),
    Attribute::new("ipv6.deny_all_igw_traffic", "false", Boolean).serving(OFF),
    Attribute::new("zonal_shift.config.enabled", "false", Boolean).serving(OFF),
];

/// Attributes that application load balancers have besides.
const APPLICATION: [Attribute; 20] = [
    Attribute::new("access_logs.s3.bucket", "", Text(S3_CHARACTERS)),
    Attribute::new("access_logs.s3.enabled", "false", Boolean),
    Attribute::new("access_logs.s3.prefix", "", Text(S3_CHARACTERS)),
    Attribute::new("client_keep_alive.seconds", "3600", Number(60, WEEK_SECONDS)),
    Attribute::new("connection_logs.s3.bucket", "", Text(S3_CHARACTERS)).serving(EMPTY),
    Attribute::new("connection_logs.s3.enabled", "false", Boolean).serving(OFF),
    Attribute::new("connection_logs.s3.prefix", "", Text(S3_CHARACTERS)).serving(EMPTY),
    Attribute::new("health_check_logs.s3.bucket", "", Text(S3_CHARACTERS)).serving(EMPTY),
    Attribute::new("health_check_logs.s3.enabled", "false", Boolean).serving(OFF),
    Attribute::new("health_check_logs.s3.prefix", "", Text(S3_CHARACTERS)).serving(EMPTY),
    Attribute::new("idle_timeout.timeout_seconds", "60", Number(1, 4000)),
    Attribute::new("load_balancing.cross_zone.enabled", "true", Words(&["true"])),
    Attribute::new(
        "routing.http.desync_mitigation_mode",
        "defensive",
        Words(&["monitor", "defensive", "strictest"]),
    ),
    Attribute::new("routing.http.drop_invalid_header_fields.enabled", "false", Boolean),
    Attribute::new("routing.http.preserve_host_header.enabled", "false", Boolean),
    Attribute::new("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", Boolean),
    Attribute::new("routing.http.xff_client_port.enabled", "false", Boolean),
    Attribute::new(
        "routing.http.xff_header_processing.mode",
        "append",
        Words(&["append", "preserve", "remove"]),
    ),
    Attribute::new("routing.http2.enabled", "true", Boolean),
    Attribute::new("waf.fail_open.enabled", "false", Boolean).serving(OFF),
];

/// Attributes that network load balancers have besides.
const NETWORK: [Attribute; 6] = [
    Attribute::new("access_logs.s3.bucket", "", Text(S3_CHARACTERS)).serving(EMPTY),
    Attribute::new("access_logs.s3.enabled", "false", Boolean).serving(OFF),
    Attribute::new("access_logs.s3.prefix", "", Text(S3_CHARACTERS)).serving(EMPTY),
    Attribute::new(
        "dns_record.client_routing_policy",
        "any_availability_zone",
        Words(&["any_availability_zone", "availability_zone_affinity", "partial_availability_zone_affinity"]),
    )
    .serving(&["any_availability_zone"]),
    Attribute::new("load_balancing.cross_zone.enabled", "false", Boolean),
    Attribute::new("secondary_ips.auto_assigned.per_subnet", "0", Number(0, 7)).serving(&["0"]),
];

fn by_key(attributes: impl IntoIterator<Item = Attribute>) -> Vec<Attribute> {
    let mut attributes: Vec<_> = attributes.into_iter().collect();
    attributes.sort_by_key(|attribute| attribute.key);
    attributes
}

impl Attributed for LoadBalancer {
    const NOUN: &'static str = "Load balancer";

    fn is_key_of_some_kind(key: &str) -> bool {
        LOAD_BALANCER.iter().chain(&APPLICATION).chain(&NETWORK).any(|known| known.key == key)
    }

    fn kind(&self) -> String {
        format!("load balancers of type '{}'", self.load_balancer_type)
    }

    fn known_attributes(&self) -> Vec<Attribute> {
        match self.load_balancer_type {
            LoadBalancerType::Application => by_key(LOAD_BALANCER.into_iter().chain(APPLICATION)),
            LoadBalancerType::Network => by_key(LOAD_BALANCER.into_iter().chain(NETWORK)),
        }
    }

    fn set_attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }
}

/// Attributes that every target group has. Of the thresholds of `target_group_health` the defaults act: a load balancer
/// sends to all targets where none is healthy.
const TARGET_GROUP: [Attribute; 7] = [
    Attribute::new("deregistration_delay.timeout_seconds", "300", Number(0, 3600)),
    Attribute::new(
        "load_balancing.cross_zone.enabled",
        "use_load_balancer_configuration",
        Words(&["true", "false", "use_load_balancer_configuration"]),
    )
    .serving(&["true", "use_load_balancer_configuration"]),
    Attribute::new("stickiness.enabled", "false", Boolean),
    Attribute::new(
        "target_group_health.dns_failover.minimum_healthy_targets.count",
        "1",
        OffOrNumber(1, 1000),
    )
    .serving(&["1"]),
    Attribute::new(
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        "off",
        OffOrNumber(1, 100),
    )
    .serving(&["off"]),
    Attribute::new(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "1",
        Number(1, 1000),
    )
    .serving(&["1"]),
    Attribute::new(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "off",
        OffOrNumber(1, 100),
    )
    .serving(&["off"]),
];

/// Attributes of groups with the protocols HTTP and HTTPS.
const HTTP_TARGET_GROUP: [Attribute; 7] = [
    Attribute::new("load_balancing.algorithm.anomaly_mitigation", "off", Words(&["on", "off"]))
        .serving(&["off"]),
    Attribute::new(
        "load_balancing.algorithm.type",
        "round_robin",
        Words(&["round_robin", "least_outstanding_requests", "weighted_random"]),
    ),
    Attribute::new("slow_start.duration_seconds", "0", ZeroOrNumber(30, 900)),
    Attribute::new("stickiness.app_cookie.cookie_name", "", Text(4096)),
    Attribute::new("stickiness.app_cookie.duration_seconds", "86400", Number(1, WEEK_SECONDS)),
    Attribute::new("stickiness.lb_cookie.duration_seconds", "86400", Number(1, WEEK_SECONDS)),
    Attribute::new("stickiness.type", "lb_cookie", Words(&["lb_cookie", "app_cookie"])),
];

/// Whose default goes by the group.
const CONNECTION_TERMINATION: &str = "deregistration_delay.connection_termination.enabled";
/// The same.
const PRESERVE_CLIENT_IP: &str = "preserve_client_ip.enabled";

/// Attributes of the other groups, less those whose default goes by the group.
const NETWORK_TARGET_GROUP: [Attribute; 4] = [
    Attribute::new("proxy_protocol_v2.enabled", "false", Boolean),
    Attribute::new("stickiness.type", "source_ip", Words(&["source_ip"])),
    Attribute::new("target_health_state.unhealthy.connection_termination.enabled", "true", Boolean)
        .serving(&["true"]),
    Attribute::new("target_health_state.unhealthy.draining_interval_seconds", "0", Number(0, 360_000))
        .serving(&["0"]),
];

impl TargetGroup {
    /// Whether its targets are those of application load balancers.
    pub fn is_http(&self) -> bool {
        matches!(self.protocol.as_str(), "HTTP" | "HTTPS")
    }
}

impl Attributed for TargetGroup {
    const NOUN: &'static str = "Target group";

    fn is_key_of_some_kind(key: &str) -> bool {
        let known = TARGET_GROUP.iter().chain(&HTTP_TARGET_GROUP).chain(&NETWORK_TARGET_GROUP);
        known
            .map(|known| known.key)
            .chain([CONNECTION_TERMINATION, PRESERVE_CLIENT_IP])
            .any(|known| known == key)
    }

    fn kind(&self) -> String {
        format!("target groups with the {} protocol", self.protocol)
    }

    fn known_attributes(&self) -> Vec<Attribute> {
        if self.is_http() {
            return by_key(TARGET_GROUP.into_iter().chain(HTTP_TARGET_GROUP));
        }
        let word = |is_on: bool| if is_on { "true" } else { "false" };
        let is_stream = matches!(self.protocol.as_str(), "TCP" | "TLS");
        let of_group = [
            Attribute::new(CONNECTION_TERMINATION, word(!is_stream), Boolean),
            Attribute::new(PRESERVE_CLIENT_IP, word(!(is_stream && self.target_type == "ip")), Boolean),
        ];
        by_key(TARGET_GROUP.into_iter().chain(NETWORK_TARGET_GROUP).chain(of_group))
    }

    fn set_attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }
}

/// What listeners for TCP have.
const TCP_IDLE_TIMEOUT: &str = "tcp.idle_timeout.seconds";
/// Characters of a header's value or name in a listener's attribute.
const HEADER_CHARACTERS: usize = 1024;

/// Attributes of listeners for HTTP and HTTPS.
const HTTP_LISTENER: [Attribute; 11] = [
    header("routing.http.response.access_control_allow_credentials.header_value"),
    header("routing.http.response.access_control_allow_headers.header_value"),
    header("routing.http.response.access_control_allow_methods.header_value"),
    header("routing.http.response.access_control_allow_origin.header_value"),
    header("routing.http.response.access_control_expose_headers.header_value"),
    header("routing.http.response.access_control_max_age.header_value"),
    header("routing.http.response.content_security_policy.header_value"),
    Attribute::new("routing.http.response.server.enabled", "true", Boolean).serving(&["true"]),
    header("routing.http.response.strict_transport_security.header_value"),
    header("routing.http.response.x_content_type_options.header_value"),
    header("routing.http.response.x_frame_options.header_value"),
];

/// Attributes that listeners for HTTPS have besides: names of headers, which stay AWS's.
const HTTPS_LISTENER: [Attribute; 8] = [
    named("routing.http.request.x_amzn_mtls_clientcert.header_name", &["X-Amzn-Mtls-Clientcert"]),
    named(
        "routing.http.request.x_amzn_mtls_clientcert_issuer.header_name",
        &["X-Amzn-Mtls-Clientcert-Issuer"],
    ),
    named("routing.http.request.x_amzn_mtls_clientcert_leaf.header_name", &["X-Amzn-Mtls-Clientcert-Leaf"]),
    named(
        "routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name",
        &["X-Amzn-Mtls-Clientcert-Serial-Number"],
    ),
    named(
        "routing.http.request.x_amzn_mtls_clientcert_subject.header_name",
        &["X-Amzn-Mtls-Clientcert-Subject"],
    ),
    named(
        "routing.http.request.x_amzn_mtls_clientcert_validity.header_name",
        &["X-Amzn-Mtls-Clientcert-Validity"],
    ),
    named("routing.http.request.x_amzn_tls_cipher_suite.header_name", &["X-Amzn-Tls-Cipher-Suite"]),
    named("routing.http.request.x_amzn_tls_version.header_name", &["X-Amzn-Tls-Version"]),
];

const fn header(key: &'static str) -> Attribute {
    Attribute::new(key, "", Text(HEADER_CHARACTERS)).serving(EMPTY)
}

const fn named(key: &'static str, default: &'static [&'static str; 1]) -> Attribute {
    Attribute::new(key, default[0], Text(HEADER_CHARACTERS)).serving(default)
}

impl Attributed for Listener {
    const NOUN: &'static str = "Listener";

    fn is_key_of_some_kind(key: &str) -> bool {
        let known = HTTP_LISTENER.iter().chain(&HTTPS_LISTENER).map(|known| known.key);
        known.chain([TCP_IDLE_TIMEOUT]).any(|known| known == key)
    }

    fn kind(&self) -> String {
        format!("listeners with the {} protocol", self.protocol)
    }

    fn known_attributes(&self) -> Vec<Attribute> {
        match self.protocol.as_str() {
            "HTTP" => by_key(HTTP_LISTENER),
            "HTTPS" => by_key(HTTP_LISTENER.into_iter().chain(HTTPS_LISTENER)),
            "TCP" => vec![Attribute::new(TCP_IDLE_TIMEOUT, "350", Number(60, 6000))],
            _ => Vec::new(),
        }
    }

    fn set_attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        for (values, good, bad) in [
            (Boolean, "true", "yes"),
            (Number(1, 4000), "4000", "4001"),
            (Number(0, 10), "0", "+1"),
            (ZeroOrNumber(30, 900), "0", "29"),
            (OffOrNumber(1, 100), "off", "0"),
            (Words(&["a", "b"]), "b", "c"),
            (Text(3), "abc", "abcd"),
        ] {
            let attribute = Attribute::new("a", "", values);
            assert!(attribute.allows(good) && !attribute.allows(bad), "{values:?}");
        }
    }

    #[test]
    fn every_default_is_allowed_and_served() {
        let all = [&LOAD_BALANCER[..], &APPLICATION, &NETWORK, &TARGET_GROUP, &HTTP_TARGET_GROUP]
            .into_iter()
            .chain([&NETWORK_TARGET_GROUP[..], &HTTP_LISTENER, &HTTPS_LISTENER]);
        for attribute in all.flatten() {
            assert!(attribute.allows(attribute.default), "{}", attribute.key);
            let served = attribute.served;
            assert!(served.is_empty() || served.contains(&attribute.default), "{}", attribute.key);
        }
    }
}
