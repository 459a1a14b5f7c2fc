//! Gateways and their associations with clusters.
//!
//! As AWS says of it, a gateway is ACTIVE as soon as it is made, and its load balancers are made when the first service of
//! an associated cluster uses it. Here they get none, and services that would use one are refused, so a
//! gateway has none (`currentAlbCount` 0), and no routes; `statusReason` says so. A change has nothing to be carried to and
//! is complete at once, as it is there for a gateway that no service uses.
//!
//! The wording of what is refused is ours: no public source shows AWS's. So are the limits of names (those of other
//! nouns), of `maxAlbCount` and of the test traffic header.

use api::ecs as shape;
use api::ecs::faults as modelled;
use base::Scope;
use domain::{Gateway, GatewayClusterAssociation, GatewayClusterAssociationStatus};
use store::rows_gateway::{gateway_association_key, gateway_key};
use store::{Key, Snapshot, Versioned};
use wire::{Call, Fault};

use super::{identifier, tag};
use crate::faults::invalid;
use crate::launch;

/// The port of a gateway's listeners. Source: HostSharedAlbConfiguration, `port`.
const PORT: i32 = 443;
/// Load balancers of a gateway where the caller does not say. Source: HostSharedAlbConfiguration, `maxAlbCount`.
const ALBS_DEFAULT: i32 = 10;
/// Load balancers of a gateway at most: as many as DescribeGatewayResources can show. Source: the model.
const ALBS_MAXIMUM: i32 = 20;
/// Subnets of a load balancer. Ours: one in each zone of the largest region.
const SUBNETS: usize = 6;
/// Values of the test traffic header. Source: "Quotas for your Application Load Balancers" (values per rule).
const HEADER_VALUES: usize = 5;
/// Characters of an HTTP header condition's name and value. Source: Elastic Load Balancing, "Condition types".
const HEADER_NAME_CHARACTERS: usize = 40;
const HEADER_VALUE_CHARACTERS: usize = 128;
/// What a gateway says of itself.
const WITHOUT_LOAD_BALANCERS: &str =
    "This release of Roadstead gives gateways no load balancers: services cannot use the gateway.";

/// Reads a gateway's name or ARN.
pub fn name(call: &Call, text: Option<&str>) -> Result<String, Fault> {
    let text = text.unwrap_or_default();
    let name =
        if text.starts_with("arn:") { identifier::own_arn(call, text, "gateway")? } else { text.to_owned() };
    if identifier::is_name(&name) {
        Ok(name)
    } else {
        Err(invalid(
            "The gateway name can have 1 to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens.",
        ))
    }
}

/// The ARN that permissions are asked for.
pub fn arn_for_permission(call: &Call, text: Option<&str>) -> String {
    match name(call, text) {
        Ok(name) => Gateway::arn_of(&call.scope, &name).to_string(),
        Err(_) => "*".to_owned(),
    }
}

/// The gateway.
pub fn get(snapshot: &Snapshot, scope: &Scope, name: &str) -> Result<Versioned<Gateway>, Fault> {
    snapshot
        .get::<Gateway>(&gateway_key(scope, name))
        .ok_or_else(|| modelled::gateway_not_found_exception("Gateway not found."))
}

/// The association of a gateway with a cluster.
pub fn association(
    snapshot: &Snapshot,
    scope: &Scope,
    gateway: &str,
    cluster: &str,
) -> Option<Versioned<GatewayClusterAssociation>> {
    snapshot.get(&gateway_association_key(scope, gateway, cluster))
}

/// Whether clusters are associated with a gateway.
pub fn has_associations(snapshot: &Snapshot, scope: &Scope, gateway: &str) -> bool {
    snapshot
        .scan::<GatewayClusterAssociation>(Key::prefix(scope, &[gateway]), None)
        .any(|association| association.status != GatewayClusterAssociationStatus::Inactive)
}

