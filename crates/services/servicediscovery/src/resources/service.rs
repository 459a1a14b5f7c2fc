//! Services: found, described, and what their settings may be.

use std::collections::BTreeSet;

use api::servicediscovery::{
    self as wire_shapes, DnsConfig, DnsRecord, HealthCheckConfig, HealthCheckCustomConfig,
    ServiceAlreadyExists, faults as modelled,
};
use base::Scope;
use domain::{
    DiscoveryNamespace, DiscoveryNamespaceType, DiscoveryRecordType, DiscoveryRoutingPolicy, DiscoveryService,
};
use store::rows_service_discovery::{DISCOVERY_SERVICES_BY_NAME, discovery_service_key};
use store::{Snapshot, Versioned};
use wire::Fault;

use super::{id, namespace};
use crate::faults;

/// The service with this id or ARN.
pub(crate) fn get(
    snapshot: &Snapshot,
    scope: &Scope,
    given: &str,
) -> Result<Versioned<DiscoveryService>, Fault> {
    id::parse(scope, "service", given)
        .and_then(|id| snapshot.get(&discovery_service_key(scope, &id)))
        .ok_or_else(|| faults::no_service(given))
}

/// The service of a namespace with this name.
pub(crate) fn by_name(
    snapshot: &Snapshot,
    namespace: &DiscoveryNamespace,
    name: &str,
) -> Option<Versioned<DiscoveryService>> {
    let scope = &namespace.scope;
    let name = name.to_ascii_lowercase();
    let parts = [scope.account.as_str(), scope.region.as_str(), &namespace.id, &name];
    snapshot.index(DISCOVERY_SERVICES_BY_NAME, &parts, None).next()
}

/// What DiscoverInstances asks for: the service, and the name of its namespace as it was given to it.
pub(crate) fn discover(
    snapshot: &Snapshot,
    scope: &Scope,
    namespace_name: &str,
    service_name: &str,
    owner_account: Option<&str>,
) -> Result<(String, Versioned<DiscoveryService>), Fault> {
    let mut namespaces = match owner_account {
        Some(owner) if owner != scope.account.as_str() => Vec::new(),
        _ => namespace::by_name(snapshot, scope, namespace_name),
    };
    if namespaces.is_empty() {
        return Err(faults::no_namespace(namespace_name));
    }
    // Private namespaces of several VPCs may share a name: the oldest that has the service.
    namespaces.sort_by_key(|namespace| namespace.created_at);
    let mut found = namespaces
        .iter()
        .filter_map(|namespace| Some((namespace.name.clone(), by_name(snapshot, namespace, service_name)?)));
    found.next().ok_or_else(|| faults::no_service(service_name))
}

/// The fault for a service that is there already.
pub(crate) fn already_exists(there: &DiscoveryService) -> Fault {
    let message = "Service already exists.";
    let details = ServiceAlreadyExists {
        creator_request_id: there.creator_request_id.clone(),
        message: Some(message.to_owned()),
        service_arn: Some(there.arn().to_string()),
        service_id: Some(there.id.clone()),
    };
    modelled::service_already_exists(message).with_details(details)
}

fn dns_config(service: &DiscoveryService) -> Option<DnsConfig> {
    let record = |(record_type, ttl): &(DiscoveryRecordType, u32)| DnsRecord {
        ttl: Some(i64::from(*ttl)),
        type_: Some(record_type.to_string()),
    };
    let policy = service.routing_policy?;
    Some(DnsConfig {
        dns_records: Some(service.records.iter().map(record).collect()),
        namespace_id: Some(service.namespace.clone()),
        routing_policy: Some(policy.to_string()),
    })
}

fn custom_config(service: &DiscoveryService) -> Option<HealthCheckCustomConfig> {
    service.custom_health.then_some(HealthCheckCustomConfig { failure_threshold: Some(1) })
}

