//! From records to events: pieces joined to lines, lines to multi-line events, long ones split.

use log_spool::{Position, Record, Stream};

use crate::{EVENT_BYTES_MAXIMUM, EVENT_JSON_BYTES_MAXIMUM, LogEvent, MultilinePattern};

/// Bytes gathered and not complete yet.
#[derive(Debug)]
struct Pending {
    bytes: Vec<u8>,
    timestamp: i64,
    /// What may be acknowledged while this is pending: all before its first record.
    before: Position,
}

/// Takes records in order, gives out events.
#[derive(Debug)]
pub(crate) struct Assembler {
    multiline: Option<MultilinePattern>,
    lines: [Option<Pending>; 2],
    event: Option<Pending>,
    ready: Vec<LogEvent>,
    end: Position,
}

impl Assembler {
    /// One whose first record stands at `start`.
    pub(crate) fn new(multiline: Option<MultilinePattern>, start: Position) -> Self {
        Self { multiline, lines: [None, None], event: None, ready: Vec::new(), end: start }
    }

    /// Takes the next record.
    pub(crate) fn push(&mut self, record: Record) {
        let before = std::mem::replace(&mut self.end, record.end);
        let timestamp = record.unix_nanoseconds.div_euclid(1_000_000);
        if record.lost > 0 {
            self.finish();
            self.emit(&record.bytes, timestamp);
            return;
        }
        let index = usize::from(record.stream == Stream::Stderr);
        let mut line = match self.lines[index].take() {
            Some(mut line) => {
                line.bytes.extend_from_slice(&record.bytes);
                line
            }
            None => Pending { bytes: record.bytes, timestamp, before },
        };
        if record.partial {
            if line.bytes.len() >= EVENT_BYTES_MAXIMUM {
                let head = split_at_character(&line.bytes, EVENT_BYTES_MAXIMUM);
                let rest = line.bytes.split_off(head);
                self.take_line(Pending { bytes: line.bytes, ..line });
                line = Pending { bytes: rest, timestamp, before };
            }
            self.lines[index] = Some(line);
        } else {
            self.take_line(line);
        }
    }

    /// Completes the multi-line event that waits for its next line.
    pub(crate) fn finish_event(&mut self) {
        if let Some(event) = self.event.take() {
            self.emit(&event.bytes, event.timestamp);
        }
    }

    /// Completes all that waits.
    pub(crate) fn finish(&mut self) {
        for index in 0..self.lines.len() {
            if let Some(line) = self.lines[index].take() {
                self.take_line(line);
            }
        }
        self.finish_event();
    }

    /// Whether a multi-line event waits for its next line.
    pub(crate) fn event_waits(&self) -> bool {
        self.event.is_some()
    }

    /// The events that are complete, in order of time.
    pub(crate) fn take_ready(&mut self) -> Vec<LogEvent> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.sort_by_key(|event| event.timestamp);
        ready
    }

    /// What may be acknowledged once all events that were taken are delivered.
    pub(crate) fn delivered(&self) -> Position {
        let pending = self.lines.iter().flatten().chain(&self.event).map(|pending| pending.before);
        pending.min().unwrap_or(self.end)
    }

    fn take_line(&mut self, line: Pending) {
        let Some(pattern) = &self.multiline else { return self.emit(&line.bytes, line.timestamp) };
        let joins = self.event.as_ref().is_some_and(|event| {
            event.bytes.len() + 1 + line.bytes.len() <= EVENT_BYTES_MAXIMUM && !pattern.begins(&line.bytes)
        });
        match &mut self.event {
            Some(event) if joins => {
                event.bytes.push(b'\n');
                event.bytes.extend_from_slice(&line.bytes);
            }
            _ => {
                self.finish_event();
                self.event = Some(line);
            }
        }
    }

    /// Empty lines make no event: the service takes none without a message.
    fn emit(&mut self, bytes: &[u8], timestamp: i64) {
        let text = String::from_utf8_lossy(bytes);
        let mut rest = &*text;
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(event_length(rest));
            self.ready.push(LogEvent { timestamp, message: head.to_owned() });
            rest = tail;
        }
    }
}

/// How much of `text` one event takes: as much as is allowed, and as fits a request once it is JSON.
fn event_length(text: &str) -> usize {
    let length = text.floor_char_boundary(EVENT_BYTES_MAXIMUM);
    // Six bytes for one is the worst that JSON makes of a character.
    if length * 6 <= EVENT_JSON_BYTES_MAXIMUM {
        return length;
    }
    let mut json_bytes = 0;
    let fits = text.as_bytes().iter().take(length).take_while(|byte| {
        json_bytes += json_bytes_of(**byte);
        json_bytes <= EVENT_JSON_BYTES_MAXIMUM
    });
    text.floor_char_boundary(fits.count())
}

/// Bytes that `byte`, of a text in UTF-8, has in JSON.
pub(crate) fn json_bytes_of(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 | 0x7f => 6,
        _ => 1,
    }
}

