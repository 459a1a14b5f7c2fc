//! Ships spools: one loop per container, one watcher for all.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log_spool::{Reader, WatchId, Watcher};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::assemble::{Assembler, json_bytes_of};
use crate::{
    AwsLogsOptions, EVENT_JSON_OVERHEAD_BYTES, EVENT_OVERHEAD_BYTES, LogEvent, LogSink, PUT_BYTES_MAXIMUM,
    PUT_EVENTS_MAXIMUM, PUT_JSON_BYTES_MAXIMUM, PUT_SPAN_MILLISECONDS, SinkError, Target,
};

/// Containers whose batches are in memory at one time; the others wait their turn, their lines in the spools.
pub const PUTS_AT_ONCE: usize = 16;
/// The same for the containers that have an endpoint of their own (`awslogs-endpoint`): one that answers nobody must not take
/// the turns of those that send to the region's.
const PUTS_AT_ONCE_ELSEWHERE: usize = 4;
/// Bytes read from a spool for one round: with [`PUT_EVENTS_MAXIMUM`] records it makes one put, but for rare cases.
const ROUND_BYTES: usize = PUT_BYTES_MAXIMUM / 2;
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_MAXIMUM: Duration = Duration::from_secs(5);
/// The kernel tells that the writer closed its lock just before it frees the lock. Look again so much later, once.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One container's log to be shipped.
#[derive(Clone, Debug)]
pub struct ContainerLog {
    /// The spool's directory.
    pub spool: PathBuf,
    /// The driver's options.
    pub options: AwsLogsOptions,
    /// The log stream; see [`AwsLogsOptions::stream_name`].
    pub stream: String,
    /// The region where the options name none.
    pub region: String,
}

impl ContainerLog {
    /// Where the events go.
    pub fn target(&self) -> Target {
        Target {
            region: self.options.region.clone().unwrap_or_else(|| self.region.clone()),
            group: self.options.group.clone(),
            stream: self.stream.clone(),
            endpoint: self.options.endpoint.clone(),
            format: self.options.format.clone(),
        }
    }
}

/// How [`Handle::drained`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// The writer has gone and the service has taken all it wrote.
    All,
    /// The time was up; shipping goes on.
    TimedOut,
    /// Shipping was stopped, or the spool was removed.
    Stopped,
}

/// A container's log under way. Dropping the handle stops nothing.
#[derive(Debug)]
pub struct Handle {
    done: watch::Receiver<bool>,
    abort: AbortHandle,
}

impl Handle {
    /// Waits until the container's writer has gone and all is delivered, but not longer than `limit`.
    pub async fn drained(&self, limit: Duration) -> Drained {
        let mut done = self.done.clone();
        match tokio::time::timeout(limit, done.wait_for(|done| *done)).await {
            Ok(Ok(_)) => Drained::All,
            Ok(Err(_)) => Drained::Stopped,
            Err(_) => Drained::TimedOut,
        }
    }

    /// Stops shipping. What is not acknowledged stays in the spool for the next [`Driver::start`].
    pub fn stop(&self) {
        self.abort.abort();
    }
}

/// Ships the logs of all containers of a node.
pub struct Driver {
    sink: Arc<dyn LogSink>,
    doors: Arc<Doors>,
    permits: Arc<Semaphore>,
    permits_elsewhere: Arc<Semaphore>,
    watching: AbortHandle,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Driver {
    /// A driver that sends through `sink`. To be called inside a tokio runtime.
    pub fn new(sink: Arc<dyn LogSink>) -> io::Result<Self> {
        // Deprecated for types that may hand out another descriptor each time; a `Watcher` has one for its whole life.
        #[allow(deprecated)]
        let watcher = AsyncFd::try_with_interest(Watcher::new()?, Interest::READABLE)?;
        let doors = Arc::new(Doors { watcher, bells: Mutex::default() });
        let watching = tokio::spawn(watch_doors(Arc::clone(&doors))).abort_handle();
        let permits = Arc::new(Semaphore::new(PUTS_AT_ONCE));
        let permits_elsewhere = Arc::new(Semaphore::new(PUTS_AT_ONCE_ELSEWHERE));
        Ok(Self { sink, doors, permits, permits_elsewhere, watching })
    }

    /// Makes the log stream, and the group if `awslogs-create-group` says so. Docker does this before it starts the
    /// container, which fails to start where this fails.
    pub async fn prepare(&self, log: &ContainerLog) -> Result<(), SinkError> {
        ensure_stream(&*self.sink, &log.target(), &log.options).await
    }

    /// Ships a container's spool from where the last agent left off, until its writer has gone and all is delivered.
    pub fn start(&self, log: ContainerLog) -> io::Result<Handle> {
        let bell = Arc::new(Notify::new());
        let watch_id = self.doors.watcher.get_ref().add(&log.spool)?;
        self.doors.bells.lock().unwrap_or_else(PoisonError::into_inner).insert(watch_id, Arc::clone(&bell));
        let guard = BellGuard { doors: Arc::clone(&self.doors), watch_id };
        let (sender, done) = watch::channel(false);
        let reader = Reader::open(&log.spool)?;
        let shipping = Shipping {
            sink: Arc::clone(&self.sink),
            target: log.target(),
            assembler: Assembler::new(log.options.multiline.clone(), reader.position()),
            options: log.options,
            reader,
            failing: false,
        };
        let elsewhere = shipping.target.endpoint.is_some();
        let permits = Arc::clone(if elsewhere { &self.permits_elsewhere } else { &self.permits });
        let abort = tokio::spawn(async move {
            let _guard = guard;
            if shipping.run(&bell, &permits).await {
                let _ = sender.send(true);
            }
        })
        .abort_handle();
        Ok(Handle { done, abort })
    }
}

/// The watcher, and whom to wake for what it sees.
struct Doors {
    watcher: AsyncFd<Watcher>,
    bells: Mutex<BTreeMap<WatchId, Arc<Notify>>>,
}

/// Takes a container's bell away when its loop ends or is stopped.
struct BellGuard {
    doors: Arc<Doors>,
    watch_id: WatchId,
}

impl Drop for BellGuard {
    fn drop(&mut self) {
        self.doors.bells.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.watch_id);
        self.doors.watcher.get_ref().remove(self.watch_id);
    }
}

