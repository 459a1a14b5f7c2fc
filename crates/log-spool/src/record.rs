//! One record, and its form on disk.
//!
//! `length: u32 | checksum: u32 | unix_nanoseconds: i64 | flags: u8 | reserved: u8 | content`, little-endian; `length` is
//! that of the content, the checksum (CRC-32) covers all behind it and the length itself.

use serde::{Deserialize, Serialize};

use crate::{RECORD_BYTES_MAXIMUM, Stream};

/// Bytes before a record's content.
pub(crate) const HEAD_BYTES: usize = 18;
const FLAG_STDERR: u8 = 1;
const FLAG_PARTIAL: u8 = 2;
const FLAG_LOST: u8 = 4;

/// A place in the stream of records: bytes since its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// A line, or a piece of one, that a container wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it was written.
    pub stream: Stream,
    /// Whether the line goes on in this stream's next record.
    pub partial: bool,
    /// When it was read from the container, in nanoseconds since the Unix epoch.
    pub unix_nanoseconds: i64,
    /// The content without its newline, as the container wrote it.
    pub bytes: Vec<u8>,
    /// For a marker, how many records were lost in its place, because the spool was full; its `bytes` say so in words.
    /// 0 for all that the container wrote.
    pub lost: u64,
    /// Acknowledging this position says that this record and all before it are done with.
    pub end: Position,
}

/// What [`decode`] finds at the head of some bytes.
pub(crate) enum Decoded {
    /// A record of that many bytes; its `end` is counted from the given start.
    Record(Record, usize),
    /// Not all of a record is there.
    Incomplete,
    /// No record can begin like this.
    Damaged,
}

/// Appends the disk form of a record to `into`.
pub(crate) fn encode(
    into: &mut Vec<u8>,
    stream: Stream,
    partial: bool,
    lost: bool,
    unix_nanoseconds: i64,
    content: &[u8],
) {
    let mut flags = 0;
    if stream == Stream::Stderr {
        flags |= FLAG_STDERR;
    }
    if partial {
        flags |= FLAG_PARTIAL;
    }
    if lost {
        flags |= FLAG_LOST;
    }
    let length = (content.len() as u32).to_le_bytes();
    let start = into.len();
    into.extend_from_slice(&length);
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&unix_nanoseconds.to_le_bytes());
    into.extend_from_slice(&[flags, 0]);
    into.extend_from_slice(content);
    let checksum = checksum(length, &into[start + 8..]);
    into[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads the record at the head of `bytes`, which stand at `start` in the stream.
pub(crate) fn decode(bytes: &[u8], start: u64) -> Decoded {
    let Some((head, rest)) = bytes.split_at_checked(8) else { return Decoded::Incomplete };
    let length_bytes = [head[0], head[1], head[2], head[3]];
    let length = u32::from_le_bytes(length_bytes) as usize;
    if length > RECORD_BYTES_MAXIMUM {
        return Decoded::Damaged;
    }
    let Some(body) = rest.get(..HEAD_BYTES - 8 + length) else { return Decoded::Incomplete };
    if checksum(length_bytes, body) != u32::from_le_bytes([head[4], head[5], head[6], head[7]]) {
        return Decoded::Damaged;
    }
    let Some((time, rest)) = body.split_first_chunk::<8>() else { return Decoded::Damaged };
    let [flags, _reserved, content @ ..] = rest else { return Decoded::Damaged };
    let (lost, content) = if flags & FLAG_LOST == 0 {
        (0, content)
    } else {
        let Some((count, words)) = content.split_first_chunk::<8>() else { return Decoded::Damaged };
        (u64::from_le_bytes(*count), words)
    };
    let size = HEAD_BYTES + length;
    let record = Record {
        stream: if flags & FLAG_STDERR == 0 { Stream::Stdout } else { Stream::Stderr },
        partial: flags & FLAG_PARTIAL != 0,
        unix_nanoseconds: i64::from_le_bytes(*time),
        bytes: content.to_vec(),
        lost,
        end: Position(start.saturating_add(size as u64)),
    };
    Decoded::Record(record, size)
}

/// The content of a marker for `records` lost records of `bytes` bytes.
pub(crate) fn lost_content(records: u64, bytes: u64) -> Vec<u8> {
    let mut content = records.to_le_bytes().to_vec();
    content.extend_from_slice(
        format!("[{records} log records ({bytes} bytes) were dropped here: the log buffer was full]")
            .as_bytes(),
    );
    content
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}
