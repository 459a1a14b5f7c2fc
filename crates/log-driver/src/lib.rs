//! The agent's log drivers: reads the spools that the containers' shims fill, and ships them.
//!
//! - [`LogConfiguration::parse`] reads `logConfiguration` of a container definition: `awslogs`, `json-file`, `none`.
//! - [`Driver`] ships the spools of `awslogs` containers to CloudWatch Logs, through a [`LogSink`] that the agent supplies.
//!
//! A line is sent the moment it is seen. While a put is under way, what comes meanwhile gathers in the spool and makes
//! the next batch. While the service is away it gathers there too, up to the spool's capacity: the agent's memory holds no
//! more than [`PUTS_AT_ONCE`] batches, and one unfinished line or multi-line event per container.
//!
//! Delivery is at least once: a position is acknowledged after the service took it, so an agent that is killed in between
//! sends some events again.

mod assemble;
mod configuration;
mod driver;
mod multiline;
mod options;
mod sink;

pub use configuration::{ContainerFacts, LogConfiguration};
pub use driver::{ContainerLog, Drained, Driver, Handle, PUTS_AT_ONCE};
pub use log_spool::OptionError;
pub use multiline::MultilinePattern;
pub use options::AwsLogsOptions;
pub use sink::{BoxFuture, LogEvent, LogSink, SinkError, Target};

/// Bytes of one put, with [`EVENT_OVERHEAD_BYTES`] for each event. Source: PutLogEvents.
pub const PUT_BYTES_MAXIMUM: usize = 1_048_576;
/// Bytes that each event counts beyond its message. Source: PutLogEvents.
pub const EVENT_OVERHEAD_BYTES: usize = 26;
/// Bytes of one event's message; longer lines are split. Source: "CloudWatch Logs quotas" (1 MB with the overhead).
pub const EVENT_BYTES_MAXIMUM: usize = PUT_BYTES_MAXIMUM - EVENT_OVERHEAD_BYTES;
/// Events of one put. Source: PutLogEvents.
pub const PUT_EVENTS_MAXIMUM: usize = 10_000;
/// Milliseconds between the first and the last event of one put. Source: PutLogEvents (24 hours).
pub const PUT_SPAN_MILLISECONDS: i64 = 24 * 3600 * 1000;
/// Bytes of one put once it is JSON, with [`EVENT_JSON_OVERHEAD_BYTES`] for each event. Ours: our own service takes bodies of
/// 4 MiB, and control characters take six bytes each.
pub const PUT_JSON_BYTES_MAXIMUM: usize = 3 * 1024 * 1024;
/// Bytes of an event in JSON beyond its message: braces, member names and the timestamp.
pub const EVENT_JSON_OVERHEAD_BYTES: usize = 64;
/// Bytes of one event's message once it is JSON; what is longer is split.
pub const EVENT_JSON_BYTES_MAXIMUM: usize = PUT_JSON_BYTES_MAXIMUM - EVENT_JSON_OVERHEAD_BYTES;
