//! AWS Cloud Map: namespaces, services, instances and the operations that changed them. Source: AWS Cloud Map API
//! Reference, the data types of the same names. `Discovery` stands in front of each noun: a *service* is an ECS service.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use base::{Arn, Ids, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

word_enum! {
    /// How the instances of a namespace are found.
    DiscoveryNamespaceType {
        /// By DiscoverInstances and in the public DNS.
        DnsPublic = "DNS_PUBLIC",
        /// By DiscoverInstances and in the DNS of a VPC.
        DnsPrivate = "DNS_PRIVATE",
        /// By DiscoverInstances.
        Http = "HTTP",
    }
}

word_enum! {
    /// How the instances of a service are found.
    DiscoveryServiceType {
        /// By DiscoverInstances.
        Http = "HTTP",
        /// By DiscoverInstances and DNS.
        DnsHttp = "DNS_HTTP",
        /// By DNS.
        Dns = "DNS",
    }
}

word_enum! {
    /// Which of a service's addresses a DNS query is answered with.
    DiscoveryRoutingPolicy {
        /// Up to eight healthy ones.
        Multivalue = "MULTIVALUE",
        /// One healthy one, by chance.
        Weighted = "WEIGHTED",
    }
}

word_enum! {
    /// A type of DNS record that registering an instance makes.
    DiscoveryRecordType {
        /// Host and port.
        Srv = "SRV",
        /// IPv4 address.
        A = "A",
        /// IPv6 address.
        Aaaa = "AAAA",
        /// Another name.
        Cname = "CNAME",
    }
}

word_enum! {
    /// Where an operation stands.
    DiscoveryOperationStatus {
        /// Taken.
        Submitted = "SUBMITTED",
        /// Being done.
        Pending = "PENDING",
        /// Done.
        Success = "SUCCESS",
        /// Not done.
        Fail = "FAIL",
    }
}

