//! The bytes on disk.
//!
//! A file is a header of [`UNIT`] bytes and then frames, each at a multiple of [`UNIT`]. A frame is a header of one
//! unit, a payload, and at least one byte [`PAD`] up to the next unit. Numbers are little-endian.
//!
//! ```text
//! file header   magic 8 · format u32 · kind u32 · version u64 · zeros · crc32c of the 60 bytes before u32
//! frame header  magic 8 · kind u32 · payload length u32 · first version u64 · last version u64 · entries u64 ·
//!               zeros · crc32c of payload and padding u32 · crc32c of the 60 bytes before u32
//! entry         revision u64 · put or delete u8 · row format u16 · table u8 + text · key u32 + text · JSON u32 + text
//! ```
//!
//! Why one unit: a disk writes sectors of 512 bytes or a multiple of them whole or not at all, and a header that starts
//! at a multiple of 64 lies within one sector. So a header that is neither zeros nor correct was damaged, never torn.
//! Why the padding: a frame that was written completely does not end in a zero byte, and has no sector of zeros. So a
//! frame with a wrong checksum that has neither was damaged, never torn. See `recover.rs`.

use crate::{Key, Version};

/// Alignment of frames, and size of both headers, in bytes.
pub(crate) const UNIT: usize = 64;
/// What a disk writes whole or not at all, in bytes.
pub(crate) const SECTOR: usize = 512;
/// Fills a frame up to the next unit.
pub(crate) const PAD: u8 = 0xff;
/// Bytes of a payload, checked when reading. A group has 8 MiB of rows and one more transaction of 16 MiB at most,
/// and up to 10,000 entries a transaction with their names.
pub(crate) const PAYLOAD_BYTES: usize = 256 * 1024 * 1024;
/// The file format that this version writes, and the only one so far.
pub(crate) const FILE_FORMAT: u32 = 1;

const FILE_MAGIC: [u8; 8] = *b"rdstead\n";
const FRAME_MAGIC: [u8; 8] = *b"\x89frame\r\n";

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Transactions, the first of them of the header's version or later.
    Log = 1,
    /// All rows as of the header's version.
    Checkpoint = 2,
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// The writes of one or more whole transactions.
    Transactions = 1,
    /// Every row goes.
    Clear = 2,
    /// Some rows of a checkpoint.
    Rows = 3,
    /// The end of a checkpoint; `entries` counts all of its rows.
    End = 4,
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Not written: zeros.
    Zeros,
    /// Neither zeros nor a header with its checksum.
    Damaged,
    /// A file of a format that this version does not know.
    Format(u32),
}

/// Writes a file's header.
pub(crate) fn file_header(kind: FileKind, version: Version) -> [u8; UNIT] {
    let mut header = [0; UNIT];
    header[..8].copy_from_slice(&FILE_MAGIC);
    header[8..12].copy_from_slice(&FILE_FORMAT.to_le_bytes());
    header[12..16].copy_from_slice(&(kind as u32).to_le_bytes());
    header[16..24].copy_from_slice(&version.0.to_le_bytes());
    seal(&mut header);
    header
}

/// Reads a file's header: its kind and version.
pub(crate) fn read_file_header(header: &[u8; UNIT]) -> Result<(FileKind, Version), HeaderError> {
    if !sealed(header) || header[..8] != FILE_MAGIC {
        return Err(if header.iter().all(|byte| *byte == 0) {
            HeaderError::Zeros
        } else {
            HeaderError::Damaged
        });
    }
    match u32_at(header, 8) {
        FILE_FORMAT => {}
        other => return Err(HeaderError::Format(other)),
    }
    let kind = match u32_at(header, 12) {
        1 => FileKind::Log,
        2 => FileKind::Checkpoint,
        _ => return Err(HeaderError::Damaged),
    };
    Ok((kind, Version(u64_at(header, 16))))
}

