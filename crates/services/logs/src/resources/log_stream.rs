//! Log streams.

use domain::{LogGroup, LogStream};
use store::rows_logs::log_stream_key;
use store::{Snapshot, Versioned};
use wire::Fault;

use crate::faults;
use crate::storage::{EventKey, Stats, StreamId};

/// The stream called `name` of `group`.
pub(crate) fn find(snapshot: &Snapshot, group: &LogGroup, name: &str) -> Result<Versioned<LogStream>, Fault> {
    snapshot.get(&log_stream_key(&group.scope, group.id, name)).ok_or_else(faults::no_log_stream)
}

/// Where its events are.
pub(crate) fn storage_id(stream: &LogStream) -> StreamId {
    StreamId { group: stream.group_id, stream: stream.id }
}

/// The stream as Describe shows it. `storedBytes` of a stream is always 0, as with AWS since 2019.
pub(crate) fn describe(group: &LogGroup, stream: &LogStream, stats: &Stats) -> api::logs::LogStream {
    let token_time = stats.last_ingestion_time.unwrap_or(stream.created_at.as_millis());
    api::logs::LogStream {
        arn: Some(LogStream::arn_of(&group.scope, &group.name, &stream.name).to_string()),
        creation_time: Some(stream.created_at.as_millis()),
        first_event_timestamp: stats.first_timestamp,
        last_event_timestamp: stats.last_timestamp,
        last_ingestion_time: stats.last_ingestion_time,
        log_stream_name: Some(stream.name.clone()),
        stored_bytes: Some(0),
        upload_sequence_token: Some(EventKey::first_at(token_time).to_string()),
    }
}