word_enum! {
    /// What an operation does.
    DiscoveryOperationType {
        /// A namespace is made.
        CreateNamespace = "CREATE_NAMESPACE",
        /// A namespace is removed.
        DeleteNamespace = "DELETE_NAMESPACE",
        /// A namespace is changed.
        UpdateNamespace = "UPDATE_NAMESPACE",
        /// A service is changed.
        UpdateService = "UPDATE_SERVICE",
        /// An instance is registered.
        RegisterInstance = "REGISTER_INSTANCE",
        /// An instance is deregistered.
        DeregisterInstance = "DEREGISTER_INSTANCE",
    }
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryNamespace {
    /// Whose and where.
    pub scope: Scope,
    /// `ns-…`.
    pub id: String,
    /// As it was given; a domain name but for HTTP namespaces.
    pub name: String,
    /// How its instances are found.
    pub namespace_type: DiscoveryNamespaceType,
    /// In words.
    #[serde(default)]
    pub description: Option<String>,
    /// The VPC in which names resolve (DNS_PRIVATE).
    #[serde(default)]
    pub vpc: Option<String>,
    /// The Route 53 hosted zone, without a prefix (DNS_PRIVATE, DNS_PUBLIC).
    #[serde(default)]
    pub hosted_zone: Option<String>,
    /// Seconds for which "no such name" may be kept (DNS_PRIVATE, DNS_PUBLIC).
    #[serde(default)]
    pub soa_ttl_seconds: Option<u32>,
    /// `CreatorRequestId`: the same call again is the same namespace.
    #[serde(default)]
    pub creator_request_id: Option<String>,
    /// The id of the operation that made it.
    #[serde(default)]
    pub made_by: Option<String>,
    /// How many services it has: a namespace with services cannot be deleted.
    #[serde(default)]
    pub service_count: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// A Route 53 health check of a service's instances. Source: "HealthCheckConfig" data type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryHealthCheck {
    /// `HTTP`, `HTTPS` or `TCP`.
    pub check_type: String,
    /// Path (HTTP, HTTPS).
    #[serde(default)]
    pub resource_path: Option<String>,
    /// Checks in a row that change the state.
    pub failure_threshold: u32,
}

/// What Service Connect knows of a service that an ECS service made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryConnect {
    /// `http`, `http2`, `grpc` or `tcp`.
    pub app_protocol: String,
    /// Name and port by which clients call it.
    pub aliases: Vec<(String, u16)>,
    /// How long a connection may carry nothing; 0 is for ever.
    pub idle_timeout_seconds: u32,
    /// How long a whole answer may take (not `tcp`); 0 is for ever.
    pub request_timeout_seconds: u32,
    /// The header, and its value where not any will do, by which a request is a test of what is being deployed; `None`: AWS's.
    #[serde(default)]
    pub test_header: Option<(String, Option<String>)>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryService {
    /// Whose and where.
    pub scope: Scope,
    /// `srv-…`.
    pub id: String,
    /// Its name within the namespace; with the namespace's name behind it, the DNS name.
    pub name: String,
    /// The namespace's id.
    pub namespace: String,
    /// How its instances are found.
    pub service_type: DiscoveryServiceType,
    /// In words.
    #[serde(default)]
    pub description: Option<String>,
    /// Which addresses a query is answered with, where DNS finds them.
    #[serde(default)]
    pub routing_policy: Option<DiscoveryRoutingPolicy>,
    /// Types of records and their time to live in seconds; empty where DNS does not find them.
    #[serde(default)]
    pub records: Vec<(DiscoveryRecordType, u32)>,
    /// Route 53 health check.
    #[serde(default)]
    pub health_check: Option<DiscoveryHealthCheck>,
    /// Whether callers tell the health of instances (`HealthCheckCustomConfig`).
    #[serde(default)]
    pub custom_health: bool,
    /// Service attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// `CreatorRequestId`.
    #[serde(default)]
    pub creator_request_id: Option<String>,
    /// How many instances it has: a service with instances cannot be deleted.
    #[serde(default)]
    pub instance_count: u32,
    /// Grows with every change of its instances or their health.
    #[serde(default)]
    pub instances_revision: u64,
    /// The ARN of the ECS service that made it (Service Connect), which alone may change its instances.
    #[serde(default)]
    pub managed_by: Option<String>,
    /// What Service Connect's proxies need to know of it.
    #[serde(default)]
    pub connect: Option<DiscoveryConnect>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// An instance: one row each, so that tasks come and go without touching one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryInstance {
    /// Whose and where.
    pub scope: Scope,
    /// The service's id.
    pub service: String,
    /// Unique in the service; ECS takes the task's id.
    pub id: String,
    /// Attributes, AWS's (`AWS_INSTANCE_IPV4` …) and the caller's own.
    pub attributes: BTreeMap<String, String>,
    /// `CreatorRequestId`.
    #[serde(default)]
    pub creator_request_id: Option<String>,
    /// What callers told of its health, where the service has custom health.
    #[serde(default)]
    pub custom_health: Option<bool>,
    /// When it was registered.
    pub registered_at: Timestamp,
}

/// An operation: what a call changes, and how far that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryOperation {
    /// Whose and where.
    pub scope: Scope,
    /// The id.
    pub id: String,
    /// What it does.
    pub operation_type: DiscoveryOperationType,
    /// Where it stands.
    pub status: DiscoveryOperationStatus,
    /// Why it failed: code and words.
    #[serde(default)]
    pub error: Option<(String, String)>,
    /// The namespace, where it changes one.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The service.
    #[serde(default)]
    pub service: Option<String>,
    /// The instance.
    #[serde(default)]
    pub instance: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// What a DNS record of an instance says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiscoveryAnswer {
    /// A.
    Ipv4(Ipv4Addr),
    /// AAAA.
    Ipv6(Ipv6Addr),
    /// SRV: port, and the instance, whose own name (`INSTANCE.SERVICE.NAMESPACE`) is the target.
    Srv(u16, String),
    /// CNAME.
    Cname(String),
    /// The load balancer whose addresses are the answer (`AWS_ALIAS_DNS_NAME`).
    Alias(String),
}

