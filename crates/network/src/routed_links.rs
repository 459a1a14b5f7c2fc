//! Links of containers: a veth pair each that is no port of any bridge. See [`crate::net`]'s `containers`.

use std::net::Ipv4Addr;

use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::os::fd::AsRawFd as _;

use crate::error::NetworkError;
use crate::links::{Links, VethPair, failed};

impl Links {
    /// Makes a veth pair, its far end born in its namespace, with the gateway's address at the near one and the way to
    /// `address` through it. Returns the near end's index.
    pub(crate) async fn add_routed_veth(
        &self,
        pair: &VethPair<'_>,
        gateway: Ipv4Addr,
        address: Ipv4Addr,
    ) -> Result<u32, NetworkError> {
        const HOST: u8 = 32;
        let mut peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(pair.peer_name)
            .address(pair.peer_mac.0.to_vec())
            .mtu(pair.mtu)
            .build();
        peer.attributes.push(LinkAttribute::NetNsFd(pair.peer_namespace.as_raw_fd()));
        let message = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(pair.name)
            .mtu(pair.mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up()
            .build();
        let added = self.handle.link().add(message).execute().await;
        added.map_err(failed(format!("cannot make the veth pair {}", pair.name)))?;
        let index = self.index(pair.name).await?;
        self.add_address(index, gateway, HOST).await?;
        self.add_neighbour(index, address.into(), pair.peer_mac).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, HOST)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        let added = self.handle.route().add(route).execute().await;
        added.map_err(failed(format!("cannot route to {address} through {}", pair.name)))?;
        Ok(index)
    }

    /// Inside a namespace: the interface's address, on, and everything through the gateway, neighbours too.
    pub(crate) async fn set_up_routed_interface(
        &self,
        name: &str,
        address: Ipv4Addr,
        prefix_length: u8,
        gateway: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let index = self.index(name).await?;
        let mut request = self.handle.address().add(index, address.into(), prefix_length);
        request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute));
        let added = request.execute().await;
        added.map_err(failed(format!("cannot give {name} the address {address}/{prefix_length}")))?;
        self.up(index).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).onlink();
        let added = self.handle.route().add(route.build()).execute().await;
        added.map_err(failed(format!("cannot route through {gateway}")))
    }
}
