//! Transactions: conditions on what was read, and the writes that follow if they hold.

use std::any::TypeId;
use std::sync::Arc;

use crate::row::{ErasedRow, Row, Table};
use crate::snapshot::Versioned;
use crate::{Key, Revision};

/// Bytes of all encoded rows in one transaction. Ours: a `RunTask` of ten tasks needs about 40 KiB.
pub const TRANSACTION_BYTES: usize = 16 * 1024 * 1024;
/// Writes in one transaction. Ours: stopping every task of a full cluster is split by the caller.
pub const TRANSACTION_WRITES: usize = 10_000;

/// Conditions and writes that are done together or not at all.
///
/// Conditions speak of the rows as they were before the transaction. Of several writes to one row the last counts.
#[derive(Default)]
#[must_use = "a transaction does nothing until it is given to Store::transact"]
pub struct Transaction {
    pub(crate) conditions: Vec<NamedCondition>,
    pub(crate) writes: Vec<NamedWrite>,
}

/// A condition whose table is not looked up yet.
pub(crate) struct NamedCondition {
    pub table: Table,
    pub key: Key,
    pub revision: Option<Revision>,
}

/// A write whose table is not looked up yet.
pub(crate) struct NamedWrite {
    pub table: Table,
    pub type_id: TypeId,
    pub key: Key,
    /// None: the row goes.
    pub row: Option<ErasedRow>,
}

/// A condition of a transaction under way.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub table: usize,
    pub key: Key,
    pub revision: Option<Revision>,
}

impl Transaction {
    /// No conditions and no writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it has neither conditions nor writes.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.writes.is_empty()
    }

    /// The row must be of this revision; `None`: there must be no such row.
    pub fn require_revision<R: Row>(&mut self, key: &Key, revision: Option<Revision>) -> &mut Self {
        self.conditions.push(NamedCondition { table: R::TABLE, key: key.clone(), revision });
        self
    }

    /// The row must be as it was read.
    pub fn require_unchanged<R: Row>(&mut self, read: &Versioned<R>) -> &mut Self {
        self.require_revision::<R>(&read.value.key(), Some(read.revision))
    }

    /// Adds the conditions and writes of another transaction.
    pub fn merge(&mut self, other: Self) -> &mut Self {
        self.conditions.extend(other.conditions);
        self.writes.extend(other.writes);
        self
    }

    /// Writes a row, whatever was there.
    pub fn put<R: Row>(&mut self, row: R) -> &mut Self {
        self.put_shared(Arc::new(row))
    }

    /// As [`Transaction::put`], for a row that is shared already.
    pub fn put_shared<R: Row>(&mut self, row: Arc<R>) -> &mut Self {
        let key = row.key();
        self.writes.push(NamedWrite { table: R::TABLE, type_id: TypeId::of::<R>(), key, row: Some(row) });
        self
    }

    /// Writes a row that must not be there yet.
    pub fn insert<R: Row>(&mut self, row: R) -> &mut Self {
        self.require_revision::<R>(&row.key(), None);
        self.put(row)
    }

    /// Writes a row in place of the one that was read, which must be unchanged. Should the key differ, the old
    /// row goes.
    pub fn replace<R: Row>(&mut self, read: &Versioned<R>, row: R) -> &mut Self {
        let key = read.value.key();
        self.require_revision::<R>(&key, Some(read.revision));
        if key != row.key() {
            self.delete::<R>(&key);
        }
        self.put(row)
    }

    /// Removes a row if it is there.
    pub fn delete<R: Row>(&mut self, key: &Key) -> &mut Self {
        self.writes.push(NamedWrite {
            table: R::TABLE,
            type_id: TypeId::of::<R>(),
            key: key.clone(),
            row: None,
        });
        self
    }

    /// Removes a row that must be as it was read.
    pub fn remove<R: Row>(&mut self, read: &Versioned<R>) -> &mut Self {
        self.require_unchanged(read);
        self.delete::<R>(&read.value.key())
    }
}

/// Why a transaction was not done. In every case but [`TransactError::Unavailable`] it left no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactError {
    /// A condition does not hold: someone else changed (or made, or removed) the row meanwhile.
    #[error("the row {key} of table {table} changed meanwhile")]
    Conflict {
        /// Its table.
        table: Table,
        /// Its key.
        key: Key,
    },
    /// The disk is full. Reads go on, and writes do when there is room again.
    #[error("no space is left for the store")]
    NoSpace,
    /// The store has stopped for good, or its disk failed under this transaction, whose outcome is then unknown
    /// until the next start.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// More than [`TRANSACTION_WRITES`] writes or [`TRANSACTION_BYTES`] bytes.
    #[error("the transaction is too large")]
    TooLarge,
    /// A row has no JSON form.
    #[error("the row {key} of table {table} cannot be encoded: {reason}")]
    Unencodable {
        /// Its table.
        table: Table,
        /// Its key.
        key: Key,
        /// serde_json's words.
        reason: String,
    },
}

/// Why [`Store::update`](crate::Store::update) gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError<E> {
    /// The closure refused.
    #[error(transparent)]
    Refused(E),
    /// The transaction was not done; a conflict only after the bounded number of tries.
    #[error(transparent)]
    Transact(TransactError),
}
