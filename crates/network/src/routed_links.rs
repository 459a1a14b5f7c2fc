//! Links of containers: a veth pair each that is no port of any bridge. See [`crate::net`]'s `containers`.

use std::net::Ipv4Addr;

use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::route::RouteScope;

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
        let index = self.make_veth(pair).await?;
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
