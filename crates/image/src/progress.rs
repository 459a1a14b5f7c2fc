//! How far a pull or a load is.

/// What is being done with a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Bytes arrive from the registry and are unpacked as they come. `done` counts compressed bytes.
    Downloading,
    /// Bytes are read from a local archive and unpacked.
    Unpacking,
    /// The layer is complete and verified.
    Complete,
    /// The layer was there already: nothing was fetched.
    AlreadyExists,
}

/// Listens to a pull or a load. Called from several threads; must return at once.
pub trait Progress: Send + Sync {
    /// `done` of `total` bytes of the layer `digest` (the registry's digest; the diff id for docker-save
    /// archives) are through. Called at most about every 256 KiB, and once at the end of every layer.
    fn layer(&self, digest: &str, done: u64, total: Option<u64>, phase: Phase);
    /// A line for people: `Pulling from library/nginx`, `trying again in 2 s: …`.
    fn message(&self, text: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn layer(&self, _digest: &str, _done: u64, _total: Option<u64>, _phase: Phase) {}
    fn message(&self, _text: &str) {}
}
