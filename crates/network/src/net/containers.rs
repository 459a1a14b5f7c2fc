//! Network mode `bridge`: a namespace and an address for every container, and ports of the host.
//!
//! The network comes with the first container, and is kept as a VPC is, by the name [`CONTAINERS`]: its addresses, their checks,
//! the metadata endpoint, adoption and removal are the same. Its bridge has no ports, and holds the gateway's address: each
//! container's link is routed on its own. As ports of a bridge, containers could not reach each other's published ports where
//! `br_netfilter` is on, as Docker has it: it hands what was translated straight to the other port, which is isolated.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;

use base::Ipv4Cidr;

use super::{INTERFACE, Inner, Network, State, Vpc};
use crate::config::{Attachment, SubnetNetwork, VpcNetwork};
use crate::container_network::{CONTAINERS, ContainerNetwork, claim, mac_of};
use crate::error::NetworkError;
use crate::host_ports::{HostPort, PortWish, PublishedPorts};
use crate::links::VethPair;
use crate::namespace::NewNamespace;
use crate::record::{AttachmentRecord, Stage};
use crate::{port_rules, rules, sysctl};

/// How often an address is looked for: each failure means that the bridge has moved to another network meanwhile.
const TRIES: usize = 4;

impl Network {
    /// Makes a namespace with `eth0` in the containers' network, at an address that has not been used for the longest time. Asked
    /// again, it gives what exists.
    pub async fn attach_container(&self, id: &str) -> Result<ContainerNetwork, NetworkError> {
        let mut failure = NetworkError::NoFreeAddress;
        for _ in 0..TRIES {
            let known = self.inner.state().attachments.get(id).and_then(|record| record.attachment.clone());
            let attachment = match known {
                Some(attachment) => attachment,
                None => {
                    self.inner.ensure_container_network().await?;
                    self.inner.open_state()?.next_container(id)?
                }
            };
            match self.attach(attachment.clone()).await {
                Ok(network) => {
                    return Ok(ContainerNetwork {
                        namespace: network.namespace,
                        address: attachment.address,
                        prefix_length: attachment.prefix_length,
                        gateway: attachment.gateway,
                        mac: attachment.mac,
                    });
                }
                Err(
                    error @ (NetworkError::NoSubnet { .. }
                    | NetworkError::AddressInUse { .. }
                    | NetworkError::MacInUse { .. }),
                ) => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    /// The ports of the host that lead to a container.
    pub fn published(&self, id: &str) -> Vec<PublishedPorts> {
        let state = self.inner.state();
        state.attachments.get(id).map(|record| record.published.clone()).unwrap_or_default()
    }

    /// Publishes ports of a container on the host, until it is detached. What is found for those who ask for no port by number
    /// keeps out of `avoid`. Asked again, it gives what is published.
    pub fn publish(
        &self,
        id: &str,
        wishes: &[PortWish],
        avoid: &BTreeSet<HostPort>,
    ) -> Result<Vec<PublishedPorts>, NetworkError> {
        let inner = &self.inner;
        let mut state = inner.open_state()?;
        let state = &mut *state;
        let not_attached = || NetworkError::NotAttached(id.to_owned());
        let record = state.attachments.get_mut(id).filter(|record| record.stage == Stage::Made);
        let record = record.ok_or_else(not_attached)?;
        let address = record.address().ok_or_else(not_attached)?;
        if !record.published.is_empty() || wishes.is_empty() {
            return Ok(record.published.clone());
        }
        let ports = state.host_ports.take(wishes, avoid)?;
        record.published.clone_from(&ports);
        let link = record.namespace.clone();
        // Written first, so that a crash leaves nothing published that nobody knows of.
        let published = inner
            .records
            .write_attachment(record)
            .and_then(|()| open_loopback(&link))
            .and_then(|()| inner.change_rules(|batch| port_rules::publish(batch, address, &ports)));
        if let Err(error) = published {
            record.published.clear();
            state.host_ports.give_back(&ports);
            return Err(error);
        }
        for published in &ports {
            state.host_ports.pass_on(published, address);
        }
        Ok(ports)
    }
}

impl State {
    /// The containers' network, where there is one.
    pub(super) fn containers(&self) -> Option<&Vpc> {
        self.vpcs.values().find(|vpc| vpc.record.vpc.id == CONTAINERS)
    }

    /// The attachment of the next container: its address is the next free one behind the last that was given.
    fn next_container(&mut self, id: &str) -> Result<Attachment, NetworkError> {
        /// The network itself, the gateway, and what AWS keeps in every subnet.
        const KEPT: u32 = 4;
        let cidr = self.containers().ok_or(NetworkError::NoNetwork)?.record.vpc.cidr;
        let base = u32::from(cidr.base());
        let size = u32::from(cidr.last()) - base;
        let used: HashSet<Ipv4Addr> =
            self.attachments.values().filter_map(AttachmentRecord::address).collect();
        let last = self.last_container.filter(|last| cidr.contains(*last));
        let last = last.or_else(|| used.iter().copied().filter(|used| cidr.contains(*used)).max());
        let start = last.map_or(0, |last| u32::from(last) - base + 1);
        let offsets = (0..size).map(|step| (start + step) % size).filter(|offset| *offset >= KEPT);
        let free =
            offsets.map(|offset| Ipv4Addr::from(base + offset)).find(|address| !used.contains(address));
        let address = free.ok_or(NetworkError::NoFreeAddress)?;
        self.last_container = Some(address);
        Ok(Attachment {
            id: id.to_owned(),
            mac: mac_of(address),
            address,
            ipv6_addresses: Vec::new(),
            prefix_length: cidr.prefix_length(),
            gateway: cidr.nth(1).ok_or(NetworkError::NoFreeAddress)?,
        })
    }
}

impl Inner {
    /// Makes the network where there is none.
    async fn ensure_container_network(&self) -> Result<(), NetworkError> {
        let _alone = self.bridge_making.lock().await;
        let known: Vec<Ipv4Cidr> = {
            let state = self.open_state()?;
            if state.containers().is_some() {
                return Ok(());
            }
            state.vpcs.values().map(|vpc| vpc.record.vpc.cidr).collect()
        };
        let links: Vec<String> = self.links.list().await?.into_iter().map(|link| link.name).collect();
        let mut taken = super::host_networks(&self.name).await?;
        taken.extend(known);
        let cidr = claim(&self.shared, &self.name, &taken, &links)?;
        let subnets = vec![SubnetNetwork { id: CONTAINERS.to_owned(), cidr, ipv6_cidr: None }];
        self.ensure_vpc(VpcNetwork { id: CONTAINERS.to_owned(), cidr, ipv6_cidr: None, subnets }).await
    }

    /// Makes a container's link, in the namespace that was made for it.
    pub(super) async fn make_container(
        &self,
        record: &AttachmentRecord,
        attachment: &Attachment,
        new: &NewNamespace,
    ) -> Result<(), NetworkError> {
        let Attachment { mac, address, prefix_length, gateway, .. } = *attachment;
        let pair = VethPair {
            name: &record.namespace,
            bridge: None,
            peer_name: INTERFACE,
            peer_mac: mac,
            peer_namespace: &new.file,
            mtu: self.mtu,
        };
        // Before the link is there: nothing that it sends goes past the rules.
        self.change_rules(|batch| {
            rules::add_attached(batch, mac, address);
            port_rules::add_container(batch, &record.namespace, address);
        })?;
        self.links.add_routed_veth(&pair, gateway, address).await?;
        new.links.set_up_loopback().await?;
        new.links.set_up_routed_interface(INTERFACE, address, prefix_length, gateway).await?;
        new.links.wait_until_up(INTERFACE).await?;
        self.links.wait_until_up(&record.namespace).await
    }

    /// Frees the ports of an attachment that goes.
    pub(super) fn withdraw(&self, record: &AttachmentRecord) {
        if record.published.is_empty() {
            return;
        }
        if let Err(error) = self.change_rules(|batch| port_rules::withdraw(batch, &record.published)) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(id = record.id, error, "ports of a container that is gone stay published");
        }
        self.state().host_ports.give_back(&record.published);
    }
}

/// Lets the host's own processes reach published ports at 127.0.0.1: what is translated from there leaves by the container's
/// link, and its answers come in by it. What the container itself sends to loopback is dropped by the rules.
fn open_loopback(link: &str) -> Result<(), NetworkError> {
    sysctl::set(&format!("net/ipv4/conf/{link}/route_localnet"), "1")
}
