//! Load balancers.

use api::elasticloadbalancing::{AvailabilityZone, LoadBalancerAddress, faults};
use base::{Ids, Scope};
use domain::{ElasticAddress, LoadBalancer, LoadBalancerSubnet, LoadBalancerType};
use store::{Key, Snapshot, Versioned, rows_load_balancing};
use wire::Fault;

use super::name;

/// Digits in the DNS name of an application load balancer.
const DNS_DIGITS: usize = 10;

/// The load balancer with this ARN.
pub(crate) fn find(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Versioned<LoadBalancer>, Fault> {
    name::check_arn(arn, "loadbalancer", "load balancer")?;
    let found = rows_load_balancing::load_balancer_by_arn(snapshot, arn);
    found.filter(|found| found.scope == *scope).ok_or_else(|| not_found(arn))
}

pub(crate) fn not_found(arn_or_name: &str) -> Fault {
    faults::load_balancer_not_found_exception(format!("Load balancer '{arn_or_name}' not found"))
}

/// The name in DNS. Source: "LoadBalancer" data type, `DNSName`, and what AWS gives out.
pub(crate) fn dns_name(
    kind: LoadBalancerType,
    scope: &Scope,
    name: &str,
    id: &str,
    is_internal: bool,
    ids: &dyn Ids,
) -> String {
    let region = scope.region.as_str();
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let name = match kind {
        LoadBalancerType::Application => {
            let internal = if is_internal { "internal-" } else { "" };
            format!("{internal}{name}-{}.{region}.elb.{suffix}", ids.digits(DNS_DIGITS))
        }
        LoadBalancerType::Network => format!("{name}-{id}.elb.{region}.{suffix}"),
    };
    name.to_ascii_lowercase()
}

/// The wire form.
pub(crate) fn describe(snapshot: &Snapshot, row: &LoadBalancer) -> api::elasticloadbalancing::LoadBalancer {
    let has_groups = !row.security_groups.is_empty();
    let is_network = row.load_balancer_type == LoadBalancerType::Network;
    api::elasticloadbalancing::LoadBalancer {
        availability_zones: Some(describe_zones(snapshot, row)),
        canonical_hosted_zone_id: Some(row.canonical_hosted_zone_id().to_owned()),
        created_time: Some(row.created_at),
        dns_name: Some(row.dns_name.clone()),
        enable_prefix_for_ipv6_source_nat: is_network.then(|| "off".to_owned()),
        enforce_security_group_inbound_rules_on_private_link_traffic: (is_network && has_groups)
            .then(|| "on".to_owned()),
        ip_address_type: Some(row.ip_address_type.clone()),
        load_balancer_arn: Some(row.arn().to_string()),
        load_balancer_name: Some(row.name.clone()),
        scheme: Some(row.scheme.clone()),
        security_groups: has_groups.then(|| row.security_groups.clone()),
        state: Some(api::elasticloadbalancing::LoadBalancerState {
            code: Some(row.state.to_string()),
            reason: row.state_reason.clone(),
        }),
        type_: Some(row.load_balancer_type.to_string()),
        vpc_id: Some(row.vpc.clone()),
        ..Default::default()
    }
}

/// Its subnets on the wire.
pub(crate) fn describe_zones(snapshot: &Snapshot, row: &LoadBalancer) -> Vec<AvailabilityZone> {
    let public_address = |allocation: &String| {
        let found = snapshot.get::<ElasticAddress>(&Key::new(&row.scope, &[allocation]));
        found.map(|elastic| elastic.address.to_string())
    };
    let address = |subnet: &LoadBalancerSubnet| {
        (subnet.is_address_chosen || subnet.allocation.is_some()).then(|| LoadBalancerAddress {
            allocation_id: subnet.allocation.clone(),
            ip_address: subnet.allocation.as_ref().and_then(public_address),
            private_ipv4_address: subnet.address.filter(|_| subnet.is_address_chosen).map(|a| a.to_string()),
            ..Default::default()
        })
    };
    let zone = |subnet: &LoadBalancerSubnet| AvailabilityZone {
        load_balancer_addresses: Some(address(subnet).into_iter().collect()),
        subnet_id: Some(subnet.subnet.clone()),
        zone_name: Some(subnet.zone.clone()),
        ..Default::default()
    };
    row.subnets.iter().map(zone).collect()
}
