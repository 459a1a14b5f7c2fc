//! Any sequence of transactions leaves what a plain map would hold, also after the store is opened again.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::{Key, Options, Prefix, Revision, Snapshot, Store, TransactError, Transaction};

use crate::{Boat, boat_key};

/// One condition or write, on one of a few boats.
#[derive(Clone, Debug)]
enum Step {
    Put(Boat),
    Insert(Boat),
    /// Replaces what was read, which is stale if the flag says so.
    Replace(Boat, bool),
    Remove(String, bool),
    Delete(String),
    RequireAbsent(String),
}

#[derive(Clone, Debug)]
enum Act {
    Transact(Vec<Step>),
    Reopen,
    Clear,
}

type Model = BTreeMap<String, (u64, Boat)>;

fn a_name() -> impl Strategy<Value = String> {
    "[abc]{1,2}"
}

fn a_boat() -> impl Strategy<Value = Boat> {
    (a_name(), "[xy]", prop::collection::vec("[rgb]", 0..3), 0..4_u64)
        .prop_map(|(name, harbour, flags, length)| Boat { name, harbour, flags, length })
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => a_boat().prop_map(Step::Put),
        2 => a_boat().prop_map(Step::Insert),
        3 => (a_boat(), prop::bool::weighted(0.2)).prop_map(|(boat, stale)| Step::Replace(boat, stale)),
        1 => (a_name(), prop::bool::weighted(0.2)).prop_map(|(name, stale)| Step::Remove(name, stale)),
        2 => a_name().prop_map(Step::Delete),
        1 => a_name().prop_map(Step::RequireAbsent),
    ]
}

fn an_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => prop::collection::vec(a_step(), 0..4).prop_map(Act::Transact),
        2 => Just(Act::Reopen),
        1 => Just(Act::Clear),
    ]
}

/// Builds the transaction, and says what the model expects of it.
fn plan(
    steps: &[Step],
    snapshot: &Snapshot,
    stale: &Snapshot,
    model: &Model,
) -> (Transaction, Option<Model>) {
    let mut transaction = Transaction::new();
    let mut after = model.clone();
    let mut holds = true;
    let next = snapshot.version().number() + 1;
    let reads = |name: &str, is_stale: bool| {
        let snapshot = if is_stale { stale } else { snapshot };
        snapshot.get::<Boat>(&boat_key(name))
    };
    let revision = |name: &str| model.get(name).map(|(revision, _)| *revision);
    for step in steps {
        match step {
            Step::Put(boat) => {
                transaction.put(boat.clone());
                after.insert(boat.name.clone(), (next, boat.clone()));
            }
            Step::Insert(boat) => {
                holds &= revision(&boat.name).is_none();
                transaction.insert(boat.clone());
                after.insert(boat.name.clone(), (next, boat.clone()));
            }
            Step::Replace(boat, is_stale) => {
                let Some(read) = reads(&boat.name, *is_stale) else { continue };
                holds &= revision(&boat.name) == Some(read.revision.number());
                transaction.replace(&read, boat.clone());
                after.insert(boat.name.clone(), (next, boat.clone()));
            }
            Step::Remove(name, is_stale) => {
                let Some(read) = reads(name, *is_stale) else { continue };
                holds &= revision(name) == Some(read.revision.number());
                transaction.remove(&read);
                after.remove(name);
            }
            Step::Delete(name) => {
                transaction.delete::<Boat>(&boat_key(name));
                after.remove(name);
            }
            Step::RequireAbsent(name) => {
                holds &= revision(name).is_none();
                transaction.require_revision::<Boat>(&boat_key(name), None);
            }
        }
    }
    (transaction, holds.then_some(after))
}

