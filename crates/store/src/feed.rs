//! The change feed: what each version changed, in order, for readers that keep up.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::row::{ErasedRow, Row, Table};
use crate::snapshot::Versioned;
use crate::{Key, Revision, Version};

/// Versions kept for readers that are behind. Ours: a reader that lags takes a snapshot, which is cheap.
pub const FEED_VERSIONS: usize = 1024;
/// Changes kept, over all versions. It bounds the old rows that the feed keeps alive (about 12 MB of tasks).
pub const FEED_CHANGES: usize = 8192;

/// What one row was and became.
#[derive(Clone)]
pub struct Change {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Key,
    pub(crate) before: Option<ErasedRow>,
    pub(crate) after: Option<ErasedRow>,
}

/// A [`Change`] of a row of a known type.
#[derive(Clone, Debug)]
pub struct RowChange<R> {
    /// The row as it was; `None`: it is new.
    pub before: Option<Arc<R>>,
    /// The row as it is; `None`: it is gone.
    pub after: Option<Arc<R>>,
}

impl Change {
    /// The change, if it is one of an `R`.
    pub fn of<R: Row>(&self) -> Option<RowChange<R>> {
        if self.table != R::TABLE {
            return None;
        }
        let typed = |row: &Option<ErasedRow>| row.clone().and_then(|row| ErasedRow::downcast(row).ok());
        Some(RowChange { before: typed(&self.before), after: typed(&self.after) })
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (&self.before, &self.after) {
            (None, Some(_)) => "new",
            (Some(_), None) => "gone",
            _ => "changed",
        };
        write!(f, "{} {} {what}", self.table, self.key)
    }
}

/// All that one transaction changed.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// The version that the transaction made.
    pub version: Version,
    /// One entry a row.
    pub changes: Arc<[Change]>,
}

impl ChangeBatch {
    /// A row that the transaction wrote, as it is read from then on: with its revision.
    pub fn versioned<R>(&self, after: Arc<R>) -> Versioned<R> {
        Versioned { revision: Revision(self.version.0), value: after }
    }
}

/// The reader was too far behind, or the store was cleared: take a snapshot, and follow from its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the changes after version {after} are no longer kept")]
pub struct Lagged {
    /// Where the reader stood.
    pub after: Version,
}

/// The last batches, with consecutive versions.
#[derive(Default)]
pub(crate) struct Ring {
    batches: VecDeque<ChangeBatch>,
    changes: usize,
    /// The version before the first batch.
    floor: Version,
}

impl Ring {
    pub fn starting_at(floor: Version) -> Self {
        Self { floor, ..Self::default() }
    }

    pub fn push(&mut self, batch: ChangeBatch) {
        self.changes += batch.changes.len();
        self.batches.push_back(batch);
        while self.batches.len() > 1 && (self.batches.len() > FEED_VERSIONS || self.changes > FEED_CHANGES) {
            if let Some(oldest) = self.batches.pop_front() {
                self.changes -= oldest.changes.len();
                self.floor = oldest.version;
            }
        }
    }

    /// The batch after `after`: none yet, or no longer kept.
    fn next(&self, after: Version) -> Result<Option<ChangeBatch>, Lagged> {
        let Some(index) = after.0.checked_sub(self.floor.0) else { return Err(Lagged { after }) };
        let Ok(index) = usize::try_from(index) else { return Ok(None) };
        Ok(self.batches.get(index).cloned())
    }

    /// The batches after `from` up to `to`, all of which must have been pushed.
    pub fn between(&self, from: Version, to: Version) -> Result<Vec<ChangeBatch>, Lagged> {
        let lagged = || Lagged { after: from };
        let skip = from.0.checked_sub(self.floor.0).and_then(|skip| usize::try_from(skip).ok());
        let skip = skip.filter(|skip| *skip <= self.batches.len()).ok_or_else(lagged)?;
        Ok(self.batches.range(skip..).take_while(|batch| batch.version <= to).cloned().collect())
    }
}

/// Gives the changes after a version, batch by batch, as they become durable. See [`Store::changes`](crate::Store::changes).
pub struct ChangeFeed {
    pub(crate) ring: Arc<Mutex<Ring>>,
    pub(crate) published: Arc<Notify>,
    pub(crate) after: Version,
}

impl ChangeFeed {
    /// The next batch; waits for it. Once the store is closed it waits forever. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<ChangeBatch, Lagged> {
        let published = Arc::clone(&self.published);
        loop {
            // Listen before looking, so that a batch pushed in between is noticed.
            let mut news = pin!(published.notified());
            news.as_mut().enable();
            if let Some(batch) = self.try_next()? {
                return Ok(batch);
            }
            news.await;
        }
    }

    /// The next batch if there is one already.
    pub fn try_next(&mut self) -> Result<Option<ChangeBatch>, Lagged> {
        let batch = self.ring.lock().unwrap_or_else(PoisonError::into_inner).next(self.after)?;
        if let Some(batch) = &batch {
            self.after = batch.version;
        }
        Ok(batch)
    }
}

impl fmt::Debug for ChangeFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChangeFeed(after {})", self.after)
    }
}
