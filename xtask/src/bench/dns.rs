//! Questions about one name of a private zone, from one asker and from 32, against dnsmasq (Debian: `dnsmasq-base`).

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base::{SeededIds, Timestamp};
use domain::{DnsName, HostedZone, RecordSetContent, RecordType, ResourceRecordSet, RoutingPolicy};
use store::rows_dns::NewHostedZone;
use store::{Options, Store, Transaction};

use super::compare::{Metric, Side, compare, load_average, quantile};
use super::process::{Process, cpu_seconds, free_address, wait_for};
use super::roadstead::Roadstead;
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench =
    Bench { name: "dns", about: "questions about a name of ours over UDP, 1 and 32 askers", run };

const NAME: &str = "backend.insurance.local";
const ADDRESS: &str = "10.1.2.3";
/// How long the askers ask in one sample.
const BURST: Duration = Duration::from_secs(2);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

const RATE: Metric = Metric { name: "answers", unit: "answers/s", less_is_better: false };
const MEDIAN: Metric = Metric { name: "question to answer, p50", unit: "us", less_is_better: true };
const CPU: Metric = Metric { name: "the server's CPU time an answer", unit: "us", less_is_better: true };

fn run(setup: &Setup) -> Result<(), String> {
    let data = setup.directory.join("ours");
    write_zone(&data)?;
    let address = free_address()?;
    let roadstead = Roadstead::start("server", &data, &["--dns-listen", &address])?;
    let ours = Server { address, pid: roadstead.process.pid() };
    let peer = dnsmasq(setup);
    if let Err(reason) = &peer {
        println!("\nagainst dnsmasq: skipped: {reason}");
    }
    for askers in [1, 32] {
        println!("\n{askers} askers");
        if let Ok((_process, theirs)) = &peer {
            compare(
                setup.pairs,
                &[RATE, MEDIAN, CPU],
                Side { name: "roadstead", measure: &mut || ours.measure(askers) },
                Side { name: "dnsmasq", measure: &mut || theirs.measure(askers) },
            )?;
        } else {
            let sample = ours.measure(askers)?;
            println!(
                "{:.0} answers/s, p50 {:.0} us, {:.1} us of CPU each, load average {}",
                sample[0],
                sample[1],
                sample[2],
                load_average()
            );
        }
    }
    Ok(())
}

/// A public zone, so that everyone may ask.
fn write_zone(data_directory: &std::path::Path) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    std::fs::create_dir_all(data_directory).map_err(|error| text(&error))?;
    let options = store::rows::register(Options::durable());
    let store = Store::open(&data_directory.join("store"), options).map_err(|error| text(&error))?;
    let account = "000000000000".parse().map_err(|_| "no account".to_owned())?;
    let name = |name: &str| DnsName::parse(name).map_err(|error| text(&error));
    let mut transaction = Transaction::new();
    let new = NewHostedZone {
        account: &account,
        name: name("insurance.local")?,
        caller_reference: None,
        comment: None,
        vpc: None,
        linked_service: None,
        negative_ttl_seconds: 60,
        now: Timestamp::from_millis(0),
    };
    let zone: HostedZone = new.make(&SeededIds::new(1), &mut transaction);
    transaction.insert(ResourceRecordSet {
        hosted_zone: zone.id,
        name: name(NAME)?,
        record_type: RecordType::A,
        set_identifier: None,
        routing: RoutingPolicy::Simple,
        content: RecordSetContent::Records { ttl_seconds: 60, values: vec![ADDRESS.to_owned()] },
        health_check: None,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| text(&error))?;
    runtime.block_on(store.transact(transaction)).map(drop).map_err(|error| text(&error))
}

fn dnsmasq(setup: &Setup) -> Result<(Process, Server), String> {
    let address = free_address()?;
    let port = address.rsplit(':').next().unwrap_or_default().to_owned();
    let words = [
        "dnsmasq".to_owned(),
        "--keep-in-foreground".to_owned(),
        "--conf-file=/dev/null".to_owned(),
        "--no-resolv".to_owned(),
        "--no-hosts".to_owned(),
        "--bind-interfaces".to_owned(),
        "--listen-address=127.0.0.1".to_owned(),
        format!("--port={port}"),
        format!("--host-record={NAME},{ADDRESS}"),
    ];
    let process = Process::start(&words, &[], &setup.directory.join("dnsmasq.log"))?;
    let server = Server { address, pid: process.pid() };
    wait_for("dnsmasq", Duration::from_secs(10), || Ok(server.ask_once().ok()))?;
    Ok((process, server))
}

/// A server that knows the name.
struct Server {
    address: String,
    pid: u32,
}

impl Server {
    fn socket(&self) -> Result<UdpSocket, String> {
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        socket.connect(&self.address).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        Ok(socket)
    }

    fn ask_once(&self) -> Result<(), String> {
        ask(&self.socket()?, 1)
    }

    /// Answers a second, microseconds to the middle one, and the server's CPU time for each.
    fn measure(&self, askers: usize) -> Result<Vec<f64>, String> {
        let stop = AtomicBool::new(false);
        let cpu = cpu_seconds(self.pid)?;
        let started = Instant::now();
        let times: Vec<f64> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..askers)
                .map(|_| {
                    scope.spawn(|| -> Result<Vec<f64>, String> {
                        let socket = self.socket()?;
                        let mut times = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            let asked = Instant::now();
                            ask(&socket, times.len() as u16)?;
                            times.push(asked.elapsed().as_secs_f64() * 1e6);
                        }
                        Ok(times)
                    })
                })
                .collect();
            std::thread::sleep(BURST);
            stop.store(true, Ordering::Relaxed);
            let done =
                asking.into_iter().map(|asking| asking.join().map_err(|_| "an asker died".to_owned())?);
            done.collect::<Result<Vec<_>, String>>().map(|times| times.concat())
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu = (cpu_seconds(self.pid)? - cpu) * 1e6 / times.len().max(1) as f64;
        Ok(vec![times.len() as f64 / seconds, quantile(&times, 0.5), cpu])
    }
}

/// Asks, and takes the answer with this number and one record for one.
fn ask(socket: &UdpSocket, id: u16) -> Result<(), String> {
    let mut question = Vec::with_capacity(64);
    question.extend_from_slice(&id.to_be_bytes());
    question.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in NAME.split('.') {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send(&question).map_err(|error| error.to_string())?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).map_err(|error| error.to_string())?;
    let is_good =
        length > 12 && answer[..2] == id.to_be_bytes() && answer[3].trailing_zeros() >= 4 && answer[7] == 1;
    if is_good { Ok(()) } else { Err("a wrong answer".to_owned()) }
}
