//! VPCs: a bridge each, with the gateways of its subnets.

use std::collections::BTreeSet;

use base::{Ipv4Cidr, MacAddress};

use super::{Inner, Vpc, bridge_prefix};
use crate::config::VpcNetwork;
use crate::container_network::CONTAINERS;
use crate::error::NetworkError;
use crate::links::IPV6_ROUTER;
use crate::record::VpcRecord;
use crate::{ipv6_rules, port_rules, rules, sysctl};

/// VPCs on one node: bounded by what fits an interface's name.
const VPCS_MAXIMUM: u16 = 1000;

impl Inner {
    pub(super) async fn ensure_vpc(&self, vpc: VpcNetwork) -> Result<(), NetworkError> {
        check(&vpc)?;
        let mut vpc = vpc;
        let _alone = self.vpc_changes.lock().await;
        let (known, overlapping) = {
            let state = self.open_state()?;
            let known = state.vpcs.values().find(|known| known.record.vpc.id == vpc.id).cloned();
            let others = state.vpcs.values().filter(|other| other.record.vpc.id != vpc.id);
            let overlapping = others.filter(|other| other.record.vpc.cidr.overlaps(&vpc.cidr));
            (known, overlapping.map(|other| other.record.clone()).collect::<Vec<_>>())
        };
        if let Some(known) = &known {
            keep_ipv6(&known.record.vpc, &mut vpc);
        }
        match known {
            Some(known) if known.record.vpc == vpc => return Ok(()),
            Some(known) if known.record.vpc.cidr == vpc.cidr => return self.change_subnets(known, vpc).await,
            Some(known) => self.remove_bridge(&known.record).await?,
            None => {}
        }
        for other in overlapping {
            self.remove_bridge(&other).await.map_err(|error| match error {
                NetworkError::VpcInUse(other) => {
                    refused(&vpc, format!("it overlaps {other}, which is in use"))
                }
                error => error,
            })?;
        }
        let number = {
            let state = self.open_state()?;
            (0..VPCS_MAXIMUM).find(|number| !state.vpcs.contains_key(number))
        };
        let number =
            number.ok_or_else(|| refused(&vpc, "there are too many VPCs on this node".to_owned()))?;
        let record = VpcRecord { vpc, bridge: number };
        self.warn_of_other_routes(&record.vpc).await?;
        self.records.write_vpc(&record)?;
        let link = self.make_bridge(&record).await?;
        let name = self.bridge_name(number);
        self.change_rules(|batch| {
            rules::add_vpc(batch, &name, record.vpc.cidr);
            if let Some(cidr) = record.vpc.ipv6_cidr {
                ipv6_rules::add_vpc(batch, &name, cidr);
            }
            if record.vpc.id == CONTAINERS {
                port_rules::add_network(batch, record.vpc.cidr);
            }
        })?;
        self.state().vpcs.insert(number, Vpc { record, link });
        Ok(())
    }

    /// Where the machine has come to route a VPC's addresses elsewhere, what is meant for tasks may get lost.
    async fn warn_of_other_routes(&self, vpc: &VpcNetwork) -> Result<(), NetworkError> {
        let others = super::host_networks(&self.name).await?;
        let others = others.iter().filter(|other| other.prefix_length() > 0 && other.overlaps(&vpc.cidr));
        for other in others {
            tracing::warn!(vpc = vpc.id, cidr = %vpc.cidr, %other, "this machine routes some of a VPC's addresses elsewhere");
        }
        Ok(())
    }

    /// Makes the bridge of a VPC whole, whatever there is of it already.
    pub(super) async fn make_bridge(&self, record: &VpcRecord) -> Result<u32, NetworkError> {
        let name = self.bridge_name(record.bridge);
        let link = self.links.bridge(&name, bridge_mac(record.vpc.cidr), self.mtu).await?;
        for (key, value) in [
            // The bridge answers ARP for all tasks behind it, at once: that is how their traffic comes to be routed.
            (format!("net/ipv4/conf/{name}/proxy_arp_pvlan"), "1"),
            (format!("net/ipv4/neigh/{name}/proxy_delay"), "0"),
            // Strict: no packet with a source address from elsewhere.
            (format!("net/ipv4/conf/{name}/rp_filter"), "1"),
            (format!("net/ipv4/conf/{name}/accept_redirects"), "0"),
        ] {
            sysctl::set(&key, value)?;
        }
        if record.vpc.ipv6_cidr.is_some() {
            self.set_up_ipv6(&name, link, &record.vpc).await?;
        } else {
            // Without IPv6 in the kernel there is nothing to switch off.
            let _ = sysctl::set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1");
        }
        for subnet in &record.vpc.subnets {
            if let Some(gateway) = subnet.cidr.nth(1) {
                self.links.add_address(link, gateway, subnet.cidr.prefix_length()).await?;
            }
        }
        self.links.up(link).await?;
        Ok(link)
    }

