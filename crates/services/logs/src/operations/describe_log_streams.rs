//! Lists the log streams of a group, by name or by their last event. AWS: DescribeLogStreams.
//!
//! Differs from AWS: the times are exact at once, not within the hour.

use api::logs::operations::DescribeLogStreams;
use api::logs::{DescribeLogStreamsRequest, DescribeLogStreamsResponse};
use base::PageToken;
use domain::LogStream;
use store::Versioned;
use store::rows_logs::log_streams_starting;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{log_group, log_stream};
use crate::storage::{EventStore, Stats};
use crate::{Logs, faults};

/// Streams of a page. Source: DescribeLogStreams, `limit`.
const PAGE_STREAMS: usize = 50;
const BY_LAST_EVENT: &str = "LastEventTime";

impl Operation<DescribeLogStreams> for Logs {
    fn permissions(&self, call: &Call, input: &DescribeLogStreamsRequest) -> Vec<Permission> {
        let name = input.log_group_name.as_deref();
        let arn = log_group::permission_arn(&call.scope, name, input.log_group_identifier.as_deref());
        vec![Permission::new("logs:DescribeLogStreams", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeLogStreamsRequest,
    ) -> Result<DescribeLogStreamsResponse, Fault> {
        let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
        let group_name = log_group::name_of(&call.scope, name, identifier)?;
        let by_last_event = input.order_by.as_deref() == Some(BY_LAST_EVENT);
        if by_last_event && input.log_stream_name_prefix.is_some() {
            return Err(faults::invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        let descending = input.descending.unwrap_or(false);
        let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_STREAMS);
        let limit = limit.clamp(1, PAGE_STREAMS);
        let listing = format!("DescribeLogStreams/{group_name}/{by_last_event}/{descending}");
        let after = input.next_token.as_deref().map(|token| PageToken::decode(&listing, token));
        let after = after.transpose().map_err(|_| faults::bad_token())?;
        let after =
            after.map(|token| Place::parse(&token.after).ok_or_else(faults::bad_token)).transpose()?;

        let snapshot = self.store.snapshot();
        let group = log_group::find(&snapshot, &call.scope, &group_name)?;
        let start = input.log_stream_name_prefix.as_deref().unwrap_or_default();
        let streams: Vec<Versioned<LogStream>> =
            snapshot.scan(log_streams_starting(&group.scope, group.id, start), None).collect();
        let choice = Choice { streams, by_last_event, descending, after, limit };
        let (page, more) =
            self.blocking(move |events| choice.page(events)).await?.map_err(faults::internal)?;

        let next_token = page.last().filter(|_| more).map(|(stream, stats)| {
            PageToken::encode(&listing, &Place::of(stream, stats, by_last_event).to_text())
        });
        let described = page.iter().map(|(stream, stats)| log_stream::describe(&group, stream, stats));
        Ok(DescribeLogStreamsResponse { log_streams: Some(described.collect()), next_token })
    }
}

/// Where a stream stands in the listing: by the time of its last event (0 where the order is by name), then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(i64, String);

impl Place {
    fn of(stream: &LogStream, stats: &Stats, by_last_event: bool) -> Self {
        let time = if by_last_event { stats.last_timestamp.unwrap_or(-1) } else { 0 };
        Self(time, stream.name.clone())
    }

    fn to_text(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }

    fn parse(text: &str) -> Option<Self> {
        let (time, name) = text.split_once('/')?;
        Some(Self(time.parse().ok()?, name.to_owned()))
    }
}

struct Choice {
    streams: Vec<Versioned<LogStream>>,
    by_last_event: bool,
    descending: bool,
    after: Option<Place>,
    limit: usize,
}

type Described = (Versioned<LogStream>, Stats);

impl Choice {
    /// The page, and whether there is another one. By name only the page's own streams are looked at, by last event all.
    fn page(self, events: &EventStore) -> std::io::Result<(Vec<Described>, bool)> {
        let stats_of = |stream: &LogStream| events.stats(log_stream::storage_id(stream));
        let mut places = Vec::with_capacity(self.streams.len());
        for (index, stream) in self.streams.iter().enumerate() {
            let stats = if self.by_last_event { stats_of(stream)? } else { Stats::default() };
            places.push((Place::of(stream, &stats, self.by_last_event), index));
        }
        places.sort_unstable();
        if self.descending {
            places.reverse();
        }
        let behind = |place: &Place| match &self.after {
            Some(after) if self.descending => place < after,
            Some(after) => place > after,
            None => true,
        };
        let mut chosen = places.into_iter().filter(|(place, _)| behind(place));
        let page = chosen.by_ref().take(self.limit).filter_map(|(_, index)| self.streams.get(index));
        let page = page
            .map(|stream| Ok((stream.clone(), stats_of(stream)?)))
            .collect::<std::io::Result<Vec<_>>>()?;
        Ok((page, chosen.next().is_some()))
    }
}
