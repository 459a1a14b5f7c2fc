//! The agent's side.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::layout::{self, Acknowledgement};
use crate::record::{self, Decoded, HEAD_BYTES};
use crate::{Position, RECORD_BYTES_MAXIMUM, Record};

/// Bytes asked for in one read; grows to one whole record where that is longer.
const READ_BYTES: usize = 64 * 1024;

/// The reading end of a spool. It starts behind what was acknowledged last.
#[derive(Debug)]
pub struct Reader {
    records: PathBuf,
    acknowledgement: Acknowledgement,
    acknowledged: u64,
    /// The segment under `position` and its start.
    segment: Option<(u64, File)>,
    position: u64,
    /// Bytes that were read; those before `consumed` are given out, the one at `consumed` stands at `position`.
    buffer: Vec<u8>,
    consumed: usize,
}

impl Reader {
    /// Opens the spool in `directory`, which is made where it is missing.
    pub fn open(directory: &Path) -> io::Result<Self> {
        layout::create_directories(directory)?;
        let acknowledgement = Acknowledgement::open(directory)?;
        let position = acknowledgement.read()?.unwrap_or(0);
        Ok(Self {
            records: layout::records_directory(directory),
            acknowledgement,
            acknowledged: position,
            segment: None,
            position,
            buffer: Vec::new(),
            consumed: 0,
        })
    }

    /// The next records, of about `max_bytes` in all but at least one; empty where none is there yet.
    pub fn next_batch(&mut self, max_bytes: usize) -> io::Result<Vec<Record>> {
        self.next_batch_of(max_bytes, usize::MAX)
    }

    /// As [`Reader::next_batch`], and not more than `max_records`.
    pub fn next_batch_of(&mut self, max_bytes: usize, max_records: usize) -> io::Result<Vec<Record>> {
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        while batch_bytes < max_bytes && batch.len() < max_records {
            let Some(record) = self.next()? else { break };
            batch_bytes += HEAD_BYTES + record.bytes.len();
            batch.push(record);
        }
        Ok(batch)
    }

    /// Says that all up to `position` (a record's `end`) is done with: it will not be read again, and the room is free.
    ///
    /// Kept across `kill -9`. Positions only move forward; an earlier one is ignored.
    pub fn acknowledge(&mut self, position: Position) -> io::Result<()> {
        if position.0 <= self.acknowledged {
            return Ok(());
        }
        self.acknowledgement.write(position.0)?;
        self.acknowledged = position.0;
        // The newest segment stays, it is the writer's; of the others all whose successor begins at or before the position go.
        let segments = layout::segments(&self.records)?;
        for pair in segments.windows(2) {
            if let [start, next] = *pair
                && next <= position.0
            {
                fs::remove_file(layout::segment_path(&self.records, start))?;
            }
        }
        Ok(())
    }

    /// Goes back to what was acknowledged: the next batch starts there.
    pub fn rewind(&mut self) {
        self.segment = None;
        self.forget_buffer();
        self.position = self.acknowledged;
    }

    /// Where the next record will be read: the `end` of the last one given out.
    pub fn position(&self) -> Position {
        Position(self.position)
    }

    /// Whether the writer has gone (closed or killed) and all its records were given out.
    pub fn finished(&mut self) -> io::Result<bool> {
        // In this order: what the writer wrote last was there before it went.
        if !layout::writer_has_gone(&self.records)? {
            return Ok(false);
        }
        let before = self.position;
        let more = self.next()?.is_some();
        if more {
            self.segment = None;
            self.forget_buffer();
            self.position = before;
        }
        Ok(!more)
    }

    fn next(&mut self) -> io::Result<Option<Record>> {
        let mut offset_after_look = None;
        loop {
            match record::decode(self.buffer.get(self.consumed..).unwrap_or_default(), self.position) {
                Decoded::Record(record, size) => {
                    self.consumed += size;
                    self.position += size as u64;
                    return Ok(Some(record));
                }
                Decoded::Incomplete if self.fill()? => continue,
                Decoded::Incomplete | Decoded::Damaged => {}
            }
            // Nothing more here. The segment is complete once a later one exists, but only bytes read after that was seen
            // are sure to be all: hence the second look.
            let Some(next) = self.segment_behind()? else {
                // Read these again next time: a writer that met a full disk may have taken half a record back.
                self.buffer = Vec::new();
                self.consumed = 0;
                return Ok(None);
            };
            if offset_after_look == Some(self.position) || self.segment.is_none() {
                self.open_segment(next)?;
                offset_after_look = None;
            } else {
                self.forget_buffer();
                offset_after_look = Some(self.position);
            }
        }
    }

    /// Reads on; false where there is nothing more for now.
    fn fill(&mut self) -> io::Result<bool> {
        if self.segment.is_none() && !self.open_segment_of_position()? {
            return Ok(false);
        }
        let Some((start, file)) = &self.segment else { return Ok(false) };
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let held = self.buffer.len();
        let wanted = if held < READ_BYTES { READ_BYTES } else { HEAD_BYTES + RECORD_BYTES_MAXIMUM };
        if wanted <= held {
            return Ok(false);
        }
        self.buffer.resize(wanted, 0);
        let offset = (self.position - start) + held as u64;
        let outcome = file.read_at(&mut self.buffer[held..], offset);
        self.buffer.truncate(held + outcome.as_ref().copied().unwrap_or(0));
        Ok(outcome? > 0)
    }

    /// Opens the segment that holds `position`; false where there is none.
    fn open_segment_of_position(&mut self) -> io::Result<bool> {
        let segments = layout::segments(&self.records)?;
        let Some(start) = segments.iter().copied().rfind(|start| *start <= self.position) else {
            return Ok(false);
        };
        let position = self.position;
        self.open_segment(start)?;
        self.position = position;
        Ok(true)
    }

    /// The first segment behind the present one (or behind the position, where none is open).
    fn segment_behind(&self) -> io::Result<Option<u64>> {
        let here = self.segment.as_ref().map(|(start, _)| *start);
        let segments = layout::segments(&self.records)?;
        Ok(segments.into_iter().find(|start| here.map_or(*start > self.position, |here| *start > here)))
    }

    fn open_segment(&mut self, start: u64) -> io::Result<()> {
        self.segment = Some((start, File::open(layout::segment_path(&self.records, start))?));
        self.forget_buffer();
        self.position = start;
        Ok(())
    }

    fn forget_buffer(&mut self) {
        self.buffer.clear();
        self.consumed = 0;
    }
}