/// Checks `propagateTags`.
pub fn check_propagate_tags(word: Option<&str>) -> Result<(), Fault> {
    match word {
        None | Some("NONE" | "GATEWAY") => Ok(()),
        Some(other) => Err(invalid(format!("Invalid value for propagateTags: {other}"))),
    }
}

/// Checks the infrastructure role.
pub fn check_role(role: &str) -> Result<(), Fault> {
    if role.is_empty() {
        return Err(invalid("infrastructureRoleArn can not be blank."));
    }
    launch::check_role("infrastructureRoleArn", role).map_err(|fault| invalid(fault.message()))
}

/// Checks the configuration of a new gateway and fills in what AWS fills in.
pub fn parse_configuration(
    configuration: Option<shape::GatewayConfiguration>,
) -> Result<shape::HostSharedAlbConfiguration, Fault> {
    let Some(mut alb) = configuration.and_then(|configuration| configuration.host_shared_alb) else {
        return Err(invalid("Exactly one variant of the gateway configuration must be set."));
    };
    if *alb.port.get_or_insert(PORT) != PORT {
        return Err(invalid(format!("The port must be {PORT}.")));
    }
    if alb.protocol.get_or_insert_with(|| "HTTPS".to_owned()) != "HTTPS" {
        return Err(invalid("The protocol must be HTTPS."));
    }
    let scheme = alb.scheme.get_or_insert_with(|| "internet-facing".to_owned()).clone();
    one_of("scheme", Some(&scheme), &["internet-facing", "internal"])?;
    alb.http_desync.get_or_insert_with(|| "defensive".to_owned());
    alb.max_alb_count.get_or_insert(ALBS_DEFAULT);
    let network = alb.network_configuration.get_or_insert_default();
    network.ip_address_type.get_or_insert_with(|| "ipv4".to_owned());
    one_of(
        "ipAddressType",
        network.ip_address_type.as_deref(),
        &["ipv4", "dualstack", "dualstack-without-public-ipv4"],
    )?;
    if scheme == "internal" && network.ip_address_type.as_deref() == Some("dualstack-without-public-ipv4") {
        return Err(invalid("dualstack-without-public-ipv4 is for internet-facing gateways."));
    }
    let subnets = network.subnets.as_deref().unwrap_or_default();
    if subnets.len() > SUBNETS || subnets.iter().any(|subnet| !is_id(subnet, "subnet-")) {
        return Err(invalid("networkConfiguration.subnets is invalid."));
    }
    check_changeable(&alb)?;
    Ok(alb)
}

/// Checks a change and puts it over `there`.
pub fn change_configuration(
    there: &mut shape::HostSharedAlbConfiguration,
    change: shape::UpdateGatewayConfiguration,
) -> Result<(), Fault> {
    let Some(alb) = change.host_shared_alb else {
        return Err(invalid("The configuration variant must match the gateway's type."));
    };
    let group = alb.network_configuration.and_then(|network| network.inbound_security_group);
    if let Some(group) = group {
        there.network_configuration.get_or_insert_default().inbound_security_group = Some(group);
    }
    put(&mut there.access_logs, alb.access_logs);
    put(&mut there.http_desync, alb.http_desync);
    put(&mut there.max_alb_count, alb.max_alb_count);
    put(&mut there.test_traffic_rules, alb.test_traffic_rules);
    put(&mut there.web_acl_arn, alb.web_acl_arn);
    check_changeable(there)
}

fn put<T>(there: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *there = given;
    }
}

