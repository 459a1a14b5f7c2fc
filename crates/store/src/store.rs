//! [`Store`]: opening it, and the calls that everyone else makes.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Mutex as AsyncMutex, MutexGuard, mpsc, oneshot};

use crate::commit::{Command, Committer, Prepared, SUBMISSIONS_WAITING, Shared, write_groups};
use crate::feed::ChangeFeed;
use crate::log::{self, NoLog, RecordWrite, Tuning};
use crate::row::{Row, RowError, RowType, Table};
use crate::snapshot::Snapshot;
use crate::state::{Registry, State, Write};
use crate::transaction::{
    Condition, NamedWrite, TRANSACTION_BYTES, TRANSACTION_WRITES, TransactError, Transaction, UpdateError,
};
use crate::{Key, Version};

/// How often [`Store::update`] runs its closure before it gives a conflict to the caller.
pub const UPDATE_TRIES: usize = 32;
/// Queues of updates that lost a conflict. A row's key chooses the queue; rows that share one wait for each other a little.
const QUEUES: usize = 64;

/// Whether an acknowledged write outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk before it is acknowledged.
    Durable,
    /// It is in memory only: for tests and simulations. Nothing is read from or written to the directory.
    Ephemeral,
}

/// What a transaction of a simulation waits for. See [`Options::pause`].
pub type Pause = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// How a store is opened.
pub struct Options {
    durability: Durability,
    registry: Registry,
    pause: Option<Pause>,
    pub(crate) tuning: Tuning,
}

impl Options {
    /// A store of this durability, with no row types yet.
    pub fn new(durability: Durability) -> Self {
        Self { durability, registry: Registry::default(), pause: None, tuning: Tuning::default() }
    }

    /// [`Durability::Durable`].
    pub fn durable() -> Self {
        Self::new(Durability::Durable)
    }

    /// [`Durability::Ephemeral`].
    pub fn ephemeral() -> Self {
        Self::new(Durability::Ephemeral)
    }

    /// Bytes of log before the rows are written to a new checkpoint and the log behind it removed (16 MiB unless
    /// said; at least the size of the last checkpoint in any case).
    pub fn checkpoint_after(mut self, bytes: u64) -> Self {
        self.tuning.checkpoint_after_bytes = bytes;
        self
    }

    /// Each transaction waits for `pause` before it is committed, and again before its caller hears of it: for
    /// simulations. A real store takes its time at both places, so that others write meanwhile (a conflict) or the
    /// caller is gone (a crash before or after the commit).
    pub fn pause(mut self, pause: Pause) -> Self {
        self.pause = Some(pause);
        self
    }

    /// The store has rows of this type. Rows on disk whose table has no type are refused at the start.
    pub fn row<R: Row>(mut self) -> Self {
        self.registry.add(RowType::of::<R>());
        self
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by the process {pid}", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Who holds the lock, as far as the lock file tells.
        pid: String,
    },
    /// Something that was acknowledged cannot be read, or what stands there cannot be what was written.
    #[error("{} is damaged at byte {offset}: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where the frame or header stands that does not fit.
        offset: u64,
        /// What does not fit.
        reason: &'static str,
    },
    /// A file that must be there is not.
    #[error("{} is missing, and what it held", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// Written by a newer version of Roadstead.
    #[error("{} has the file format {found}, which this version of Roadstead does not know", file.display())]
    FileFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Rows of a table that this version of Roadstead does not have.
    #[error("{} has rows of the table {table} at byte {offset}, which this version of Roadstead does not know", file.display())]
    UnknownTable {
        /// The table's name.
        table: String,
        /// The file.
        file: PathBuf,
        /// The frame in which the row stands.
        offset: u64,
    },
    /// A row that this version of Roadstead cannot read.
    #[error("the row {key} of table {table} in {} at byte {offset} cannot be read", file.display())]
    Row {
        /// Its table.
        table: Table,
        /// Its key.
        key: Key,
        /// The file.
        file: PathBuf,
        /// The frame in which the row stands.
        offset: u64,
        /// Why.
        #[source]
        source: RowError,
    },
    /// A file cannot be made, read or written.
    #[error("cannot {what} {}", file.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        file: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Tables of typed rows with snapshots, conditional transactions and a change feed. A handle: cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    durability: Durability,
    pause: Option<Pause>,
    writer: Writer,
    queues: [AsyncMutex<()>; QUEUES],
    beside: Mutex<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

