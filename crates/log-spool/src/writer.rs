//! The shim's side.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::layout::{self, Acknowledgement};
use crate::record::{self, HEAD_BYTES};
use crate::{Mode, Options, RECORD_BYTES_MAXIMUM, Stream, WRITE_BUFFER_BYTES};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It is in the spool (or in the writer's buffer, until the next [`Writer::flush`]).
    Written,
    /// Non-blocking mode: there was no room; it was counted and forgotten.
    Dropped,
    /// Blocking mode: there is no room, and the record was not taken. Stop reading the pipe until [`Writer::room_fd`]
    /// becomes readable and [`Writer::room`] says so, then append the same record again.
    Full,
}

/// What was lost since the last marker.
#[derive(Debug, Default)]
struct Lost {
    records: u64,
    bytes: u64,
    unix_nanoseconds: i64,
}

/// The writing end of a spool. There is one at a time; dropping it flushes and tells the reader that no more comes.
#[derive(Debug)]
pub struct Writer {
    records: PathBuf,
    acknowledgement_path: PathBuf,
    options: Options,
    file: File,
    segment_start: u64,
    /// Bytes of whole records in the current segment's file.
    file_bytes: u64,
    buffer: Vec<u8>,
    buffered_records: u64,
    acknowledgement: Acknowledgement,
    acknowledged: u64,
    lost: Lost,
    /// What a marker in the buffer tells; owed again where the buffer cannot be written.
    lost_in_buffer: Lost,
    /// Per stream: a piece of the line was lost, so the rest of it is too, or else two halves would be joined.
    inside_lost_line: [bool; 2],
    /// There while the spool is full in blocking mode. Made on demand: a user has only 128 inotify instances by default.
    room_watch: Option<Inotify>,
    _lock: Flock<File>,
}

impl Writer {
    /// Opens the spool in `directory`, which is made where it is missing, behind whatever it holds.
    pub fn open(directory: &Path, options: Options) -> io::Result<Self> {
        layout::create_directories(directory)?;
        let records = layout::records_directory(directory);
        let lock = layout::lock_for_writing(&records)?;
        let acknowledgement = Acknowledgement::open(directory)?;
        let oldest_and_newest = {
            let segments = layout::segments(&records)?;
            segments.first().copied().zip(segments.last().copied())
        };
        let mut acknowledged = acknowledgement.read()?.unwrap_or(0);
        let mut start = acknowledged;
        if let Some((oldest, newest)) = oldest_and_newest {
            acknowledged = acknowledged.max(oldest);
            let length = layout::segment_path(&records, newest).metadata()?.len();
            // The file's length, torn record and all: a reader gets there only by way of the next segment's name.
            start = start.max(newest.saturating_add(length));
        }
        let file = create_segment(&records, start)?;
        Ok(Self {
            acknowledgement_path: layout::acknowledgement_path(directory),
            records,
            options,
            file,
            segment_start: start,
            file_bytes: 0,
            buffer: Vec::new(),
            buffered_records: 0,
            acknowledgement,
            acknowledged,
            lost: Lost::default(),
            lost_in_buffer: Lost::default(),
            inside_lost_line: [false; 2],
            room_watch: None,
            _lock: lock,
        })
    }

