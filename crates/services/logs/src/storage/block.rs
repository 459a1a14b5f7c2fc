//! The events of one put, as they lie on disk.
//!
//! `magic u32 | checksum u32 | body bytes u32 | events u32 | put u64 | ingestion time i64 | first i64 | last i64 | body`,
//! little-endian; the checksum (CRC-32) covers all behind itself. The body holds for each event the milliseconds since the one
//! before, the length of the message (both as LEB128) and the message in UTF-8.

use super::Event;

/// Bytes before the body.
pub(crate) const HEAD_BYTES: usize = 48;
/// Bytes of a body at most: a put has 1 MiB of messages and 10,000 events; the rest is room for their heads.
pub(crate) const BODY_BYTES_MAXIMUM: usize = 2 * 1024 * 1024;
const MAGIC: u32 = 0x4c45_5331;

/// What stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHead {
    pub body_bytes: usize,
    pub events: u32,
    pub put: u64,
    pub ingestion_time: i64,
    pub first: i64,
    pub last: i64,
}

impl BlockHead {
    /// Head and body together.
    pub(crate) fn bytes(&self) -> usize {
        HEAD_BYTES + self.body_bytes
    }
}

/// What the head of some bytes is.
pub(crate) enum Found<'a> {
    Block(BlockHead, &'a [u8]),
    /// The bytes end within the block.
    Incomplete,
    /// No block begins like this, or its checksum is wrong.
    Damaged,
}

/// Appends the block of `events`, which are in order of time, to `into`.
pub(crate) fn encode(into: &mut Vec<u8>, put: u64, ingestion_time: i64, events: &[Event<'_>]) -> BlockHead {
    let start = into.len();
    into.resize(start + HEAD_BYTES, 0);
    let first = events.first().map_or(0, |event| event.timestamp);
    let mut last = first;
    for event in events {
        put_number(into, event.timestamp.saturating_sub(last).unsigned_abs());
        put_number(into, event.message.len() as u64);
        into.extend_from_slice(event.message.as_bytes());
        last = event.timestamp;
    }
    let body_bytes = into.len() - start - HEAD_BYTES;
    let head = BlockHead { body_bytes, events: events.len() as u32, put, ingestion_time, first, last };
    let block = &mut into[start..];
    block[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    block[8..12].copy_from_slice(&(body_bytes as u32).to_le_bytes());
    block[12..16].copy_from_slice(&head.events.to_le_bytes());
    block[16..24].copy_from_slice(&put.to_le_bytes());
    block[24..32].copy_from_slice(&ingestion_time.to_le_bytes());
    block[32..40].copy_from_slice(&first.to_le_bytes());
    block[40..48].copy_from_slice(&last.to_le_bytes());
    let checksum = crc32fast::hash(&block[8..]);
    block[4..8].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// Reads the block at the head of `bytes`.
pub(crate) fn find(bytes: &[u8]) -> Found<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Found::Incomplete };
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
    let body_bytes = number(8) as usize;
    if number(0) != MAGIC || body_bytes > BODY_BYTES_MAXIMUM {
        return Found::Damaged;
    }
    let Some(body) = rest.get(..body_bytes) else { return Found::Incomplete };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[8..]);
    hasher.update(body);
    if hasher.finalize() != number(4) {
        return Found::Damaged;
    }
    let head = BlockHead {
        body_bytes,
        events: number(12),
        put: long(16),
        ingestion_time: long(24) as i64,
        first: long(32) as i64,
        last: long(40) as i64,
    };
    Found::Block(head, body)
}

/// The timestamps and messages in a body.
pub(crate) fn events<'a>(head: &BlockHead, body: &'a [u8]) -> impl Iterator<Item = (i64, &'a str)> {
    let mut timestamp = head.first;
    let mut rest = body;
    std::iter::from_fn(move || {
        let step = take_number(&mut rest)?;
        let length = usize::try_from(take_number(&mut rest)?).ok()?;
        let (message, behind) = rest.split_at_checked(length)?;
        rest = behind;
        timestamp = timestamp.saturating_add_unsigned(step);
        Some((timestamp, std::str::from_utf8(message).ok()?))
    })
}

fn put_number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_are_read_back_and_damage_is_seen(
            mut events in proptest::collection::vec((0_i64..1 << 42, ".{0,40}"), 1..40),
            put in any::<u64>(),
            time in any::<i64>(),
            flip in any::<prop::sample::Index>(),
        ) {
            events.sort();
            let borrowed: Vec<_> =
                events.iter().map(|(timestamp, message)| Event { timestamp: *timestamp, message }).collect();
            let mut bytes = Vec::new();
            let written = encode(&mut bytes, put, time, &borrowed);
            let Found::Block(head, body) = find(&bytes) else { return Err(TestCaseError::fail("no block")) };
            prop_assert_eq!(head, written);
            prop_assert_eq!(head.bytes(), bytes.len());
            prop_assert_eq!((head.put, head.ingestion_time), (put, time));
            let read: Vec<_> = super::events(&head, body).map(|(at, text)| (at, text.to_owned())).collect();
            prop_assert_eq!(read, events);
            prop_assert!(!matches!(find(&bytes[..bytes.len() - 1]), Found::Block(..)));
            let at = flip.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert!(!matches!(find(&bytes), Found::Block(..)));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = find(&bytes);
            let head = BlockHead { body_bytes: bytes.len(), events: 1, put: 0, ingestion_time: 0, first: i64::MAX, last: 0 };
            let _ = events(&head, &bytes).count();
        }
    }
}
