//! Searches the events of a log group, over some or all of its streams, in order of time. AWS: FilterLogEvents.
//!
//! Differs from AWS: tokens do not expire; a search that finds little is broken off after [`SEARCH_BYTES`], and its page may be
//! empty and have a token, as AWS's may.

use api::logs::operations::FilterLogEvents;
use api::logs::{FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent};
use base::PageToken;
use domain::{LogGroup, LogStream};
use store::rows_logs::log_streams_starting;
use store::{Snapshot, Versioned};
use wire::{Call, Fault, Operation, Permission};

use crate::filter_pattern::FilterPattern;
use crate::resources::{log_group, log_stream};
use crate::storage::{Direction, EventKey, Page, Query, StreamId};
use crate::{Logs, faults};

/// Events of a page. Source: FilterLogEvents, `limit`.
const PAGE_EVENTS: usize = 10_000;
/// Bytes of a page. Source: FilterLogEvents.
const PAGE_BYTES: usize = 1_048_576;
/// Bytes of events that one call looks at. Ours: a few hundred milliseconds.
const SEARCH_BYTES: u64 = 64 * 1024 * 1024;
/// The earliest `startTime` of a search from the end: 2024-01-01T00:00:00Z. Source: FilterLogEvents, `startFromHead`.
const BACKWARD_START_MINIMUM: i64 = 1_704_067_200_000;

impl Operation<FilterLogEvents> for Logs {
    fn permissions(&self, call: &Call, input: &FilterLogEventsRequest) -> Vec<Permission> {
        let name = input.log_group_name.as_deref();
        let arn = log_group::permission_arn(&call.scope, name, input.log_group_identifier.as_deref());
        vec![Permission::new("logs:FilterLogEvents", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: FilterLogEventsRequest,
    ) -> Result<FilterLogEventsResponse, Fault> {
        let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
        let group_name = log_group::name_of(&call.scope, name, identifier)?;
        let pattern = FilterPattern::parse(input.filter_pattern.as_deref().unwrap_or_default())
            .map_err(|error| faults::invalid(format!("Invalid filter pattern: {error}")))?;
        let listing = format!("FilterLogEvents/{group_name}");
        let token = input.next_token.as_deref().map(|token| parse_token(&listing, token)).transpose()?;
        let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_EVENTS);
        let backward = !input.start_from_head.unwrap_or(true);
        if backward && input.start_time.is_none_or(|start| start < BACKWARD_START_MINIMUM) {
            return Err(faults::invalid(
                "startFromHead can be set to false only when startTime is on or after 2024-01-01T00:00:00Z.",
            ));
        }

        let snapshot = self.store.snapshot();
        let group = log_group::find(&snapshot, &call.scope, &group_name)?;
        let streams = chosen_streams(&snapshot, &group, &input)?;
        let expired = group.expires_before(call.now).map_or(0, |moment| moment.as_millis());
        let mut from = EventKey::first_at(input.start_time.unwrap_or(0).max(expired).max(0));
        let after_end = |end: i64| EventKey::first_at(end.max(0).saturating_add(1));
        let mut to = input.end_time.map_or(EventKey::MAXIMUM, after_end);
        let direction = match token {
            Some((Direction::Forward, key)) => {
                from = from.max(key);
                Direction::Forward
            }
            Some((Direction::Backward, key)) => {
                to = to.min(key);
                Direction::Backward
            }
            None if backward => Direction::Backward,
            None => Direction::Forward,
        };
        let ids: Vec<StreamId> = streams.iter().map(|stream| log_stream::storage_id(stream)).collect();
        let page = self.blocking(move |events| {
            events.read(&Query {
                streams: &ids,
                from,
                to,
                direction,
                limit: limit.clamp(1, PAGE_EVENTS),
                bytes: PAGE_BYTES,
                search_bytes: SEARCH_BYTES,
                accept: &|message| pattern.matches(message),
            })
        });
        let page = page.await?.map_err(faults::internal)?;

        Ok(answer(&listing, direction, &streams, page))
    }
}

fn answer(
    listing: &str,
    direction: Direction,
    streams: &[Versioned<LogStream>],
    page: Page,
) -> FilterLogEventsResponse {
    let next_token = page.more.map(|key| token_of(listing, direction, key));
    let events = page.events.into_iter().map(|event| FilteredLogEvent {
        event_id: Some(event.key.to_string()),
        ingestion_time: Some(event.ingestion_time),
        log_stream_name: streams.get(event.stream).map(|stream| stream.name.clone()),
        message: Some(event.message),
        timestamp: Some(event.key.timestamp),
    });
    let mut events: Vec<_> = events.collect();
    if direction == Direction::Backward {
        events.reverse();
    }
    // AWS fills `searchedLogStreams` no more.
    FilterLogEventsResponse { events: Some(events), next_token, searched_log_streams: Some(Vec::new()) }
}

fn chosen_streams(
    snapshot: &Snapshot,
    group: &LogGroup,
    input: &FilterLogEventsRequest,
) -> Result<Vec<Versioned<LogStream>>, Fault> {
    match (&input.log_stream_names, &input.log_stream_name_prefix) {
        (Some(_), Some(_)) => {
            Err(faults::invalid("logStreamNames and logStreamNamePrefix are mutually exclusive parameters."))
        }
        (Some(names), None) => {
            let mut names: Vec<_> = names.iter().collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().map(|name| log_stream::find(snapshot, group, name)).collect()
        }
        (None, prefix) => {
            let start = prefix.as_deref().unwrap_or_default();
            Ok(snapshot.scan(log_streams_starting(&group.scope, group.id, start), None).collect())
        }
    }
}

fn token_of(listing: &str, direction: Direction, key: EventKey) -> String {
    let letter = match direction {
        Direction::Forward => 'f',
        Direction::Backward => 'b',
    };
    PageToken::encode(listing, &format!("{letter}{key}"))
}

fn parse_token(listing: &str, token: &str) -> Result<(Direction, EventKey), Fault> {
    let token = PageToken::decode(listing, token).map_err(|_| faults::bad_token())?;
    let (direction, key) = match token.after.split_at_checked(1) {
        Some(("f", key)) => (Direction::Forward, key),
        Some(("b", key)) => (Direction::Backward, key),
        _ => return Err(faults::bad_token()),
    };
    Ok((direction, key.parse().map_err(|_| faults::bad_token())?))
}
