//! Reading: the next events in order of time, over one stream or many.
//!
//! Puts of one stream may overlap in time, and those of several streams do. Events are therefore found by choosing, not
//! by walking: the pieces that may hold what is asked for are read in order of time, the best events so far are kept, and it
//! ends when no unread piece can hold a better one. Memory is bounded by the page, whatever the overlap.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::block::{self, Found};
use super::segment::{self, Extent};
use super::stream::Piece;
use super::{EventKey, EventStore, StreamId};

/// Bytes that an event counts beyond its message towards a page. Source: PutLogEvents counts so.
const EVENT_OVERHEAD_BYTES: usize = 26;

/// Which end of the range comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The oldest.
    Forward,
    /// The newest.
    Backward,
}

/// What is asked for.
pub struct Query<'a> {
    /// Where to look.
    pub streams: &'a [StreamId],
    /// The first key that counts.
    pub from: EventKey,
    /// The first key behind those that count.
    pub to: EventKey,
    /// Which end first. A page is always given in ascending order.
    pub direction: Direction,
    /// Events of the page at most.
    pub limit: usize,
    /// Bytes of the page at most; one event is given out even if it is larger.
    pub bytes: usize,
    /// Bytes after which the search is broken off, if it has come any further.
    pub search_bytes: u64,
    /// Whether an event counts, by its message.
    pub accept: &'a dyn Fn(&str) -> bool,
}

/// An event that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Where it stands.
    pub key: EventKey,
    /// Index into [`Query::streams`].
    pub stream: usize,
    /// When it was put.
    pub ingestion_time: i64,
    /// The message.
    pub message: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In ascending order.
    pub events: Vec<StoredEvent>,
    /// Where to go on: forward, the next page's `from`; backward, its `to`. `None`: all was looked at.
    pub more: Option<EventKey>,
}

/// The best events so far.
struct Best<'q> {
    query: &'q Query<'q>,
    events: BTreeMap<EventKey, StoredEvent>,
    bytes: usize,
    /// Something was pushed out: of the keys at or behind (backward: at or before) this one not all are here.
    cut: Option<EventKey>,
}

impl Best<'_> {
    fn wants(&self, key: EventKey) -> bool {
        let within = self.query.from <= key && key < self.query.to;
        within
            && self.cut.is_none_or(|cut| match self.query.direction {
                Direction::Forward => key < cut,
                Direction::Backward => key > cut,
            })
    }

    fn take(&mut self, event: StoredEvent) {
        self.bytes += event.message.len() + EVENT_OVERHEAD_BYTES;
        self.events.insert(event.key, event);
        while self.events.len() > self.query.limit || (self.bytes > self.query.bytes && self.events.len() > 1)
        {
            let worst = match self.query.direction {
                Direction::Forward => self.events.pop_last(),
                Direction::Backward => self.events.pop_first(),
            };
            let Some((key, event)) = worst else { return };
            self.bytes -= event.message.len() + EVENT_OVERHEAD_BYTES;
            self.cut = Some(key);
        }
    }

    /// Whether a piece can hold an event that is wanted.
    fn wants_any_of(&self, extent: &Extent) -> bool {
        self.cut.is_none_or(|cut| match self.query.direction {
            Direction::Forward => extent.first <= cut.timestamp,
            Direction::Backward => extent.last >= cut.timestamp,
        })
    }

    /// The page, if what lies at or behind `boundary` (backward: before it) was not looked at.
    fn into_page(mut self, boundary: Option<EventKey>) -> Page {
        let mut more = match (self.query.direction, self.cut) {
            (_, None) => None,
            (Direction::Forward, Some(_)) => self.events.last_key_value().map(|(key, _)| key.successor()),
            (Direction::Backward, Some(_)) => self.events.first_key_value().map(|(key, _)| *key),
        };
        if let Some(boundary) = boundary {
            match self.query.direction {
                Direction::Forward if more.is_none_or(|more| more > boundary) => {
                    self.events.split_off(&boundary);
                    more = Some(boundary);
                }
                Direction::Backward if more.is_none_or(|more| more < boundary) => {
                    self.events = self.events.split_off(&boundary);
                    more = Some(boundary);
                }
                _ => {}
            }
        }
        Page { events: self.events.into_values().collect(), more }
    }
}

