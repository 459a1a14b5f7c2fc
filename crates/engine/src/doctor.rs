//! What the kernel and the machine offer for running containers, and how to mend what is missing.

use std::path::Path;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What: `root`, `overlayfs`, `seccomp` …
    pub name: &'static str,
    /// Good enough to run containers.
    pub ok: bool,
    /// The lack keeps containers from running at all.
    pub required: bool,
    /// What was seen.
    pub detail: String,
    /// How to mend it; empty when `ok`.
    pub mend: String,
}

/// Looks at everything; `directory` is where the engine's state would be (overlayfs is tried there).
pub fn check(directory: &Path) -> Vec<Finding> {
    let _ = directory;
    Vec::new()
}