    /// Takes a line, or a piece of one if `partial`. `bytes` have no newline and are at most
    /// [`RECORD_BYTES_MAXIMUM`](crate::RECORD_BYTES_MAXIMUM) long.
    ///
    /// An error means that the spool's files cannot be written; the record counts as lost then. A full disk is no error:
    /// what does not fit is lost and counted, in both modes, so that a full disk stops no container.
    pub fn append(
        &mut self,
        stream: Stream,
        partial: bool,
        unix_nanoseconds: i64,
        bytes: &[u8],
    ) -> io::Result<Appended> {
        if bytes.len() > RECORD_BYTES_MAXIMUM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the log record is too long"));
        }
        let stream_index = usize::from(stream == Stream::Stderr);
        if self.inside_lost_line[stream_index] || !self.has_room_for(bytes.len())? {
            if self.options.mode == Mode::Blocking && !self.inside_lost_line[stream_index] {
                if !self.room_after_watching(bytes.len())? {
                    return Ok(Appended::Full);
                }
            } else {
                self.inside_lost_line[stream_index] = partial;
                self.lost.records += 1;
                self.lost.bytes += bytes.len() as u64;
                self.lost.unix_nanoseconds = unix_nanoseconds;
                return Ok(Appended::Dropped);
            }
        }
        self.room_watch = None;
        self.put_lost_marker();
        record::encode(&mut self.buffer, stream, partial, false, unix_nanoseconds, bytes);
        self.buffered_records += 1;
        if self.buffer.len() >= WRITE_BUFFER_BYTES {
            self.flush()?;
        }
        Ok(Appended::Written)
    }

    /// Hands what is buffered to the kernel, where it survives this process. Call it whenever the pipes are drained.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let outcome = self.write_buffer();
        if outcome.is_ok() {
            self.file_bytes += self.buffer.len() as u64;
        } else {
            // Whole records only: take back what was written in part. If even that fails, the checksum shows it.
            let _ = self.file.set_len(self.file_bytes);
            self.lost.records += self.buffered_records + self.lost_in_buffer.records;
            self.lost.bytes += self.buffer.len() as u64 + self.lost_in_buffer.bytes;
        }
        self.lost_in_buffer = Lost::default();
        self.buffer.clear();
        self.buffered_records = 0;
        match outcome {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Becomes readable when the reader acknowledges something. Blocking mode: valid after [`Appended::Full`] and until the
    /// next append that is not; `None` otherwise.
    pub fn room_fd(&self) -> Option<BorrowedFd<'_>> {
        self.room_watch.as_ref().map(AsFd::as_fd)
    }

    /// Whether a record of `bytes` content bytes would be taken now. Takes the pending events from [`Writer::room_fd`].
    pub fn room(&mut self, bytes: usize) -> io::Result<bool> {
        if let Some(watch) = &self.room_watch {
            // Nothing to learn from them but that they came; "none there" is no error.
            let _ = watch.read_events();
        }
        self.has_room_for(bytes)
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        if self.file_bytes >= self.options.segment_bytes {
            let start = self.segment_start + self.file_bytes;
            self.file = create_segment(&self.records, start)?;
            self.segment_start = start;
            self.file_bytes = 0;
        }
        self.file.write_all(&self.buffer)
    }

    fn used(&self) -> u64 {
        (self.segment_start + self.file_bytes + self.buffer.len() as u64).saturating_sub(self.acknowledged)
    }

    fn has_room_for(&mut self, content_bytes: usize) -> io::Result<bool> {
        let mut need = (HEAD_BYTES + content_bytes) as u64;
        if self.lost.records > 0 {
            // After a loss wait for a quarter of the capacity, or else every second record would be a marker.
            need = (need + 128).max(self.options.capacity_bytes / 4);
        }
        if self.fits(need) {
            return Ok(true);
        }
        // Only now is it worth a system call to see what the reader has done since. What is buffered must be seen by it.
        self.flush()?;
        if let Some(position) = self.acknowledgement.read()? {
            self.acknowledged = self.acknowledged.max(position);
        }
        Ok(self.fits(need))
    }

    /// A record that is larger than the whole capacity fits an empty spool: it would never fit otherwise.
    fn fits(&self, need: u64) -> bool {
        let used = self.used();
        used == 0 || used + need <= self.options.capacity_bytes
    }

    /// Watches the acknowledgement and looks once more, so that none slips between the look and the watch.
    fn room_after_watching(&mut self, content_bytes: usize) -> io::Result<bool> {
        if self.room_watch.is_none() {
            let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            watch.add_watch(&self.acknowledgement_path, AddWatchFlags::IN_MODIFY)?;
            self.room_watch = Some(watch);
        }
        self.has_room_for(content_bytes)
    }

    fn put_lost_marker(&mut self) {
        if self.lost.records > 0 {
            let lost = std::mem::take(&mut self.lost);
            let content = record::lost_content(lost.records, lost.bytes);
            record::encode(&mut self.buffer, Stream::Stderr, false, true, lost.unix_nanoseconds, &content);
            self.lost_in_buffer.records += lost.records;
            self.lost_in_buffer.bytes += lost.bytes;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The marker may exceed the capacity by its hundred bytes: a loss at the very end must not go untold.
        self.put_lost_marker();
        let _ = self.flush();
    }
}

fn create_segment(records: &Path, start: u64) -> io::Result<File> {
    let path = layout::segment_path(records, start);
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
