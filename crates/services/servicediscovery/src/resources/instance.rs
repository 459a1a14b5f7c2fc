//! Instances: found, described, and what their attributes must be.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use api::servicediscovery as wire_shapes;
use base::Scope;
use domain::{
    AWS_ALIAS_DNS_NAME, AWS_EC2_INSTANCE_ID, AWS_INIT_HEALTH_STATUS, AWS_INSTANCE_CNAME, AWS_INSTANCE_IPV4,
    AWS_INSTANCE_IPV6, AWS_INSTANCE_PORT, DiscoveryInstance, DiscoveryRecordType, DiscoveryRoutingPolicy,
    DiscoveryService,
};
use store::rows_service_discovery::discovery_instance_key;
use store::{Key, Snapshot, Versioned};
use wire::Fault;

use crate::faults;

/// Attributes of an instance. Source: "AWS Cloud Map service quotas".
const ATTRIBUTES_MAXIMUM: usize = 30;
/// Bytes of all keys and values of an instance. Source: the same.
const ATTRIBUTES_BYTES: usize = 5_000;

/// The instance of a service.
pub(crate) fn get(
    snapshot: &Snapshot,
    service: &DiscoveryService,
    instance: &str,
) -> Result<Versioned<DiscoveryInstance>, Fault> {
    snapshot
        .get(&discovery_instance_key(&service.scope, &service.id, instance))
        .ok_or_else(|| faults::no_instance(instance))
}

/// All instances of a service, in the order of their ids, from behind `after` on.
pub(crate) fn of_service<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    service: &str,
    after: Option<&str>,
) -> impl Iterator<Item = Versioned<DiscoveryInstance>> + use<'a> {
    let after = after.map(|id| discovery_instance_key(scope, service, id));
    snapshot.scan(Key::prefix(scope, &[service]), after.as_ref())
}

/// HEALTHY, UNHEALTHY, or UNKNOWN where the service has no health check.
pub(crate) fn health(service: &DiscoveryService, instance: &DiscoveryInstance) -> &'static str {
    match (service.custom_health, instance.is_healthy()) {
        (false, _) => "UNKNOWN",
        (true, true) => "HEALTHY",
        (true, false) => "UNHEALTHY",
    }
}

/// What ListInstances shows.
pub(crate) fn summarize(instance: &DiscoveryInstance) -> wire_shapes::InstanceSummary {
    wire_shapes::InstanceSummary {
        attributes: Some(instance.attributes.clone()),
        created_by_account: Some(instance.scope.account.to_string()),
        id: Some(instance.id.clone()),
    }
}

/// Checks the attributes that an instance of `service` is registered with. Source: RegisterInstance, `Attributes`.
pub(crate) fn check(service: &DiscoveryService, attributes: &BTreeMap<String, String>) -> Result<(), Fault> {
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if attributes.len() > ATTRIBUTES_MAXIMUM || bytes > ATTRIBUTES_BYTES {
        return Err(faults::invalid(format!(
            "An instance can have at most {ATTRIBUTES_MAXIMUM} attributes of {ATTRIBUTES_BYTES} characters in all."
        )));
    }
    let of = |name: &str| attributes.get(name).map(String::as_str);
    check_values(of)?;
    match of(AWS_INIT_HEALTH_STATUS) {
        Some(_) if !service.custom_health => {
            return Err(faults::invalid(
                "AWS_INIT_HEALTH_STATUS needs a service with HealthCheckCustomConfig.",
            ));
        }
        None | Some("HEALTHY" | "UNHEALTHY") => {}
        Some(word) => {
            return Err(faults::invalid(format!("AWS_INIT_HEALTH_STATUS can't be {word}.")));
        }
    }
    if of(AWS_ALIAS_DNS_NAME).is_some() { check_alias(service, of) } else { check_records(service, of) }
}

