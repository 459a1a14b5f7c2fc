//! What the kernel is told: the table's base chains, and rules as expressions.

use std::collections::BTreeMap;

use super::{PacketRule, Peer};
use crate::nftables::{
    Batch, Chain, ChainKind, Comparison, Connection, Expression, Hook, KeyType, Meta, PayloadBase, Policy,
    Set, SetData, Verdict, register,
};

const INGRESS_PRIORITY: i32 = 5;
const EGRESS_PRIORITY: i32 = -5;

/// Where an address stands in a packet of its family.
#[derive(Clone, Copy)]
struct Side {
    ipv4_offset: u32,
    ipv6_offset: u32,
}

const SOURCE: Side = Side { ipv4_offset: 12, ipv6_offset: 8 };
const DESTINATION: Side = Side { ipv4_offset: 16, ipv6_offset: 24 };

const IPV4_BYTES: u32 = 4;
const IPV6_BYTES: u32 = 16;

/// The sets of a group's members.
pub(super) fn member_sets(number: u32) -> [Set; 2] {
    [set(&format!("m{number}"), KeyType::Ipv4Address), set(&format!("n{number}"), KeyType::Ipv6Address)]
}

fn set(name: &str, key: KeyType) -> Set {
    Set { name: name.to_owned(), key: vec![key], interval: false, data: SetData::None }
}

/// The maps, the sets that are always there, and the base chains.
pub(super) fn skeleton(batch: &mut Batch) {
    for (suffix, key) in [("", KeyType::Ipv4Address), ("6", KeyType::Ipv6Address)] {
        for map in ["ingress", "egress"] {
            let map = Set { data: SetData::Verdict, ..set(&format!("{map}{suffix}"), key) };
            batch.add_set(&map);
        }
        batch.add_set(&set(&format!("unfiltered{suffix}"), key));
    }
    let chains = [
        ("egress_forward", Hook::Forward, EGRESS_PRIORITY, SOURCE, "egress"),
        ("egress_input", Hook::Input, EGRESS_PRIORITY, SOURCE, "egress"),
        ("ingress_forward", Hook::Forward, INGRESS_PRIORITY, DESTINATION, "ingress"),
        ("ingress_input", Hook::Input, INGRESS_PRIORITY, DESTINATION, "ingress"),
        ("ingress_output", Hook::Output, INGRESS_PRIORITY, DESTINATION, "ingress"),
    ];
    for (name, hook, priority, side, map) in chains {
        batch.add_chain(&Chain { name, hook: Some((ChainKind::Filter, hook, priority, Policy::Accept)) });
        batch.add_rule(name, &answers());
        if hook == Hook::Input {
            // Not filtered, as at AWS: the metadata endpoint, the resolver, the router.
            batch.add_rule(name, &link_local());
            batch.add_rule(name, &amazons_own());
            batch.add_rule(name, &unfiltered_ipv4());
            batch.add_rule(name, &unfiltered_ipv6());
        }
        if hook != Hook::Forward {
            batch.add_rule(name, &neighbour_discovery());
        }
        let lookup = |family, offset, length, map: String| {
            let load =
                Expression::Payload { base: PayloadBase::Network, offset, length, to: register::FIRST };
            [is_family(family), vec![load, Expression::VerdictMap { map, from: register::FIRST }]].concat()
        };
        let ipv4 = lookup(libc::NFPROTO_IPV4, side.ipv4_offset, IPV4_BYTES, map.to_owned());
        let ipv6 = lookup(libc::NFPROTO_IPV6, side.ipv6_offset, IPV6_BYTES, format!("{map}6"));
        batch.add_rule(name, &ipv4);
        batch.add_rule(name, &ipv6);
    }
}

/// Accepts what belongs to a connection that is there.
fn answers() -> Vec<Expression> {
    /// `established` and `related` of `ct state` (linux/netfilter/nf_conntrack_common.h).
    const ANSWERS: u32 = 0b110;
    vec![
        Expression::Connection { key: Connection::State, to: register::FIRST },
        Expression::Mask { register: register::FIRST, mask: ANSWERS.to_ne_bytes().to_vec() },
        Expression::Compare {
            from: register::FIRST,
            comparison: Comparison::NotEqual,
            value: 0_u32.to_ne_bytes().to_vec(),
        },
        Expression::Verdict(Verdict::Accept),
    ]
}

/// Accepts what goes to 169.254.0.0/16.
fn link_local() -> Vec<Expression> {
    let mut made = is_family(libc::NFPROTO_IPV4);
    made.push(Expression::Payload {
        base: PayloadBase::Network,
        offset: DESTINATION.ipv4_offset,
        length: 2,
        to: register::FIRST,
    });
    made.push(equal(&[169, 254]));
    made.push(Expression::Verdict(Verdict::Accept));
    made
}

/// Accepts what goes to fd00:ec2::/32, where AWS has its resolver and its like for IPv6.
fn amazons_own() -> Vec<Expression> {
    let mut made = is_family(libc::NFPROTO_IPV6);
    made.push(Expression::Payload {
        base: PayloadBase::Network,
        offset: DESTINATION.ipv6_offset,
        length: 4,
        to: register::FIRST,
    });
    made.push(equal(&[0xfd, 0x00, 0x0e, 0xc2]));
    made.push(Expression::Verdict(Verdict::Accept));
    made
}

