//! One version of everything: the maps behind a snapshot.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::history::{Held, Packed, Packer, Unpacked};
use crate::row::{ErasedRow, IndexSink, Row, RowType, Table};
use crate::transaction::Condition;
use crate::tree::Tree;
use crate::{Key, Revision, Version};

/// Bytes of a table's name: its length is one byte on disk.
const TABLE_NAME_BYTES: usize = u8::MAX as usize;

/// The row types that a store was opened with.
#[derive(Default)]
pub(crate) struct Registry {
    types: Vec<RowType>,
    by_name: HashMap<&'static str, usize>,
    /// In step with `types`.
    packers: Vec<Packer>,
    unpacked: Unpacked,
}

impl Registry {
    /// Adds a type. A second type for the same table is a mistake in the program.
    pub fn add(&mut self, row_type: RowType) {
        assert!(row_type.table.name.len() <= TABLE_NAME_BYTES, "the name of {row_type:?} is too long");
        if let Some(&there) = self.by_name.get(row_type.table.name) {
            let known = &self.types[there];
            assert!(
                known.type_id == row_type.type_id,
                "two row types share a table: {known:?}, {row_type:?}"
            );
            return;
        }
        self.by_name.insert(row_type.table.name, self.types.len());
        self.types.push(row_type);
        self.packers.push(Packer::default());
    }

    pub fn position(&self, table: &str) -> Option<usize> {
        self.by_name.get(table).copied()
    }

    pub fn row_type(&self, position: usize) -> &RowType {
        &self.types[position]
    }

    /// The packed form of a row whose JSON is `json`, if it is history.
    pub fn pack(&self, table: usize, row: &ErasedRow, json: &[u8]) -> Option<Packed> {
        (self.types[table].is_history)(row).then(|| self.packers[table].pack(json)).flatten()
    }

    /// A row of the table as it is.
    pub fn open(&self, table: usize, key: &Key, held: &Held) -> ErasedRow {
        self.unpacked.open(&self.types[table], &self.packers[table], key, held)
    }

    /// A row's JSON in the format of this binary.
    pub fn json(&self, table: usize, held: &Held) -> Result<Vec<u8>, serde_json::Error> {
        match held {
            Held::Open(row) => (self.types[table].encode)(row),
            Held::Packed(packed) => Ok(self.packers[table].json(packed)),
        }
    }

    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Where the rows of `R` are. Asking for a type that the store was not opened with is a mistake in the program.
    pub fn position_of<R: Row>(&self) -> usize {
        self.expect(R::TABLE)
    }

    /// Where a table's rows are; see [`Registry::position_of`].
    pub fn expect(&self, table: Table) -> usize {
        match self.position(table.name) {
            Some(position) => position,
            None => panic!("the store was not opened with the rows of table {table}"),
        }
    }
}

/// A row and the version that wrote it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub revision: Revision,
    pub row: Held,
}

/// A place in an index. Ordered by index key, then by row key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexEntry {
    pub index: Key,
    pub row: Key,
}

#[derive(Clone, Default)]
pub(crate) struct TableState {
    pub rows: Tree<Key, Entry>,
    pub indexes: HashMap<&'static str, Tree<IndexEntry, ()>>,
    /// The last version that changed the table.
    pub changed: Version,
}

/// Everything as of one version. Cheap to clone: the maps are shared until they change.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub version: Version,
    pub tables: Vec<Arc<TableState>>,
}

/// A write, decoded.
#[derive(Clone)]
pub(crate) struct Write {
    pub table: usize,
    pub key: Key,
    /// None: the row goes.
    pub row: Option<ErasedRow>,
    /// How it is kept, if it is history.
    pub packed: Option<Packed>,
}

impl State {
    /// No rows, as of `version`.
    pub fn empty(registry: &Registry, version: Version) -> Self {
        let table = Arc::new(TableState { changed: version, ..TableState::default() });
        Self { version, tables: std::iter::repeat_n(table, registry.len()).collect() }
    }

    /// Every table counts as changed at `version`: what changed before a start is not known.
    pub fn opened_at(&mut self, version: Version) {
        self.version = version;
        for table in &mut self.tables {
            Arc::make_mut(table).changed = version;
        }
    }

    /// The first condition that does not hold.
    pub fn failing<'a>(&self, conditions: &'a [Condition]) -> Option<&'a Condition> {
        conditions.iter().find(|condition| {
            let entry = self.tables[condition.table].rows.get(&condition.key);
            entry.map(|entry| entry.revision) != condition.revision
        })
    }

    /// Writes or removes one row, and returns the row that was there.
    pub fn apply(&mut self, registry: &Registry, write: &Write, version: Version) -> Option<ErasedRow> {
        let table = Arc::make_mut(&mut self.tables[write.table]);
        table.changed = version;
        let before =
            table.rows.get(&write.key).map(|entry| registry.open(write.table, &write.key, &entry.row));
        match &write.row {
            Some(row) => {
                let packed = write.packed.clone().map(Held::Packed);
                let row = packed.unwrap_or_else(|| Held::Open(Arc::clone(row)));
                let entry = Entry { revision: Revision(version.0), row };
                table.rows.insert(write.key.clone(), entry);
            }
            None => {
                table.rows.remove(&write.key);
            }
        }
        table.index(registry.row_type(write.table), &write.key, before.as_ref(), write.row.as_ref());
        before
    }
}

impl TableState {
    fn index(
        &mut self,
        row_type: &RowType,
        key: &Key,
        before: Option<&ErasedRow>,
        after: Option<&ErasedRow>,
    ) {
        let entries = |row: Option<&ErasedRow>| {
            let mut sink = IndexSink::default();
            if let Some(row) = row {
                (row_type.indexes)(row, &mut sink);
            }
            sink.entries
        };
        let (old, new) = (entries(before), entries(after));
        for (name, index) in &old {
            let stays = new.iter().any(|(new_name, new_index)| new_name == name && new_index == index);
            if !stays && let Some(entries) = self.indexes.get_mut(name) {
                entries.remove(&IndexEntry { index: index.clone(), row: key.clone() });
            }
        }
        for (name, index) in &new {
            if !old.iter().any(|(old_name, old_index)| old_name == name && old_index == index) {
                let entries = self.indexes.entry(name).or_default();
                // Thousands of rows may share an index key (their cluster's, say): one copy of it is enough.
                let first = IndexEntry { index: index.clone(), row: Key::from_text("") };
                let neighbour = entries.from(Bound::Included(&first)).next().map(|(entry, ())| &entry.index);
                let index = neighbour.filter(|there| *there == index).cloned().unwrap_or(first.index);
                entries.insert(IndexEntry { index, row: key.clone() }, ());
            }
        }
    }
}
