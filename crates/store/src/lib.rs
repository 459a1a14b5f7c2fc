//! Floor 3: the store. Tables of typed rows, read through consistent snapshots, changed by conditional
//! transactions, followed through a change feed.
//!
//! - **Acked means durable.** [`Store::transact`] returns when the writes are on disk; one fsync covers all
//!   transactions that wait for it.
//! - **One serial order.** Conditions are checked and versions given by one writer. A row's [`Revision`] is the
//!   [`Version`] of the store that wrote it.
//! - **Readers are never blocked.** A [`Snapshot`] is a handle on persistent maps of `Arc`ed rows: taking one costs
//!   a reference count, reading decodes nothing (but rows of history, which are packed: [`Row::is_history`]).
//! - **Damage is refused, never served.** See `decisions/0002-embedded-store.md`.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! use store::{Key, Options, Row, Store, Table, Transaction};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Light { name: String, lit: bool }
//!
//! impl Row for Light {
//!     const TABLE: Table = Table::new("lights");
//!     const FORMAT: u16 = 1;
//!     fn key(&self) -> Key { Key::global(&[&self.name]) }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let store = Store::ephemeral(Options::ephemeral().row::<Light>());
//! let mut transaction = Transaction::new();
//! transaction.insert(Light { name: "north pier".into(), lit: false });
//! store.transact(transaction).await.unwrap();
//!
//! let light = store.snapshot().get::<Light>(&Key::global(&["north pier"])).unwrap();
//! let mut transaction = Transaction::new();
//! transaction.replace(&light, Light { name: light.name.clone(), lit: true });
//! store.transact(transaction).await.unwrap();
//! # });
//! ```

mod commit;
mod feed;
mod history;
mod key;
mod log;
mod row;
pub mod rows;
pub mod rows_addresses;
pub mod rows_capacity;
pub mod rows_daemon;
pub mod rows_dns;
pub mod rows_gateway;
pub mod rows_load_balancing;
pub mod rows_logs;
pub mod rows_service;
pub mod rows_service_discovery;
pub mod rows_vpc;
mod snapshot;
mod state;
mod store;
mod transaction;
mod tree;
mod view;

use std::fmt;

pub use feed::{Change, ChangeBatch, ChangeFeed, FEED_CHANGES, FEED_VERSIONS, Lagged, RowChange};
pub use key::{Key, Prefix, number_part};
pub use row::{IndexSink, Row, RowError, Table};
pub use snapshot::{IndexScan, Scan, Snapshot, Versioned};
pub use store::{Durability, OpenError, Options, Pause, Store, UPDATE_TRIES};
pub use transaction::{TRANSACTION_BYTES, TRANSACTION_WRITES, TransactError, Transaction, UpdateError};
pub use view::View;

/// A version of the whole store: the number of transactions that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub(crate) u64);

/// The version that wrote a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub(crate) u64);

impl Version {
    /// As a number; 0 before the first transaction.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl Revision {
    /// As a number, at least 1.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
