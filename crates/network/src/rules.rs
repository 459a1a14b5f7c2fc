//! The instance's nftables table: written here once, changed by element and never by rule but for the metadata endpoint and
//! the resolver.
//!
//! | set | holds |
//! | --- | --- |
//! | `bridges` | names of the VPCs' bridges, and of the containers' links (see `port_rules`) |
//! | `same_vpc` | bridge . bridge, for each bridge with itself |
//! | `vpcs` | the VPCs' networks |
//! | `attached` | hardware address . IPv4 address of every attachment |
//! | `resolvers` | where tasks ask for names: 169.254.169.253, and in each VPC its base address plus two |

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use base::{Ipv4Cidr, Ipv6Cidr, MacAddress};

use crate::ipv6_rules;
use crate::nftables::{
    Batch, Chain, ChainKind, Comparison, Connection, Element, Expression, Family, Hook, KeyType, Meta,
    PayloadBase, Policy, Set, SetData, Verdict, interface_name, interval, register,
};
use crate::port_rules::{self, Published};
use crate::public_rules::{self, Mapping};

/// Where a task asks for metadata and credentials, port 80. Source: "Amazon ECS task metadata endpoint".
pub(crate) const METADATA_FROM_TASKS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const METADATA_PORT: u16 = 80;

/// The chain that translates to the metadata endpoint.
const METADATA_CHAIN: &str = "metadata";

/// Where every VPC's tasks may ask for names. Source: "DNS attributes for your VPC", Amazon VPC user guide.
const RESOLVER_FROM_TASKS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
const DNS_PORT: u16 = 53;
/// The chain that translates to the resolver.
const RESOLVER_CHAIN: &str = "resolver";

/// What makes up the table at its start.
pub(crate) struct Content<'a> {
    /// The bridges and the VPCs they are for.
    pub(crate) vpcs: &'a [(String, Ipv4Cidr)],
    /// The attachments.
    pub(crate) attached: &'a [(MacAddress, Ipv4Addr)],
    /// The bridges and IPv6 networks of VPCs that have some.
    pub(crate) vpcs6: &'a [(String, Ipv6Cidr)],
    /// The attachments' IPv6 addresses.
    pub(crate) attached6: &'a [(MacAddress, Vec<Ipv6Addr>)],
    /// Public addresses.
    pub(crate) public: &'a [Mapping],
    /// The containers' network.
    pub(crate) container_network: Option<Ipv4Cidr>,
    /// Their links and addresses.
    pub(crate) containers: &'a [(String, Ipv4Addr)],
    /// Ports that are published.
    pub(crate) published: &'a [Published],
    /// Addresses at which nothing is.
    pub(crate) unpublished: &'a [Ipv4Addr],
    /// The host's address that the metadata endpoint listens on.
    pub(crate) metadata_host: Ipv4Addr,
    /// Where the metadata endpoint listens.
    pub(crate) metadata: Option<SocketAddrV4>,
    /// Where the resolver listens.
    pub(crate) resolver: Option<SocketAddrV4>,
    /// The host's IPv6 address for it, and where it listens.
    pub(crate) resolver6: (Option<Ipv6Addr>, Option<SocketAddrV6>),
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
    batch.add_set(&set("resolvers", &[KeyType::Ipv4Address], false));
    batch.add_elements("resolvers", &[Element::new(&[&RESOLVER_FROM_TASKS.octets()])]);
    public_rules::add_maps(&mut batch);
    port_rules::add_sets(&mut batch);
    for (bridge, cidr) in content.vpcs {
        add_vpc(&mut batch, bridge, *cidr);
    }
    if let Some(cidr) = content.container_network {
        port_rules::add_network(&mut batch, cidr);
    }
    for (link, address) in content.containers {
        port_rules::add_container(&mut batch, link, *address);
    }
    for (address, ports) in content.published {
        port_rules::publish(&mut batch, *address, ports);
    }
    for address in content.unpublished {
        port_rules::change_unpublished(&mut batch, *address, true);
    }
    for mapping in content.public {
        public_rules::add(&mut batch, mapping);
    }
    let attached: Vec<Element> = content.attached.iter().map(|(mac, ip)| attached(*mac, *ip)).collect();
    batch.add_elements("attached", &attached);
    ipv6_rules::add_sets(&mut batch);
    for (bridge, cidr) in content.vpcs6 {
        ipv6_rules::add_vpc(&mut batch, bridge, *cidr);
    }
    for (mac, addresses) in content.attached6 {
        ipv6_rules::add_attached(&mut batch, *mac, addresses);
    }
    add_from_tasks(&mut batch);
    port_rules::add_from_containers(&mut batch);
    add_input(&mut batch, content.metadata_host, content.resolver6.0);
    add_forward(&mut batch);
    add_output(&mut batch);
    add_translation(&mut batch);
    ipv6_rules::add_resolver(&mut batch, &from_tasks(), content.resolver6.1);
    public_rules::add_translation(&mut batch);
    port_rules::add_translation(&mut batch);
    if let Some(endpoint) = content.metadata {
        batch.add_rule(METADATA_CHAIN, &to_metadata(endpoint));
    }
    if let Some(endpoint) = content.resolver {
        add_resolver(&mut batch, endpoint);
    }
    batch
}

