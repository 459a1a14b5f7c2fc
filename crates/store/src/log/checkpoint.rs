//! Checkpoints: all rows as of one version in one file, so that the log before it can go.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::disk::Disk;
use super::format::{FileKind, FrameKind, FrameWriter, UNIT, file_header};
use super::recover::{FileName, parse_name};
use crate::Version;
use crate::state::{Registry, State};

/// Bytes of rows in a frame, not counting the row that passes the mark.
const FRAME_BYTES: usize = 256 * 1024;
/// Bytes between fsyncs: a big one at the end would hold up the log's.
const SYNC_BYTES: u64 = 2 * 1024 * 1024;

/// The name of the checkpoint of a version.
pub(super) fn checkpoint_name(version: Version) -> String {
    format!("checkpoint-{version:020}")
}

/// Makes checkpoints on a thread of its own, one at a time.
pub(super) struct Checkpointer {
    disk: Disk,
    /// Tests that need it done at once have it done by the caller.
    inline: bool,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Checkpointer {
    pub fn new(disk: Disk, inline: bool) -> Self {
        Self { disk, inline, thread: None, stop: Arc::new(AtomicBool::new(false)) }
    }

    pub fn is_busy(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Writes the rows of `state`, then removes the files that they replace. A failure is told in the log and costs
    /// nothing but disk space: the old files stay.
    pub fn start(&mut self, registry: Arc<Registry>, state: Arc<State>, bytes: Arc<AtomicU64>) {
        let (disk, stop) = (self.disk.clone(), Arc::clone(&self.stop));
        let work = move || match write(&disk, &registry, &state, &stop) {
            Ok(written) => bytes.store(written, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, version = %state.version, "no checkpoint of the store was made");
            }
        };
        if self.inline {
            return work();
        }
        match std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(work) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tracing::warn!(%error, "no thread for a checkpoint of the store"),
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(disk: &Disk, registry: &Registry, state: &State, stop: &AtomicBool) -> io::Result<u64> {
    let name = checkpoint_name(state.version);
    let temporary = format!("{name}.tmp");
    match write_rows(disk, &temporary, registry, state, stop) {
        Ok(bytes) => {
            disk.rename(&temporary, &name)?;
            remove_replaced(disk, state.version)?;
            Ok(bytes)
        }
        Err(error) => {
            let _ = disk.remove(&temporary);
            Err(error)
        }
    }
}

fn write_rows(
    disk: &Disk,
    name: &str,
    registry: &Registry,
    state: &State,
    stop: &AtomicBool,
) -> io::Result<u64> {
    let file = disk.create(name)?;
    let version = state.version;
    let mut end = 0;
    let mut synced = 0;
    let mut write = |bytes: &[u8]| {
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the store is being closed"));
        }
        file.write_at(bytes, end)?;
        end += bytes.len() as u64;
        if end - synced >= SYNC_BYTES {
            file.sync()?;
            synced = end;
        }
        Ok(end)
    };
    write(&file_header(FileKind::Checkpoint, version))?;
    let mut rows = 0;
    let mut frame = FrameWriter::with_capacity(FRAME_BYTES);
    for (position, table) in state.tables.iter().enumerate() {
        let row_type = registry.row_type(position);
        for (key, entry) in table.rows.iter() {
            let json = registry.json(position, &entry.row).map_err(io::Error::other)?;
            frame.entry(entry.revision.0, row_type.table.name, key, Some((row_type.format, &json)));
            rows += 1;
            if frame.payload_length() >= FRAME_BYTES {
                write(&frame.finish(FrameKind::Rows, version, version, None))?;
                frame = FrameWriter::with_capacity(FRAME_BYTES);
            }
        }
    }
    if frame.payload_length() > 0 {
        write(&frame.finish(FrameKind::Rows, version, version, None))?;
    }
    let bytes =
        write(&FrameWriter::with_capacity(UNIT).finish(FrameKind::End, version, version, Some(rows)))?;
    file.sync()?;
    Ok(bytes)
}

/// Removes older checkpoints, and log files that end before the version. The log went on in the file that starts
/// right after it.
fn remove_replaced(disk: &Disk, version: Version) -> io::Result<()> {
    for name in disk.names()? {
        match parse_name(&name) {
            FileName::Log(first) if first <= version => disk.remove(&name)?,
            FileName::Checkpoint(older) if older < version => disk.remove(&name)?,
            _ => {}
        }
    }
    disk.sync_directory()
}
