//! A container's life: made, started, ended, removed; and what is left when somebody dies on the way.

mod support;

use std::time::{Duration, Instant};

use engine::{EngineError, Signal, State};
use support::{Bench, id, skip, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_its_end_is_known() {
    if skip("a_container_runs_and_its_end_is_known") {
        return;
    }
    let bench = Bench::new();
    let name = id("one");
    bench.engine.create(bench.shell("one", "echo out; echo err >&2; exit 7")).await.unwrap();
    assert_eq!(bench.engine.status(&name).await.unwrap().state, State::Created);
    let started = bench.engine.start(&name).await.unwrap();
    assert!(started.pid > 1);
    let exit = within(20, bench.engine.wait(&name)).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.out_of_memory), (7, None, false));
    assert!(exit.finished_at >= started.started_at);
    let mut log = bench.log("one");
    log.sort();
    assert_eq!(log, [("stderr".into(), "err\n".into()), ("stdout".into(), "out\n".into())]);
    assert_eq!(bench.engine.wait(&name).await.unwrap(), exit);
    assert!(matches!(bench.engine.start(&name).await, Err(EngineError::WrongState { .. })));
    bench.engine.delete(&name).await.unwrap();
    bench.engine.delete(&name).await.unwrap();
    assert!(matches!(bench.engine.wait(&name).await, Err(EngineError::NotFound(_))));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_sends_the_stop_signal_then_kills() {
    if skip("stop_sends_the_stop_signal_then_kills") {
        return;
    }
    let bench = Bench::new();
    let polite = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    bench.start(bench.shell("polite", polite)).await;
    while !bench.output("polite").contains("ready") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let exit = bench.engine.stop(&id("polite"), None, Duration::from_secs(20)).await.unwrap();
    assert_eq!(exit.code, 3);
    assert!(bench.output("polite").contains("bye"));

    let mut quit = bench.shell("quit", "trap 'exit 4' QUIT; echo ready; while :; do sleep 0.05; done");
    quit.stop_signal = "SIGQUIT".parse().unwrap();
    bench.start(quit).await;
    while !bench.output("quit").contains("ready") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.engine.stop(&id("quit"), None, Duration::from_secs(20)).await.unwrap().code, 4);

    bench.start(bench.shell("stubborn", "trap '' TERM; while :; do sleep 0.05; done")).await;
    let begin = Instant::now();
    let exit =
        bench.engine.stop(&id("stubborn"), Some(Signal::TERM), Duration::from_millis(500)).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert!(begin.elapsed() >= Duration::from_millis(500) && begin.elapsed() < Duration::from_secs(5));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_process_limits_hold() {
    if skip("memory_and_process_limits_hold") {
        return;
    }
    let bench = Bench::new();
    // The least that Docker allows is enough to start.
    let mut small = bench.shell("small", "echo started");
    small.resources.memory_bytes = Some(6 << 20);
    assert_eq!(bench.run(small).await.1, "started\n");
    // busybox's shell grows a string until the limit: its own process is the one that is killed.
    let mut hungry = bench.shell("hungry", "a=0123456789abcdef; while :; do a=$a$a; done");
    hungry.resources.memory_bytes = Some(16 << 20);
    hungry.resources.memory_swap_bytes = Some(16 << 20);
    let (exit, _) = bench.run(hungry).await;
    assert_eq!((exit.code, exit.signal, exit.out_of_memory), (137, Some(9), true));

    // The task's limit counts as the container's own does.
    let resources = engine::Resources {
        memory_bytes: Some(16 << 20),
        memory_swap_bytes: Some(16 << 20),
        ..engine::Resources::default()
    };
    let group = engine::TaskGroup {
        id: id("small-task"),
        resources,
        share_pid_namespace: false,
        share_ipc_namespace: false,
        shared_memory_bytes: None,
        storage: None,
    };
    bench.engine.create_task_group(group).await.unwrap();
    let mut member = bench.shell("member", "a=0123456789abcdef; while :; do a=$a$a; done");
    member.task_group = Some(id("small-task"));
    let (exit, _) = bench.run(member).await;
    assert_eq!((exit.code, exit.out_of_memory), (137, true));

    let mut bomb = bench.shell("bomb", "b() { b | b & }; b 2>/dev/null; sleep 1; echo survived");
    bomb.resources.pids_limit = Some(40);
    bench.start(bomb).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stats = bench.engine.stats(&id("bomb")).await.unwrap();
    assert!(stats.pids <= 40, "{stats:?}");
    let exit = within(20, bench.engine.stop(&id("bomb"), Some(Signal::KILL), Duration::from_secs(10)))
        .await
        .unwrap();
    assert!(!exit.out_of_memory);
    within(20, bench.engine.delete(&id("bomb"))).await.unwrap();

    let mut busy = bench.shell("busy", "while :; do :; done");
    busy.resources.cpu_quota_microseconds = Some(10_000);
    busy.resources.cpu_period_microseconds = Some(100_000);
    busy.resources.cpu_shares = Some(128);
    busy.resources.cpuset_cpus = Some("0".to_owned());
    busy.resources.memory_bytes = Some(32 << 20);
    bench.start(busy).await;
    let before = bench.engine.stats(&id("busy")).await.unwrap();
    let begin = Instant::now();
    tokio::time::sleep(Duration::from_millis(800)).await;
    let after = bench.engine.stats(&id("busy")).await.unwrap();
    let share = (after.cpu_usage_nanoseconds - before.cpu_usage_nanoseconds) as f64
        / begin.elapsed().as_nanos() as f64;
    assert!(share < 0.3, "a tenth of a processor was allowed, {share} was used");
    assert!(after.cpu_throttled_nanoseconds > 0 && after.memory_usage_bytes > 0);
    assert_eq!(after.memory_limit_bytes, Some(32 << 20));
    let resources = engine::Resources { memory_bytes: Some(64 << 20), ..engine::Resources::default() };
    bench.engine.update(&id("busy"), resources).await.unwrap();
    assert_eq!(bench.engine.stats(&id("busy")).await.unwrap().memory_limit_bytes, Some(64 << 20));
    let resources = engine::Resources { memory_bytes: Some(24 << 20), ..engine::Resources::default() };
    bench.engine.update(&id("busy"), resources).await.unwrap();
    assert_eq!(bench.engine.stats(&id("busy")).await.unwrap().memory_limit_bytes, Some(24 << 20));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_takes_its_container_along() {
    if skip("a_killed_shim_takes_its_container_along") {
        return;
    }
    let bench = Bench::new();
    for (name, init, start) in
        [("plain", false, true), ("with-init", true, true), ("not-started", false, false)]
    {
        let mut spec = bench.shell(name, "sleep 1000 & sleep 1001");
        spec.init = init;
        // Not even a process that left the first one's pid namespace rules.
        if name == "plain" {
            spec.namespaces.pid = engine::SharedNamespace::Host;
        }
        let pid = bench.engine.create(spec).await.unwrap().pid;
        if start {
            bench.engine.start(&id(name)).await.unwrap();
        }
        let shim = parent_of(pid);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
        let exit = within(20, bench.engine.wait(&id(name))).await.unwrap();
        assert_eq!((exit.code, exit.signal), (137, Some(9)), "{name}");
        assert!(exit.reason.is_some());
        assert!(matches!(bench.engine.status(&id(name)).await.unwrap().state, State::Exited(_)));
        within(20, gone(pid)).await;
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_first_process_is_an_ordinary_end() {
    if skip("a_killed_first_process_is_an_ordinary_end") {
        return;
    }
    let bench = Bench::new();
    // F18: between create and start, and right after the start.
    let pid = bench.engine.create(bench.shell("early", "true")).await.unwrap().pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(within(10, bench.engine.wait(&id("early"))).await.unwrap().code, 137);
    assert!(bench.engine.start(&id("early")).await.is_err());
    let pid = bench.start(bench.shell("late", "sleep 1000")).await.pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(within(10, bench.engine.wait(&id("late"))).await.unwrap().signal, Some(9));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_engine_adopts_what_a_killed_one_left() {
    if skip("a_new_engine_adopts_what_a_killed_one_left") {
        return;
    }
    let directory = tempfile::Builder::new().prefix("engine-test-").tempdir().unwrap();
    let cgroup = format!("roadstead-test-adopt-{}", std::process::id());
    let spec_of = |name: &str, script: &str| {
        let arguments = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let mut spec = engine::ContainerSpec::new(id(name), support::image(), arguments);
        spec.labels.insert("task".to_owned(), name.to_owned());
        let path = directory.path().join(format!("{name}.log"));
        spec.log = engine::LogOutput::JsonFile { path, options: log_spool::JsonFileOptions::default() };
        spec
    };
    // One agent per container, each killed while its container runs on: they use the directory one after the other.
    let scripts = [
        ("lives", "while ! test -e /go; do sleep 0.02; done; echo adopted; exit 9"),
        ("dies", "sleep 0.7; echo alone; exit 5"),
    ];
    for (name, script) in scripts {
        let file = directory.path().join(format!("{name}.json"));
        std::fs::write(&file, serde_json::to_vec(&spec_of(name, script)).unwrap()).unwrap();
        let mut agent = std::process::Command::new(env!("CARGO_BIN_EXE_engine-test-helper"))
            .arg("agent")
            .arg(directory.path().join("engine"))
            .arg(&cgroup)
            .arg(&file)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(agent.stdout.take().unwrap()), &mut line)
            .unwrap();
        assert_eq!(line, "started\n");
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let engine = engine::Engine::open(support::config(directory.path(), &cgroup)).unwrap();
    // A second engine in the same place is refused while the first lives.
    assert!(engine::Engine::open(support::config(directory.path(), &cgroup)).is_err());
    let list = engine.list().await.unwrap();
    assert_eq!(list.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["dies", "lives"]);
    assert!(
        matches!(&list[0].state, State::Exited(exit) if exit.code == 5 && exit.reason.is_none()),
        "{list:?}"
    );
    assert_eq!(list[1].state, State::Running);
    assert_eq!(list[1].labels["task"], "lives");
    assert!(list[1].started_at.is_some() && list[1].pid.is_some());
    assert_eq!(engine.wait(&id("dies")).await.unwrap().code, 5);
    // The adopted one obeys, and its end is seen.
    let exec = engine::ExecSpec::new(vec!["touch".to_owned(), "/go".to_owned()], Duration::from_secs(10));
    assert_eq!(engine.exec(&id("lives"), exec).await.unwrap().exit_code, 0);
    assert_eq!(within(10, engine.wait(&id("lives"))).await.unwrap().code, 9);
    for (name, text) in [("lives", "adopted"), ("dies", "alone")] {
        assert!(
            std::fs::read_to_string(directory.path().join(format!("{name}.log"))).unwrap().contains(text)
        );
    }
    engine.destroy_all().await.unwrap();
    drop(engine);
    assert!(support::cgroup_directories(&cgroup).is_empty());
    support::all_end(directory.path().to_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_killed_is_cleaned_up_by_the_next_engine() {
    if skip("everything_killed_is_cleaned_up_by_the_next_engine") {
        return;
    }
    let bench = Bench::new();
    let group = engine::TaskGroup {
        id: id("task"),
        resources: engine::Resources::default(),
        share_pid_namespace: true,
        share_ipc_namespace: true,
        shared_memory_bytes: None,
        storage: None,
    };
    bench.engine.create_task_group(group).await.unwrap();
    let mut pids = Vec::new();
    for name in ["one", "two", "three"] {
        let mut spec = bench.shell(name, "sleep 1000");
        if name == "two" {
            spec.task_group = Some(id("task"));
        }
        if name == "three" {
            spec.namespaces.pid = engine::SharedNamespace::Host;
        }
        pids.push(bench.start(spec).await.pid);
    }
    let Bench { directory, engine, cgroup } = bench;
    drop(engine);
    let shims: Vec<i32> = pids.iter().map(|pid| parent_of(*pid)).collect();
    for pid in shims.iter().chain(&pids[..1]) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
    }
    // One record is damaged, one missing: what lives is found by the cgroup.
    std::fs::write(directory.path().join("engine/containers/one/state.json"), "{").unwrap();
    std::fs::remove_file(directory.path().join("engine/containers/three/spec.json")).unwrap();
    // The old engine's task may hold the lock a moment longer: it is dropped with its last clone.
    let mut again = engine::Engine::open(support::config(directory.path(), &cgroup));
    for _ in 0..100 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        again = engine::Engine::open(support::config(directory.path(), &cgroup));
    }
    let engine = again.unwrap();
    within(60, engine.destroy_all()).await.unwrap();
    for pid in &pids {
        assert!(!alive(*pid));
    }
    let bench = Bench { directory, engine, cgroup };
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once() {
    if skip("many_at_once") {
        return;
    }
    let bench = Bench::new();
    let mut work = Vec::new();
    for number in 0..20 {
        let engine = bench.engine.clone();
        let name = format!("c{number}");
        let spec = bench.shell(&name, &format!("echo {number}; exit {number}"));
        work.push(tokio::spawn(async move {
            engine.create(spec).await.unwrap();
            engine.start(&id(&name)).await.unwrap();
            let exit = engine.wait(&id(&name)).await.unwrap();
            engine.delete(&id(&name)).await.unwrap();
            exit.code
        }));
    }
    for (number, one) in work.into_iter().enumerate() {
        assert_eq!(within(60, one).await.unwrap(), number as i32);
        assert_eq!(bench.output(&format!("c{number}")), format!("{number}\n"));
    }
    // The same name at once: one is made.
    // Used further after everything was removed.
    bench.engine.destroy_all().await.unwrap();
    assert_eq!(bench.run(bench.shell("again", "echo again")).await.1, "again\n");
    let twice = tokio::join!(
        bench.engine.create(bench.shell("same", "true")),
        bench.engine.create(bench.shell("same", "true"))
    );
    assert!(twice.0.is_ok() != twice.1.is_ok());
    bench.finish().await;
}

fn parent_of(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap()
}

/// A cgroup lists no process that is exiting, which may take a slow machine a while: it runs none of its own code any more.
async fn gone(pid: i32) {
    while alive(pid) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn alive(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
}
