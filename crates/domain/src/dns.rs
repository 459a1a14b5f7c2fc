//! Hosted zones, their record sets and health checks. Source: Amazon Route 53 API Reference, the data types of the same
//! names. Route 53 belongs to an account and to no region.

use base::{AccountId, Region, Tag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::dns_name::DnsName;

word_enum! {
    /// The types of records that can be made.
    RecordType {
        /// IPv4 address.
        A = "A",
        /// IPv6 address.
        Aaaa = "AAAA",
        /// Who may issue certificates.
        Caa = "CAA",
        /// Another name.
        Cname = "CNAME",
        /// Mail server.
        Mx = "MX",
        /// Name server.
        Ns = "NS",
        /// Name of an address.
        Ptr = "PTR",
        /// Start of authority.
        Soa = "SOA",
        /// Text.
        Spf = "SPF",
        /// Host and port of a service.
        Srv = "SRV",
        /// Text.
        Txt = "TXT",
    }
}

word_enum! {
    /// Which of two record sets answers.
    FailoverRole {
        /// While it is healthy.
        Primary = "PRIMARY",
        /// While the other is not.
        Secondary = "SECONDARY",
    }
}

/// A VPC in which a private zone answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostedZoneVpc {
    /// The VPC's region.
    pub region: Region,
    /// The VPC's id.
    pub vpc: String,
}

/// The AWS service that made a zone and alone may change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedService {
    /// Such as `servicediscovery.amazonaws.com`.
    pub principal: String,
    /// In words.
    pub description: String,
}

/// A hosted zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedZone {
    /// Whose.
    pub account: AccountId,
    /// `Z` and capital letters and digits; unique in all accounts.
    pub id: String,
    /// The name at its top.
    pub name: DnsName,
    /// The same call again is refused.
    pub caller_reference: String,
    /// In words.
    #[serde(default)]
    pub comment: Option<String>,
    /// Whether it answers in VPCs only.
    pub is_private: bool,
    /// Where it answers (private).
    #[serde(default)]
    pub vpcs: Vec<HostedZoneVpc>,
    /// Its name servers.
    pub name_servers: Vec<DnsName>,
    /// Who else made it.
    #[serde(default)]
    pub linked_service: Option<LinkedService>,
    /// How many record sets it has: those that Cloud Map's instances make are not counted.
    pub record_set_count: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// How one of several record sets of a name and type is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoutingPolicy {
    /// It is the only one.
    Simple,
    /// By chance, in proportion to weights from 0 to 255.
    Weighted(u8),
    /// The secondary one while the primary is unhealthy.
    Failover(FailoverRole),
    /// Up to eight healthy ones.
    MultiValue,
    /// The one of the asker's region.
    Latency(Region),
    /// The one of the asker's place; no place is the default.
    Geolocation {
        /// Two letters.
        #[serde(default)]
        continent: Option<String>,
        /// Two letters, or `*` for everywhere else.
        #[serde(default)]
        country: Option<String>,
        /// Of the United States or Ukraine.
        #[serde(default)]
        subdivision: Option<String>,
    },
}

/// What a record set says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordSetContent {
    /// Records of its own.
    Records {
        /// Seconds for which they may be kept.
        ttl_seconds: u32,
        /// As they were given; each can be read by `RecordValue::parse`.
        values: Vec<String>,
    },
    /// What another name says.
    Alias {
        /// The hosted zone of the other name: the record's own, or a load balancer's.
        hosted_zone: String,
        /// The other name.
        name: DnsName,
        /// Whether the alias is unhealthy where the other is.
        evaluate_target_health: bool,
    },
}

/// A record set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRecordSet {
    /// The hosted zone's id.
    pub hosted_zone: String,
    /// Its name.
    pub name: DnsName,
    /// The type of its records.
    pub record_type: RecordType,
    /// Tells those of one name and type apart; none where the routing is simple.
    #[serde(default)]
    pub set_identifier: Option<String>,
    /// When it is chosen.
    pub routing: RoutingPolicy,
    /// What it says.
    pub content: RecordSetContent,
    /// The id of its health check.
    #[serde(default)]
    pub health_check: Option<String>,
}

word_enum! {
    /// What a health check looks at.
    HealthCheckType {
        /// A status of 200 to 399.
        Http = "HTTP",
        /// The same over TLS.
        Https = "HTTPS",
        /// The same, and a text in the body.
        HttpStrMatch = "HTTP_STR_MATCH",
        /// The same over TLS.
        HttpsStrMatch = "HTTPS_STR_MATCH",
        /// A connection.
        Tcp = "TCP",
        /// Other health checks.
        Calculated = "CALCULATED",
    }
}

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Whose.
    pub account: AccountId,
    /// A UUID.
    pub id: String,
    /// The same call again is the same health check.
    pub caller_reference: String,
    /// Grows with every update.
    pub version: u64,
    /// What it looks at.
    pub check_type: HealthCheckType,
    /// The address; none where the domain name is looked up.
    #[serde(default)]
    pub address: Option<std::net::IpAddr>,
    /// 1 to 65,535; none for CALCULATED.
    #[serde(default)]
    pub port: Option<u16>,
    /// Path and query (HTTP, HTTPS).
    #[serde(default)]
    pub resource_path: Option<String>,
    /// The `Host` header, and what is looked up where no address is given.
    #[serde(default)]
    pub domain_name: Option<String>,
    /// The text that must be in the first 5,120 bytes of the body.
    #[serde(default)]
    pub search_string: Option<String>,
    /// 10 or 30 seconds from one look to the next; none for CALCULATED.
    #[serde(default)]
    pub request_interval_seconds: Option<u32>,
    /// How many looks in a row change the verdict.
    #[serde(default)]
    pub failure_threshold: Option<u32>,
    /// Whether the time of each look is noted.
    #[serde(default)]
    pub measure_latency: Option<bool>,
    /// Whether healthy and unhealthy are exchanged.
    #[serde(default)]
    pub inverted: Option<bool>,
    /// Whether it is not looked at, and counts as healthy.
    #[serde(default)]
    pub disabled: Option<bool>,
    /// How many children must be healthy (CALCULATED).
    #[serde(default)]
    pub health_threshold: Option<u32>,
    /// Ids of other health checks (CALCULATED).
    #[serde(default)]
    pub children: Vec<String>,
    /// Whether the name of the host goes with the TLS handshake.
    #[serde(default)]
    pub enable_sni: Option<bool>,
    /// The regions that it is looked at from: kept for the answer, all are this machine.
    #[serde(default)]
    pub regions: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// What the looks of a health check have found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckStatus {
    /// The health check's id.
    pub health_check: String,
    /// The version of the health check that was looked at.
    pub version: u64,
    /// The verdict, before `inverted`.
    pub is_healthy: bool,
    /// Looks in a row that speak against the verdict.
    pub contrary: u32,
    /// What the last look found, in words.
    pub observation: String,
    /// When that was.
    pub checked_at: Timestamp,
    /// What the last look that failed found.
    #[serde(default)]
    pub last_failure: Option<(String, Timestamp)>,
}

/// A batch of changes that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsChange {
    /// Whose.
    pub account: AccountId,
    /// `C` and capital letters and digits.
    pub id: String,
    /// When it was asked for.
    pub submitted_at: Timestamp,
    /// In words.
    #[serde(default)]
    pub comment: Option<String>,
}
