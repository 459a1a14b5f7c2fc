//! Many writers at once.

use std::collections::BTreeSet;

use store::{Store, TRANSACTION_WRITES, TransactError, Transaction, UpdateError};

use crate::{Boat, boat, boat_key, ephemeral, get, put};

/// Each writer adds to a counter of its own and to one that all share.
async fn count_up(store: Store, writer: u64, times: u64) -> Vec<u64> {
    let mut versions = Vec::new();
    for _ in 0..times {
        loop {
            let snapshot = store.snapshot();
            let mut transaction = Transaction::new();
            for name in ["shared", &format!("own-{writer}")] {
                match snapshot.get::<Boat>(&boat_key(name)) {
                    Some(read) => {
                        let length = read.length + 1;
                        transaction.replace(&read, Boat { length, ..Boat::clone(&read) });
                    }
                    None => {
                        transaction.insert(boat(name, "x", 1));
                    }
                }
            }
            match store.transact(transaction).await {
                Ok(version) => {
                    versions.push(version.number());
                    break;
                }
                Err(TransactError::Conflict { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }
    versions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_lose_no_update() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::open(directory.path());
    let writers: Vec<_> = (0..64).map(|writer| tokio::spawn(count_up(store.clone(), writer, 5))).collect();
    let mut versions = BTreeSet::new();
    for writer in writers {
        for version in writer.await.unwrap() {
            assert!(versions.insert(version), "version {version} was given twice");
        }
    }
    assert_eq!(versions, (1..=320).collect());
    drop(store);
    let store = crate::open(directory.path());
    assert_eq!(get(&store, "shared").unwrap().length, 320);
    assert!((0..64).all(|writer| get(&store, &format!("own-{writer}")).unwrap().length == 5));
}

/// Far more at once than one of them has tries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_one_of_many_updates_of_a_row_comes_to_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::open(directory.path());
    store.transact(put(boat("a", "x", 0))).await.unwrap();
    let add = |store: Store| async move {
        let update = store.update(|snapshot| {
            let read = snapshot.get::<Boat>(&boat_key("a")).ok_or("gone")?;
            let mut transaction = Transaction::new();
            transaction.replace(&read, boat("a", "x", read.length + 1));
            Ok::<_, &str>((transaction, ()))
        });
        update.await
    };
    let writers: Vec<_> = (0..1000).map(|_| tokio::spawn(add(store.clone()))).collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(get(&store, "a").unwrap().length, 1000);
}

#[tokio::test]
async fn an_update_runs_again_until_it_fits() {
    let store = ephemeral();
    store.transact(put(boat("a", "x", 0))).await.unwrap();
    let mut runs = 0;
    let length = store
        .update(|snapshot| {
            runs += 1;
            let read = snapshot.get::<Boat>(&boat_key("a")).ok_or("gone")?;
            if runs < 3 {
                // Someone else gets in between (the ephemeral store commits within the call).
                let other = store.transact(put(boat("a", "x", read.length + 10)));
                futures_now(other).unwrap();
            }
            let mut transaction = Transaction::new();
            transaction.replace(&read, boat("a", "x", read.length + 1));
            Ok::<_, &str>((transaction, read.length + 1))
        })
        .await
        .unwrap();
    assert_eq!((runs, length, get(&store, "a").unwrap().length), (3, 21, 21));

    let refused = store.update(|_| Err::<(Transaction, ()), _>("no")).await;
    assert_eq!(refused, Err(UpdateError::Refused("no")));
    let hopeless = store
        .update(|_| {
            let mut transaction = Transaction::new();
            transaction.insert(boat("a", "x", 0));
            Ok::<_, &str>((transaction, ()))
        })
        .await;
    assert!(matches!(hopeless, Err(UpdateError::Transact(TransactError::Conflict { .. }))));
}

/// A future that is ready at once.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("an ephemeral store waits for nothing"),
    }
}

#[tokio::test]
async fn a_transaction_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::open(directory.path());
    let mut many = Transaction::new();
    for id in 0..=TRANSACTION_WRITES {
        many.put(boat(&id.to_string(), "x", 0));
    }
    assert_eq!(store.transact(many).await, Err(TransactError::TooLarge));
    let mut large = Transaction::new();
    for id in 0..17 {
        large.put(boat(&id.to_string(), &"x".repeat(1024 * 1024), 0));
    }
    assert_eq!(store.transact(large).await, Err(TransactError::TooLarge));
    assert_eq!(store.snapshot().count::<Boat>(), 0);
}

#[tokio::test]
async fn a_dropped_call_leaves_a_whole_transaction_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::open(directory.path());
    for round in 0..50_u64 {
        let mut transaction = put(boat("a", "x", round));
        transaction.put(boat("b", "x", round));
        let call = store.transact(transaction);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(round * 5), call).await;
        let snapshot = store.snapshot();
        let length = |name| snapshot.get::<Boat>(&boat_key(name)).map(|boat| boat.length);
        assert_eq!(length("a"), length("b"));
    }
}

/// A row whose own code panics.
#[derive(serde::Serialize, serde::Deserialize)]
struct Wreck;

impl store::Row for Wreck {
    const TABLE: store::Table = store::Table::new("wrecks");
    const FORMAT: u16 = 1;
    fn key(&self) -> store::Key {
        store::Key::global(&["wreck"])
    }
    fn indexes(&self, _: &mut store::IndexSink) {
        panic!("this panic is part of a test");
    }
}

#[tokio::test]
async fn a_writer_that_panics_is_told_as_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Store::open(directory.path(), store::Options::durable().row::<Boat>().row::<Wreck>()).unwrap();
    store.transact(put(boat("a", "x", 1))).await.unwrap();
    let mut transaction = Transaction::new();
    transaction.put(Wreck);
    assert!(matches!(store.transact(transaction).await, Err(TransactError::Unavailable(_))));
    assert!(store.failed().await.contains("panicked"));
    assert!(matches!(store.transact(put(boat("a", "x", 2))).await, Err(TransactError::Unavailable(_))));
    assert_eq!(get(&store, "a").unwrap().length, 1);
    drop(store);
    assert_eq!(get(&crate::open(directory.path()), "a").unwrap().length, 1);
}
