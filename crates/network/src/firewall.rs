//! Living beside other firewalls.
//!
//! A packet that one table drops is gone, whatever another accepts. Docker and others set the policy of iptables' chain
//! `FORWARD` to drop, so tasks get two rules at its head: what comes from or goes to our bridges has passed our own rules.
//! They are in the form of iptables-nft, which thus still lists the chain. Chains of other makers are left alone;
//! [`blocking_chains`] names them.

use crate::nftables::{
    Batch, ChainSummary, Comparison, Expression, Family, Hook, Meta, NftablesError, NftablesSocket, Verdict,
    register,
};

const TABLE: &str = "filter";
const CHAIN: &str = "FORWARD";

/// Lets forwarded packets of links whose names start with `prefix` through iptables' chain, where it would drop them.
/// Replaces what an earlier call left.
pub(crate) fn open(socket: &mut NftablesSocket, prefix: &str) -> Result<(), NftablesError> {
    let drops = socket.chains()?.iter().any(|chain| is_iptables_forward(chain) && chain.drops);
    let mut batch = Batch::new(Family::Ipv4, TABLE);
    remove_rules(socket, prefix, &mut batch)?;
    if drops {
        for key in [Meta::InputInterfaceName, Meta::OutputInterfaceName] {
            batch.insert_commented_rule(CHAIN, &accept(key, prefix), &comment(prefix));
        }
    }
    socket.send(&batch)
}

/// Takes the rules away again.
pub(crate) fn close(socket: &mut NftablesSocket, prefix: &str) -> Result<(), NftablesError> {
    let mut batch = Batch::new(Family::Ipv4, TABLE);
    remove_rules(socket, prefix, &mut batch)?;
    socket.send(&batch)
}

/// The chains that would drop forwarded packets of tasks and are not ours to change, as `family table chain`.
pub(crate) fn blocking_chains(socket: &mut NftablesSocket) -> Result<Vec<String>, NftablesError> {
    let blocks = |chain: &&ChainSummary| {
        let is_for_ipv4 = chain.family == Family::Inet as u8 || chain.family == Family::Ipv4 as u8;
        is_for_ipv4 && chain.drops && chain.hook == Some(Hook::Forward as u32) && !is_iptables_forward(chain)
    };
    let name = |chain: &ChainSummary| {
        let family = if chain.family == Family::Ipv4 as u8 { "ip" } else { "inet" };
        format!("{family} {} {}", chain.table, chain.name)
    };
    Ok(socket.chains()?.iter().filter(blocks).map(name).collect())
}

fn is_iptables_forward(chain: &ChainSummary) -> bool {
    chain.family == Family::Ipv4 as u8 && chain.table == TABLE && chain.name == CHAIN
}

fn comment(prefix: &str) -> String {
    format!("roadstead {prefix}")
}

fn remove_rules(socket: &mut NftablesSocket, prefix: &str, batch: &mut Batch) -> Result<(), NftablesError> {
    if !socket.chains()?.iter().any(is_iptables_forward) {
        return Ok(());
    }
    for handle in socket.commented_rules(Family::Ipv4, TABLE, CHAIN, &comment(prefix))? {
        batch.delete_rule(CHAIN, handle);
    }
    Ok(())
}

/// What `iptables -i PREFIX+ -j ACCEPT` makes.
fn accept(key: Meta, prefix: &str) -> Vec<Expression> {
    let (from, value) = (register::FIRST, prefix.as_bytes().to_vec());
    vec![
        Expression::Meta { key, to: register::FIRST },
        Expression::Compare { from, comparison: Comparison::Equal, value },
        Expression::Counter,
        Expression::Verdict(Verdict::Accept),
    ]
}
