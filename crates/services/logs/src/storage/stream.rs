//! One stream: its segments, and the file that the next put goes to.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::block;
use super::segment::{self, Extent, Segment};
use super::{AppendError, Event, EventKey, EventStore, SEGMENT_BYTES, SEGMENT_MILLISECONDS, Stats, Sync};

/// A stream that was asked for since the start.
#[derive(Debug)]
pub(crate) struct Stream {
    directory: PathBuf,
    last_use: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None`: nothing was read yet, or it was let go.
    segments: Option<Vec<Segment>>,
    /// The last segment's file, while open for writing.
    file: Option<Arc<File>>,
    /// Whether the last segment may be written to: not after a start that found it torn.
    last_is_whole: bool,
    /// Stays when the segments are let go.
    stats: Option<Stats>,
    deleted: bool,
}

/// A part of a stream that may hold what a query asks for.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub path: Arc<PathBuf>,
    pub extent: Extent,
}

impl Stream {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, last_use: AtomicU64::new(0), state: Mutex::default() }
    }

    pub(crate) fn used(&self, tick: u64) {
        self.last_use.store(tick, Ordering::Relaxed);
    }

    pub(crate) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the block of a put; answers with the last event's key and the bytes written.
    pub(crate) fn append(
        &self,
        store: &EventStore,
        ingestion_time: i64,
        events: &[Event<'_>],
    ) -> Result<(EventKey, u64), AppendError> {
        let mut state = self.lock();
        if state.deleted {
            return Err(AppendError::Deleted);
        }
        self.load(store, &mut state)?;
        self.make_ready(store, &mut state, ingestion_time)?;
        let put = store.next_number()?;
        let mut bytes = Vec::with_capacity(events.iter().map(|event| event.message.len() + 8).sum());
        let head = block::encode(&mut bytes, put, ingestion_time, events);
        let State { segments: Some(segments), file: Some(file), stats, .. } = &mut *state else {
            return Err(io::Error::other("the log stream has no file").into());
        };
        let Some(last) = segments.last_mut() else {
            return Err(io::Error::other("the log stream has no segment").into());
        };
        if let Err(error) = file.write_all_at(&bytes, last.bytes) {
            // Whole blocks only. If this fails too, the next start finds the torn block and goes on behind it.
            let _ = file.set_len(last.bytes);
            return Err(error.into());
        }
        if store.sync == Sync::BeforeAcknowledging {
            file.sync_data()?;
        } else {
            store.syncer.file(file);
        }
        let extents_before = last.extents.len();
        last.add(&head);
        store.extents.fetch_add(last.extents.len() - extents_before, Ordering::Relaxed);
        let stats = stats.get_or_insert_default();
        stats.first_timestamp = Some(stats.first_timestamp.map_or(head.first, |first| first.min(head.first)));
        stats.last_timestamp = stats.last_timestamp.max(Some(head.last));
        stats.last_ingestion_time = stats.last_ingestion_time.max(Some(ingestion_time));
        stats.bytes += bytes.len() as u64;
        let index = u16::try_from(events.len().saturating_sub(1)).unwrap_or(u16::MAX);
        Ok((EventKey { timestamp: head.last, put, index }, bytes.len() as u64))
    }

    /// What is known of the stream.
    pub(crate) fn stats(&self, store: &EventStore) -> io::Result<Stats> {
        let mut state = self.lock();
        if state.stats.is_none() {
            self.load(store, &mut state)?;
        }
        Ok(state.stats.unwrap_or_default())
    }

    /// The pieces that may hold events from `first` to `last` (both included).
    pub(crate) fn pieces(
        &self,
        store: &EventStore,
        first: i64,
        last: i64,
        into: &mut Vec<Piece>,
    ) -> io::Result<()> {
        let mut state = self.lock();
        if state.deleted {
            return Ok(());
        }
        if let Some(stats) = &state.stats
            && (stats.first_timestamp > Some(last) || stats.last_timestamp.is_none_or(|at| at < first))
        {
            return Ok(());
        }
        self.load(store, &mut state)?;
        for segment in state.segments.iter().flatten() {
            let mut path = None;
            for extent in segment.extents.iter().filter(|extent| extent.first <= last && extent.last >= first)
            {
                let path =
                    path.get_or_insert_with(|| Arc::new(segment::data_path(&self.directory, segment.number)));
                into.push(Piece { path: Arc::clone(path), extent: *extent });
            }
        }
        Ok(())
    }

    /// Removes the segments that hold nothing from `cutoff` on; answers with the bytes.
    pub(crate) fn expire(&self, store: &EventStore, cutoff: i64) -> io::Result<u64> {
        let mut state = self.lock();
        if state.stats.is_some_and(|stats| stats.first_timestamp.is_none_or(|first| first >= cutoff)) {
            return Ok(0);
        }
        self.load(store, &mut state)?;
        let State { segments: Some(segments), file, last_is_whole, .. } = &mut *state else { return Ok(0) };
        let last_number = segments.last().map(|segment| segment.number);
        let mut removed = 0;
        let mut kept = Vec::with_capacity(segments.len());
        for segment in segments.drain(..) {
            if segment.last().is_none_or(|last| last < cutoff) {
                if Some(segment.number) == last_number {
                    *last_is_whole = false;
                    if file.take().is_some() {
                        store.open_files.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                segment::remove(&self.directory, segment.number)?;
                store.extents.fetch_sub(segment.extents.len(), Ordering::Relaxed);
                removed += segment.bytes;
            } else {
                kept.push(segment);
            }
        }
        *segments = kept;
        let last_ingestion_time = state.stats.and_then(|stats| stats.last_ingestion_time);
        let stats = stats_of(state.segments.as_deref().unwrap_or_default());
        state.stats = Some(Stats { last_ingestion_time, ..stats });
        Ok(removed)
    }

    /// The stream takes and gives no more events.
    pub(crate) fn delete(&self, store: &EventStore) {
        let mut state = self.lock();
        state.deleted = true;
        close(store, &mut state);
        let segments = state.segments.take().unwrap_or_default();
        store.extents.fetch_sub(extents_of(&segments), Ordering::Relaxed);
        state.stats = None;
    }

    /// Closes the file. A later put opens it again.
    pub(crate) fn close_file(&self, store: &EventStore) {
        close(store, &mut self.lock());
    }

    /// Lets the index go. It is read again when it is needed.
    pub(crate) fn unload(&self, store: &EventStore) {
        let mut state = self.lock();
        close(store, &mut state);
        if let Some(segments) = state.segments.take() {
            store.extents.fetch_sub(extents_of(&segments), Ordering::Relaxed);
        }
    }

    fn load(&self, store: &EventStore, state: &mut State) -> io::Result<()> {
        if state.segments.is_some() {
            return Ok(());
        }
        let mut segments = Vec::new();
        state.last_is_whole = false;
        for number in segment::numbers(&self.directory)? {
            let (segment, torn) = segment::load(&self.directory, number)?;
            if torn {
                let file = segment::data_path(&self.directory, number);
                let bytes = segment.bytes;
                tracing::warn!(file = %file.display(), bytes, "behind these bytes a log segment holds no whole block");
            }
            state.last_is_whole = !torn;
            segments.push(segment);
        }
        store.extents.fetch_add(extents_of(&segments), Ordering::Relaxed);
        if state.stats.is_none() {
            state.stats = Some(stats_of(&segments));
        }
        state.segments = Some(segments);
        Ok(())
    }

    /// Makes sure that the last segment is open and may grow.
    fn make_ready(&self, store: &EventStore, state: &mut State, ingestion_time: i64) -> io::Result<()> {
        let Some(segments) = &mut state.segments else { return Ok(()) };
        let reusable = segments.last().filter(|last| {
            state.last_is_whole
                && last.bytes < SEGMENT_BYTES
                && ingestion_time.saturating_sub(last.first_ingestion) < SEGMENT_MILLISECONDS
        });
        if let Some(last) = reusable {
            if state.file.is_none() {
                let path = segment::data_path(&self.directory, last.number);
                state.file = Some(Arc::new(OpenOptions::new().write(true).open(path)?));
                store.open_files.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(());
        }
        let number = match segments.last() {
            Some(finished) => {
                // Only a shortcut for the next start: without it the segment is read.
                if state.last_is_whole
                    && let Err(error) = segment::write_index(&self.directory, finished)
                {
                    tracing::warn!(%error, directory = %self.directory.display(), "no index of a log segment");
                }
                finished.number.saturating_add(1)
            }
            None => 0,
        };
        fs::create_dir_all(&self.directory)?;
        let path = segment::data_path(&self.directory, number);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        if store.sync == Sync::BeforeAcknowledging {
            for directory in self.directory.ancestors().take(3) {
                File::open(directory)?.sync_all()?;
            }
        } else {
            self.directory.ancestors().take(3).for_each(|path| store.syncer.directory(path.to_owned()));
        }
        if state.file.replace(Arc::new(file)).is_none() {
            store.open_files.fetch_add(1, Ordering::Relaxed);
        }
        segments.push(Segment::new(number));
        state.last_is_whole = true;
        Ok(())
    }
}

fn close(store: &EventStore, state: &mut State) {
    if state.file.take().is_some() {
        store.open_files.fetch_sub(1, Ordering::Relaxed);
    }
}

fn extents_of(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| segment.extents.len()).sum()
}

fn stats_of(segments: &[Segment]) -> Stats {
    let ingestions =
        segments.iter().filter(|segment| segment.bytes > 0).map(|segment| segment.last_ingestion);
    Stats {
        first_timestamp: segments.iter().filter_map(Segment::first).min(),
        last_timestamp: segments.iter().filter_map(Segment::last).max(),
        last_ingestion_time: ingestions.max(),
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
    }
}
