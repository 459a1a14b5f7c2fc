//! Reading a log: which files count, where the log ends, and whether what looks torn was torn or damaged.
//!
//! A transaction is acknowledged after its frame is on disk, so at most the last frame may be incomplete. What an
//! incomplete frame can look like follows from sectors being written whole or not at all, onto zeros: some of its
//! sectors are zeros, or the file ends within it. Anything else that does not fit is damage to something that was
//! acknowledged, and the store refuses to open rather than leave it out. (What cannot be told from a frame never
//! written is one whose sectors were all lost by the disk after its fsync.)

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use super::disk::{Disk, DiskFile};
use super::format::{
    EntryReader, FileKind, FrameHeader, FrameKind, HeaderError, SECTOR, UNIT, read_file_header,
};
use super::{checkpoint, file_log};
use crate::state::{Registry, State, Write};
use crate::store::OpenError;
use crate::{Key, Version};

/// What a log kept.
pub(crate) struct Recovered {
    /// The version of the last transaction.
    pub version: Version,
    /// Every row, not decoded yet.
    rows: HashMap<(usize, Key), RawRow>,
    /// The files that the rows refer to.
    files: Vec<PathBuf>,
    /// Names of files that the newest checkpoint replaces.
    pub(super) obsolete: Vec<String>,
    /// The file in which the log goes on; `None`: there is none yet.
    pub(super) tail: Option<Tail>,
    pub(super) log_bytes: u64,
    pub(super) checkpoint_bytes: u64,
}

/// Where the log ends.
pub(super) struct Tail {
    pub file: DiskFile,
    pub end: u64,
    /// The last frame, or nothing if the file has none.
    pub last_frame: Vec<u8>,
    /// Whether there is something other than zeros after the end.
    pub garbage: bool,
}

struct RawRow {
    revision: u64,
    format: u16,
    json: Box<[u8]>,
    file: usize,
    offset: u64,
}

/// What a file is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileName {
    Log(Version),
    Checkpoint(Version),
    Temporary,
    Other,
}

pub(super) fn parse_name(name: &str) -> FileName {
    if let Some(finished) = name.strip_suffix(".tmp") {
        let is_ours = matches!(parse_name(finished), FileName::Log(_) | FileName::Checkpoint(_));
        return if is_ours { FileName::Temporary } else { FileName::Other };
    }
    let number = |digits: &str| {
        let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| digits.parse().ok()).flatten().map(Version)
    };
    if let Some(version) = name.strip_prefix("log-").and_then(number) {
        FileName::Log(version)
    } else if let Some(version) = name.strip_prefix("checkpoint-").and_then(number) {
        FileName::Checkpoint(version)
    } else {
        FileName::Other
    }
}

/// Reads everything that a directory keeps.
pub(super) fn recover(disk: &Disk, registry: &Registry) -> Result<Recovered, OpenError> {
    let list = |source| OpenError::Io { what: "list", file: disk.directory.clone(), source };
    let (mut logs, mut checkpoints, mut obsolete) = (Vec::new(), Vec::new(), Vec::new());
    for name in disk.names().map_err(list)? {
        match parse_name(&name) {
            FileName::Log(first) => logs.push(first),
            FileName::Checkpoint(version) => checkpoints.push(version),
            FileName::Temporary => obsolete.push(name),
            FileName::Other => {}
        }
    }
    let mut reader = Reader { disk, registry, rows: HashMap::new(), files: Vec::new() };
    let mut version = Version::default();
    let mut checkpoint_bytes = 0;
    if let Some(newest) = checkpoints.pop() {
        checkpoint_bytes = reader.checkpoint(newest)?;
        version = newest;
        obsolete.extend(checkpoints.into_iter().map(checkpoint::checkpoint_name));
    }
    // A log file counts if the one after it does not start early enough.
    let needed = logs.iter().rposition(|first| first.0 <= version.0 + 1);
    let Some(needed) = needed else {
        if logs.is_empty() && version == Version::default() {
            return Ok(reader.finish(version, obsolete, None, 0, 0));
        }
        let missing = disk.path(&file_log::log_name(Version(version.0 + 1)));
        return Err(OpenError::Missing { file: missing });
    };
    obsolete.extend(logs.drain(..needed).map(file_log::log_name));
    let mut log_bytes = 0;
    let mut tail = None;
    let count = logs.len();
    for (index, first) in logs.into_iter().enumerate() {
        if index > 0 && first.0 != version.0 + 1 {
            return Err(OpenError::Missing { file: disk.path(&file_log::log_name(Version(version.0 + 1))) });
        }
        let read = reader.log(first, version, index + 1 == count)?;
        version = read.last;
        log_bytes += read.tail.end;
        tail = Some(read.tail);
    }
    Ok(reader.finish(version, obsolete, tail, log_bytes, checkpoint_bytes))
}

