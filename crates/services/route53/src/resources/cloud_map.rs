//! Record sets that Cloud Map's instances make in the zone of their namespace: told with the zone's own, and stored nowhere.
//! Source: "DnsConfig" and "RegisterInstance", AWS Cloud Map API reference.

use domain::{
    DiscoveryAnswer, DiscoveryInstance, DiscoveryNamespace, DiscoveryRecordType, DiscoveryRoutingPolicy,
    DiscoveryService, DnsName, HostedZone, RecordSetContent, RecordType, ResourceRecordSet, RoutingPolicy,
};
use store::rows_service_discovery::{DISCOVERY_SERVICES_BY_NAME, NAMESPACES_BY_HOSTED_ZONE};
use store::{Key, Snapshot};

/// The record sets of a zone's Cloud Map services.
pub(crate) fn record_sets(snapshot: &Snapshot, zone: &HostedZone) -> Vec<ResourceRecordSet> {
    let found = snapshot.index::<DiscoveryNamespace>(NAMESPACES_BY_HOSTED_ZONE, &[&zone.id], None).next();
    let Some(namespace) = found else { return Vec::new() };
    let (account, region) = (namespace.scope.account.as_str(), namespace.scope.region.as_str());
    let parts = [account, region, namespace.id.as_str()];
    let services = snapshot.index::<DiscoveryService>(DISCOVERY_SERVICES_BY_NAME, &parts, None);
    services.flat_map(|service| of_service(snapshot, zone, &service)).collect()
}

fn of_service(snapshot: &Snapshot, zone: &HostedZone, service: &DiscoveryService) -> Vec<ResourceRecordSet> {
    let Ok(name) = DnsName::parse(&format!("{}.{}", service.name, zone.name)) else { return Vec::new() };
    let prefix = Key::prefix(&service.scope, &[&service.id]);
    let mut sets = Vec::new();
    for instance in snapshot.scan::<DiscoveryInstance>(prefix, None) {
        for (discovery_type, ttl_seconds) in &service.records {
            let Some(answer) = service.answer(&instance, *discovery_type) else { continue };
            let content = match &answer {
                DiscoveryAnswer::Alias(target) => match DnsName::parse(target) {
                    Ok(target) => RecordSetContent::Alias {
                        hosted_zone: String::new(),
                        name: target,
                        evaluate_target_health: true,
                    },
                    Err(_) => continue,
                },
                answer => {
                    RecordSetContent::Records { ttl_seconds: *ttl_seconds, values: vec![text(answer, &name)] }
                }
            };
            sets.push(ResourceRecordSet {
                hosted_zone: zone.id.clone(),
                name: name.clone(),
                record_type: record_type(*discovery_type),
                set_identifier: Some(instance.id.clone()),
                routing: match service.routing_policy {
                    Some(DiscoveryRoutingPolicy::Weighted) => RoutingPolicy::Weighted(1),
                    _ => RoutingPolicy::MultiValue,
                },
                content,
                health_check: None,
            });
        }
    }
    sets
}

fn text(answer: &DiscoveryAnswer, name: &DnsName) -> String {
    match answer {
        DiscoveryAnswer::Ipv4(address) => address.to_string(),
        DiscoveryAnswer::Ipv6(address) => address.to_string(),
        DiscoveryAnswer::Srv(port, instance) => {
            format!("1 1 {port} {instance}.{}", name.as_str().trim_end_matches('.'))
        }
        DiscoveryAnswer::Cname(target) | DiscoveryAnswer::Alias(target) => target.clone(),
    }
}

const fn record_type(record_type: DiscoveryRecordType) -> RecordType {
    match record_type {
        DiscoveryRecordType::Srv => RecordType::Srv,
        DiscoveryRecordType::A => RecordType::A,
        DiscoveryRecordType::Aaaa => RecordType::Aaaa,
        DiscoveryRecordType::Cname => RecordType::Cname,
    }
}
