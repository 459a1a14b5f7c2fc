//! Where log events are: append-only segment files for each stream, under `<group id>/<stream id>/`.
//!
//! - **Acknowledged means with the kernel** ([`EventStore::append`] has written it), so nothing acknowledged is lost when the
//!   process is killed. When it is on disk is [`Sync`]'s matter: within a second by default.
//! - **Memory does not grow with the number of events.** In memory there is one index entry for 128 KiB of events, only for
//!   streams in use, and no more than [`EXTENTS_IN_MEMORY`] in all; a few numbers per stream stay.
//! - **A start reads nothing.** A stream is looked at when it is first used: finished segments have an index file, and of the
//!   last one at most [`SEGMENT_BYTES`] are read.
//! - **Nothing is cut off.** Bytes that are no block (after a kill in the middle of a write, or on a damaged disk) stay where
//!   they are; the next block goes to a new segment.

mod block;
mod key;
mod read;
mod segment;
mod stream;
mod sync;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use key::{EventKey, EventKeyError};
pub use read::{Direction, Page, Query, StoredEvent};
use stream::Stream;
use sync::Syncer;

/// Bytes after which a segment is finished.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Milliseconds after which a segment is finished, so that retention can remove it.
const SEGMENT_MILLISECONDS: i64 = 24 * 3600 * 1000;
/// Streams whose file is kept open for the next put.
const FILES_OPEN: usize = 512;
/// Index entries in memory (32 bytes each); beyond it those of the streams that were not used for longest go.
pub const EXTENTS_IN_MEMORY: usize = 1 << 20;
/// Deleted streams that are remembered, so that a put that is under way does not bring one back.
const DELETED_REMEMBERED: usize = 100_000;
/// Put numbers that are reserved with one write to the file `sequence`.
const NUMBERS_RESERVED: u64 = 1 << 20;

/// When acknowledged events are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// So much later at most: what a machine that loses power may lose. A killed process loses nothing either way.
    Within(Duration),
    /// Before they are acknowledged.
    BeforeAcknowledging,
}

impl Default for Sync {
    /// Within a second.
    fn default() -> Self {
        Self::Within(Duration::from_secs(1))
    }
}

/// Which stream: the ids that its and its group's row have. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The group's.
    pub group: u64,
    /// The stream's.
    pub stream: u64,
}

/// An event to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Milliseconds since the Unix epoch, not negative.
    pub timestamp: i64,
    /// The message.
    pub message: &'a str,
}

/// What is known of a stream without reading its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The earliest timestamp; `None` where the stream has no events.
    pub first_timestamp: Option<i64>,
    /// The latest timestamp.
    pub last_timestamp: Option<i64>,
    /// When the last put came.
    pub last_ingestion_time: Option<i64>,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Why events could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream was deleted meanwhile.
    #[error("the log stream was deleted")]
    Deleted,
    /// The files cannot be written (a full disk, most often). Nothing of the put is kept.
    #[error("log events cannot be written")]
    Io(#[from] io::Error),
}

/// The events of all streams.
#[derive(Debug)]
pub struct EventStore {
    directory: PathBuf,
    sync: Sync,
    streams: Mutex<Streams>,
    numbers: Mutex<Numbers>,
    /// Ascends with every use of a stream.
    uses: AtomicU64,
    open_files: AtomicUsize,
    extents: AtomicUsize,
    syncer: Syncer,
}

#[derive(Debug, Default)]
struct Streams {
    known: HashMap<StreamId, Arc<Stream>>,
    deleted: HashSet<StreamId>,
    deleted_order: VecDeque<StreamId>,
    /// Bytes on disk per group, for those that were asked for.
    group_bytes: HashMap<u64, u64>,
}

/// Numbers of puts: those below `reserved` may have been given out.
#[derive(Debug)]
struct Numbers {
    next: u64,
    reserved: u64,
}