async fn watch_doors(doors: Arc<Doors>) {
    loop {
        let mut ready = match doors.watcher.readable().await {
            Ok(ready) => ready,
            Err(error) => {
                tracing::error!(%error, "log spools can no longer be watched");
                return;
            }
        };
        // Before the events are taken: those that come meanwhile make it ready again.
        ready.clear_ready();
        match doors.watcher.get_ref().changed() {
            Ok(changed) => {
                let bells = doors.bells.lock().unwrap_or_else(PoisonError::into_inner);
                match changed {
                    Some(ids) => ids.iter().filter_map(|id| bells.get(id)).for_each(|bell| bell.notify_one()),
                    None => bells.values().for_each(|bell| bell.notify_one()),
                }
            }
            Err(error) => tracing::error!(%error, "reading what changed in the log spools"),
        }
    }
}

/// How a round ended.
enum Round {
    /// Something was read; there may be more.
    Progress,
    /// Nothing was there.
    Idle,
    /// Nothing is there and nothing more will come.
    Finished,
}

/// Why a round failed. The same again after a while, from what was acknowledged.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Spool(#[from] io::Error),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// The loop of one container.
struct Shipping {
    sink: Arc<dyn LogSink>,
    target: Target,
    options: AwsLogsOptions,
    reader: Reader,
    assembler: Assembler,
    /// Whether the last round failed: the first failure and the recovery are logged, not what is between.
    failing: bool,
}

impl Shipping {
    /// Ships to the end. False: the spool was taken away.
    async fn run(mut self, bell: &Notify, permits: &Semaphore) -> bool {
        let mut back_off = BACK_OFF_FIRST;
        let mut look_again = false;
        let mut last_progress = Instant::now();
        loop {
            let flush_at = last_progress + self.options.force_flush_interval;
            let flush = self.assembler.event_waits() && Instant::now() >= flush_at;
            let outcome = {
                let _permit = permits.acquire().await;
                self.round(flush).await
            };
            match outcome {
                Ok(Round::Finished) => {
                    self.recovered();
                    return true;
                }
                Ok(Round::Progress) => {
                    last_progress = Instant::now();
                    back_off = BACK_OFF_FIRST;
                    self.recovered();
                }
                Ok(Round::Idle) => {
                    let event_waits = self.assembler.event_waits();
                    tokio::select! {
                        () = bell.notified() => look_again = true,
                        () = tokio::time::sleep(LOOK_AGAIN), if look_again => look_again = false,
                        () = tokio::time::sleep_until(flush_at), if event_waits => {}
                    }
                }
                Err(RoundError::Spool(error)) if error.kind() == io::ErrorKind::NotFound => {
                    // Whoever removes a spool has given its lines up (after a time limit, say).
                    let (group, stream) = (&self.target.group, &self.target.stream);
                    tracing::warn!(%group, %stream, "the log spool was removed; what was left in it is lost");
                    return false;
                }
                Err(error) => {
                    self.failed(&error);
                    // Hold nothing in memory while waiting: it is all in the spool.
                    self.reader.rewind();
                    self.assembler = Assembler::new(self.options.multiline.clone(), self.reader.position());
                    tokio::time::sleep(back_off + self.jitter(back_off)).await;
                    back_off = (back_off * 2).min(BACK_OFF_MAXIMUM);
                }
            }
        }
    }

