//! Subnets, with how many addresses they have left.

use std::sync::Arc;

use base::{Scope, Tag};
use domain::{NetworkInterface, Subnet};
use store::{Key, Snapshot};

use super::{tag, value};
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
            // No IPv6, no Outposts, no address pools of customers.
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
        assign_ipv6_address_on_creation: Some(false),
        availability_zone: Some(row.availability_zone.clone()),
        availability_zone_id: Some(row.availability_zone_id.clone()),
        available_ip_address_count: i32::try_from(subnet.available_addresses).ok(),
        cidr_block: Some(row.cidr.to_string()),
        default_for_az: Some(row.default_for_az),
        enable_dns64: Some(false),
        ipv6_cidr_block_association_set: Some(Vec::new()),
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
