//! From RunTask to RUNNING: 20 tasks at once against a Swarm service of 20, and one at a time against `docker run`.

use std::time::{Duration, Instant};

use super::compare::{Metric, Side, compare, load_average, quantile};
use super::docker::Docker;
use super::roadstead::{POLITE, Roadstead, Work, end_tasks, run_tasks, wait_for_status};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "task-start",
    about: "RunTask count=10 twice to 20 RUNNING, and one task, in each network mode",
    run,
};

/// Tasks of one sample; RunTask takes ten at a time.
const TASKS: usize = 20;
const TASKS_A_CALL: usize = 10;
/// Tasks of one sample that are started one after the other.
const SINGLES: usize = 10;

const ALL: Metric = Metric { name: "20 tasks, request to all RUNNING", unit: "ms", less_is_better: true };
const ONE: Metric = Metric { name: "one task, request to RUNNING, p50", unit: "ms", less_is_better: true };

fn run(setup: &Setup) -> Result<(), String> {
    let roadstead = Roadstead::up(&setup.directory.join("ours"))?;
    let docker = Docker::start(&setup.directory).and_then(|docker| docker.swarm().map(|()| docker));
    let mut number = 0;
    for network_mode in ["none", "host", "bridge", "awsvpc"] {
        let mut ours = || start_all(&roadstead, network_mode);
        match &docker {
            Ok(docker) => {
                // A task with an address of its own is compared with containers that have one.
                let (peer, host) = match network_mode {
                    "awsvpc" | "bridge" => ("Swarm, bridge", false),
                    _ => ("Swarm, host network", true),
                };
                let mut theirs = || {
                    number += 1;
                    swarm_all(docker, number, host)
                };
                let name = format!("RunTask, {network_mode}");
                let ours = Side { name: &name, measure: &mut ours };
                compare(setup.pairs, &[ALL], ours, Side { name: peer, measure: &mut theirs })?;
                let mut ours = || start_each(&roadstead, network_mode);
                let network = if host { "host" } else { "bridge" };
                let mut theirs = || docker_each(docker, network);
                let ours = Side { name: &name, measure: &mut ours };
                compare(setup.pairs, &[ONE], ours, Side { name: "docker run -d", measure: &mut theirs })?;
            }
            Err(reason) => {
                println!("\n{network_mode}, against Swarm and docker run: skipped: {reason}");
                println!("    20 tasks {:.0} ms", quantile(&ours()?, 0.5));
                println!("    one task {:.0} ms", quantile(&start_each(&roadstead, network_mode)?, 0.5));
                println!("    load average {}", load_average());
            }
        }
    }
    Ok(())
}

fn milliseconds_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn start_all(roadstead: &Roadstead, network_mode: &str) -> Result<Vec<f64>, String> {
    let mut caller = roadstead.caller();
    let work = Work::new("start", network_mode, POLITE);
    work.register(&mut caller)?;
    let input = work.run_input(&mut caller, TASKS_A_CALL)?;
    let start = Instant::now();
    let mut arns = Vec::new();
    while arns.len() < TASKS {
        arns.extend(run_tasks(&mut caller, &input)?);
    }
    wait_for_status(&mut caller, &arns, "RUNNING")?;
    let time = milliseconds_since(start);
    end_tasks(&mut caller, &arns)?;
    Ok(vec![time])
}

fn swarm_all(docker: &Docker, number: usize, host: bool) -> Result<Vec<f64>, String> {
    let name = format!("start-{number}");
    let start = Instant::now();
    docker.run_service(&name, TASKS, host, POLITE, Duration::from_secs(10))?;
    let time = milliseconds_since(start);
    docker.end_service(&name)?;
    docker.remove_all()?;
    Ok(vec![time])
}

fn start_each(roadstead: &Roadstead, network_mode: &str) -> Result<Vec<f64>, String> {
    let mut caller = roadstead.caller();
    let work = Work::new("start", network_mode, POLITE);
    work.register(&mut caller)?;
    let input = work.run_input(&mut caller, 1)?;
    let mut times = Vec::new();
    let mut all = Vec::new();
    for _ in 0..SINGLES {
        let start = Instant::now();
        let arns = run_tasks(&mut caller, &input)?;
        wait_for_status(&mut caller, &arns, "RUNNING")?;
        times.push(milliseconds_since(start));
        all.extend(arns);
    }
    end_tasks(&mut caller, &all)?;
    Ok(vec![quantile(&times, 0.5)])
}

fn docker_each(docker: &Docker, network: &str) -> Result<Vec<f64>, String> {
    let mut times = Vec::new();
    for _ in 0..SINGLES {
        let start = Instant::now();
        docker.cli(&["run", "-d", "--network", network, "busybox:latest", "sh", "-c", POLITE])?;
        times.push(milliseconds_since(start));
    }
    docker.remove_all()?;
    Ok(vec![quantile(&times, 0.5)])
}
