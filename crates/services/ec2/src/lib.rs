//! Amazon EC2, as far as Amazon ECS and its users need it: VPCs and what is in them, addresses, key pairs, launch
//! templates, and what can be said of instances.
//!
//! Every (account, region) has a default VPC, made on the first call. The rows are those that ECS takes addresses from, so
//! what is described is what tasks have.

use std::pin::Pin;
use std::sync::Arc;

use base::{Ids, Ipv4Cidr};
use domain::DefaultVpc;
use store::{Prefix, Row, Snapshot, Store, Transaction, Versioned, rows_vpc};
use tokio::sync::Mutex;
use wire::{Call, Fault};

mod faults;
mod filter;
mod listing;
mod operations;
mod resources;
#[cfg(test)]
mod testing;

/// The service.
pub struct Ec2 {
    store: Store,
    ids: Arc<dyn Ids>,
    networks: Arc<[Ipv4Cidr]>,
    machine: Arc<dyn MachineNetworks>,
    /// Calls that change something take turns: what one finds free, unused or below a quota stays so until it is done.
    turn: Mutex<()>,
    /// Calls that claim a network or give one back take turns too, from the claim to what comes of it.
    claiming: Mutex<()>,
}

/// The networks of the machine, which others use too.
pub trait MachineNetworks: Send + Sync {
    /// Claims `new` for a VPC to come, so that no other Roadstead on the machine makes one there, and goes on claiming `kept`.
    /// Gives the network that `new` overlaps where the machine routes it elsewhere or another has claimed it; nothing changes then.
    fn claim<'a>(
        &'a self,
        kept: &'a [Ipv4Cidr],
        new: Option<Ipv4Cidr>,
    ) -> Pin<Box<dyn Future<Output = Option<Ipv4Cidr>> + Send + 'a>>;
}

impl Ec2 {
    /// The service on a store. `networks` are those that default VPCs are made in, best first.
    pub fn new(
        store: Store,
        ids: Arc<dyn Ids>,
        networks: Arc<[Ipv4Cidr]>,
        machine: Arc<dyn MachineNetworks>,
    ) -> Self {
        Self { store, ids, networks, machine, turn: Mutex::new(()), claiming: Mutex::new(()) }
    }

    /// Claims a network for a VPC that `make` makes then, told which network of others it overlaps; whatever comes of it, what is
    /// claimed afterwards is what VPCs have.
    pub(crate) async fn with_claim<T>(
        &self,
        network: Option<Ipv4Cidr>,
        make: impl AsyncFnOnce(Option<Ipv4Cidr>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let _alone = self.claiming.lock().await;
        let taken = match network {
            Some(_) => self.machine.claim(&self.networks_in_use(), network).await,
            None => None,
        };
        let made = make(taken).await;
        // Claimed already where a VPC was made.
        if made.is_err() == network.is_some() {
            self.machine.claim(&self.networks_in_use(), None).await;
        }
        made
    }

    fn networks_in_use(&self) -> Vec<Ipv4Cidr> {
        let snapshot = self.store.snapshot();
        snapshot.scan::<rows_vpc::VpcCidrUse>(Prefix::everything(), None).map(|used| used.cidr).collect()
    }

    /// The default VPC of the caller's account and region; `None` where it was deleted.
    pub(crate) async fn default_vpc(&self, call: &Call) -> Result<Option<DefaultVpc>, Fault> {
        match rows_vpc::ensure_default_vpc(&self.store, &call.scope, &self.networks, &*self.ids).await {
            Ok(found) => Ok(Some(found)),
            Err(rows_vpc::DefaultVpcError::Deleted(_)) => Ok(None),
            Err(error) => Err(faults::of_default_vpc(&error)),
        }
    }

    /// A snapshot in which the default VPC has been made.
    pub(crate) async fn snapshot(&self, call: &Call) -> Result<Snapshot, Fault> {
        self.default_vpc(call).await?;
        Ok(self.store.snapshot())
    }

    /// Does what `change` makes of a snapshot, in its turn. With `DryRun` it is only tried.
    pub(crate) async fn change<T>(
        &self,
        call: &Call,
        dry_run: Option<bool>,
        mut change: impl FnMut(&Snapshot) -> Result<(Transaction, T), Fault>,
    ) -> Result<T, Fault> {
        self.default_vpc(call).await?;
        let _turn = self.turn.lock().await;
        if dry_run == Some(true) {
            change(&self.store.snapshot()).map(drop)?;
            return Err(faults::dry_run());
        }
        self.store.update(change).await.map_err(faults::of_update)
    }

    /// Puts a row that was just deleted back where it turns out to be used, which is a fault then.
    ///
    /// Loops make interfaces of tasks meanwhile. One that saw the row deleted makes none; but one that was a moment
    /// earlier may have used the row while it was being deleted.
    pub(crate) async fn put_back_if<R: Row>(
        &self,
        deleted: &Versioned<R>,
        is_used: impl Fn(&Snapshot) -> bool,
    ) -> Result<(), Fault> {
        if !is_used(&self.store.snapshot()) {
            return Ok(());
        }
        let mut transaction = Transaction::new();
        transaction.put_shared(Arc::clone(&deleted.value));
        self.store.transact(transaction).await.map_err(|error| faults::of_transaction(&error))?;
        let message = "A network interface came to use the resource while it was being deleted.";
        Err(Fault::new("DependencyViolation", message, 400))
    }
}