impl Recovered {
    /// The rows, decoded, as the first state of a store.
    pub fn into_state(self, registry: &Registry) -> Result<State, OpenError> {
        let mut state = State::empty(registry, self.version);
        for ((table, key), raw) in self.rows {
            let row_type = registry.row_type(table);
            let row = (row_type.decode)(raw.format, &key, &raw.json).map_err(|source| OpenError::Row {
                table: row_type.table,
                key: key.clone(),
                file: self.files[raw.file].clone(),
                offset: raw.offset,
                source,
            })?;
            // What is of an older format stays as it is until it is written again.
            let packed =
                (raw.format == row_type.format).then(|| registry.pack(table, &row, &raw.json)).flatten();
            state.apply(registry, &Write { table, key, row: Some(row), packed }, Version(raw.revision));
        }
        state.opened_at(self.version);
        Ok(state)
    }
}

/// The end of one log file.
struct LogRead {
    last: Version,
    tail: Tail,
}

/// Gathers rows from files.
struct Reader<'a> {
    disk: &'a Disk,
    registry: &'a Registry,
    rows: HashMap<(usize, Key), RawRow>,
    files: Vec<PathBuf>,
}

impl Reader<'_> {
    fn finish(
        self,
        version: Version,
        obsolete: Vec<String>,
        tail: Option<Tail>,
        log_bytes: u64,
        checkpoint_bytes: u64,
    ) -> Recovered {
        Recovered { version, rows: self.rows, files: self.files, obsolete, tail, log_bytes, checkpoint_bytes }
    }

    fn open(&mut self, name: &str, kind: FileKind, version: Version) -> Result<Frames, OpenError> {
        let path = self.disk.path(name);
        self.files.push(path.clone());
        let io = |source| OpenError::Io { what: "read", file: path.clone(), source };
        let file = self.disk.open(name).map_err(io)?;
        let length = file.length().map_err(io)?;
        let frames = Frames { file, length, offset: 0 };
        let header = frames.unit(0)?;
        match read_file_header(&header) {
            Ok(found) if found == (kind, version) => Ok(Frames { offset: UNIT as u64, ..frames }),
            Err(HeaderError::Format(found)) => Err(OpenError::FileFormat { file: path, found }),
            Ok(_) => Err(frames.damaged("the header is that of another file")),
            Err(_) => Err(frames.damaged("the header is damaged")),
        }
    }

    /// Reads a checkpoint, which must be complete, and returns its length.
    fn checkpoint(&mut self, version: Version) -> Result<u64, OpenError> {
        let mut frames = self.open(&checkpoint::checkpoint_name(version), FileKind::Checkpoint, version)?;
        loop {
            let header = match FrameHeader::read(&frames.unit(frames.offset)?) {
                Ok(header) if header.first == version => header,
                _ => return Err(frames.damaged("a frame's header is damaged")),
            };
            let body = frames.body(&header)?;
            if crc32c::crc32c(&body) != header.checksum {
                return Err(frames.damaged("a frame's checksum is wrong"));
            }
            let offset = frames.offset;
            frames.offset += (UNIT + body.len()) as u64;
            match header.kind {
                FrameKind::Rows => {
                    self.entries(&frames, offset, &header, &body)?;
                }
                FrameKind::End if header.entries == self.rows.len() as u64 => return Ok(frames.offset),
                FrameKind::End => return Err(frames.damaged("rows are missing")),
                _ => return Err(frames.damaged("a frame of a log stands in a checkpoint")),
            }
        }
    }

    /// Reads the log file that starts with `first`, and applies what is newer than `known`. Only the last file may
    /// have an incomplete end.
    fn log(&mut self, first: Version, known: Version, is_last: bool) -> Result<LogRead, OpenError> {
        let mut frames = self.open(&file_log::log_name(first), FileKind::Log, first)?;
        // The versions in the file are dense, so nothing can be missing between two frames.
        let mut last = Version(first.0.saturating_sub(1));
        let mut last_frame = Vec::new();
        loop {
            let header_bytes = frames.unit(frames.offset)?;
            let (header, body) = match frames.frame(&header_bytes, last, is_last)? {
                Found::Frame(header, body) => (header, body),
                Found::End { garbage } => {
                    let tail = Tail { end: frames.offset, file: frames.file, last_frame, garbage };
                    return Ok(LogRead { last: last.max(known), tail });
                }
            };
            if header.last > known {
                if header.first <= known {
                    return Err(frames.damaged("a frame straddles the checkpoint"));
                }
                match header.kind {
                    FrameKind::Transactions => self.entries(&frames, frames.offset, &header, &body)?,
                    FrameKind::Clear => self.rows.clear(),
                    _ => return Err(frames.damaged("a frame of a checkpoint stands in a log")),
                }
            }
            last = header.last;
            last_frame = [&header_bytes[..], &body].concat();
            frames.offset += last_frame.len() as u64;
        }
    }

    fn entries(
        &mut self,
        frames: &Frames,
        offset: u64,
        header: &FrameHeader,
        body: &[u8],
    ) -> Result<(), OpenError> {
        let malformed = || frames.damaged("a frame's content is malformed");
        let payload = body.get(..header.payload_length).ok_or_else(malformed)?;
        let mut count = 0;
        for entry in EntryReader(payload) {
            let entry = entry.ok_or_else(malformed)?;
            count += 1;
            let table = self.registry.position(entry.table).ok_or_else(|| OpenError::UnknownTable {
                table: entry.table.to_owned(),
                file: frames.file.path.clone(),
                offset,
            })?;
            let place = (table, Key::from_text(entry.key));
            match entry.value {
                None => drop(self.rows.remove(&place)),
                Some((format, json)) => {
                    let file = self.files.len() - 1;
                    let row = RawRow { revision: entry.revision, format, json: json.into(), file, offset };
                    self.rows.insert(place, row);
                }
            }
        }
        if count == header.entries { Ok(()) } else { Err(malformed()) }
    }
}

