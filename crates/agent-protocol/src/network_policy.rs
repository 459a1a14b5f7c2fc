//! What of a VPC is enforced on a node: security groups, and who has which address. A message of our own, which the stock
//! agent drops as one of an unknown type.
//!
//! A message says what changed of each VPC since an earlier version of it, or gives the whole. An agent that has another
//! version than `after` has missed something: it refuses the message (`NackRequest`) and gets the whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The type in the frame.
pub const NETWORK_POLICY: &str = "RoadsteadNetworkPolicyMessage";

/// What is to be enforced, or what changed of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicyMessage {
    /// Cluster ARN.
    pub cluster_arn: String,
    /// Container instance ARN.
    pub container_instance_arn: String,
    /// Named by a refusal.
    pub message_id: String,
    /// Whether these are all VPCs of the node: what it has of others is void.
    pub all: bool,
    /// Whether the next message belongs to this one: nothing is enforced before the last.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// The VPCs that changed, by id.
    pub vpcs: BTreeMap<String, VpcPolicy>,
}

/// A VPC's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VpcPolicy {
    /// Rises with every change of the VPC.
    pub version: u64,
    /// The version that this changes; absent: this is the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Security groups by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub security_groups: BTreeMap<String, SecurityGroupRules>,
    /// Network interfaces by id, on whatever node they are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub network_interfaces: BTreeMap<String, InterfacePolicy>,
    /// The addresses of each subnet's router and resolver, which no security group filters; by the subnet's id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unfiltered: BTreeMap<String, Vec<String>>,
    /// Ids of groups, interfaces and subnets that are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
}

/// A network interface as far as rules need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InterfacePolicy {
    /// Its private addresses, IPv4 and IPv6.
    pub addresses: Vec<String>,
    /// Ids of its security groups.
    pub security_groups: Vec<String>,
    /// Whether it has none and takes what comes, as a network load balancer may. Else an interface in no group is reached by nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_unfiltered: bool,
    /// The public address that leads to its primary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_address: Option<String>,
    /// Whether the network around the machine leads that address to it: then the outside sees the interface by it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public_address_is_routed: bool,
}

/// A security group's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityGroupRules {
    /// Who may reach its members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<SecurityGroupRule>,
    /// Whom its members may reach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<SecurityGroupRule>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityGroupRule {
    /// The protocol's number; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// First and last port, or `type << 8 | code` of ICMP; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<(u16, u16)>,
    /// The other side, if it is a network, such as `10.0.0.0/8` or `2001:db8::/32`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The other side, if it is a security group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}