impl EventStore {
    /// Opens the store in `directory`, which is made where it is missing.
    pub fn open(directory: &Path, sync: Sync) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let reserved = match fs::read_to_string(directory.join("sequence")) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let file = directory.join("sequence");
                io::Error::new(io::ErrorKind::InvalidData, format!("{} holds no number", file.display()))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let syncer = match sync {
            Sync::Within(interval) => Syncer::start(interval)?,
            Sync::BeforeAcknowledging => Syncer::none(),
        };
        Ok(Self {
            directory: directory.to_owned(),
            sync,
            streams: Mutex::default(),
            numbers: Mutex::new(Numbers { next: reserved, reserved }),
            uses: AtomicU64::new(0),
            open_files: AtomicUsize::new(0),
            extents: AtomicUsize::new(0),
            syncer,
        })
    }

    /// Stores the events of one put, which are in order of time and within PutLogEvents' limits. When it returns they
    /// survive the end of this process. Answers with the key of the last event.
    pub fn append(
        &self,
        id: StreamId,
        ingestion_time: i64,
        events: &[Event<'_>],
    ) -> Result<EventKey, AppendError> {
        let stream = self.stream(id).ok_or(AppendError::Deleted)?;
        let (key, bytes) = stream.append(self, ingestion_time, events)?;
        if let Some(group) = self.lock_streams().group_bytes.get_mut(&id.group) {
            *group += bytes;
        }
        self.keep_within_limits();
        Ok(key)
    }

    /// The events that `query` asks for.
    pub fn read(&self, query: &Query<'_>) -> io::Result<Page> {
        let page = read::read(self, query);
        self.keep_within_limits();
        page
    }

    /// What is known of a stream.
    pub fn stats(&self, id: StreamId) -> io::Result<Stats> {
        let stats = match self.stream(id) {
            Some(stream) => stream.stats(self),
            None => Ok(Stats::default()),
        };
        self.keep_within_limits();
        stats
    }

    /// Bytes on disk of all streams of a group.
    pub fn group_bytes(&self, group: u64) -> io::Result<u64> {
        if let Some(bytes) = self.lock_streams().group_bytes.get(&group) {
            return Ok(*bytes);
        }
        let mut bytes = 0;
        for stream in subdirectories(&self.group_directory(group))? {
            for entry in missing_is_empty(fs::read_dir(&stream))?.into_iter().flatten() {
                // A file that goes meanwhile counts nothing.
                bytes += entry.and_then(|entry| entry.metadata()).map_or(0, |metadata| metadata.len());
            }
        }
        Ok(*self.lock_streams().group_bytes.entry(group).or_insert(bytes))
    }

    /// Deletes a stream's events for good.
    pub fn delete_stream(&self, id: StreamId) -> io::Result<()> {
        let stream = self.lock_streams().forget(id);
        if let Some(stream) = stream {
            stream.delete(self);
        }
        self.lock_streams().group_bytes.remove(&id.group);
        missing_is_fine(fs::remove_dir_all(self.stream_directory(id)))
    }

    /// Deletes the events of a group's `streams`, and the group's directory.
    pub fn delete_group(&self, group: u64, streams: impl IntoIterator<Item = u64>) -> io::Result<()> {
        for stream in streams {
            self.delete_stream(StreamId { group, stream })?;
        }
        missing_is_fine(fs::remove_dir_all(self.group_directory(group)))
    }

    /// Deletes the finished segments of a stream whose events are all older than `cutoff`, and the last one too if it is.
    pub fn expire(&self, id: StreamId, cutoff: i64) -> io::Result<()> {
        let Some(stream) = self.stream(id) else { return Ok(()) };
        let bytes = stream.expire(self, cutoff)?;
        if let Some(group) = self.lock_streams().group_bytes.get_mut(&id.group) {
            *group = group.saturating_sub(bytes);
        }
        self.keep_within_limits();
        Ok(())
    }

    /// The streams that have a directory. To be read before the rows are, by who then deletes those without a row.
    pub fn stored_streams(&self) -> io::Result<Vec<StreamId>> {
        let mut ids = Vec::new();
        for group_directory in subdirectories(&self.directory)? {
            let Some(group) = number_of(&group_directory) else { continue };
            let streams = subdirectories(&group_directory)?;
            ids.extend(streams.iter().filter_map(|path| Some(StreamId { group, stream: number_of(path)? })));
        }
        Ok(ids)
    }

    /// Brings all that is acknowledged to the disk.
    pub fn flush(&self) -> io::Result<()> {
        self.syncer.sync_now()
    }

    /// Deletes everything.
    pub fn clear(&self) -> io::Result<()> {
        for id in self.stored_streams()? {
            self.delete_stream(id)?;
        }
        for group_directory in subdirectories(&self.directory)? {
            missing_is_fine(fs::remove_dir_all(group_directory))?;
        }
        self.lock_streams().group_bytes.clear();
        Ok(())
    }

    fn lock_streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn group_directory(&self, group: u64) -> PathBuf {
        self.directory.join(format!("{group:016x}"))
    }

    fn stream_directory(&self, id: StreamId) -> PathBuf {
        self.group_directory(id.group).join(format!("{:016x}", id.stream))
    }

    /// The stream; `None` where it was deleted.
    fn stream(&self, id: StreamId) -> Option<Arc<Stream>> {
        let mut streams = self.lock_streams();
        if streams.deleted.contains(&id) {
            return None;
        }
        let directory = || self.stream_directory(id);
        let stream = streams.known.entry(id).or_insert_with(|| Arc::new(Stream::new(directory())));
        stream.used(self.uses.fetch_add(1, Ordering::Relaxed));
        Some(Arc::clone(stream))
    }

    /// A number that no put had, higher than all before.
    fn next_number(&self) -> io::Result<u64> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.next == numbers.reserved {
            let reserved = numbers.reserved + NUMBERS_RESERVED;
            let path = self.directory.join("sequence");
            let unfinished = path.with_extension("unfinished");
            let file = fs::File::create(&unfinished)?;
            io::Write::write_all(&mut &file, reserved.to_string().as_bytes())?;
            file.sync_all()?;
            fs::rename(unfinished, path)?;
            fs::File::open(&self.directory)?.sync_all()?;
            numbers.reserved = reserved;
        }
        numbers.next += 1;
        // From 1 on: no event has the first key of its millisecond, so that it can stand for "before all of it".
        Ok(numbers.next)
    }

    /// Lets go of what the streams that were not used for longest hold. Down to half, so that it is not done every time.
    fn keep_within_limits(&self) {
        let too_many = |now: &AtomicUsize, limit: usize| now.load(Ordering::Relaxed) > limit;
        if !too_many(&self.open_files, FILES_OPEN) && !too_many(&self.extents, EXTENTS_IN_MEMORY) {
            return;
        }
        let mut streams: Vec<_> = self.lock_streams().known.values().cloned().collect();
        streams.sort_by_key(|stream| stream.last_use());
        for stream in streams {
            if too_many(&self.open_files, FILES_OPEN / 2) {
                stream.close_file(self);
            }
            if too_many(&self.extents, EXTENTS_IN_MEMORY / 2) {
                stream.unload(self);
            }
        }
    }
}

impl Streams {
    fn forget(&mut self, id: StreamId) -> Option<Arc<Stream>> {
        if self.deleted.insert(id) {
            self.deleted_order.push_back(id);
        }
        if self.deleted_order.len() > DELETED_REMEMBERED
            && let Some(oldest) = self.deleted_order.pop_front()
        {
            self.deleted.remove(&oldest);
        }
        self.known.remove(&id)
    }
}

fn subdirectories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in missing_is_empty(fs::read_dir(directory))?.into_iter().flatten() {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    if name.len() == 16 { u64::from_str_radix(name, 16).ok() } else { None }
}

fn missing_is_empty<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn missing_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    missing_is_empty(outcome).map(|_| ())
}
