//! What a change costs among 1,000 tasks, and among 100,000: the loops' work follows what changed, not what there is.

use std::time::{Duration, Instant};

use serde_json::json;

use super::agents::Agents;
use super::compare::load_average;
use super::process::cpu_seconds;
use super::roadstead::{Roadstead, Work, run_tasks};
use super::rows::write_running_tasks;
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "proportion",
    about: "CPU of a task's start and report, and of an idle second, with 1,000 to 100,000 tasks there",
    run,
};

/// Tasks that are there, and do nothing.
const SIZES: [usize; 5] = [1_000, 3_000, 10_000, 30_000, 100_000];
const CALLS: usize = 200;
const TASKS_A_CALL: usize = 10;
const IDLE: Duration = Duration::from_secs(5);

fn run(setup: &Setup) -> Result<(), String> {
    println!(
        "\n   tasks there   CPU a task started and reported   CPU of an idle second   wall a RunTask of ten"
    );
    for size in SIZES {
        let directory = setup.directory.join(format!("{size}"));
        write_running_tasks(&directory, size)?;
        let roadstead = Roadstead::start("server", &directory, &[])?;
        let mut caller = roadstead.caller();
        caller.ecs("CreateCluster", &json!({"clusterName": "live"}))?;
        let agents = Agents::start(&roadstead, "live", 10, true)?;
        let work = Work::new("live", "host", "true");
        work.register(&mut caller)?;
        let mut input = work.run_input(&mut caller, TASKS_A_CALL)?;
        input["cluster"] = json!("live");
        run_tasks(&mut caller, &input)?;
        agents.heard.wait_for_reports(TASKS_A_CALL)?;
        std::thread::sleep(IDLE);

        let pid = roadstead.process.pid();
        let before = cpu_seconds(pid)?;
        let start = Instant::now();
        for _ in 0..CALLS {
            run_tasks(&mut caller, &input)?;
        }
        let wall = start.elapsed();
        agents.heard.wait_for_reports((CALLS + 1) * TASKS_A_CALL)?;
        let busy = cpu_seconds(pid)? - before;
        std::thread::sleep(IDLE);
        let before = cpu_seconds(pid)?;
        std::thread::sleep(IDLE);
        let idle = cpu_seconds(pid)? - before;
        println!(
            "  {size:>12}   {:>28.0} us   {:>19.1} ms   {:>18.2} ms",
            busy * 1e6 / (CALLS * TASKS_A_CALL) as f64,
            idle * 1e3 / IDLE.as_secs_f64(),
            wall.as_secs_f64() * 1e3 / CALLS as f64,
        );
    }
    println!("  load average {}", load_average());
    Ok(())
}