/// What GetService shows.
pub(crate) fn describe(service: &DiscoveryService) -> wire_shapes::Service {
    let account = service.scope.account.to_string();
    wire_shapes::Service {
        arn: Some(service.arn().to_string()),
        create_date: Some(service.created_at),
        created_by_account: Some(account.clone()),
        creator_request_id: service.creator_request_id.clone(),
        description: service.description.clone(),
        dns_config: dns_config(service),
        health_check_config: None,
        health_check_custom_config: custom_config(service),
        id: Some(service.id.clone()),
        instance_count: i32::try_from(service.instance_count).ok(),
        name: Some(service.name.clone()),
        namespace_id: Some(service.namespace.clone()),
        resource_owner: Some(account),
        type_: Some(service.service_type.to_string()),
    }
}

/// What ListServices shows.
pub(crate) fn summarize(service: &DiscoveryService) -> wire_shapes::ServiceSummary {
    let account = service.scope.account.to_string();
    wire_shapes::ServiceSummary {
        arn: Some(service.arn().to_string()),
        create_date: Some(service.created_at),
        created_by_account: Some(account.clone()),
        description: service.description.clone(),
        dns_config: dns_config(service),
        health_check_config: None,
        health_check_custom_config: custom_config(service),
        id: Some(service.id.clone()),
        instance_count: i32::try_from(service.instance_count).ok(),
        name: Some(service.name.clone()),
        resource_owner: Some(account),
        type_: Some(service.service_type.to_string()),
    }
}

/// Refuses Route 53 health checks: nobody here looks at instances for AWS Cloud Map.
pub(crate) fn check_health_check(
    given: Option<&HealthCheckConfig>,
    has_custom: bool,
    namespace_type: DiscoveryNamespaceType,
) -> Result<(), Fault> {
    if given.is_none() {
        return Ok(());
    }
    if has_custom {
        return Err(faults::invalid(
            "You can specify either HealthCheckConfig or HealthCheckCustomConfig, but not both.",
        ));
    }
    if namespace_type == DiscoveryNamespaceType::DnsPrivate {
        return Err(faults::invalid(
            "HealthCheckConfig is not supported for services in private DNS namespaces.",
        ));
    }
    Err(faults::invalid("HealthCheckConfig is not supported by this release of Roadstead."))
}

/// Reads the record types and their times to live, and checks that they go together. Source: "DnsRecord" data type.
pub(crate) fn parse_records(given: Option<Vec<DnsRecord>>) -> Result<Vec<(DiscoveryRecordType, u32)>, Fault> {
    let mut records = Vec::new();
    let mut types = BTreeSet::new();
    for record in given.unwrap_or_default() {
        let word = record.type_.unwrap_or_default();
        let record_type: DiscoveryRecordType =
            word.parse().map_err(|_| faults::invalid(format!("{word} is no type of DNS record.")))?;
        let ttl = record.ttl.and_then(|ttl| u32::try_from(ttl).ok());
        let ttl = ttl.ok_or_else(|| faults::invalid("The TTL of a DNS record is out of range."))?;
        if !types.insert(record_type) {
            return Err(faults::invalid(format!("DnsRecords has the type {record_type} twice.")));
        }
        records.push((record_type, ttl));
    }
    if records.is_empty() {
        return Err(faults::invalid("DnsConfig must have at least one DNS record."));
    }
    if types.contains(&DiscoveryRecordType::Cname) && types.len() > 1 {
        return Err(faults::invalid("A CNAME record can't be combined with other types of DNS records."));
    }
    Ok(records)
}

/// Reads the routing policy of a service with these records.
pub(crate) fn parse_policy(
    given: Option<&str>,
    records: &[(DiscoveryRecordType, u32)],
) -> Result<DiscoveryRoutingPolicy, Fault> {
    let policy = match given {
        None => DiscoveryRoutingPolicy::Multivalue,
        Some(word) => word.parse().map_err(|_| faults::invalid(format!("{word} is no routing policy.")))?,
    };
    let is_cname = records.iter().any(|(record_type, _)| *record_type == DiscoveryRecordType::Cname);
    if is_cname && policy != DiscoveryRoutingPolicy::Weighted {
        return Err(faults::invalid("A service with a CNAME record must have the routing policy WEIGHTED."));
    }
    Ok(policy)
}
