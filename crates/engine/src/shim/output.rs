//! The container's output on its way to the log: bytes in, lines out.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use log_spool::{Appended, JsonFileWriter, Stream, Writer};

use crate::specification::{LogOutput, SpoolMode};

/// Longer lines are split here and marked as partial, as Docker does.
const LINE_MAXIMUM_BYTES: usize = 16 * 1024;

/// Where the lines go.
pub(super) enum Sink {
    Discard,
    JsonFile(Box<JsonFileWriter>),
    Spool(Box<Writer>),
}

impl Sink {
    pub(super) fn open(output: &LogOutput) -> io::Result<Self> {
        Ok(match output {
            LogOutput::Discard => Self::Discard,
            LogOutput::JsonFile { path, options } => {
                Self::JsonFile(Box::new(JsonFileWriter::open(path, options.clone())?))
            }
            LogOutput::Spool { directory, capacity_bytes, mode } => {
                let mode = match mode {
                    SpoolMode::Blocking => log_spool::Mode::Blocking,
                    SpoolMode::NonBlocking => log_spool::Mode::NonBlocking,
                };
                Self::Spool(Box::new(Writer::open(
                    directory,
                    log_spool::Options::new(*capacity_bytes, mode),
                )?))
            }
        })
    }

    /// Takes a line. False: there is no room, and the same line must come again later. A log that cannot be written
    /// (disk full) loses the line: a container does not stop for its log, unless it asked for blocking mode.
    fn append(&mut self, stream: Stream, partial: bool, bytes: &[u8]) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        match self {
            Self::Discard => true,
            Self::JsonFile(writer) => {
                let _ = writer.write(stream, partial, nanoseconds, bytes);
                true
            }
            Self::Spool(writer) => {
                !matches!(writer.append(stream, partial, nanoseconds, bytes), Ok(Appended::Full))
            }
        }
    }

    pub(super) fn flush(&mut self) {
        // An error has lost lines, which the writers count; there is nobody else to tell.
        let _ = match self {
            Self::Discard => Ok(()),
            Self::JsonFile(writer) => writer.flush(),
            Self::Spool(writer) => writer.flush(),
        };
    }

    /// Readable when a full spool may have room again.
    pub(super) fn room_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Spool(writer) => writer.room_fd(),
            _ => None,
        }
    }

    /// After [`Sink::room_fd`] became readable.
    pub(super) fn has_room(&mut self) -> bool {
        match self {
            Self::Spool(writer) => writer.room(LINE_MAXIMUM_BYTES).unwrap_or(true),
            _ => true,
        }
    }
}

/// One of the container's outputs, cut into lines.
pub(super) struct Lines<R> {
    source: R,
    stream: Stream,
    /// The beginning of a line whose end has not come.
    pending: Vec<u8>,
    /// The pipe's other end is closed everywhere.
    ended: bool,
}

/// What a turn of reading led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All that was there is taken.
    Drained,
    /// The log is full (blocking mode); try again when it has room.
    Full,
    /// Nothing more will come.
    Ended,
}

impl<R: Read> Lines<R> {
    /// `source` does not block.
    pub(super) fn new(source: R, stream: Stream) -> Self {
        Self { source, stream, pending: Vec::new(), ended: false }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// Reads what is there, up to `rounds` pieces, and logs the whole lines.
    pub(super) fn pump(&mut self, sink: &mut Sink, rounds: usize) -> Progress {
        let mut piece = [0_u8; LINE_MAXIMUM_BYTES];
        for _ in 0..rounds {
            if !self.write_lines(sink) {
                return Progress::Full;
            }
            if self.ended {
                break;
            }
            match self.source.read(&mut piece) {
                Ok(0) => self.ended = true,
                Ok(length) => self.pending.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Drained,
                // EIO: a pseudo terminal that nobody has open any more.
                Err(_) => self.ended = true,
            }
        }
        if !self.write_lines(sink) {
            return Progress::Full;
        }
        if self.ended { Progress::Ended } else { Progress::Drained }
    }

    /// Logs the whole lines of `pending`, and the rest of it at the end. False: the log is full.
    fn write_lines(&mut self, sink: &mut Sink) -> bool {
        let mut start = 0;
        let mut fits = true;
        while fits {
            let rest = self.pending.get(start..).unwrap_or_default();
            let window = rest.get(..LINE_MAXIMUM_BYTES).unwrap_or(rest);
            let (length, skip, partial) = match window.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at, 1, false),
                None if rest.len() >= LINE_MAXIMUM_BYTES => (LINE_MAXIMUM_BYTES, 0, true),
                None if self.ended && !rest.is_empty() => (rest.len(), 0, false),
                None => break,
            };
            fits = sink.append(self.stream, partial, &window[..length]);
            if fits {
                start += length + skip;
            }
        }
        self.pending.drain(..start);
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its pieces one by one, then ends.
    struct Pieces(Vec<Vec<u8>>);
    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    fn logged(pieces: &[&[u8]]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let output =
            LogOutput::JsonFile { path: path.clone(), options: log_spool::JsonFileOptions::default() };
        let mut sink = Sink::open(&output).unwrap();
        let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
        assert_eq!(Lines::new(Pieces(pieces), Stream::Stdout).pump(&mut sink, 1000), Progress::Ended);
        sink.flush();
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn lines_are_joined_and_split() {
        assert_eq!(logged(&[b"one\ntw", b"o\n\nthree"]), ["one\n", "two\n", "\n", "three\n"]);
        let long = vec![b'x'; LINE_MAXIMUM_BYTES];
        let lines = logged(&[&long, b"tail\n"]);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].len(), lines[1].as_str()), (LINE_MAXIMUM_BYTES, "tail\n"));
        assert!(logged(&[]).is_empty());
    }
}
