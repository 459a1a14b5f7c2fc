//! Detaching. Freeing the addresses takes microseconds and is done at once; letting go of a veth pair costs the kernel
//! tens of milliseconds, in which nobody else can change a link. So one worker does that from a bounded queue, for many
//! at once.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::mpsc;

use super::{Inner, bridge_prefix, metadata_link, veth_prefix};
use crate::error::NetworkError;
use crate::nftables::NftablesSocket;
use crate::record::{AttachmentRecord, Stage};
use crate::{connections, firewall, ipv6_rules, namespace, port_rules, rules, security_groups};

/// Removals that may wait; beyond it `detach` waits too.
pub(super) const QUEUE: usize = 1024;
/// Removals that the worker does together.
const TOGETHER: usize = 64;

impl Inner {
    pub(super) async fn detach(&self, id: &str) -> Result<(), NetworkError> {
        let record = {
            let mut state = self.state();
            let Some(record) = state.attachments.get_mut(id) else { return Ok(()) };
            match record.stage {
                Stage::Making => return Err(NetworkError::AttachmentBusy(id.to_owned())),
                // Another call is at it.
                Stage::Removing => return Ok(()),
                Stage::Made => record.stage = Stage::Removing,
            }
            record.clone()
        };
        let noted = self.records.write_attachment(&record);
        self.forget(record).await;
        noted
    }

