//! Gives out the events of one log stream, page by page, in both directions. AWS: GetLogEvents.
//!
//! Tokens have AWS's forms: `f/<event id>/s` is followed by the events behind that one, `b/<event id>/s` by those before it.
//!
//! Differs from AWS: tokens do not expire; a forward token is taken without `startFromHead` too.

use api::logs::operations::GetLogEvents;
use api::logs::{GetLogEventsRequest, GetLogEventsResponse, OutputLogEvent};
use domain::LogStream;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{log_group, log_stream};
use crate::storage::{Direction, EventKey, EventStore, Page, Query};
use crate::{Logs, faults};

/// Events of a page. Source: GetLogEvents, `limit`.
const PAGE_EVENTS: usize = 10_000;
/// Bytes of a page. Source: GetLogEvents.
const PAGE_BYTES: usize = 1_048_576;

impl Operation<GetLogEvents> for Logs {
    fn permissions(&self, call: &Call, input: &GetLogEventsRequest) -> Vec<Permission> {
        let name = input.log_group_name.as_deref();
        let identifier = input.log_group_identifier.as_deref();
        let group = log_group::name_of(&call.scope, name, identifier).ok();
        let names = group.as_deref().zip(input.log_stream_name.as_deref());
        let arn = names.map(|(group, stream)| LogStream::arn_of(&call.scope, group, stream).to_string());
        vec![Permission::new("logs:GetLogEvents", arn.unwrap_or_else(|| "*".to_owned()))]
    }

    async fn handle(&self, call: &Call, input: GetLogEventsRequest) -> Result<GetLogEventsResponse, Fault> {
        let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
        let group_name = log_group::name_of(&call.scope, name, identifier)?;
        let stream_name = faults::required(input.log_stream_name, "logStreamName")?;
        let token = input.next_token.as_deref().map(parse_token).transpose()?;
        let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_EVENTS);

        let snapshot = self.store.snapshot();
        let group = log_group::find(&snapshot, &call.scope, &group_name)?;
        let stream = log_stream::find(&snapshot, &group, &stream_name)?;
        let expired = group.expires_before(call.now).map_or(0, |moment| moment.as_millis());
        let mut range = Range {
            from: EventKey::first_at(input.start_time.unwrap_or(0).max(expired).max(0)),
            to: input.end_time.map_or(EventKey::MAXIMUM, |end| EventKey::first_at(end.max(0))),
        };
        let direction = range.narrow(token, input.start_from_head.unwrap_or(false));
        let id = log_stream::storage_id(&stream);
        let page = self.blocking(move |events| read_page(events, id, range, direction, limit)).await?;
        let page = page.map_err(faults::internal)?;

        let (forward, backward) = tokens(token, range, &page);
        let events = page.events.into_iter().map(|event| OutputLogEvent {
            ingestion_time: Some(event.ingestion_time),
            message: Some(event.message),
            timestamp: Some(event.key.timestamp),
        });
        Ok(GetLogEventsResponse {
            events: Some(events.collect()),
            next_backward_token: Some(backward),
            next_forward_token: Some(forward),
        })
    }
}

/// A token's meaning: the events behind (forward) or before (backward) the key.
type Token = (Direction, EventKey);

#[derive(Clone, Copy, Debug)]
struct Range {
    from: EventKey,
    to: EventKey,
}

impl Range {
    fn narrow(&mut self, token: Option<Token>, start_from_head: bool) -> Direction {
        match token {
            Some((Direction::Forward, key)) => {
                self.from = self.from.max(key.successor());
                Direction::Forward
            }
            Some((Direction::Backward, key)) => {
                self.to = self.to.min(key);
                Direction::Backward
            }
            None if start_from_head => Direction::Forward,
            None => Direction::Backward,
        }
    }
}

fn read_page(
    events: &EventStore,
    id: crate::storage::StreamId,
    range: Range,
    direction: Direction,
    limit: usize,
) -> std::io::Result<Page> {
    events.read(&Query {
        streams: &[id],
        from: range.from,
        to: range.to,
        direction,
        limit: limit.clamp(1, PAGE_EVENTS),
        bytes: PAGE_BYTES,
        // Every event counts, so that the page is full long before.
        search_bytes: u64::MAX,
        accept: &|_| true,
    })
}

fn parse_token(token: &str) -> Result<Token, Fault> {
    let (direction, rest) = match token.split_at_checked(2) {
        Some(("f/", rest)) => (Direction::Forward, rest),
        Some(("b/", rest)) => (Direction::Backward, rest),
        _ => return Err(faults::bad_token()),
    };
    let id = rest.strip_suffix("/s").ok_or_else(faults::bad_token)?;
    Ok((direction, id.parse().map_err(|_| faults::bad_token())?))
}

/// The forward and the backward token. An empty page gives back the token that led to it, and the other one turns round
/// there: no put has the number 0, so that the first key of a millisecond is no event's.
fn tokens(token: Option<Token>, range: Range, page: &Page) -> (String, String) {
    let (behind, before) = match (page.ends(), token) {
        (Some((first, last)), _) => (last, first),
        (None, Some((Direction::Forward, key))) => (key, key.successor()),
        (None, Some((Direction::Backward, key))) => (key.predecessor(), key),
        (None, None) => (range.from, range.from),
    };
    (format!("f/{behind}/s"), format!("b/{before}/s"))
}
