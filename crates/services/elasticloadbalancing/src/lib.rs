//! Elastic Load Balancing v2: load balancers, listeners, rules, target groups and targets.
//!
//! Operations write rows; a control loop tells them to the balancers, and writes back what those see of the targets.

use std::sync::Arc;

use base::Ids;
use store::Store;

mod faults;
mod listing;
pub mod managed;
mod operations;
mod quotas;
mod resources;
#[cfg(test)]
mod testing;

/// The service.
pub struct Elasticloadbalancing {
    /// All state.
    pub store: Store,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
}