    /// The host as a router of IPv6: it believes no other one, and nobody has its addresses.
    async fn set_up_ipv6(&self, name: &str, link: u32, vpc: &VpcNetwork) -> Result<(), NetworkError> {
        const LINK: u8 = 64;
        self.shared.acquire_ipv6(&self.name)?;
        for (key, value) in
            [("disable_ipv6", "0"), ("accept_ra", "0"), ("accept_redirects", "0"), ("accept_dad", "0")]
        {
            sysctl::set(&format!("net/ipv6/conf/{name}/{key}"), value)?;
        }
        self.links.add_ipv6_address(link, IPV6_ROUTER, LINK).await?;
        for subnet in &vpc.subnets {
            let Some(cidr) = subnet.ipv6_cidr else { continue };
            if let Some(gateway) = cidr.nth(1) {
                self.links.add_ipv6_address(link, gateway, cidr.prefix_length()).await?;
            }
        }
        Ok(())
    }

    async fn change_subnets(&self, known: Vpc, vpc: VpcNetwork) -> Result<(), NetworkError> {
        let cidrs = |vpc: &VpcNetwork| vpc.subnets.iter().map(|subnet| subnet.cidr).collect::<BTreeSet<_>>();
        let (old, new) = (cidrs(&known.record.vpc), cidrs(&vpc));
        let gone: Vec<Ipv4Cidr> = old.difference(&new).copied().collect();
        let record = VpcRecord { vpc, bridge: known.record.bridge };
        {
            let state = self.open_state()?;
            let addresses = state.attachments.values().filter_map(|attached| attached.address());
            for address in addresses {
                if gone.iter().any(|subnet| subnet.contains(address)) {
                    return Err(NetworkError::VpcInUse(record.vpc.id));
                }
            }
        }
        self.records.write_vpc(&record)?;
        self.make_bridge(&record).await?;
        let (had, has) = (known.record.vpc.ipv6_cidr, record.vpc.ipv6_cidr);
        if had != has {
            let name = self.bridge_name(record.bridge);
            self.change_rules(|batch| {
                if let Some(had) = had {
                    ipv6_rules::remove_vpc(batch, &name, had);
                }
                if let Some(has) = has {
                    ipv6_rules::add_vpc(batch, &name, has);
                }
            })?;
        }
        for subnet in gone {
            if let Some(gateway) = subnet.nth(1) {
                self.links.remove_address(known.link, gateway.into(), subnet.prefix_length()).await?;
            }
        }
        let ipv6_cidrs = |vpc: &VpcNetwork| {
            vpc.subnets.iter().filter_map(|subnet| subnet.ipv6_cidr).collect::<BTreeSet<_>>()
        };
        for subnet in ipv6_cidrs(&known.record.vpc).difference(&ipv6_cidrs(&record.vpc)) {
            if let Some(gateway) = subnet.nth(1) {
                self.links.remove_address(known.link, gateway.into(), subnet.prefix_length()).await?;
            }
        }
        self.state().vpcs.insert(record.bridge, Vpc { record, link: known.link });
        Ok(())
    }

    pub(super) async fn remove_vpc(&self, id: &str) -> Result<(), NetworkError> {
        let _alone = self.vpc_changes.lock().await;
        let known = {
            let state = self.open_state()?;
            state.vpcs.values().find(|known| known.record.vpc.id == id).map(|known| known.record.clone())
        };
        match known {
            Some(record) => self.remove_bridge(&record).await,
            None => Ok(()),
        }
    }

