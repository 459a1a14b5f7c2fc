//! The driver against a service that fails in every way it may.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use log_driver::{
    AwsLogsOptions, BoxFuture, ContainerLog, Drained, Driver, LogEvent, LogSink, SinkError, Target,
};
use log_spool::{Appended, Mode, Options, Reader, Stream, Writer};
use tokio::sync::Notify;

#[derive(Default)]
struct State {
    groups: Vec<String>,
    streams: BTreeMap<(String, String), Vec<LogEvent>>,
    away: bool,
    refuse: bool,
    puts: Vec<usize>,
    tries: usize,
}

#[derive(Default)]
struct FakeService {
    state: Mutex<State>,
    put: Notify,
    put_takes: Mutex<Duration>,
}

impl FakeService {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn messages(&self) -> Vec<String> {
        self.state().streams.values().flatten().map(|event| event.message.clone()).collect()
    }

    async fn wait_for(&self, count: usize) {
        let waiting = async {
            while self.messages().len() < count {
                self.put.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the events should arrive");
    }
}

impl LogSink for FakeService {
    fn put_log_events<'a>(
        &'a self,
        target: &'a Target,
        events: &'a [LogEvent],
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if target.endpoint.is_some() {
                std::future::pending::<()>().await;
            }
            let takes = *self.put_takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            let mut state = self.state();
            state.tries += 1;
            if state.away {
                return Err(SinkError::Away("connection refused".into()));
            }
            if state.refuse {
                let code = "InvalidParameterException".into();
                return Err(SinkError::Refused { code, message: "no".into() });
            }
            let Some(stream) = state.streams.get_mut(&(target.group.clone(), target.stream.clone())) else {
                return Err(SinkError::ResourceNotFound("The specified log stream does not exist.".into()));
            };
            stream.extend_from_slice(events);
            state.puts.push(events.len());
            self.put.notify_one();
            Ok(())
        })
    }

    fn create_log_group<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.state().groups.push(target.group.clone());
            Ok(())
        })
    }

    fn create_log_stream<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let mut state = self.state();
            if state.away {
                return Err(SinkError::Away("connection refused".into()));
            }
            if !state.groups.contains(&target.group) {
                return Err(SinkError::ResourceNotFound("The specified log group does not exist.".into()));
            }
            if state.streams.contains_key(&(target.group.clone(), target.stream.clone())) {
                return Err(SinkError::ResourceAlreadyExists("exists".into()));
            }
            state.streams.insert((target.group.clone(), target.stream.clone()), Vec::new());
            Ok(())
        })
    }
}

fn container_log(spool: &Path, more: &[(&str, &str)]) -> ContainerLog {
    let mut options = BTreeMap::from([
        ("awslogs-group".to_owned(), "g".to_owned()),
        ("awslogs-create-group".to_owned(), "true".to_owned()),
    ]);
    options.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    ContainerLog {
        spool: spool.to_owned(),
        options: AwsLogsOptions::parse(&options).unwrap(),
        stream: "s".into(),
        region: "us-east-1".into(),
    }
}

fn write(writer: &mut Writer, line: &str) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let nanoseconds = i64::try_from(now.as_nanos()).unwrap();
    assert_eq!(
        writer.append(Stream::Stdout, false, nanoseconds, line.as_bytes()).unwrap(),
        Appended::Written
    );
    writer.flush().unwrap();
}

