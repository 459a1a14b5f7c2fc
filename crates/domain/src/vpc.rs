//! VPCs, subnets, security groups and network interfaces, and the pure parts of making them.
//!
//! Every (account, region) has a default VPC of AWS's layout. Other than at AWS, no two of them have the same addresses:
//! all regions share the machine that runs their tasks (see `decisions/0005-network.md`).

use std::net::Ipv4Addr;

use base::{Arn, Ids, Ipv4Cidr, MacAddress, Region, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

/// Addresses at the start of a subnet that AWS keeps: network, gateway, DNS, future use. The last one is kept too.
/// Source: "Subnet CIDR blocks", Amazon VPC user guide.
const RESERVED_AT_START: u32 = 4;
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
    /// Such as `dopt-0123456789abcdef0`.
    pub dhcp_options_id: String,
    /// Whether it is the one made for the account.
    pub is_default: bool,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// A range of a VPC's addresses in one zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `subnet-0123456789abcdef0`.
    pub id: String,
    /// The VPC's id.
    pub vpc: String,
    /// Its addresses.
    pub cidr: Ipv4Cidr,
    /// Such as `us-east-1a`.
    pub availability_zone: String,
    /// Such as `use1-az1`.
    pub availability_zone_id: String,
    /// Whether it is the default one of its zone.
    pub default_for_az: bool,
    /// Whether instances get a public address unless they say otherwise.
    pub map_public_ip_on_launch: bool,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

impl Subnet {
    /// `arn:aws:ec2:REGION:ACCOUNT:subnet/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new("ec2", &self.scope, format!("subnet/{}", self.id))
    }

    /// The address of the router: the one behind the first.
    pub fn gateway(&self) -> Ipv4Addr {
        self.cidr.nth(1).unwrap_or(self.cidr.base())
    }

    /// The address of the VPC's resolver as seen from here: the one behind the gateway.
    pub fn resolver(&self) -> Ipv4Addr {
        self.cidr.nth(2).unwrap_or(self.cidr.base())
    }

    /// How many addresses interfaces can have.
    pub fn usable_addresses(&self) -> u64 {
        self.cidr.size().saturating_sub(u64::from(RESERVED_AT_START) + 1)
    }
}

/// A security group and its rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `sg-0123456789abcdef0`.
    pub id: String,
    /// The VPC's id.
    pub vpc: String,
    /// Unique in the VPC.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Inbound and outbound.
    #[serde(default)]
    pub rules: Vec<SecurityGroupRule>,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

impl SecurityGroup {
    /// `arn:aws:ec2:REGION:ACCOUNT:security-group/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new("ec2", &self.scope, format!("security-group/{}", self.id))
    }
}

/// One rule: traffic of one kind, to or from one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    /// Such as `sgr-0123456789abcdef0`.
    pub id: String,
    /// Outbound rather than inbound.
    pub is_egress: bool,
    /// `tcp`, `udp`, `icmp`, a protocol number, or `-1` for all.
    pub ip_protocol: String,
    /// First port or ICMP type; -1 for all.
    pub from_port: i32,
    /// Last port or ICMP code; -1 for all.
    pub to_port: i32,
    /// The other end.
    pub peer: SecurityGroupPeer,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// Whom a rule lets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityGroupPeer {
    /// IPv4 addresses.
    Ipv4(Ipv4Cidr),
    /// IPv6 addresses, in text form.
    Ipv6(String),
    /// The interfaces that have this group, by its id.
    Group(String),
    /// The networks of a prefix list, by its id.
    PrefixList(String),
}

word_enum! {
    /// How far an interface is. Source: AWS, NetworkInterface, `status`.
    NetworkInterfaceStatus {
        /// Nothing has it.
        Available = "available",
        /// On its way to its owner.
        Attaching = "attaching",
        /// Its owner has it.
        InUse = "in-use",
        /// On its way back.
        Detaching = "detaching",
    }
}

/// An elastic network interface: addresses in a subnet that a task has while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `eni-0123456789abcdef0`.
    pub id: String,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Its private address: unique in the subnet, for it is part of the row's key.
    pub private_address: Ipv4Addr,
    /// The subnet's id.
    pub subnet: String,
    /// The VPC's id.
    pub vpc: String,
    /// Such as `us-east-1a`.
    pub availability_zone: String,
    /// Such as `use1-az1`.
    #[serde(default)]
    pub availability_zone_id: String,
    /// Ids of its security groups.
    pub security_groups: Vec<String>,
    /// For a task: the ARN of the attachment.
    pub description: String,
    /// How far it is.
    pub status: NetworkInterfaceStatus,
    /// Whether a service made it for the account, such as ECS for a task.
    pub requester_managed: bool,
    /// The task that has it.
    #[serde(default)]
    pub owner_task: Option<Arn>,
    /// How it is attached.
    #[serde(default)]
    pub attachment: Option<NetworkInterfaceAttachment>,
    /// When it was made.
    pub created_at: Timestamp,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// What a [`NetworkInterface`] is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterfaceAttachment {
    /// Such as `eni-attach-0123456789abcdef0`.
    pub id: String,
    /// Since when.
    pub attached_at: Timestamp,
}

