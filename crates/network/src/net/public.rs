//! Public addresses: each leads to a private one that is on this node, a task's or a load balancer's.
//!
//! A public address is no address of an interface but a route of the kind `local`, so that the host takes packets for it in and
//! answers ARP for it, and its own processes reach it from the gateway address of the VPC. Packets are then translated.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{Inner, Network, State};
use crate::error::NetworkError;
use crate::public_rules::{self, Mapping};

/// A public address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PublicAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether the network around the machine leads it here: then the outside sees what the interface sends by it.
    pub is_routed: bool,
}

impl Network {
    /// Says which private addresses have a public one from now on, all of them. One counts once its private address is on this
    /// node, and as long as it is.
    pub async fn apply_public_addresses(
        &self,
        wanted: BTreeMap<Ipv4Addr, PublicAddress>,
    ) -> Result<(), NetworkError> {
        let concerned = {
            let mut state = self.inner.open_state()?;
            let old = std::mem::replace(&mut state.public_wanted, wanted.clone());
            old.into_keys().chain(wanted.into_keys()).collect::<Vec<_>>()
        };
        self.inner.lead_public(&concerned).await
    }

    /// The same where it is known what changed; `None`: it has none any more.
    pub async fn change_public_addresses(
        &self,
        changes: &BTreeMap<Ipv4Addr, Option<PublicAddress>>,
    ) -> Result<(), NetworkError> {
        {
            let mut state = self.inner.open_state()?;
            for (private, public) in changes {
                match public {
                    Some(public) => state.public_wanted.insert(*private, *public),
                    None => state.public_wanted.remove(private),
                };
            }
        }
        let concerned: Vec<Ipv4Addr> = changes.keys().copied().collect();
        self.inner.lead_public(&concerned).await
    }
}

impl State {
    /// The gateway of a private address that is on this node.
    fn gateway_of_present(&self, private: Ipv4Addr) -> Option<Ipv4Addr> {
        let mut attachments = self.attachments.values().filter_map(|record| record.attachment.as_ref());
        attachments.find(|attachment| attachment.address == private).map(|attachment| attachment.gateway)
    }
}

impl Inner {
    /// Makes true what is wanted for these private addresses.
    pub(super) async fn lead_public(&self, private: &[Ipv4Addr]) -> Result<(), NetworkError> {
        let _alone = self.public_changes.lock().await;
        let mut changed = false;
        // First what goes: an address may come to another interface.
        for come in [false, true] {
            for private in private {
                let (made, wanted, gateway) = {
                    let state = self.state();
                    let gateway = state.gateway_of_present(*private);
                    let wanted = state.public_wanted.get(private).filter(|_| gateway.is_some()).copied();
                    (state.public_made.get(private).copied(), wanted, gateway)
                };
                if made == wanted {
                    continue;
                }
                changed = true;
                match (made, wanted, gateway) {
                    (Some(made), _, _) if !come => {
                        self.change_rules(|batch| public_rules::remove(batch, &mapping(*private, made)))?;
                        self.links.remove_local_route(made.address).await?;
                        self.state().public_made.remove(private);
                    }
                    (_, Some(wanted), Some(gateway)) if come => {
                        self.links.add_local_route(wanted.address, gateway).await?;
                        self.change_rules(|batch| public_rules::add(batch, &mapping(*private, wanted)))?;
                        self.state().public_made.insert(*private, wanted);
                        // Where too many wait, the few who sent there before are led wrong until they fall silent.
                        let _ = self.led.try_send(wanted.address);
                    }
                    _ => {}
                }
            }
        }
        if changed {
            let made = self.state().public_made.clone();
            self.records.write_public(&made)?;
        }
        Ok(())
    }

    /// Takes over what an earlier run led here, as far as its private address still is; the rules are written with it.
    pub(super) async fn adopt_public(&self) -> Result<(), NetworkError> {
        let mut kept = BTreeMap::new();
        for (private, public) in self.records.read_public()? {
            let gateway = self.state().gateway_of_present(private);
            match gateway {
                Some(gateway) => {
                    self.links.add_local_route(public.address, gateway).await?;
                    kept.insert(private, public);
                }
                None => self.links.remove_local_route(public.address).await?,
            }
        }
        self.records.write_public(&kept)?;
        let mut state = self.state();
        state.public_wanted.clone_from(&kept);
        state.public_made = kept;
        Ok(())
    }

    /// Leads nothing here any more. The rules go with the table.
    pub(super) async fn forget_public(&self) -> Result<(), NetworkError> {
        let _alone = self.public_changes.lock().await;
        let made = std::mem::take(&mut self.state().public_made);
        for public in made.values() {
            self.links.remove_local_route(public.address).await?;
        }
        Ok(())
    }
}

pub(super) fn mapping(private: Ipv4Addr, public: PublicAddress) -> Mapping {
    Mapping { public: public.address, private, is_routed: public.is_routed }
}
