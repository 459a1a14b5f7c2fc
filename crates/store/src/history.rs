//! Rows of history, packed: kept to be shown, and hardly ever read.
//!
//! A day's ended tasks are many times those that run. In memory each would be a structure of forty texts; as the compressed
//! form of its JSON it is a tenth of that. It is unpacked when it is read, which takes some microseconds, and those that were
//! read last are kept. Packed rows are in memory only: on disk every row is what it always was.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use zstd::zstd_safe::{CCtx, CDict, DCtx, DDict, compress_bound};

use crate::Key;
use crate::row::{ErasedRow, RowType};

/// How hard the compressor tries. Ours: what the levels above it save is not worth their time.
const LEVEL: i32 = 1;
/// Rows that are kept unpacked. Ours: ten pages of a listing.
const UNPACKED: usize = 1024;
/// Bytes before the compressed ones: how many there will be.
const LENGTH_BYTES: usize = size_of::<u32>();

/// A row as the map has it.
#[derive(Clone)]
pub(crate) enum Held {
    /// As it is.
    Open(ErasedRow),
    /// Compressed JSON in the format of this binary.
    Packed(Packed),
}

/// See the file's head.
#[derive(Clone)]
pub(crate) struct Packed(Arc<[u8]>);

/// Packs and unpacks the rows of one table.
#[derive(Default)]
pub(crate) struct Packer {
    /// What the first row says, every other one mostly says too.
    dictionary: OnceLock<Option<Dictionary>>,
}

struct Dictionary {
    compress: CDict<'static>,
    decompress: DDict<'static>,
}

/// Rows that were unpacked last, each in a place that its packed form's address chooses.
pub(crate) struct Unpacked(Vec<Mutex<Option<(Packed, ErasedRow)>>>);

impl Default for Unpacked {
    fn default() -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(UNPACKED).collect())
    }
}

thread_local! {
    static COMPRESSING: std::cell::RefCell<CCtx<'static>> = std::cell::RefCell::new(CCtx::create());
    static DECOMPRESSING: std::cell::RefCell<DCtx<'static>> = std::cell::RefCell::new(DCtx::create());
}

impl Packer {
    fn dictionary(&self, json: &[u8]) -> Option<&Dictionary> {
        let make = || {
            let (compress, decompress) = (CDict::try_create(json, LEVEL)?, DDict::try_create(json)?);
            Some(Dictionary { compress, decompress })
        };
        self.dictionary.get_or_init(make).as_ref()
    }

    /// The packed form of a row's JSON; `None`: there is none, and the row stays as it is.
    pub fn pack(&self, json: &[u8]) -> Option<Packed> {
        let dictionary = self.dictionary(json)?;
        let length = u32::try_from(json.len()).ok()?;
        let mut compressed = Vec::with_capacity(compress_bound(json.len()));
        COMPRESSING
            .with_borrow_mut(|context| {
                context.compress_using_cdict(&mut compressed, json, &dictionary.compress)
            })
            .ok()?;
        Some(Packed([&length.to_le_bytes()[..], &compressed].concat().into()))
    }

    fn unpack(&self, packed: &Packed) -> Option<Vec<u8>> {
        let dictionary = self.dictionary.get()?.as_ref()?;
        let (length, compressed) = packed.0.split_first_chunk::<LENGTH_BYTES>()?;
        let mut json = Vec::with_capacity(usize::try_from(u32::from_le_bytes(*length)).ok()?);
        DECOMPRESSING
            .with_borrow_mut(|context| {
                context.decompress_using_ddict(&mut json, compressed, &dictionary.decompress)
            })
            .ok()?;
        Some(json)
    }

    /// The JSON of a packed row.
    pub fn json(&self, packed: &Packed) -> Vec<u8> {
        match self.unpack(packed) {
            Some(json) => json,
            None => unreachable!("what was packed in this process is unpacked in it"),
        }
    }
}

