//! Rules of IPv6, in the instance's table.
//!
//! | set | holds |
//! | --- | --- |
//! | `bridges6` | names of the bridges of VPCs that have IPv6 addresses |
//! | `vpcs6` | the VPCs' IPv6 networks |
//! | `attached6` | hardware address . IPv6 address of every attachment |

use std::net::{Ipv6Addr, SocketAddrV6};

use base::{Ipv6Cidr, MacAddress};

use crate::nftables::{
    Batch, Chain, Comparison, Element, Expression, KeyType, Meta, PayloadBase, Set, SetData, Verdict,
    interface_name, interval_ipv6, register,
};
use crate::rules::{compare, drop_packet, jump, outward, rule, to_tasks};

/// The sets.
pub(crate) fn add_sets(batch: &mut Batch) {
    let set = |name: &str, key: &[KeyType], interval| Set {
        name: name.to_owned(),
        key: key.to_vec(),
        interval,
        data: SetData::None,
    };
    batch.add_set(&set("bridges6", &[KeyType::InterfaceName], false));
    batch.add_set(&set("vpcs6", &[KeyType::Ipv6Address], true));
    batch.add_set(&set("attached6", &[KeyType::EthernetAddress, KeyType::Ipv6Address], false));
}

/// Adds a VPC's network.
pub(crate) fn add_vpc(batch: &mut Batch, bridge: &str, cidr: Ipv6Cidr) {
    batch.add_elements("bridges6", &[Element::new(&[&interface_name(bridge)])]);
    batch.add_elements("vpcs6", &interval_ipv6(cidr));
}

/// Takes it out.
pub(crate) fn remove_vpc(batch: &mut Batch, bridge: &str, cidr: Ipv6Cidr) {
    batch.delete_elements("bridges6", &[Element::new(&[&interface_name(bridge)])]);
    batch.delete_elements("vpcs6", &interval_ipv6(cidr));
}

/// Lets an attachment send.
pub(crate) fn add_attached(batch: &mut Batch, mac: MacAddress, addresses: &[Ipv6Addr]) {
    batch.add_elements("attached6", &attached(mac, addresses));
}

/// Lets it send no more.
pub(crate) fn remove_attached(batch: &mut Batch, mac: MacAddress, addresses: &[Ipv6Addr]) {
    batch.delete_elements("attached6", &attached(mac, addresses));
}

fn attached(mac: MacAddress, addresses: &[Ipv6Addr]) -> Vec<Element> {
    addresses.iter().map(|address| Element::new(&[&mac.0, &address.octets()])).collect()
}

/// From tasks of VPCs that have IPv6 addresses, from their own addresses only; and from an address of the link what finds
/// neighbours and routers and says which groups of the link one hears (RFC 4861, 2710, 3810), for that goes no further than
/// this host. What claims to be a router's is nobody's.
pub(crate) fn add_from_tasks(batch: &mut Batch) {
    const OWN: [Comparison; 2] = [Comparison::AtLeast, Comparison::AtMost];
    let elsewhere = vec![
        Expression::Meta { key: Meta::InputInterfaceName, to: register::FIRST },
        Expression::Lookup { set: "bridges6".to_owned(), from: register::FIRST, inverted: true },
    ];
    batch.add_rule("from_tasks", &rule(&[ipv6(), elsewhere, drop_packet()]));
    for (first, last) in [(131, 133), (135, 136), (143, 143)] {
        let mut kind = vec![Expression::Payload {
            base: PayloadBase::Transport,
            offset: 0,
            length: 1,
            to: register::FIRST,
        }];
        for (comparison, value) in OWN.into_iter().zip([first, last]) {
            kind.push(compare(comparison, &[value]));
        }
        let back = vec![Expression::Verdict(Verdict::Return)];
        batch.add_rule("from_tasks", &rule(&[ipv6(), of_the_link(), is_icmp(), kind, back]));
    }
    let own_addresses = vec![
        Expression::Meta { key: Meta::InputInterfaceType, to: register::FIRST },
        compare(Comparison::Equal, &libc::ARPHRD_ETHER.to_ne_bytes()),
        Expression::Payload { base: PayloadBase::Link, offset: 6, length: 6, to: register::PART_0 },
        Expression::Payload { base: PayloadBase::Network, offset: 8, length: 16, to: register::PART_0 + 2 },
        Expression::Lookup { set: "attached6".to_owned(), from: register::PART_0, inverted: true },
    ];
    batch.add_rule("from_tasks", &rule(&[ipv6(), own_addresses, drop_packet()]));
}

/// Where clouds serve a host's credentials by IPv6, which are addresses that are routed: Amazon's, and Google's.
const CREDENTIALS: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// As 169.254.169.254 for IPv4: the credentials of a cloud host are not for tasks.
pub(crate) fn add_forward(batch: &mut Batch, from_tasks: &[Expression]) {
    for address in CREDENTIALS {
        batch.add_rule("forward", &rule(&[from_tasks.to_vec(), ipv6(), destination(address), drop_packet()]));
    }
}

