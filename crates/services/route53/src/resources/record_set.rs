//! Record sets: read from a request, and described. The wordings of what is refused are Route 53's where users have reported
//! them.

use api::route53::{self as shapes, AliasTarget, GeoLocation, ResourceRecord};
use domain::{
    DnsName, FailoverRole, HostedZone, RecordSetContent, RecordType, RecordValue, ResourceRecordSet,
    RoutingPolicy,
};
use wire::Fault;

use super::zone;
use crate::faults;

/// Why a record set is refused.
pub(crate) enum Refusal {
    /// The request is no request: `InvalidInput` for all of it.
    Request(Fault),
    /// This change of a batch cannot be made: one of the messages of `InvalidChangeBatch`.
    Change(String),
}

fn change(message: impl Into<String>) -> Refusal {
    Refusal::Change(message.into())
}

fn request(message: impl Into<String>) -> Refusal {
    Refusal::Request(faults::invalid(message))
}

/// The record set of a change.
pub(crate) fn parse(
    zone: &HostedZone,
    action: &str,
    given: shapes::ResourceRecordSet,
) -> Result<ResourceRecordSet, Refusal> {
    let text = given.name.as_deref().unwrap_or_default();
    let type_text = given.type_.as_deref().unwrap_or_default();
    let place = format!(
        "in Change with [Action={action}, Name={text}, Type={type_text}, SetIdentifier={}]",
        given.set_identifier.as_deref().unwrap_or("null")
    );
    let record_type: RecordType = type_text
        .parse()
        .map_err(|_| Refusal::Request(faults::unsupported(&format!("The record type '{type_text}'"))))?;
    let name = DnsName::parse(text)
        .map_err(|error| change(format!("FATAL problem: {error} encountered with '{text}'")))?;
    if !name.is_within(&zone.name) {
        return Err(change(format!("RRSet with DNS name {name} is not permitted in zone {}", zone.name)));
    }
    for (is_given, field) in [
        (given.geo_proximity_location.is_some(), "GeoProximityLocation"),
        (given.cidr_routing_config.is_some(), "CidrRoutingConfig"),
        (given.traffic_policy_instance_id.is_some(), "TrafficPolicyInstanceId"),
    ] {
        if is_given {
            return Err(Refusal::Request(faults::unsupported(field)));
        }
    }
    let routing = routing(&given, &place)?;
    let content = content(zone, record_type, &given, &place)?;
    if matches!(routing, RoutingPolicy::MultiValue) && matches!(content, RecordSetContent::Alias { .. }) {
        return Err(request(format!(
            "Invalid request: AliasTarget and MultiValueAnswer exclude each other {place}"
        )));
    }
    Ok(ResourceRecordSet {
        hosted_zone: zone.id.clone(),
        name,
        record_type,
        set_identifier: given.set_identifier,
        routing,
        content,
        health_check: given.health_check_id,
    })
}

fn routing(given: &shapes::ResourceRecordSet, place: &str) -> Result<RoutingPolicy, Refusal> {
    const POLICIES: &str = "[Weight, Region, Failover, GeoLocation, GeoProximityLocation, CidrRoutingConfig, or \
        MultiValueAnswer]";
    let mut found = Vec::new();
    if let Some(weight) = given.weight {
        found.push(RoutingPolicy::Weighted(u8::try_from(weight).unwrap_or(u8::MAX)));
    }
    if let Some(region) = &given.region {
        let region = region.parse().map_err(|_| request(format!("Invalid Region '{region}' {place}")))?;
        found.push(RoutingPolicy::Latency(region));
    }
    if let Some(role) = &given.failover {
        let role: FailoverRole =
            role.parse().map_err(|_| request(format!("Invalid Failover '{role}' {place}")))?;
        found.push(RoutingPolicy::Failover(role));
    }
    if let Some(GeoLocation { continent_code, country_code, subdivision_code }) = given.geo_location.clone() {
        if continent_code.is_some() == country_code.is_some() {
            return Err(request(format!(
                "Invalid request: Expected exactly one of [ContinentCode, or CountryCode] {place}"
            )));
        }
        found.push(RoutingPolicy::Geolocation {
            continent: continent_code,
            country: country_code,
            subdivision: subdivision_code,
        });
    }
    if given.multi_value_answer == Some(true) {
        found.push(RoutingPolicy::MultiValue);
    }
    match (found.len(), given.set_identifier.is_some()) {
        (0, false) => Ok(RoutingPolicy::Simple),
        (0, true) => Err(request(format!(
            "Invalid request: Expected exactly one of {POLICIES}, but found none {place}"
        ))),
        (1, true) => Ok(found.remove(0)),
        (1, false) => Err(request(format!("Invalid request: Missing field 'SetIdentifier' {place}"))),
        _ => Err(request(format!(
            "Invalid request: Expected exactly one of {POLICIES}, but found more than one {place}"
        ))),
    }
}

