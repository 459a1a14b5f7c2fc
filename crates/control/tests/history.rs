//! Stopped tasks can be described for as long as the operator wishes, and are forgotten then.

use std::sync::Arc;
use std::time::Duration;

use base::{ManualClock, Scope, SeededIds, Timestamp};
use control::{Control, ControlConfig};
use domain::Task;
use serde_json::json;
use store::{Options, Prefix, Store, Transaction};
use tokio::sync::watch;

const HOUR: i64 = 3_600_000;

fn stopped(number: i64, stopped_at: i64) -> Task {
    let scope = Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap());
    let row = json!({
        "scope": scope, "id": format!("{number:032x}"), "cluster": "default",
        "task_definition": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1", "family": "web", "revision": 1,
        "launch_type": "EC2", "last_status": "STOPPED", "desired_status": "STOPPED", "version": 1, "generation": 1,
        "group": "family:web", "network_mode": "none", "resources": {"cpu_units": 0, "memory_mib": 64},
        "containers": [], "health_status": "UNKNOWN", "times": {"created_at": 0, "stopped_at": stopped_at},
    });
    serde_json::from_value(row).unwrap()
}

fn kept(store: &Store) -> Vec<String> {
    store.snapshot().scan::<Task>(Prefix::everything(), None).map(|task| task.id.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn stopped_tasks_are_kept_for_days() {
    let store = Store::ephemeral(store::rows::register(Options::ephemeral()));
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let config = ControlConfig { task_history: Duration::from_secs(3 * 24 * 3600) };
    let control = Control::new(store.clone(), clock.clone(), Arc::new(SeededIds::new(1)), config);
    let mut transaction = Transaction::new();
    for (number, hour) in [(1, 0), (2, 1), (3, 30)] {
        transaction.put(stopped(number, hour * HOUR));
    }
    store.transact(transaction).await.unwrap();
    let (stop, stop_seen) = watch::channel(false);
    let running = tokio::spawn(control.run(stop_seen));
    // The clock stands where the test puts it; the loop looks again every ten minutes of its own at the least.
    let mut at = 0;
    for (hours, ids) in
        [(31, vec![1, 2, 3]), (71, vec![1, 2, 3]), (72, vec![2, 3]), (101, vec![3]), (102, vec![])]
    {
        clock.advance_millis((hours - at) * HOUR);
        at = hours;
        tokio::time::sleep(Duration::from_secs(1300)).await;
        let expected: Vec<String> = ids.iter().map(|id: &i64| format!("{id:032x}")).collect();
        assert_eq!(kept(&store), expected, "after {hours} hours");
    }
    stop.send_replace(true);
    running.await.unwrap();
}
