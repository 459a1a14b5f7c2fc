//! Health checks: read from a request, found, described.

use api::route53::{self as shapes, HealthCheckConfig};
use base::Timestamp;
use domain::{HealthCheck, HealthCheckType};
use store::rows_dns::health_check_key;
use store::{Snapshot, Versioned};
use wire::{Call, Fault};

use super::zone;
use crate::faults;

/// Health checks of one account. Source: "Quotas", Amazon Route 53 developer guide.
pub(crate) const HEALTH_CHECKS_MAXIMUM: usize = 200;
/// Seconds between looks where the caller does not say. Source: "HealthCheckConfig", `RequestInterval`.
const INTERVAL_SECONDS: i32 = 30;
/// The other interval. Source: the same.
const FAST_INTERVAL_SECONDS: i32 = 10;
/// Looks in a row where the caller does not say. Source: the same, `FailureThreshold`.
const FAILURE_THRESHOLD: i32 = 3;

/// The ARN of a health check, for permissions.
pub(crate) fn arn(id: Option<&str>) -> String {
    format!("arn:aws:route53:::healthcheck/{}", zone::bare(id.unwrap_or("*")))
}

/// The caller's health check with this id.
pub(crate) fn find(snapshot: &Snapshot, call: &Call, id: &str) -> Result<Versioned<HealthCheck>, Fault> {
    let found = snapshot.get::<HealthCheck>(&health_check_key(zone::bare(id)));
    found.filter(|check| check.account == call.scope.account).ok_or_else(|| faults::no_health_check(id))
}

/// The caller's health checks, by id.
pub(crate) fn all(snapshot: &Snapshot, call: &Call) -> Vec<Versioned<HealthCheck>> {
    let account = &call.scope.account;
    let rows = snapshot.scan::<HealthCheck>(store::Prefix::everything(), None);
    rows.filter(|check| check.account == *account).collect()
}

/// A health check of what a request says; its identity is the caller's to fill in.
pub(crate) fn parse(call: &Call, given: &HealthCheckConfig) -> Result<HealthCheck, Fault> {
    let type_text = given.type_.as_deref().unwrap_or_default();
    let check_type: HealthCheckType = type_text
        .parse()
        .map_err(|_| faults::unsupported(&format!("The health check type '{type_text}'")))?;
    for (is_given, field) in [
        (given.alarm_identifier.is_some(), "AlarmIdentifier"),
        (given.insufficient_data_health_status.is_some(), "InsufficientDataHealthStatus"),
        (given.routing_control_arn.is_some(), "RoutingControlArn"),
    ] {
        if is_given {
            return Err(faults::unsupported(field));
        }
    }
    let is_calculated = check_type == HealthCheckType::Calculated;
    let or_default = |given: Option<i32>, default: i32| {
        (!is_calculated).then(|| given.unwrap_or(default)).and_then(|value| u32::try_from(value).ok())
    };
    let address = given.ip_address.as_deref().map(str::parse).transpose();
    let check = HealthCheck {
        account: call.scope.account.clone(),
        id: String::new(),
        caller_reference: String::new(),
        version: 1,
        check_type,
        address: address.map_err(|_| faults::invalid("The specified IP address is not valid."))?,
        port: given.port.and_then(|port| u16::try_from(port).ok()).or(default_port(check_type)),
        resource_path: given.resource_path.clone(),
        domain_name: given.fully_qualified_domain_name.clone(),
        search_string: given.search_string.clone(),
        request_interval_seconds: or_default(given.request_interval, INTERVAL_SECONDS),
        failure_threshold: or_default(given.failure_threshold, FAILURE_THRESHOLD),
        measure_latency: given.measure_latency.or((!is_calculated).then_some(false)),
        inverted: Some(given.inverted.unwrap_or_default()),
        disabled: Some(given.disabled.unwrap_or_default()),
        health_threshold: given.health_threshold.and_then(|threshold| u32::try_from(threshold).ok()),
        children: given.child_health_checks.clone().unwrap_or_default(),
        enable_sni: given.enable_sni.or(is_over_tls(check_type).then_some(true)),
        regions: given.regions.clone().unwrap_or_default(),
        created_at: call.now,
        tags: Vec::new(),
    };
    check_fields(&check)?;
    Ok(check)
}

