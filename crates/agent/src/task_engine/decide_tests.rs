//! Tables: what a task looks like, and what is decided. Laws: whatever the world does, a task comes to its end.

use std::sync::Arc;

use agent_protocol::payload::Task;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::record::{FORMAT, TaskRecord, TaskStatus};
use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// A task whose containers are given as `name` and the members that differ.
fn task(containers: &[(&str, Value)]) -> (TaskPlan, TaskRecord) {
    let containers: Vec<Value> = containers
        .iter()
        .map(|(name, more)| {
            let mut container = json!({"name": name, "image": "x", "essential": true});
            container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            container
        })
        .collect();
    let message = json!({"arn": "arn:aws:ecs:us-east-1:000000000000:task/default/1", "desiredStatus": "RUNNING",
                         "networkMode": "none", "containers": containers});
    let message: Task = serde_json::from_value(message).unwrap();
    let plan = TaskPlan::read(&message).unwrap();
    let containers = plan
        .containers
        .iter()
        .map(|container| ContainerRecord::new(&container.name, "r".into(), "e".into(), "d".into()))
        .collect();
    let record = TaskRecord {
        format: FORMAT,
        task: Arc::new(message),
        desired: Desired::Running,
        generation: 1,
        stop_reason: None,
        stop_by: None,
        reported: TaskStatus::Pending,
        reports: std::collections::VecDeque::new(),
        containers,
        accepted_at: NOW,
        pull_started_at: None,
        pull_stopped_at: None,
        execution_stopped_at: None,
        released: false,
        finished_at: None,
    };
    (plan, record)
}

/// Containers at these statuses, none busy, resources ready.
fn decided(plan: &TaskPlan, record: &TaskRecord) -> Decision {
    let (operations, health) =
        (vec![None; plan.containers.len()], vec![Verdict::Unknown; plan.containers.len()]);
    let observed =
        Observed { plan, record, resources: TaskResources::Ready, operations: &operations, health: &health };
    decide(&observed, NOW)
}

fn set(record: &mut TaskRecord, index: usize, known: KnownStatus, exit_code: Option<i32>) {
    let container = &mut record.containers[index];
    container.known = known;
    if known >= KnownStatus::Created {
        container.created_at = Some(NOW);
    }
    if known == KnownStatus::Running || exit_code.is_some() {
        container.started_at = Some(NOW);
    }
    container.exit_code = exit_code;
}

#[test]
fn a_container_takes_its_steps_one_by_one() {
    let (plan, mut record) = task(&[("web", json!({}))]);
    for (known, action) in [
        (KnownStatus::None, Some(Action::Pull(0))),
        (KnownStatus::Pulled, Some(Action::Create(0))),
        (KnownStatus::Created, Some(Action::Start(0))),
        (KnownStatus::Running, None),
    ] {
        set(&mut record, 0, known, None);
        assert_eq!(decided(&plan, &record).actions, Vec::from_iter(action), "{known:?}");
    }
    set(&mut record, 0, KnownStatus::Stopped, Some(0));
    let reason = ESSENTIAL_CONTAINER_EXITED.to_owned();
    assert_eq!(decided(&plan, &record).actions, [Action::StopTask { reason }]);
    record.stop(None);
    assert_eq!(decided(&plan, &record).actions, [Action::Finish]);
    record.finished_at = Some(NOW);
    assert_eq!(decided(&plan, &record), Decision::default());
}

#[test]
fn what_is_busy_is_left_alone_and_resources_are_made_beside_the_pull() {
    let (plan, mut record) = task(&[("web", json!({}))]);
    let observe = |record: &TaskRecord, resources, operation| {
        let observed = Observed {
            plan: &plan,
            record,
            resources,
            operations: &[operation],
            health: &[Verdict::Unknown],
        };
        decide(&observed, NOW).actions
    };
    assert_eq!(observe(&record, TaskResources::Absent, None), [Action::PrepareResources, Action::Pull(0)]);
    assert_eq!(observe(&record, TaskResources::Preparing, Some(Operation::Pulling)), []);
    set(&mut record, 0, KnownStatus::Pulled, None);
    assert_eq!(observe(&record, TaskResources::Preparing, None), []);
    assert_eq!(observe(&record, TaskResources::Ready, None), [Action::Create(0)]);
}

