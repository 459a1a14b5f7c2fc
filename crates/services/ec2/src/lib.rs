//! Amazon EC2, as far as Amazon ECS needs it: VPCs, subnets, security groups, network interfaces, zones, regions, tags.
//!
//! Every (account, region) has a default VPC, made on the first call that looks for it. The rows are those that ECS takes
//! addresses from, so what is described is what tasks have.

use std::sync::Arc;

use base::{Ids, Ipv4Cidr};
use domain::DefaultVpc;
use store::{Store, rows_vpc};
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
    /// All state.
    pub store: Store,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
    /// The networks that default VPCs are made in, best first: those that the machine does not route elsewhere.
    pub networks: Arc<[Ipv4Cidr]>,
}

impl Ec2 {
    /// The default VPC of the caller's account and region.
    pub(crate) async fn default_vpc(&self, call: &Call) -> Result<DefaultVpc, Fault> {
        rows_vpc::ensure_default_vpc(&self.store, &call.scope, &self.networks, &*self.ids)
            .await
            .map_err(|error| faults::of_default_vpc(&error))
    }
}
