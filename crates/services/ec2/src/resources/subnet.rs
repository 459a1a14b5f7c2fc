//! Subnets, with how many addresses they have left.

use std::sync::Arc;

use base::{Ipv4Cidr, Ipv6Cidr, Scope, Tag};
use domain::{Ipv6CidrAssociation, NetworkInterface, Subnet, Vpc};
use store::{Key, Snapshot};
use wire::{Call, Fault};

use super::permission::{ipv4_cidr, ipv6_cidr as parse_ipv6};
use super::zone::{self, Zone};
use super::{tag, value, vpc};
use crate::faults;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeSubnets",
    prefix: "subnet-",
    malformed: "InvalidSubnetID.Malformed",
    not_found: "InvalidSubnetID.NotFound",
    noun: "subnet ID",
    filters: &[
        ("availability-zone", &["availabilityZone"]),
        ("availability-zone-id", &["availabilityZoneId"]),
        ("available-ip-address-count", &["availableIpAddressCount"]),
        ("cidr-block", &["cidr", "cidrBlock"]),
        ("customer-owned-ipv4-pool", &[]),
        ("default-for-az", &["defaultForAz"]),
        ("enable-dns64", &[]),
        ("enable-lni-at-device-index", &[]),
        ("ipv6-cidr-block-association.ipv6-cidr-block", &[]),
        ("ipv6-cidr-block-association.association-id", &[]),
        ("ipv6-cidr-block-association.state", &[]),
        ("ipv6-native", &[]),
        ("map-customer-owned-ip-on-launch", &[]),
        ("map-public-ip-on-launch", &[]),
        ("outpost-arn", &[]),
        ("owner-id", &[]),
        ("private-dns-name-options-on-launch.hostname-type", &[]),
        ("private-dns-name-options-on-launch.enable-resource-name-dns-a-record", &[]),
        ("private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record", &[]),
        ("state", &[]),
        ("subnet-arn", &["subnetArn"]),
        ("subnet-id", &["subnetId"]),
        ("vpc-id", &["vpcId"]),
    ],
    has_tags: true,
};

/// Subnets of a VPC. Source: "Amazon VPC quotas".
const SUBNETS_PER_VPC: usize = 200;
/// Prefix lengths of a subnet's IPv6 addresses. Source: CreateSubnet, `Ipv6CidrBlock`: /44 to /64 in steps of 4.
const IPV6_PREFIX_LENGTHS: std::ops::RangeInclusive<u8> = 44..=64;

/// A subnet and what is known of it from elsewhere.
pub(crate) struct DescribedSubnet {
    row: Arc<Subnet>,
    available_addresses: u64,
}

/// All subnets of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedSubnet> {
    let subnets = snapshot.scan::<Subnet>(Key::prefix(scope, &[]), None);
    let described = |row: Arc<Subnet>| {
        let interfaces = snapshot.scan::<NetworkInterface>(Key::prefix(scope, &[&row.id]), None).count();
        let available_addresses = row.usable_addresses().saturating_sub(interfaces as u64);
        DescribedSubnet { row, available_addresses }
    };
    subnets.map(|subnet| described(subnet.value)).collect()
}