/// The attribute with an instance's IPv4 address.
pub const AWS_INSTANCE_IPV4: &str = "AWS_INSTANCE_IPV4";
/// The attribute with an instance's IPv6 address.
pub const AWS_INSTANCE_IPV6: &str = "AWS_INSTANCE_IPV6";
/// The attribute with an instance's port.
pub const AWS_INSTANCE_PORT: &str = "AWS_INSTANCE_PORT";
/// The attribute with the name that a CNAME record points to.
pub const AWS_INSTANCE_CNAME: &str = "AWS_INSTANCE_CNAME";
/// The attribute with the DNS name of a load balancer that an alias record points to.
pub const AWS_ALIAS_DNS_NAME: &str = "AWS_ALIAS_DNS_NAME";
/// The attribute with the EC2 instance whose private address is the instance's.
pub const AWS_EC2_INSTANCE_ID: &str = "AWS_EC2_INSTANCE_ID";
/// The attribute with the custom health that an instance starts with.
pub const AWS_INIT_HEALTH_STATUS: &str = "AWS_INIT_HEALTH_STATUS";

const AWS_SERVICE: &str = "servicediscovery";
/// Letters and digits of ids.
const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Characters behind `ns-` and `srv-`.
const ID_CHARACTERS: usize = 16;

/// A new id, such as `ns-e4anhexample0004`.
pub fn discovery_id(ids: &dyn Ids, prefix: &str) -> String {
    format!("{prefix}-{}", discovery_letters(ids, ID_CHARACTERS))
}

/// So many letters and digits, as ids have them.
pub fn discovery_letters(ids: &dyn Ids, count: usize) -> String {
    let mut bytes = vec![0; count];
    ids.fill(&mut bytes);
    bytes.into_iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte & 31)])).collect()
}

impl DiscoveryNamespace {
    /// `arn:aws:servicediscovery:REGION:ACCOUNT:namespace/ID`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.id)
    }

    /// The ARN that the namespace `id` has or would have.
    pub fn arn_of(scope: &Scope, id: &str) -> Arn {
        Arn::new(AWS_SERVICE, scope, format!("namespace/{id}"))
    }
}

impl DiscoveryService {
    /// `arn:aws:servicediscovery:REGION:ACCOUNT:service/ID`.
    pub fn arn(&self) -> Arn {
        Self::arn_of(&self.scope, &self.id)
    }

    /// The ARN that the service `id` has or would have.
    pub fn arn_of(scope: &Scope, id: &str) -> Arn {
        Arn::new(AWS_SERVICE, scope, format!("service/{id}"))
    }

    /// The time to live of its records of this type, in seconds; `None` where it makes none.
    pub fn ttl_seconds(&self, record_type: DiscoveryRecordType) -> Option<u32> {
        self.records.iter().find(|(made, _)| *made == record_type).map(|(_, ttl)| *ttl)
    }

    /// What its records of one type say: those of healthy instances, or of all where none is healthy, as Route 53 does.
    /// In order of the instances; which of them a query gets (eight of MULTIVALUE, one of WEIGHTED) is the DNS server's.
    pub fn answers<'a>(
        &self,
        instances: impl IntoIterator<Item = &'a DiscoveryInstance>,
        record_type: DiscoveryRecordType,
    ) -> Vec<DiscoveryAnswer> {
        let (mut healthy, mut unhealthy) = (Vec::new(), Vec::new());
        for instance in instances {
            let Some(answer) = self.answer(instance, record_type) else { continue };
            if instance.is_healthy() { healthy.push(answer) } else { unhealthy.push(answer) }
        }
        if healthy.is_empty() { unhealthy } else { healthy }
    }

    /// What the record of this type of one instance says, whatever its health.
    pub fn answer(
        &self,
        instance: &DiscoveryInstance,
        record_type: DiscoveryRecordType,
    ) -> Option<DiscoveryAnswer> {
        self.ttl_seconds(record_type)?;
        match record_type {
            DiscoveryRecordType::Srv => {
                let port = instance.attribute(AWS_INSTANCE_PORT)?.parse().ok()?;
                Some(DiscoveryAnswer::Srv(port, instance.id.clone()))
            }
            DiscoveryRecordType::Cname => {
                instance.attribute(AWS_INSTANCE_CNAME).map(|name| DiscoveryAnswer::Cname(name.to_owned()))
            }
            DiscoveryRecordType::A | DiscoveryRecordType::Aaaa => {
                match instance.attribute(AWS_ALIAS_DNS_NAME) {
                    Some(name) => Some(DiscoveryAnswer::Alias(name.to_owned())),
                    None => instance.address(record_type),
                }
            }
        }
    }
}

