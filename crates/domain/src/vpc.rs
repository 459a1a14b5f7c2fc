//! VPCs, and what every new one has in it.
//!
//! Every (account, region) has a default VPC of AWS's layout. Other than at AWS, no two VPCs have the same addresses:
//! all regions share the machine that runs their tasks (see `decisions/0005-network.md`).

use base::{Arn, Ids, Ipv4Cidr, Ipv6Cidr, Region, Scope, Tag};
use serde::{Deserialize, Serialize};

use crate::route_table::{InternetGateway, Route, RouteDestination, RouteTable, RouteTarget};
use crate::security_group::{SecurityGroup, default_security_group};
use crate::subnet::Subnet;

/// Prefix length of the default VPC's subnets. Source: "Default VPC components".
const DEFAULT_SUBNET_PREFIX_LENGTH: u8 = 20;
/// Zones of every region.
pub const ZONE_LETTERS: [char; 3] = ['a', 'b', 'c'];

/// A virtual private cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `vpc-0123456789abcdef0`.
    pub id: String,
    /// Its addresses.
    pub cidr: Ipv4Cidr,
    /// The id of the association of `cidr`, such as `vpc-cidr-assoc-0123456789abcdef0`.
    pub cidr_association_id: String,
    /// Its IPv6 addresses: a /56, where it was asked for.
    #[serde(default)]
    pub ipv6: Option<Ipv6CidrAssociation>,
    /// Such as `dopt-0123456789abcdef0`.
    pub dhcp_options_id: String,
    /// Whether it is the one made for the account.
    pub is_default: bool,
    /// Whether the VPC's resolver answers in it.
    #[serde(default = "enabled")]
    pub enable_dns_support: bool,
    /// Whether public addresses have names. On in default VPCs alone, unless changed.
    #[serde(default = "enabled")]
    pub enable_dns_hostnames: bool,
    /// Whether the use of its addresses is measured.
    #[serde(default)]
    pub enable_network_address_usage_metrics: bool,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// IPv6 addresses of a VPC (a /56) or of a subnet (a /64).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6CidrAssociation {
    /// Such as `vpc-cidr-assoc-0123456789abcdef0` or `subnet-cidr-assoc-0123456789abcdef0`.
    pub id: String,
    /// The addresses.
    pub cidr: Ipv6Cidr,
}

const fn enabled() -> bool {
    true
}

impl Vpc {
    /// `arn:aws:ec2:REGION:ACCOUNT:vpc/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new("ec2", &self.scope, format!("vpc/{}", self.id))
    }

    /// The id of its network ACL: the default one, which every VPC has. It lets everything through, is not stored, and so is
    /// named after the VPC.
    pub fn network_acl_id(&self) -> String {
        self.id.replacen("vpc-", "acl-", 1)
    }
}

/// What every (account, region) starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultVpc {
    /// The VPC.
    pub vpc: Vpc,
    /// One subnet a zone, in the order of the zones.
    pub subnets: Vec<Subnet>,
    /// The group `default`.
    pub security_group: SecurityGroup,
}

/// A default VPC, and what else is made with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDefaultVpc {
    /// What others look for.
    pub default: DefaultVpc,
    /// The main route table, with a route to the gateway.
    pub route_table: RouteTable,
    /// The way to the outside.
    pub internet_gateway: InternetGateway,
}

/// A VPC as CreateVpc makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVpc {
    /// The VPC.
    pub vpc: Vpc,
    /// The group `default`.
    pub security_group: SecurityGroup,
    /// The main route table, without routes but the local one.
    pub route_table: RouteTable,
}

/// The default VPC of AWS's layout in `cidr`: a /20 in each zone, a security group that lets its members talk to each
/// other and to everyone, and an internet gateway that the main route table leads to. Source: "Default VPCs", "Default
/// security groups", Amazon VPC user guide.
pub fn default_vpc(scope: &Scope, cidr: Ipv4Cidr, ids: &dyn Ids) -> NewDefaultVpc {
    let vpc = vpc(scope, cidr, true, None, ids);
    let subnets = (0..ZONE_LETTERS.len()).filter_map(|zone| default_subnet(&vpc, zone, zone, ids)).collect();
    let security_group = default_security_group(scope, &vpc.id, ids);
    let internet_gateway = InternetGateway {
        scope: scope.clone(),
        id: format!("igw-{}", ids.hex(17)),
        vpc: Some(vpc.id.clone()),
        tags: Vec::new(),
    };
    let mut route_table = RouteTable::main(scope, &vpc.id, ids);
    if let Some(everywhere) = Ipv4Cidr::containing(std::net::Ipv4Addr::UNSPECIFIED, 0) {
        route_table.routes.push(Route {
            destination: RouteDestination::Ipv4(everywhere),
            target: RouteTarget::InternetGateway(internet_gateway.id.clone()),
        });
    }
    NewDefaultVpc { default: DefaultVpc { vpc, subnets, security_group }, route_table, internet_gateway }
}

/// A VPC in `cidr` with what every new one has. `dhcp_options_id` is that of the region's other VPCs.
pub fn new_vpc(scope: &Scope, cidr: Ipv4Cidr, dhcp_options_id: Option<String>, ids: &dyn Ids) -> NewVpc {
    let vpc = vpc(scope, cidr, false, dhcp_options_id, ids);
    let security_group = default_security_group(scope, &vpc.id, ids);
    let route_table = RouteTable::main(scope, &vpc.id, ids);
    NewVpc { vpc, security_group, route_table }
}

