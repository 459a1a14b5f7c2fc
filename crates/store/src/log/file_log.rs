//! The embedded log: one file that grows, into space written with zeros beforehand, so that a commit is one write and
//! one fdatasync that has no length to bring to disk (half the time of one that does).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::checkpoint::Checkpointer;
use super::disk::{Disk, DiskFile, Hook};
use super::format::{FileKind, FrameKind, FrameWriter, UNIT, file_header};
use super::recover::{Recovered, recover};
use super::{Log, LogError, Record};
use crate::Version;
use crate::state::{Registry, State};
use crate::store::OpenError;

/// Bytes of zeros written ahead of the log's end.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes written ahead in a new file, and where there is no room for more.
const RESERVE_STEP: u64 = 64 * 1024;
/// Bytes of log, at least, before a checkpoint is made and the log behind it removed; or as many as the last
/// checkpoint has. So the disk holds about three times the live rows, and writing them again costs as much as the
/// log did.
const CHECKPOINT_AFTER_BYTES: u64 = 16 * 1024 * 1024;

static ZEROS: [u8; 1024 * 1024] = [0; 1024 * 1024];

/// What tests change.
pub(crate) struct Tuning {
    pub hook: Option<Hook>,
    pub checkpoint_after_bytes: u64,
    pub reserve_bytes: u64,
    pub reserve_step: u64,
    pub checkpoint_inline: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            hook: None,
            checkpoint_after_bytes: CHECKPOINT_AFTER_BYTES,
            reserve_bytes: RESERVE_BYTES,
            reserve_step: RESERVE_STEP,
            checkpoint_inline: false,
        }
    }
}

/// A log in files.
pub(crate) struct FileLog {
    disk: Disk,
    file: DiskFile,
    /// Where the next frame starts.
    end: u64,
    /// The bytes up to here are on disk: frames, then zeros.
    reserved: u64,
    last: Version,
    /// Bytes of log since the last checkpoint, or since the last one that failed.
    since_checkpoint: u64,
    tuning: Tuning,
    /// Bytes of the newest checkpoint, kept true by the checkpointer.
    checkpoint_bytes: Arc<AtomicU64>,
    checkpointer: Checkpointer,
}

/// The name of the log file whose first transaction is `first`.
pub(super) fn log_name(first: Version) -> String {
    format!("log-{first:020}")
}

/// Opens the log in a directory that is locked, and reads all that it keeps.
pub(crate) fn open(
    directory: &Path,
    registry: &Registry,
    tuning: Tuning,
) -> Result<(FileLog, Recovered), OpenError> {
    let disk = Disk::new(directory, tuning.hook.clone()).map_err(|source| OpenError::Io {
        what: "open",
        file: directory.to_owned(),
        source,
    })?;
    let io = |what| {
        let file = directory.to_owned();
        move |source| OpenError::Io { what, file, source }
    };
    let mut recovered = recover(&disk, registry)?;
    // The checkpoint that replaces files may have its name only in memory yet.
    disk.sync_directory().map_err(io("bring to disk"))?;
    for name in recovered.obsolete.drain(..) {
        disk.remove(&name).map_err(io("remove old files from"))?;
    }
    let (file, end) = match recovered.tail.take() {
        Some(tail) => {
            make_durable(&tail.file, &tail.last_frame, tail.end, tail.garbage).map_err(io("write"))?;
            (tail.file, tail.end)
        }
        None => (create(&disk, Version(1), tuning.reserve_step).map_err(io("write to"))?, UNIT as u64),
    };
    let log = FileLog {
        end,
        reserved: file.length().map_err(io("read"))?,
        last: recovered.version,
        since_checkpoint: recovered.log_bytes,
        checkpoint_bytes: Arc::new(AtomicU64::new(recovered.checkpoint_bytes)),
        checkpointer: Checkpointer::new(disk.clone(), tuning.checkpoint_inline),
        tuning,
        disk,
        file,
    };
    Ok((log, recovered))
}

/// Writes the last frame once more, and cuts off what follows it.
///
/// A process that dies of a failed fsync leaves its last frame in the page cache, where it is read as if it were on
/// disk, and where a second fsync says yes without writing it. Writing makes the pages dirty again.
fn make_durable(file: &DiskFile, last_frame: &[u8], end: u64, garbage: bool) -> io::Result<()> {
    if garbage {
        file.set_length(end)?;
    }
    file.write_at(last_frame, end - last_frame.len() as u64)?;
    file.sync()
}

/// Makes the log file whose first transaction is `first`.
fn create(disk: &Disk, first: Version, reserve: u64) -> io::Result<DiskFile> {
    let name = log_name(first);
    let temporary = format!("{name}.tmp");
    let made = (|| {
        let mut file = disk.create(&temporary)?;
        file.write_at(&file_header(FileKind::Log, first), 0)?;
        write_zeros(&file, UNIT as u64, reserve)?;
        file.sync()?;
        disk.rename(&temporary, &name)?;
        file.path = disk.path(&name);
        Ok(file)
    })();
    if made.is_err() {
        let _ = disk.remove(&temporary);
    }
    made
}

