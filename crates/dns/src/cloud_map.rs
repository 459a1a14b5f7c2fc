//! Names of Cloud Map's services and instances: `SERVICE.NAMESPACE`, and `INSTANCE.SERVICE.NAMESPACE` for the targets of SRV
//! records. Source: "Registering an instance" and "Service configuration", AWS Cloud Map developer guide.

use domain::{
    DiscoveryAnswer, DiscoveryInstance, DiscoveryNamespace, DiscoveryRecordType, DiscoveryRoutingPolicy,
    DiscoveryService, DnsName, RecordType, RecordValue, RoutingPolicy,
};
use store::rows_service_discovery::{DISCOVERY_SERVICES_BY_NAME, discovery_instance_key};
use store::{Key, Versioned};

use crate::look_up::{Lookup, View};
use crate::{system, zone};

/// Seconds for which an instance's own name may be kept where its service's records do not say.
const INSTANCE_TTL_SECONDS: u32 = 60;

/// What a namespace says about a name in its zone.
pub(crate) enum Found {
    /// These.
    Records(Lookup),
    /// There is such a name, without such records.
    NoRecords,
    /// There is no such name.
    NoSuchName,
}

impl From<Option<Lookup>> for Found {
    fn from(found: Option<Lookup>) -> Self {
        found.map_or(Self::NoRecords, Self::Records)
    }
}

/// What a namespace says about a name in its zone.
pub(crate) fn look_up(
    view: &View,
    namespace: &DiscoveryNamespace,
    zone: &DnsName,
    name: &DnsName,
    record_type: Option<RecordType>,
) -> Found {
    let relative = name.as_str().strip_suffix(zone.as_str()).and_then(|name| name.strip_suffix('.'));
    let Some(relative) = relative else { return Found::NoSuchName };
    if let Some(service) = service(view, namespace, relative) {
        return record_type.and_then(|record_type| of_service(view, &service, name, record_type)).into();
    }
    // INSTANCE.SERVICE: both may have dots.
    for (dot, _) in relative.match_indices('.') {
        if let Some(service) = service(view, namespace, &relative[dot + 1..])
            && let Some(instance) = instance(view, &service, &relative[..dot])
        {
            return record_type.and_then(|record_type| of_instance(&service, &instance, record_type)).into();
        }
    }
    // A name between the zone and a service with a dot in its name, such as `_tcp` of `_web._tcp`.
    let (account, region) = (namespace.scope.account.as_str(), namespace.scope.region.as_str());
    let parts = [account, region, namespace.id.as_str()];
    let between = format!(".{relative}");
    let mut services = view.snapshot.index::<DiscoveryService>(DISCOVERY_SERVICES_BY_NAME, &parts, None);
    if services.any(|service| service.name.to_ascii_lowercase().ends_with(&between)) {
        Found::NoRecords
    } else {
        Found::NoSuchName
    }
}

fn service(view: &View, namespace: &DiscoveryNamespace, name: &str) -> Option<Versioned<DiscoveryService>> {
    let (account, region) = (namespace.scope.account.as_str(), namespace.scope.region.as_str());
    let parts = [account, region, namespace.id.as_str(), name];
    let mut found = view.snapshot.index::<DiscoveryService>(DISCOVERY_SERVICES_BY_NAME, &parts, None);
    found.find(|service| !service.records.is_empty())
}

fn instance(view: &View, service: &DiscoveryService, id: &str) -> Option<Versioned<DiscoveryInstance>> {
    let key = discovery_instance_key(&service.scope, &service.id, id);
    view.snapshot.get(&key).or_else(|| {
        // Ids have capitals, names have not.
        instances(view, service).find(|instance| {
            DnsName::parse(&instance.id).is_ok_and(|own| own.as_str().strip_suffix('.') == Some(id))
        })
    })
}

fn instances<'a>(
    view: &'a View,
    service: &DiscoveryService,
) -> impl Iterator<Item = Versioned<DiscoveryInstance>> + 'a {
    view.snapshot.scan::<DiscoveryInstance>(Key::prefix(&service.scope, &[&service.id]), None)
}

/// AWS's record type for one of DNS's.
fn discovery_type(record_type: RecordType) -> Option<DiscoveryRecordType> {
    match record_type {
        RecordType::A => Some(DiscoveryRecordType::A),
        RecordType::Aaaa => Some(DiscoveryRecordType::Aaaa),
        RecordType::Srv => Some(DiscoveryRecordType::Srv),
        RecordType::Cname => Some(DiscoveryRecordType::Cname),
        _ => None,
    }
}

fn of_service(
    view: &View,
    service: &DiscoveryService,
    name: &DnsName,
    record_type: RecordType,
) -> Option<Lookup> {
    let rows: Vec<_> = instances(view, service).collect();
    let routing = match service.routing_policy {
        Some(DiscoveryRoutingPolicy::Weighted) => RoutingPolicy::Weighted(1),
        _ => RoutingPolicy::MultiValue,
    };
    let answers = |wanted| {
        let answers = service.answers(rows.iter().map(|row| &*row.value), wanted);
        (
            service.ttl_seconds(wanted).unwrap_or(INSTANCE_TTL_SECONDS),
            zone::cut(answers, &routing, view.chance),
        )
    };
    let cname = || {
        let (ttl, answers) = answers(DiscoveryRecordType::Cname);
        answers.into_iter().find_map(|answer| match answer {
            DiscoveryAnswer::Cname(target) => Some(Lookup::Cname(ttl, DnsName::parse(&target).ok()?)),
            _ => None,
        })
    };
    let Some(wanted) = discovery_type(record_type) else { return cname() };
    let (ttl, answers) = answers(wanted);
    let mut records = Vec::new();
    for answer in answers {
        match answer {
            DiscoveryAnswer::Ipv4(address) => records.push((ttl, RecordValue::A(address))),
            DiscoveryAnswer::Ipv6(address) => records.push((ttl, RecordValue::Aaaa(address))),
            DiscoveryAnswer::Srv(port, instance) => {
                // What Cloud Map makes: priority 1, weight 1.
                if let Ok(target) = DnsName::parse(&format!("{instance}.{name}")) {
                    records.push((ttl, RecordValue::Srv { priority: 1, weight: 1, port, target }));
                }
            }
            DiscoveryAnswer::Cname(target) => {
                if let Ok(target) = DnsName::parse(&target) {
                    records.push((ttl, RecordValue::Name(target)));
                }
            }
            DiscoveryAnswer::Alias(target) => {
                let target = DnsName::parse(&target).ok();
                let found = target.and_then(|target| system::load_balancer(view, &target, Some(record_type)));
                if let Some(Lookup::Records(more)) = found {
                    records.extend(more);
                }
            }
        }
    }
    if records.is_empty() { cname() } else { Some(Lookup::Records(records)) }
}

fn of_instance(
    service: &DiscoveryService,
    instance: &DiscoveryInstance,
    record_type: RecordType,
) -> Option<Lookup> {
    let wanted = discovery_type(record_type)?;
    let ttl = [wanted, DiscoveryRecordType::Srv].into_iter().find_map(|made| service.ttl_seconds(made));
    let ttl = ttl.unwrap_or(INSTANCE_TTL_SECONDS);
    let value = match instance.address(wanted)? {
        DiscoveryAnswer::Ipv4(address) => RecordValue::A(address),
        DiscoveryAnswer::Ipv6(address) => RecordValue::Aaaa(address),
        _ => return None,
    };
    Some(Lookup::Records(vec![(ttl, value)]))
}
