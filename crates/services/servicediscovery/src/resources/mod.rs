//! What operations share about a noun.

pub(crate) mod filter;
pub(crate) mod id;
pub(crate) mod instance;
pub(crate) mod namespace;
pub(crate) mod operation;
pub(crate) mod page;
pub(crate) mod service;
pub(crate) mod tag;