impl NetworkInterface {
    /// The interface's name in DNS, such as `ip-172-31-0-10.ec2.internal`. Source: "DNS attributes for your VPC".
    pub fn private_dns_name(&self) -> String {
        private_dns_name(&self.scope.region, self.private_address)
    }
}

/// The name in DNS of a private address.
pub fn private_dns_name(region: &Region, address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    // us-east-1 came before regions had names of their own.
    let domain = match region.as_str() {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    };
    format!("ip-{a}-{b}-{c}-{d}.{domain}")
}

/// What to make a task's network interface from.
#[derive(Clone, Debug)]
pub struct TaskNetworkInterface<'a> {
    /// Where it goes.
    pub subnet: &'a Subnet,
    /// Ids of its security groups; those of the same VPC.
    pub security_groups: Vec<String>,
    /// The task.
    pub task: Arn,
    /// The ARN of the task's attachment: the interface's description.
    pub attachment: String,
    /// Now.
    pub now: Timestamp,
}

impl TaskNetworkInterface<'_> {
    /// The interface, with a free address; `None` where the subnet has none left. The caller inserts the row on condition
    /// that no other has its key, and tries again where one has.
    pub fn make(self, ids: &dyn Ids, is_taken: impl Fn(Ipv4Addr) -> bool) -> Option<NetworkInterface> {
        let mut random = [0; 4];
        ids.fill(&mut random);
        let private_address = next_free_address(&self.subnet.cidr, is_taken, u32::from_ne_bytes(random))?;
        let id = ids.hex(17);
        Some(NetworkInterface {
            scope: self.subnet.scope.clone(),
            mac: mac_address(&id),
            id: format!("eni-{id}"),
            private_address,
            subnet: self.subnet.id.clone(),
            vpc: self.subnet.vpc.clone(),
            availability_zone: self.subnet.availability_zone.clone(),
            availability_zone_id: self.subnet.availability_zone_id.clone(),
            security_groups: self.security_groups,
            description: self.attachment,
            status: NetworkInterfaceStatus::InUse,
            requester_managed: true,
            owner_task: Some(self.task),
            attachment: Some(NetworkInterfaceAttachment {
                id: format!("eni-attach-{}", ids.hex(17)),
                attached_at: self.now,
            }),
            created_at: self.now,
            tags: Vec::new(),
        })
    }
}

/// The hardware address of an interface: locally administered, from the first ten digits of its id.
fn mac_address(hex: &str) -> MacAddress {
    let mut mac = [0x02, 0, 0, 0, 0, 0];
    for (byte, pair) in mac[1..].iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    MacAddress(mac)
}

