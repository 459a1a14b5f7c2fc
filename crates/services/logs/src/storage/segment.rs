//! One file of a stream's events: its sparse index, how it is scanned, and the index file of a finished one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::block::{self, BODY_BYTES_MAXIMUM, BlockHead, Found, HEAD_BYTES};

/// Bytes that one index entry stands for: what a read takes in at once to find a single event.
pub(crate) const EXTENT_BYTES: u32 = 128 * 1024;
const INDEX_MAGIC: u32 = 0x4c45_4958;
const INDEX_ENTRY_BYTES: usize = 28;
const INDEX_HEAD_BYTES: usize = 40;

/// Blocks one behind the other, with the time they span: an entry of the sparse index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub offset: u64,
    pub bytes: u32,
    pub first: i64,
    pub last: i64,
}

/// What is known of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub number: u32,
    /// Bytes of whole blocks, from the beginning.
    pub bytes: u64,
    pub extents: Vec<Extent>,
    pub first_ingestion: i64,
    pub last_ingestion: i64,
}

impl Segment {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, ..Self::default() }
    }

    /// Takes up a block that was appended.
    pub(crate) fn add(&mut self, head: &BlockHead) {
        let bytes = head.bytes() as u32;
        match self.extents.last_mut() {
            Some(extent) if extent.bytes + bytes <= EXTENT_BYTES => {
                extent.bytes += bytes;
                extent.first = extent.first.min(head.first);
                extent.last = extent.last.max(head.last);
            }
            _ => self.extents.push(Extent { offset: self.bytes, bytes, first: head.first, last: head.last }),
        }
        if self.bytes == 0 {
            self.first_ingestion = head.ingestion_time;
        }
        self.last_ingestion = self.last_ingestion.max(head.ingestion_time);
        self.bytes += u64::from(bytes);
    }

    /// The earliest timestamp.
    pub(crate) fn first(&self) -> Option<i64> {
        self.extents.iter().map(|extent| extent.first).min()
    }

    /// The latest timestamp.
    pub(crate) fn last(&self) -> Option<i64> {
        self.extents.iter().map(|extent| extent.last).max()
    }
}

/// The events' file.
pub(crate) fn data_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:08x}.events"))
}

/// The index of a finished segment.
pub(crate) fn index_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:08x}.index"))
}