fn vpc(
    scope: &Scope,
    cidr: Ipv4Cidr,
    is_default: bool,
    dhcp_options_id: Option<String>,
    ids: &dyn Ids,
) -> Vpc {
    Vpc {
        scope: scope.clone(),
        id: format!("vpc-{}", ids.hex(17)),
        cidr,
        cidr_association_id: format!("vpc-cidr-assoc-{}", ids.hex(17)),
        ipv6: None,
        dhcp_options_id: dhcp_options_id.unwrap_or_else(|| format!("dopt-{}", ids.hex(17))),
        is_default,
        enable_dns_support: true,
        enable_dns_hostnames: is_default,
        enable_network_address_usage_metrics: false,
        tags: Vec::new(),
    }
}

/// The default subnet of the zone of number `zone` (from 0), at the place `slot` in the VPC; `None` where the VPC ends
/// before it.
pub fn default_subnet(vpc: &Vpc, zone: usize, slot: usize, ids: &dyn Ids) -> Option<Subnet> {
    // A VPC smaller than a /16 is split in four, as a /16 of /20s is in sixteen.
    let prefix_length = DEFAULT_SUBNET_PREFIX_LENGTH.max(vpc.cidr.prefix_length() + 2);
    let offset = u32::try_from(slot).ok()?.checked_mul(1 << (32 - u32::from(prefix_length)))?;
    let letter = ZONE_LETTERS.get(zone)?;
    let region = &vpc.scope.region;
    Some(Subnet {
        cidr: Ipv4Cidr::containing(vpc.cidr.nth(offset)?, prefix_length)?,
        default_for_az: true,
        map_public_ip_on_launch: true,
        scope: vpc.scope.clone(),
        id: format!("subnet-{}", ids.hex(17)),
        vpc: vpc.id.clone(),
        ipv6: None,
        assign_ipv6_address_on_creation: false,
        availability_zone: format!("{region}{letter}"),
        availability_zone_id: format!("{}-az{}", zone_id_prefix(region), zone + 1),
        tags: Vec::new(),
    })
}

/// How the ids of a region's zones start: `use1` for `us-east-1`, `apne1` for `ap-northeast-1`, `usgw1` for
/// `us-gov-west-1`. Source: "Availability Zone IDs".
pub fn zone_id_prefix(region: &Region) -> String {
    let mut parts = region.as_str().split('-');
    let mut prefix = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part {
            "northeast" | "northwest" | "southeast" | "southwest" => {
                let (north_south, east_west) = part.split_at(5);
                prefix.extend(north_south.chars().take(1));
                prefix.extend(east_west.chars().take(1));
            }
            part if part.starts_with(|first: char| first.is_ascii_digit()) => prefix.push_str(part),
            part => prefix.extend(part.chars().take(1)),
        }
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecurityGroupPeer;
    use base::SeededIds;

    fn scope(region: &str) -> Scope {
        Scope::new("123456789012".parse().unwrap(), region.parse().unwrap())
    }

    #[test]
    fn the_default_vpc_has_awss_layout() {
        let new = default_vpc(&scope("eu-west-1"), "172.31.0.0/16".parse().unwrap(), &SeededIds::new(1));
        let made = &new.default;
        assert!(made.vpc.is_default && made.vpc.id.len() == "vpc-".len() + 17);
        let subnets: Vec<_> = made
            .subnets
            .iter()
            .map(|subnet| {
                format!("{} {} {}", subnet.cidr, subnet.availability_zone, subnet.availability_zone_id)
            })
            .collect();
        assert_eq!(
            subnets,
            [
                "172.31.0.0/20 eu-west-1a euw1-az1",
                "172.31.16.0/20 eu-west-1b euw1-az2",
                "172.31.32.0/20 eu-west-1c euw1-az3"
            ]
        );
        assert_eq!(made.subnets[1].gateway().to_string(), "172.31.16.1");
        assert_eq!(made.subnets[1].usable_addresses(), 4091);
        assert_eq!(
            made.security_group.rules[0].peer,
            SecurityGroupPeer::Group(made.security_group.id.clone())
        );
        assert!(made.security_group.rules[1].is_egress);
        let target = RouteTarget::InternetGateway(new.internet_gateway.id.clone());
        assert_eq!(new.route_table.routes[0].target, target);
        assert!(new.route_table.associations[0].is_main());
        assert_eq!(made.vpc.network_acl_id()[4..], made.vpc.id[4..]);
    }

    #[test]
    fn a_new_vpc_leads_nowhere() {
        let ids = SeededIds::new(1);
        let made = new_vpc(&scope("eu-west-1"), "10.0.0.0/24".parse().unwrap(), None, &ids);
        assert!(!made.vpc.is_default && !made.vpc.enable_dns_hostnames && made.vpc.enable_dns_support);
        assert_eq!(made.route_table.routes, []);
        assert_eq!(made.security_group.vpc, made.vpc.id);
        assert_eq!(default_subnet(&made.vpc, 0, 3, &ids).unwrap().cidr.to_string(), "10.0.0.192/26");
        assert_eq!(default_subnet(&made.vpc, 0, 4, &ids), None);
    }

    #[test]
    fn zone_ids_are_awss() {
        for (region, prefix) in [
            ("us-east-1", "use1"),
            ("ap-northeast-2", "apne2"),
            ("ap-southeast-4", "apse4"),
            ("us-gov-west-1", "usgw1"),
            ("ca-central-1", "cac1"),
            ("il-central-1", "ilc1"),
            ("local", "local"),
        ] {
            assert_eq!(zone_id_prefix(&region.parse().unwrap()), prefix);
        }
    }
}
