//! Amazon Route 53: hosted zones, record sets, health checks.
//!
//! Route 53 belongs to an account, whatever the region of a call. What it holds is in force with the transaction that wrote
//! it: the DNS server (`dns`) reads the same rows.

use std::sync::Arc;

use base::Ids;
use store::Store;

mod faults;
#[cfg(test)]
mod modelled_faults;
mod operations;
mod resources;
#[cfg(test)]
mod testing;

/// The service.
pub struct Route53 {
    /// All state.
    pub store: Store,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
}
