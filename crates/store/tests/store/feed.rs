//! The change feed, and waiting for tables.

use std::time::Duration;

use store::{FEED_VERSIONS, Lagged, Options, Row, Store, Transaction, Version};
use tokio::time::timeout;

use crate::{Boat, boat, boat_key, ephemeral, get, put};

#[tokio::test]
async fn changes_come_in_order_with_what_was_and_what_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::open(directory.path());
    let mut feed = store.changes(store.snapshot().version());
    store.transact(put(boat("a", "x", 1))).await.unwrap();
    let mut transaction = put(boat("a", "x", 2));
    transaction.put(boat("b", "y", 1)).delete::<Boat>(&boat_key("none"));
    store.transact(transaction).await.unwrap();
    let mut transaction = Transaction::new();
    transaction.delete::<Boat>(&boat_key("a"));
    store.transact(transaction).await.unwrap();

    let seen = |batch: store::ChangeBatch| {
        let changes = batch.changes.iter().map(|change| {
            let change = change.of::<Boat>().unwrap();
            (change.before.map(|b| b.length), change.after.map(|b| b.length))
        });
        (batch.version.number(), changes.collect::<Vec<_>>())
    };
    assert_eq!(seen(feed.next().await.unwrap()), (1, vec![(None, Some(1))]));
    assert_eq!(
        seen(feed.next().await.unwrap()),
        (2, vec![(Some(1), Some(2)), (None, Some(1)), (None, None)])
    );
    assert_eq!(seen(feed.next().await.unwrap()), (3, vec![(Some(2), None)]));
    assert!(feed.try_next().unwrap().is_none());

    // A reader that starts from an older version sees the rest.
    let mut late = store.changes(Version::default());
    assert_eq!(late.next().await.unwrap().version.number(), 1);
}

#[tokio::test]
async fn a_change_is_in_the_next_snapshot_of_whoever_has_seen_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::open(directory.path());
    let mut feed = store.changes(Version::default());
    let reader = tokio::spawn({
        let store = store.clone();
        async move {
            for _ in 0..200 {
                let batch = feed.next().await.unwrap();
                let snapshot = store.snapshot();
                assert!(snapshot.version() >= batch.version, "{snapshot:?} {batch:?}");
            }
        }
    });
    for length in 0..200 {
        store.transact(put(boat("a", "x", length))).await.unwrap();
    }
    timeout(Duration::from_secs(30), reader).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_so() {
    let store = ephemeral();
    let mut feed = store.changes(Version::default());
    let mut keeping_up = store.changes(Version::default());
    for length in 0..=FEED_VERSIONS as u64 {
        store.transact(put(boat("a", "x", length))).await.unwrap();
        assert_eq!(keeping_up.next().await.unwrap().version.number(), length + 1);
    }
    assert_eq!(feed.next().await.unwrap_err(), Lagged { after: Version::default() });
    let snapshot = store.snapshot();
    let mut feed = store.changes(snapshot.version());
    store.transact(put(boat("b", "x", 1))).await.unwrap();
    assert_eq!(feed.next().await.unwrap().version.number(), snapshot.version().number() + 1);

    store.clear().await.unwrap();
    assert!(feed.next().await.is_err());
    assert_eq!(get(&store, "b"), None);
}

#[tokio::test]
async fn a_feed_after_a_start_begins_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::open(directory.path());
    let old = store.transact(put(boat("a", "x", 1))).await.unwrap();
    let version = store.transact(put(boat("a", "x", 2))).await.unwrap();
    drop(store);
    let store = crate::open(directory.path());
    assert!(store.changes(old).next().await.is_err());
    let mut feed = store.changes(version);
    store.transact(put(boat("a", "x", 3))).await.unwrap();
    assert_eq!(feed.next().await.unwrap().version.number(), 3);
}

/// A second table, to be waited for or not.
#[derive(serde::Serialize, serde::Deserialize)]
struct Buoy;

impl Row for Buoy {
    const TABLE: store::Table = store::Table::new("buoys");
    const FORMAT: u16 = 1;
    fn key(&self) -> store::Key {
        store::Key::global(&[])
    }
}

#[tokio::test]
async fn waiting_for_tables_ends_when_one_of_them_changes() {
    let store = Store::ephemeral(Options::ephemeral().row::<Boat>().row::<Buoy>());
    let start = store.snapshot().version();
    let of_boats = store.changed(&[Boat::TABLE], start);
    tokio::pin!(of_boats);
    let mut transaction = Transaction::new();
    transaction.put(Buoy);
    store.transact(transaction).await.unwrap();
    assert!(timeout(Duration::from_millis(50), &mut of_boats).await.is_err(), "the other table changed");
    assert_eq!(store.changed(&[Boat::TABLE, Buoy::TABLE], start).await.number(), 1);
    let version = store.transact(put(boat("a", "x", 1))).await.unwrap();
    assert_eq!(timeout(Duration::from_secs(5), &mut of_boats).await.unwrap(), version);
}
