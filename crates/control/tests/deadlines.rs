//! Wall-clock limits of tasks: kept while the control plane runs, and taken up again when it starts anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock as _, ManualClock, Scope, SeededIds, Timestamp};
use control::{Control, ControlConfig};
use domain::{DesiredStatus, OutboxMessage, OutboxOrder, StopCode, Task};
use serde_json::json;
use store::rows::task_key;
use store::{Options, Prefix, Store, Transaction};
use tokio::sync::watch;

const INSTANCE: &str =
    "arn:aws:ecs:us-east-1:000000000000:container-instance/default/11111111111111111111111111111111";
/// Far above what any step needs: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn scope() -> Scope {
    Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap())
}

/// A data directory, removed when dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn task(number: u64, limit: Option<i64>, started_at: Option<i64>) -> Task {
    let status = if started_at.is_some() { "RUNNING" } else { "PENDING" };
    let row = json!({
        "scope": scope(), "id": format!("{number:032x}"), "cluster": "default",
        "task_definition": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1", "family": "web", "revision": 1,
        "launch_type": "EC2", "container_instance": INSTANCE, "last_status": status, "desired_status": "RUNNING",
        "version": 1, "generation": 1, "group": "family:web", "network_mode": "none",
        "resources": {"cpu_units": 0, "memory_mib": 64}, "containers": [], "health_status": "UNKNOWN",
        "times": {"created_at": 0, "started_at": started_at}, "max_runtime_seconds": limit,
    });
    serde_json::from_value(row).unwrap()
}

async fn put(store: &Store, tasks: Vec<Task>) {
    let mut transaction = Transaction::new();
    for task in tasks {
        transaction.put(task);
    }
    store.transact(transaction).await.unwrap();
}

fn read(store: &Store, number: u64) -> Task {
    let key = task_key(&scope(), "default", &format!("{number:032x}"));
    Task::clone(&store.snapshot().get::<Task>(&key).unwrap())
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} did not come"));
}

#[tokio::test]
async fn a_limit_is_kept_over_a_restart() {
    let directory =
        Directory(std::env::temp_dir().join(format!("roadstead-deadlines-{}", std::process::id())));
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
    let open = || Store::open(&directory.0, store::rows::register(Options::durable())).unwrap();
    let run = |store: &Store| {
        let ids = Arc::new(SeededIds::new(1));
        let control = Control::new(store.clone(), clock.clone(), ids, ControlConfig::default());
        let (stop, stopped) = watch::channel(false);
        (stop, tokio::spawn(control.run(stopped)))
    };

    let store = open();
    let (stop, running) = run(&store);
    // Overdue; due in ten seconds; not yet running; without a limit.
    let tasks = vec![
        task(1, Some(60), Some(900_000)),
        task(2, Some(60), Some(950_000)),
        task(3, Some(1), None),
        task(4, None, Some(0)),
    ];
    put(&store, tasks).await;
    until("the first stop", || read(&store, 1).desired_status == DesiredStatus::Stopped).await;
    let stopped = read(&store, 1);
    assert_eq!(stopped.stop_code, Some(StopCode::UserInitiated));
    assert_eq!(
        stopped.stopped_reason.as_deref(),
        Some("Task ran for longer than its limit of 60 s (roadstead:max-runtime-seconds)")
    );
    assert_eq!(stopped.times.stopping_at, Some(clock.now()));
    let orders: Vec<_> = store.snapshot().scan::<OutboxMessage>(Prefix::everything(), None).collect();
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].order, orders[0].generation), (OutboxOrder::Stop, 2));
    assert_eq!(read(&store, 2).desired_status, DesiredStatus::Running);
    stop.send_replace(true);
    running.await.unwrap();
    drop(store);

    // The limit of the second is over while nobody looks; that of the third begins.
    clock.advance_millis(20_000);
    let store = open();
    let (stop, running) = run(&store);
    until("the stop after a restart", || read(&store, 2).desired_status == DesiredStatus::Stopped).await;
    put(&store, vec![task(3, Some(1), Some(1_019_000))]).await;
    until("the stop of one that began to run", || read(&store, 3).desired_status == DesiredStatus::Stopped)
        .await;
    assert_eq!(read(&store, 4).desired_status, DesiredStatus::Running);
    stop.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn many_at_once_are_stopped_in_batches_and_a_wait_ends_by_itself() {
    let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
    let ids = Arc::new(SeededIds::new(1));
    let clock = Arc::new(base::SystemClock);
    let now = clock.now().as_millis();
    put(&store, (0..200).map(|number| task(number, Some(1), Some(now - 700))).collect()).await;
    let control = Control::new(store.clone(), clock, ids, ControlConfig::default());
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(control.run(stopped));
    until("every stop", || {
        (0..200).all(|number| read(&store, number).desired_status == DesiredStatus::Stopped)
    })
    .await;
    stop.send_replace(true);
    running.await.unwrap();
}