    async fn remove_bridge(&self, record: &VpcRecord) -> Result<(), NetworkError> {
        {
            let mut state = self.open_state()?;
            let mut addresses = state.attachments.values().filter_map(|attached| attached.address());
            if addresses.any(|address| record.vpc.cidr.contains(address)) {
                return Err(NetworkError::VpcInUse(record.vpc.id.clone()));
            }
            // From here on nothing can attach to it.
            state.vpcs.remove(&record.bridge);
        }
        let name = self.bridge_name(record.bridge);
        self.change_rules(|batch| {
            rules::remove_vpc(batch, &name, record.vpc.cidr);
            if let Some(cidr) = record.vpc.ipv6_cidr {
                ipv6_rules::remove_vpc(batch, &name, cidr);
            }
            if record.vpc.id == CONTAINERS {
                port_rules::remove_network(batch, record.vpc.cidr);
            }
        })?;
        self.links.delete(&name).await?;
        self.records.remove_vpc(record.bridge)
    }

    pub(super) async fn host_address(
        &self,
        address: std::net::Ipv4Addr,
        there: bool,
    ) -> Result<(), NetworkError> {
        const HOST: u8 = 32;
        let link = {
            let state = self.open_state()?;
            let vpc = state.vpcs.values().find(|vpc| vpc.record.vpc.cidr.contains(address));
            vpc.map(|vpc| vpc.link)
        };
        {
            // Whatever is published on the host, this address is not the host's to publish at.
            let mut state = self.open_state()?;
            self.change_rules(|batch| {
                port_rules::change_unpublished(batch, address, there && link.is_some());
            })?;
            if there && link.is_some() {
                state.unpublished.insert(address);
            } else {
                state.unpublished.remove(&address);
            }
        }
        match link {
            Some(link) if there => self.links.add_address(link, address, HOST).await,
            Some(link) => self.links.remove_address(link, address.into(), HOST).await,
            None if there => Err(NetworkError::NoSubnet { address, gateway: address, prefix_length: HOST }),
            None => Ok(()),
        }
    }

    pub(super) fn bridge_name(&self, number: u16) -> String {
        format!("{}{number}", bridge_prefix(&self.name))
    }
}

/// The hardware address of a VPC's bridge: locally administered, and the same whenever it is made, for tasks remember it.
pub(super) fn bridge_mac(cidr: Ipv4Cidr) -> MacAddress {
    let [a, b, c, d] = cidr.base().octets();
    MacAddress([0x02, 0x52, a, b, c, d])
}

/// Who does not know of a VPC's IPv6 addresses does not take them away.
fn keep_ipv6(known: &VpcNetwork, vpc: &mut VpcNetwork) {
    vpc.ipv6_cidr = vpc.ipv6_cidr.or(known.ipv6_cidr);
    for subnet in &mut vpc.subnets {
        let same = known.subnets.iter().find(|same| same.id == subnet.id);
        subnet.ipv6_cidr = subnet.ipv6_cidr.or_else(|| same.and_then(|same| same.ipv6_cidr));
    }
}

fn refused(vpc: &VpcNetwork, why: String) -> NetworkError {
    NetworkError::VpcRefused { id: vpc.id.clone(), cidr: vpc.cidr, why }
}

fn check(vpc: &VpcNetwork) -> Result<(), NetworkError> {
    // AWS: a VPC or subnet has between 16 and 65,536 addresses.
    const PREFIX_LENGTHS: std::ops::RangeInclusive<u8> = 16..=28;
    if !PREFIX_LENGTHS.contains(&vpc.cidr.prefix_length()) {
        return Err(refused(vpc, "a VPC's prefix length is 16 to 28".to_owned()));
    }
    for (index, subnet) in vpc.subnets.iter().enumerate() {
        let refuse = |why: &str| {
            Err(NetworkError::VpcRefused { id: subnet.id.clone(), cidr: subnet.cidr, why: why.to_owned() })
        };
        if !PREFIX_LENGTHS.contains(&subnet.cidr.prefix_length()) {
            return refuse("a subnet's prefix length is 16 to 28");
        }
        if !vpc.cidr.covers(&subnet.cidr) {
            return refuse("it is not within its VPC");
        }
        if vpc.subnets.iter().take(index).any(|other| other.cidr.overlaps(&subnet.cidr)) {
            return refuse("it overlaps another subnet");
        }
    }
    Ok(())
}
