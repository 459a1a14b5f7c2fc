//! RunTask for ten tasks at a time from 8 clients, every answer on disk, with fake agents that take the orders.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::agents::Agents;
use super::compare::{load_average, quantile};
use super::process::cpu_seconds;
use super::roadstead::{Roadstead, Work};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "placement-durable",
    about: "RunTask count=10 from 8 clients, fake agents, every answer on disk: tasks per second",
    run,
};

const CLIENTS: usize = 8;
const TASKS_A_CALL: usize = 10;
/// How long one sample runs.
const BURST: Duration = Duration::from_secs(3);

fn run(setup: &Setup) -> Result<(), String> {
    for instances in [100, 2_000] {
        let directory = setup.directory.join(format!("{instances}"));
        let roadstead = Roadstead::start("server", &directory, &[])?;
        let agents = Agents::start(&roadstead, "default", instances, false)?;
        Work::new("durable", "host", "true").register(&mut roadstead.caller())?;
        let (mut rates, mut shares) = (Vec::new(), Vec::new());
        for _ in 0..setup.pairs {
            let cpu = cpu_seconds(roadstead.process.pid())?;
            let start = Instant::now();
            let tasks = burst(&roadstead)?;
            let seconds = start.elapsed().as_secs_f64();
            rates.push(tasks as f64 / seconds);
            shares.push((cpu_seconds(roadstead.process.pid())? - cpu) / seconds * 100.0);
        }
        println!("\n{instances} container instances, load average {}", load_average());
        let words: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        println!("  tasks/s   {}   median {:.0}", words.join(" "), quantile(&rates, 0.5));
        println!("  of one core the control plane used {:.0} % (median)", quantile(&shares, 0.5));
        println!("  orders that reached an agent so far: {}", agents.heard.starts());
    }
    println!("moto and ministack: skipped: neither keeps anything on disk, and neither is installed here");
    Ok(())
}

/// How many tasks the clients start in one sample.
fn burst(roadstead: &Roadstead) -> Result<usize, String> {
    let tasks = AtomicUsize::new(0);
    let end = Instant::now() + BURST;
    let input = json!({"taskDefinition": "durable", "count": TASKS_A_CALL, "launchType": "EC2",
        "placementStrategy": [{"type": "spread", "field": "attribute:ecs.availability-zone"},
            {"type": "binpack", "field": "memory"}]});
    let client = || {
        let mut caller = roadstead.caller();
        while Instant::now() < end {
            let answer = caller.ecs("RunTask", &input)?;
            let started = answer["tasks"].as_array().map_or(0, Vec::len);
            if started != TASKS_A_CALL {
                return Err(format!("RunTask: {}", answer["failures"]));
            }
            tasks.fetch_add(started, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(|_| "a client panicked".to_owned())?)
    })?;
    Ok(tasks.load(Ordering::Relaxed))
}