#[test]
fn dependencies_gate_the_creation() {
    let depends = |condition: &str| json!({"dependsOn": [{"containerName": "db", "condition": condition}]});
    let check = json!({"essential": false, "startTimeout": 10,
                       "dockerConfig": {"config": "{\"Healthcheck\":{\"Test\":[\"CMD\",\"x\"]}}"}});
    // condition, known, exit code, health, started how many ms ago: created, waiting until, hopeless
    type Row = (&'static str, KnownStatus, Option<i32>, Verdict, i64, &'static str);
    let rows: &[Row] = &[
        ("START", KnownStatus::Created, None, Verdict::Unknown, 0, "wait"),
        ("START", KnownStatus::Running, None, Verdict::Unknown, 99_000, "create"),
        ("START", KnownStatus::Stopped, Some(1), Verdict::Unknown, 0, "create"),
        ("START", KnownStatus::Stopped, None, Verdict::Unknown, 0, "hopeless"),
        ("COMPLETE", KnownStatus::Running, None, Verdict::Unknown, 9_999, "until 1"),
        ("COMPLETE", KnownStatus::Running, None, Verdict::Unknown, 10_000, "hopeless"),
        ("COMPLETE", KnownStatus::Stopped, Some(1), Verdict::Unknown, 99_000, "create"),
        ("SUCCESS", KnownStatus::Stopped, Some(0), Verdict::Unknown, 0, "create"),
        ("SUCCESS", KnownStatus::Stopped, Some(1), Verdict::Unknown, 0, "hopeless"),
        ("SUCCESS", KnownStatus::Pulled, None, Verdict::Unknown, 0, "wait"),
        ("HEALTHY", KnownStatus::Running, None, Verdict::Unknown, 4_000, "until 6000"),
        ("HEALTHY", KnownStatus::Running, None, Verdict::Unhealthy, 4_000, "until 6000"),
        ("HEALTHY", KnownStatus::Running, None, Verdict::Healthy, 4_000, "create"),
        ("HEALTHY", KnownStatus::Stopped, Some(0), Verdict::Healthy, 4_000, "hopeless"),
    ];
    for (condition, known, exit_code, verdict, ago, outcome) in rows {
        let (plan, mut record) = task(&[("web", depends(condition)), ("db", check.clone())]);
        set(&mut record, 0, KnownStatus::Pulled, None);
        set(&mut record, 1, *known, *exit_code);
        if let Some(started_at) = &mut record.containers[1].started_at {
            *started_at = NOW.plus_millis(-ago);
        }
        let observed = Observed {
            plan: &plan,
            record: &record,
            resources: TaskResources::Ready,
            operations: &[None, Some(Operation::Starting)],
            health: &[Verdict::Unknown, *verdict],
        };
        let decision = decide(&observed, NOW);
        let shown = match decision.actions.as_slice() {
            [Action::Create(0)] => "create".to_owned(),
            [Action::GiveUp { container: 0, .. }, Action::StopTask { .. }] => "hopeless".to_owned(),
            [] if decision.waiting == ["web"] => match decision.wake_at {
                Some(at) => format!("until {}", at.since_millis(NOW)),
                None => "wait".to_owned(),
            },
            other => panic!("{other:?}"),
        };
        assert_eq!(shown, *outcome, "{condition} {known:?} {exit_code:?} {verdict:?} {ago}");
    }
}

