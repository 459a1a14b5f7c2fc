//! The one place where versions are made: checks conditions in one serial order, has the log keep the writes,
//! and only then shows them to readers.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::Version;
use crate::feed::{Change, ChangeBatch, Ring};
use crate::log::{Log, LogError, Record, RecordWrite};
use crate::state::{Registry, State, Write};
use crate::transaction::{Condition, TransactError};
use crate::view::Views;

/// Transactions that wait for the writer. Beyond it, callers of `transact` wait to get in.
pub(crate) const SUBMISSIONS_WAITING: usize = 1024;
/// Transactions that share one fsync.
const GROUP_TRANSACTIONS: usize = 1024;
/// Bytes of rows that share one fsync, not counting the transaction that passes the mark.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// A transaction whose tables are looked up and whose rows are encoded.
#[derive(Default)]
pub(crate) struct Prepared {
    pub conditions: Vec<Condition>,
    pub writes: Vec<Write>,
    /// What goes to disk, in step with `writes`; empty for an ephemeral store.
    pub encoded: Vec<RecordWrite>,
    pub bytes: usize,
}

/// What the writer is asked.
pub(crate) enum Command {
    Transact(Prepared, oneshot::Sender<Result<Version, TransactError>>),
    Clear(oneshot::Sender<Result<Version, TransactError>>),
}

/// What readers see.
pub(crate) struct Shared {
    pub registry: Arc<Registry>,
    pub state: watch::Sender<Arc<State>>,
    /// Rings at each new state. Not the watch channel itself, which wakes its readers in a random order: a simulation
    /// must be able to repeat what happened.
    pub published: Arc<Notify>,
    pub ring: Arc<Mutex<Ring>>,
    pub views: Arc<Views>,
    pub failure: OnceLock<String>,
    pub failed: watch::Sender<bool>,
}

impl Shared {
    pub fn new(registry: Registry, state: State) -> Self {
        let ring = Arc::new(Mutex::new(Ring::starting_at(state.version)));
        Self {
            views: Arc::new(Views::new(Arc::clone(&ring))),
            registry: Arc::new(registry),
            state: watch::Sender::new(Arc::new(state)),
            published: Arc::default(),
            ring,
            failure: OnceLock::new(),
            failed: watch::Sender::new(false),
        }
    }
}

/// Makes versions.
pub(crate) struct Committer {
    pub shared: Arc<Shared>,
    pub log: Box<dyn Log>,
}

impl Committer {
    /// Does a group of transactions in order, each on top of those before it, with one append to the log.
    pub fn commit(&mut self, group: Vec<Prepared>) -> Vec<Result<Version, TransactError>> {
        if let Some(reason) = self.shared.failure.get() {
            return vec![Err(TransactError::Unavailable(reason.clone())); group.len()];
        }
        let mut state = State::clone(&self.shared.state.borrow());
        let mut results = Vec::with_capacity(group.len());
        let mut batches = Vec::with_capacity(group.len());
        let mut records = Vec::with_capacity(group.len());
        for prepared in group {
            if let Some(condition) = state.failing(&prepared.conditions) {
                let table = self.shared.registry.row_type(condition.table).table;
                results.push(Err(TransactError::Conflict { table, key: condition.key.clone() }));
                continue;
            }
            if !prepared.writes.is_empty() {
                batches.push(self.apply(&mut state, &prepared.writes));
                records.push(Record { version: state.version, writes: prepared.encoded });
            }
            results.push(Ok(state.version));
        }
        if records.is_empty() {
            return results;
        }
        if let Err(error) = self.log.append(&records) {
            let error = self.refuse(error);
            return results.into_iter().map(|result| result.and(Err(error.clone()))).collect();
        }
        self.publish(state, |ring| batches.into_iter().for_each(|batch| ring.push(batch)));
        results
    }

    /// Forgets every row.
    pub fn clear(&mut self) -> Result<Version, TransactError> {
        if let Some(reason) = self.shared.failure.get() {
            return Err(TransactError::Unavailable(reason.clone()));
        }
        let version = Version(self.shared.state.borrow().version.0 + 1);
        self.log.clear(version).map_err(|error| self.refuse(error))?;
        let state = State::empty(&self.shared.registry, version);
        self.publish(state, |ring| *ring = Ring::starting_at(version));
        Ok(version)
    }

    fn apply(&self, state: &mut State, writes: &[Write]) -> ChangeBatch {
        let registry = &self.shared.registry;
        let version = Version(state.version.0 + 1);
        let changes = writes
            .iter()
            .map(|write| Change {
                table: registry.row_type(write.table).table,
                key: write.key.clone(),
                before: state.apply(registry, write, version),
                after: write.row.clone(),
            })
            .collect();
        state.version = version;
        ChangeBatch { version, changes }
    }

    /// Lets the log do what may wait, after the callers have their answers. A failure here is not one of their
    /// transactions, but the last thing the log does.
    fn maintain(&mut self) {
        let state = Arc::clone(&self.shared.state.borrow());
        if let Err(error) = self.log.maintain(&self.shared.registry, &state) {
            self.refuse(error);
        }
    }

    /// Both under the ring's lock: whoever is woken by the new state finds its changes, and whoever has read a
    /// change finds it in the next snapshot.
    fn publish(&self, state: State, update: impl FnOnce(&mut Ring)) {
        let mut ring = self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner);
        update(&mut ring);
        self.shared.state.send_replace(Arc::new(state));
        self.shared.published.notify_waiters();
    }

    /// A failed log is never asked again: after a failed fsync the kernel may have dropped the pages, and a
    /// second one that succeeds proves nothing.
    fn refuse(&self, error: LogError) -> TransactError {
        match error {
            LogError::NoSpace => {
                tracing::warn!("no space is left for the store: the write is refused");
                TransactError::NoSpace
            }
            LogError::Failed(reason) => {
                tracing::error!(reason, "the store stops: its log failed");
                let reason = self.shared.failure.get_or_init(|| reason).clone();
                self.shared.failed.send_replace(true);
                TransactError::Unavailable(reason)
            }
        }
    }
}

/// Tells of a writer that panicked (a row's own code may), as of a disk that failed.
struct Told(Arc<Shared>);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failure.get_or_init(|| "its writer panicked".to_owned());
            self.0.failed.send_replace(true);
        }
    }
}

/// The writer thread: takes what waits, commits it as one group, answers. Ends when the store is dropped.
pub(crate) fn write_groups(mut committer: Committer, mut commands: mpsc::Receiver<Command>) {
    let _told = Told(Arc::clone(&committer.shared));
    while let Some(command) = commands.blocking_recv() {
        let mut group = Vec::new();
        let mut replies = Vec::new();
        let mut bytes = 0;
        let mut next = Some(command);
        let mut clear = None;
        while let Some(command) = next {
            match command {
                Command::Transact(prepared, reply) => {
                    bytes += prepared.bytes;
                    group.push(prepared);
                    replies.push(reply);
                }
                Command::Clear(reply) => {
                    clear = Some(reply);
                    break;
                }
            }
            let full = group.len() >= GROUP_TRANSACTIONS || bytes >= GROUP_BYTES;
            next = if full { None } else { commands.try_recv().ok() };
        }
        // A caller that no longer waits is no error.
        for (reply, result) in replies.into_iter().zip(committer.commit(group)) {
            let _ = reply.send(result);
        }
        if let Some(reply) = clear {
            let _ = reply.send(committer.clear());
        }
        if committer.shared.failure.get().is_none() {
            committer.maintain();
        }
    }
}
