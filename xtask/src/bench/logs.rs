//! Log lines: how many a second at each station and over the whole way, and how soon one is seen.
//!
//! The whole way is the shim's spool, the driver, awsJson through the gateway (without HTTP and signature), and the event
//! storage. The floor is a plain write of the same lines; the peer is rsyslogd, from its socket to its file.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use api::logs::{InputLogEvent, PutLogEventsRequest};
use base::{RandomIds, Scope, SystemClock};
use bytes::Bytes;
use log_driver::{
    AwsLogsOptions, BoxFuture, ContainerLog, Drained, Driver, LogEvent, LogSink, SinkError, Target,
};
use log_spool::{Appended, Mode, Stream, Writer};
use logs::Logs;
use logs::storage::{Event, EventStore, StreamId, Sync};
use serde_json::{Value, json};
use store::Store;
use tokio::runtime::Runtime;
use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

use super::compare::{Metric, Side, compare, load_average, quantile};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "logs",
    about: "lines per second (storage, spool, whole way), and from a written line to GetLogEvents",
    run,
};

/// Lines of one sample.
const LINES: usize = 200_000;
/// Bytes of a line.
const LINE_BYTES: usize = 100;
/// Lines of one put where the storage is measured by itself.
const BATCH: usize = 1000;
/// Lines that are timed one by one.
const SINGLE_LINES: usize = 300;
/// What a sample may take.
const PATIENCE: Duration = Duration::from_secs(60);

const RATE: Metric = Metric { name: "one thread", unit: "lines/s", less_is_better: false };
const WAY: Metric = Metric { name: "written to stored", unit: "lines/s", less_is_better: false };
const WAY_CPU: Metric =
    Metric { name: "written to stored, by CPU time of all", unit: "lines/CPU s", less_is_better: false };
/// Of the times in /proc/PID/stat. Source: proc(5); Linux has no other value for programs.
const TICKS_PER_SECOND: f64 = 100.0;

fn run(setup: &Setup) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(text)?;
    let lines: Vec<String> =
        (0..LINES).map(|index| format!("{index:08} {}", "x".repeat(LINE_BYTES - 9))).collect();
    let mut plain = plain_write(setup, &lines);

    let storage = EventStore::open(&setup.directory.join("storage"), Sync::default()).map_err(text)?;
    let mut stream = 0;
    compare(
        setup.pairs,
        &[RATE],
        Side {
            name: "event storage",
            measure: &mut || {
                stream += 1;
                ingest(&storage, stream, &lines)
            },
        },
        Side { name: "plain write", measure: &mut plain },
    )?;
    let mut number = 0;
    compare(
        setup.pairs,
        &[RATE],
        Side {
            name: "spool",
            measure: &mut || {
                number += 1;
                spool(&setup.directory.join(format!("spool-{number}")), &lines)
            },
        },
        Side { name: "plain write", measure: &mut plain },
    )?;

    let way = Way::new(setup, &runtime)?;
    let mut number = 0;
    let mut whole = || {
        number += 1;
        way.all_lines(&format!("many-{number}"), &lines)
    };
    match Rsyslog::start(&setup.directory) {
        Ok(rsyslog) => compare(
            setup.pairs,
            &[WAY, WAY_CPU],
            Side { name: "the whole way", measure: &mut whole },
            Side { name: "rsyslogd", measure: &mut || rsyslog.all_lines(&lines) },
        )?,
        Err(reason) => {
            println!("\nagainst rsyslogd: skipped: {reason}");
            let alone = whole()?;
            println!("the whole way, without a peer: {:.0} lines/s, {:.0} lines/CPU s", alone[0], alone[1]);
        }
    }

    let times = way.single_lines("single")?;
    println!("\nfrom a written line to GetLogEvents, {SINGLE_LINES} lines, load average {}", load_average());
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("slowest", 1.0)] {
        println!("    {name:8} {:>9.0} us", quantile(&times, share));
    }
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn now_milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or_default()
}

fn per_second(lines: &[String], start: Instant) -> Vec<f64> {
    vec![lines.len() as f64 / start.elapsed().as_secs_f64()]
}

/// CPU time that a process has used, in seconds.
fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything, come the third field and those that follow it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// Lines per second, and per second of CPU time.
fn rates(lines: &[String], start: Instant, cpu_seconds: f64) -> Vec<f64> {
    let count = lines.len() as f64;
    vec![count / start.elapsed().as_secs_f64(), count / cpu_seconds.max(1.0 / TICKS_PER_SECOND)]
}

