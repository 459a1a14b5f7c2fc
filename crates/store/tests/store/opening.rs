//! What opening accepts and refuses.

use std::path::Path;

use serde::{Deserialize, Serialize};
use store::{Key, OpenError, Options, Row, RowError, Store, Table};

use crate::{Boat, boat, boat_key, get, open, put};

fn transact(store: &Store, transaction: store::Transaction) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.transact(transaction)).unwrap();
}

#[test]
fn f01_what_was_acknowledged_is_there_after_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er");
    let store = open(&path);
    transact(&store, put(boat("a", "x", 1)));
    let revision = store.snapshot().get::<Boat>(&boat_key("a")).unwrap().revision;
    drop(store);
    let store = open(&path);
    assert_eq!(store.snapshot().get::<Boat>(&boat_key("a")).unwrap().revision, revision);
    let clone = store.clone();
    drop(store);
    transact(&clone, put(boat("b", "x", 1)));
    assert!(get(&clone, "a").is_some() && get(&clone, "b").is_some());
}

#[test]
fn a_directory_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let second = Store::open(directory.path(), Options::durable().row::<Boat>());
    let message = second.unwrap_err().to_string();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    drop(store);
    drop(open(directory.path()));
}

#[test]
fn rows_of_an_unknown_table_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    transact(&store, put(boat("a", "x", 1)));
    drop(store);
    let error = Store::open(directory.path(), Options::durable()).unwrap_err();
    assert!(matches!(&error, OpenError::UnknownTable { table, .. } if table == "boats"), "{error}");
    assert!(error.to_string().contains("log-"), "{error}");
}

/// The same table, one format later.
#[derive(Serialize, Deserialize)]
struct MeasuredBoat {
    name: String,
    length_metres: u64,
}

impl Row for MeasuredBoat {
    const TABLE: Table = Boat::TABLE;
    const FORMAT: u16 = 2;
    fn key(&self) -> Key {
        boat_key(&self.name)
    }
    fn upgrade(from: u16, value: serde_json::Value) -> Result<serde_json::Value, RowError> {
        let (1, Some(name), Some(length)) = (from, value.get("name"), value.get("length")) else {
            return Err(RowError::Upgrade("no name or length".to_owned()));
        };
        Ok(serde_json::json!({ "name": name, "length_metres": length }))
    }
}

#[test]
fn f37_an_older_format_is_upgraded_and_a_newer_one_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    transact(&store, put(boat("a", "x", 7)));
    drop(store);

    // Twice: rows stay in the old format on disk until they are written.
    for _ in 0..2 {
        let store = Store::open(directory.path(), Options::durable().row::<MeasuredBoat>()).unwrap();
        assert_eq!(store.snapshot().get::<MeasuredBoat>(&boat_key("a")).unwrap().length_metres, 7);
    }
    drop(open(directory.path()));

    let store = Store::open(directory.path(), Options::durable().row::<MeasuredBoat>()).unwrap();
    let mut transaction = store::Transaction::new();
    transaction.put(MeasuredBoat { name: "a".to_owned(), length_metres: 8 });
    transact(&store, transaction);
    drop(store);
    let error = Store::open(directory.path(), Options::durable().row::<Boat>()).unwrap_err();
    let OpenError::Row { table, key, source, .. } = &error else { panic!("{error}") };
    assert_eq!((*table, key), (Boat::TABLE, &boat_key("a")));
    assert!(matches!(source, RowError::Format { found: 2, known: 1 }), "{source}");
}

/// The same table, of a type that the stored values do not fit.
#[derive(Debug, Serialize, Deserialize)]
struct OtherBoat {
    sails: u64,
}

impl Row for OtherBoat {
    const TABLE: Table = Boat::TABLE;
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::global(&[&self.sails.to_string()])
    }
}

#[test]
fn values_that_do_not_fit_the_type_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    transact(&store, put(boat("a", "x", 7)));
    drop(store);
    let error = Store::open(directory.path(), Options::durable().row::<OtherBoat>()).unwrap_err();
    assert!(matches!(&error, OpenError::Row { source: RowError::Value(_), .. }), "{error}");
}

fn bytes_of(directory: &Path) -> u64 {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn the_directory_stays_in_proportion_to_the_rows() {
    let directory = tempfile::tempdir().unwrap();
    let options = || Options::durable().row::<Boat>().checkpoint_after(64 * 1024);
    let store = Store::open(directory.path(), options()).unwrap();
    for length in 0..400 {
        transact(&store, put(boat(&format!("{}", length % 10), &"x".repeat(5000), length)));
    }
    drop(store);
    let store = Store::open(directory.path(), options()).unwrap();
    assert_eq!(store.snapshot().count::<Boat>(), 10);
    assert_eq!(get(&store, "9").unwrap().length, 399);
    // 2 MB were written; one log with its reserve remains, and a checkpoint.
    assert!(bytes_of(directory.path()) < 5_000_000, "{}", bytes_of(directory.path()));
    drop(store);
}

#[test]
fn a_cleared_store_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    transact(&store, put(boat("a", "secret-harbour", 7)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.clear()).unwrap();
    // The checkpoint follows the answer; a clear that finds one under way leaves the files to the next.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let secret_is_there = std::fs::read_dir(directory.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
            bytes.windows(14).any(|window| window == b"secret-harbour")
        });
        if !secret_is_there {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "a cleared row is still on disk");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    drop(store);
    assert_eq!(open(directory.path()).snapshot().count::<Boat>(), 0);
}