pub(crate) fn read(store: &EventStore, query: &Query<'_>) -> io::Result<Page> {
    let mut pieces = Vec::new();
    if query.from < query.to && query.limit > 0 {
        for (index, id) in query.streams.iter().enumerate() {
            let Some(stream) = store.stream(*id) else { continue };
            let mut found = Vec::new();
            stream.pieces(store, query.from.timestamp, query.to.timestamp, &mut found)?;
            pieces.extend(found.into_iter().map(|piece| (index, piece)));
        }
    }
    match query.direction {
        Direction::Forward => pieces.sort_by_key(|(_, piece)| piece.extent.first),
        Direction::Backward => pieces.sort_by_key(|(_, piece)| std::cmp::Reverse(piece.extent.last)),
    }
    let mut best = Best { query, events: BTreeMap::new(), bytes: 0, cut: None };
    let mut searched = 0;
    let mut reading = Reading::default();
    for (stream, piece) in &pieces {
        if !best.wants_any_of(&piece.extent) {
            break;
        }
        if searched >= query.search_bytes
            && let Some(boundary) = boundary(query, &piece.extent)
        {
            return Ok(best.into_page(Some(boundary)));
        }
        searched += u64::from(piece.extent.bytes);
        reading.look_at(piece, *stream, &mut best)?;
    }
    Ok(best.into_page(None))
}

/// Where the search may be broken off before this piece: `None` where the next page would start where this one did.
fn boundary(query: &Query<'_>, next: &Extent) -> Option<EventKey> {
    match query.direction {
        Direction::Forward => Some(EventKey::first_at(next.first)).filter(|key| *key > query.from),
        Direction::Backward => {
            Some(EventKey::first_at(next.last.saturating_add(1))).filter(|key| *key < query.to)
        }
    }
}

/// What is kept from one piece to the next.
#[derive(Default)]
struct Reading {
    file: Option<(Arc<PathBuf>, File)>,
    buffer: Vec<u8>,
}

impl Reading {
    fn look_at(&mut self, piece: &Piece, stream: usize, best: &mut Best<'_>) -> io::Result<()> {
        let file = match &mut self.file {
            Some((path, file)) if *path == piece.path => &*file,
            other => match File::open(&*piece.path) {
                Ok(file) => &other.insert((Arc::clone(&piece.path), file)).1,
                // Deleted or expired since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        self.buffer.resize(piece.extent.bytes as usize, 0);
        let held = segment::read_up_to(file, &mut self.buffer, piece.extent.offset)?;
        let mut rest = self.buffer.get(..held).unwrap_or_default();
        while !rest.is_empty() {
            let Found::Block(head, body) = block::find(rest) else {
                let (file, offset) = (piece.path.display(), piece.extent.offset);
                tracing::error!(%file, offset, "a log segment is damaged here; its events are left out");
                return Ok(());
            };
            rest = rest.get(head.bytes()..).unwrap_or_default();
            if head.last < best.query.from.timestamp || head.first > best.query.to.timestamp {
                continue;
            }
            for (index, (timestamp, message)) in block::events(&head, body).enumerate() {
                let index = u16::try_from(index).unwrap_or(u16::MAX);
                let key = EventKey { timestamp, put: head.put, index };
                if best.wants(key) && (best.query.accept)(message) {
                    let (ingestion_time, message) = (head.ingestion_time, message.to_owned());
                    best.take(StoredEvent { key, stream, ingestion_time, message });
                }
            }
        }
        Ok(())
    }
}

impl Page {
    /// The keys of the first and the last event.
    pub fn ends(&self) -> Option<(EventKey, EventKey)> {
        Some((self.events.first()?.key, self.events.last()?.key))
    }
}
