//! What the store asks of the thing that keeps its rows: [`Log`].

use crate::row::Table;
use crate::{Key, Version};

/// Keeps committed transactions. One thread calls it; each call returns when its work is on disk.
pub(crate) trait Log: Send {
    /// Keeps these transactions, all or (after a crash) a prefix of them, each whole or not at all.
    fn append(&mut self, records: &[Record]) -> Result<(), LogError>;

    /// Forgets every row. The next version is still the one after `version`.
    fn clear(&mut self, version: Version) -> Result<(), LogError>;
}

/// One transaction on its way to disk.
pub(crate) struct Record {
    pub version: Version,
    pub writes: Vec<RecordWrite>,
}

/// One write on its way to disk.
pub(crate) struct RecordWrite {
    pub table: Table,
    pub key: Key,
    /// The row's format and JSON; `None`: the row goes.
    pub value: Option<(u16, Vec<u8>)>,
}

/// Why a log did not keep a transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// No room. The log is as it was before the call, and may be called again.
    #[error("no space left")]
    NoSpace,
    /// What is on disk is unknown. The log must not be called again.
    #[error("{0}")]
    Failed(String),
}

/// Keeps nothing.
pub(crate) struct NoLog;

impl Log for NoLog {
    fn append(&mut self, _: &[Record]) -> Result<(), LogError> {
        Ok(())
    }
    fn clear(&mut self, _: Version) -> Result<(), LogError> {
        Ok(())
    }
}
