//! A bounded queue of log records on disk, between the shim of a container (the [`Writer`], which outlives the agent)
//! and the agent (the [`Reader`]). Synchronous and small: the writer keeps one buffer of [`WRITE_BUFFER_BYTES`].
//!
//! On disk, under the spool's directory:
//! - `records/segment-<start>`: records one behind the other; `<start>` is the position of its first byte in the
//!   whole stream, in sixteen hexadecimal digits. Only the last segment grows; consumed ones are deleted by the reader.
//! - `records/writer`: locked (`flock(2)`) for as long as the writer lives, so that the reader knows when no more comes,
//!   even if the writer was killed.
//! - `acknowledged`: the position up to which the reader has done its work, with a checksum, rewritten in place.
//!
//! What was [flushed](Writer::flush) survives `kill -9` of either side, because it is with the kernel. Nothing is
//! forced to the disk: a machine that loses power loses the container too. A record whose bytes are not all there, or
//! whose checksum is wrong, ends its segment; a writer that opens an old directory starts a new segment behind it.

mod json_file;
mod layout;
mod reader;
mod record;
mod size;
mod watcher;
mod writer;

use serde::{Deserialize, Serialize};

pub use json_file::{JsonFileOptions, JsonFileWriter};
pub use reader::Reader;
pub use record::{Position, Record};
pub use size::{OptionError, parse_size};
pub use watcher::{WatchId, Watcher};
pub use writer::{Appended, Writer};

/// Bytes of one record's content at most. The shim reads a pipe in pieces of 16 KiB, as Docker does.
pub const RECORD_BYTES_MAXIMUM: usize = 256 * 1024;
/// Bytes that the writer gathers before it hands them to the kernel of its own accord.
pub const WRITE_BUFFER_BYTES: usize = 32 * 1024;
/// The smallest capacity; smaller ones are raised to it.
pub const CAPACITY_BYTES_MINIMUM: u64 = 4 * 1024;

/// Which of the container's two outputs a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// What happens to new records while the spool is full. The log option `mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The writer stops reading, and so the container stops at its next write.
    Blocking,
    /// They are dropped and counted; a marker record tells the count once there is room.
    #[default]
    NonBlocking,
}

/// How a [`Writer`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Bytes of records (18 bytes of head each included) that wait unacknowledged at most. The log option `max-buffer-size`.
    pub capacity_bytes: u64,
    /// What to do when they do.
    pub mode: Mode,
    /// Bytes after which a new segment is begun; the disk holds at most the capacity and one segment.
    pub segment_bytes: u64,
}

impl Options {
    /// Options for `capacity_bytes`, with segments of an eighth of it (64 KiB to 8 MiB).
    pub fn new(capacity_bytes: u64, mode: Mode) -> Self {
        Self {
            capacity_bytes: capacity_bytes.max(CAPACITY_BYTES_MINIMUM),
            mode,
            segment_bytes: (capacity_bytes / 8).clamp(64 * 1024, 8 * 1024 * 1024),
        }
    }
}

impl Default for Options {
    /// 10 MiB, non-blocking: what ECS sets where a task definition says nothing. Source: "Send Amazon ECS logs to CloudWatch".
    fn default() -> Self {
        Self::new(10 * 1024 * 1024, Mode::NonBlocking)
    }
}
