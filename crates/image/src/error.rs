//! What goes wrong with images, in the words and kinds that the agent turns into ECS's reasons.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::reference::ReferenceError;

/// A failure of the store, of an archive or of a layer's content.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The text names no image.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// No image has this name, digest or id.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// A short image id fits several images.
    #[error("image id {0} is ambiguous")]
    AmbiguousId(String),
    /// A file or directory of the store or an archive could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space left on device: {path}")]
    DiskFull {
        /// Where.
        path: PathBuf,
    },
    /// A file of the store does not hold what it should: it was damaged or edited.
    #[error("damaged image store: {path}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The archive is neither docker-save output nor an OCI image layout.
    #[error("{path}: not an image archive: {reason}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// Content does not have the digest that names it.
    #[error("{what}: digest mismatch: expected {expected}, got {actual}")]
    DigestMismatch {
        /// Manifest, configuration, layer, or unpacked layer.
        what: &'static str,
        /// The digest that the reference, manifest or configuration gives.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// Content does not have the size that its descriptor gives.
    #[error("{what}: size mismatch: expected {expected} bytes, got {actual}")]
    SizeMismatch {
        /// As in [`Self::DigestMismatch`].
        what: &'static str,
        /// Bytes announced.
        expected: u64,
        /// Bytes that came.
        actual: u64,
    },
    /// A manifest or configuration is malformed or of an unknown kind.
    #[error("unsupported manifest: {0}")]
    Manifest(String),
    /// The image has no variant for the wanted platform.
    #[error("no image for platform {wanted}; there is {available}")]
    NoMatchingPlatform {
        /// As `linux/amd64`.
        wanted: String,
        /// What the index or configuration offers instead.
        available: String,
    },
    /// One of [`Limits`](crate::Limits) is exceeded.
    #[error("image exceeds a limit: {what} (at most {maximum})")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        maximum: u64,
    },
    /// A layer is not a tar archive, or an entry of it would escape the layer or cannot be made.
    #[error("layer entry {path:?}: {reason}")]
    Layer {
        /// The entry's path as in the archive, lossily in UTF-8, cut to a readable length.
        path: String,
        /// Why it is refused.
        reason: String,
    },
    /// Reading the layer's bytes failed: the source broke, or they do not decompress.
    #[error("reading layer: {0}")]
    Stream(#[source] io::Error),
}

impl ImageError {
    /// Tells a full disk from other failures.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::DiskFull { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), source },
        }
    }

    pub(crate) fn layer(path: &[u8], reason: impl Into<String>) -> Self {
        let shown = String::from_utf8_lossy(path.get(..path.len().min(200)).unwrap_or_default());
        Self::Layer { path: shown.into_owned(), reason: reason.into() }
    }
}

/// The kinds of pull failure that ECS words differently (AWS: "CannotPullContainerError").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullErrorKind {
    /// No such repository, tag or digest.
    NotFound,
    /// The registry wants other credentials, or refuses these.
    Unauthorized,
    /// No connection, no name, no TLS, or an answer that breaks off again and again.
    Unreachable,
    /// The registry answers too slowly.
    Timeout,
    /// The registry answers 429 at every try.
    TooManyRequests,
    /// The registry answers an error of another kind.
    Registry,
    /// Content is not what its digest or size says.
    DigestMismatch,
    /// There is no variant of the image for this platform.
    NoMatchingPlatform,
    /// The manifest is malformed or of an unsupported kind.
    Manifest,
    /// A layer cannot be unpacked.
    Layer,
    /// A bound is exceeded.
    Limit,
    /// The disk is full.
    DiskFull,
    /// The store itself failed.
    Store,
}

/// Why an image was not pulled. Messages name the registry and the repository, never a credential.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry has no such repository, tag or digest. Many registries say so for what the caller may not
    /// see, too.
    #[error("{reference}: not found: {detail}")]
    NotFound {
        /// The image.
        reference: String,
        /// The registry's words, such as `manifest unknown`.
        detail: String,
    },
    /// 401 or 403.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require authentication: {detail}"
    )]
    Unauthorized {
        /// The repository.
        repository: String,
        /// The registry's words.
        detail: String,
    },
    /// No usable connection.
    #[error("registry {registry} is unreachable: {detail}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// The last try's failure.
        detail: String,
    },
    /// No answer, or too few bytes, within the inactivity window.
    #[error("registry {registry} timed out: {detail}")]
    Timeout {
        /// Host and port.
        registry: String,
        /// What was waited for.
        detail: String,
    },
    /// 429 at every try.
    #[error("registry {registry}: too many requests: {detail}")]
    TooManyRequests {
        /// Host and port.
        registry: String,
        /// The registry's words.
        detail: String,
    },
    /// Any other answer that is not content.
    #[error("registry {registry} answered {status}: {detail}")]
    Registry {
        /// Host and port.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// The registry's words.
        detail: String,
    },
    /// The registry breaks the protocol or asks for what is unsafe: a redirect to plain http, a challenge of an
    /// unknown kind.
    #[error("registry {registry}: {detail}")]
    Protocol {
        /// Host and port.
        registry: String,
        /// What it did.
        detail: String,
    },
    /// What came was refused, or could not be stored.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl PullError {
    /// What the agent words its reason after.
    pub fn kind(&self) -> PullErrorKind {
        match self {
            Self::NotFound { .. } => PullErrorKind::NotFound,
            Self::Unauthorized { .. } => PullErrorKind::Unauthorized,
            Self::Unreachable { .. } => PullErrorKind::Unreachable,
            Self::Timeout { .. } => PullErrorKind::Timeout,
            Self::TooManyRequests { .. } => PullErrorKind::TooManyRequests,
            Self::Registry { .. } | Self::Protocol { .. } => PullErrorKind::Registry,
            Self::Image(error) => match error {
                ImageError::DigestMismatch { .. } | ImageError::SizeMismatch { .. } => {
                    PullErrorKind::DigestMismatch
                }
                ImageError::NoMatchingPlatform { .. } => PullErrorKind::NoMatchingPlatform,
                ImageError::Manifest(_) => PullErrorKind::Manifest,
                ImageError::Layer { .. } | ImageError::Stream(_) => PullErrorKind::Layer,
                ImageError::Limit { .. } => PullErrorKind::Limit,
                ImageError::DiskFull { .. } => PullErrorKind::DiskFull,
                _ => PullErrorKind::Store,
            },
        }
    }

    /// Whether the same pull may succeed later without anything being mended.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind(),
            PullErrorKind::Unreachable
                | PullErrorKind::Timeout
                | PullErrorKind::TooManyRequests
                | PullErrorKind::Registry
                | PullErrorKind::DiskFull
        )
    }
}