enum Writer {
    /// Commits on the caller's thread.
    Here(Mutex<Committer>),
    /// Commits on the writer thread. Both are taken when the store is dropped.
    Thread { commands: Option<mpsc::Sender<Command>>, thread: Option<JoinHandle<()>> },
}

fn queues() -> [AsyncMutex<()>; QUEUES] {
    std::array::from_fn(|_| AsyncMutex::new(()))
}

/// Which queue a row's updates wait in: the same in every run, so that simulations can be repeated.
fn queue_of(key: &Key) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % QUEUES as u64).unwrap_or_default()
}

impl Drop for Inner {
    /// Waits for what is under way, so that the directory can be opened again at once.
    fn drop(&mut self) {
        if let Writer::Thread { commands, thread } = &mut self.writer {
            drop(commands.take());
            if thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("the store's writer thread panicked");
            }
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({:?}, version {})", self.0.durability, self.0.shared.state.borrow().version)
    }
}

impl Store {
    /// Opens the store in `directory`, which is made if it is not there. Reads all of it.
    pub fn open(directory: &Path, options: Options) -> Result<Self, OpenError> {
        let Options { durability, registry, pause, tuning } = options;
        if durability == Durability::Ephemeral {
            let state = State::empty(&registry, Version::default());
            let shared = Arc::new(Shared::new(registry, state));
            let committer = Committer { shared: Arc::clone(&shared), log: Box::new(NoLog) };
            return Ok(Self(Arc::new(Inner {
                shared,
                durability,
                pause,
                writer: Writer::Here(Mutex::new(committer)),
                queues: queues(),
                beside: Mutex::default(),
            })));
        }
        let lock = lock(directory)?;
        let (log, recovered) = log::open(directory, &registry, tuning)?;
        let state = recovered.into_state(&registry)?;
        tracing::info!(directory = %directory.display(), version = %state.version, "the store is open");
        let shared = Arc::new(Shared::new(registry, state));
        let committer = Committer { shared: Arc::clone(&shared), log: Box::new(log) };
        let (commands, receiver) = mpsc::channel(SUBMISSIONS_WAITING);
        let work = move || {
            write_groups(committer, receiver);
            drop(lock);
        };
        let thread =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(work).map_err(|source| {
                OpenError::Io { what: "start a thread for", file: directory.to_owned(), source }
            })?;
        let writer = Writer::Thread { commands: Some(commands), thread: Some(thread) };
        Ok(Self(Arc::new(Inner {
            shared,
            durability,
            pause,
            writer,
            queues: queues(),
            beside: Mutex::default(),
        })))
    }

    /// An ephemeral store: for tests and simulations.
    pub fn ephemeral(options: Options) -> Self {
        let options = Options { durability: Durability::Ephemeral, ..options };
        match Self::open(Path::new(""), options) {
            Ok(store) => store,
            Err(error) => unreachable!("an ephemeral store touches no file: {error}"),
        }
    }

    /// Everything as of now: all that was acknowledged, and nothing that is not durable.
    pub fn snapshot(&self) -> Snapshot {
        let shared = &self.0.shared;
        Snapshot {
            registry: Arc::clone(&shared.registry),
            state: shared.state.borrow().clone(),
            views: Arc::clone(&shared.views),
        }
    }

