//! What a row is: [`Row`], its [`Table`], and its secondary indexes.

use std::any::{Any, TypeId};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Key;

/// A table, by the name that stands on disk. Names are stable: a renamed table is another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// Lower-case, such as `tasks`.
    pub name: &'static str,
}

impl Table {
    /// The table called `name`.
    pub const fn new(name: &'static str) -> Self {
        Self { name }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A typed row. In memory it is an `Arc<Self>`, on disk JSON with its format version.
pub trait Row: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Where rows of this type live.
    const TABLE: Table;
    /// The format that this binary writes. Raise it when an older binary could not read the new one, and
    /// teach [`Row::upgrade`] the step.
    const FORMAT: u16;

    /// Where the row stands in its table. Must not change while the row lives.
    fn key(&self) -> Key;

    /// The secondary indexes under which the row is found. They are held in memory only.
    fn indexes(&self, sink: &mut IndexSink) {
        let _ = sink;
    }

    /// Whether the row is history: shown now and then, and written again only to be removed. Such rows are kept packed in memory
    /// and are unpacked when they are read.
    fn is_history(&self) -> bool {
        false
    }

    /// Gives back what reading the row from disk took and the row does not need: a list that was read has room for more.
    fn compact(&mut self) {}

    /// Brings a value of the older format `from` to [`Row::FORMAT`]. The default knows no older one.
    fn upgrade(from: u16, value: serde_json::Value) -> Result<serde_json::Value, RowError> {
        let _ = value;
        Err(RowError::Format { found: from, known: Self::FORMAT })
    }
}

/// Why the bytes of a row are no row.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// Written in a format that this binary does not read.
    #[error("its format is {found}, and this version of Roadstead reads {known} (and what it can upgrade)")]
    Format {
        /// The format on disk.
        found: u16,
        /// The format of this binary.
        known: u16,
    },
    /// No JSON of this type.
    #[error("its value does not fit the type")]
    Value(#[source] serde_json::Error),
    /// The value belongs under another key.
    #[error("its value belongs to the key {0}")]
    Key(Key),
    /// An upgrade found something that it cannot bring over.
    #[error("it cannot be upgraded: {0}")]
    Upgrade(String),
}

/// Takes the index entries of one row; see [`Row::indexes`].
#[derive(Debug, Default)]
pub struct IndexSink {
    pub(crate) entries: Vec<(&'static str, Key)>,
}

impl IndexSink {
    /// The row is found in the index `name` under `parts`. Several entries in one index are fine. Entries are
    /// ordered by `parts`, then by the row's key. An index spans accounts: put the scope in front if rows do.
    pub fn add(&mut self, name: &'static str, parts: &[&str]) {
        let entry = (name, Key::bare(parts));
        if !self.entries.contains(&entry) {
            self.entries.push(entry);
        }
    }
}

/// A row whose type is known only at run time.
pub(crate) type ErasedRow = Arc<dyn Any + Send + Sync>;

/// What the store does with rows of one type.
#[derive(Clone, Copy)]
pub(crate) struct RowType {
    pub table: Table,
    pub type_id: TypeId,
    pub type_name: fn() -> &'static str,
    pub format: u16,
    pub encode: fn(&ErasedRow) -> Result<Vec<u8>, serde_json::Error>,
    pub decode: fn(u16, &Key, &[u8]) -> Result<ErasedRow, RowError>,
    pub indexes: fn(&ErasedRow, &mut IndexSink),
    pub is_history: fn(&ErasedRow) -> bool,
}

impl fmt::Debug for RowType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.table, (self.type_name)())
    }
}

impl RowType {
    pub fn of<R: Row>() -> Self {
        Self {
            table: R::TABLE,
            type_id: TypeId::of::<R>(),
            type_name: std::any::type_name::<R>,
            format: R::FORMAT,
            encode: encode::<R>,
            decode: decode::<R>,
            indexes: |row, sink| {
                if let Some(row) = row.downcast_ref::<R>() {
                    row.indexes(sink);
                }
            },
            is_history: |row| row.downcast_ref::<R>().is_some_and(Row::is_history),
        }
    }
}

fn encode<R: Row>(row: &ErasedRow) -> Result<Vec<u8>, serde_json::Error> {
    match row.downcast_ref::<R>() {
        Some(row) => serde_json::to_vec(row),
        None => Err(serde::ser::Error::custom("the row is of another type")),
    }
}

fn decode<R: Row>(format: u16, key: &Key, bytes: &[u8]) -> Result<ErasedRow, RowError> {
    let mut row: R = match format.cmp(&R::FORMAT) {
        Ordering::Equal => serde_json::from_slice(bytes).map_err(RowError::Value)?,
        Ordering::Less => {
            let value = serde_json::from_slice(bytes).map_err(RowError::Value)?;
            serde_json::from_value(R::upgrade(format, value)?).map_err(RowError::Value)?
        }
        Ordering::Greater => return Err(RowError::Format { found: format, known: R::FORMAT }),
    };
    row.compact();
    let belongs = row.key();
    if belongs == *key { Ok(Arc::new(row)) } else { Err(RowError::Key(belongs)) }
}
