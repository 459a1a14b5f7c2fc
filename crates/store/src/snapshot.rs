//! Consistent reads: [`Snapshot`], and what comes out of it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Deref};
use std::sync::Arc;

use crate::key::Prefix;
use crate::row::{ErasedRow, Row};
use crate::state::{Entry, IndexEntry, Registry, State};
use crate::tree::{self, Tree};
use crate::view::{View, Views};
use crate::{Key, Revision, Version};

/// A row and the revision it was read at. Derefs to the row; cheap to clone.
pub struct Versioned<R> {
    /// The version of the store that wrote the row.
    pub revision: Revision,
    /// The row.
    pub value: Arc<R>,
}

impl<R> Clone for Versioned<R> {
    fn clone(&self) -> Self {
        Self { revision: self.revision, value: Arc::clone(&self.value) }
    }
}

impl<R> Deref for Versioned<R> {
    type Target = R;
    fn deref(&self) -> &R {
        &self.value
    }
}

impl<R: fmt::Debug> fmt::Debug for Versioned<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.value, self.revision.0)
    }
}

/// Everything as it was at one version. Cheap to take and to clone, and never changes.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) registry: Arc<Registry>,
    pub(crate) state: Arc<State>,
    pub(crate) views: Arc<Views>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.state.version)
    }
}

impl Snapshot {
    /// The version of the store that is seen.
    pub fn version(&self) -> Version {
        self.state.version
    }

    /// The row with this key.
    pub fn get<R: Row>(&self, key: &Key) -> Option<Versioned<R>> {
        let table = self.registry.position_of::<R>();
        self.state.tables[table].rows.get(key).and_then(|entry| typed(&self.registry, table, key, entry))
    }

    /// How many rows the table has.
    pub fn count<R: Row>(&self) -> usize {
        self.state.tables[self.registry.position_of::<R>()].rows.size()
    }

    /// Runs `f` on the store's view of type `V`, which is brought up to this snapshot first. It may be newer: whoever
    /// writes by what it says makes its transaction depend on rows of this snapshot. `f` must not ask for the view again.
    pub fn view<V: View, T>(&self, f: impl FnOnce(&mut V) -> T) -> T {
        self.views.with(self, f)
    }

    /// The rows under a prefix in the order of their keys, from the first one after `after` on.
    ///
    /// [`Scan::position`] says after which key the next page starts.
    pub fn scan<R: Row>(&self, prefix: Prefix, after: Option<&Key>) -> Scan<'_, R> {
        let table = self.registry.position_of::<R>();
        let rows = &self.state.tables[table].rows;
        let first = prefix.first();
        let start = match after {
            Some(after) if *after >= first => Bound::Excluded(after),
            _ => Bound::Included(&first),
        };
        let registry = &*self.registry;
        Scan { registry, table, rows: rows.from(start), prefix, position: None, row: PhantomData }
    }

    /// The rows whose entries in the index `name` begin with `parts`, ordered by index key, then by row key, from
    /// the first one after the position `after` on.
    ///
    /// `after` is what [`IndexScan::position`] gave; it stays good when its row changes or goes. An index that no
    /// row is in is empty.
    pub fn index<R: Row>(&self, name: &str, parts: &[&str], after: Option<&Key>) -> IndexScan<'_, R> {
        let number = self.registry.position_of::<R>();
        let table = &self.state.tables[number];
        let prefix = Prefix::bare(parts);
        let first = IndexEntry { index: prefix.first(), row: Key::from_text("") };
        let after = after.map(index_position);
        let start = match &after {
            Some(after) if *after >= first => Bound::Excluded(after),
            _ => Bound::Included(&first),
        };
        IndexScan {
            registry: &self.registry,
            table: number,
            entries: table.indexes.get(name).map(|entries| entries.from(start)),
            rows: &table.rows,
            prefix,
            position: None,
            row: PhantomData,
        }
    }
}

fn typed<R: Row>(registry: &Registry, table: usize, key: &Key, entry: &Entry) -> Option<Versioned<R>> {
    let value = ErasedRow::downcast(registry.open(table, key, &entry.row)).ok()?;
    Some(Versioned { revision: entry.revision, value })
}

/// Rows under a prefix; see [`Snapshot::scan`].
pub struct Scan<'a, R> {
    registry: &'a Registry,
    table: usize,
    rows: tree::Iter<'a, Key, Entry>,
    prefix: Prefix,
    position: Option<Key>,
    row: PhantomData<R>,
}

impl<R: Row> Scan<'_, R> {
    /// The key of the last row given out.
    pub fn position(&self) -> Option<&Key> {
        self.position.as_ref()
    }
}

impl<R: Row> Iterator for Scan<'_, R> {
    type Item = Versioned<R>;
    fn next(&mut self) -> Option<Versioned<R>> {
        let (key, entry) = self.rows.next()?;
        if !self.prefix.contains(key) {
            return None;
        }
        self.position = Some(key.clone());
        typed(self.registry, self.table, key, entry)
    }
}

/// Rows found through an index; see [`Snapshot::index`].
pub struct IndexScan<'a, R> {
    registry: &'a Registry,
    table: usize,
    entries: Option<tree::Iter<'a, IndexEntry, ()>>,
    rows: &'a Tree<Key, Entry>,
    prefix: Prefix,
    position: Option<&'a IndexEntry>,
    row: PhantomData<R>,
}

impl<R: Row> IndexScan<'_, R> {
    /// The place of the last row given out, to start the next page after.
    pub fn position(&self) -> Option<Key> {
        self.position.map(|entry| Key::bare(&[entry.index.as_str(), entry.row.as_str()]))
    }
}

impl<R: Row> Iterator for IndexScan<'_, R> {
    type Item = Versioned<R>;
    fn next(&mut self) -> Option<Versioned<R>> {
        let (entry, ()) = self.entries.as_mut()?.next()?;
        if !self.prefix.contains(&entry.index) {
            return None;
        }
        self.position = Some(entry);
        let row = self.rows.get(&entry.row)?;
        typed(self.registry, self.table, &entry.row, row)
    }
}

/// Reads what [`IndexScan::position`] gave. Other text (a token is the caller's) gives some place or other.
fn index_position(position: &Key) -> IndexEntry {
    let mut parts = position.parts().into_iter();
    let mut next = || Key::from_text(&parts.next().unwrap_or_default());
    IndexEntry { index: next(), row: next() }
}