/// Whether the instance with these attributes starts healthy, where its service has custom health.
pub(crate) fn initial_health(
    service: &DiscoveryService,
    attributes: &BTreeMap<String, String>,
) -> Option<bool> {
    let status = attributes.get(AWS_INIT_HEALTH_STATUS).map(String::as_str);
    service.custom_health.then_some(status != Some("UNHEALTHY"))
}

fn check_values<'a>(of: impl Fn(&str) -> Option<&'a str>) -> Result<(), Fault> {
    let wrong = |name: &str, value: &str| faults::invalid(format!("{name} can't have the value {value}."));
    if let Some(value) = of(AWS_INSTANCE_IPV4).filter(|value| value.parse::<Ipv4Addr>().is_err()) {
        return Err(wrong(AWS_INSTANCE_IPV4, value));
    }
    if let Some(value) = of(AWS_INSTANCE_IPV6).filter(|value| value.parse::<Ipv6Addr>().is_err()) {
        return Err(wrong(AWS_INSTANCE_IPV6, value));
    }
    if let Some(value) = of(AWS_INSTANCE_PORT).filter(|value| value.parse::<u16>().is_err()) {
        return Err(wrong(AWS_INSTANCE_PORT, value));
    }
    match of(AWS_EC2_INSTANCE_ID) {
        Some(id) => Err(faults::invalid(format!(
            "AWS_EC2_INSTANCE_ID is not supported by this release of Roadstead: the address of {id} is to be given as \
             AWS_INSTANCE_IPV4."
        ))),
        None => Ok(()),
    }
}

/// An alias answers in place of A and AAAA records.
fn check_alias<'a>(service: &DiscoveryService, of: impl Fn(&str) -> Option<&'a str>) -> Result<(), Fault> {
    let others = [AWS_INSTANCE_IPV4, AWS_INSTANCE_IPV6, AWS_INSTANCE_CNAME, AWS_INSTANCE_PORT];
    if others.into_iter().any(|name| of(name).is_some()) {
        return Err(faults::invalid(
            "If you specify AWS_ALIAS_DNS_NAME, don't specify values for any of the AWS_INSTANCE attributes.",
        ));
    }
    let addresses = [DiscoveryRecordType::A, DiscoveryRecordType::Aaaa];
    let fits = service.routing_policy == Some(DiscoveryRoutingPolicy::Weighted)
        && service.records.iter().all(|(record_type, _)| addresses.contains(record_type));
    if fits {
        Ok(())
    } else {
        Err(faults::invalid(
            "AWS_ALIAS_DNS_NAME needs a service with the routing policy WEIGHTED and A or AAAA records.",
        ))
    }
}

/// Every record of the service needs its attributes.
fn check_records<'a>(service: &DiscoveryService, of: impl Fn(&str) -> Option<&'a str>) -> Result<(), Fault> {
    for (record_type, _) in &service.records {
        let missing = match record_type {
            DiscoveryRecordType::A => of(AWS_INSTANCE_IPV4).is_none().then_some(AWS_INSTANCE_IPV4),
            DiscoveryRecordType::Aaaa => of(AWS_INSTANCE_IPV6).is_none().then_some(AWS_INSTANCE_IPV6),
            DiscoveryRecordType::Cname => of(AWS_INSTANCE_CNAME).is_none().then_some(AWS_INSTANCE_CNAME),
            DiscoveryRecordType::Srv if of(AWS_INSTANCE_PORT).is_none() => Some(AWS_INSTANCE_PORT),
            DiscoveryRecordType::Srv => (of(AWS_INSTANCE_IPV4).is_none() && of(AWS_INSTANCE_IPV6).is_none())
                .then_some("AWS_INSTANCE_IPV4 or AWS_INSTANCE_IPV6"),
        };
        if let Some(missing) = missing {
            return Err(faults::invalid(format!(
                "The service has a DNS record of the type {record_type}: {missing} must be specified."
            )));
        }
    }
    Ok(())
}
