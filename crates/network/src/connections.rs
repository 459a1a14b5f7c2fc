//! Tracked connections of containers that are gone: they are forgotten, or a client that goes on from the same port would be led
//! to the old container for ever (UDP), whoever has the published port by then.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use crate::nftables::{NftablesError, NftablesSocket};

const GET: u16 = 1;
const DELETE: u16 = 2;
/// CTA_TUPLE_ORIG and CTA_TUPLE_REPLY of linux/netfilter/nfnetlink_conntrack.h.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;

/// Forgets the connections that are answered from one of `addresses`.
pub(crate) fn forget(addresses: &HashSet<Ipv4Addr>) -> Result<(), NftablesError> {
    if addresses.is_empty() {
        return Ok(());
    }
    let mut socket = NftablesSocket::open()?;
    let subsystem = libc::NFNL_SUBSYS_CTNETLINK as u16;
    let all = socket.dump_of(subsystem, GET, libc::AF_INET as u8, |_| {})?;
    for (_, payload) in &all {
        let attributes = crate::nftables::read_attributes(payload);
        let value = |kind| attributes.iter().find(|(found, _)| *found == kind).map(|(_, value)| *value);
        let (Some(original), Some(reply)) = (value(ORIGINAL), value(REPLY)) else { continue };
        if source(reply).is_none_or(|address| !addresses.contains(&address)) {
            continue;
        }
        let forgotten = socket.ask(subsystem, DELETE, libc::AF_INET as u8, |message| {
            message.nested_bytes(ORIGINAL, original);
        });
        match forgotten {
            // It ended meanwhile.
            Err(error) if error.kernel_error() == Some(libc::ENOENT) => {}
            forgotten => forgotten?,
        }
    }
    Ok(())
}

/// The source address of a tuple: CTA_TUPLE_IP { CTA_IP_V4_SRC }.
fn source(tuple: &[u8]) -> Option<Ipv4Addr> {
    const ADDRESSES: u16 = 1;
    const SOURCE: u16 = 1;
    let find = |bytes: &[u8], wanted| {
        let attributes = crate::nftables::read_attributes(bytes);
        attributes.into_iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value.to_vec())
    };
    let address = find(&find(tuple, ADDRESSES)?, SOURCE)?;
    Some(Ipv4Addr::from(*address.first_chunk::<4>()?))
}
