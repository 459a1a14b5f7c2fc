//! Managed prefix lists: sets of networks that security group rules and routes name by one id.

use base::{Arn, Ipv4Cidr, Ipv6Cidr, Scope, Tag};
use serde::{Deserialize, Serialize};

word_enum! {
    /// Source: AWS, ManagedPrefixList, `addressFamily`.
    AddressFamily {
        /// IPv4 networks.
        Ipv4 = "IPv4",
        /// IPv6 networks.
        Ipv6 = "IPv6",
    }
}

/// A prefix list, with its entries as they are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixList {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `pl-0123456789abcdef0`.
    pub id: String,
    /// Free text, not unique.
    pub name: String,
    /// What its entries are.
    pub address_family: AddressFamily,
    /// How many entries it may have: what it counts as in a security group and in a route table.
    pub max_entries: i32,
    /// Raised at each change of the entries, from 1.
    pub version: i64,
    /// Whether the last change was one of version, or of size.
    pub state: PrefixListState,
    /// Of the present version.
    #[serde(default)]
    pub entries: Vec<PrefixListEntry>,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

word_enum! {
    /// What was done last. Source: AWS, ManagedPrefixList, `state`.
    PrefixListState {
        /// It was made.
        CreateComplete = "create-complete",
        /// It was changed.
        ModifyComplete = "modify-complete",
        /// An older version was taken up again.
        RestoreComplete = "restore-complete",
    }
}

/// One network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixListEntry {
    /// The network.
    pub cidr: PrefixListCidr,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
}

/// A network of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PrefixListCidr {
    /// IPv4.
    Ipv4(Ipv4Cidr),
    /// IPv6.
    Ipv6(Ipv6Cidr),
}

impl std::fmt::Display for PrefixListCidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ipv4(cidr) => cidr.fmt(f),
            Self::Ipv6(cidr) => cidr.fmt(f),
        }
    }
}

impl PrefixList {
    /// `arn:aws:ec2:REGION:ACCOUNT:prefix-list/ID`.
    pub fn arn(&self) -> Arn {
        Arn::new("ec2", &self.scope, format!("prefix-list/{}", self.id))
    }
}

/// The entries of a prefix list as they were in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixListVersion {
    /// Whose, where.
    pub scope: Scope,
    /// The list's id.
    pub prefix_list: String,
    /// The version.
    pub version: i64,
    /// Its entries.
    pub entries: Vec<PrefixListEntry>,
}
