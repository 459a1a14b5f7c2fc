//! Views: what is worked out from rows and kept in memory, brought up to date by the changes alone.
//!
//! A view holds nothing that the rows do not say: it is made from a snapshot when it is first asked for, and again when
//! the changes since are no longer kept. One that is asked for rarely is kept up by [`Store::keep_views`](crate::Store::keep_views).

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::feed::{ChangeBatch, Ring};
use crate::snapshot::Snapshot;
use crate::{Lagged, Version};

/// Something worked out from rows.
pub trait View: Send + 'static {
    /// Works it out from nothing.
    fn of(snapshot: &Snapshot) -> Self;

    /// Takes in what was changed, oldest first; `snapshot` is what the last of the batches made.
    fn follow(&mut self, batches: &[ChangeBatch], snapshot: &Snapshot);
}

/// The views of one store.
pub(crate) struct Views {
    ring: Arc<Mutex<Ring>>,
    kept: Mutex<BTreeMap<TypeId, Kept>>,
}

#[derive(Clone)]
struct Kept {
    view: Arc<Mutex<Option<Current>>>,
    refresh: fn(&Snapshot, &mut Option<Current>),
}

/// A view and the version that it is of.
struct Current {
    version: Version,
    view: Box<dyn Any + Send>,
}

impl Views {
    pub fn new(ring: Arc<Mutex<Ring>>) -> Self {
        Self { ring, kept: Mutex::default() }
    }

    /// Runs `f` on the view, which is at least as new as the snapshot.
    pub fn with<V: View, T>(&self, snapshot: &Snapshot, f: impl FnOnce(&mut V) -> T) -> T {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(TypeId::of::<V>())
            .or_insert_with(|| Kept { view: Arc::default(), refresh: refresh::<V> })
            .clone();
        let mut current = lock(&kept.view);
        refresh::<V>(snapshot, &mut current);
        match current.as_mut().and_then(|current| current.view.downcast_mut::<V>()) {
            Some(view) => f(view),
            None => unreachable!("a view is kept under its type"),
        }
    }

    /// Brings every view that was ever asked for up to the snapshot.
    pub fn keep_up(&self, snapshot: &Snapshot) {
        let all: Vec<Kept> =
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for kept in all {
            (kept.refresh)(snapshot, &mut lock(&kept.view));
        }
    }

    /// The batches after `from` up to `to`.
    fn batches(&self, from: Version, to: Version) -> Result<Vec<ChangeBatch>, Lagged> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).between(from, to)
    }
}

/// A view whose user panicked may be half changed: it is forgotten.
fn lock(view: &Mutex<Option<Current>>) -> MutexGuard<'_, Option<Current>> {
    view.lock().unwrap_or_else(|poisoned| {
        view.clear_poison();
        let mut current = poisoned.into_inner();
        *current = None;
        current
    })
}

fn refresh<V: View>(snapshot: &Snapshot, current: &mut Option<Current>) {
    let version = snapshot.version();
    if let Some(there) = current {
        if there.version >= version {
            return;
        }
        if let Ok(batches) = snapshot.views.batches(there.version, version)
            && let Some(view) = there.view.downcast_mut::<V>()
        {
            view.follow(&batches, snapshot);
            there.version = version;
            return;
        }
    }
    *current = Some(Current { version, view: Box::new(V::of(snapshot)) });
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{FEED_VERSIONS, Key, Options, Prefix, Row, Store, Table, Transaction};

    #[derive(Clone, Serialize, Deserialize)]
    struct Lamp {
        name: String,
        watts: u64,
    }

    impl Row for Lamp {
        const TABLE: Table = Table::new("lamps");
        const FORMAT: u16 = 1;
        fn key(&self) -> Key {
            Key::global(&[&self.name])
        }
    }

    /// The watts of every lamp together, and how many changes it has followed.
    struct Watts {
        sum: u64,
        followed: usize,
    }

    impl View for Watts {
        fn of(snapshot: &Snapshot) -> Self {
            let lamps = snapshot.scan::<Lamp>(Prefix::everything(), None);
            Self { sum: lamps.map(|lamp| lamp.watts).sum(), followed: 0 }
        }

        fn follow(&mut self, batches: &[ChangeBatch], _snapshot: &Snapshot) {
            for change in batches.iter().flat_map(|batch| batch.changes.iter()) {
                let Some(change) = change.of::<Lamp>() else { continue };
                self.sum += change.after.map_or(0, |lamp| lamp.watts);
                self.sum -= change.before.map_or(0, |lamp| lamp.watts);
                self.followed += 1;
            }
        }
    }

    async fn put(store: &Store, name: &str, watts: u64) {
        let mut transaction = Transaction::new();
        transaction.put(Lamp { name: name.to_owned(), watts });
        store.transact(transaction).await.unwrap();
    }

    fn look(store: &Store) -> (u64, usize) {
        store.snapshot().view(|watts: &mut Watts| (watts.sum, watts.followed))
    }

    #[tokio::test]
    async fn a_view_follows_and_is_made_anew_when_it_lags() {
        let store = Store::ephemeral(Options::ephemeral().row::<Lamp>());
        put(&store, "pier", 10).await;
        let old = store.snapshot();
        assert_eq!(look(&store), (10, 0));
        put(&store, "buoy", 5).await;
        put(&store, "pier", 1).await;
        assert_eq!(look(&store), (6, 2));
        assert_eq!(old.view(|watts: &mut Watts| watts.sum), 6, "newer than the snapshot, never older");
        let mut transaction = Transaction::new();
        transaction.delete::<Lamp>(&Key::global(&["buoy"]));
        store.transact(transaction).await.unwrap();
        assert_eq!(look(&store), (1, 3));
        for round in 0..FEED_VERSIONS as u64 + 10 {
            put(&store, "pier", round).await;
        }
        assert_eq!(look(&store), (FEED_VERSIONS as u64 + 9, 0), "made anew");
        store.clear().await.unwrap();
        assert_eq!(look(&store), (0, 0));
    }

    #[tokio::test]
    async fn a_view_that_was_left_half_changed_is_made_anew() {
        let store = Store::ephemeral(Options::ephemeral().row::<Lamp>());
        put(&store, "pier", 10).await;
        let snapshot = store.snapshot();
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            snapshot.view(|watts: &mut Watts| {
                watts.sum = 99;
                panic!("in the middle");
            })
        }));
        assert!(broken.is_err());
        assert_eq!(look(&store), (10, 0));
    }

    #[tokio::test]
    async fn views_that_are_kept_up_never_lag() {
        let store = Store::ephemeral(Options::ephemeral().row::<Lamp>());
        assert_eq!(look(&store), (0, 0));
        let keeping = tokio::spawn({
            let store = store.clone();
            async move { store.keep_views().await }
        });
        let rounds = 3 * FEED_VERSIONS as u64;
        let mut watts = BTreeMap::new();
        for round in 0..rounds {
            let name = format!("{}", round % 7);
            put(&store, &name, round).await;
            watts.insert(name, round);
            if round % 50 == 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(look(&store), (watts.values().sum(), rounds as usize));
        keeping.abort();
    }
}
