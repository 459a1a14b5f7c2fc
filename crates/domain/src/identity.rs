//! Access keys that sign requests.

use std::fmt;

use base::{AccountId, Arn, Timestamp};
use serde::{Deserialize, Serialize};

/// An access key of the root user or of a node's agent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The key id, unique in the whole control plane.
    pub id: String,
    /// The secret. Never printed.
    pub secret: String,
    /// Whose.
    pub account: AccountId,
    /// The container instance whose agent holds it; `None` for the root user's.
    #[serde(default)]
    pub container_instance: Option<Arn>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
