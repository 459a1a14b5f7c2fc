//! Starting: what is shared is made, what an earlier run left is adopted if it is whole, and removed if not.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use base::MacAddress;
use tokio::sync::{mpsc, watch};

use super::public::mapping;
use super::remove::{QUEUE, spawn_forgetter, spawn_worker};
use super::{Inner, Network, State, Vpc, bridge_prefix, metadata_link, veth_prefix};
use crate::config::NetworkConfig;
use crate::error::NetworkError;
use crate::links::{Link, Links};
use crate::nftables::NftablesSocket;
use crate::record::{AttachmentRecord, Records, Stage};
use crate::rules::{self, Content};
use crate::sysctl::Shared;
use crate::{firewall, namespace, sysctl};

/// Of a link that nothing is connected to.
const METADATA_MAC: MacAddress = MacAddress([0x02, 0x52, 0xa9, 0xfe, 0xaa, 0x02]);
/// Bytes of a packet where the host has no way out to take it from.
const MTU_DEFAULT: u32 = 1500;
/// Above this nothing is gained: the biggest of EC2.
const MTU_MAXIMUM: u32 = 9001;
/// The smallest that IPv4 hosts must take whole, RFC 791.
const MTU_MINIMUM: u32 = 576;

pub(super) async fn start(config: NetworkConfig) -> Result<Network, NetworkError> {
    check_name(&config.name)?;
    let records = Records::open(&config.data_dir)?;
    let links = Links::open()?;
    let nftables = NftablesSocket::open()?;
    let shared = Shared::of_this_namespace()?;
    let present: Vec<String> = links.list().await?.into_iter().map(|link| link.name).collect();
    shared.acquire(&config.name, |user| present.contains(&metadata_link(user)))?;
    let metadata_host = metadata_host(&links, &config.name).await?;
    let resolver_host6 = resolver_host6(&links, &config.name, metadata_host).await;
    let mtu = match config.mtu {
        Some(mtu) => mtu.clamp(MTU_MINIMUM, MTU_MAXIMUM),
        None => mtu_of_way_out(&links).await?,
    };
    let (removals, queue) = mpsc::channel(QUEUE);
    let (led, led_queue) = mpsc::channel(QUEUE);
    let inner = Arc::new(Inner {
        name: config.name,
        mtu,
        records,
        links,
        nftables: Mutex::new(nftables),
        security_groups: Mutex::default(),
        security_groups_changed: watch::Sender::new(()),
        shared,
        metadata_host,
        resolver_host6,
        state: Mutex::new(State::default()),
        vpc_changes: tokio::sync::Mutex::new(()),
        bridge_making: tokio::sync::Mutex::new(()),
        neighbour_changes: tokio::sync::Mutex::new(()),
        public_changes: tokio::sync::Mutex::new(()),
        removals,
        led,
        removals_asked: watch::Sender::new(0),
        removals_done: watch::Sender::new(0),
    });
    inner.adopt_vpcs().await?;
    let leftovers = inner.adopt_attachments().await?;
    inner.adopt_public().await?;
    inner.adopt_host_addresses().await?;
    inner.write_rules()?;
    spawn_worker(&inner, queue);
    spawn_forgetter(&inner, led_queue);
    for record in leftovers {
        tracing::info!(id = record.id, "removing what is left of a task's network");
        inner.remove_later(record).await;
    }
    Ok(Network { inner })
}

fn check_name(name: &str) -> Result<(), NetworkError> {
    let is_good = (1..=8).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if is_good { Ok(()) } else { Err(NetworkError::Name(name.chars().take(32).collect())) }
}