fn write_zeros(file: &DiskFile, mut from: u64, to: u64) -> io::Result<()> {
    while from < to {
        let length = (to - from).min(ZEROS.len() as u64);
        file.write_at(&ZEROS[..length as usize], from)?;
        from += length;
    }
    Ok(())
}

/// Whether an error says that there is no room.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl FileLog {
    fn keep(&mut self, frame: &[u8]) -> Result<(), LogError> {
        let end = self.end + frame.len() as u64;
        self.reserve(end)?;
        if let Err(error) = self.file.write_at(frame, self.end) {
            return Err(self.undo(&error, end));
        }
        self.file.sync().map_err(|error| self.failed("bring to disk", &error))?;
        self.end = end;
        self.since_checkpoint = self.since_checkpoint.saturating_add(frame.len() as u64);
        Ok(())
    }

    /// Sees that there is room up to `end`, so that the disk is full before a transaction is begun, not within one.
    fn reserve(&mut self, end: u64) -> Result<(), LogError> {
        if end <= self.reserved {
            return Ok(());
        }
        let least = end.next_multiple_of(self.tuning.reserve_step);
        for to in [least + self.tuning.reserve_bytes, least] {
            match write_zeros(&self.file, self.reserved, to) {
                Ok(()) => {
                    self.file.sync().map_err(|error| self.failed("bring to disk", &error))?;
                    self.reserved = to;
                    return Ok(());
                }
                // What was written of it goes back, for whoever needs it more.
                Err(error) if is_no_space(&error) => drop(self.file.set_length(self.reserved)),
                Err(error) => return Err(self.failed("write", &error)),
            }
        }
        Err(LogError::NoSpace)
    }

    /// A frame could not be written although its room was: copy-on-write file systems do that. Zeros take its place.
    fn undo(&self, error: &io::Error, end: u64) -> LogError {
        let undone = write_zeros(&self.file, self.end, end).and_then(|()| self.file.sync());
        if is_no_space(error) && undone.is_ok() { LogError::NoSpace } else { self.failed("write", error) }
    }

    fn failed(&self, what: &str, error: &io::Error) -> LogError {
        LogError::Failed(format!("cannot {what} {}: {error}", self.file.path.display()))
    }
}

impl Log for FileLog {
    fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let bytes =
            |record: &Record| record.writes.iter().map(|write| 128 + json_length(write)).sum::<usize>();
        let mut frame = FrameWriter::with_capacity(records.iter().map(bytes).sum());
        for record in records {
            for write in &record.writes {
                let value = write.value.as_ref().map(|(format, json)| (*format, json.as_slice()));
                frame.entry(record.version.0, write.table.name, &write.key, value);
            }
        }
        self.keep(&frame.finish(FrameKind::Transactions, first.version, last.version, None))?;
        self.last = last.version;
        Ok(())
    }

    fn clear(&mut self, version: Version) -> Result<(), LogError> {
        self.keep(&FrameWriter::with_capacity(0).finish(FrameKind::Clear, version, version, None))?;
        self.last = version;
        // What was cleared should leave the disk, too: a checkpoint is due.
        self.since_checkpoint = u64::MAX;
        Ok(())
    }

    /// Starts a checkpoint if one is due: the log goes on in a new file, and the rows as of its start are written by
    /// another thread, which then removes the files that they replace.
    fn maintain(&mut self, registry: &Arc<Registry>, state: &Arc<State>) -> Result<(), LogError> {
        let due = self.tuning.checkpoint_after_bytes.max(self.checkpoint_bytes.load(Ordering::Relaxed));
        if self.since_checkpoint < due || self.checkpointer.is_busy() {
            return Ok(());
        }
        self.since_checkpoint = 0;
        match create(&self.disk, Version(self.last.0 + 1), self.tuning.reserve_step) {
            Ok(file) => {
                self.file = file;
                self.end = UNIT as u64;
                self.reserved = self.file.length().map_err(|error| self.failed("read", &error))?;
            }
            Err(error) => {
                // A name that may or may not be on disk cannot be taken back: a later start would find a gap.
                if self.disk.path(&log_name(Version(self.last.0 + 1))).exists() {
                    return Err(self.failed("make the file after", &error));
                }
                tracing::warn!(%error, "the store's log cannot go on in a new file; it goes on in the old one");
                return Ok(());
            }
        }
        self.checkpointer.start(Arc::clone(registry), Arc::clone(state), Arc::clone(&self.checkpoint_bytes));
        Ok(())
    }
}

fn json_length(write: &super::RecordWrite) -> usize {
    write.value.as_ref().map_or(0, |(_, json)| json.len())
}