fn unfiltered_ipv4() -> Vec<Expression> {
    let to_one = is_in(libc::NFPROTO_IPV4, DESTINATION.ipv4_offset, IPV4_BYTES, "unfiltered".to_owned());
    [to_one, vec![Expression::Verdict(Verdict::Accept)]].concat()
}

fn unfiltered_ipv6() -> Vec<Expression> {
    let to_one = is_in(libc::NFPROTO_IPV6, DESTINATION.ipv6_offset, IPV6_BYTES, "unfiltered6".to_owned());
    [to_one, vec![Expression::Verdict(Verdict::Accept)]].concat()
}

/// Accepts how neighbours on a link find each other in IPv6 (types 133 to 137 of ICMPv6, RFC 4861): it never leaves the link.
fn neighbour_discovery() -> Vec<Expression> {
    let mut made = is_protocol(libc::IPPROTO_ICMPV6 as u8);
    made.push(Expression::Payload {
        base: PayloadBase::Transport,
        offset: 0,
        length: 1,
        to: register::FIRST,
    });
    for (comparison, kind) in [(Comparison::AtLeast, 133), (Comparison::AtMost, 137)] {
        made.push(Expression::Compare { from: register::FIRST, comparison, value: vec![kind] });
    }
    made.push(Expression::Verdict(Verdict::Accept));
    made
}

/// A group's rules as the kernel takes them. `numbers` has every group that they name.
pub(super) fn encode_rules(
    rules: &[PacketRule],
    peer_is_source: bool,
    numbers: &BTreeMap<&str, u32>,
) -> Vec<Vec<Expression>> {
    let side = if peer_is_source { SOURCE } else { DESTINATION };
    rules.iter().flat_map(|rule| encode_rule(rule, side, numbers)).collect()
}

fn encode_rule(rule: &PacketRule, side: Side, numbers: &BTreeMap<&str, u32>) -> Vec<Vec<Expression>> {
    let peers = match &rule.peer {
        Peer::Cidr(cidr) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(cidr.prefix_length())).unwrap_or(0);
            let (mask, base) = (mask.to_be_bytes(), cidr.base().octets());
            vec![network(libc::NFPROTO_IPV4, side.ipv4_offset, &mask, &base)]
        }
        Peer::Ipv6Cidr(cidr) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(cidr.prefix_length())).unwrap_or(0);
            let (mask, base) = (mask.to_be_bytes(), cidr.base().octets());
            vec![network(libc::NFPROTO_IPV6, side.ipv6_offset, &mask, &base)]
        }
        Peer::Group(id) => match numbers.get(id.as_str()) {
            Some(number) => vec![
                is_in(libc::NFPROTO_IPV4, side.ipv4_offset, IPV4_BYTES, format!("m{number}")),
                is_in(libc::NFPROTO_IPV6, side.ipv6_offset, IPV6_BYTES, format!("n{number}")),
            ],
            None => Vec::new(),
        },
    };
    let kind = traffic(rule);
    let accept = || vec![Expression::Verdict(Verdict::Accept)];
    peers.into_iter().map(|peer| [peer, kind.clone(), accept()].concat()).collect()
}

/// Holds for packets of a family whose address lies in a network.
fn network(family: i32, offset: u32, mask: &[u8], base: &[u8]) -> Vec<Expression> {
    let mut made = is_family(family);
    if mask.iter().any(|byte| *byte != 0) {
        let length = mask.len() as u32;
        made.push(Expression::Payload { base: PayloadBase::Network, offset, length, to: register::FIRST });
        made.push(Expression::Mask { register: register::FIRST, mask: mask.to_vec() });
        made.push(equal(base));
    }
    made
}

/// Holds for packets of a family whose address is in a set.
fn is_in(family: i32, offset: u32, length: u32, set: String) -> Vec<Expression> {
    let mut made = is_family(family);
    made.push(Expression::Payload { base: PayloadBase::Network, offset, length, to: register::FIRST });
    made.push(Expression::Lookup { set, from: register::FIRST, inverted: false });
    made
}

/// Holds for packets of a rule's protocol and ports.
fn traffic(rule: &PacketRule) -> Vec<Expression> {
    let Some(protocol) = rule.protocol else { return Vec::new() };
    let mut made = is_protocol(protocol);
    let Some((first, last)) = rule.ports.filter(|ports| *ports != (0, u16::MAX)) else { return made };
    let is_icmp = [libc::IPPROTO_ICMP, libc::IPPROTO_ICMPV6].contains(&i32::from(protocol));
    let offset = if is_icmp { 0 } else { 2 };
    made.push(Expression::Payload { base: PayloadBase::Transport, offset, length: 2, to: register::FIRST });
    for (comparison, port) in [(Comparison::AtLeast, first), (Comparison::AtMost, last)] {
        let value = port.to_be_bytes().to_vec();
        made.push(Expression::Compare { from: register::FIRST, comparison, value });
    }
    made
}

fn is_family(family: i32) -> Vec<Expression> {
    vec![Expression::Meta { key: Meta::Protocol, to: register::FIRST }, equal(&[family as u8])]
}

fn is_protocol(protocol: u8) -> Vec<Expression> {
    vec![Expression::Meta { key: Meta::TransportProtocol, to: register::FIRST }, equal(&[protocol])]
}

fn equal(value: &[u8]) -> Expression {
    Expression::Compare { from: register::FIRST, comparison: Comparison::Equal, value: value.to_vec() }
}
