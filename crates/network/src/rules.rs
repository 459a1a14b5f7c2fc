//! The instance's nftables table: written here once, changed by element and never by rule but for the metadata endpoint.
//!
//! | set | holds |
//! | --- | --- |
//! | `bridges` | names of the VPCs' bridges |
//! | `same_vpc` | bridge . bridge, for each bridge with itself |
//! | `vpcs` | the VPCs' networks |
//! | `attached` | hardware address . IPv4 address of every attachment |

use std::net::{Ipv4Addr, SocketAddrV4};

use base::{Ipv4Cidr, MacAddress};

use crate::nftables::{
    Batch, Chain, ChainKind, Comparison, Connection, Element, Expression, Family, Hook, KeyType, Meta,
    PayloadBase, Policy, Set, SetData, Verdict, interface_name, interval, register,
};

/// Where a task asks for metadata and credentials, port 80. Source: "Amazon ECS task metadata endpoint".
pub(crate) const METADATA_FROM_TASKS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const METADATA_PORT: u16 = 80;

/// The chain that translates to the metadata endpoint.
const METADATA_CHAIN: &str = "metadata";

/// What makes up the table at its start.
pub(crate) struct Content<'a> {
    /// The bridges and the VPCs they are for.
    pub(crate) vpcs: &'a [(String, Ipv4Cidr)],
    /// The attachments.
    pub(crate) attached: &'a [(MacAddress, Ipv4Addr)],
    /// The host's address that the metadata endpoint listens on.
    pub(crate) metadata_host: Ipv4Addr,
    /// Where the metadata endpoint listens.
    pub(crate) metadata: Option<SocketAddrV4>,
}

/// The table's name for an instance.
pub(crate) fn table_name(instance: &str) -> String {
    format!("roadstead_{instance}")
}

/// An empty batch about the instance's table.
pub(crate) fn batch(instance: &str) -> Batch {
    Batch::new(Family::Inet, &table_name(instance))
}

/// Deletes the table.
pub(crate) fn remove(instance: &str) -> Batch {
    let mut batch = batch(instance);
    // Deleting a table that is not there is an error, adding one that is there is none.
    batch.add_table().delete_table();
    batch
}

/// Writes the table anew in one transaction: no packet sees it half done, and established connections stay translated.
pub(crate) fn write(instance: &str, content: &Content) -> Batch {
    let mut batch = remove(instance);
    batch.add_table();
    let set = |name: &str, key: &[KeyType], interval| Set {
        name: name.to_owned(),
        key: key.to_vec(),
        interval,
        data: SetData::None,
    };
    batch.add_set(&set("bridges", &[KeyType::InterfaceName], false));
    batch.add_set(&set("same_vpc", &[KeyType::InterfaceName, KeyType::InterfaceName], false));
    batch.add_set(&set("vpcs", &[KeyType::Ipv4Address], true));
    batch.add_set(&set("attached", &[KeyType::EthernetAddress, KeyType::Ipv4Address], false));
    for (bridge, cidr) in content.vpcs {
        add_vpc(&mut batch, bridge, *cidr);
    }
    let attached: Vec<Element> = content.attached.iter().map(|(mac, ip)| attached(*mac, *ip)).collect();
    batch.add_elements("attached", &attached);
    add_from_tasks(&mut batch);
    add_input(&mut batch, content.metadata_host);
    add_forward(&mut batch);
    add_output(&mut batch);
    add_translation(&mut batch);
    if let Some(endpoint) = content.metadata {
        batch.add_rule(METADATA_CHAIN, &to_metadata(endpoint));
    }
    batch
}

/// Adds a VPC.
pub(crate) fn add_vpc(batch: &mut Batch, bridge: &str, cidr: Ipv4Cidr) {
    let name = interface_name(bridge);
    batch.add_elements("bridges", &[Element::new(&[&name])]);
    batch.add_elements("same_vpc", &[Element::new(&[&name, &name])]);
    batch.add_elements("vpcs", &interval(cidr));
}

/// Takes a VPC out.
pub(crate) fn remove_vpc(batch: &mut Batch, bridge: &str, cidr: Ipv4Cidr) {
    let name = interface_name(bridge);
    batch.delete_elements("bridges", &[Element::new(&[&name])]);
    batch.delete_elements("same_vpc", &[Element::new(&[&name, &name])]);
    batch.delete_elements("vpcs", &interval(cidr));
}

/// Lets an attachment send.
pub(crate) fn add_attached(batch: &mut Batch, mac: MacAddress, address: Ipv4Addr) {
    batch.add_elements("attached", &[attached(mac, address)]);
}

