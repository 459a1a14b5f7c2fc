//! AWS Cloud Map: namespaces, services and instances as rows of the store.
//!
//! `operations/` has one file per operation, `resources/` what they share about a noun. What the API calls asynchronous is
//! done in the transaction of the call: an operation is SUCCESS (or FAIL) by the time that its id is answered.

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
pub struct Servicediscovery {
    /// All state.
    pub store: Store,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
}
