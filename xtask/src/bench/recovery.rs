//! From kill -9 with 10,000 tasks to the first correct DescribeTasks, against etcd with as many keys of the same size.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::caller::Target;
use super::compare::{Metric, Side, compare, load_average, quantile};
use super::etcd::Etcd;
use super::roadstead::Roadstead;
use super::rows::{task_arn, write_tasks};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "recovery",
    about: "kill -9 with 10,000 tasks, and start, to the first correct DescribeTasks",
    run,
};

const TASKS: usize = 10_000;
/// Bytes of a task's row.
const VALUE_BYTES: usize = 1500;

const BACK: Metric =
    Metric { name: "start after kill -9 to the first correct answer", unit: "ms", less_is_better: true };

fn run(setup: &Setup) -> Result<(), String> {
    let data = setup.directory.join("ours");
    write_tasks(&data, TASKS)?;
    // The first start makes the key; it is not the one that is measured.
    let first = Roadstead::start("server", &data, &[])?;
    let target = first.target.clone();
    first.kill();
    let mut number = 0;
    let mut ours = || {
        number += 1;
        ours(&data, &target, number * 997 % TASKS)
    };
    let mut peer = match Peer::new(&setup.directory) {
        Ok(peer) => peer,
        Err(reason) => {
            println!("\nagainst etcd: skipped: {reason}");
            println!("    {:.0} ms, load average {}", quantile(&ours()?, 0.5), load_average());
            return Ok(());
        }
    };
    let ours = Side { name: "roadstead server", measure: &mut ours };
    compare(setup.pairs, &[BACK], ours, Side { name: "etcd", measure: &mut || peer.measure() })
}

fn ours(data: &Path, target: &Target, number: usize) -> Result<Vec<f64>, String> {
    let input = json!({"tasks": [task_arn(number)]});
    let start = Instant::now();
    let roadstead = Roadstead::start_again("server", data, target)?;
    let answer = roadstead.caller().ecs("DescribeTasks", &input)?;
    let time = start.elapsed().as_secs_f64() * 1e3;
    if answer["tasks"][0]["taskArn"] != task_arn(number).as_str() {
        return Err(format!("a task was not found again: {answer}"));
    }
    roadstead.kill();
    Ok(vec![time])
}

struct Peer {
    runtime: tokio::runtime::Runtime,
    directory: PathBuf,
}

impl Peer {
    fn new(directory: &Path) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let mut etcd = Etcd::start(directory)?;
        runtime.block_on(async {
            let client = etcd.connect().await?;
            let writers = (0..64_usize).map(|writer| {
                let client = client.clone();
                async move {
                    for number in (writer..TASKS).step_by(64) {
                        let value: Vec<u8> =
                            (0..VALUE_BYTES).map(|at| b'a' + ((at * 7 + number) % 26) as u8).collect();
                        client.put(task_arn(number).as_bytes(), &value).await?;
                    }
                    Ok::<(), String>(())
                }
            });
            let writers: Vec<_> = writers.map(tokio::spawn).collect();
            for writer in writers {
                writer.await.map_err(|error| error.to_string())??;
            }
            Ok::<(), String>(())
        })?;
        etcd.kill();
        Ok(Self { runtime, directory: directory.to_path_buf() })
    }

    fn measure(&mut self) -> Result<Vec<f64>, String> {
        let start = Instant::now();
        let mut etcd = Etcd::start(&self.directory)?;
        // The first answer to `Put` comes when all keys are there again.
        self.runtime.block_on(etcd.connect())?;
        let time = start.elapsed().as_secs_f64() * 1e3;
        etcd.kill();
        Ok(vec![time])
    }
}
