//! Container images on one machine: pulled from registries, loaded from archives, unpacked once into
//! content-addressed layer directories that containers share as overlayfs lower directories.
//!
//! ```text
//! registry/ ─ manifest, layers ─┐
//!                               ├─> layer.rs: decompress, check digests ─> unpack/: entries beneath the layer's root ─> store/
//! load/ ──── archive ───────────┘
//! ```
//!
//! Invariants:
//! - A directory under `layers/` is complete and its content has the diff id in its name's chain: it is renamed
//!   there only after its bytes were verified and synced. A crash leaves only `tmp/`, which the next open clears.
//! - Nothing that an image holds makes us write, link or look outside the layer's own directory: every path is
//!   resolved by the kernel with that directory as root (openat2(2), `RESOLVE_IN_ROOT`).
//! - Several processes may use one store; what changes it does so under one file lock, what reads needs none.
//! - Credentials go to the registry that they are for and to the token server it names, never along a redirect.

mod config;
mod digest;
mod error;
mod layer;
mod limits;
mod load;
mod manifest;
mod progress;
mod reference;
mod registry;
mod store;
mod unpack;

pub use config::{HealthCheck, ImageConfig, Platform};
pub use digest::{Digest, DigestError, chain_id};
pub use error::{ImageError, PullError, PullErrorKind};
pub use limits::Limits;
pub use progress::{NoProgress, Phase, Progress};
pub use reference::{Reference, ReferenceError};
pub use registry::RegistryAuth;
pub use store::{Collected, Image, ImageStore, LayerId, Lease, Removed};
