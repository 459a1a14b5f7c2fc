//! Answers to addresses that are not this machine's, for Network Load Balancers that keep their clients' addresses.
//!
//! A connection from a client's own address (IP_TRANSPARENT, ip(7)) gets its answers by way of this machine, whose routes
//! would send them on to the client. A table of nftables marks what belongs to such a socket, and a rule of routing
//! delivers what is marked here. Source: `Documentation/networking/tproxy.rst`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::PoisonError;

use super::{Inner, Network};
use crate::error::NetworkError;
use crate::nftables::{
    Batch, Chain, ChainKind, Comparison, Expression, Family, Hook, Meta, Policy, register,
};

/// Before the decision where a packet goes.
const MANGLE: i32 = -150;
/// Ours among the rules of routing: behind that of local addresses, before the main table's.
const RULE_PRIORITY: u32 = 5_253;

impl Network {
    /// From now on, sockets of this process may speak from addresses of others to tasks. Asked again, nothing happens. An
    /// error where the kernel lacks `nft_socket`.
    pub async fn deliver_to_transparent_sockets(&self) -> Result<(), NetworkError> {
        let inner = &self.inner;
        {
            let _open = inner.open_state()?;
            let mut socket = inner.nftables.lock().unwrap_or_else(PoisonError::into_inner);
            socket.send(&table(&inner.name)).map_err(NetworkError::Nftables)?;
        }
        let mark = mark(&inner.name);
        inner.links.add_rule_of_mark(mark, RULE_PRIORITY).await?;
        inner.links.add_all_local_route(mark).await
    }
}

impl Inner {
    /// Takes all of it away; nothing happens where it is not there.
    pub(super) async fn forget_transparent_sockets(&self) -> Result<(), NetworkError> {
        {
            let mut socket = self.nftables.lock().unwrap_or_else(PoisonError::into_inner);
            let mut batch = Batch::new(Family::Inet, &table_name(&self.name));
            batch.add_table().delete_table();
            socket.send(&batch).map_err(NetworkError::Nftables)?;
        }
        let mark = mark(&self.name);
        self.links.remove_rule_of_mark(mark, RULE_PRIORITY).await?;
        self.links.remove_all_local_route(mark).await
    }
}

/// The mark of an instance's packets, and the number of its routing table.
fn mark(instance: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    ("transparent", instance).hash(&mut hasher);
    // Far from the small numbers that people choose.
    0x5253_0000 | (hasher.finish() as u32 & 0xffff)
}

fn table_name(instance: &str) -> String {
    format!("roadstead_{instance}_tp")
}

fn table(instance: &str) -> Batch {
    let mut batch = Batch::new(Family::Inet, &table_name(instance));
    batch.add_table().delete_table();
    batch.add_table();
    batch.add_chain(&Chain {
        name: "prerouting",
        hook: Some((ChainKind::Filter, Hook::Prerouting, MANGLE, Policy::Accept)),
    });
    batch.add_rule(
        "prerouting",
        &[
            Expression::Meta { key: Meta::Protocol, to: register::FIRST },
            Expression::Compare {
                from: register::FIRST,
                comparison: Comparison::Equal,
                value: vec![libc::NFPROTO_IPV4 as u8],
            },
            Expression::TransparentSocket { to: register::FIRST },
            Expression::Compare { from: register::FIRST, comparison: Comparison::Equal, value: vec![1] },
            Expression::Constant { to: register::FIRST, value: mark(instance).to_ne_bytes().to_vec() },
            Expression::SetMark { from: register::FIRST },
        ],
    );
    batch
}
