//! Names that nobody registers: those of load balancers and of Express services on them, of interfaces, and of private
//! addresses.

use std::net::Ipv4Addr;

use domain::{
    DnsName, ExpressIngress, LoadBalancer, NetworkInterface, RecordType, RecordValue, RuleAction, SoaValue,
    private_dns_name,
};
use store::rows_gateway::EXPRESS_INGRESS_BY_ENDPOINT;
use store::rows_load_balancing::{
    LOAD_BALANCERS_BY_DNS_NAME, listeners_of, load_balancer_key, rules_of, target_group_by_arn, targets_of,
};
use store::rows_vpc::NETWORK_INTERFACES_BY_ADDRESS;
use store::{Snapshot, Versioned};

use crate::look_up::{Asker, Authority, Lookup, View, asker_of};
use crate::routing::rotated;

/// Seconds for which a load balancer's addresses may be kept. Source: "Load balancer nodes" (60 seconds).
const LOAD_BALANCER_TTL_SECONDS: u32 = 60;
/// Seconds for which an interface's name may be kept. Source: what the VPC resolver answers.
const INTERFACE_TTL_SECONDS: u32 = 60;
/// Seconds for which "no such interface" may be kept. Ours: a task's interface may come at any moment.
const NO_INTERFACE_TTL_SECONDS: u32 = 5;
/// AWS's suffix of interfaces' names in us-east-1, and in other regions behind the region's name.
const INTERNAL_DOMAINS: [&str; 2] = ["ec2.internal.", "compute.internal."];

/// What such a name means; `NotHere` for all others.
pub(crate) fn look_up(view: &View, name: &DnsName, record_type: Option<RecordType>) -> Lookup {
    if let Some(found) = load_balancer(view, name, record_type) {
        return found;
    }
    let text = name.as_str();
    if INTERNAL_DOMAINS.iter().any(|domain| text.ends_with(domain)) {
        return interface(view, name, record_type);
    }
    if text.ends_with(".in-addr.arpa.") { address(view, name, record_type) } else { Lookup::NotHere }
}

/// The addresses of a load balancer, by its name, by `dualstack.` and its name, by one of its zones and its name, or by the
/// endpoint of an Express service on it.
/// `None`: there is no load balancer of the name.
pub(crate) fn load_balancer(view: &View, name: &DnsName, record_type: Option<RecordType>) -> Option<Lookup> {
    let (row, zone) = find_load_balancer(view.snapshot, name)?;
    let addresses: Vec<_> = row
        .subnets
        .iter()
        .filter(|subnet| zone.as_ref().is_none_or(|zone| subnet.zone == *zone))
        .filter_map(|subnet| Some((LOAD_BALANCER_TTL_SECONDS, RecordValue::A(subnet.address?))))
        .collect();
    if zone.is_some() && addresses.is_empty() {
        return Some(Lookup::NoSuchName(Box::new(authority(name.clone(), LOAD_BALANCER_TTL_SECONDS))));
    }
    if record_type != Some(RecordType::A) || addresses.is_empty() {
        return Some(Lookup::NoRecords(Box::new(authority(name.clone(), LOAD_BALANCER_TTL_SECONDS))));
    }
    let all = addresses.len();
    Some(Lookup::Records(rotated(addresses, view.chance, all)))
}

fn find_load_balancer(
    snapshot: &Snapshot,
    name: &DnsName,
) -> Option<(Versioned<LoadBalancer>, Option<String>)> {
    let find = |name: &str| snapshot.index::<LoadBalancer>(LOAD_BALANCERS_BY_DNS_NAME, &[name], None).next();
    let text = name.as_str().strip_suffix('.')?;
    if let Some(row) = find(text).or_else(|| of_express_service(snapshot, text)) {
        return Some((row, None));
    }
    let (first, rest) = text.split_once('.')?;
    let row = find(rest)?;
    Some((row, (first != "dualstack").then(|| first.to_owned())))
}

/// The load balancer that serves the endpoint of an Express service.
fn of_express_service(snapshot: &Snapshot, endpoint: &str) -> Option<Versioned<LoadBalancer>> {
    let row = snapshot.index::<ExpressIngress>(EXPRESS_INGRESS_BY_ENDPOINT, &[endpoint], None).next()?;
    snapshot.get::<LoadBalancer>(&load_balancer_key(&row.scope, &row.load_balancer))
}