#[test]
fn links_and_volumes_from_imply_an_order() {
    let (plan, mut record) = task(&[
        ("a", json!({"links": ["b:alias"]})),
        ("b", json!({"volumesFrom": [{"sourceContainer": "c"}]})),
        ("c", json!({})),
    ]);
    for index in 0..3 {
        set(&mut record, index, KnownStatus::Pulled, None);
    }
    assert_eq!(decided(&plan, &record).actions, [Action::Create(2)]);
    set(&mut record, 2, KnownStatus::Created, None);
    assert_eq!(decided(&plan, &record).actions, [Action::Create(1), Action::Start(2)]);
    set(&mut record, 1, KnownStatus::Running, None);
    assert_eq!(decided(&plan, &record).actions, [Action::Create(0), Action::Start(2)]);
}

#[test]
fn a_task_falls_in_the_reverse_order() {
    let depends = json!({"dependsOn": [{"containerName": "db", "condition": "START"}]});
    let (plan, mut record) = task(&[("web", depends), ("db", json!({})), ("late", json!({}))]);
    set(&mut record, 0, KnownStatus::Running, None);
    set(&mut record, 1, KnownStatus::Running, None);
    set(&mut record, 2, KnownStatus::Pulled, None);
    record.stop(None);
    let decision = decided(&plan, &record);
    assert_eq!(decision.actions, [Action::Stop(0), Action::GiveUp { container: 2, reason: None }]);
    assert_eq!(decision.waiting, ["db"]);
    set(&mut record, 0, KnownStatus::Stopped, Some(143));
    set(&mut record, 2, KnownStatus::Stopped, None);
    assert_eq!(decided(&plan, &record).actions, [Action::Stop(1)]);
}

#[test]
fn a_failed_start_gives_the_task_its_reason() {
    let (plan, mut record) = task(&[("web", json!({})), ("side", json!({"essential": false}))]);
    set(&mut record, 0, KnownStatus::Running, None);
    set(&mut record, 1, KnownStatus::Stopped, None);
    record.containers[1].reason = Some("CannotPullContainerError: x".into());
    assert_eq!(decided(&plan, &record).actions, [], "one that is not essential does not count");
    set(&mut record, 0, KnownStatus::Stopped, None);
    record.containers[0].started_at = None;
    record.containers[0].reason = Some("CannotStartContainerError: y".into());
    let reason = "CannotStartContainerError: y".to_owned();
    assert_eq!(decided(&plan, &record).actions, [Action::StopTask { reason }]);
}

#[test]
fn restarts_follow_the_policy() {
    let policy =
        json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": [0], "restartAttemptPeriod": 60}});
    let (plan, mut record) = task(&[("web", policy), ("off", json!({"restartPolicy": {"enabled": false}}))]);
    let (web, off) = (&plan.containers[0], &plan.containers[1]);
    for (container, desired, ran, code, again) in [
        (web, Desired::Running, 60_000, 1, true),
        (web, Desired::Running, 59_999, 1, false),
        (web, Desired::Running, 60_000, 0, false),
        (web, Desired::Stopped, 60_000, 1, false),
        (off, Desired::Running, 60_000, 1, false),
    ] {
        assert_eq!(restarts(container, desired, ran, code), again);
    }
    set(&mut record, 0, KnownStatus::Running, Some(1));
    set(&mut record, 1, KnownStatus::Running, None);
    record.containers[0].restart_due = true;
    assert_eq!(decided(&plan, &record).actions, [Action::Restart(0)]);
    record.stop(None);
    assert_eq!(
        decided(&plan, &record).actions,
        [Action::GiveUp { container: 0, reason: None }, Action::Stop(1)]
    );
}

