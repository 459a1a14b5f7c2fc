//! The JSON files of the store.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// `format`.
#[derive(Serialize, Deserialize)]
pub(super) struct Format {
    pub(super) format: u32,
}

/// `names/…`: the one place that says what a name means.
#[derive(Serialize, Deserialize)]
pub(super) struct NameRecord {
    /// Canonical, with registry.
    pub(super) reference: String,
    pub(super) manifest_digest: Digest,
}

/// `images/…`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    pub(super) manifest_digest: Digest,
    pub(super) image_id: Digest,
    /// Chain ids, lowest first.
    pub(super) layers: Vec<Digest>,
    pub(super) size_bytes: u64,
}

/// `leases/…`.
#[derive(Serialize, Deserialize)]
pub(super) struct LeaseRecord {
    pub(super) holder: String,
    pub(super) manifest_digest: Digest,
}

/// `layers/<chain id>/meta.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LayerMeta {
    pub(crate) diff_id: Digest,
    /// Chain id of the layer below.
    pub(crate) parent: Option<Digest>,
    /// Bytes of its files.
    pub(crate) bytes: u64,
    /// Entries of its archive.
    pub(crate) entries: u64,
    /// Whether its root hides everything below it. Overlayfs does not look at this on the root itself.
    #[serde(default)]
    pub(crate) opaque_root: bool,
}

/// `tmp/<session>/pin-<n>.json`: what a running pull or load is about to refer to.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct PinRecord {
    pub(super) blobs: Vec<Digest>,
    pub(super) layers: Vec<Digest>,
}
