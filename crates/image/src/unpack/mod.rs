//! From the entries of a layer's archive to an overlayfs lower directory.

mod remove;

use std::path::{Path, PathBuf};

use crate::error::ImageError;
use crate::limits::Limits;

pub(crate) use remove::remove_tree;

/// What unpacking a layer came to.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) opaque_root: bool,
}

impl Unpacked {
    pub(crate) fn complete(
        &mut self,
        diff: &Path,
        lowers: &[PathBuf],
        limits: &Limits,
    ) -> Result<(), ImageError> {
        let _ = (diff, lowers, limits);
        Ok(())
    }
}
