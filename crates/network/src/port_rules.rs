//! Rules of network mode `bridge`, in the instance's table: containers, and ports of them published on the host.
//!
//! | object | holds |
//! | --- | --- |
//! | `container_links` | names of the containers' links |
//! | `container_sources` | link . address of every container |
//! | `container_networks` | their network |
//! | `published` | map: protocol . port on the host leads to address . port of a container |
//! | `unpublished` | addresses of the host at which nothing is published: those of load balancers |
//!
//! What is meant for the host itself, from wherever it comes, is translated: from outside, from tasks and from other
//! containers before routing, from the host's own processes on their way out.

use std::net::{Ipv4Addr, SocketAddrV4};

use base::Ipv4Cidr;

use crate::host_ports::{Protocol, PublishedPorts};
use crate::nftables::{
    Batch, Chain, ChainKind, Comparison, Connection, Element, Expression, Hook, KeyType, Meta, PayloadBase,
    Policy, Set, SetData, Verdict, interface_name, interval, register,
};
use crate::rules::{accept, compare, drop_packet, ipv4, jump, rule, to_tasks};

/// The chain that translates to containers.
const PUBLISHED_CHAIN: &str = "published_ports";
/// IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h: the connection's destination is translated.
const DESTINATION_TRANSLATED: u32 = 1 << 5;

/// A container's address and the ports that are published for it.
pub(crate) type Published = (Ipv4Addr, Vec<PublishedPorts>);

/// The sets.
pub(crate) fn add_sets(batch: &mut Batch) {
    let set = |name: &str, key: &[KeyType], interval, data| Set {
        name: name.to_owned(),
        key: key.to_vec(),
        interval,
        data,
    };
    batch.add_set(&set("container_links", &[KeyType::InterfaceName], false, SetData::None));
    let key = [KeyType::InterfaceName, KeyType::Ipv4Address];
    batch.add_set(&set("container_sources", &key, false, SetData::None));
    batch.add_set(&set("container_networks", &[KeyType::Ipv4Address], true, SetData::None));
    batch.add_set(&set("unpublished", &[KeyType::Ipv4Address], false, SetData::None));
    let key = [KeyType::TransportProtocol, KeyType::Port];
    batch.add_set(&set("published", &key, false, SetData::Endpoint));
}

/// The containers' network.
pub(crate) fn add_network(batch: &mut Batch, cidr: Ipv4Cidr) {
    batch.add_elements("container_networks", &interval(cidr));
}

/// Takes it back.
pub(crate) fn remove_network(batch: &mut Batch, cidr: Ipv4Cidr) {
    batch.delete_elements("container_networks", &interval(cidr));
}

/// Lets a container send, from its own link and address.
pub(crate) fn add_container(batch: &mut Batch, link: &str, address: Ipv4Addr) {
    let link = interface_name(link);
    batch.add_elements("bridges", &[Element::new(&[&link])]);
    batch.add_elements("container_links", &[Element::new(&[&link])]);
    batch.add_elements("container_sources", &[Element::new(&[&link, &address.octets()])]);
}

/// Lets it send no more. Its packets are looked at until its link is gone (see [`forget_links`]), and all are dropped.
pub(crate) fn remove_container(batch: &mut Batch, link: &str, address: Ipv4Addr) {
    let name = interface_name(link);
    batch.delete_elements("container_sources", &[Element::new(&[&name, &address.octets()])]);
}

/// Forgets the links of containers that are gone.
pub(crate) fn forget_links(batch: &mut Batch, links: &[&str]) {
    for set in ["bridges", "container_links"] {
        for link in links {
            let element = [Element::new(&[&interface_name(link)])];
            // One that is not there may not be deleted; adding one that is there is no error.
            batch.add_elements(set, &element);
            batch.delete_elements(set, &element);
        }
    }
}

/// Publishes nothing at this address of the host, or does so again.
pub(crate) fn change_unpublished(batch: &mut Batch, address: Ipv4Addr, there: bool) {
    let element = [Element::new(&[&address.octets()])];
    // What is there already may be added, what is not there may not be deleted.
    batch.add_elements("unpublished", &element);
    if !there {
        batch.delete_elements("unpublished", &element);
    }
}

/// Publishes ports.
pub(crate) fn publish(batch: &mut Batch, address: Ipv4Addr, ports: &[PublishedPorts]) {
    let elements: Vec<Element> = each(ports)
        .map(|(key, container_port)| key.leading_to_endpoint(SocketAddrV4::new(address, container_port)))
        .collect();
    batch.add_elements("published", &elements);
}

/// Takes them back.
pub(crate) fn withdraw(batch: &mut Batch, ports: &[PublishedPorts]) {
    let elements: Vec<Element> = each(ports).map(|(key, _)| key).collect();
    batch.delete_elements("published", &elements);
}

fn each(ports: &[PublishedPorts]) -> impl Iterator<Item = (Element, u16)> {
    ports.iter().flat_map(|ports| {
        let protocol = [ports.protocol.number()];
        ports
            .pairs()
            .map(move |(container, host)| (Element::new(&[&protocol, &host.to_be_bytes()]), container))
    })
}