/// A frame's header, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub kind: FrameKind,
    pub payload_length: usize,
    pub first: Version,
    pub last: Version,
    pub entries: u64,
    pub checksum: u32,
}

impl FrameHeader {
    pub fn read(header: &[u8; UNIT]) -> Result<Self, HeaderError> {
        if header.iter().all(|byte| *byte == 0) {
            return Err(HeaderError::Zeros);
        }
        if !sealed(header) || header[..8] != FRAME_MAGIC {
            return Err(HeaderError::Damaged);
        }
        let kind = match u32_at(header, 8) {
            1 => FrameKind::Transactions,
            2 => FrameKind::Clear,
            3 => FrameKind::Rows,
            4 => FrameKind::End,
            _ => return Err(HeaderError::Damaged),
        };
        let read = Self {
            kind,
            payload_length: u32_at(header, 12) as usize,
            first: Version(u64_at(header, 16)),
            last: Version(u64_at(header, 24)),
            entries: u64_at(header, 32),
            checksum: u32_at(header, 56),
        };
        if read.payload_length > PAYLOAD_BYTES { Err(HeaderError::Damaged) } else { Ok(read) }
    }

    /// Bytes after the header: payload and padding.
    pub fn body_length(&self) -> usize {
        body_length(self.payload_length)
    }
}

fn body_length(payload: usize) -> usize {
    (payload + 1).next_multiple_of(UNIT)
}

/// A frame being written: room for the header, then the payload.
pub(crate) struct FrameWriter {
    bytes: Vec<u8>,
    entries: u64,
}

impl FrameWriter {
    pub fn with_capacity(payload: usize) -> Self {
        let mut bytes = Vec::with_capacity(2 * UNIT + payload);
        bytes.resize(UNIT, 0);
        Self { bytes, entries: 0 }
    }

    /// Bytes of payload so far.
    pub fn payload_length(&self) -> usize {
        self.bytes.len() - UNIT
    }

    /// Adds a row that is written (format and JSON) or removed.
    pub fn entry(&mut self, revision: u64, table: &str, key: &Key, value: Option<(u16, &[u8])>) {
        let (format, json) = value.unwrap_or((0, &[]));
        self.bytes.extend_from_slice(&revision.to_le_bytes());
        self.bytes.push(if value.is_some() { PUT } else { DELETE });
        self.bytes.extend_from_slice(&format.to_le_bytes());
        // Table names are constants of the program: `Registry::add` bounds them.
        self.bytes.push(table.len() as u8);
        self.bytes.extend_from_slice(table.as_bytes());
        for text in [key.as_str().as_bytes(), json] {
            // A transaction has less than 4 GiB: `TRANSACTION_BYTES`.
            self.bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(text);
        }
        self.entries += 1;
    }

    /// The whole frame.
    pub fn finish(mut self, kind: FrameKind, first: Version, last: Version, entries: Option<u64>) -> Vec<u8> {
        let payload = self.payload_length();
        self.bytes.resize(UNIT + body_length(payload), PAD);
        let checksum = crc32c::crc32c(&self.bytes[UNIT..]);
        let mut header = [0; UNIT];
        header[..8].copy_from_slice(&FRAME_MAGIC);
        header[8..12].copy_from_slice(&(kind as u32).to_le_bytes());
        header[12..16].copy_from_slice(&(payload as u32).to_le_bytes());
        header[16..24].copy_from_slice(&first.0.to_le_bytes());
        header[24..32].copy_from_slice(&last.0.to_le_bytes());
        header[32..40].copy_from_slice(&entries.unwrap_or(self.entries).to_le_bytes());
        header[56..60].copy_from_slice(&checksum.to_le_bytes());
        seal(&mut header);
        self.bytes[..UNIT].copy_from_slice(&header);
        self.bytes
    }
}

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// One entry of a payload, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub revision: u64,
    pub table: &'a str,
    pub key: &'a str,
    pub value: Option<(u16, &'a [u8])>,
}

