//! Subnets, and the choice of a free address in one.

use std::net::{Ipv4Addr, Ipv6Addr};

use base::{Arn, Ids, Ipv4Cidr, Ipv6Cidr, Scope, Tag};
use serde::{Deserialize, Serialize};

use crate::vpc::Ipv6CidrAssociation;

/// Addresses at the start of a subnet that AWS keeps: network, gateway, DNS, future use. The last one is kept too.
/// Source: "Subnet CIDR blocks", Amazon VPC user guide.
const RESERVED_AT_START: u32 = 4;

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
    /// Its IPv6 addresses: a /64, where it was asked for.
    #[serde(default)]
    pub ipv6: Option<Ipv6CidrAssociation>,
    /// Whether interfaces get an IPv6 address unless they say otherwise.
    #[serde(default)]
    pub assign_ipv6_address_on_creation: bool,
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

    /// The IPv6 address of the router: the one behind the first.
    pub fn ipv6_gateway(&self) -> Option<Ipv6Addr> {
        self.ipv6.as_ref()?.cidr.nth(1)
    }

    /// The id of its association with the VPC's network ACL, which is not stored.
    pub fn network_acl_association_id(&self) -> String {
        self.id.replacen("subnet-", "aclassoc-", 1)
    }

    /// Whether an interface can have this address: it is one of the subnet's, and AWS does not keep it.
    pub fn is_usable(&self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.cidr.base()));
        self.cidr.contains(address) && offset >= RESERVED_AT_START && address != self.cidr.last()
    }

    /// How many addresses interfaces can have.
    pub fn usable_addresses(&self) -> u64 {
        self.cidr.size().saturating_sub(u64::from(RESERVED_AT_START) + 1)
    }
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

/// Tries of a random IPv6 address: in a /64 the first is free.
const IPV6_TRIES: usize = 64;

/// A free IPv6 address of a subnet, chosen at random; none of those at its start, which AWS keeps.
pub fn next_free_ipv6_address(
    subnet: &Ipv6Cidr,
    is_taken: impl Fn(Ipv6Addr) -> bool,
    ids: &dyn Ids,
) -> Option<Ipv6Addr> {
    (0..IPV6_TRIES).find_map(|_| {
        let mut random = [0; 8];
        ids.fill(&mut random);
        let offset = u64::from_be_bytes(random);
        let reserved = u64::from(RESERVED_AT_START);
        let address = subnet.nth(offset).filter(|_| offset >= reserved && offset != u64::MAX)?;
        (!is_taken(address)).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
    fn ipv6_addresses_are_free_ones_of_the_subnet() {
        let subnet: Ipv6Cidr = "fd00:1:2:3::/64".parse().unwrap();
        let ids = base::SeededIds::new(4);
        let first = next_free_ipv6_address(&subnet, |_| false, &ids).unwrap();
        assert!(subnet.contains(first));
        let ids = base::SeededIds::new(4);
        let second = next_free_ipv6_address(&subnet, |address| address == first, &ids).unwrap();
        assert!(subnet.contains(second) && second != first);
        assert_eq!(next_free_ipv6_address(&subnet, |_| true, &ids), None);
    }
}
