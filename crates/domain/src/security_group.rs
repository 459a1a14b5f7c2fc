//! Security groups and their rules.

use std::net::{Ipv4Addr, Ipv6Addr};

use base::{Arn, Ids, Ipv4Cidr, Ipv6Cidr, Scope, Tag};
use serde::{Deserialize, Serialize};

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
    /// IPv6 addresses.
    Ipv6(Ipv6Cidr),
    /// The interfaces that have this group, by its id.
    Group(String),
    /// The networks of a prefix list, by its id.
    PrefixList(String),
}

/// The group `default` of a VPC: its members talk to each other and to everyone. Source: "Default security groups".
pub(crate) fn default_security_group(scope: &Scope, vpc: &str, ids: &dyn Ids) -> SecurityGroup {
    let group_id = format!("sg-{}", ids.hex(17));
    let mut rules =
        vec![SecurityGroupRule::of_all_traffic(false, SecurityGroupPeer::Group(group_id.clone()), ids)];
    rules.extend(to_everyone(ids));
    SecurityGroup {
        scope: scope.clone(),
        id: group_id,
        vpc: vpc.to_owned(),
        name: "default".to_owned(),
        description: "default VPC security group".to_owned(),
        rules,
        tags: Vec::new(),
    }
}

/// The rule that every new group has: all traffic out to every IPv4 address.
pub fn to_everyone(ids: &dyn Ids) -> Option<SecurityGroupRule> {
    let everyone = Ipv4Cidr::containing(Ipv4Addr::UNSPECIFIED, 0)?;
    Some(SecurityGroupRule::of_all_traffic(true, SecurityGroupPeer::Ipv4(everyone), ids))
}

/// The rule that AWS adds where a VPC gets IPv6 addresses: all traffic out to every IPv6 address.
pub fn to_everyone_ipv6(ids: &dyn Ids) -> Option<SecurityGroupRule> {
    let everyone = Ipv6Cidr::containing(Ipv6Addr::UNSPECIFIED, 0)?;
    Some(SecurityGroupRule::of_all_traffic(true, SecurityGroupPeer::Ipv6(everyone), ids))
}

impl SecurityGroupRule {
    fn of_all_traffic(is_egress: bool, peer: SecurityGroupPeer, ids: &dyn Ids) -> Self {
        Self {
            id: format!("sgr-{}", ids.hex(17)),
            is_egress,
            ip_protocol: "-1".to_owned(),
            from_port: -1,
            to_port: -1,
            peer,
            description: None,
            tags: Vec::new(),
        }
    }

    /// Whether the two let the same traffic through: a group has one such rule at most.
    pub fn is_same_traffic(&self, other: &Self) -> bool {
        self.is_egress == other.is_egress
            && self.ip_protocol == other.ip_protocol
            && (self.from_port, self.to_port) == (other.from_port, other.to_port)
            && self.peer == other.peer
    }
}
