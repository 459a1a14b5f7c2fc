//! The network of the containers' bridge: which one it is, and what a container gets of it.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use base::{Ipv4Cidr, MacAddress};

use crate::error::NetworkError;
use crate::net::metadata_link;
use crate::sysctl::Shared;

/// The name of the containers' network among the VPCs of a node; a VPC's begins with `vpc-`.
pub(crate) const CONTAINERS: &str = "bridge";
/// Addresses of a claim as text, at most.
const CLAIM_BYTES_MAXIMUM: u64 = 64;

/// What a container of network mode `bridge` has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerNetwork {
    /// A file to enter the namespace by, setns(2); it stays until [`crate::Network::detach`].
    pub namespace: PathBuf,
    /// Its address.
    pub address: Ipv4Addr,
    /// Of the bridge's network.
    pub prefix_length: u8,
    /// The bridge's own address.
    pub gateway: Ipv4Addr,
    /// Of its interface.
    pub mac: MacAddress,
}

/// The hardware address that goes with an address, as Docker makes it.
pub(crate) fn mac_of(address: Ipv4Addr) -> MacAddress {
    let [a, b, c, d] = address.octets();
    MacAddress([0x02, 0x42, a, b, c, d])
}

/// Networks for the bridge, best first: Docker's small ones from the top down, which few number a VPC by, then its big ones.
/// Source: Docker's default address pools.
fn candidates() -> impl Iterator<Item = Ipv4Cidr> {
    let small = (0..16_u8).rev().map(|sixteenth| (Ipv4Addr::new(192, 168, sixteenth * 16, 0), 20));
    let big = (16..32).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    small.chain(big).filter_map(|(base, prefix_length)| Ipv4Cidr::containing(base, prefix_length))
}

/// Claims a network for the bridge of the instance `name`, that overlaps none of `taken` nor what another running instance has
/// claimed. The claim holds until the instance's [`crate::Network`] is shut down.
pub(crate) fn claim(
    shared: &Shared,
    name: &str,
    taken: &[Ipv4Cidr],
    links: &[String],
) -> Result<Ipv4Cidr, NetworkError> {
    let is_alive = |other: &str| links.iter().any(|link| *link == metadata_link(other));
    let _lock = shared.lock()?;
    let mut taken: Vec<Ipv4Cidr> = taken.iter().filter(|taken| taken.prefix_length() > 0).copied().collect();
    for (other, path) in shared.files(CLAIM)? {
        if other == name {
            continue;
        }
        if is_alive(&other) {
            taken.extend(read(&path)?);
        } else {
            std::fs::remove_file(&path)
                .map_err(|source| NetworkError::file("cannot remove", path, source))?;
        }
    }
    let is_free = |candidate: &Ipv4Cidr| !taken.iter().any(|taken| taken.overlaps(candidate));
    let chosen = candidates().find(is_free).ok_or(NetworkError::NoNetwork)?;
    shared.write(&format!("{CLAIM}{name}"), &chosen.to_string())?;
    Ok(chosen)
}

/// How the files of claims are called.
pub(crate) const CLAIM: &str = "bridge-";

fn read(path: &std::path::Path) -> Result<Option<Ipv4Cidr>, NetworkError> {
    use std::io::Read as _;
    let failed = |source: io::Error| NetworkError::file("cannot read", path, source);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(CLAIM_BYTES_MAXIMUM).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_one_that_few_use() {
        let all: Vec<String> = candidates().map(|cidr| cidr.to_string()).collect();
        assert_eq!(all[0], "192.168.240.0/20");
        assert_eq!(all[15], "192.168.0.0/20");
        assert_eq!(all[16], "172.16.0.0/16");
        assert_eq!(all.len(), 32);
    }
}
