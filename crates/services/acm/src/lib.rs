//! AWS Certificate Manager: certificates that listeners of load balancers serve. They are imported, or made here for
//! development.

use std::sync::Arc;

use base::Ids;
use store::Store;

mod faults;
mod issue;
mod operations;
mod resources;
#[cfg(test)]
mod testing;
mod x509;

pub use issue::managed_certificate;

/// The service.
pub struct Acm {
    /// All state.
    pub store: Store,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
}