impl Filterable for DescribedSubnet {
    fn filter_values(&self, name: &str) -> Vec<String> {
        let row = &self.row;
        match name {
            "availability-zone" => value(&row.availability_zone),
            "availability-zone-id" => value(&row.availability_zone_id),
            "available-ip-address-count" => value(self.available_addresses),
            "cidr-block" => value(row.cidr),
            "default-for-az" => value(row.default_for_az),
            "enable-dns64"
            | "ipv6-native"
            | "map-customer-owned-ip-on-launch"
            | "private-dns-name-options-on-launch.enable-resource-name-dns-a-record"
            | "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record" => value(false),
            "map-public-ip-on-launch" => value(row.map_public_ip_on_launch),
            "owner-id" => value(&row.scope.account),
            "private-dns-name-options-on-launch.hostname-type" => value("ip-name"),
            "state" => value("available"),
            "subnet-arn" => value(row.arn()),
            "subnet-id" => value(&row.id),
            "vpc-id" => value(&row.vpc),
            "ipv6-cidr-block-association.association-id" => {
                row.ipv6.iter().map(|ipv6| ipv6.id.clone()).collect()
            }
            "ipv6-cidr-block-association.ipv6-cidr-block" => {
                row.ipv6.iter().map(|ipv6| ipv6.cidr.to_string()).collect()
            }
            "ipv6-cidr-block-association.state" => row.ipv6.iter().map(|_| "associated".to_owned()).collect(),
            // No Outposts, no address pools of customers.
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.row.tags
    }
}

impl Listed for DescribedSubnet {
    fn id(&self) -> &str {
        &self.row.id
    }
}

/// The wire form.
pub(crate) fn describe(subnet: &DescribedSubnet) -> api::ec2::Subnet {
    let row = &subnet.row;
    api::ec2::Subnet {
        assign_ipv6_address_on_creation: Some(row.assign_ipv6_address_on_creation),
        availability_zone: Some(row.availability_zone.clone()),
        availability_zone_id: Some(row.availability_zone_id.clone()),
        available_ip_address_count: i32::try_from(subnet.available_addresses).ok(),
        cidr_block: Some(row.cidr.to_string()),
        default_for_az: Some(row.default_for_az),
        enable_dns64: Some(false),
        ipv6_cidr_block_association_set: Some(
            row.ipv6.iter().map(|ipv6| describe_ipv6(ipv6, "associated")).collect(),
        ),
        ipv6_native: Some(false),
        map_customer_owned_ip_on_launch: Some(false),
        map_public_ip_on_launch: Some(row.map_public_ip_on_launch),
        owner_id: Some(row.scope.account.to_string()),
        private_dns_name_options_on_launch: Some(api::ec2::PrivateDnsNameOptionsOnLaunch {
            enable_resource_name_dns_aaaa_record: Some(false),
            enable_resource_name_dns_a_record: Some(false),
            hostname_type: Some("ip-name".to_owned()),
        }),
        state: Some("available".to_owned()),
        subnet_arn: Some(row.arn().to_string()),
        subnet_id: Some(row.id.clone()),
        tags: tag::describe(&row.tags),
        vpc_id: Some(row.vpc.clone()),
        ..Default::default()
    }
}

/// The wire form of a subnet's IPv6 addresses.
pub(crate) fn describe_ipv6(
    ipv6: &Ipv6CidrAssociation,
    state: &str,
) -> api::ec2::SubnetIpv6CidrBlockAssociation {
    api::ec2::SubnetIpv6CidrBlockAssociation {
        association_id: Some(ipv6.id.clone()),
        ip_source: Some("amazon".to_owned()),
        ipv6_address_attribute: Some("private".to_owned()),
        ipv6_cidr_block: Some(ipv6.cidr.to_string()),
        ipv6_cidr_block_state: Some(api::ec2::SubnetCidrBlockState {
            state: Some(state.to_owned()),
            ..Default::default()
        }),
    }
}

impl DescribedSubnet {
    /// One that nothing is in yet.
    pub(crate) fn new_one(row: Subnet) -> Self {
        let available_addresses = row.usable_addresses();
        Self { row: Arc::new(row), available_addresses }
    }
}

/// Whether an interface has an address of the subnet.
pub(crate) fn has_interfaces(snapshot: &Snapshot, subnet: &Subnet) -> bool {
    snapshot.scan::<NetworkInterface>(Key::prefix(&subnet.scope, &[&subnet.id]), None).next().is_some()
}

/// The network of a subnet, with what stands behind its prefix cut off. Source: CreateSubnet, `CidrBlock`.
pub(crate) fn cidr(text: &str) -> Result<Ipv4Cidr, Fault> {
    let cidr = ipv4_cidr(text).map_err(|_| vpc::not_a_cidr(text))?;
    if vpc::PREFIX_LENGTHS.contains(&cidr.prefix_length()) { Ok(cidr) } else { Err(out_of_range(cidr)) }
}

/// The IPv6 network of a subnet.
pub(crate) fn ipv6_cidr(text: &str) -> Result<Ipv6Cidr, Fault> {
    let parsed = parse_ipv6(text).ok();
    let is_sized = |cidr: &Ipv6Cidr| {
        IPV6_PREFIX_LENGTHS.contains(&cidr.prefix_length()) && cidr.prefix_length().is_multiple_of(4)
    };
    parsed.filter(is_sized).ok_or_else(|| {
        faults::invalid_value(format!(
            "Value ({text}) for parameter ipv6CidrBlock is invalid. This is not a valid IPv6 CIDR block of a subnet."
        ))
    })
}

fn out_of_range(cidr: Ipv4Cidr) -> Fault {
    Fault::new("InvalidSubnet.Range", format!("The CIDR '{cidr}' is invalid."), 400)
}

/// Checks that a network is the VPC's and no other subnet's, and that there may be one more.
pub(crate) fn check_free(snapshot: &Snapshot, vpc: &Vpc, cidr: Ipv4Cidr) -> Result<(), Fault> {
    if !vpc.cidr.covers(&cidr) {
        return Err(out_of_range(cidr));
    }
    let others: Vec<_> = of_vpc(snapshot, vpc).collect();
    if others.iter().any(|other| other.cidr.overlaps(&cidr)) {
        let message = format!("The CIDR '{cidr}' conflicts with another subnet");
        return Err(Fault::new("InvalidSubnet.Conflict", message, 400));
    }
    if others.len() >= SUBNETS_PER_VPC {
        let message = "The maximum number of subnets has been reached.";
        return Err(Fault::new("SubnetLimitExceeded", message, 400));
    }
    Ok(())
}

/// As [`check_free`], for IPv6.
pub(crate) fn check_ipv6_free(snapshot: &Snapshot, vpc: &Vpc, cidr: &Ipv6Cidr) -> Result<(), Fault> {
    if !vpc.ipv6.as_ref().is_some_and(|of_vpc| of_vpc.cidr.covers(cidr)) {
        let message = format!("The IPv6 CIDR '{cidr}' is invalid.");
        return Err(Fault::new("InvalidSubnet.Range", message, 400));
    }
    let overlaps = |other: Arc<Subnet>| other.ipv6.as_ref().is_some_and(|ipv6| ipv6.cidr.overlaps(cidr));
    if of_vpc(snapshot, vpc).any(overlaps) {
        let message = format!("The IPv6 CIDR '{cidr}' conflicts with another subnet");
        return Err(Fault::new("InvalidSubnet.Conflict", message, 400));
    }
    Ok(())
}

/// The subnets of a VPC.
pub(crate) fn of_vpc<'a>(snapshot: &'a Snapshot, vpc: &'a Vpc) -> impl Iterator<Item = Arc<Subnet>> + 'a {
    let all = snapshot.scan::<Subnet>(Key::prefix(&vpc.scope, &[]), None);
    all.map(|subnet| subnet.value).filter(|subnet| subnet.vpc == vpc.id)
}

/// The zone that a call names, by name or id, or the region's first.
pub(crate) fn zone(call: &Call, name: Option<&str>, id: Option<&str>) -> Result<Zone, Fault> {
    let zones = zone::all(&call.scope.region);
    let names: Vec<String> = zones.iter().map(|zone| zone.name.clone()).collect();
    let is_it = |zone: &Zone| name.is_none_or(|name| zone.name == name) && id.is_none_or(|id| zone.id == id);
    let unknown = || {
        let (parameter, text) = match (name, id) {
            (Some(name), _) => ("availabilityZone", name),
            (None, id) => ("availabilityZoneId", id.unwrap_or_default()),
        };
        faults::invalid_value(format!(
            "Value ({text}) for parameter {parameter} is invalid. Subnets can currently only be created in the following \
             availability zones: {}.",
            names.join(", ")
        ))
    };
    zones.into_iter().find(is_it).ok_or_else(unknown)
}
