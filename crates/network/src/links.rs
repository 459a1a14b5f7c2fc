//! Links, addresses, routes and neighbours over one rtnetlink socket.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use base::{Ipv4Cidr, MacAddress};
use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags};
use rtnetlink::packet_route::link::{
    BridgePortState, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVeth, LinkAttribute, LinkInfo,
    LinkMessage, State,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::RuleAction;
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth,
    RouteMessageBuilder,
};
use tokio::task::JoinHandle;

use crate::error::NetworkError;

/// The address of the host on every bridge of a VPC that has IPv6 addresses.
pub(crate) const IPV6_ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The index of `lo` in every namespace.
const LOOPBACK: u32 = 1;

/// A socket to the network namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A link as a listing shows it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) controller: Option<u32>,
    pub(crate) mtu: Option<u32>,
}

/// A veth pair to be made: one end here, as a port of a bridge or of none, the other in a namespace.
pub(crate) struct VethPair<'a> {
    pub(crate) name: &'a str,
    pub(crate) bridge: Option<u32>,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_mac: MacAddress,
    pub(crate) peer_namespace: &'a File,
    pub(crate) mtu: u32,
}

pub(crate) fn failed(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    move |error| {
        let source = match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        };
        NetworkError::Link { doing: doing.into(), source }
    }
}

/// Whether the kernel refused with this error number.
fn is(error: &rtnetlink::Error, number: i32) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message) if message.to_io().raw_os_error() == Some(number))
}

