//! What a caller says and gets.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use base::{Ipv4Cidr, Ipv6Cidr, MacAddress};
use serde::{Deserialize, Serialize};

/// How a [`crate::Network`] is set up.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// A name for this instance that is unique on the machine: 1 to 8 lower-case letters and digits. Bridges are
    /// `rs-<name>-<number>`, the nftables table is `roadstead_<name>`.
    pub name: String,
    /// A directory of this instance alone, made if missing: the record of what exists, and the namespaces' mount points.
    pub data_dir: PathBuf,
    /// Bytes, for all tasks; `None` takes that of the host's default route (1500 without one), so that no packet that a
    /// task may send is too big for the host's way out.
    pub mtu: Option<u32>,
}

/// A VPC as the node needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcNetwork {
    /// Such as `vpc-0123456789abcdef0`.
    pub id: String,
    /// All addresses of the VPC; must not overlap another VPC on this node.
    pub cidr: Ipv4Cidr,
    /// Its IPv6 addresses; `None` changes nothing where the VPC is known to have some.
    #[serde(default)]
    pub ipv6_cidr: Option<Ipv6Cidr>,
    /// Its subnets, each within `cidr`.
    pub subnets: Vec<SubnetNetwork>,
}

/// A subnet as the node needs to know it. The gateway is the address behind the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetNetwork {
    /// Such as `subnet-0123456789abcdef0`.
    pub id: String,
    /// The addresses of the subnet.
    pub cidr: Ipv4Cidr,
    /// Its IPv6 addresses, within those of the VPC.
    #[serde(default)]
    pub ipv6_cidr: Option<Ipv6Cidr>,
}

/// The network interface that a task gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The caller's name for it, such as the task's id: 1 to 64 letters, digits and hyphens.
    pub id: String,
    /// Of the interface.
    pub mac: MacAddress,
    /// The private address; it says which VPC is meant.
    pub address: Ipv4Addr,
    /// IPv6 addresses, of the same VPC.
    #[serde(default)]
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// Of the subnet.
    pub prefix_length: u8,
    /// The subnet's gateway.
    pub gateway: Ipv4Addr,
}

/// A namespace that is ready for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskNetwork {
    /// A file to enter the namespace by, setns(2); it stays until [`crate::Network::detach`].
    pub namespace: PathBuf,
    /// The names of the namespace's interfaces other than `lo`: `["eth0"]`, or none for network mode `none`.
    pub interfaces: Vec<String>,
}
