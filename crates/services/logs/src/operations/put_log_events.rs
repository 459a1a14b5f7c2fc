//! Takes events into a log stream. AWS: PutLogEvents.
//!
//! Differs from AWS: entities are not kept; there is no throttling; retention is by the day, to the millisecond.

use api::logs::operations::PutLogEvents;
use api::logs::{PutLogEventsRequest, PutLogEventsResponse, RejectedLogEventsInfo};
use base::Timestamp;
use domain::LogStream;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{log_group, log_stream};
use crate::storage::{AppendError, Event};
use crate::{Logs, faults};

/// Bytes of a put, [`EVENT_OVERHEAD_BYTES`] for each event included. Source: PutLogEvents.
const PUT_BYTES_MAXIMUM: usize = 1_048_576;
/// Source: PutLogEvents.
const EVENT_OVERHEAD_BYTES: usize = 26;
/// Source: PutLogEvents (14 days).
const OLDEST_MILLISECONDS: i64 = 14 * 24 * 3600 * 1000;
/// Source: PutLogEvents (2 hours).
const NEWEST_MILLISECONDS: i64 = 2 * 3600 * 1000;
/// Source: PutLogEvents (24 hours).
const SPAN_MILLISECONDS: i64 = 24 * 3600 * 1000;

/// An event whose members are there.
type Parsed = (i64, String);

impl Operation<PutLogEvents> for Logs {
    fn permissions(&self, call: &Call, input: &PutLogEventsRequest) -> Vec<Permission> {
        let names = input.log_group_name.as_deref().zip(input.log_stream_name.as_deref());
        let arn = names.map(|(group, stream)| LogStream::arn_of(&call.scope, group, stream).to_string());
        vec![Permission::new("logs:PutLogEvents", arn.unwrap_or_else(|| "*".to_owned()))]
    }

    async fn handle(&self, call: &Call, input: PutLogEventsRequest) -> Result<PutLogEventsResponse, Fault> {
        let group_name = faults::required(input.log_group_name, "logGroupName")?;
        let stream_name = faults::required(input.log_stream_name, "logStreamName")?;
        let events = faults::required(input.log_events, "logEvents")?;
        let events = events.into_iter().map(|event| {
            let timestamp = faults::required(event.timestamp, "logEvents.1.member.timestamp")?;
            Ok((timestamp, faults::required(event.message, "logEvents.1.member.message")?))
        });
        let mut events: Vec<Parsed> = events.collect::<Result<_, Fault>>()?;
        check_size_and_order(&events)?;

        let snapshot = self.store.snapshot();
        let group = log_group::find(&snapshot, &call.scope, &group_name)?;
        let stream = log_stream::find(&snapshot, &group, &stream_name)?;
        let (accepted, rejected) = accepted_range(&events, call.now, group.expires_before(call.now));
        check_span(events.get(accepted.clone()).unwrap_or_default())?;

        events.truncate(accepted.end);
        events.drain(..accepted.start);
        let (id, now) = (log_stream::storage_id(&stream), call.now.as_millis());
        let last_key = if events.is_empty() {
            None
        } else {
            let append = move |storage: &crate::storage::EventStore| {
                let events: Vec<_> = events
                    .iter()
                    .map(|(timestamp, message)| Event { timestamp: *timestamp, message })
                    .collect();
                storage.append(id, now, &events)
            };
            Some(self.blocking(append).await?.map_err(|error| match error {
                AppendError::Deleted => faults::no_log_stream(),
                AppendError::Io(error) => faults::internal(error),
            })?)
        };

        Ok(PutLogEventsResponse {
            next_sequence_token: last_key.map(|key| key.to_string()),
            rejected_entity_info: None,
            rejected_log_events_info: rejected,
        })
    }
}

