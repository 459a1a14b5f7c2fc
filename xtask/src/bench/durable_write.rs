//! One acknowledged write of a 1.5 KB row, and 64 writers at once: the embedded store, against a plain write with
//! fdatasync and against etcd on the same disk.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use store::{Key, Options, Row, Store, Table, Transaction};
use tokio::runtime::Runtime;

use super::compare::{Metric, Side, compare, quantile};
use super::etcd::{Client, Etcd};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "durable-write",
    about: "one acknowledged 1.5 KB write (p50, p99), and writes per second of 64 writers",
    run,
};

/// Rows written over and over.
const ROWS: u64 = 2000;
/// Bytes of a row's text; its JSON and key bring it to 1.5 KB.
const TEXT_BYTES: usize = 1400;
/// Writes of one sample of the lone writer.
const WRITES: u64 = 300;
const WRITERS: u64 = 64;
/// How long 64 writers write in one sample.
const BURST: Duration = Duration::from_millis(1500);
/// Below this, fdatasync reaches no disk.
const IN_MEMORY_MICROSECONDS: f64 = 15.0;

const P50: Metric = Metric { name: "one writer, p50", unit: "us", less_is_better: true };
const P99: Metric = Metric { name: "one writer, p99", unit: "us", less_is_better: true };
const RATE: Metric = Metric { name: "64 writers", unit: "writes/s", less_is_better: false };

#[derive(Serialize, Deserialize)]
struct Record {
    id: String,
    text: String,
}

impl Row for Record {
    const TABLE: Table = Table::new("records");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::global(&["default", &self.id])
    }
}

fn id(number: u64) -> String {
    format!("{:032x}", (number % ROWS).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn text() -> String {
    (0..TEXT_BYTES).map(|index| char::from(b'a' + (index * 7 % 26) as u8)).collect()
}

fn run(setup: &Setup) -> Result<(), String> {
    // Two threads, as a small server has.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let store = Store::open(&setup.directory.join("store"), Options::durable().row::<Record>());
    let store = store.map_err(|error| error.to_string())?;
    let plain = Plain::new(setup)?;

    compare(
        setup.pairs,
        &[P50, P99],
        Side { name: "store, from a thread", measure: &mut || Ok(store_from_a_thread(&store)) },
        Side { name: "write + fdatasync", measure: &mut || plain.measure() },
    )?;
    compare(
        setup.pairs,
        &[P50, P99],
        Side { name: "store, from a task", measure: &mut || Ok(store_from_a_task(&runtime, &store)) },
        Side { name: "write + fdatasync", measure: &mut || plain.measure() },
    )?;
    if quantile(&plain.measure()?, 0.0) < IN_MEMORY_MICROSECONDS {
        println!("\n{} is not on a disk: fdatasync takes no time there", setup.directory.display());
    }

    let etcd = match Etcd::start(&setup.directory) {
        Ok(etcd) => etcd,
        Err(reason) => {
            println!("\nagainst etcd: skipped: {reason}");
            println!("64 writers, without a peer: {:.0} writes/s", store_burst(&runtime, &store));
            return Ok(());
        }
    };
    let client = runtime.block_on(etcd.connect())?;
    compare(
        setup.pairs,
        &[P50, P99, RATE],
        Side {
            name: "store",
            measure: &mut || {
                let mut sample = store_from_a_task(&runtime, &store);
                sample.push(store_burst(&runtime, &store));
                Ok(sample)
            },
        },
        Side {
            name: "etcd",
            measure: &mut || {
                let mut sample = etcd_alone(&runtime, &client)?;
                sample.push(etcd_burst(&runtime, &client)?);
                Ok(sample)
            },
        },
    )?;
    println!(
        "(etcd is reached over a loopback connection, the store within the process: each as it would be used)"
    );
    Ok(())
}

fn percentiles(microseconds: &[f64]) -> Vec<f64> {
    vec![quantile(microseconds, 0.5), quantile(microseconds, 0.99)]
}

fn microseconds_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

/// The floor: the same bytes into a file whose blocks are there already, one after the other.
struct Plain {
    file: File,
    bytes: Vec<u8>,
}

impl Plain {
    fn new(setup: &Setup) -> Result<Self, String> {
        let make = || {
            let file = File::create_new(setup.directory.join("plain"))?;
            let bytes = text().repeat(2).as_bytes()[..1536].to_vec();
            file.write_all_at(&vec![0; bytes.len() * WRITES as usize], 0)?;
            file.sync_all()?;
            Ok(Self { file, bytes })
        };
        make().map_err(|error: std::io::Error| error.to_string())
    }

    fn measure(&self) -> Result<Vec<f64>, String> {
        let one = |index: u64| {
            let start = Instant::now();
            self.file.write_all_at(&self.bytes, index * self.bytes.len() as u64)?;
            self.file.sync_data()?;
            Ok(microseconds_since(start))
        };
        let times: Result<Vec<f64>, std::io::Error> = (0..WRITES).map(one).collect();
        times.map(|times| percentiles(&times)).map_err(|error| error.to_string())
    }
}

async fn write(store: &Store, number: u64, text: &str) {
    let mut transaction = Transaction::new();
    transaction.put(Record { id: id(number), text: text.to_owned() });
    // A benchmark that cannot write has no result.
    store.transact(transaction).await.expect("the store writes");
}

async fn store_alone(store: Store) -> Vec<f64> {
    let text = text();
    let mut times = Vec::new();
    for number in 0..WRITES {
        let start = Instant::now();
        write(&store, number, &text).await;
        times.push(microseconds_since(start));
    }
    percentiles(&times)
}

/// The caller is a thread that waits: what the store itself costs.
fn store_from_a_thread(store: &Store) -> Vec<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(store_alone(store.clone()))
}

/// The caller is a task of an idle runtime, as a request handler is: waking its thread is part of the time.
fn store_from_a_task(runtime: &Runtime, store: &Store) -> Vec<f64> {
    runtime.block_on(runtime.spawn(store_alone(store.clone()))).expect("the task ends")
}

fn store_burst(runtime: &Runtime, store: &Store) -> f64 {
    let start = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            runtime.spawn(async move {
                let text = text();
                let mut count = 0;
                while start.elapsed() < BURST {
                    write(&store, writer * 31 + count, &text).await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    let count: u64 = writers.into_iter().map(|writer| runtime.block_on(writer).unwrap_or_default()).sum();
    count as f64 / start.elapsed().as_secs_f64()
}

fn etcd_alone(runtime: &Runtime, client: &Client) -> Result<Vec<f64>, String> {
    let client = client.clone();
    let alone = async move {
        let text = text();
        let mut times = Vec::new();
        for number in 0..WRITES {
            let start = Instant::now();
            client.put(id(number).as_bytes(), text.as_bytes()).await?;
            times.push(microseconds_since(start));
        }
        Ok(percentiles(&times))
    };
    runtime.block_on(runtime.spawn(alone)).map_err(|error| error.to_string())?
}

fn etcd_burst(runtime: &Runtime, client: &Client) -> Result<f64, String> {
    let start = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let client = client.clone();
            runtime.spawn(async move {
                let text = text();
                let mut count = 0;
                while start.elapsed() < BURST {
                    client.put(id(writer * 31 + count).as_bytes(), text.as_bytes()).await?;
                    count += 1;
                }
                Ok::<u64, String>(count)
            })
        })
        .collect();
    let mut count = 0;
    for writer in writers {
        count += runtime.block_on(writer).map_err(|error| error.to_string())??;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