/// Reads the entries of a payload one by one. `None` in place of an entry: the payload is malformed.
pub(crate) struct EntryReader<'a>(pub &'a [u8]);

impl<'a> Iterator for EntryReader<'a> {
    type Item = Option<Entry<'a>>;
    fn next(&mut self) -> Option<Option<Entry<'a>>> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_none() {
            self.0 = &[];
        }
        Some(entry)
    }
}

impl<'a> EntryReader<'a> {
    fn entry(&mut self) -> Option<Entry<'a>> {
        let revision = u64::from_le_bytes(self.array()?);
        let [what] = self.array()?;
        let format = u16::from_le_bytes(self.array()?);
        let [table_length] = self.array()?;
        let table = std::str::from_utf8(self.take(usize::from(table_length))?).ok()?;
        let key_length = u32::from_le_bytes(self.array()?) as usize;
        let key = std::str::from_utf8(self.take(key_length)?).ok()?;
        let json_length = u32::from_le_bytes(self.array()?) as usize;
        let json = self.take(json_length)?;
        let value = match what {
            PUT => Some((format, json)),
            DELETE => None,
            _ => return None,
        };
        Some(Entry { revision, table, key, value })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

/// Puts the checksum of a header in its place.
fn seal(header: &mut [u8; UNIT]) {
    let checksum = crc32c::crc32c(&header[..UNIT - 4]);
    header[UNIT - 4..].copy_from_slice(&checksum.to_le_bytes());
}

fn sealed(header: &[u8; UNIT]) -> bool {
    u32_at(header, UNIT - 4) == crc32c::crc32c(&header[..UNIT - 4])
}

fn u32_at(header: &[u8; UNIT], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn u64_at(header: &[u8; UNIT], at: usize) -> u64 {
    u64::from(u32_at(header, at)) | u64::from(u32_at(header, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_written() {
        let mut frame = FrameWriter::with_capacity(0);
        frame.entry(7, "tasks", &Key::global(&["a"]), Some((3, b"{}")));
        frame.entry(8, "tasks", &Key::global(&["b"]), None);
        let bytes = frame.finish(FrameKind::Transactions, Version(7), Version(8), None);
        assert_eq!(bytes.len() % UNIT, 0);
        assert_eq!(bytes.last(), Some(&PAD));
        let header = FrameHeader::read(bytes[..UNIT].try_into().unwrap()).unwrap();
        assert_eq!(
            (header.kind, header.first.0, header.last.0, header.entries),
            (FrameKind::Transactions, 7, 8, 2)
        );
        assert_eq!(header.body_length(), bytes.len() - UNIT);
        let entries: Vec<_> =
            EntryReader(&bytes[UNIT..UNIT + header.payload_length]).map(Option::unwrap).collect();
        let (a, b) = (Key::global(&["a"]), Key::global(&["b"]));
        assert_eq!(
            entries[0],
            Entry { revision: 7, table: "tasks", key: a.as_str(), value: Some((3, b"{}")) }
        );
        assert_eq!(entries[1], Entry { revision: 8, table: "tasks", key: b.as_str(), value: None });
    }

    #[test]
    fn f04_every_flipped_bit_of_a_header_is_noticed() {
        let header = file_header(FileKind::Log, Version(5));
        let frame = FrameWriter::with_capacity(0).finish(FrameKind::Clear, Version(5), Version(5), None);
        for bit in 0..UNIT * 8 {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_file_header(&flipped), Err(HeaderError::Damaged), "{bit}");
            let mut flipped: [u8; UNIT] = frame[..UNIT].try_into().unwrap();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::read(&flipped), Err(HeaderError::Damaged), "{bit}");
        }
    }

    #[test]
    fn malformed_entries_end_the_reading() {
        for bytes in [&[1][..], &[0; 8], &[0; 15], &[255; 40]] {
            assert_eq!(EntryReader(bytes).last().unwrap(), None);
        }
    }
}