/// What stands at an offset of a log.
enum Found {
    Frame(FrameHeader, Vec<u8>),
    End { garbage: bool },
}

/// A file being read frame by frame. Beyond its end it reads as zeros.
struct Frames {
    file: DiskFile,
    length: u64,
    offset: u64,
}

impl Frames {
    fn damaged(&self, reason: &'static str) -> OpenError {
        OpenError::Damaged { file: self.file.path.clone(), offset: self.offset, reason }
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), OpenError> {
        let io = |source: io::Error| OpenError::Io { what: "read", file: self.file.path.clone(), source };
        self.file.read_at(bytes, offset).map(drop).map_err(io)
    }

    fn unit(&self, offset: u64) -> Result<[u8; UNIT], OpenError> {
        let mut unit = [0; UNIT];
        self.read(&mut unit, offset)?;
        Ok(unit)
    }

    /// The bytes after the header at the present offset.
    fn body(&self, header: &FrameHeader) -> Result<Vec<u8>, OpenError> {
        let mut body = vec![0; header.body_length()];
        self.read(&mut body, self.offset + UNIT as u64)?;
        Ok(body)
    }

    /// The frame at the present offset, which must follow the version `last`; or that the log ends there.
    fn frame(&self, header: &[u8; UNIT], last: Version, may_be_torn: bool) -> Result<Found, OpenError> {
        let after_header = self.offset + UNIT as u64;
        let header = match FrameHeader::read(header) {
            Ok(header) => header,
            Err(HeaderError::Zeros) => {
                let garbage = !self.is_zero_from(after_header)?;
                if garbage && (!may_be_torn || self.has_frame_from(after_header, last)?) {
                    return Err(self.damaged("a frame's header is gone"));
                }
                return Ok(Found::End { garbage });
            }
            // The beginning of a header and nothing after it: the file was cut there.
            Err(_) if may_be_torn && self.is_zero_from(after_header)? => {
                return Ok(Found::End { garbage: true });
            }
            Err(_) => return Err(self.damaged("a frame's header is damaged")),
        };
        if header.first.0 != last.0 + 1 || header.last < header.first {
            return Err(self.damaged("a frame is missing before this one"));
        }
        let body = self.body(&header)?;
        if crc32c::crc32c(&body) == header.checksum {
            return Ok(Found::Frame(header, body));
        }
        let next = after_header + body.len() as u64;
        if may_be_torn && self.looks_torn(&body) && !self.has_frame_from(next, header.last)? {
            return Ok(Found::End { garbage: true });
        }
        Err(self.damaged("a frame's checksum is wrong"))
    }

    /// Whether the end of a frame or one of its sectors was not written. A complete frame ends in [`super::format::PAD`]
    /// and has text all over, so that no flipped bit makes it look like this.
    fn looks_torn(&self, body: &[u8]) -> bool {
        let start = self.offset as usize + UNIT;
        let to_boundary = start.next_multiple_of(SECTOR) - start;
        // The part before the boundary shares a sector with the header, which was written.
        let sectors = body.get(to_boundary..).unwrap_or_default();
        body.last() == Some(&0) || sectors.chunks(SECTOR).any(|sector| sector.iter().all(|byte| *byte == 0))
    }

    fn is_zero_from(&self, offset: u64) -> Result<bool, OpenError> {
        Ok(!self.any_unit(offset, |unit| unit.iter().any(|byte| *byte != 0))?)
    }

    /// Whether a whole header of a later frame stands at or after `offset`: then what is before it was acknowledged.
    fn has_frame_from(&self, offset: u64, last: Version) -> Result<bool, OpenError> {
        self.any_unit(offset, |unit| FrameHeader::read(unit).is_ok_and(|header| header.first > last))
    }

    fn any_unit(&self, mut offset: u64, holds: impl Fn(&[u8; UNIT]) -> bool) -> Result<bool, OpenError> {
        let mut chunk = vec![0; 1024 * UNIT];
        while offset < self.length {
            chunk.fill(0);
            self.read(&mut chunk, offset)?;
            if chunk.as_chunks::<UNIT>().0.iter().any(&holds) {
                return Ok(true);
            }
            offset += chunk.len() as u64;
        }
        Ok(false)
    }
}