/// The resolver of every VPC, from inside a task. Source: Amazon VPC user guide, "Amazon DNS server".
const RESOLVER_FROM_TASKS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253);
/// The chain that translates it.
const RESOLVER_CHAIN: &str = "resolver6";
const DNS_PORT: u16 = 53;

/// Leads tasks to the resolver.
pub(crate) fn add_resolver(batch: &mut Batch, from_tasks: &[Expression], endpoint: Option<SocketAddrV6>) {
    batch.add_chain(&Chain { name: RESOLVER_CHAIN, hook: None });
    let to_resolver =
        rule(&[from_tasks.to_vec(), ipv6(), destination(RESOLVER_FROM_TASKS), jump(RESOLVER_CHAIN)]);
    batch.add_rule("nat_prerouting", &to_resolver);
    translate_resolver(batch, endpoint);
}

/// Moves it.
pub(crate) fn move_resolver(batch: &mut Batch, endpoint: Option<SocketAddrV6>) {
    batch.flush_chain(RESOLVER_CHAIN);
    translate_resolver(batch, endpoint);
}

/// Over both transports.
fn translate_resolver(batch: &mut Batch, endpoint: Option<SocketAddrV6>) {
    let Some(endpoint) = endpoint else { return };
    for protocol in [libc::IPPROTO_UDP, libc::IPPROTO_TCP] {
        let transport = vec![
            Expression::Meta { key: Meta::TransportProtocol, to: register::FIRST },
            compare(Comparison::Equal, &[protocol as u8]),
        ];
        let port = vec![
            Expression::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: register::FIRST },
            compare(Comparison::Equal, &DNS_PORT.to_be_bytes()),
        ];
        let translate = vec![
            Expression::Constant { to: register::FIRST, value: endpoint.ip().octets().to_vec() },
            Expression::Constant { to: register::SECOND, value: endpoint.port().to_be_bytes().to_vec() },
            Expression::DestinationNatIpv6 { address: register::FIRST, port: register::SECOND },
        ];
        batch.add_rule(RESOLVER_CHAIN, &rule(&[ipv6(), transport, port, translate]));
    }
}

/// The host's address that it listens on is for tasks and the host itself, not for the host's neighbours.
pub(crate) fn add_host_input(batch: &mut Batch, host: Ipv6Addr, elsewhere: Vec<Expression>) {
    batch.add_rule("input", &rule(&[ipv6(), destination(host), elsewhere, drop_packet()]));
}

fn destination(address: Ipv6Addr) -> Vec<Expression> {
    vec![
        Expression::Payload { base: PayloadBase::Network, offset: 24, length: 16, to: register::FIRST },
        compare(Comparison::Equal, &address.octets()),
    ]
}

/// As for IPv4: the host must not tell tasks to send directly.
pub(crate) fn add_output(batch: &mut Batch) {
    const REDIRECT: u8 = 137;
    let redirect = vec![
        Expression::Payload { base: PayloadBase::Transport, offset: 0, length: 1, to: register::FIRST },
        compare(Comparison::Equal, &[REDIRECT]),
    ];
    batch.add_rule("output", &rule(&[to_tasks(), ipv6(), is_icmp(), redirect, drop_packet()]));
}

/// To the outside by the host's own address: the VPCs' networks are routed nowhere else.
pub(crate) fn add_translation(batch: &mut Batch) {
    let from_a_vpc = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 8, length: 16, to: register::FIRST },
        Expression::Lookup { set: "vpcs6".to_owned(), from: register::FIRST, inverted: false },
    ];
    let masquerade = vec![Expression::Masquerade];
    batch.add_rule("nat_postrouting", &rule(&[ipv6(), from_a_vpc, outward(), masquerade]));
}

/// What is the host's in another VPC is not for this one.
pub(crate) fn add_input(batch: &mut Batch, from_tasks: Vec<Expression>) {
    let of_another_vpc = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 24, length: 16, to: register::FIRST },
        Expression::Lookup { set: "vpcs6".to_owned(), from: register::FIRST, inverted: false },
        Expression::DestinationKindHere { to: register::FIRST },
        compare(Comparison::NotEqual, &u32::from(libc::RTN_LOCAL).to_ne_bytes()),
    ];
    batch.add_rule("input", &rule(&[from_tasks, ipv6(), of_another_vpc, drop_packet()]));
}

fn ipv6() -> Vec<Expression> {
    vec![
        Expression::Meta { key: Meta::Protocol, to: register::FIRST },
        compare(Comparison::Equal, &[libc::NFPROTO_IPV6 as u8]),
    ]
}

fn is_icmp() -> Vec<Expression> {
    vec![
        Expression::Meta { key: Meta::TransportProtocol, to: register::FIRST },
        compare(Comparison::Equal, &[libc::IPPROTO_ICMPV6 as u8]),
    ]
}

/// From fe80::/10.
fn of_the_link() -> Vec<Expression> {
    vec![
        Expression::Payload { base: PayloadBase::Network, offset: 8, length: 2, to: register::FIRST },
        Expression::Mask { register: register::FIRST, mask: vec![0xff, 0xc0] },
        compare(Comparison::Equal, &[0xfe, 0x80]),
    ]
}