/// A world that carries out whatever is decided, with failures where `chance` says so, and a stop at `stop_after` rounds.
fn live(containers: &[(&str, Value)], chance: &[u8], stop_after: usize) -> Result<(), TestCaseError> {
    let (plan, mut record) = task(containers);
    let count = plan.containers.len();
    let mut health = vec![Verdict::Unknown; count];
    let mut resources = TaskResources::Absent;
    let mut now = NOW;
    let mut chances = chance.iter().copied().cycle();
    for round in 0..200 {
        now = now.plus_millis(500);
        if round == stop_after {
            record.stop(None);
        }
        let before: Vec<KnownStatus> = record.containers.iter().map(|container| container.known).collect();
        let observed = Observed {
            plan: &plan,
            record: &record,
            resources,
            operations: &vec![None; count],
            health: &health,
        };
        let decision = decide(&observed, now);
        for action in decision.actions {
            let luck = chances.next().unwrap_or(0);
            match action {
                Action::PrepareResources => resources = TaskResources::Ready,
                Action::Pull(index) => {
                    let known = if luck < 20 { KnownStatus::Stopped } else { KnownStatus::Pulled };
                    record.containers[index].known = known;
                }
                Action::Create(index) => {
                    for dependency in &plan.containers[index].dependencies {
                        let on = &record.containers[dependency.on];
                        prop_assert!(on.created_at.is_some(), "made before what it depends on");
                    }
                    record.containers[index].known = KnownStatus::Created;
                    record.containers[index].created_at = Some(now);
                }
                Action::Start(index) | Action::Restart(index) => {
                    prop_assert_eq!(
                        record.desired,
                        Desired::Running,
                        "nothing is started in a task that falls"
                    );
                    record.containers[index].known = KnownStatus::Running;
                    record.containers[index].started_at = Some(now);
                    record.containers[index].restart_due = false;
                }
                Action::Stop(index) => {
                    let dependants = plan.containers.iter().zip(&record.containers).filter(|(plan, _)| {
                        plan.dependencies.iter().any(|dependency| dependency.on == index)
                    });
                    for (_, dependant) in dependants {
                        prop_assert_eq!(
                            dependant.known,
                            KnownStatus::Stopped,
                            "stopped before its dependants"
                        );
                    }
                    record.containers[index].known = KnownStatus::Stopped;
                    record.containers[index].exit_code = Some(143);
                }
                Action::GiveUp { container, .. } => record.containers[container].known = KnownStatus::Stopped,
                Action::StopTask { reason } => record.stop(Some(reason)),
                Action::Finish => {
                    prop_assert!(
                        record.containers.iter().all(|container| container.known == KnownStatus::Stopped)
                    );
                    record.finished_at = Some(now);
                    return Ok(());
                }
            }
        }
        for (index, container) in record.containers.iter_mut().enumerate() {
            let luck = chances.next().unwrap_or(0);
            if container.known == KnownStatus::Running && luck > 230 {
                container.known = KnownStatus::Stopped;
                container.exit_code = Some(i32::from(luck % 2));
            } else if luck > 128 {
                health[index] = Verdict::Healthy;
            }
            prop_assert!(container.known >= before[index], "a status went back");
        }
    }
    prop_assert!(false, "the task never ended: {record:?}");
    Ok(())
}

proptest! {
    #[test]
    fn every_task_comes_to_its_end(
        edges in proptest::collection::vec((0_usize..5, 0_usize..5, 0_usize..4), 0..8),
        essential in proptest::collection::vec(any::<bool>(), 5),
        chance in proptest::collection::vec(any::<u8>(), 1..64),
        stop_after in 0_usize..60,
    ) {
        const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
        const CONDITIONS: [&str; 4] = ["START", "COMPLETE", "SUCCESS", "HEALTHY"];
        let containers: Vec<(&str, Value)> = NAMES
            .iter()
            .enumerate()
            .map(|(index, name)| {
                // Only on later ones: no circles.
                let depends: Vec<Value> = edges
                    .iter()
                    .filter(|(from, to, _)| *from == index && to > from)
                    .map(|(_, to, condition)| json!({"containerName": NAMES[*to], "condition": CONDITIONS[*condition]}))
                    .collect();
                let check = json!({"config": "{\"Healthcheck\":{\"Test\":[\"CMD\",\"x\"]}}"});
                (*name, json!({"dependsOn": depends, "essential": index == 0 || essential[index], "dockerConfig": check}))
            })
            .collect();
        live(&containers, &chance, stop_after)?;
    }
}