/// The floor: the lines into a file, in writes as large as a put.
fn plain_write<'a>(setup: &'a Setup, lines: &'a [String]) -> impl FnMut() -> Result<Vec<f64>, String> + 'a {
    move || {
        let mut file = File::create(setup.directory.join("plain")).map_err(text)?;
        let start = Instant::now();
        for batch in lines.chunks(BATCH) {
            file.write_all(batch.concat().as_bytes()).map_err(text)?;
        }
        Ok(per_second(lines, start))
    }
}

fn ingest(storage: &EventStore, stream: u64, lines: &[String]) -> Result<Vec<f64>, String> {
    let start = Instant::now();
    for batch in lines.chunks(BATCH) {
        let timestamp = now_milliseconds();
        let events: Vec<_> = batch.iter().map(|message| Event { timestamp, message }).collect();
        storage.append(StreamId { group: 1, stream }, timestamp, &events).map_err(text)?;
    }
    Ok(per_second(lines, start))
}

fn spool(directory: &Path, lines: &[String]) -> Result<Vec<f64>, String> {
    let options = log_spool::Options::new(256 << 20, Mode::Blocking);
    let mut writer = Writer::open(directory, options).map_err(text)?;
    let start = Instant::now();
    for line in lines {
        append(&mut writer, line)?;
    }
    writer.flush().map_err(text)?;
    Ok(per_second(lines, start))
}

fn append(writer: &mut Writer, line: &str) -> Result<(), String> {
    match writer.append(Stream::Stdout, false, now_milliseconds() * 1_000_000, line.as_bytes()) {
        Ok(Appended::Written) => Ok(()),
        Ok(other) => Err(format!("a line was not written: {other:?}")),
        Err(error) => Err(text(error)),
    }
}

/// Everything from spool to GetLogEvents, in this process.
struct Way<'r> {
    runtime: &'r Runtime,
    gateway: Arc<Gateway>,
    driver: Driver,
    directory: std::path::PathBuf,
}

impl<'r> Way<'r> {
    fn new(setup: &Setup, runtime: &'r Runtime) -> Result<Self, String> {
        let _inside = runtime.enter();
        let directory = setup.directory.join("way");
        let options = store::rows::register(store::Options::durable());
        let store = Store::open(&directory.join("store"), options).map_err(text)?;
        let events = directory.join("events");
        let logs = Logs::open(store, &events, Sync::default(), Arc::new(RandomIds)).map_err(text)?;
        let scope = Scope::new("000000000000".parse().map_err(text)?, "us-east-1".parse().map_err(text)?);
        let gateway = Arc::new(Gateway::new(GatewaySettings {
            tables: vec![logs.table()],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            default_scope: scope,
            endpoint: "http://127.0.0.1:4566".to_owned(),
        }));
        let driver = Driver::new(Arc::new(GatewaySink(Arc::clone(&gateway)))).map_err(text)?;
        Ok(Self { runtime, gateway, driver, directory })
    }

    fn start(&self, stream: &str) -> Result<(Writer, log_driver::Handle), String> {
        let _inside = self.runtime.enter();
        let options = [("awslogs-group", "bench"), ("awslogs-create-group", "true"), ("mode", "blocking")];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let log = ContainerLog {
            spool: self.directory.join(stream),
            options: AwsLogsOptions::parse(&options.into()).map_err(text)?,
            stream: stream.to_owned(),
            region: "us-east-1".to_owned(),
        };
        self.runtime.block_on(self.driver.prepare(&log)).map_err(text)?;
        let options = log_spool::Options::new(256 << 20, Mode::Blocking);
        let writer = Writer::open(&log.spool, options).map_err(text)?;
        Ok((writer, self.driver.start(log).map_err(text)?))
    }

    fn all_lines(&self, stream: &str, lines: &[String]) -> Result<Vec<f64>, String> {
        let (mut writer, handle) = self.start(stream)?;
        let (start, cpu) = (Instant::now(), cpu_seconds(std::process::id()));
        for line in lines {
            append(&mut writer, line)?;
        }
        drop(writer);
        match self.runtime.block_on(handle.drained(PATIENCE)) {
            Drained::All => Ok(rates(lines, start, cpu_seconds(std::process::id()) - cpu)),
            other => Err(format!("the lines were not delivered: {other:?}")),
        }
    }