/// The address on the instance's metadata link: the one it has, else one of 169.254.171.0/24 that no link has.
async fn metadata_host(links: &Links, instance: &str) -> Result<Ipv4Addr, NetworkError> {
    const CHOICES: u8 = 253;
    let link = links.bridge(&metadata_link(instance), METADATA_MAC, MTU_DEFAULT).await?;
    links.up(link).await?;
    let addresses = links.addresses().await?;
    if let Some((_, address)) = addresses.iter().find(|(index, _)| *index == link) {
        return Ok(*address);
    }
    // Instances start at different places, so that two that start together rarely choose alike.
    let mut hasher = DefaultHasher::new();
    instance.hash(&mut hasher);
    let first = (hasher.finish() % u64::from(CHOICES)) as u8;
    for offset in 0..CHOICES {
        let last_byte = (u16::from(first) + u16::from(offset)) % u16::from(CHOICES) + 1;
        let address = Ipv4Addr::new(169, 254, 171, last_byte as u8);
        if addresses.iter().all(|(_, taken)| *taken != address) {
            links.add_address(link, address, 32).await?;
            return Ok(address);
        }
    }
    Err(NetworkError::Link {
        doing: "all addresses of 169.254.171.0/24 are taken".to_owned(),
        source: io::Error::from_raw_os_error(libc::EADDRINUSE),
    })
}

/// The resolver's IPv6 address on the metadata link, as much its own on the machine as the IPv4 address is that it ends with. `None`
/// where the kernel has no IPv6.
async fn resolver_host6(links: &Links, instance: &str, metadata_host: Ipv4Addr) -> Option<Ipv6Addr> {
    const HOST: u8 = 128;
    let [a, b, c, d] = metadata_host.octets();
    let ending = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
    let address = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, ending[0], ending[1]);
    let name = metadata_link(instance);
    sysctl::set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "0").ok()?;
    let link = links.bridge(&name, METADATA_MAC, MTU_DEFAULT).await.ok()?;
    links.add_ipv6_address(link, address, HOST).await.ok()?;
    Some(address)
}

async fn mtu_of_way_out(links: &Links) -> Result<u32, NetworkError> {
    let (_, outward) = links.routes().await?;
    let Some(outward) = outward else { return Ok(MTU_DEFAULT) };
    let link = links.list().await?.into_iter().find(|link| link.index == outward);
    Ok(link.and_then(|link| link.mtu).unwrap_or(MTU_DEFAULT).clamp(MTU_MINIMUM, MTU_MAXIMUM))
}

impl Inner {
    async fn adopt_vpcs(&self) -> Result<(), NetworkError> {
        let mut vpcs = BTreeMap::new();
        for record in self.records.read_vpcs()? {
            let link = self.make_bridge(&record).await?;
            vpcs.insert(record.bridge, Vpc { record, link });
        }
        let known: HashSet<String> = vpcs.keys().map(|number| self.bridge_name(*number)).collect();
        let prefix = bridge_prefix(&self.name);
        for link in self.links.list().await? {
            let is_ours = link.name.starts_with(&prefix) && link.name != metadata_link(&self.name);
            if is_ours && !known.contains(&link.name) {
                self.links.delete(&link.name).await?;
            }
        }
        self.state().vpcs = vpcs;
        Ok(())
    }

    /// Takes over what is whole; gives back what is not.
    async fn adopt_attachments(&self) -> Result<Vec<AttachmentRecord>, NetworkError> {
        let links = self.links.list().await?;
        let mut leftovers = Vec::new();
        let mut recorded = HashSet::new();
        for record in self.records.read_attachments()? {
            recorded.insert(record.namespace.clone());
            if !self.is_whole(&record, &links) {
                leftovers.push(record);
                continue;
            }
            if let Some(attachment) = record.attachment.as_ref().filter(|_| !record.container) {
                let bridge = self.state().vpc_of(attachment).map(|vpc| vpc.link);
                if let Some(bridge) = bridge {
                    self.add_neighbours(bridge, attachment).await?;
                }
            }
            let mut state = self.state();
            for ports in &record.published {
                state.host_ports.take_again(ports);
                if let Some(address) = record.address() {
                    state.host_ports.pass_on(ports, address);
                }
            }
            state.attachments.insert(record.id.clone(), record);
        }
        self.remove_unrecorded(&links, &recorded).await?;
        self.state().leaving.extend(leftovers.iter().map(|record| record.namespace.clone()));
        Ok(leftovers)
    }

