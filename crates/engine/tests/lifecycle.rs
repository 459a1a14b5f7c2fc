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
