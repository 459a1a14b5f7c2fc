//! Tracked connections of tasks and containers that are gone: they are forgotten, or a client that goes on from the same port
//! would be led to the old one for ever (UDP), whoever has its port or public address by then, and whom the old one spoke to
//! could answer the new one past its security groups.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::nftables::{NftablesError, NftablesSocket};

const GET: u16 = 1;
const DELETE: u16 = 2;
/// CTA_TUPLE_ORIG, CTA_TUPLE_REPLY and CTA_ID of linux/netfilter/nfnetlink_conntrack.h.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;

/// Connections that end at one of `addresses`: what is answered from it, translated or not, and what was asked from it.
///
/// Walks all connections of the machine once, whatever the number of addresses: milliseconds, or a hundred of them where it has
/// hundreds of thousands. A thread that may block calls it.
pub(crate) fn forget(socket: &mut NftablesSocket, addresses: &HashSet<IpAddr>) -> Result<(), NftablesError> {
    if addresses.is_empty() {
        return Ok(());
    }
    let subsystem = libc::NFNL_SUBSYS_CTNETLINK as u16;
    let mut found = Vec::new();
    socket.dump_each(subsystem, GET, libc::AF_UNSPEC as u8, |family, payload| {
        found.extend(Connection::read(payload).filter(|it| it.has_end(addresses)).map(|it| (family, it)));
    })?;
    for (family, connection) in found {
        let forgotten = socket.ask(subsystem, DELETE, family, |message| {
            message.nested_bytes(ORIGINAL, &connection.original);
            if let Some(id) = &connection.id {
                // A younger connection between the same ends stays.
                message.bytes(ID, id);
            }
        });
        match forgotten {
            // It ended meanwhile.
            Err(error) if error.kernel_error() == Some(libc::ENOENT) => {}
            forgotten => forgotten?,
        }
    }
    Ok(())
}

struct Connection {
    original: Vec<u8>,
    asker: IpAddr,
    answerer: IpAddr,
    id: Option<Vec<u8>>,
}

impl Connection {
    fn read(payload: &[u8]) -> Option<Self> {
        let attributes = crate::nftables::read_attributes(payload);
        let value = |kind| attributes.iter().find(|(found, _)| *found == kind).map(|(_, value)| *value);
        let original = value(ORIGINAL)?;
        Some(Self {
            asker: source(original)?,
            answerer: source(value(REPLY)?)?,
            original: original.to_vec(),
            id: value(ID).map(<[u8]>::to_vec),
        })
    }

    fn has_end(&self, addresses: &HashSet<IpAddr>) -> bool {
        addresses.contains(&self.asker) || addresses.contains(&self.answerer)
    }
}

/// The source address of a tuple: CTA_TUPLE_IP { CTA_IP_V4_SRC or CTA_IP_V6_SRC }.
fn source(tuple: &[u8]) -> Option<IpAddr> {
    const ADDRESSES: u16 = 1;
    const IPV4_SOURCE: u16 = 1;
    const IPV6_SOURCE: u16 = 3;
    let attributes = crate::nftables::read_attributes(tuple);
    let (_, addresses) = attributes.into_iter().find(|(kind, _)| *kind == ADDRESSES)?;
    crate::nftables::read_attributes(addresses).into_iter().find_map(|(kind, value)| match kind {
        IPV4_SOURCE => Some(Ipv4Addr::from(*value.first_chunk::<4>()?).into()),
        IPV6_SOURCE => Some(Ipv6Addr::from(*value.first_chunk::<16>()?).into()),
        _ => None,
    })
}
