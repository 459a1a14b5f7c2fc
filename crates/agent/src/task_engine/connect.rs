//! Service Connect's part of a task: what it calls and is called at, and the log of its proxy.
//!
//! The proxy listens in every network namespace of the task: one in mode awsvpc, each container's in mode bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use agent_protocol::docker::LogConfig;
use agent_protocol::payload::{ServiceConnectExtension, Task};
use base::{Clock, Timestamp};
use log_driver::{ContainerFacts, Handle};
use log_spool::{JsonFileWriter, Stream, Writer};
use service_connect::{AccessLog, Ingress, Listener, Log, LogSink, Opening, Proxy};
use tokio::sync::mpsc;

use super::plan::{PlanError, TaskPlan};
use crate::logs::{Logs, Output};

/// Lines of a proxy that wait to be written; those that come meanwhile are lost, as with a full spool.
const LINES_WAITING_MAXIMUM: usize = 4096;
/// Lines that are written together.
const LINES_AT_ONCE: usize = 512;
/// What stands for the container's name in log streams. Source: AWS, which adds characters of chance.
const CONTAINER_NAME: &str = "ecs-service-connect";

/// What Service Connect is to a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectPlan {
    /// Names and ports that it calls.
    pub listeners: Vec<Listener>,
    /// Ports that it is called at instead of its containers'.
    pub ingress: Vec<Ingress>,
    /// Where its proxy writes.
    pub log: Option<ConnectLogPlan>,
}

/// Where a task's proxy writes, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectLogPlan {
    /// Driver and options.
    pub config: LogConfig,
    /// Whether requests and connections are logged, and how.
    pub access: Option<AccessLog>,
}

/// Reads what the order says.
pub fn read(task: &Task) -> Result<ConnectPlan, PlanError> {
    let Some(extension) = &task.roadstead else { return Ok(ConnectPlan::default()) };
    let listeners = extension.service_connect.iter().map(listener).collect::<Result<Vec<_>, _>>()?;
    let mode = task.network_mode.as_deref().unwrap_or("bridge");
    if !listeners.is_empty() && !matches!(mode, "awsvpc" | "bridge" | "") {
        return Err(PlanError("Service Connect needs the network mode awsvpc or bridge".to_owned()));
    }
    let ingress: Vec<Ingress> = extension
        .service_connect_ingress
        .iter()
        .map(|given| Ingress { port: given.port, container_port: given.container_port })
        .collect();
    if !ingress.is_empty() && mode != "awsvpc" {
        return Err(PlanError("Service Connect: another port needs the network mode awsvpc".to_owned()));
    }
    let log = extension.service_connect_log.as_ref().map(|given| ConnectLogPlan {
        config: given.log_config.clone(),
        access: given
            .access_log_format
            .as_ref()
            .map(|format| AccessLog { json: format == "JSON", query: given.include_query_parameters }),
    });
    Ok(ConnectPlan { listeners, ingress, log })
}

fn listener(given: &ServiceConnectExtension) -> Result<Listener, PlanError> {
    let address: Option<IpAddr> = given.address.parse().ok().filter(IpAddr::is_loopback);
    // It becomes a line of /etc/hosts.
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match address.filter(|_| !given.host_name.is_empty() && given.host_name.bytes().all(is_name)) {
        Some(address) => Ok(Listener {
            service: given.service.clone(),
            host_name: given.host_name.clone(),
            address,
            port: given.port,
        }),
        None => Err(PlanError("Service Connect: a name or an address makes no sense".to_owned())),
    }
}

/// The proxy of a node, and the logs of its tasks.
#[derive(Clone)]
pub struct Connect {
    proxy: Proxy,
    logs: Logs,
    clock: Arc<dyn Clock>,
    /// By task: its log, while its proxy writes, and the shipping of what was written.
    open: Arc<Mutex<BTreeMap<String, OpenLog>>>,
}

#[derive(Default)]
struct OpenLog {
    log: Option<Log>,
    shipping: Option<Handle>,
}

impl Connect {
    /// One without tasks.
    pub fn new(logs: Logs, clock: Arc<dyn Clock>) -> Self {
        Self { proxy: Proxy::default(), logs, clock, open: Arc::default() }
    }

