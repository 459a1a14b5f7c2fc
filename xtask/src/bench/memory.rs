//! Memory at rest: the control plane with 0, 1,000 and 100,000 tasks, an agent with none and with 50, a shim; against
//! dockerd and containerd.
//!
//! One number each: memory at rest hardly varies between runs, and pairs would say no more.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::compare::{load_average, quantile};
use super::docker::Docker;
use super::process::{Memory, Process, family, memory, processes_with, wait_for};
use super::roadstead::{POLITE, Roadstead, Work, binary, busybox, end_tasks, run_tasks, wait_for_status};
use super::rows::{task_arn, write_tasks};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "memory",
    about: "resident memory of control plane, agent and shims, idle and with tasks",
    run,
};

/// Tasks that an agent runs.
const RUNNING: usize = 50;
const TASKS_A_CALL: usize = 10;
/// What a process needs to come to rest.
const REST: Duration = Duration::from_secs(3);

fn run(setup: &Setup) -> Result<(), String> {
    println!("\nKiB (resident: all pages; private: pages no other process has)");
    let idle = control_plane(&setup.directory, 0)?;
    for count in [1_000, 100_000] {
        let full = control_plane(&setup.directory, count)?;
        let each = (full.private.saturating_sub(idle.private)) as f64 * 1024.0 / count as f64;
        println!("  {:44} {each:>9.0} bytes a task", "");
    }
    agent(&setup.directory)?;
    match Docker::start(&setup.directory) {
        Ok(docker) => peer(&docker)?,
        Err(reason) => println!("  dockerd and containerd: skipped: {reason}"),
    }
    println!("  load average {}", load_average());
    Ok(())
}

fn print(what: &str, memory: Memory) {
    println!("  {what:44} {:>9} resident {:>9} private", memory.resident, memory.private);
}

fn control_plane(directory: &Path, count: usize) -> Result<Memory, String> {
    let data = directory.join(format!("rows-{count}"));
    if count > 0 {
        write_tasks(&data, count)?;
    }
    let roadstead = Roadstead::start("server", &data, &[])?;
    if count > 0 {
        let answer = roadstead.caller().ecs("DescribeTasks", &json!({"tasks": [task_arn(count - 1)]}))?;
        if answer["tasks"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!("the rows are not there: {answer}"));
        }
    }
    std::thread::sleep(REST);
    let found = memory(roadstead.process.pid())?;
    print(&format!("control plane, {count} tasks"), found);
    Ok(found)
}

fn agent(directory: &Path) -> Result<(), String> {
    let server = Roadstead::start("server", &directory.join("agent-server"), &[])?;
    let data = directory.join("agent");
    let url = format!("http://{}", server.target.address);
    let data_text = data.display().to_string();
    let program = binary().display().to_string();
    let words = [&program, "agent", "--server", &url, "--data-dir", &data_text, "--over-commit", "1000"];
    let keys = [
        ("AWS_ACCESS_KEY_ID", server.target.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", server.target.secret_access_key.as_str()),
        ("RUST_LOG", "warn"),
    ];
    let mut agent = Process::start(&words, &keys, &directory.join("agent.log"))?;
    let done = agent_with_tasks(&server, &agent, directory, &data_text);
    agent.end();
    let _ = Command::new(binary()).args(["down", "--data-dir", &data_text]).output();
    done
}

fn agent_with_tasks(server: &Roadstead, agent: &Process, directory: &Path, data: &str) -> Result<(), String> {
    let mut caller = server.caller();
    wait_for("the agent to join", Duration::from_secs(30), || {
        let answer = caller.ecs("ListContainerInstances", &json!({}))?;
        Ok(answer["containerInstanceArns"].as_array().is_some_and(|list| !list.is_empty()).then_some(()))
    })?;
    std::thread::sleep(REST);
    print("agent, idle", memory(agent.pid())?);
    // An agent that stands alone has its images loaded by the command that has no server to talk to.
    let archive = directory.join("agent.tar");
    busybox(&archive)?;
    let archive = archive.display().to_string();
    let loaded = Command::new(binary()).args(["image", "load", &archive, "--data-dir", data]).output();
    let loaded = loaded.map_err(|error| error.to_string())?;
    if !loaded.status.success() {
        return Err(format!("image load: {}", String::from_utf8_lossy(&loaded.stderr)));
    }
    let work = Work::new("memory", "host", POLITE);
    work.register(&mut caller)?;
    let input = work.run_input(&mut caller, TASKS_A_CALL)?;
    let mut arns = Vec::new();
    while arns.len() < RUNNING {
        arns.extend(run_tasks(&mut caller, &input)?);
    }
    wait_for_status(&mut caller, &arns, "RUNNING")?;
    std::thread::sleep(REST);
    print("agent, 50 tasks", memory(agent.pid())?);
    let shims: Vec<f64> = processes_with("internal-shim")
        .into_iter()
        .filter(|pid| belongs_to(*pid, data))
        .filter_map(|pid| memory(pid).ok())
        .map(|memory| memory.private as f64)
        .collect();
    println!("  {:44} {:>28.0} private (median of {})", "a shim", quantile(&shims, 0.5), shims.len());
    end_tasks(&mut caller, &arns)
}

/// Whether a shim's command line or one of its open directories is under the data directory.
fn belongs_to(pid: u32, data: &str) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    String::from_utf8_lossy(&line).contains(data) || links.any(|link| link.starts_with(data))
}

fn peer(docker: &Docker) -> Result<(), String> {
    let total = |what: &str, pids: &[u32]| {
        let each = pids.iter().filter_map(|pid| memory(*pid).ok());
        let sum = each.fold(Memory::default(), |sum, one| Memory {
            resident: sum.resident + one.resident,
            private: sum.private + one.private,
        });
        print(what, sum);
    };
    std::thread::sleep(REST);
    total("dockerd and containerd, idle", &family(docker.process.pid()));
    for _ in 0..RUNNING {
        docker.cli(&["run", "-d", "--network", "host", "busybox:latest", "sh", "-c", POLITE])?;
    }
    std::thread::sleep(REST);
    total("dockerd and containerd, 50 containers", &family(docker.process.pid()));
    let socket = docker.run_directory().display().to_string();
    let shims: Vec<f64> = processes_with("containerd-shim")
        .into_iter()
        .filter(|pid| belongs_to(*pid, &socket))
        .filter_map(|pid| memory(pid).ok())
        .map(|memory| memory.private as f64)
        .collect();
    println!(
        "  {:44} {:>28.0} private (median of {})",
        "a containerd-shim",
        quantile(&shims, 0.5),
        shims.len()
    );
    docker.remove_all()
}
