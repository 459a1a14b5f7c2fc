//! How long a container takes to be made, started, ended and removed: `cargo run --release -p engine --example start_time -- LAYER [COUNT]`,
//! where LAYER is a directory with `/bin/true`. The program is its own shim. As root.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use engine::{ContainerId, ContainerSpec, Engine, EngineConfig, LogOutput, RootFilesystem, ShimCommand};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "internal-shim") {
        return engine::shim_main(arguments.skip(1));
    }
    let arguments: Vec<String> = arguments.filter_map(|argument| argument.into_string().ok()).collect();
    let Some(layer) = arguments.first() else { return ExitCode::FAILURE };
    let count = arguments.get(1).and_then(|count| count.parse().ok()).unwrap_or(50);
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure(layer, count));
    ExitCode::SUCCESS
}

async fn measure(layer: &str, count: usize) {
    let directory = std::env::temp_dir().join(format!("start-time-{}", std::process::id()));
    let cgroup_root = format!("roadstead-start-time-{}", std::process::id());
    let config =
        EngineConfig { root: directory.clone(), shim: ShimCommand::current_executable(), cgroup_root };
    let engine = Engine::open(config).expect("an engine");
    let mut phases: [Vec<Duration>; 5] = Default::default();
    for number in 0..count {
        let id = ContainerId::new(format!("c{number}")).expect("an id");
        let root = RootFilesystem { lower_directories: vec![layer.into()], readonly: false, writable: None };
        let mut spec = ContainerSpec::new(id.clone(), root, vec!["/bin/true".to_owned()]);
        spec.resources.memory_bytes = Some(64 << 20);
        spec.resources.cpu_shares = Some(256);
        spec.resources.pids_limit = Some(100);
        spec.log = LogOutput::Discard;
        let begin = Instant::now();
        engine.create(spec).await.expect("created");
        let created = Instant::now();
        engine.start(&id).await.expect("started");
        let started = Instant::now();
        engine.wait(&id).await.expect("ended");
        let ended = Instant::now();
        engine.delete(&id).await.expect("deleted");
        for (phase, time) in phases.iter_mut().zip([
            created - begin,
            started - created,
            started - begin,
            ended - started,
            ended.elapsed(),
        ]) {
            phase.push(time);
        }
    }
    for (name, mut times) in
        ["create", "start", "create+start", "to the end", "delete"].into_iter().zip(phases)
    {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        eprintln!("{name:14} p50 {:>10.2?}  p90 {:>10.2?}  min {:>10.2?}", at(50), at(90), at(0));
    }
    measure_memory(&engine, layer).await;
    engine.destroy_all().await.expect("removed");
    let _ = std::fs::remove_dir_all(directory);
}

/// The memory that a shim has for itself (neither shared with other shims nor with files).
async fn measure_memory(engine: &Engine, layer: &str) {
    let id = ContainerId::new("sleeper").expect("an id");
    let root = RootFilesystem { lower_directories: vec![layer.into()], readonly: false, writable: None };
    let arguments = vec!["/bin/sleep".to_owned(), "1000".to_owned()];
    engine.create(ContainerSpec::new(id.clone(), root, arguments)).await.expect("created");
    let pid = engine.start(&id).await.expect("started").pid;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap_or("self");
    let rollup = std::fs::read_to_string(format!("/proc/{parent}/smaps_rollup")).unwrap_or_default();
    for line in rollup
        .lines()
        .filter(|line| line.starts_with("Private_") || line.starts_with("Rss") || line.starts_with("Pss:"))
    {
        eprintln!("shim {line}");
    }
}