fn check_size_and_order(events: &[Parsed]) -> Result<(), Fault> {
    let mut total = 0;
    for (_, message) in events {
        let bytes = message.len() + EVENT_OVERHEAD_BYTES;
        if bytes > PUT_BYTES_MAXIMUM {
            return Err(faults::invalid(format!(
                "Log event too large: {bytes} bytes exceeds limit of {PUT_BYTES_MAXIMUM}"
            )));
        }
        total += bytes;
    }
    if total > PUT_BYTES_MAXIMUM {
        return Err(faults::invalid(format!(
            "Upload too large: {total} bytes exceeds limit of {PUT_BYTES_MAXIMUM}"
        )));
    }
    if !events.is_sorted_by_key(|(timestamp, _)| *timestamp) {
        return Err(faults::invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    Ok(())
}

fn check_span(events: &[Parsed]) -> Result<(), Fault> {
    let span = events.first().zip(events.last()).map_or(0, |(first, last)| last.0.saturating_sub(first.0));
    if span > SPAN_MILLISECONDS {
        return Err(faults::invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(())
}

/// Which of the events, in order of time, are neither too old, expired nor too new; and what to say of the others.
fn accepted_range(
    events: &[Parsed],
    now: Timestamp,
    expires_before: Option<Timestamp>,
) -> (std::ops::Range<usize>, Option<RejectedLogEventsInfo>) {
    let before = |moment: Timestamp| events.partition_point(|(timestamp, _)| *timestamp < moment.as_millis());
    let too_old = before(now.plus_millis(-OLDEST_MILLISECONDS));
    let expired = expires_before.map_or(0, before);
    let too_new = before(now.plus_millis(NEWEST_MILLISECONDS + 1));
    let index = |index: usize| i32::try_from(index).ok();
    let rejected = RejectedLogEventsInfo {
        expired_log_event_end_index: if expired > 0 { index(expired) } else { None },
        too_new_log_event_start_index: if too_new < events.len() { index(too_new) } else { None },
        too_old_log_event_end_index: if too_old > 0 { index(too_old) } else { None },
    };
    let start = too_old.max(expired);
    let accepted = start..too_new.max(start);
    let all = accepted.len() == events.len();
    (accepted, (!all).then_some(rejected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(times: &[i64]) -> Vec<Parsed> {
        times.iter().map(|time| (*time, "m".to_owned())).collect()
    }

    #[test]
    fn events_too_old_expired_or_too_new_are_told_by_index() {
        let now = Timestamp::from_millis(100 * SPAN_MILLISECONDS);
        let day = |days: i64| now.as_millis() - days * SPAN_MILLISECONDS;
        let events = at(&[day(20), day(10), day(2), day(0), now.as_millis() + NEWEST_MILLISECONDS + 1]);
        let (accepted, rejected) = accepted_range(&events, now, None);
        let rejected = rejected.unwrap();
        assert_eq!(accepted, 1..4);
        assert_eq!(
            (rejected.too_old_log_event_end_index, rejected.too_new_log_event_start_index),
            (Some(1), Some(4))
        );
        assert_eq!(rejected.expired_log_event_end_index, None);
        let (accepted, rejected) =
            accepted_range(&events, now, Some(now.plus_millis(-5 * SPAN_MILLISECONDS)));
        assert_eq!((accepted, rejected.unwrap().expired_log_event_end_index), (2..4, Some(2)));
        assert_eq!(accepted_range(&events[1..4], now, None), (0..3, None));
        let (accepted, _) = accepted_range(&events[..1], now, None);
        assert!(accepted.is_empty());
    }

    #[test]
    fn the_limits_are_told_in_awss_words() {
        let message = |result: Result<(), Fault>| result.unwrap_err().message().to_owned();
        assert_eq!(
            message(check_size_and_order(&at(&[2, 1]))),
            "Log events in a single PutLogEvents request must be in chronological order."
        );
        assert!(message(check_span(&at(&[0, SPAN_MILLISECONDS + 1]))).contains("24 hours"));
        assert!(check_span(&at(&[0, SPAN_MILLISECONDS])).is_ok());
        let large = |bytes| vec![(0, "x".repeat(bytes))];
        assert!(check_size_and_order(&large(PUT_BYTES_MAXIMUM - 26)).is_ok());
        assert!(
            message(check_size_and_order(&large(PUT_BYTES_MAXIMUM)))
                .starts_with("Log event too large: 1048602")
        );
        let two = [large(600_000), large(600_000)].concat();
        assert_eq!(
            message(check_size_and_order(&two)),
            "Upload too large: 1200052 bytes exceeds limit of 1048576"
        );
    }
}