    /// The addresses of the host on VPCs' bridges that are no gateways: nothing is published at them.
    async fn adopt_host_addresses(&self) -> Result<(), NetworkError> {
        let addresses = self.links.addresses().await?;
        let mut state = self.state();
        let mut found = BTreeSet::from([self.metadata_host]);
        for vpc in state.vpcs.values() {
            let subnets = &vpc.record.vpc.subnets;
            let is_gateway = |address| subnets.iter().any(|subnet| subnet.cidr.nth(1) == Some(address));
            let there = addresses.iter().filter(|(link, address)| *link == vpc.link && !is_gateway(*address));
            found.extend(there.map(|(_, address)| *address));
        }
        state.unpublished = found;
        Ok(())
    }

    fn is_whole(&self, record: &AttachmentRecord, links: &[Link]) -> bool {
        let has_namespace = namespace::is_pinned(&self.namespace_path(&record.namespace));
        let has_link = record.attachment.as_ref().is_none_or(|attachment| {
            let bridge = self.state().vpc_of(attachment).map(|vpc| vpc.link);
            let link = links.iter().find(|link| link.name == record.namespace);
            let is_port = |link: &Link| link.controller.is_some() && link.controller == bridge;
            link.is_some_and(|link| record.container || is_port(link))
        });
        record.stage == Stage::Made && has_namespace && has_link
    }

    /// Records are written first and removed last, so this finds something only where someone removed a record by hand.
    async fn remove_unrecorded(
        &self,
        links: &[Link],
        recorded: &HashSet<String>,
    ) -> Result<(), NetworkError> {
        let prefix = veth_prefix(&self.name);
        for link in links.iter().filter(|link| link.name.starts_with(&prefix)) {
            if !recorded.contains(&link.name) {
                self.links.delete(&link.name).await?;
            }
        }
        let directory = self.records.namespaces();
        let failed = |source| NetworkError::file("cannot read", &directory, source);
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().to_str().is_some_and(|name| recorded.contains(name)) {
                namespace::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn write_rules(&self) -> Result<(), NetworkError> {
        let state = self.state();
        let vpcs: Vec<_> = state
            .vpcs
            .values()
            .map(|vpc| (self.bridge_name(vpc.record.bridge), vpc.record.vpc.cidr))
            .collect();
        let attachments = state.attachments.values().filter_map(|record| record.attachment.as_ref());
        let attached: Vec<_> = attachments.map(|attachment| (attachment.mac, attachment.address)).collect();
        let public: Vec<_> =
            state.public_made.iter().map(|(private, public)| mapping(*private, *public)).collect();
        let containers = state.attachments.values().filter(|record| record.container);
        let containers: Vec<_> =
            containers.filter_map(|record| Some((record.namespace.clone(), record.address()?))).collect();
        let published: Vec<_> = state
            .attachments
            .values()
            .filter(|record| !record.published.is_empty())
            .filter_map(|record| Some((record.address()?, record.published.clone())))
            .collect();
        let unpublished: Vec<_> = state.unpublished.iter().copied().collect();
        let vpcs6: Vec<_> = state
            .vpcs
            .values()
            .filter_map(|vpc| Some((self.bridge_name(vpc.record.bridge), vpc.record.vpc.ipv6_cidr?)))
            .collect();
        let with_ipv6 = state.attachments.values().filter_map(|record| record.attachment.as_ref());
        let attached6: Vec<_> =
            with_ipv6.map(|attachment| (attachment.mac, attachment.ipv6_addresses.clone())).collect();
        let content = Content {
            vpcs6: &vpcs6,
            attached6: &attached6,
            public: &public,
            container_network: state.containers().map(|vpc| vpc.record.vpc.cidr),
            containers: &containers,
            published: &published,
            unpublished: &unpublished,
            vpcs: &vpcs,
            attached: &attached,
            metadata_host: self.metadata_host,
            metadata: state.metadata,
            resolver: state.resolver,
            resolver6: (self.resolver_host6, None),
        };
        let mut socket = self.nftables.lock().unwrap_or_else(PoisonError::into_inner);
        socket.send(&rules::write(&self.name, &content))?;
        firewall::open(&mut socket, &bridge_prefix(&self.name))?;
        firewall::open(&mut socket, &veth_prefix(&self.name))?;
        for chain in firewall::blocking_chains(&mut socket)? {
            tracing::warn!(chain, "another firewall drops what tasks send and receive");
        }
        Ok(())
    }
}