/// The numbers of the segments in `directory`, ascending; none where there is no such directory.
pub(crate) fn numbers(directory: &Path) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".events"));
        numbers.extend(digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes a segment's files.
pub(crate) fn remove(directory: &Path, number: u32) -> io::Result<()> {
    for path in [index_path(directory, number), data_path(directory, number)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Reads what is known of a segment: from its index file, or by reading all of it. True: bytes behind the last whole block
/// are no block (the process was killed while writing, or the disk is damaged).
pub(crate) fn load(directory: &Path, number: u32) -> io::Result<(Segment, bool)> {
    if let Some(segment) = read_index(directory, number)? {
        return Ok((segment, false));
    }
    let file = File::open(data_path(directory, number))?;
    let length = file.metadata()?.len();
    let mut segment = Segment::new(number);
    let mut buffer = vec![0; HEAD_BYTES + BODY_BYTES_MAXIMUM];
    loop {
        let held = read_up_to(&file, &mut buffer, segment.bytes)?;
        let mut rest = buffer.get(..held).unwrap_or_default();
        let before = segment.bytes;
        while let Found::Block(head, _) = block::find(rest) {
            rest = rest.get(head.bytes()..).unwrap_or_default();
            segment.add(&head);
        }
        // A whole block always fits the buffer: no progress means that there is none.
        if segment.bytes == before {
            let torn = segment.bytes < length;
            return Ok((segment, torn));
        }
    }
}

/// Fills `buffer` from `offset` on, as far as the file goes.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut held = 0;
    while held < buffer.len() {
        match file.read_at(&mut buffer[held..], offset + held as u64) {
            Ok(0) => break,
            Ok(read) => held += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}

/// Writes the index file of a segment that grows no more, so that the next start need not read the segment.
pub(crate) fn write_index(directory: &Path, segment: &Segment) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(INDEX_HEAD_BYTES + segment.extents.len() * INDEX_ENTRY_BYTES);
    bytes.extend_from_slice(&INDEX_MAGIC.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&segment.bytes.to_le_bytes());
    bytes.extend_from_slice(&segment.first_ingestion.to_le_bytes());
    bytes.extend_from_slice(&segment.last_ingestion.to_le_bytes());
    bytes.extend_from_slice(&(segment.extents.len() as u64).to_le_bytes());
    for extent in &segment.extents {
        bytes.extend_from_slice(&extent.offset.to_le_bytes());
        bytes.extend_from_slice(&extent.bytes.to_le_bytes());
        bytes.extend_from_slice(&extent.first.to_le_bytes());
        bytes.extend_from_slice(&extent.last.to_le_bytes());
    }
    let checksum = crc32fast::hash(&bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    let path = index_path(directory, segment.number);
    let unfinished = path.with_extension("unfinished");
    File::create(&unfinished)?.write_all(&bytes)?;
    fs::rename(unfinished, path)
}

/// `None` where there is no index file or it is damaged: it only repeats what the segment says.
fn read_index(directory: &Path, number: u32) -> io::Result<Option<Segment>> {
    let bytes = match fs::read(index_path(directory, number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    Ok(decode_index(&bytes, number))
}

fn decode_index(bytes: &[u8], number: u32) -> Option<Segment> {
    let (head, entries) = bytes.split_first_chunk::<INDEX_HEAD_BYTES>()?;
    let checksum = crc32fast::hash(bytes.get(8..)?);
    let long = |at: usize| head.get(at..at + 8)?.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
    let count = usize::try_from(long(32)?).ok()?;
    if head[0..4] != INDEX_MAGIC.to_le_bytes()
        || head[4..8] != checksum.to_le_bytes()
        || entries.len() != count.checked_mul(INDEX_ENTRY_BYTES)?
    {
        return None;
    }
    let extents = entries.chunks_exact(INDEX_ENTRY_BYTES).map(|entry| {
        Some(Extent {
            offset: u64::from_le_bytes(*entry.first_chunk()?),
            bytes: u32::from_le_bytes(*entry.get(8..)?.first_chunk()?),
            first: i64::from_le_bytes(*entry.get(12..)?.first_chunk()?),
            last: i64::from_le_bytes(*entry.get(20..)?.first_chunk()?),
        })
    });
    Some(Segment {
        number,
        bytes: long(8)?.unsigned_abs(),
        first_ingestion: long(16)?,
        last_ingestion: long(24)?,
        extents: extents.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    fn write_segment(directory: &Path, blocks: usize, message_bytes: usize) -> (Segment, Vec<u8>) {
        let mut segment = Segment::new(3);
        let mut bytes = Vec::new();
        let message = "m".repeat(message_bytes);
        for index in 0..blocks {
            let timestamp = 1000 + index as i64;
            let events =
                [Event { timestamp, message: &message }, Event { timestamp: timestamp + 5, message: "x" }];
            let head = block::encode(&mut bytes, index as u64, 50 + index as i64, &events);
            segment.add(&head);
        }
        fs::write(data_path(directory, 3), &bytes).unwrap();
        (segment, bytes)
    }

    #[test]
    fn a_segment_is_known_from_its_index_and_without() {
        let directory = tempfile::tempdir().unwrap();
        let (segment, bytes) = write_segment(directory.path(), 500, 3000);
        assert!(segment.extents.len() > 5 && segment.extents.len() < 30, "{}", segment.extents.len());
        assert_eq!((segment.first(), segment.last()), (Some(1000), Some(1504)));
        assert_eq!(segment.bytes, bytes.len() as u64);
        assert_eq!(load(directory.path(), 3).unwrap(), (segment.clone(), false));
        write_index(directory.path(), &segment).unwrap();
        assert_eq!(read_index(directory.path(), 3).unwrap(), Some(segment.clone()));
        let path = index_path(directory.path(), 3);
        let index = fs::read(&path).unwrap();
        for at in [0, 5, 9, 40, index.len() - 1] {
            let mut damaged = index.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(read_index(directory.path(), 3).unwrap(), None, "{at}");
            assert_eq!(load(directory.path(), 3).unwrap(), (segment.clone(), false));
        }
        fs::write(&path, &index[..20]).unwrap();
        assert_eq!(read_index(directory.path(), 3).unwrap(), None);
    }

    #[test]
    fn a_torn_tail_at_every_byte_of_the_last_block_leaves_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let (_, bytes) = write_segment(directory.path(), 2, 30);
        let last_block = bytes.len() / 2;
        for cut in 1..last_block {
            fs::write(data_path(directory.path(), 3), &bytes[..bytes.len() - cut]).unwrap();
            let (segment, torn) = load(directory.path(), 3).unwrap();
            assert_eq!((segment.bytes, torn), (last_block as u64, true), "{cut}");
        }
    }
}