fn content(
    zone: &HostedZone,
    record_type: RecordType,
    given: &shapes::ResourceRecordSet,
    place: &str,
) -> Result<RecordSetContent, Refusal> {
    const ONE_OF: &str = "[AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId]";
    match (&given.alias_target, given.ttl, &given.resource_records) {
        (Some(target), None, None) => alias(zone, record_type, target),
        (None, Some(ttl), Some(records)) => {
            let values = values(record_type, records)?;
            Ok(RecordSetContent::Records { ttl_seconds: u32::try_from(ttl).unwrap_or_default(), values })
        }
        (None, None, None) => {
            Err(request(format!("Invalid request: Expected exactly one of {ONE_OF}, but found none {place}")))
        }
        (None, None, Some(_)) => Err(request(format!("Invalid request: Missing field 'TTL' {place}"))),
        (None, Some(_), None) => {
            Err(request(format!("Invalid request: Missing field 'ResourceRecords' {place}")))
        }
        (Some(_), ..) => Err(request(format!(
            "Invalid request: Expected exactly one of {ONE_OF}, but found more than one {place}"
        ))),
    }
}

fn values(record_type: RecordType, records: &[ResourceRecord]) -> Result<Vec<String>, Refusal> {
    let mut values: Vec<String> = Vec::new();
    for record in records {
        let value = record.value.clone().unwrap_or_default();
        RecordValue::parse(record_type, &value)
            .map_err(|error| change(format!("Invalid Resource Record: 'FATAL problem: {error}'")))?;
        if values.contains(&value) {
            return Err(change(format!("Duplicate Resource Record: '{value}'")));
        }
        values.push(value);
    }
    if matches!(record_type, RecordType::Cname | RecordType::Soa) && values.len() > 1 {
        return Err(change(format!(
            "Number of records limit of 1 exceeded for a record of type {record_type}."
        )));
    }
    Ok(values)
}

fn alias(
    zone: &HostedZone,
    record_type: RecordType,
    target: &AliasTarget,
) -> Result<RecordSetContent, Refusal> {
    let text = target.dns_name.as_deref().unwrap_or_default();
    let name = DnsName::parse(text)
        .map_err(|error| change(format!("FATAL problem: {error} encountered with '{text}'")))?;
    if matches!(record_type, RecordType::Ns | RecordType::Soa) {
        return Err(change(format!(
            "Alias records of type {record_type} are not permitted in zone {}",
            zone.name
        )));
    }
    let hosted_zone = zone::bare(target.hosted_zone_id.as_deref().unwrap_or_default()).to_owned();
    let evaluate_target_health = target.evaluate_target_health.unwrap_or_default();
    Ok(RecordSetContent::Alias { hosted_zone, name, evaluate_target_health })
}

/// How a record set is called in messages.
pub(crate) fn title(set: &ResourceRecordSet) -> String {
    let identifier =
        set.set_identifier.as_ref().map(|id| format!(", set-identifier='{id}'")).unwrap_or_default();
    format!("[name='{}', type='{}'{identifier}]", set.name, set.record_type)
}

/// The wire form.
pub(crate) fn describe(set: &ResourceRecordSet) -> shapes::ResourceRecordSet {
    let mut shape = shapes::ResourceRecordSet {
        name: Some(set.name.to_string()),
        type_: Some(set.record_type.to_string()),
        set_identifier: set.set_identifier.clone(),
        health_check_id: set.health_check.clone(),
        ..shapes::ResourceRecordSet::default()
    };
    match &set.routing {
        RoutingPolicy::Simple => {}
        RoutingPolicy::Weighted(weight) => shape.weight = Some(i64::from(*weight)),
        RoutingPolicy::Failover(role) => shape.failover = Some(role.to_string()),
        RoutingPolicy::MultiValue => shape.multi_value_answer = Some(true),
        RoutingPolicy::Latency(region) => shape.region = Some(region.to_string()),
        RoutingPolicy::Geolocation { continent, country, subdivision } => {
            shape.geo_location = Some(GeoLocation {
                continent_code: continent.clone(),
                country_code: country.clone(),
                subdivision_code: subdivision.clone(),
            });
        }
    }
    match &set.content {
        RecordSetContent::Records { ttl_seconds, values } => {
            let record = |value: &String| ResourceRecord { value: Some(value.clone()) };
            shape.ttl = Some(i64::from(*ttl_seconds));
            shape.resource_records = Some(values.iter().map(record).collect());
        }
        RecordSetContent::Alias { hosted_zone, name, evaluate_target_health } => {
            shape.alias_target = Some(AliasTarget {
                dns_name: Some(name.to_string()),
                evaluate_target_health: Some(*evaluate_target_health),
                hosted_zone_id: Some(hosted_zone.clone()),
            });
        }
    }
    shape
}