/// What can be changed too.
fn check_changeable(alb: &shape::HostSharedAlbConfiguration) -> Result<(), Fault> {
    one_of("httpDesync", alb.http_desync.as_deref(), &["monitor", "defensive", "strictest"])?;
    if alb.max_alb_count.is_some_and(|count| !(1..=ALBS_MAXIMUM).contains(&count)) {
        return Err(invalid(format!("maxAlbCount must be between 1 and {ALBS_MAXIMUM}.")));
    }
    let group =
        alb.network_configuration.as_ref().and_then(|network| network.inbound_security_group.as_ref());
    if group.is_some_and(|group| !is_id(group, "sg-")) {
        return Err(invalid("networkConfiguration.inboundSecurityGroup is invalid."));
    }
    if let Some(arn) = &alb.web_acl_arn
        && !arn.parse::<base::Arn>().is_ok_and(|arn| arn.aws_service() == "wafv2")
    {
        return Err(invalid("webACLArn is invalid."));
    }
    if let Some(logs) = &alb.access_logs {
        let bucket = logs.destination.as_ref().and_then(|destination| destination.s3.as_ref());
        let bucket = bucket.and_then(|s3| s3.bucket.as_deref()).unwrap_or_default();
        if !(3..=63).contains(&bucket.len()) {
            return Err(invalid("accessLogs.destination.s3.bucket is invalid."));
        }
    }
    let header = alb.test_traffic_rules.as_ref().and_then(|rules| rules.header.as_ref());
    header.map_or(Ok(()), check_header)
}

fn check_header(header: &shape::GatewayTestTrafficHeader) -> Result<(), Fault> {
    let name = header.name.as_deref().unwrap_or_default();
    let values = header.values.as_deref().unwrap_or_default();
    let fits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.is_ascii();
    if !fits(name, HEADER_NAME_CHARACTERS) {
        return Err(invalid("testTrafficRules.header.name is invalid."));
    }
    let is_count = (1..=HEADER_VALUES).contains(&values.len());
    if !is_count || !values.iter().all(|value| fits(value, HEADER_VALUE_CHARACTERS)) {
        return Err(invalid("testTrafficRules.header.values is invalid."));
    }
    Ok(())
}

fn is_id(text: &str, prefix: &str) -> bool {
    let hex = |rest: &str| matches!(rest.len(), 8 | 17) && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.strip_prefix(prefix).is_some_and(hex)
}

fn one_of(field: &str, word: Option<&str>, allowed: &[&str]) -> Result<(), Fault> {
    match word {
        Some(word) if !allowed.contains(&word) => Err(invalid(format!("Invalid value for {field}: {word}"))),
        _ => Ok(()),
    }
}

/// The gateway as DescribeGateway shows it.
pub fn describe(gateway: &Gateway) -> Result<shape::Gateway, Fault> {
    let alb: shape::HostSharedAlbConfiguration =
        wire::json::from_str(&gateway.host_shared_alb_document).map_err(Fault::server)?;
    let is_internal = alb.scheme.as_deref() == Some("internal");
    Ok(shape::Gateway {
        access_type: Some(if is_internal { "PRIVATE" } else { "PUBLIC" }.to_owned()),
        configuration: Some(shape::DescribeGatewayConfiguration {
            host_shared_alb: Some(shape::DescribeGatewayAlbConfiguration {
                access_logs: alb.access_logs,
                current_alb_count: Some(0),
                http_desync: alb.http_desync,
                max_alb_count: alb.max_alb_count,
                network_configuration: alb.network_configuration,
                port: alb.port,
                protocol: alb.protocol,
                scheme: alb.scheme,
                test_traffic_rules: alb.test_traffic_rules,
                web_acl_arn: alb.web_acl_arn,
            }),
        }),
        created_at: Some(gateway.created_at),
        deletion_protection: Some(gateway.deletion_protection),
        failures: Some(Vec::new()),
        gateway_arn: Some(gateway.arn().to_string()),
        infrastructure_role_arn: Some(gateway.infrastructure_role_arn.clone()),
        name: Some(gateway.name.clone()),
        propagate_tags: Some(gateway.propagate_tags.clone()),
        status: Some(gateway.status.to_string()),
        status_reason: Some(WITHOUT_LOAD_BALANCERS.to_owned()),
        tags: Some(tag::describe(&gateway.tags)),
        updated_at: Some(gateway.updated_at),
    })
}