impl Links {
    /// Opens the socket in the namespace of the calling thread; needs a tokio runtime.
    pub(crate) fn open() -> Result<Self, NetworkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|source| NetworkError::Link {
            doing: "cannot open a netlink socket".to_owned(),
            source,
        })?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// The link of this name.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Link>, NetworkError> {
        match self.handle.link().get().match_name(name).execute().try_next().await {
            Ok(message) => Ok(message.as_ref().map(link)),
            Err(error) if is(&error, libc::ENODEV) => Ok(None),
            Err(error) => Err(failed(format!("cannot look for the link {name}"))(error)),
        }
    }

    /// All links.
    pub(crate) async fn list(&self) -> Result<Vec<Link>, NetworkError> {
        let messages = self.handle.link().get().execute();
        let links = messages.map_ok(|message| link(&message)).try_collect().await;
        links.map_err(failed("cannot list the links"))
    }

    /// The index of the bridge `name`, which is made where it is missing. Its hardware address is fixed: left alone, a
    /// bridge takes that of its ports, and changes it under the tasks that remember it.
    pub(crate) async fn bridge(&self, name: &str, mac: MacAddress, mtu: u32) -> Result<u32, NetworkError> {
        let message = LinkBridge::new(name).address(mac.0.to_vec()).mtu(mtu).build();
        self.add_if_missing(name, message).await
    }

    async fn add_if_missing(&self, name: &str, message: LinkMessage) -> Result<u32, NetworkError> {
        let added = self.handle.link().add(message).execute().await;
        match added {
            Err(error) if !is(&error, libc::EEXIST) => {
                return Err(failed(format!("cannot make the link {name}"))(error));
            }
            _ => {}
        }
        self.index(name).await
    }

    pub(crate) async fn index(&self, name: &str) -> Result<u32, NetworkError> {
        let link = self.find(name).await?;
        link.map(|link| link.index).ok_or_else(|| NetworkError::Link {
            doing: format!("cannot find the link {name}"),
            source: io::Error::from_raw_os_error(libc::ENODEV),
        })
    }

    /// Switches a link on.
    pub(crate) async fn up(&self, index: u32) -> Result<(), NetworkError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        let set = self.handle.link().set(message).execute().await;
        set.map_err(failed(format!("cannot switch on link {index}")))
    }

    /// Waits until packets pass a link that was just switched on: until then the kernel drops them without a word, and
    /// the task's first connection would hang for a second. A link that is a bridge's port passes packets once the
    /// bridge says so.
    ///
    /// Linux since 6.15 settles a link's state when it is asked for it, so the first look tells; older ones settle it
    /// on their own, within milliseconds on an idle machine.
    pub(crate) async fn wait_until_up(&self, name: &str) -> Result<(), NetworkError> {
        const LOOKS: u32 = 100;
        const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
        for look in 0..LOOKS {
            let message = self.handle.link().get().match_name(name).execute().try_next().await;
            let message = message.map_err(failed(format!("cannot look at the link {name}")))?;
            if message.is_some_and(|message| passes_packets(&message)) {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS * look.min(10)).await;
        }
        tracing::warn!(name, "the link does not come up");
        Ok(())
    }

    /// Gives a link an address; nothing happens where it has it.
    pub(crate) async fn add_address(
        &self,
        index: u32,
        address: Ipv4Addr,
        prefix_length: u8,
    ) -> Result<(), NetworkError> {
        match self.handle.address().add(index, address.into(), prefix_length).execute().await {
            Err(error) if !is(&error, libc::EEXIST) => {
                Err(failed(format!("cannot give link {index} the address {address}/{prefix_length}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Gives a link an IPv6 address, to be used at once: nobody else has it, which the kernel would otherwise ask about first.
    pub(crate) async fn add_ipv6_address(
        &self,
        index: u32,
        address: Ipv6Addr,
        prefix_length: u8,
    ) -> Result<(), NetworkError> {
        let mut request = self.handle.address().add(index, address.into(), prefix_length);
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        match request.execute().await {
            Err(error) if !is(&error, libc::EEXIST) => {
                Err(failed(format!("cannot give link {index} the address {address}/{prefix_length}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Inside a namespace: the interface's IPv6 addresses and the way out, by the router that all links have. Each address is a
    /// network of its own, so that everything passes the router.
    pub(crate) async fn set_up_ipv6(
        &self,
        name: &str,
        addresses: &[Ipv6Addr],
        router: MacAddress,
    ) -> Result<(), NetworkError> {
        const HOST: u8 = 128;
        if addresses.is_empty() {
            return Ok(());
        }
        let index = self.index(name).await?;
        for address in addresses {
            self.add_ipv6_address(index, *address, HOST).await?;
        }
        self.add_neighbour(index, IPV6_ROUTER.into(), router).await?;
        let route =
            RouteMessageBuilder::<Ipv6Addr>::new().gateway(IPV6_ROUTER).output_interface(index).build();
        let added = self.handle.route().add(route).execute().await;
        added.map_err(failed(format!("cannot route through {IPV6_ROUTER}")))
    }

    /// Takes an address from a link; nothing happens where it does not have it.
    pub(crate) async fn remove_address(
        &self,
        index: u32,
        address: IpAddr,
        prefix_length: u8,
    ) -> Result<(), NetworkError> {
        let message = match address {
            IpAddr::V4(address) => {
                AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, prefix_length).build()
            }
            IpAddr::V6(address) => {
                AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, prefix_length).build()
            }
        };
        match self.handle.address().del(message).execute().await {
            Err(error) if !is(&error, libc::EADDRNOTAVAIL) => {
                Err(failed(format!("cannot take the address {address} from link {index}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Has the host take in what is sent to an address that no link has, and reach it itself from `source`. Nothing happens
    /// where it does.
    pub(crate) async fn add_local_route(
        &self,
        address: Ipv4Addr,
        source: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let mut message = local_route(address);
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet(source)));
        let added = self.handle.route().add(message).replace().execute().await;
        added.map_err(failed(format!("cannot take in what is sent to {address}")))
    }

    /// No longer; nothing happens where it does not.
    pub(crate) async fn remove_local_route(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        match self.handle.route().del(local_route(address)).execute().await {
            Err(error) if !is(&error, libc::ESRCH) => {
                Err(failed(format!("cannot stop taking in what is sent to {address}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// All IPv4 addresses, with the index of their link.
    pub(crate) async fn addresses(&self) -> Result<Vec<(u32, Ipv4Addr)>, NetworkError> {
        let messages = self.handle.address().get().execute().try_collect::<Vec<_>>().await;
        let messages = messages.map_err(failed("cannot list the addresses"))?;
        let local = |message: &rtnetlink::packet_route::address::AddressMessage| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some((message.header.index, *address)),
                _ => None,
            })
        };
        Ok(messages.iter().filter_map(local).collect())
    }

    /// Makes a veth pair, its far end born in its namespace. Returns the near end's index.
    pub(crate) async fn make_veth(&self, pair: &VethPair<'_>) -> Result<u32, NetworkError> {
        let mut peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(pair.peer_name)
            .address(pair.peer_mac.0.to_vec())
            .mtu(pair.mtu)
            .build();
        peer.attributes.push(LinkAttribute::NetNsFd(pair.peer_namespace.as_raw_fd()));
        let near = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(pair.name)
            .mtu(pair.mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up();
        let message = pair.bridge.into_iter().fold(near, LinkMessageBuilder::controller).build();
        let added = self.handle.link().add(message).execute().await;
        added.map_err(failed(format!("cannot make the veth pair {}", pair.name)))?;
        self.index(pair.name).await
    }

    /// Makes a veth pair, its far end born in its namespace, and ties the port to the peer's hardware address.
    pub(crate) async fn add_veth(&self, pair: &VethPair<'_>) -> Result<u32, NetworkError> {
        let index = self.make_veth(pair).await?;
        let port = LinkBridgePort::new(index)
            .isolated(true)
            .locked(true)
            .learning(false)
            .flood(false)
            .mcast_flood(false)
            .build();
        let set = self.handle.link().set_port(port).execute().await;
        set.map_err(failed(format!("cannot isolate the bridge port {}", pair.name)))?;
        let forwarding = self.handle.neighbours().add_bridge(index, &pair.peer_mac.0);
        let added = forwarding.state(NeighbourState::Noarp).replace().execute().await;
        added.map_err(failed(format!("cannot tie {} to the bridge port {}", pair.peer_mac, pair.name)))?;
        Ok(index)
    }

    /// Tells the host for good which hardware address has `address` behind the bridge.
    pub(crate) async fn add_neighbour(
        &self,
        bridge: u32,
        address: IpAddr,
        mac: MacAddress,
    ) -> Result<(), NetworkError> {
        let request = self.handle.neighbours().add(bridge, address);
        let request = request.state(NeighbourState::Permanent).link_layer_address(&mac.0).replace();
        request.execute().await.map_err(failed(format!("cannot note the neighbour {address}")))
    }

    /// Forgets it; nothing happens where it is not known.
    pub(crate) async fn remove_neighbour(&self, bridge: u32, address: IpAddr) -> Result<(), NetworkError> {
        let mut message = NeighbourMessage::default();
        let (family, destination) = match address {
            IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
            IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
        };
        message.header.family = family;
        message.header.ifindex = bridge;
        message.attributes.push(NeighbourAttribute::Destination(destination));
        match self.handle.neighbours().del(message).execute().await {
            Err(error) if !is(&error, libc::ENOENT) && !is(&error, libc::ENODEV) => {
                Err(failed(format!("cannot forget the neighbour {address}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Deletes the link of this name, and the other end of a pair; nothing happens where it is not there.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), NetworkError> {
        let Some(link) = self.find(name).await? else { return Ok(()) };
        match self.handle.link().del(link.index).execute().await {
            Err(error) if !is(&error, libc::ENODEV) => {
                Err(failed(format!("cannot delete the link {name}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Deletes links together: the kernel waits once for all of them, not tens of milliseconds for each. `group` is a
    /// number that no other link of the machine has as its group.
    pub(crate) async fn delete_together(&self, names: &[&str], group: u32) -> Result<(), NetworkError> {
        let mut found = false;
        for name in names {
            let Some(link) = self.find(name).await? else { continue };
            let message = LinkUnspec::new_with_index(link.index).link_group(group).build();
            match self.handle.link().set(message).execute().await {
                Ok(()) => found = true,
                Err(error) if is(&error, libc::ENODEV) => {}
                Err(error) => return Err(failed(format!("cannot mark the link {name}"))(error)),
            }
        }
        if !found {
            return Ok(());
        }
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Group(group));
        match self.handle.link().del_with_message(message).execute().await {
            // Gone with their namespaces meanwhile.
            Err(error) if is(&error, libc::ENODEV) => Ok(()),
            deleted => deleted.map_err(failed(format!("cannot delete the links of group {group}"))),
        }
    }

    /// Inside a namespace: `lo` on.
    pub(crate) async fn set_up_loopback(&self) -> Result<(), NetworkError> {
        self.up(LOOPBACK).await
    }

    /// Inside a namespace: the interface's address, on, and the way out.
    pub(crate) async fn set_up_interface(
        &self,
        name: &str,
        address: Ipv4Addr,
        prefix_length: u8,
        gateway: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let index = self.index(name).await?;
        self.add_address(index, address, prefix_length).await?;
        self.up(index).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build();
        let added = self.handle.route().add(route).execute().await;
        added.map_err(failed(format!("cannot route through {gateway}")))
    }

    /// Routes what has a mark by the table of the same number; nothing happens where it is so.
    pub(crate) async fn add_rule_of_mark(&self, mark: u32, priority: u32) -> Result<(), NetworkError> {
        let request = self.handle.rule().add().fw_mark(mark).table_id(mark).priority(priority);
        match request.action(RuleAction::ToTable).v4().execute().await {
            Err(error) if !is(&error, libc::EEXIST) => {
                Err(failed("cannot add a rule of routing".to_owned())(error))
            }
            _ => Ok(()),
        }
    }

    /// Takes such a rule away; nothing happens where there is none.
    pub(crate) async fn remove_rule_of_mark(&self, mark: u32, priority: u32) -> Result<(), NetworkError> {
        let request = self.handle.rule().add().fw_mark(mark).table_id(mark).priority(priority);
        let message = request.action(RuleAction::ToTable).v4().message_mut().clone();
        match self.handle.rule().del(message).execute().await {
            Err(error) if !is(&error, libc::ENOENT) => {
                Err(failed("cannot remove a rule of routing".to_owned())(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes every address local in a table of its own.
    pub(crate) async fn add_all_local_route(&self, table: u32) -> Result<(), NetworkError> {
        match self.handle.route().add(all_local_route(table)).execute().await {
            Err(error) if !is(&error, libc::EEXIST) => {
                Err(failed("cannot add a local route".to_owned())(error))
            }
            _ => Ok(()),
        }
    }

    /// Takes such a route away; nothing happens where there is none.
    pub(crate) async fn remove_all_local_route(&self, table: u32) -> Result<(), NetworkError> {
        match self.handle.route().del(all_local_route(table)).execute().await {
            Err(error) if !is(&error, libc::ESRCH) => {
                Err(failed("cannot remove a local route".to_owned())(error))
            }
            _ => Ok(()),
        }
    }

    /// The networks that the main routing table knows with the indexes of their links, and that of the default route's.
    pub(crate) async fn routes(&self) -> Result<(Vec<(Ipv4Cidr, Option<u32>)>, Option<u32>), NetworkError> {
        let messages = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        let messages = messages.try_collect::<Vec<_>>().await.map_err(failed("cannot list the routes"))?;
        let messages = messages.iter().filter(|message| is_in_main_table(message));
        let routes: Vec<_> =
            messages.filter_map(|message| Some((destination(message)?, output_link(message)))).collect();
        let default = routes.iter().find(|(network, _)| network.prefix_length() == 0);
        let outward = default.and_then(|(_, link)| *link);
        Ok((routes, outward))
    }
}

fn local_route(address: Ipv4Addr) -> RouteMessage {
    const HOST: u8 = 32;
    let mut message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, HOST)
        .output_interface(LOOPBACK)
        .table_id(u32::from(libc::RT_TABLE_LOCAL))
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .build();
    message.header.protocol = RouteProtocol::Static;
    message
}

fn output_link(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn passes_packets(message: &LinkMessage) -> bool {
    let mut is_up = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::OperState(state) => is_up = *state == State::Up,
            LinkAttribute::LinkInfo(infos) => {
                let ports = infos.iter().filter_map(|info| match info {
                    LinkInfo::PortData(InfoPortData::BridgePort(port)) => Some(port),
                    _ => None,
                });
                let blocks = |info: &InfoBridgePort| matches!(info, InfoBridgePort::State(state) if *state != BridgePortState::Forwarding);
                if ports.flatten().any(blocks) {
                    return false;
                }
            }
            _ => {}
        }
    }
    is_up
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link { index: message.header.index, name: String::new(), controller: None, mtu: None };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::Mtu(mtu) => link.mtu = Some(*mtu),
            _ => {}
        }
    }
    link
}

/// Table 254 of ip-route(8); the local table would make every own address a network of its own.
fn is_in_main_table(message: &RouteMessage) -> bool {
    const MAIN: u8 = 254;
    message.header.table == MAIN
}

fn destination(message: &RouteMessage) -> Option<Ipv4Cidr> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    Ipv4Cidr::containing(address, message.header.destination_prefix_length)
}

/// Everything is this machine's, in the table of this number.
fn all_local_route(table: u32) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .table_id(table)
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .output_interface(LOOPBACK)
        .build()
}