    async fn round(&mut self, flush: bool) -> Result<Round, RoundError> {
        let records = self.reader.next_batch_of(ROUND_BYTES, self.options.events_per_put)?;
        let read_any = !records.is_empty();
        for record in records {
            self.assembler.push(record);
        }
        let finished = !read_any && self.reader.finished()?;
        if finished {
            self.assembler.finish();
        } else if flush && !read_any {
            self.assembler.finish_event();
        }
        let events = self.assembler.take_ready();
        for batch in batches(&events, self.options.events_per_put) {
            self.put(batch).await?;
        }
        self.reader.acknowledge(self.assembler.delivered())?;
        Ok(if finished {
            Round::Finished
        } else if read_any {
            Round::Progress
        } else {
            Round::Idle
        })
    }

    async fn put(&self, batch: &[LogEvent]) -> Result<(), SinkError> {
        let mut outcome = self.sink.put_log_events(&self.target, batch).await;
        if matches!(outcome, Err(SinkError::ResourceNotFound(_))) {
            ensure_stream(&*self.sink, &self.target, &self.options).await?;
            outcome = self.sink.put_log_events(&self.target, batch).await;
        }
        match outcome {
            Err(SinkError::Refused { code, message }) => {
                // It would be refused for ever, and all behind it would wait.
                let (group, stream, events) = (&self.target.group, &self.target.stream, batch.len());
                tracing::error!(%group, %stream, events, %code, %message, "log events refused and dropped");
                Ok(())
            }
            other => other,
        }
    }

    fn failed(&mut self, error: &RoundError) {
        if !std::mem::replace(&mut self.failing, true) {
            let (group, stream) = (&self.target.group, &self.target.stream);
            tracing::warn!(%group, %stream, %error, "log events cannot be delivered now; they wait in the spool");
        }
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!(group = %self.target.group, stream = %self.target.stream, "log events are delivered again");
        }
    }

    /// Up to a quarter of `back_off`, another share for every stream, so that not all come back in the same instant.
    fn jitter(&self, back_off: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.target.hash(&mut hasher);
        back_off.mul_f64((hasher.finish() % 1000) as f64 / 4000.0)
    }
}

async fn ensure_stream(
    sink: &dyn LogSink,
    target: &Target,
    options: &AwsLogsOptions,
) -> Result<(), SinkError> {
    if !options.create_stream {
        return Ok(());
    }
    let exists_is_fine = |outcome| match outcome {
        Err(SinkError::ResourceAlreadyExists(_)) => Ok(()),
        other => other,
    };
    match exists_is_fine(sink.create_log_stream(target).await) {
        Err(SinkError::ResourceNotFound(_)) if options.create_group => {
            exists_is_fine(sink.create_log_group(target).await)?;
            exists_is_fine(sink.create_log_stream(target).await)
        }
        other => other,
    }
}

/// Cuts events, which are in order of time, where a put's limits are reached.
fn batches(events: &[LogEvent], events_per_put: usize) -> impl Iterator<Item = &[LogEvent]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let first = rest.first()?.timestamp;
        let (mut bytes, mut json_bytes) = (0, 0);
        let within = rest.iter().take(events_per_put.clamp(1, PUT_EVENTS_MAXIMUM)).take_while(|event| {
            bytes += event.message.len() + EVENT_OVERHEAD_BYTES;
            json_bytes += event.message.bytes().map(json_bytes_of).sum::<usize>() + EVENT_JSON_OVERHEAD_BYTES;
            bytes <= PUT_BYTES_MAXIMUM
                && json_bytes <= PUT_JSON_BYTES_MAXIMUM
                && event.timestamp.saturating_sub(first) <= PUT_SPAN_MILLISECONDS
        });
        let count = within.count().max(1);
        let (batch, behind) = rest.split_at(count);
        rest = behind;
        Some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EVENT_BYTES_MAXIMUM;

    #[test]
    fn puts_keep_their_limits() {
        let event = |timestamp, length: usize| LogEvent { timestamp, message: "x".repeat(length) };
        let counts = |events: &[LogEvent], per_put| {
            batches(events, per_put).map(<[LogEvent]>::len).collect::<Vec<_>>()
        };
        let many: Vec<_> = (0..25_000).map(|index| event(index, 1)).collect();
        assert_eq!(counts(&many, 10_000), [10_000, 10_000, 5_000]);
        assert_eq!(counts(&many[..7], 3), [3, 3, 1]);
        let large =
            vec![event(0, EVENT_BYTES_MAXIMUM), event(0, 1), event(0, 1_048_576 - 27 - 26), event(0, 1)];
        assert_eq!(counts(&large, 10_000), [1, 2, 1]);
        let controls = vec![LogEvent { timestamp: 0, message: "\u{1}".repeat(100_000) }; 12];
        assert_eq!(counts(&controls, 10_000), [5, 5, 2], "six bytes each in JSON");
        let day = PUT_SPAN_MILLISECONDS;
        assert_eq!(counts(&[event(0, 1), event(day, 1), event(day + 1, 1)], 10), [2, 1]);
        assert!(counts(&[], 10).is_empty());
    }
}