    /// The proxy itself.
    pub const fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Makes the log stream of a task's proxy, as for a container before it starts. The error is for the task's stop reason.
    pub async fn prepare(&self, plan: &TaskPlan) -> Result<(), String> {
        let Some(wanted) = &plan.connect.log else { return Ok(()) };
        if self.lock().contains_key(&plan.id) {
            return Ok(());
        }
        let id = log_id(&plan.id);
        let facts = ContainerFacts {
            container_name: CONTAINER_NAME.to_owned(),
            task_id: plan.id.clone(),
            container_id: id.clone(),
            ..ContainerFacts::default()
        };
        let output = self.logs.output(&plan.arn, &facts, &wanted.config)?;
        if let Output::Spool { shipped, .. } = &output {
            self.logs.prepare(shipped).await?;
        }
        let made = self.logs.make_directory(&id).and_then(|()| self.begin(output, wanted.access));
        let open = made.map_err(|error| format!("failed to initialize logging driver: {error}"))?;
        self.lock().insert(plan.id.clone(), open);
        Ok(())
    }

    fn begin(&self, output: Output, access: Option<AccessLog>) -> io::Result<OpenLog> {
        let (writer, shipping) = match output {
            Output::Discard => return Ok(OpenLog::default()),
            Output::File { path, options } => (LineWriter::File(JsonFileWriter::open(&path, options)?), None),
            Output::Spool { directory, options, shipped } => {
                let writer = LineWriter::Spool(Box::new(Writer::open(&directory, options)?));
                (writer, Some(self.logs.ship(*shipped)?))
            }
        };
        let (sender, lines) = mpsc::channel(LINES_WAITING_MAXIMUM);
        tokio::spawn(write(writer, lines));
        let sink = Lines { clock: Arc::clone(&self.clock), sender };
        Ok(OpenLog { log: Some(Log { sink: Arc::new(sink), access }), shipping })
    }

    /// Opens what the task calls and is called at, in one of its namespaces.
    pub fn open(&self, plan: &TaskPlan, place: &str, namespace: &Path) -> Result<(), String> {
        let opening = Opening {
            task: &plan.id,
            place,
            namespace,
            listeners: &plan.connect.listeners,
            ingress: &plan.connect.ingress,
            log: self.lock().get(&plan.id).and_then(|open| open.log.clone()),
        };
        self.proxy.open(opening).map_err(|error| crate::words(&error))
    }

    /// Closes one place.
    pub fn close_place(&self, task: &str, place: &str) {
        self.proxy.close_place(task, place);
    }

    /// Closes all places. The log ends when the last connection has.
    pub fn close(&self, task: &str) {
        self.proxy.close(task);
        if let Some(open) = self.lock().get_mut(task) {
            open.log = None;
        }
    }

    /// The shipping of a task's log, which is over: to be waited for.
    pub fn take_shipping(&self, task: &str) -> Option<Handle> {
        self.lock().remove(task)?.shipping
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, OpenLog>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the log of a task's proxy is filed under, among those of containers.
pub fn log_id(task: &str) -> String {
    format!("{task}-{CONTAINER_NAME}")
}

/// Hands lines to the one that writes them.
struct Lines {
    clock: Arc<dyn Clock>,
    sender: mpsc::Sender<(Timestamp, String)>,
}

impl LogSink for Lines {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn write(&self, line: String) {
        // Full: lost. A proxy must not wait for a disk.
        let _ = self.sender.try_send((self.clock.now(), line));
    }
}

enum LineWriter {
    File(JsonFileWriter),
    Spool(Box<Writer>),
}

impl LineWriter {
    fn take(&mut self, lines: &mut Vec<(Timestamp, String)>) -> io::Result<()> {
        for (at, line) in lines.drain(..) {
            let (nanoseconds, bytes) = (at.as_millis() * 1_000_000, line.as_bytes());
            let bytes = &bytes[..bytes.len().min(log_spool::RECORD_BYTES_MAXIMUM)];
            match self {
                Self::File(writer) => writer.write(Stream::Stdout, false, nanoseconds, bytes)?,
                // A full spool loses lines in either mode: there is nobody whom blocking could hold back.
                Self::Spool(writer) => drop(writer.append(Stream::Stdout, false, nanoseconds, bytes)?),
            }
        }
        match self {
            Self::File(writer) => writer.flush(),
            Self::Spool(writer) => writer.flush(),
        }
    }
}

async fn write(mut writer: LineWriter, mut lines: mpsc::Receiver<(Timestamp, String)>) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, LINES_AT_ONCE).await > 0 {
        let written = tokio::task::spawn_blocking(move || {
            let written = writer.take(&mut batch);
            batch.clear();
            (writer, batch, written)
        });
        let Ok((back, emptied, written)) = written.await else { return };
        (writer, batch) = (back, emptied);
        if let Err(error) = written {
            tracing::error!(%error, "lines of a Service Connect proxy are lost");
        }
    }
}