/// Whether a load balancer has a healthy target. Source: "Evaluate target health", Amazon Route 53 developer guide.
pub(crate) fn load_balancer_is_healthy(snapshot: &Snapshot, name: &DnsName) -> bool {
    let Some((row, _)) = find_load_balancer(snapshot, name) else { return false };
    let rules = listeners_of(snapshot, &row).into_iter().flat_map(|listener| rules_of(snapshot, &listener));
    let has_healthy = |arn: &str| {
        let group = target_group_by_arn(snapshot, arn);
        group.is_some_and(|group| targets_of(snapshot, &group).iter().any(|target| target.state == "healthy"))
    };
    rules.into_iter().any(|rule| match &rule.action {
        RuleAction::Forward { target_groups, .. } => target_groups.iter().any(|(arn, _)| has_healthy(arn)),
        RuleAction::Redirect { .. } | RuleAction::FixedResponse { .. } => false,
    })
}

/// `ip-172-31-0-9.ec2.internal`: the interface with this address, in a VPC that the asker sees.
fn interface(view: &View, name: &DnsName, record_type: Option<RecordType>) -> Lookup {
    let zone = name.parent().filter(|_| name.label_count() > 2).unwrap_or_else(|| name.clone());
    let nothing = || Box::new(authority(zone.clone(), NO_INTERFACE_TTL_SECONDS));
    let found = address_in(name).and_then(|address| Some((address, find_interface(view, address)?)));
    match found {
        Some((address, interface))
            if name.as_str().strip_suffix('.')
                == Some(&private_dns_name(&interface.scope.region, address)) =>
        {
            match record_type {
                Some(RecordType::A) => {
                    Lookup::Records(vec![(INTERFACE_TTL_SECONDS, RecordValue::A(address))])
                }
                _ => Lookup::NoRecords(nothing()),
            }
        }
        _ => Lookup::NoSuchName(nothing()),
    }
}

/// `9.0.31.172.in-addr.arpa`: the name of an interface. Addresses of no VPC are not ours to name.
fn address(view: &View, name: &DnsName, record_type: Option<RecordType>) -> Lookup {
    let labels: Vec<&str> = name.as_str().split('.').collect();
    let [d, c, b, a, "in-addr", "arpa", ""] = labels[..] else { return Lookup::NotHere };
    let Ok(address) = format!("{a}.{b}.{c}.{d}").parse::<Ipv4Addr>() else { return Lookup::NotHere };
    let owner = asker_of(view.snapshot, view.asker.scope(), address.into());
    let owner_vpc = match &owner {
        Asker::Vpc { vpc, .. } if view.asker.sees(vpc) => vpc,
        _ => return Lookup::NotHere,
    };
    let nothing =
        || Box::new(authority(name.parent().unwrap_or_else(DnsName::root), NO_INTERFACE_TTL_SECONDS));
    let interface = find_interface(view, address).filter(|interface| interface.vpc == *owner_vpc);
    let Some(interface) = interface else { return Lookup::NoSuchName(nothing()) };
    match (record_type, DnsName::parse(&interface.private_dns_name())) {
        (Some(RecordType::Ptr), Ok(target)) => {
            Lookup::Records(vec![(INTERFACE_TTL_SECONDS, RecordValue::Name(target))])
        }
        _ => Lookup::NoRecords(nothing()),
    }
}

fn find_interface(view: &View, address: Ipv4Addr) -> Option<Versioned<NetworkInterface>> {
    let address = address.to_string();
    let mut found = view.snapshot.index::<NetworkInterface>(NETWORK_INTERFACES_BY_ADDRESS, &[&address], None);
    found.find(|interface| view.asker.sees(&interface.vpc))
}

/// The address in `ip-172-31-0-9.…`.
fn address_in(name: &DnsName) -> Option<Ipv4Addr> {
    let (first, _) = name.as_str().split_once('.')?;
    let digits = first.strip_prefix("ip-")?;
    digits.replace('-', ".").parse().ok().filter(|_| digits.matches('-').count() == 3)
}

fn authority(zone: DnsName, ttl_seconds: u32) -> Authority {
    let value = start_of_authority(&zone, ttl_seconds);
    Authority { zone, ttl_seconds, value }
}

/// A start of authority for a zone that has no record sets of its own.
pub(crate) fn start_of_authority(zone: &DnsName, minimum: u32) -> SoaValue {
    let below = |label: &[u8]| {
        let labels: Vec<Vec<u8>> = std::iter::once(label.to_vec()).chain(zone.labels()).collect();
        DnsName::from_labels(labels.iter().map(Vec::as_slice)).unwrap_or_else(|_| zone.clone())
    };
    SoaValue {
        primary: below(b"ns"),
        responsible: below(b"hostmaster"),
        serial: 1,
        refresh: 7200,
        retry: 900,
        expire: 1_209_600,
        minimum,
    }
}
