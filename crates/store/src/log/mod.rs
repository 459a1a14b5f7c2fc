//! What the store asks of the thing that keeps its rows ([`Log`]), and the embedded one: a log file with checkpoints.

mod checkpoint;
mod disk;
mod file_log;
mod format;
mod recover;
#[cfg(test)]
mod tests;

pub(crate) use file_log::{Tuning, open};

use std::sync::Arc;

use crate::row::Table;
use crate::state::{Registry, State};
use crate::{Key, Version};

/// Keeps committed transactions. One thread calls it; each call returns when its work is on disk.
pub(crate) trait Log: Send {
    /// Keeps these transactions: all of them, or (after a crash or an error) none.
    fn append(&mut self, records: &[Record]) -> Result<(), LogError>;

    /// Forgets every row, as of `version`, which follows the last one.
    fn clear(&mut self, version: Version) -> Result<(), LogError>;

    /// Called after each append with all that is kept: the moment for work that may wait.
    fn maintain(&mut self, registry: &Arc<Registry>, state: &Arc<State>) -> Result<(), LogError>;
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
    fn maintain(&mut self, _: &Arc<Registry>, _: &Arc<State>) -> Result<(), LogError> {
        Ok(())
    }
}
