//! What operations share about a noun.

pub(crate) mod batch;
pub(crate) mod change;
pub(crate) mod cloud_map;
pub(crate) mod health_check;
pub(crate) mod page;
pub(crate) mod record_set;
pub(crate) mod tag;
pub(crate) mod zone;
