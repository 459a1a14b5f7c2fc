//! CloudWatch Logs: log groups and streams as rows of the store, events in segment files of its own ([`storage`]).
//!
//! `operations/` has one file per operation, `resources/` what they share about a noun, `filter_pattern/` the language of
//! FilterLogEvents. Decision 6 says why events are stored as they are.

pub mod faults;
pub mod filter_pattern;
mod maintenance;
mod operations;
mod resources;
pub mod storage;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base::Ids;
use store::Store;
use tokio::sync::{Notify, Semaphore};
use wire::{Fault, ServiceTable};

use storage::{EventStore, StreamId, Sync};

/// Calls that read or write events at one time; the others wait their turn. Each holds up to three pages of memory.
const CALLS_AT_ONCE: usize = 32;

/// The service `logs`.
pub struct Logs {
    store: Store,
    events: Arc<EventStore>,
    ids: Arc<dyn Ids>,
    deleted: Mutex<Vec<Deleted>>,
    sweep: Notify,
    turns: Semaphore,
}

/// What was deleted by a commit and is still to be cleared away. After a crash it is found again by its missing row.
#[derive(Clone, Debug)]
enum Deleted {
    Group(base::Scope, u64),
    Stream(StreamId),
}

impl Logs {
    /// The service over `store`, with its events under `directory` (`<data-dir>/logs`).
    pub fn open(store: Store, directory: &Path, sync: Sync, ids: Arc<dyn Ids>) -> io::Result<Arc<Self>> {
        let events = Arc::new(EventStore::open(directory, sync)?);
        let turns = Semaphore::new(CALLS_AT_ONCE);
        Ok(Arc::new(Self { store, events, ids, deleted: Mutex::default(), sweep: Notify::new(), turns }))
    }

    /// The table for the gateway.
    pub fn table(self: &Arc<Self>) -> ServiceTable {
        api::logs::service(Arc::clone(self))
    }

    /// Runs `work` on the events where it may block: reading them, and writing while the disk is slow.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&EventStore) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let _turn = self.turns.acquire().await.map_err(faults::internal)?;
        let events = Arc::clone(&self.events);
        tokio::task::spawn_blocking(move || work(&events)).await.map_err(faults::internal)
    }

    /// An id that no row has: 64 random bits, never 0.
    fn new_id(&self) -> u64 {
        let mut bytes = [0; 8];
        self.ids.fill(&mut bytes);
        u64::from_le_bytes(bytes).max(1)
    }

    /// Has the maintenance loop clear away what a commit deleted.
    fn clear_away(&self, deleted: Deleted) {
        self.deleted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(deleted);
        self.sweep.notify_one();
    }
}