/// The chain that translates, and its way in for the host's own processes.
pub(crate) fn add_translation(batch: &mut Batch) {
    const DESTINATION: i32 = -100;
    const LOCAL: u32 = libc::RTN_LOCAL as u32;
    batch.add_chain(&Chain { name: PUBLISHED_CHAIN, hook: None });
    let to_the_host = vec![
        Expression::DestinationKind { to: register::FIRST },
        compare(Comparison::Equal, &LOCAL.to_ne_bytes()),
    ];
    let not_kept_free = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 4, to: register::FIRST },
        Expression::Lookup { set: "unpublished".to_owned(), from: register::FIRST, inverted: true },
    ];
    // Only the one address of loopback that is held: others may be other programs'.
    let other_loopback = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 1, to: register::FIRST },
        compare(Comparison::Equal, &[127]),
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 4, to: register::FIRST },
        compare(Comparison::NotEqual, &Ipv4Addr::LOCALHOST.octets()),
        Expression::Verdict(Verdict::Return),
    ];
    batch.add_rule(PUBLISHED_CHAIN, &rule(&[ipv4(), other_loopback]));
    // The address comes to stand in the first part of the register, the port in the second.
    let translate = vec![
        Expression::Meta { key: Meta::TransportProtocol, to: register::PART_0 },
        Expression::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: register::PART_0 + 1 },
        Expression::Map { map: "published".to_owned(), from: register::PART_0, to: register::PART_0 },
        Expression::DestinationNat { address: register::PART_0, port: register::PART_0 + 1 },
    ];
    batch.add_rule(PUBLISHED_CHAIN, &rule(&[ipv4(), to_the_host, not_kept_free, translate]));
    batch.add_chain(&Chain {
        name: "nat_output",
        hook: Some((ChainKind::Nat, Hook::Output, DESTINATION, Policy::Accept)),
    });
    batch.add_rule("nat_output", &rule(&[jump(PUBLISHED_CHAIN)]));
    batch.add_rule("nat_prerouting", &rule(&[jump(PUBLISHED_CHAIN)]));
    // The container's answer must come back this way: from loopback, which it could not answer, and from the
    // containers' own network, where it would answer to itself or past the translation.
    let network =
        |source: Vec<Expression>| rule(&[ipv4(), source, to_containers(), vec![Expression::Masquerade]]);
    let from_loopback = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 12, length: 1, to: register::FIRST },
        compare(Comparison::Equal, &[127]),
    ];
    batch.add_rule("nat_postrouting", &network(from_loopback));
    let from_containers = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 12, length: 4, to: register::FIRST },
        Expression::Lookup { set: "container_networks".to_owned(), from: register::FIRST, inverted: false },
    ];
    batch.add_rule("nat_postrouting", &network([from_containers.clone(), translated()].concat()));
    // In a VPC they are the machine: they come from its gateway.
    let to_vpcs = [to_tasks(), containers(Meta::OutputInterfaceName, true)].concat();
    let masquerade = vec![Expression::Masquerade];
    batch.add_rule("nat_postrouting", &rule(&[ipv4(), from_containers, to_vpcs, masquerade]));
}

/// Containers reach the host at their gateway. Each link has its address, and the kernel counts it as the first one's alone: so
/// this comes before what keeps VPCs from each other's gateways.
pub(crate) fn add_input(batch: &mut Batch) {
    let gateway = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 4, to: register::FIRST },
        Expression::Lookup { set: "container_networks".to_owned(), from: register::FIRST, inverted: false },
    ];
    let from_containers = containers(Meta::InputInterfaceName, false);
    batch.add_rule("input", &rule(&[from_containers, ipv4(), gateway, accept()]));
}

/// What comes from a container's link comes from its address.
pub(crate) fn add_from_containers(batch: &mut Batch) {
    let forged = vec![
        Expression::Meta { key: Meta::InputInterfaceName, to: register::PART_0 },
        Expression::Payload { base: PayloadBase::Network, offset: 12, length: 4, to: register::PART_0 + 4 },
        Expression::Lookup { set: "container_sources".to_owned(), from: register::PART_0, inverted: true },
    ];
    let from_containers = containers(Meta::InputInterfaceName, false);
    batch.add_rule("from_tasks", &rule(&[from_containers, ipv4(), forged, drop_packet()]));
}

/// Containers reach each other, as with Docker, and what the machine reaches in VPCs, as its own processes do. They are reached at
/// published ports, whoever asks. Comes before what keeps networks apart.
pub(crate) fn add_forward(batch: &mut Batch) {
    /// `established` and `related` of `ct state` (linux/netfilter/nf_conntrack_common.h).
    const ANSWERS: u32 = 0b110;
    let from_containers = containers(Meta::InputInterfaceName, false);
    batch.add_rule("forward", &rule(&[from_containers, to_tasks(), accept()]));
    batch.add_rule("forward", &rule(&[to_containers(), translated(), accept()]));
    let answers = vec![
        Expression::Connection { key: Connection::State, to: register::FIRST },
        Expression::Mask { register: register::FIRST, mask: ANSWERS.to_ne_bytes().to_vec() },
        compare(Comparison::NotEqual, &0_u32.to_ne_bytes()),
    ];
    batch.add_rule("forward", &rule(&[to_containers(), answers, accept()]));
}

fn to_containers() -> Vec<Expression> {
    containers(Meta::OutputInterfaceName, false)
}

fn containers(key: Meta, inverted: bool) -> Vec<Expression> {
    vec![
        Expression::Meta { key, to: register::FIRST },
        Expression::Lookup { set: "container_links".to_owned(), from: register::FIRST, inverted },
    ]
}

fn translated() -> Vec<Expression> {
    vec![
        Expression::Connection { key: Connection::Status, to: register::FIRST },
        Expression::Mask { register: register::FIRST, mask: DESTINATION_TRANSLATED.to_ne_bytes().to_vec() },
        compare(Comparison::NotEqual, &0_u32.to_ne_bytes()),
    ]
}

impl Protocol {
    fn number(self) -> u8 {
        match self {
            Self::Tcp => libc::IPPROTO_TCP as u8,
            Self::Udp => libc::IPPROTO_UDP as u8,
        }
    }
}