/// Adds a VPC.
pub(crate) fn add_vpc(batch: &mut Batch, bridge: &str, cidr: Ipv4Cidr) {
    let name = interface_name(bridge);
    batch.add_elements("bridges", &[Element::new(&[&name])]);
    batch.add_elements("same_vpc", &[Element::new(&[&name, &name])]);
    batch.add_elements("vpcs", &interval(cidr));
    batch.add_elements("resolvers", &resolver_of(cidr));
}

/// Takes a VPC out.
pub(crate) fn remove_vpc(batch: &mut Batch, bridge: &str, cidr: Ipv4Cidr) {
    let name = interface_name(bridge);
    batch.delete_elements("bridges", &[Element::new(&[&name])]);
    batch.delete_elements("same_vpc", &[Element::new(&[&name, &name])]);
    batch.delete_elements("vpcs", &interval(cidr));
    batch.delete_elements("resolvers", &resolver_of(cidr));
}

/// A VPC's resolver: its base address plus two.
fn resolver_of(cidr: Ipv4Cidr) -> Vec<Element> {
    cidr.nth(2).iter().map(|address| Element::new(&[&address.octets()])).collect()
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

/// Moves the resolver.
pub(crate) fn move_resolver(batch: &mut Batch, endpoint: Option<SocketAddrV4>) {
    batch.flush_chain(RESOLVER_CHAIN);
    if let Some(endpoint) = endpoint {
        add_resolver(batch, endpoint);
    }
}

/// Over both transports.
fn add_resolver(batch: &mut Batch, endpoint: SocketAddrV4) {
    for protocol in [libc::IPPROTO_UDP, libc::IPPROTO_TCP] {
        batch.add_rule(RESOLVER_CHAIN, &translated(protocol as u8, DNS_PORT, endpoint));
    }
}

fn attached(mac: MacAddress, address: Ipv4Addr) -> Element {
    Element::new(&[&mac.0, &address.octets()])
}

/// Whatever comes from a task passes here first: from its own addresses only, and never to loopback, which
/// other software may have opened to the network (`route_localnet`).
fn add_from_tasks(batch: &mut Batch) {
    const BEFORE_CONNECTION_TRACKING: i32 = -300;
    batch.add_chain(&Chain { name: "from_tasks", hook: None });
    batch.add_chain(&Chain {
        name: "prerouting",
        hook: Some((ChainKind::Filter, Hook::Prerouting, BEFORE_CONNECTION_TRACKING, Policy::Accept)),
    });
    batch.add_rule("prerouting", &rule(&[from_tasks(), jump("from_tasks")]));
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
    ipv6_rules::add_from_tasks(batch);
}

/// The metadata endpoint's address is for tasks and the host itself, not for the host's neighbours.
fn add_input(batch: &mut Batch, metadata_host: Ipv4Addr, resolver_host: Option<Ipv6Addr>) {
    batch.add_chain(&filter("input", Hook::Input));
    let elsewhere = [not_from_tasks(), is_not(Meta::InputInterfaceName, &interface_name("lo"))].concat();
    batch.add_rule("input", &rule(&[ipv4(), destination(metadata_host), elsewhere.clone(), drop_packet()]));
    if let Some(host) = resolver_host {
        ipv6_rules::add_host_input(batch, host, elsewhere);
    }
    port_rules::add_input(batch);
    // What is the host's in a VPC (gateways, load balancers) is for that VPC, or for those who come by its public address.
    batch.add_rule("input", &rule(&[from_tasks(), is_translated(), accept()]));
    let of_another_vpc = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 4, to: register::FIRST },
        Expression::Lookup { set: "vpcs".to_owned(), from: register::FIRST, inverted: false },
        Expression::DestinationKindHere { to: register::FIRST },
        compare(Comparison::NotEqual, &u32::from(libc::RTN_LOCAL).to_ne_bytes()),
    ];
    batch.add_rule("input", &rule(&[from_tasks(), ipv4(), of_another_vpc, drop_packet()]));
    ipv6_rules::add_input(batch, from_tasks());
}

