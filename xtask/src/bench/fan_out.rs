//! A new deployment of a large service, one task a container instance: from UpdateService to the order at the last agent.

use std::time::{Duration, Instant};

use serde_json::json;

use super::agents::Agents;
use super::caller::Caller;
use super::compare::{load_average, quantile};
use super::process::cpu_seconds;
use super::roadstead::{Roadstead, Work};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "fan-out",
    about: "thousands of agents connected, UpdateService of as many tasks to all of them told",
    run,
};

/// Agents, each with one task of the service. 5,000 take some minutes to get ready on a small machine.
const SIZES: [usize; 2] = [1_000, 5_000];
/// The answer's own time limit: a service's tasks are started in many transactions.
const SETTLE: Duration = Duration::from_secs(2);

fn run(setup: &Setup) -> Result<(), String> {
    for size in SIZES {
        let roadstead = Roadstead::start("server", &setup.directory.join(format!("{size}")), &[])?;
        let agents = Agents::start(&roadstead, "default", size, true)?;
        let mut caller = roadstead.caller();
        Work::new("fan", "host", "true").register(&mut caller)?;
        let mut told = 0;
        let create = Instant::now();
        create_service(&mut caller, size)?;
        told += size;
        let first = agents.heard.wait_for_starts(told)?.duration_since(create);
        agents.heard.wait_for_reports(told)?;
        println!("\n{size} agents, load average {}", load_average());
        println!("  CreateService to all told      {:>8} ms", first.as_millis());
        let (mut times, mut cpu) = (Vec::new(), Vec::new());
        // Old tasks stop when new ones run: each sample begins from a service that is whole again.
        for _ in 0..setup.pairs.min(3) {
            std::thread::sleep(SETTLE);
            let used = cpu_seconds(roadstead.process.pid())?;
            let start = Instant::now();
            let input = json!({"service": "fan", "forceNewDeployment": true});
            caller.ecs("UpdateService", &input)?;
            told += size;
            times.push(agents.heard.wait_for_starts(told)?.duration_since(start).as_secs_f64() * 1e3);
            cpu.push((cpu_seconds(roadstead.process.pid())? - used) * 1e3);
            // Each task runs, and each old one stops.
            agents.heard.wait_for_reports(2 * told - size)?;
        }
        let words: Vec<String> = times.iter().map(|time| format!("{time:.0}")).collect();
        println!(
            "  UpdateService to all told, ms  {}   median {:.0}",
            words.join(" "),
            quantile(&times, 0.5)
        );
        println!("  CPU of the control plane, ms   median {:.0}", quantile(&cpu, 0.5));
    }
    Ok(())
}

fn create_service(caller: &mut Caller, size: usize) -> Result<(), String> {
    let input = json!({
        "serviceName": "fan", "taskDefinition": "fan", "desiredCount": size, "launchType": "EC2",
        "deploymentConfiguration": {"maximumPercent": 200, "minimumHealthyPercent": 100},
        "placementStrategy": [{"type": "spread", "field": "instanceId"}],
    });
    caller.ecs("CreateService", &input).map(drop)
}