    /// Microseconds from the write of a line to the answer of GetLogEvents that has it.
    fn single_lines(&self, stream: &str) -> Result<Vec<f64>, String> {
        let (mut writer, _handle) = self.start(stream)?;
        let mut token = Value::Null;
        let mut times = Vec::new();
        for number in 0..SINGLE_LINES {
            std::thread::sleep(Duration::from_millis(2));
            let start = Instant::now();
            append(&mut writer, &format!("line {number}"))?;
            writer.flush().map_err(text)?;
            loop {
                let mut input =
                    json!({"logGroupName": "bench", "logStreamName": stream, "startFromHead": true});
                if !token.is_null() {
                    input["nextToken"] = token;
                }
                let answer = self.runtime.block_on(call(&self.gateway, "GetLogEvents", input.to_string()));
                let answer = answer.map_err(text)?;
                token = answer["nextForwardToken"].clone();
                if answer["events"].as_array().is_some_and(|events| !events.is_empty()) {
                    break;
                }
                if start.elapsed() > PATIENCE {
                    return Err("a line never came".to_owned());
                }
            }
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        Ok(times)
    }
}

async fn call(gateway: &Gateway, operation: &str, input: String) -> Result<Value, SinkError> {
    let request = http::Request::post("http://127.0.0.1:4566/")
        .header("x-amz-target", format!("Logs_20140328.{operation}"))
        .body(Bytes::from(input))
        .map_err(|error| SinkError::Away(text(error)))?;
    let response = gateway.call(request, None).await;
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    if response.status().is_success() {
        return Ok(body);
    }
    let code = body["__type"].as_str().unwrap_or_default();
    let message = body["message"].as_str().unwrap_or_default();
    Err(SinkError::of_answer(code, message, response.status().as_u16()))
}

struct GatewaySink(Arc<Gateway>);

impl LogSink for GatewaySink {
    fn put_log_events<'a>(
        &'a self,
        target: &'a Target,
        events: &'a [LogEvent],
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let events = events.iter().map(|event| InputLogEvent {
                message: Some(event.message.clone()),
                timestamp: Some(event.timestamp),
            });
            let request = PutLogEventsRequest {
                log_events: Some(events.collect()),
                log_group_name: Some(target.group.clone()),
                log_stream_name: Some(target.stream.clone()),
                ..PutLogEventsRequest::default()
            };
            call(&self.0, "PutLogEvents", wire::json::to_string(&request)).await.map(drop)
        })
    }

    fn create_log_group<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let input = json!({"logGroupName": target.group}).to_string();
            call(&self.0, "CreateLogGroup", input).await.map(drop)
        })
    }

    fn create_log_stream<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SinkError>> {
        let input = json!({"logGroupName": target.group, "logStreamName": target.stream});
        Box::pin(async move { call(&self.0, "CreateLogStream", input.to_string()).await.map(drop) })
    }
}

/// A running rsyslogd with a socket and a file of its own. Killed when dropped.
struct Rsyslog {
    process: Child,
    socket: UnixDatagram,
    output: std::path::PathBuf,
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Rsyslog {
    /// Starts one; `Err`: why there is none.
    fn start(directory: &Path) -> Result<Self, String> {
        let directory = directory.join("rsyslog");
        fs::create_dir_all(&directory).map_err(text)?;
        let (address, output) = (directory.join("socket"), directory.join("output"));
        let configuration = directory.join("rsyslog.conf");
        let words = format!(
            "global(workDirectory=\"{0}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{1}\" RateLimit.Interval=\"0\")\n\
             template(name=\"line\" type=\"string\" string=\"%timestamp% %msg%\\n\")\n\
             *.* action(type=\"omfile\" file=\"{2}\" template=\"line\")\n",
            directory.display(),
            address.display(),
            output.display(),
        );
        fs::write(&configuration, words).map_err(text)?;
        let process = Command::new("/usr/sbin/rsyslogd")
            .arg("-n")
            .arg("-f")
            .arg(&configuration)
            .arg("-i")
            .arg(directory.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("rsyslogd cannot be started ({error}); Debian has it as rsyslog"))?;
        let socket = UnixDatagram::unbound().map_err(text)?;
        let rsyslog = Self { process, socket, output };
        let start = Instant::now();
        while rsyslog.socket.connect(&address).is_err() {
            if start.elapsed() > Duration::from_secs(5) {
                return Err("rsyslogd does not open its socket".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(rsyslog)
    }

    /// From the first line sent until the file has grown by all of them.
    fn all_lines(&self, lines: &[String]) -> Result<Vec<f64>, String> {
        let length = || fs::metadata(&self.output).map_or(0, |metadata| metadata.len());
        let before = length();
        // "Nov 22 14:40:17 " and a newline come with each.
        let expected = lines.iter().map(|line| line.len() as u64 + 17).sum::<u64>();
        let cpu = || cpu_seconds(std::process::id()) + cpu_seconds(self.process.id());
        let (start, cpu_before) = (Instant::now(), cpu());
        for line in lines {
            self.socket.send(format!("<14>bench: {line}").as_bytes()).map_err(text)?;
        }
        while length() - before < expected {
            if start.elapsed() > PATIENCE {
                return Err(format!("rsyslogd wrote {} of {expected} bytes", length() - before));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(rates(lines, start, cpu() - cpu_before))
    }
}