    /// Does a transaction, all or nothing, if its conditions hold. When it returns `Ok`, the writes are on disk
    /// and in every later snapshot. The version is the one that the transaction made (or, if it writes nothing,
    /// one at which its conditions held).
    ///
    /// If the future is dropped the transaction may be done or not.
    pub async fn transact(&self, transaction: Transaction) -> Result<Version, TransactError> {
        let prepared = self.prepare(transaction)?;
        self.pause().await;
        let result = match &self.0.writer {
            Writer::Here(committer) => {
                let mut committer = committer.lock().unwrap_or_else(PoisonError::into_inner);
                committer.commit(vec![prepared]).pop().unwrap_or_else(|| Err(closed()))
            }
            Writer::Thread { .. } => self.ask(|reply| Command::Transact(prepared, reply)).await,
        };
        self.pause().await;
        result
    }

    async fn pause(&self) {
        if let Some(pause) = &self.0.pause {
            pause().await;
        }
    }

    /// Runs `f` on a fresh snapshot and commits what it returns; on a conflict, again, up to [`UPDATE_TRIES`] times.
    /// `f` may thus run several times: only the transaction may have effects. Updates that lost a conflict over the
    /// same row go on one after the other, so that however many they are each comes to its turn.
    pub async fn update<T, E, F>(&self, mut f: F) -> Result<T, UpdateError<E>>
    where
        F: FnMut(&Snapshot) -> Result<(Transaction, T), E>,
    {
        let mut tries = 1;
        let mut turn: Option<MutexGuard<'_, ()>> = None;
        loop {
            let (transaction, value) = f(&self.snapshot()).map_err(UpdateError::Refused)?;
            if transaction.is_empty() {
                return Ok(value);
            }
            match self.transact(transaction).await {
                Ok(_) => return Ok(value),
                Err(TransactError::Conflict { key, .. }) if tries < UPDATE_TRIES => {
                    tries += 1;
                    // One queue at most: who waits in a second one while holding the first could wait for ever.
                    if turn.is_none() {
                        turn = Some(self.0.queues[queue_of(&key)].lock().await);
                    }
                }
                Err(error) => return Err(UpdateError::Transact(error)),
            }
        }
    }