/// Lets it send no more.
pub(crate) fn remove_attached(batch: &mut Batch, mac: MacAddress, address: Ipv4Addr) {
    batch.delete_elements("attached", &[attached(mac, address)]);
}

/// Moves the metadata endpoint.
pub(crate) fn move_metadata(batch: &mut Batch, endpoint: Option<SocketAddrV4>) {
    batch.flush_chain(METADATA_CHAIN);
    if let Some(endpoint) = endpoint {
        batch.add_rule(METADATA_CHAIN, &to_metadata(endpoint));
    }
}

fn attached(mac: MacAddress, address: Ipv4Addr) -> Element {
    Element::new(&[&mac.0, &address.octets()])
}

/// Whatever comes from a task passes here first: IPv4 only, from its own addresses only, and never to loopback, which
/// other software may have opened to the network (`route_localnet`).
fn add_from_tasks(batch: &mut Batch) {
    const BEFORE_CONNECTION_TRACKING: i32 = -300;
    batch.add_chain(&Chain { name: "from_tasks", hook: None });
    batch.add_chain(&Chain {
        name: "prerouting",
        hook: Some((ChainKind::Filter, Hook::Prerouting, BEFORE_CONNECTION_TRACKING, Policy::Accept)),
    });
    batch.add_rule("prerouting", &rule(&[from_tasks(), jump("from_tasks")]));
    batch
        .add_rule("from_tasks", &rule(&[is_not(Meta::Protocol, &[libc::NFPROTO_IPV4 as u8]), drop_packet()]));
    let own_addresses = vec![
        Expression::Meta { key: Meta::InputInterfaceType, to: register::FIRST },
        compare(Comparison::Equal, &libc::ARPHRD_ETHER.to_ne_bytes()),
        Expression::Payload { base: PayloadBase::Link, offset: 6, length: 6, to: register::PART_0 },
        Expression::Payload { base: PayloadBase::Network, offset: 12, length: 4, to: register::PART_0 + 2 },
        Expression::Lookup { set: "attached".to_owned(), from: register::PART_0, inverted: true },
    ];
    batch.add_rule("from_tasks", &rule(&[ipv4(), own_addresses, drop_packet()]));
    let loopback = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 1, to: register::FIRST },
        compare(Comparison::Equal, &[127]),
    ];
    batch.add_rule("from_tasks", &rule(&[ipv4(), loopback, drop_packet()]));
}

/// The metadata endpoint's address is for tasks and the host itself, not for the host's neighbours.
fn add_input(batch: &mut Batch, metadata_host: Ipv4Addr) {
    batch.add_chain(&filter("input", Hook::Input));
    let elsewhere = [not_from_tasks(), is_not(Meta::InputInterfaceName, &interface_name("lo"))].concat();
    batch.add_rule("input", &rule(&[ipv4(), destination(metadata_host), elsewhere, drop_packet()]));
}

fn add_forward(batch: &mut Batch) {
    /// `established` and `related` of `ct state` (linux/netfilter/nf_conntrack_common.h).
    const ANSWERS: u32 = 0b110;
    batch.add_chain(&filter("forward", Hook::Forward));
    let same_vpc = vec![
        Expression::Meta { key: Meta::InputInterfaceName, to: register::PART_0 },
        Expression::Meta { key: Meta::OutputInterfaceName, to: register::PART_0 + 4 },
        Expression::Lookup { set: "same_vpc".to_owned(), from: register::PART_0, inverted: false },
    ];
    batch.add_rule("forward", &rule(&[same_vpc, accept()]));
    // VPCs do not reach each other.
    batch.add_rule("forward", &rule(&[from_tasks(), to_tasks(), drop_packet()]));
    // Link-local addresses are not for routing: above all not 169.254.169.254, the credentials of a cloud host.
    let link_local = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 2, to: register::FIRST },
        compare(Comparison::Equal, &[169, 254]),
    ];
    batch.add_rule("forward", &rule(&[from_tasks(), ipv4(), link_local, drop_packet()]));
    // A private address is not reached from outside unless the task asked first.
    let unasked = vec![
        Expression::Connection { key: Connection::State, to: register::FIRST },
        Expression::Mask { register: register::FIRST, mask: ANSWERS.to_ne_bytes().to_vec() },
        compare(Comparison::Equal, &0_u32.to_ne_bytes()),
    ];
    batch.add_rule("forward", &rule(&[not_from_tasks(), to_tasks(), unasked, drop_packet()]));
}