#[tokio::test]
async fn a_line_is_delivered_at_once_and_the_end_is_seen() {
    let spool = tempfile::tempdir().unwrap();
    let service = Arc::new(FakeService::default());
    let driver = Driver::new(service.clone()).unwrap();
    let log = container_log(spool.path(), &[]);
    driver.prepare(&log).await.unwrap();
    driver.prepare(&log).await.unwrap();
    assert_eq!(service.state().groups, ["g"]);
    let handle = driver.start(log).unwrap();
    let mut writer = Writer::open(spool.path(), Options::default()).unwrap();
    let mut slowest = Duration::ZERO;
    for index in 1..=20 {
        let start = Instant::now();
        write(&mut writer, &format!("line {index}"));
        service.wait_for(index).await;
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    assert_eq!(handle.drained(Duration::from_millis(50)).await, Drained::TimedOut);
    writer.append(Stream::Stdout, true, 0, b"no newline").map(|_| ()).unwrap();
    drop(writer);
    assert_eq!(handle.drained(Duration::from_secs(5)).await, Drained::All);
    assert_eq!(service.messages().last().unwrap(), "no newline");
    assert_eq!(service.messages().len(), 21);
    let rest = Reader::open(spool.path()).unwrap().next_batch(1000).unwrap();
    assert!(rest.is_empty(), "all is acknowledged");
}

#[tokio::test]
async fn while_a_put_is_under_way_lines_gather() {
    let spool = tempfile::tempdir().unwrap();
    let service = Arc::new(FakeService::default());
    *service.put_takes.lock().unwrap() = Duration::from_millis(50);
    let driver = Driver::new(service.clone()).unwrap();
    let handle = driver.start(container_log(spool.path(), &[])).unwrap();
    let mut writer = Writer::open(spool.path(), Options::default()).unwrap();
    for index in 0..1000 {
        write(&mut writer, &format!("{index}"));
    }
    drop(writer);
    assert_eq!(handle.drained(Duration::from_secs(10)).await, Drained::All);
    let expected: Vec<_> = (0..1000).map(|index| index.to_string()).collect();
    assert_eq!(service.messages(), expected);
    assert!(service.state().puts.len() < 20, "{:?}", service.state().puts);
}

#[tokio::test]
async fn nothing_is_lost_while_the_service_is_away() {
    let spool = tempfile::tempdir().unwrap();
    let service = Arc::new(FakeService::default());
    service.state().away = true;
    let driver = Driver::new(service.clone()).unwrap();
    let handle = driver.start(container_log(spool.path(), &[])).unwrap();
    let mut writer = Writer::open(spool.path(), Options::default()).unwrap();
    for index in 0..5000 {
        write(&mut writer, &index.to_string());
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(service.state().tries < 10, "it backs off");
    service.state().away = false;
    service.wait_for(5000).await;
    drop(writer);
    assert_eq!(handle.drained(Duration::from_secs(5)).await, Drained::All);
    let expected: Vec<_> = (0..5000).map(|index| index.to_string()).collect();
    assert_eq!(service.messages(), expected);
}

#[tokio::test]
async fn a_full_spool_drops_and_tells_how_much() {
    let spool = tempfile::tempdir().unwrap();
    let service = Arc::new(FakeService::default());
    service.state().away = true;
    let driver = Driver::new(service.clone()).unwrap();
    let log = container_log(spool.path(), &[("max-buffer-size", "8k")]);
    let options = log.options.spool_options();
    assert_eq!(options.mode, Mode::NonBlocking);
    let handle = driver.start(log).unwrap();
    let mut writer = Writer::open(spool.path(), options).unwrap();
    let mut dropped = 0;
    for index in 0..1000 {
        let outcome =
            writer.append(Stream::Stdout, false, 1_000_000, format!("{index:082}").as_bytes()).unwrap();
        dropped += usize::from(outcome == Appended::Dropped);
    }
    assert!(dropped > 900, "{dropped}");
    service.state().away = false;
    drop(writer);
    assert_eq!(handle.drained(Duration::from_secs(10)).await, Drained::All);
    let messages = service.messages();
    assert_eq!(messages.len(), 1000 - dropped + 1);
    assert!(messages.last().unwrap().contains(&format!("{dropped} log records")), "{messages:?}");
}

#[tokio::test]
async fn another_agent_goes_on_where_the_last_one_stopped() {
    let spool = tempfile::tempdir().unwrap();
    let service = Arc::new(FakeService::default());
    let mut writer = Writer::open(spool.path(), Options::default()).unwrap();
    for part in 0..3 {
        let driver = Driver::new(service.clone()).unwrap();
        let handle = driver.start(container_log(spool.path(), &[])).unwrap();
        write(&mut writer, &format!("{part} while it runs"));
        service.wait_for(part * 2 + 1).await;
        // The acknowledgement follows the put: wait for it, so that this test needs no "at least".
        while !Reader::open(spool.path()).unwrap().next_batch(1000).unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        handle.stop();
        assert_eq!(handle.drained(Duration::from_secs(5)).await, Drained::Stopped);
        write(&mut writer, &format!("{part} while it is away"));
    }
    drop(writer);
    let driver = Driver::new(service.clone()).unwrap();
    let handle = driver.start(container_log(spool.path(), &[])).unwrap();
    assert_eq!(handle.drained(Duration::from_secs(5)).await, Drained::All);
    let expected: Vec<_> = (0..3)
        .flat_map(|part| [format!("{part} while it runs"), format!("{part} while it is away")])
        .collect();
    assert_eq!(service.messages(), expected);
}

#[tokio::test]
async fn a_multi_line_event_waits_for_its_rest_but_not_for_ever() {
    let spool = tempfile::tempdir().unwrap();
    let service = Arc::new(FakeService::default());
    let driver = Driver::new(service.clone()).unwrap();
    let options = [("awslogs-multiline-pattern", "^ERROR"), ("awslogs-force-flush-interval-seconds", "1")];
    let handle = driver.start(container_log(spool.path(), &options)).unwrap();
    let mut writer = Writer::open(spool.path(), Options::default()).unwrap();
    for line in ["ERROR one", "  at a", "ERROR two", "  at b"] {
        write(&mut writer, line);
    }
    service.wait_for(1).await;
    assert_eq!(service.messages(), ["ERROR one\n  at a"]);
    service.wait_for(2).await;
    assert_eq!(service.messages()[1], "ERROR two\n  at b");
    write(&mut writer, "ERROR three");
    drop(writer);
    assert_eq!(handle.drained(Duration::from_secs(5)).await, Drained::All);
    assert_eq!(service.messages()[2], "ERROR three");
}

#[tokio::test]
async fn what_is_refused_is_dropped_and_a_missing_group_waits() {
    let spool = tempfile::tempdir().unwrap();
    let service = Arc::new(FakeService::default());
    service.state().refuse = true;
    let driver = Driver::new(service.clone()).unwrap();
    let log = container_log(spool.path(), &[("awslogs-create-group", "false")]);
    let missing = driver.prepare(&log).await.unwrap_err();
    assert_eq!(missing, SinkError::ResourceNotFound("The specified log group does not exist.".into()));
    let handle = driver.start(log).unwrap();
    let mut writer = Writer::open(spool.path(), Options::default()).unwrap();
    write(&mut writer, "refused");
    while service.state().tries == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    service.state().refuse = false;
    write(&mut writer, "waits for its group");
    tokio::time::sleep(Duration::from_millis(50)).await;
    service.state().groups.push("g".into());
    drop(writer);
    assert_eq!(handle.drained(Duration::from_secs(10)).await, Drained::All);
    assert_eq!(service.messages(), ["waits for its group"]);
}

#[tokio::test]
async fn endpoints_that_never_answer_hold_up_nobody_else() {
    let service = Arc::new(FakeService::default());
    let driver = Driver::new(service.clone()).unwrap();
    let mut kept = Vec::new();
    for index in 0..40 {
        let spool = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(spool.path(), Options::default()).unwrap();
        write(&mut writer, "into the void");
        let endpoint = format!("http://192.0.2.{index}");
        let log = container_log(spool.path(), &[("awslogs-endpoint", &endpoint)]);
        kept.push((driver.start(log).unwrap(), spool));
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let spool = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(spool.path(), Options::default()).unwrap();
    write(&mut writer, "heard");
    drop(writer);
    let handle = driver.start(container_log(spool.path(), &[])).unwrap();
    assert_eq!(handle.drained(Duration::from_secs(5)).await, Drained::All);
    assert_eq!(service.messages(), ["heard"]);
    for (handle, _) in kept {
        handle.stop();
    }
}

#[tokio::test]
async fn a_spool_that_is_removed_ends_its_loop() {
    for away in [false, true] {
        let spool = tempfile::tempdir().unwrap();
        let service = Arc::new(FakeService::default());
        service.state().away = away;
        let driver = Driver::new(service.clone()).unwrap();
        let handle = driver.start(container_log(spool.path(), &[])).unwrap();
        let mut writer = Writer::open(spool.path(), Options::default()).unwrap();
        write(&mut writer, "a line");
        assert_eq!(handle.drained(Duration::from_millis(150)).await, Drained::TimedOut);
        std::fs::remove_dir_all(spool.path()).unwrap();
        drop(writer);
        assert_eq!(handle.drained(Duration::from_secs(10)).await, Drained::Stopped, "away: {away}");
    }
}