fn check(snapshot: &Snapshot, model: &Model) -> Result<(), TestCaseError> {
    let rows: Vec<(u64, Boat)> = snapshot
        .scan::<Boat>(Prefix::everything(), None)
        .map(|b| (b.revision.number(), Boat::clone(&b)))
        .collect();
    prop_assert_eq!(&rows, &model.values().cloned().collect::<Vec<_>>());
    prop_assert_eq!(snapshot.count::<Boat>(), model.len());

    // Every page size gives the same rows in the same order, through keys and through an index.
    for page in 1..4 {
        let mut paged = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let mut scan = snapshot.scan::<Boat>(Prefix::everything(), after.as_ref());
            paged.extend(scan.by_ref().take(page).map(|b| b.name.clone()));
            match scan.position() {
                Some(position) => after = Some(Key::from_text(position.as_str())),
                None => break,
            }
        }
        prop_assert_eq!(&paged, &model.keys().cloned().collect::<Vec<_>>());

        for harbour in ["x", "y"] {
            let mut expected: Vec<(u64, String)> = model
                .values()
                .filter(|(_, boat)| boat.harbour == harbour)
                .map(|(_, boat)| (boat.length, boat.name.clone()))
                .collect();
            expected.sort();
            let mut paged = Vec::new();
            let mut after: Option<Key> = None;
            loop {
                let mut scan = snapshot.index::<Boat>("harbour", &[harbour], after.as_ref());
                paged.extend(scan.by_ref().take(page).map(|b| (b.length, b.name.clone())));
                match scan.position() {
                    Some(position) => after = Some(Key::from_text(position.as_str())),
                    None => break,
                }
            }
            prop_assert_eq!(&paged, &expected);
        }
    }
    for flag in ["r", "g", "b"] {
        let found: Vec<String> =
            snapshot.index::<Boat>("flag", &[flag], None).map(|b| b.name.clone()).collect();
        let flying = |(_, (_, boat)): &(&String, &(u64, Boat))| boat.flags.iter().any(|f| f == flag);
        let expected: Vec<String> = model.iter().filter(flying).map(|(name, _)| name.clone()).collect();
        prop_assert_eq!(found, expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn transactions_do_what_a_map_does(acts in prop::collection::vec(an_act(), 1..60)) {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let open = || {
            Store::open(directory.path(), Options::durable().row::<Boat>().checkpoint_after(4096)).unwrap()
        };
        let mut store = open();
        let mut model = Model::new();
        let mut stale = store.snapshot();
        for (index, act) in acts.into_iter().enumerate() {
            let snapshot = store.snapshot();
            match act {
                Act::Reopen => {
                    drop(store);
                    store = open();
                    prop_assert_eq!(store.snapshot().version(), snapshot.version());
                }
                Act::Clear => {
                    let version = runtime.block_on(store.clear()).unwrap();
                    prop_assert_eq!(version.number(), snapshot.version().number() + 1);
                    model.clear();
                }
                Act::Transact(steps) => {
                    let (transaction, expected) = plan(&steps, &snapshot, &stale, &model);
                    match (runtime.block_on(store.transact(transaction)), expected) {
                        (Ok(version), Some(after)) => {
                            prop_assert!(version.number() <= snapshot.version().number() + 1);
                            model = after;
                        }
                        (Err(TransactError::Conflict { .. }), None) => {}
                        (result, expected) => prop_assert!(false, "{result:?}, expected {}", expected.is_some()),
                    }
                }
            }
            check(&store.snapshot(), &model)?;
            if index % 5 == 0 {
                stale = store.snapshot();
            }
        }
    }
}

#[test]
fn a_row_is_of_the_version_that_wrote_it() {
    let store = crate::ephemeral();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let version = runtime.block_on(store.transact(crate::put(crate::boat("a", "x", 1)))).unwrap();
    let revision: Revision = store.snapshot().get::<Boat>(&boat_key("a")).unwrap().revision;
    assert_eq!(revision.number(), version.number());
    // Nothing written: no new version.
    assert_eq!(runtime.block_on(store.transact(Transaction::new())).unwrap(), version);
}