/// The host routes a task's packet out by the bridge that it came in by, on purpose: it must not tell the task to send
/// directly next time, which its port would not let through.
fn add_output(batch: &mut Batch) {
    const ICMP_REDIRECT: u8 = 5;
    batch.add_chain(&filter("output", Hook::Output));
    let redirect = vec![
        Expression::Payload { base: PayloadBase::Transport, offset: 0, length: 1, to: register::FIRST },
        compare(Comparison::Equal, &[ICMP_REDIRECT]),
    ];
    let icmp = is(Meta::TransportProtocol, &[libc::IPPROTO_ICMP as u8]);
    batch.add_rule("output", &rule(&[to_tasks(), ipv4(), icmp, redirect, drop_packet()]));
}

fn add_translation(batch: &mut Batch) {
    const DESTINATION: i32 = -100;
    const SOURCE: i32 = 100;
    batch.add_chain(&Chain { name: METADATA_CHAIN, hook: None });
    batch.add_chain(&Chain {
        name: "nat_prerouting",
        hook: Some((ChainKind::Nat, Hook::Prerouting, DESTINATION, Policy::Accept)),
    });
    let metadata = rule(&[from_tasks(), ipv4(), destination(METADATA_FROM_TASKS), jump(METADATA_CHAIN)]);
    batch.add_rule("nat_prerouting", &metadata);
    batch.add_chain(&Chain {
        name: "nat_postrouting",
        hook: Some((ChainKind::Nat, Hook::Postrouting, SOURCE, Policy::Accept)),
    });
    let from_a_vpc = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 12, length: 4, to: register::FIRST },
        Expression::Lookup { set: "vpcs".to_owned(), from: register::FIRST, inverted: false },
    ];
    let outward = vec![
        Expression::Meta { key: Meta::OutputInterfaceName, to: register::FIRST },
        Expression::Lookup { set: "bridges".to_owned(), from: register::FIRST, inverted: true },
    ];
    let masquerade = vec![Expression::Masquerade];
    batch.add_rule("nat_postrouting", &rule(&[ipv4(), from_a_vpc, outward, masquerade]));
}

fn to_metadata(endpoint: SocketAddrV4) -> Vec<Expression> {
    let port = vec![
        Expression::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: register::FIRST },
        compare(Comparison::Equal, &METADATA_PORT.to_be_bytes()),
    ];
    let translate = vec![
        Expression::Constant { to: register::FIRST, value: endpoint.ip().octets().to_vec() },
        Expression::Constant { to: register::SECOND, value: endpoint.port().to_be_bytes().to_vec() },
        Expression::DestinationNat { address: register::FIRST, port: register::SECOND },
    ];
    rule(&[ipv4(), is(Meta::TransportProtocol, &[libc::IPPROTO_TCP as u8]), port, translate])
}

fn filter(name: &'static str, hook: Hook) -> Chain<'static> {
    Chain { name, hook: Some((ChainKind::Filter, hook, 0, Policy::Accept)) }
}

/// A rule is its parts in order: every part but the last is a condition.
fn rule(parts: &[Vec<Expression>]) -> Vec<Expression> {
    parts.concat()
}

fn compare(comparison: Comparison, value: &[u8]) -> Expression {
    Expression::Compare { from: register::FIRST, comparison, value: value.to_vec() }
}

fn is(key: Meta, value: &[u8]) -> Vec<Expression> {
    vec![Expression::Meta { key, to: register::FIRST }, compare(Comparison::Equal, value)]
}

fn is_not(key: Meta, value: &[u8]) -> Vec<Expression> {
    vec![Expression::Meta { key, to: register::FIRST }, compare(Comparison::NotEqual, value)]
}

fn ipv4() -> Vec<Expression> {
    is(Meta::Protocol, &[libc::NFPROTO_IPV4 as u8])
}

fn destination(address: Ipv4Addr) -> Vec<Expression> {
    vec![
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 4, to: register::FIRST },
        compare(Comparison::Equal, &address.octets()),
    ]
}

fn bridges(key: Meta, inverted: bool) -> Vec<Expression> {
    vec![
        Expression::Meta { key, to: register::FIRST },
        Expression::Lookup { set: "bridges".to_owned(), from: register::FIRST, inverted },
    ]
}

fn from_tasks() -> Vec<Expression> {
    bridges(Meta::InputInterfaceName, false)
}

fn not_from_tasks() -> Vec<Expression> {
    bridges(Meta::InputInterfaceName, true)
}

fn to_tasks() -> Vec<Expression> {
    bridges(Meta::OutputInterfaceName, false)
}

fn jump(chain: &str) -> Vec<Expression> {
    vec![Expression::Verdict(Verdict::Jump(chain.to_owned()))]
}

fn accept() -> Vec<Expression> {
    vec![Expression::Verdict(Verdict::Accept)]
}

fn drop_packet() -> Vec<Expression> {
    vec![Expression::Verdict(Verdict::Drop)]
}