/// The addresses of the names that a task calls, each once.
pub fn hosts(plan: &ConnectPlan) -> BTreeSet<(&str, IpAddr)> {
    plan.listeners.iter().map(|there| (there.host_name.as_str(), there.address)).collect()
}

#[cfg(test)]
mod tests {
    use agent_protocol::payload::{ServiceConnectIngress, ServiceConnectLog, TaskExtension};

    use super::*;

    fn task(mode: &str, extension: TaskExtension) -> Task {
        let mut task: Task = serde_json::from_value(serde_json::json!({
            "arn": "arn:aws:ecs:us-east-1:000000000000:task/default/1", "family": "web", "version": "1",
            "desiredStatus": "RUNNING", "containers": [], "networkMode": mode,
        }))
        .unwrap();
        task.roadstead = Some(extension);
        task
    }

    fn calls(name: &str, address: &str) -> TaskExtension {
        let listener = ServiceConnectExtension {
            service: "srv-1".to_owned(),
            host_name: name.to_owned(),
            address: address.to_owned(),
            port: 80,
        };
        TaskExtension { service_connect: vec![listener], ..TaskExtension::default() }
    }

    #[test]
    fn an_order_is_read_or_refused() {
        for mode in ["awsvpc", "bridge"] {
            let plan = read(&task(mode, calls("backend", "127.255.0.1"))).unwrap();
            assert_eq!(hosts(&plan).into_iter().collect::<Vec<_>>(), [("backend", [127, 255, 0, 1].into())]);
        }
        let ingress = vec![ServiceConnectIngress { port: 90, container_port: 80 }];
        let ingress = TaskExtension { service_connect_ingress: ingress, ..TaskExtension::default() };
        assert_eq!(read(&task("awsvpc", ingress.clone())).unwrap().ingress[0].port, 90);
        for refused in [
            task("host", calls("backend", "127.255.0.1")),
            task("awsvpc", calls("back end", "127.255.0.1")),
            task("awsvpc", calls("backend", "10.0.0.1")),
            task("bridge", ingress),
        ] {
            assert!(read(&refused).is_err(), "{refused:?}");
        }
        let log =
            ServiceConnectLog { access_log_format: Some("JSON".to_owned()), ..ServiceConnectLog::default() };
        let log = TaskExtension { service_connect_log: Some(log), ..TaskExtension::default() };
        let access = read(&task("awsvpc", log)).unwrap().log.unwrap().access.unwrap();
        assert!(access.json && !access.query);
    }

    #[tokio::test]
    async fn lines_reach_the_file_in_order_and_it_ends_with_its_last_user() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("container.log");
        let writer =
            LineWriter::File(JsonFileWriter::open(&path, log_spool::JsonFileOptions::default()).unwrap());
        let (sender, lines) = mpsc::channel(LINES_WAITING_MAXIMUM);
        let writing = tokio::spawn(write(writer, lines));
        let clock: Arc<dyn Clock> = Arc::new(base::ManualClock::new(Timestamp::from_millis(1000)));
        let sink = Lines { clock, sender };
        for number in 0..2000 {
            sink.write(format!("line {number}"));
        }
        drop(sink);
        writing.await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let written: Vec<&str> = text.lines().collect();
        assert_eq!(written.len(), 2000);
        assert!(
            written[1999].contains("line 1999") && written[0].contains("1970-01-01T00:00:01Z"),
            "{}",
            written[0]
        );
    }
}
