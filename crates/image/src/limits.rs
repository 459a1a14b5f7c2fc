//! Every bound on what an image, an archive or a registry may make us do, in one place.
//!
//! Images are hostile input: a manifest can name a million layers, a layer of 10 MB can unpack to 10 GB, a
//! registry can answer one byte a minute. Each field says why it has its value.

use std::time::Duration;

/// Bounds of one [`ImageStore`](crate::ImageStore). The defaults serve every image that Docker Hub's hundred
/// most pulled repositories hold, with room.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a manifest or an index. Registries must accept 4 MiB (OCI distribution, "Pushing Manifests")
    /// and few take more.
    pub manifest_bytes: u64,
    /// Bytes of an image configuration; history makes them grow with every build step.
    pub config_bytes: u64,
    /// Bytes of a token server's answer and of an error's body.
    pub token_bytes: u64,
    /// Layers of one image. Docker builds at most 127; overlayfs mounts at most 500 (`OVL_MAX_STACK`).
    pub layers: usize,
    /// Entries (files, directories, links, …) of one layer.
    pub layer_entries: u64,
    /// Bytes that one layer may unpack to, tar headers included.
    pub layer_bytes: u64,
    /// A layer may be at most this many times its compressed size …
    pub compression_ratio: u64,
    /// … once it is larger than this: small layers of zeros compress far better than any real content.
    pub compression_ratio_from_bytes: u64,
    /// Bytes of one path or link target (`PATH_MAX`, less the final NUL).
    pub path_bytes: usize,
    /// Components of one path.
    pub path_components: usize,
    /// Bytes of one PAX header: 64 KiB for each of a few extended attributes (`XATTR_SIZE_MAX`).
    pub pax_bytes: u64,
    /// Bytes of all paths that a layer makes us remember until its end: directories whose times are set last,
    /// hard links into lower layers.
    pub remembered_path_bytes: usize,
    /// Members of an archive given to `load`.
    pub archive_members: usize,
    /// Bytes that a compressed archive given to `load` may spool to.
    pub archive_bytes: u64,
    /// Layers downloaded and unpacked at once; docker's default is 3.
    pub parallel_layers: usize,
    /// Time for one TCP and TLS connection.
    pub connect_timeout: Duration,
    /// Time for a registry to start its answer, and the window in which a body must bring
    /// [`Self::inactivity_bytes`].
    pub inactivity_timeout: Duration,
    /// Bytes that each inactivity window must bring, so that one byte a minute is no progress.
    pub inactivity_bytes: u64,
    /// Tries of one request, the first included, when the registry answers 429 or 5xx or the connection breaks.
    pub attempts: u32,
    /// Pause before the second try; it doubles up to [`Self::backoff_maximum`].
    pub backoff: Duration,
    /// Longest pause between tries, `Retry-After` included.
    pub backoff_maximum: Duration,
    /// Redirects followed for one request.
    pub redirects: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            config_bytes: 8 << 20,
            token_bytes: 64 << 10,
            layers: 500,
            layer_entries: 1_000_000,
            layer_bytes: 64 << 30,
            compression_ratio: 256,
            compression_ratio_from_bytes: 512 << 20,
            path_bytes: 4095,
            path_components: 256,
            pax_bytes: 1 << 20,
            remembered_path_bytes: 64 << 20,
            archive_members: 10_000,
            archive_bytes: 256 << 30,
            parallel_layers: 3,
            connect_timeout: Duration::from_secs(15),
            inactivity_timeout: Duration::from_secs(60),
            inactivity_bytes: 4 << 10,
            attempts: 5,
            backoff: Duration::from_millis(500),
            backoff_maximum: Duration::from_secs(15),
            redirects: 5,
        }
    }
}