/// What fields of a health check must be there, and which must not. Source: "HealthCheckConfig" data type.
pub(crate) fn check_fields(check: &HealthCheck) -> Result<(), Fault> {
    let refuse = |message: String| Err(faults::invalid(message));
    let check_type = check.check_type;
    if check_type == HealthCheckType::Calculated {
        if check.health_threshold.is_none() {
            return refuse("HealthThreshold is required for a CALCULATED health check.".to_owned());
        }
        let is_endpoint = check.address.is_some() || check.port.is_some() || check.domain_name.is_some();
        if is_endpoint || check.resource_path.is_some() || check.search_string.is_some() {
            return refuse("A CALCULATED health check has no endpoint.".to_owned());
        }
        return Ok(());
    }
    if check.health_threshold.is_some() || !check.children.is_empty() {
        return refuse(format!("HealthThreshold and ChildHealthChecks are not allowed for {check_type}."));
    }
    if check.address.is_none() && check.domain_name.is_none() {
        return refuse("Either IPAddress or FullyQualifiedDomainName must be specified.".to_owned());
    }
    let interval = check.request_interval_seconds.and_then(|seconds| i32::try_from(seconds).ok());
    if !matches!(interval, Some(INTERVAL_SECONDS | FAST_INTERVAL_SECONDS)) {
        return refuse("RequestInterval must be 10 or 30.".to_owned());
    }
    if check.port.is_none() {
        return refuse("Port is required for a TCP health check.".to_owned());
    }
    let is_match = matches!(check_type, HealthCheckType::HttpStrMatch | HealthCheckType::HttpsStrMatch);
    if is_match != check.search_string.as_ref().is_some_and(|text| !text.is_empty()) {
        return refuse(format!("SearchString is required for a match and only there, not for {check_type}."));
    }
    if check_type == HealthCheckType::Tcp && check.resource_path.is_some() {
        return refuse("ResourcePath is not allowed for a TCP health check.".to_owned());
    }
    Ok(())
}

/// Children are health checks of the account that are not calculated themselves.
pub(crate) fn check_children(snapshot: &Snapshot, call: &Call, check: &HealthCheck) -> Result<(), Fault> {
    for child in &check.children {
        let found = find(snapshot, call, child)
            .map_err(|_| faults::invalid(format!("The child health check {child} does not exist.")))?;
        if found.check_type == HealthCheckType::Calculated {
            return Err(faults::invalid("A CALCULATED health check cannot be a child health check."));
        }
    }
    Ok(())
}

const fn is_over_tls(check_type: HealthCheckType) -> bool {
    matches!(check_type, HealthCheckType::Https | HealthCheckType::HttpsStrMatch)
}

const fn default_port(check_type: HealthCheckType) -> Option<u16> {
    match check_type {
        HealthCheckType::Http | HealthCheckType::HttpStrMatch => Some(80),
        HealthCheckType::Https | HealthCheckType::HttpsStrMatch => Some(443),
        HealthCheckType::Tcp | HealthCheckType::Calculated => None,
    }
}

/// Whether two say the same, whoever made them when.
pub(crate) fn is_same(one: &HealthCheck, other: &HealthCheck) -> bool {
    let plain = |check: &HealthCheck| HealthCheck {
        id: String::new(),
        caller_reference: String::new(),
        version: 1,
        created_at: Timestamp::from_millis(0),
        tags: Vec::new(),
        ..check.clone()
    };
    plain(one) == plain(other)
}

/// The wire form.
pub(crate) fn describe(check: &HealthCheck) -> shapes::HealthCheck {
    let number = |value: Option<u32>| value.and_then(|value| i32::try_from(value).ok());
    let list = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
    shapes::HealthCheck {
        caller_reference: Some(check.caller_reference.clone()),
        cloud_watch_alarm_configuration: None,
        health_check_config: Some(HealthCheckConfig {
            alarm_identifier: None,
            child_health_checks: list(&check.children),
            disabled: check.disabled,
            enable_sni: check.enable_sni,
            failure_threshold: number(check.failure_threshold),
            fully_qualified_domain_name: check.domain_name.clone(),
            health_threshold: number(check.health_threshold),
            ip_address: check.address.map(|address| address.to_string()),
            insufficient_data_health_status: None,
            inverted: check.inverted,
            measure_latency: check.measure_latency,
            port: check.port.map(i32::from),
            regions: list(&check.regions),
            request_interval: number(check.request_interval_seconds),
            resource_path: check.resource_path.clone(),
            routing_control_arn: None,
            search_string: check.search_string.clone(),
            type_: Some(check.check_type.to_string()),
        }),
        health_check_version: i64::try_from(check.version).ok(),
        id: Some(check.id.clone()),
        linked_service: None,
    }
}