fn add_forward(batch: &mut Batch) {
    /// `established` and `related` of `ct state` (linux/netfilter/nf_conntrack_common.h).
    const ANSWERS: u32 = 0b110;
    batch.add_chain(&filter("forward", Hook::Forward));
    public_rules::add_forward(batch);
    port_rules::add_forward(batch);
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
    ipv6_rules::add_forward(batch, &from_tasks());
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
    ipv6_rules::add_output(batch);
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
    batch.add_chain(&Chain { name: RESOLVER_CHAIN, hook: None });
    let resolvers = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 4, to: register::FIRST },
        Expression::Lookup { set: "resolvers".to_owned(), from: register::FIRST, inverted: false },
    ];
    batch.add_rule("nat_prerouting", &rule(&[from_tasks(), ipv4(), resolvers, jump(RESOLVER_CHAIN)]));
    batch.add_chain(&Chain {
        name: "nat_postrouting",
        hook: Some((ChainKind::Nat, Hook::Postrouting, SOURCE, Policy::Accept)),
    });
    let from_a_vpc = vec![
        Expression::Payload { base: PayloadBase::Network, offset: 12, length: 4, to: register::FIRST },
        Expression::Lookup { set: "vpcs".to_owned(), from: register::FIRST, inverted: false },
    ];
    let masquerade = vec![Expression::Masquerade];
    batch.add_rule("nat_postrouting", &rule(&[ipv4(), from_a_vpc, outward(), masquerade]));
    ipv6_rules::add_translation(batch);
}

fn to_metadata(endpoint: SocketAddrV4) -> Vec<Expression> {
    translated(libc::IPPROTO_TCP as u8, METADATA_PORT, endpoint)
}

fn translated(protocol: u8, port: u16, endpoint: SocketAddrV4) -> Vec<Expression> {
    let port = vec![
        Expression::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: register::FIRST },
        compare(Comparison::Equal, &port.to_be_bytes()),
    ];
    let translate = vec![
        Expression::Constant { to: register::FIRST, value: endpoint.ip().octets().to_vec() },
        Expression::Constant { to: register::SECOND, value: endpoint.port().to_be_bytes().to_vec() },
        Expression::DestinationNat { address: register::FIRST, port: register::SECOND },
    ];
    rule(&[ipv4(), is(Meta::TransportProtocol, &[protocol]), port, translate])
}

fn filter(name: &'static str, hook: Hook) -> Chain<'static> {
    Chain { name, hook: Some((ChainKind::Filter, hook, 0, Policy::Accept)) }
}

/// A rule is its parts in order: every part but the last is a condition.
pub(crate) fn rule(parts: &[Vec<Expression>]) -> Vec<Expression> {
    parts.concat()
}

pub(crate) fn compare(comparison: Comparison, value: &[u8]) -> Expression {
    Expression::Compare { from: register::FIRST, comparison, value: value.to_vec() }
}

fn is(key: Meta, value: &[u8]) -> Vec<Expression> {
    vec![Expression::Meta { key, to: register::FIRST }, compare(Comparison::Equal, value)]
}

fn is_not(key: Meta, value: &[u8]) -> Vec<Expression> {
    vec![Expression::Meta { key, to: register::FIRST }, compare(Comparison::NotEqual, value)]
}

pub(crate) fn ipv4() -> Vec<Expression> {
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

/// Leaves by none of the bridges.
pub(crate) fn outward() -> Vec<Expression> {
    bridges(Meta::OutputInterfaceName, true)
}

/// Belongs to a connection whose destination is translated.
pub(crate) fn is_translated() -> Vec<Expression> {
    /// IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
    const DESTINATION_TRANSLATED: u32 = 1 << 5;
    vec![
        Expression::Connection { key: Connection::Status, to: register::FIRST },
        Expression::Mask { register: register::FIRST, mask: DESTINATION_TRANSLATED.to_ne_bytes().to_vec() },
        compare(Comparison::NotEqual, &0_u32.to_ne_bytes()),
    ]
}

pub(crate) fn to_tasks() -> Vec<Expression> {
    bridges(Meta::OutputInterfaceName, false)
}

pub(crate) fn jump(chain: &str) -> Vec<Expression> {
    vec![Expression::Verdict(Verdict::Jump(chain.to_owned()))]
}

pub(crate) fn accept() -> Vec<Expression> {
    vec![Expression::Verdict(Verdict::Accept)]
}

pub(crate) fn drop_packet() -> Vec<Expression> {
    vec![Expression::Verdict(Verdict::Drop)]
}