/// The place at or up to three bytes before `at` where no UTF-8 character is cut.
fn split_at_character(bytes: &[u8], at: usize) -> usize {
    let continues = |index: usize| bytes.get(index).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    (at.saturating_sub(3)..=at).rev().find(|index| !continues(*index)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(stream: Stream, partial: bool, milliseconds: i64, bytes: &[u8], end: u64) -> Record {
        let unix_nanoseconds = milliseconds * 1_000_000;
        Record { stream, partial, unix_nanoseconds, bytes: bytes.to_vec(), lost: 0, end: Position(end) }
    }

    fn messages(assembler: &mut Assembler) -> Vec<String> {
        assembler.take_ready().into_iter().map(|event| event.message).collect()
    }

    #[test]
    fn pieces_are_joined_per_stream() {
        let mut assembler = Assembler::new(None, Position(5));
        assembler.push(record(Stream::Stdout, true, 1, b"out-", 10));
        assert_eq!(assembler.delivered(), Position(5));
        assembler.push(record(Stream::Stderr, false, 2, b"err \xff", 20));
        assembler.push(record(Stream::Stdout, false, 3, b"put", 30));
        assembler.push(record(Stream::Stdout, false, 3, b"", 31));
        assert_eq!(assembler.delivered(), Position(31));
        assert_eq!(messages(&mut assembler), ["out-put", "err \u{fffd}"]);
        assembler.push(record(Stream::Stdout, true, 1, b"no newline", 40));
        assert!(messages(&mut assembler).is_empty());
        assembler.finish();
        assert_eq!(messages(&mut assembler), ["no newline"]);
    }

    #[test]
    fn multi_line_events_begin_at_the_pattern() {
        let pattern = MultilinePattern::parse("^[0-9]").unwrap();
        let mut assembler = Assembler::new(Some(pattern), Position(0));
        for (end, line) in ["before", "1 error", "  at a", "", "  at b", "2 fine"].iter().enumerate() {
            assembler.push(record(Stream::Stdout, false, end as i64, line.as_bytes(), end as u64 + 1));
        }
        assert_eq!(messages(&mut assembler), ["before", "1 error\n  at a\n\n  at b"]);
        assert_eq!(assembler.delivered(), Position(5));
        assert!(assembler.event_waits());
        assembler.finish_event();
        assert_eq!(messages(&mut assembler), ["2 fine"]);
        assert_eq!(assembler.delivered(), Position(6));
    }

    #[test]
    fn a_marker_of_loss_ends_what_waits() {
        let mut assembler = Assembler::new(None, Position(0));
        assembler.push(record(Stream::Stdout, true, 1, b"half", 1));
        assembler.push(Record { lost: 3, ..record(Stream::Stderr, false, 2, b"[3 lost]", 2) });
        assembler.push(record(Stream::Stdout, false, 3, b"whole", 3));
        assert_eq!(messages(&mut assembler), ["half", "[3 lost]", "whole"]);
    }

    #[test]
    fn a_line_over_the_limit_is_split_between_characters() {
        let mut assembler = Assembler::new(None, Position(0));
        let piece = "ü".repeat(64 * 1024);
        for end in 1..=9 {
            assembler.push(record(Stream::Stdout, end < 9, 1, format!("x{piece}").as_bytes(), end));
        }
        let messages = messages(&mut assembler);
        assert_eq!(messages.len(), 2);
        assert!(messages.iter().all(|message| message.len() <= EVENT_BYTES_MAXIMUM));
        assert!(!messages.concat().contains('\u{fffd}'));
        assert_eq!(messages.concat().len(), 9 * (1 + piece.len()));
    }

    #[test]
    fn a_line_that_json_blows_up_is_split_to_fit_a_request() {
        let mut assembler = Assembler::new(None, Position(0));
        for end in 1..=8 {
            assembler.push(record(Stream::Stdout, end < 8, 1, &vec![1; 128 * 1024], end));
        }
        let messages = messages(&mut assembler);
        assert_eq!(messages.iter().map(String::len).sum::<usize>(), 1024 * 1024);
        for message in messages {
            assert!(message.bytes().map(json_bytes_of).sum::<usize>() <= EVENT_JSON_BYTES_MAXIMUM);
        }
    }

    proptest! {
        #[test]
        fn no_byte_of_a_line_is_lost(pieces in proptest::collection::vec((any::<bool>(), any::<bool>(), "[a-z]{0,20}"), 0..50)) {
            let mut assembler = Assembler::new(None, Position(0));
            let mut expected = [String::new(), String::new()];
            for (end, (stderr, partial, text)) in pieces.iter().enumerate() {
                let stream = if *stderr { Stream::Stderr } else { Stream::Stdout };
                let text = if *stderr { text.to_uppercase() } else { text.clone() };
                expected[usize::from(*stderr)].push_str(&text);
                assembler.push(record(stream, *partial, 0, text.as_bytes(), end as u64 + 1));
            }
            assembler.finish();
            prop_assert_eq!(assembler.delivered(), Position(pieces.len() as u64));
            let all = messages(&mut assembler).concat();
            let (upper, lower): (String, String) = all.chars().partition(|char| char.is_uppercase());
            prop_assert_eq!([lower, upper], expected);
        }
    }
}
