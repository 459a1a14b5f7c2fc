//! Elastic addresses: public addresses that an account keeps.

use std::net::Ipv4Addr;

use base::{Scope, Tag};
use serde::{Deserialize, Serialize};

/// A public address of an account. Which interface has it is said by the interface alone
/// ([`PublicAddress`](crate::PublicAddress)), so that it is free again when the interface is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElasticAddress {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `eipalloc-0123456789abcdef0`.
    pub allocation_id: String,
    /// The address.
    pub address: Ipv4Addr,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}