    /// Frees the addresses of what `record` says, and has the rest removed.
    pub(super) async fn forget(&self, record: AttachmentRecord) {
        self.silence(&record);
        {
            let mut state = self.state();
            state.attachments.remove(&record.id);
            state.leaving.insert(record.namespace.clone());
        }
        if let Some(address) = record.address()
            && let Err(error) = self.lead_public(&[address]).await
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(id = record.id, error, "a public address still leads to where nobody is");
        }
        self.remove_later(record).await;
    }

    /// From here on the attachment can send nothing. Until this is done its addresses stay taken, so what it removes
    /// cannot be a successor's.
    fn silence(&self, record: &AttachmentRecord) {
        self.withdraw(record);
        let Some(attachment) = &record.attachment else { return };
        let (mac, address) = (attachment.mac, attachment.address);
        let removed = self.change_rules(|batch| {
            rules::remove_attached(batch, mac, address);
            ipv6_rules::remove_attached(batch, mac, &attachment.ipv6_addresses);
            if record.container {
                port_rules::remove_container(batch, &record.namespace, address);
            }
        });
        if let Err(error) = removed {
            let is_gone =
                matches!(&error, NetworkError::Nftables(error) if error.kernel_error() == Some(libc::ENOENT));
            if !is_gone {
                tracing::warn!(
                    id = record.id,
                    error = &error as &dyn std::error::Error,
                    "cannot free an address"
                );
            }
        }
    }

    pub(super) async fn remove_later(&self, record: AttachmentRecord) {
        self.removals_asked.send_modify(|asked| *asked += 1);
        // Without its worker, the process is ending; the next start finds the record.
        let _ = self.removals.send(record).await;
    }

    /// Removes what the kernel has of some attachments.
    async fn remove(&self, records: &[AttachmentRecord]) {
        let links: Vec<&str> = records
            .iter()
            .filter(|record| record.attachment.is_some())
            .map(|record| record.namespace.as_str())
            .collect();
        let mut removed = self.links.delete_together(&links, self.leaving_group()).await;
        let containers: Vec<&str> = records
            .iter()
            .filter(|record| record.container)
            .map(|record| record.namespace.as_str())
            .collect();
        if removed.is_ok() {
            removed = self.change_rules(|batch| port_rules::forget_links(batch, &containers));
        }
        self.forget_connections(records.iter().flat_map(AttachmentRecord::addresses)).await;
        for record in records {
            if removed.is_ok() {
                removed = self.remove_rest(record).await;
            }
            if let Err(error) = &removed {
                // The record stays: the next start tries again.
                let error: &dyn std::error::Error = error;
                tracing::error!(id = record.id, error, "cannot remove a task's network namespace");
                removed = Ok(());
            }
        }
    }

    /// Forgets what connections the kernel tracks of `addresses`, but for those that someone has by now.
    pub(super) async fn forget_connections(&self, addresses: impl Iterator<Item = IpAddr>) {
        let mut addresses: HashSet<IpAddr> = addresses.collect();
        {
            let state = self.state();
            for taken in state.attachments.values().flat_map(AttachmentRecord::addresses) {
                addresses.remove(&taken);
            }
        }
        // Opened here: another thread may be in another namespace.
        let forgotten = match NftablesSocket::open() {
            Ok(mut socket) => {
                tokio::task::spawn_blocking(move || connections::forget(&mut socket, &addresses)).await
            }
            Err(error) => Ok(Err(error)),
        };
        if let Ok(Err(error)) = forgotten {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "connections to addresses that are free are still tracked");
        }
    }

    async fn remove_rest(&self, record: &AttachmentRecord) -> Result<(), NetworkError> {
        self.forget_neighbour(record).await?;
        namespace::remove(&self.namespace_path(&record.namespace))?;
        self.records.remove_attachment(&record.namespace)?;
        self.state().leaving.remove(&record.namespace);
        Ok(())
    }

    /// Forgets the neighbour entry of an address, unless a successor has the address by now.
    async fn forget_neighbour(&self, record: &AttachmentRecord) -> Result<(), NetworkError> {
        // A container's went with its link.
        let attachment = record.attachment.as_ref().filter(|_| !record.container);
        let Some(attachment) = attachment else { return Ok(()) };
        let _alone = self.neighbour_changes.lock().await;
        let bridge = {
            let state = self.state();
            let is_taken =
                state.attachments.values().any(|other| other.address() == Some(attachment.address));
            if is_taken { None } else { state.vpc_of(attachment).map(|vpc| vpc.link) }
        };
        match bridge {
            Some(bridge) => {
                self.links.remove_neighbour(bridge, attachment.address.into()).await?;
                for address in &attachment.ipv6_addresses {
                    self.links.remove_neighbour(bridge, (*address).into()).await?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The group of links that are on their way out, told by the instance's name.
    fn leaving_group(&self) -> u32 {
        let mut hasher = DefaultHasher::new();
        ("leaving", &self.name).hash(&mut hasher);
        // The group 0 is that of all links that nobody marked.
        (hasher.finish() as u32) | 1
    }

    /// What is left when no attachment is.
    pub(super) async fn remove_what_is_shared(&self) -> Result<(), NetworkError> {
        let prefix = bridge_prefix(&self.name);
        self.forget_public().await?;
        {
            let mut socket = self.nftables.lock().unwrap_or_else(PoisonError::into_inner);
            socket.send(&rules::remove(&self.name))?;
            socket.send(&security_groups::remove(&self.name))?;
            firewall::close(&mut socket, &prefix)?;
            firewall::close(&mut socket, &veth_prefix(&self.name))?;
        }
        self.forget_transparent_sockets().await?;
        for link in self.links.list().await? {
            if link.name.starts_with(&prefix) {
                self.links.delete(&link.name).await?;
            }
        }
        let others: Vec<String> = self.links.list().await?.into_iter().map(|link| link.name).collect();
        self.shared.release(&self.name, |user| others.contains(&metadata_link(user)))?;
        self.records.remove_all()
    }
}

/// The worker; ends with the network.
pub(super) fn spawn_worker(inner: &Arc<Inner>, mut queue: mpsc::Receiver<AttachmentRecord>) {
    let inner: Weak<Inner> = Arc::downgrade(inner);
    tokio::spawn(async move {
        let mut records = Vec::with_capacity(TOGETHER);
        while queue.recv_many(&mut records, TOGETHER).await > 0 {
            let Some(inner) = inner.upgrade() else { return };
            inner.remove(&records).await;
            inner.removals_done.send_modify(|done| *done += records.len() as u64);
            records.clear();
        }
    });
}

/// The worker that forgets connections to public addresses which just came to lead to somebody: who sent there before would go
/// on to reach nobody. Not at once, so that no start waits for it; ends with the network.
pub(super) fn spawn_forgetter(inner: &Arc<Inner>, mut queue: mpsc::Receiver<Ipv4Addr>) {
    let inner: Weak<Inner> = Arc::downgrade(inner);
    tokio::spawn(async move {
        let mut addresses = Vec::with_capacity(TOGETHER);
        while queue.recv_many(&mut addresses, TOGETHER).await > 0 {
            let Some(inner) = inner.upgrade() else { return };
            inner.forget_connections(addresses.drain(..).map(IpAddr::from)).await;
        }
    });
}