impl Unpacked {
    /// The row itself.
    pub fn open(&self, row_type: &RowType, packer: &Packer, key: &Key, held: &Held) -> ErasedRow {
        let packed = match held {
            Held::Open(row) => return Arc::clone(row),
            Held::Packed(packed) => packed,
        };
        // Allocations begin at multiples of 16 bytes.
        let place = Arc::as_ptr(&packed.0).addr() / 16 % UNPACKED;
        let mut place = self.0[place].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((there, row)) = &*place
            && Arc::ptr_eq(&there.0, &packed.0)
        {
            return Arc::clone(row);
        }
        match (row_type.decode)(row_type.format, key, &packer.json(packed)) {
            Ok(row) => {
                *place = Some((packed.clone(), Arc::clone(&row)));
                row
            }
            Err(error) => unreachable!("the row {key} was encoded by this process: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use crate::{IndexSink, Key, Options, Prefix, Row, Store, Table, Transaction};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Voyage {
        number: usize,
        ship: String,
        cargo: Vec<String>,
        over: bool,
    }

    impl Row for Voyage {
        const TABLE: Table = Table::new("voyages");
        const FORMAT: u16 = 1;
        fn key(&self) -> Key {
            Key::global(&[&self.number.to_string()])
        }
        fn indexes(&self, sink: &mut IndexSink) {
            sink.add("ship", &[&self.ship]);
        }
        fn is_history(&self) -> bool {
            self.over
        }
    }

    fn voyage(number: usize, over: bool) -> Voyage {
        let cargo = (0..number % 7).map(|crate_| format!("crate \"{crate_}\" of {number}")).collect();
        Voyage { number, ship: format!("ship {}", number % 3), cargo, over }
    }

    fn all(store: &Store) -> Vec<Voyage> {
        store.snapshot().scan::<Voyage>(Prefix::everything(), None).map(|row| (*row).clone()).collect()
    }

    async fn put(store: &Store, voyages: &[Voyage]) {
        let mut transaction = Transaction::new();
        for voyage in voyages {
            transaction.put(voyage.clone());
        }
        store.transact(transaction).await.unwrap();
    }

    /// How many rows are packed.
    fn packed(store: &Store) -> usize {
        let state = store.snapshot().state;
        let held = state.tables.iter().flat_map(|table| table.rows.iter());
        held.filter(|(_, entry)| matches!(entry.row, super::Held::Packed(_))).count()
    }

    #[tokio::test]
    async fn what_is_packed_reads_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        // So small that there are checkpoints in between.
        let open = || {
            let options = Options::durable().row::<Voyage>().checkpoint_after(20_000);
            Store::open(directory.path(), options).unwrap()
        };
        let store = open();
        let mut expected: Vec<Voyage> =
            (0..super::UNPACKED * 2).map(|number| voyage(number, false)).collect();
        put(&store, &expected).await;
        assert_eq!(packed(&store), 0);
        let before = store.snapshot();
        for voyage in expected.iter_mut().filter(|voyage| voyage.number % 5 > 0) {
            voyage.over = true;
        }
        for some in expected.chunks(100) {
            put(&store, some).await;
        }
        expected.sort_by_key(Voyage::key);
        for _ in 0..2 {
            assert_eq!(all(&store), expected, "the second time some of them are still unpacked");
        }
        let over = expected.iter().filter(|voyage| voyage.over).count();
        assert_eq!(packed(&store), over);
        assert!(before.scan::<Voyage>(Prefix::everything(), None).all(|voyage| !voyage.over));

        drop((before, store));
        let store = open();
        assert_eq!((all(&store), packed(&store)), (expected.clone(), over));
        let of_ship = |store: &Store| store.snapshot().index::<Voyage>("ship", &["ship 1"], None).count();
        let ships = expected.iter().filter(|voyage| voyage.ship == "ship 1").count();
        assert_eq!(of_ship(&store), ships);

        let last = store.snapshot().get::<Voyage>(&voyage(1, true).key()).unwrap();
        let mut transaction = Transaction::new();
        transaction.remove(&last);
        store.transact(transaction).await.unwrap();
        assert_eq!(of_ship(&store), ships - 1, "its entry in the index went with it");
    }
}