impl DiscoveryInstance {
    /// An attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Whether DNS answers with it: nobody said that it is unhealthy.
    pub fn is_healthy(&self) -> bool {
        self.custom_health != Some(false)
    }

    /// Its address as an A or AAAA record, which its own name (the target of SRV records) resolves to as well.
    pub fn address(&self, record_type: DiscoveryRecordType) -> Option<DiscoveryAnswer> {
        match record_type {
            DiscoveryRecordType::A => {
                self.attribute(AWS_INSTANCE_IPV4)?.parse().ok().map(DiscoveryAnswer::Ipv4)
            }
            DiscoveryRecordType::Aaaa => {
                self.attribute(AWS_INSTANCE_IPV6)?.parse().ok().map(DiscoveryAnswer::Ipv6)
            }
            DiscoveryRecordType::Srv | DiscoveryRecordType::Cname => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
    }

    fn service(records: &[(DiscoveryRecordType, u32)]) -> DiscoveryService {
        DiscoveryService {
            scope: scope(),
            id: "srv-1".to_owned(),
            name: "backend".to_owned(),
            namespace: "ns-1".to_owned(),
            service_type: DiscoveryServiceType::DnsHttp,
            description: None,
            routing_policy: Some(DiscoveryRoutingPolicy::Multivalue),
            records: records.to_vec(),
            health_check: None,
            custom_health: true,
            attributes: BTreeMap::new(),
            creator_request_id: None,
            instance_count: 0,
            instances_revision: 0,
            managed_by: None,
            connect: None,
            created_at: Timestamp::from_millis(0),
            tags: Vec::new(),
        }
    }

    fn instance(id: &str, attributes: &[(&str, &str)], custom_health: Option<bool>) -> DiscoveryInstance {
        DiscoveryInstance {
            scope: scope(),
            service: "srv-1".to_owned(),
            id: id.to_owned(),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            creator_request_id: None,
            custom_health,
            registered_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn unhealthy_instances_answer_only_where_none_is_healthy() {
        let service = service(&[(DiscoveryRecordType::A, 60)]);
        let well = instance("a", &[(AWS_INSTANCE_IPV4, "10.0.0.1")], Some(true));
        let ill = instance("b", &[(AWS_INSTANCE_IPV4, "10.0.0.2")], Some(false));
        let address = |last| DiscoveryAnswer::Ipv4(Ipv4Addr::new(10, 0, 0, last));
        assert_eq!(service.answers([&well, &ill], DiscoveryRecordType::A), [address(1)]);
        assert_eq!(service.answers([&ill], DiscoveryRecordType::A), [address(2)]);
        assert_eq!(service.answers([&well], DiscoveryRecordType::Aaaa), []);
    }

    #[test]
    fn srv_needs_a_port_and_an_alias_comes_before_addresses() {
        let service = service(&[(DiscoveryRecordType::Srv, 10), (DiscoveryRecordType::A, 60)]);
        let port = instance("a", &[(AWS_INSTANCE_IPV4, "10.0.0.1"), (AWS_INSTANCE_PORT, "8080")], None);
        let alias = instance("b", &[(AWS_ALIAS_DNS_NAME, "web-1.us-east-1.elb.amazonaws.com")], None);
        assert_eq!(
            service.answers([&port, &alias], DiscoveryRecordType::Srv),
            [DiscoveryAnswer::Srv(8080, "a".to_owned())]
        );
        assert_eq!(service.answers([&port, &alias], DiscoveryRecordType::A).len(), 2);
        assert_eq!(service.answer(&alias, DiscoveryRecordType::Cname), None);
    }
}
