//! What a change costs among 1,000 tasks, and among 100,000: the loops' work follows what changed, not what there is. So too
//! where the tasks are services', and in a service of 10 tasks as in one of 5,000, the most that one may have.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::agents::Agents;
use super::caller::Caller;
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
/// Tasks of services that are there: how many services, and how many tasks each has. AWS's quota for one is 5,000.
const SERVICES: [(usize, usize); 6] = [(1, 10), (1, 100), (1, 1_000), (1, 5_000), (10, 1_000), (100, 1_000)];
/// Tasks of services that one container instance has.
const TASKS_A_MACHINE: usize = 50;
/// Tasks of the last service that are stopped one after the other, each replaced before the next.
const REPLACED: usize = 200;

fn run(setup: &Setup) -> Result<(), String> {
    of_no_service(setup)?;
    println!(
        "\n   services   tasks of each   CPU a task replaced   CPU of an idle second   wall a task replaced"
    );
    for (services, size) in SERVICES {
        of_services(setup, services, size)?;
    }
    println!("  load average {}", load_average());
    Ok(())
}

fn of_services(setup: &Setup, services: usize, size: usize) -> Result<(), String> {
    let directory = setup.directory.join(format!("{services}-of-{size}"));
    let roadstead = Roadstead::start("server", &directory, &[])?;
    let mut caller = roadstead.caller();
    let machines = (services * size).div_ceil(TASKS_A_MACHINE).max(10);
    let agents = Agents::start(&roadstead, "default", machines, true)?;
    Work::new("member", "host", "true").register(&mut caller)?;
    let mut told = 0;
    for number in 0..services {
        let input = json!({
            "serviceName": format!("web-{number}"), "taskDefinition": "member", "desiredCount": size, "launchType": "EC2",
            "placementStrategy": [{"type": "spread", "field": "instanceId"}],
        });
        caller.ecs("CreateService", &input)?;
        told += size;
        agents.heard.wait_for_reports(told)?;
    }
    agents.heard.wait_until_started(told)?;
    let service = format!("web-{}", services - 1);
    std::thread::sleep(IDLE);
    let pid = roadstead.process.pid();
    let before = cpu_seconds(pid)?;
    let start = Instant::now();
    let mut members = Vec::new();
    for _ in 0..REPLACED {
        // A small service's are replaced several times.
        if members.is_empty() {
            members = tasks_of(&mut caller, &service, REPLACED)?;
        }
        let task = members.pop().ok_or_else(|| format!("{service} has no task"))?;
        caller.ecs("StopTask", &json!({"task": task}))?;
        // It has stopped, and another one is ordered.
        told += 1;
        agents.heard.wait_until_started(told)?;
    }
    let wall = start.elapsed();
    let busy = cpu_seconds(pid)? - before;
    let idle = idle_second(pid)?;
    println!(
        "  {services:>9}   {size:>13}   {:>16.0} us   {:>18.1} ms   {:>17.2} ms",
        busy * 1e6 / REPLACED as f64,
        idle * 1e3,
        wall.as_secs_f64() * 1e3 / REPLACED as f64,
    );
    Ok(())
}

/// CPU seconds of a second in which nobody asks for anything, once the last work is done.
fn idle_second(pid: u32) -> Result<f64, String> {
    std::thread::sleep(IDLE);
    let before = cpu_seconds(pid)?;
    std::thread::sleep(IDLE);
    Ok((cpu_seconds(pid)? - before) / IDLE.as_secs_f64())
}

/// Tasks of a service that are meant to run: all, or the first so many.
fn tasks_of(caller: &mut Caller, service: &str, count: usize) -> Result<Vec<String>, String> {
    let mut found: Vec<String> = Vec::new();
    let mut token = Value::Null;
    while found.len() < count {
        let mut input = json!({"serviceName": service});
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let answer = caller.ecs("ListTasks", &input)?;
        let arns = answer["taskArns"].as_array().into_iter().flatten();
        found.extend(arns.filter_map(Value::as_str).map(str::to_owned));
        token = answer["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    Ok(found)
}

fn of_no_service(setup: &Setup) -> Result<(), String> {
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
        let idle = idle_second(pid)?;
        println!(
            "  {size:>12}   {:>28.0} us   {:>19.1} ms   {:>18.2} ms",
            busy * 1e6 / (CALLS * TASKS_A_CALL) as f64,
            idle * 1e3,
            wall.as_secs_f64() * 1e3 / CALLS as f64,
        );
    }
    Ok(())
}
