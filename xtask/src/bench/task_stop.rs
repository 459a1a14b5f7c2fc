//! From StopTask to the last container gone: 20 tasks that end when told, and 20 that must be killed.

use std::time::{Duration, Instant};

use serde_json::json;

use super::compare::{Metric, Side, compare, load_average, quantile};
use super::docker::Docker;
use super::roadstead::{POLITE, Roadstead, Work, end_tasks, run_tasks, wait_for_status};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "task-stop",
    about: "20 tasks from the request to the last container gone, with and without a SIGTERM trap",
    run,
};

const TASKS: usize = 20;
const TASKS_A_CALL: usize = 10;
/// The stop timeout of both sides. It is the floor for containers that do not react.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// A process 1 without a trap: the kernel drops SIGTERM.
const DEAF: &str = "exec sleep 1000";

const GONE: Metric = Metric { name: "request to the last container gone", unit: "ms", less_is_better: true };

fn run(setup: &Setup) -> Result<(), String> {
    let roadstead = Roadstead::up(&setup.directory.join("ours"))?;
    let docker = Docker::start(&setup.directory).and_then(|docker| docker.swarm().map(|()| docker));
    let mut number = 0;
    for (what, script) in [("with a trap", POLITE), ("without a trap", DEAF)] {
        let mut ours = || stop_ours(&roadstead, script);
        match &docker {
            Ok(docker) => {
                let mut theirs = || {
                    number += 1;
                    stop_swarm(docker, number, script)
                };
                let name = format!("StopTask, {what}");
                let ours = Side { name: &name, measure: &mut ours };
                compare(
                    setup.pairs,
                    &[GONE],
                    ours,
                    Side { name: "Swarm, service rm", measure: &mut theirs },
                )?;
            }
            Err(reason) => {
                println!("\n{what}, against Swarm: skipped: {reason}");
                println!("    {:.0} ms, load average {}", quantile(&ours()?, 0.5), load_average());
            }
        }
    }
    println!("(the floor without a trap is the stop timeout, {} ms on both sides)", STOP_TIMEOUT.as_millis());
    Ok(())
}

fn stop_ours(roadstead: &Roadstead, script: &str) -> Result<Vec<f64>, String> {
    let mut caller = roadstead.caller();
    let mut work = Work::new("stop", "host", script);
    work.more = json!({"stopTimeout": STOP_TIMEOUT.as_secs()});
    work.register(&mut caller)?;
    let input = work.run_input(&mut caller, TASKS_A_CALL)?;
    let mut arns = Vec::new();
    while arns.len() < TASKS {
        arns.extend(run_tasks(&mut caller, &input)?);
    }
    wait_for_status(&mut caller, &arns, "RUNNING")?;
    // The shells need a moment to set their traps.
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    end_tasks(&mut caller, &arns)?;
    Ok(vec![start.elapsed().as_secs_f64() * 1e3])
}

fn stop_swarm(docker: &Docker, number: usize, script: &str) -> Result<Vec<f64>, String> {
    let name = format!("stop-{number}");
    docker.run_service(&name, TASKS, true, script, STOP_TIMEOUT)?;
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    docker.end_service(&name)?;
    let time = start.elapsed().as_secs_f64() * 1e3;
    docker.remove_all()?;
    Ok(vec![time])
}
