//! Addresses that were given back a short while ago, and public addresses in use.

use std::net::Ipv4Addr;
use std::time::Duration;

use base::{Ipv4Cidr, Scope, Timestamp};
use serde::{Deserialize, Serialize};

/// How long an address is nobody's after its interface has gone: longer than the last owner's peers keep a connection that is
/// silent or closed. Linux waits 60 s in TIME-WAIT and tracks a silent UDP stream for 120 s (nf_conntrack-sysctl); what a node
/// itself tracks is forgotten with the interface.
pub const ADDRESS_QUARANTINE: Duration = Duration::from_secs(120);

/// A private address of a subnet that an interface has given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedAddress {
    /// Whose, where.
    pub scope: Scope,
    /// The subnet's id.
    pub subnet: String,
    /// The address.
    pub address: Ipv4Addr,
    /// When.
    pub released_at: Timestamp,
}

/// A public address that is somebody's, or was a short while ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddressUse {
    /// The address: no two accounts have the same.
    pub address: Ipv4Addr,
    /// Whose, where.
    pub scope: Scope,
    /// The id of the interface that it came with, or of the allocation that keeps it.
    pub owner: String,
    /// When it was given back; `None`: it is in use.
    #[serde(default)]
    pub released_at: Option<Timestamp>,
}

/// The public addresses of this machine's own: those of all accounts and regions come from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddressPool {
    /// The addresses.
    pub cidr: Ipv4Cidr,
    /// Whether the network around this machine leads them here, so that tasks can be seen by them from outside too.
    pub is_routed: bool,
}

impl Default for PublicAddressPool {
    /// A part of the addresses for tests of network equipment (RFC 2544), which are routed nowhere.
    fn default() -> Self {
        let cidr = Ipv4Cidr::containing(Ipv4Addr::new(198, 18, 0, 0), 20);
        let Some(cidr) = cidr else { unreachable!("a prefix of 20 bits is one") };
        Self { cidr, is_routed: false }
    }
}

/// Whether an address that was given back at `released_at` is nobody's yet.
pub fn in_quarantine(released_at: Timestamp, now: Timestamp) -> bool {
    let end = released_at
        .as_millis()
        .saturating_add(i64::try_from(ADDRESS_QUARANTINE.as_millis()).unwrap_or(i64::MAX));
    now.as_millis() < end
}