/// A free address of a subnet. It is looked for from a random place on, so that an address that was just given back is
/// rarely given out next: peers may still hold connections to it.
pub fn next_free_address(
    subnet: &Ipv4Cidr,
    is_taken: impl Fn(Ipv4Addr) -> bool,
    random: u32,
) -> Option<Ipv4Addr> {
    let size = u32::try_from(subnet.size()).unwrap_or(u32::MAX);
    let usable = size.checked_sub(RESERVED_AT_START + 1).filter(|usable| *usable > 0)?;
    let start = random % usable;
    let offsets = (0..usable).map(|step| RESERVED_AT_START + (start + step) % usable);
    offsets.filter_map(|offset| subnet.nth(offset)).find(|address| !is_taken(*address))
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

/// The default VPC of AWS's layout in `cidr`: a /20 in each zone, and a security group that lets its members talk to each
/// other and to everyone. Source: "Default VPCs", "Default security groups", Amazon VPC user guide.
pub fn default_vpc(scope: &Scope, cidr: Ipv4Cidr, ids: &dyn Ids) -> DefaultVpc {
    let vpc = Vpc {
        scope: scope.clone(),
        id: format!("vpc-{}", ids.hex(17)),
        cidr,
        cidr_association_id: format!("vpc-cidr-assoc-{}", ids.hex(17)),
        dhcp_options_id: format!("dopt-{}", ids.hex(17)),
        is_default: true,
        tags: Vec::new(),
    };
    // A VPC smaller than a /16 is split in four, as a /16 of /20s is in sixteen.
    let prefix_length = DEFAULT_SUBNET_PREFIX_LENGTH.max(cidr.prefix_length() + 2);
    let subnet = |(index, letter): (u32, char)| {
        let base = cidr.nth(index << (32 - u32::from(prefix_length)))?;
        Some(Subnet {
            scope: scope.clone(),
            id: format!("subnet-{}", ids.hex(17)),
            vpc: vpc.id.clone(),
            cidr: Ipv4Cidr::containing(base, prefix_length)?,
            availability_zone: format!("{}{letter}", scope.region),
            availability_zone_id: format!("{}-az{}", zone_id_prefix(&scope.region), index + 1),
            default_for_az: true,
            map_public_ip_on_launch: true,
            tags: Vec::new(),
        })
    };
    let subnets = (0..).zip(ZONE_LETTERS).filter_map(subnet).collect();
    let group_id = format!("sg-{}", ids.hex(17));
    let rule = |is_egress, peer| SecurityGroupRule {
        id: format!("sgr-{}", ids.hex(17)),
        is_egress,
        ip_protocol: "-1".to_owned(),
        from_port: -1,
        to_port: -1,
        peer,
        description: None,
        tags: Vec::new(),
    };
    let mut rules = vec![rule(false, SecurityGroupPeer::Group(group_id.clone()))];
    if let Some(everyone) = Ipv4Cidr::containing(Ipv4Addr::UNSPECIFIED, 0) {
        rules.push(rule(true, SecurityGroupPeer::Ipv4(everyone)));
    }
    let security_group = SecurityGroup {
        scope: scope.clone(),
        id: group_id,
        vpc: vpc.id.clone(),
        name: "default".to_owned(),
        description: "default VPC security group".to_owned(),
        rules,
        tags: Vec::new(),
    };
    DefaultVpc { vpc, subnets, security_group }
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
    use base::SeededIds;
    use std::collections::BTreeSet;

    fn scope(region: &str) -> Scope {
        Scope::new("123456789012".parse().unwrap(), region.parse().unwrap())
    }

    #[test]
    fn the_default_vpc_has_awss_layout() {
        let made = default_vpc(&scope("eu-west-1"), "172.31.0.0/16".parse().unwrap(), &SeededIds::new(1));
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

    #[test]
    fn every_usable_address_is_given_once_and_no_reserved_one() {
        let subnet: Ipv4Cidr = "10.0.0.16/28".parse().unwrap();
        let mut taken = BTreeSet::new();
        for random in 0..11 {
            let address =
                next_free_address(&subnet, |address| taken.contains(&address), random * 977).unwrap();
            assert!(taken.insert(address));
        }
        assert_eq!(taken.first().unwrap().to_string(), "10.0.0.20");
        assert_eq!(taken.last().unwrap().to_string(), "10.0.0.30");
        assert_eq!(next_free_address(&subnet, |address| taken.contains(&address), 5), None);
        assert_eq!(next_free_address(&"10.0.0.0/30".parse().unwrap(), |_| false, 0), None);
    }

    #[test]
    fn an_interface_has_addresses_of_its_own() {
        let ids = SeededIds::new(3);
        let made = default_vpc(&scope("us-east-1"), "172.31.0.0/16".parse().unwrap(), &ids);
        let make = || {
            let wish = TaskNetworkInterface {
                subnet: &made.subnets[0],
                security_groups: vec![made.security_group.id.clone()],
                task: "arn:aws:ecs:us-east-1:123456789012:task/default/0".parse().unwrap(),
                attachment: "arn:aws:ecs:us-east-1:123456789012:attachment/1".to_owned(),
                now: Timestamp::from_millis(0),
            };
            wish.make(&ids, |_| false).unwrap()
        };
        let (one, other) = (make(), make());
        assert_ne!(one.mac, other.mac);
        assert_eq!(one.mac.0[0], 0x02);
        assert!(made.subnets[0].cidr.contains(one.private_address));
        let name = private_dns_name(&one.scope.region, "172.31.0.9".parse().unwrap());
        assert_eq!(name, "ip-172-31-0-9.ec2.internal");
        let elsewhere = private_dns_name(&"eu-west-1".parse().unwrap(), "172.31.0.9".parse().unwrap());
        assert_eq!(elsewhere, "ip-172-31-0-9.eu-west-1.compute.internal");
    }
}
