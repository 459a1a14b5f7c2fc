//! Key pairs.

use base::{Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

word_enum! {
    /// Source: AWS, KeyPairInfo, `keyType`.
    KeyPairType {
        /// RSA, 2048 bits where it was made here.
        Rsa = "rsa",
        /// Ed25519.
        Ed25519 = "ed25519",
    }
}

/// The public half of a key pair. The private one is told once, when it is made, and never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `key-0123456789abcdef0`.
    pub id: String,
    /// Unique in the account and region.
    pub name: String,
    /// Its kind.
    pub key_type: KeyPairType,
    /// As AWS computes it for this kind and origin.
    pub fingerprint: String,
    /// In the format of OpenSSH, one line.
    pub public_key: String,
    /// When it was made or imported.
    pub created_at: Timestamp,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}