    /// What this process keeps beside the rows, one of each type: made when it is first asked for, and gone with the store.
    /// It holds nothing that must outlive the process, such as whose turn it is.
    pub fn beside<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut beside = self.0.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let there = beside.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        match Arc::clone(there).downcast::<T>() {
            Ok(there) => there,
            Err(_) => unreachable!("what is kept beside the rows is kept under its type"),
        }
    }

    /// The changes after the version `from` (usually a snapshot's), from now on and as far back as they are kept.
    pub fn changes(&self, from: Version) -> ChangeFeed {
        let shared = &self.0.shared;
        ChangeFeed { ring: Arc::clone(&shared.ring), published: Arc::clone(&shared.published), after: from }
    }

    /// Waits until one of `tables` has changed after `since`, and returns the version of the last such change.
    /// After a start every table counts as changed at the version that the store was opened with.
    pub async fn changed(&self, tables: &[Table], since: Version) -> Version {
        let shared = &self.0.shared;
        let positions: Vec<usize> =
            tables.iter().filter_map(|table| shared.registry.position(table.name)).collect();
        loop {
            let mut news = pin!(shared.published.notified());
            news.as_mut().enable();
            let state = Arc::clone(&shared.state.borrow());
            let last = positions.iter().map(|&table| state.tables[table].changed).max();
            if let Some(last) = last.filter(|last| *last > since) {
                return last;
            }
            drop(state);
            news.await;
        }
    }

    /// Keeps every view up to date as rows change, so that none has to be made anew for want of old changes. Never
    /// returns.
    pub async fn keep_views(&self) {
        let mut seen = self.snapshot().version();
        loop {
            let mut feed = self.changes(seen);
            // Lagged or not: the views know by themselves what they have seen.
            let _ = feed.next().await;
            let snapshot = self.snapshot();
            seen = snapshot.version();
            snapshot.views.keep_up(&snapshot);
        }
    }

    /// Waits until the store has failed for good (its disk did), and says why. The process should then exit: a
    /// restart reads what is really on disk.
    pub async fn failed(&self) -> String {
        let mut receiver = self.0.shared.failed.subscribe();
        if receiver.wait_for(|failed| *failed).await.is_err() {
            return std::future::pending().await;
        }
        self.0.shared.failure.get().cloned().unwrap_or_default()
    }

    /// Removes every row of every table. Versions go on; feeds lag.
    pub async fn clear(&self) -> Result<Version, TransactError> {
        match &self.0.writer {
            Writer::Here(committer) => committer.lock().unwrap_or_else(PoisonError::into_inner).clear(),
            Writer::Thread { .. } => self.ask(Command::Clear).await,
        }
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Version, TransactError>>) -> Command,
    ) -> Result<Version, TransactError> {
        let Writer::Thread { commands: Some(commands), .. } = &self.0.writer else { return Err(closed()) };
        let (reply, answer) = oneshot::channel();
        commands.send(command(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Encodes on the caller's thread, so that the writer has as little to do as possible.
    fn prepare(&self, transaction: Transaction) -> Result<Prepared, TransactError> {
        if transaction.writes.len() > TRANSACTION_WRITES {
            return Err(TransactError::TooLarge);
        }
        let registry = &self.0.shared.registry;
        let mut prepared = Prepared {
            conditions: transaction
                .conditions
                .into_iter()
                .map(|condition| Condition {
                    table: registry.expect(condition.table),
                    key: condition.key,
                    revision: condition.revision,
                })
                .collect(),
            ..Prepared::default()
        };
        for write in last_of_each(transaction.writes) {
            let table = registry.expect(write.table);
            let row_type = registry.row_type(table);
            assert!(row_type.type_id == write.type_id, "the table of {row_type:?} holds no other type");
            let mut packed = None;
            if self.0.durability == Durability::Durable {
                let encoded = encode(row_type, &write)?;
                if let (Some(row), Some((_, json))) = (&write.row, &encoded.value) {
                    packed = registry.pack(table, row, json);
                }
                prepared.bytes +=
                    write.key.as_str().len() + encoded.value.as_ref().map_or(0, |(_, json)| json.len());
                prepared.encoded.push(encoded);
            }
            prepared.writes.push(Write { table, key: write.key, row: write.row, packed });
        }
        if prepared.bytes > TRANSACTION_BYTES { Err(TransactError::TooLarge) } else { Ok(prepared) }
    }
}

fn closed() -> TransactError {
    TransactError::Unavailable("its writer has stopped".to_owned())
}

fn encode(row_type: &RowType, write: &NamedWrite) -> Result<RecordWrite, TransactError> {
    let value =
        write.row.as_ref().map(|row| (row_type.encode)(row).map(|json| (row_type.format, json))).transpose();
    let value = value.map_err(|error| TransactError::Unencodable {
        table: write.table,
        key: write.key.clone(),
        reason: error.to_string(),
    })?;
    Ok(RecordWrite { table: write.table, key: write.key.clone(), value })
}

/// Of several writes to one row only the last one counts.
fn last_of_each(writes: Vec<NamedWrite>) -> Vec<NamedWrite> {
    if writes.len() < 2 {
        return writes;
    }
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<NamedWrite> =
        writes.into_iter().rev().filter(|write| seen.insert((write.table, write.key.clone()))).collect();
    kept.reverse();
    kept
}

/// Makes a directory and those above it, durably.
fn make_directory(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    make_directory(parent)?;
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// Takes the directory for this process, for as long as the file is open.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let io = |what| {
        let file = path.clone();
        move |source| OpenError::Io { what, file, source }
    };
    make_directory(directory).map_err(|source| OpenError::Io {
        what: "make the directory",
        file: directory.to_owned(),
        source,
    })?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = (&mut file).take(32).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "(unknown)" } else { pid.trim() }.to_owned();
            return Err(OpenError::InUse { directory: directory.to_owned(), pid });
        }
        Err(std::fs::TryLockError::Error(source)) => return Err(io("lock")(source)),
    }
    file.set_len(0).map_err(io("write"))?;
    file.rewind().map_err(io("write"))?;
    writeln!(file, "{}", std::process::id()).map_err(io("write"))?;
    Ok(file)
}
