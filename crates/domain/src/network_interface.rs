//! Elastic network interfaces.

use std::net::{Ipv4Addr, Ipv6Addr};

use base::{Arn, Ids, MacAddress, Region, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::subnet::{Subnet, next_free_address};

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
    /// Its IPv6 addresses in the subnet.
    #[serde(default)]
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// The address that it is reached at from outside the VPC.
    #[serde(default)]
    pub public_address: Option<PublicAddress>,
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
    /// The AWS service that made it, such as `amazon-ecs`, `amazon-elb`; `None` where ECS did, or nobody but the account.
    #[serde(default)]
    pub requester: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub interface_type: NetworkInterfaceType,
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

word_enum! {
    /// What an interface is for. Source: AWS, NetworkInterface, `interfaceType`.
    #[derive(Default)]
    NetworkInterfaceType {
        /// Any other use, load balancers of applications included.
        #[default]
        Interface = "interface",
        /// A Network Load Balancer's.
        NetworkLoadBalancer = "network_load_balancer",
        /// A NAT gateway's.
        NatGateway = "nat_gateway",
    }
}

/// A public address and what it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The elastic address's allocation, such as `eipalloc-0123456789abcdef0`; `None`: given with the interface, and gone
    /// with it.
    #[serde(default)]
    pub allocation_id: Option<String>,
    /// Such as `eipassoc-0123456789abcdef0`, where there is an allocation.
    #[serde(default)]
    pub association_id: Option<String>,
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
    format!("ip-{a}-{b}-{c}-{d}.{}", private_dns_domain(region))
}

/// The domain of a region's private names, which tasks' resolvers search.
pub fn private_dns_domain(region: &Region) -> String {
    // us-east-1 came before regions had names of their own.
    match region.as_str() {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    }
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
            ipv6_addresses: Vec::new(),
            public_address: None,
            subnet: self.subnet.id.clone(),
            vpc: self.subnet.vpc.clone(),
            availability_zone: self.subnet.availability_zone.clone(),
            availability_zone_id: self.subnet.availability_zone_id.clone(),
            security_groups: self.security_groups,
            description: self.attachment,
            status: NetworkInterfaceStatus::InUse,
            requester_managed: true,
            requester: None,
            interface_type: NetworkInterfaceType::Interface,
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
pub fn mac_address(hex: &str) -> MacAddress {
    let mut mac = [0x02, 0, 0, 0, 0, 0];
    for (byte, pair) in mac[1..].iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    MacAddress(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_vpc;
    use base::SeededIds;

    fn scope(region: &str) -> Scope {
        Scope::new("123456789012".parse().unwrap(), region.parse().unwrap())
    }

    #[test]
    fn an_interface_has_addresses_of_its_own() {
        let ids = SeededIds::new(3);
        let made = default_vpc(&scope("us-east-1"), "172.31.0.0/16".parse().unwrap(), &ids).default;
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
