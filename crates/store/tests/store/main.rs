//! The store as its callers see it.

mod feed;
mod full_disk;
mod kill;
mod model;
mod opening;
mod writers;

use std::path::Path;

use serde::{Deserialize, Serialize};
use store::{IndexSink, Key, Options, Row, Store, Table, Transaction};

/// A row with two indexes, one of them with several entries a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Boat {
    name: String,
    harbour: String,
    flags: Vec<String>,
    length: u64,
}

impl Row for Boat {
    const TABLE: Table = Table::new("boats");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        boat_key(&self.name)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        sink.add("harbour", &[&self.harbour, &store::number_part(self.length)]);
        for flag in &self.flags {
            sink.add("flag", &[flag]);
        }
    }
}

fn boat_key(name: &str) -> Key {
    Key::global(&[name])
}

fn boat(name: &str, harbour: &str, length: u64) -> Boat {
    Boat { name: name.to_owned(), harbour: harbour.to_owned(), flags: vec!["blue".to_owned()], length }
}

fn open(directory: &Path) -> Store {
    Store::open(directory, Options::durable().row::<Boat>()).unwrap()
}

fn ephemeral() -> Store {
    Store::ephemeral(Options::ephemeral().row::<Boat>())
}

fn put(boat: Boat) -> Transaction {
    let mut transaction = Transaction::new();
    transaction.put(boat);
    transaction
}

fn get(store: &Store, name: &str) -> Option<Boat> {
    store.snapshot().get::<Boat>(&boat_key(name)).map(|boat| Boat::clone(&boat))
}
