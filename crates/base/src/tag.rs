//! Resource tags.

use serde::{Deserialize, Serialize};

/// A tag: a key of up to 128 characters and a value of up to 256. Source: "Tagging your Amazon ECS resources".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tag {
    /// The key, unique on its resource.
    pub key: String,
    /// The value; may be empty.
    pub value: String,
}
