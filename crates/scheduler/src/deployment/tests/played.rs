//! What comes of deployments, told step by step.

use super::*;
use crate::deployment::configuration::{Alarms, EarlySuccess};

#[test]
fn a_rolling_deployment_completes() {
    let mut world = World::new(Configuration::default());
    world.deploy("green");
    world.play(1);
    assert_eq!(world.status(), ServiceDeploymentStatus::InProgress);
    assert_eq!(world.in_use("green").rollout_state_reason, "ECS deployment ecs-svc/green in progress.");
    assert_eq!((world.in_use("green").desired_count, world.in_use("blue").desired_count), (3, 0));
    world.play(4);
    assert_eq!(world.status(), ServiceDeploymentStatus::InProgress, "tasks have not settled");
    world.play(3);
    assert_eq!(world.status(), ServiceDeploymentStatus::Successful);
    assert_eq!(world.in_use("green").rollout_state, RolloutState::Completed);
    assert_eq!(world.in_use("green").rollout_state_reason, "ECS deployment ecs-svc/green completed.");
    assert_eq!(world.service.revisions.len(), 1);
    assert_eq!(world.events, ["(deployment ecs-svc/green) deployment completed."]);
}

#[test]
fn nothing_changes_twice() {
    for strategy in [Strategy::Rolling, Strategy::BlueGreen, LINEAR, CANARY] {
        let mut world = World::new(with(strategy));
        world.deploy("green");
        for _ in 0..400 {
            world.play(1);
            let decision = world.decide();
            world.apply(decision);
            world.trace.clear();
            let again = world.decide();
            if again.begin_hooks.is_empty() && again.deployment == world.deployment {
                assert_eq!(again.revisions, world.service.revisions);
                assert!(again.events.is_empty());
            }
        }
        assert_eq!(world.status(), ServiceDeploymentStatus::Successful, "{strategy:?}");
        let rest = world.decide();
        assert_eq!(
            (rest.deployment, rest.revisions),
            (world.deployment.clone(), world.service.revisions.clone())
        );
    }
}

#[test]
fn early_success_cleans_up_before_or_after() {
    let early = |cleanup_is_blocking| EarlySuccess { healthy_percent: 50, cleanup_is_blocking };
    for blocking in [true, false] {
        let configuration =
            Configuration { early_success: Some(early(blocking)), ..Configuration::default() };
        let mut world = World::new(configuration);
        world.deploy("green");
        world.play(1);
        // Two of three are up; what is old stands still.
        world.tasks.insert("green".into(), vec![Timestamp::from_millis(START); 2]);
        world.tasks.insert("blue".into(), vec![Timestamp::from_millis(START); 1]);
        world.now = world.now.plus_seconds(60);
        let decision = world.decide();
        world.apply(decision);
        let status = world.status();
        if blocking {
            assert_eq!(
                (status, world.stage()),
                (ServiceDeploymentStatus::InProgress, LifecycleStage::CleanUp)
            );
        } else {
            assert_eq!(status, ServiceDeploymentStatus::Successful);
            assert_eq!(world.in_use("blue").desired_count, 0, "removed behind it");
        }
        world.play(10);
        assert_eq!(world.status(), ServiceDeploymentStatus::Successful);
        assert_eq!((world.tasks_of("green"), world.tasks_of("blue")), (3, 0));
        assert_eq!(world.service.revisions.len(), 1);
    }
}

#[test]
fn stages_come_in_order() {
    use LifecycleStage::*;
    let expected = |steps: &[(u16, u16)]| {
        let mut all = vec![(ScaleUp, 0, 0)];
        all.extend(steps.iter().map(|(step, share)| (ProductionTrafficShift, *step, *share)));
        let last = steps.last().unwrap().0;
        all.extend([(BakeTime, last, 1000), (CleanUp, last, 1000)]);
        all
    };
    let cases = [
        (Strategy::BlueGreen, expected(&[(0, 1000)])),
        (CANARY, expected(&[(0, 50), (1, 1000)])),
        (LINEAR, expected(&[(0, 300), (1, 600), (2, 900), (3, 1000)])),
    ];
    for (strategy, expected) in cases {
        let mut world = World::new(with(strategy));
        world.deploy("green");
        world.play(600);
        assert_eq!(world.status(), ServiceDeploymentStatus::Successful, "{strategy:?}");
        let kept = |entry: &&(LifecycleStage, u16, u16)| expected.contains(entry);
        let trace: Vec<_> = world.trace.iter().filter(kept).copied().collect();
        assert_eq!(trace, expected, "{strategy:?} of {:?}", world.trace);
        let seen: Vec<_> = world.trace.iter().map(|entry| (entry.1, entry.2)).collect();
        assert!(seen.is_sorted(), "{seen:?}");
    }
}

#[test]
fn blue_stands_until_the_bake_is_over() {
    let mut world = World::new(with(Strategy::BlueGreen));
    world.deploy("green");
    world.play(20);
    assert_eq!(world.stage(), LifecycleStage::BakeTime);
    assert_eq!((world.tasks_of("blue"), world.tasks_of("green")), (3, 3));
    assert_eq!((world.in_use("blue").production_weight, world.in_use("green").production_weight), (0, 1000));
    // Tasks wished more or fewer meanwhile are so on both sides.
    world.service.desired_count = 5;
    world.play(2);
    assert_eq!((world.tasks_of("blue"), world.tasks_of("green")), (5, 5));
    world.service.desired_count = 2;
    world.play(2);
    assert_eq!((world.tasks_of("blue"), world.tasks_of("green")), (2, 2));
    world.play(120);
    assert_eq!(world.status(), ServiceDeploymentStatus::Successful);
    assert_eq!((world.tasks_of("blue"), world.tasks_of("green")), (0, 2));
}

#[test]
fn traffic_that_does_not_go_over_is_waited_for() {
    let mut world = World::new(with(CANARY));
    world.balanced = false;
    world.deploy("green");
    world.play(200);
    assert_eq!(world.stage(), LifecycleStage::TestTrafficShift);
    assert_eq!(world.decide().report, ["TEST_TRAFFIC_SHIFT: waits for the traffic to go over"]);
    world.balanced = true;
    world.play(1);
    world.balanced = false;
    world.play(200);
    assert_eq!(world.stage(), LifecycleStage::ProductionTrafficShift);
    assert_eq!(world.deployment.as_ref().unwrap().step_at, None, "the bake time has not begun");
    world.balanced = true;
    world.play(1);
    let since = world.deployment.as_ref().unwrap().step_at.unwrap();
    assert_eq!(world.now.since_millis(since), 1000);
    world.play(59);
    assert_eq!(world.deployment.as_ref().unwrap().step, 0);
    world.play(3);
    assert_eq!(world.deployment.as_ref().unwrap().step, 1);
}

#[test]
fn a_first_deployment_shares_with_nobody() {
    let mut world = World::new(with(LINEAR));
    (world.service.revisions, world.tasks) = (Vec::new(), BTreeMap::new());
    world.deploy("green");
    world.play(20);
    assert_eq!(world.stage(), LifecycleStage::BakeTime);
    assert_eq!(world.in_use("green").production_weight, 1000);
    assert!(world.trace.iter().all(|(_, step, _)| *step == 0));
}

#[test]
fn several_sources_are_reconciled() {
    let mut world = World::new(with(Strategy::BlueGreen));
    world.configuration.hooks = vec![pause_at(LifecycleStage::PostProductionTrafficShift)];
    world.deploy("red");
    world.play(20);
    assert_eq!(world.stage(), LifecycleStage::PostProductionTrafficShift);
    let open = world.deployment.clone().unwrap();
    let closed = supersede(&open, world.now);
    assert_eq!(closed.status, ServiceDeploymentStatus::Stopped);
    assert!(closed.hooks.iter().all(|hook| hook.status == HookStatus::Failed));
    world.configuration.hooks.clear();
    world.deploy("green");
    world.trace.clear();
    world.play(2);
    assert_eq!(world.trace[0].0, LifecycleStage::ReconcileService);
    assert_eq!(world.in_use("blue").production_weight, 1000, "back to the revision that was completed");
    world.play(200);
    assert_eq!(world.status(), ServiceDeploymentStatus::Successful);
    assert_eq!(world.tasks.keys().collect::<Vec<_>>(), ["green"]);
}

#[test]
fn f24_the_breaker_trips_at_exactly_the_threshold() {
    let cases = [
        (ThresholdType::Count, 1, 3, 1),
        (ThresholdType::Count, 7, 3, 7),
        (ThresholdType::BoundedPercent, 50, 3, 3),
        (ThresholdType::BoundedPercent, 50, 9, 5),
        (ThresholdType::BoundedPercent, 100, 500, 200),
        (ThresholdType::UnboundedPercent, 50, 3, 2),
        (ThresholdType::UnboundedPercent, 100, 500, 500),
    ];
    for (threshold_type, value, desired, threshold) in cases {
        for (rollback, reset, strategy) in [
            (true, true, Strategy::Rolling),
            (false, true, Strategy::Rolling),
            (true, false, Strategy::BlueGreen),
            (false, false, CANARY),
        ] {
            let case = (threshold_type, value, desired, rollback, reset);
            let mut world = World::new(Configuration {
                circuit_breaker: breaker(rollback, threshold_type, value, reset),
                ..with(strategy)
            });
            world.service.desired_count = desired;
            world.deploy("green");
            let decision = world.decide();
            world.apply(decision);
            for failure in 1..=threshold {
                assert_eq!(world.status(), ServiceDeploymentStatus::InProgress, "{case:?} before {failure}");
                world.failures.insert("green".into(), 1);
                let decision = world.decide();
                world.apply(decision);
            }
            let row = world.deployment.clone().unwrap();
            assert_eq!((row.failure_count, row.failure_threshold), (threshold, threshold), "{case:?}");
            assert_eq!(row.circuit_breaker_status, MonitorStatus::Triggered);
            let green = world.in_use("green").clone();
            assert_eq!(green.rollout_state, RolloutState::Failed);
            assert_eq!(green.rollout_state_reason, "ECS deployment circuit breaker: tasks failed to start.");
            assert_eq!(green.failed_tasks, threshold);
            assert!(!may_start(&green));
            if rollback {
                assert_eq!(row.status, ServiceDeploymentStatus::RollbackInProgress);
                assert_eq!(
                    row.status_reason.as_deref(),
                    Some(
                        "Service deployment rolled back because the circuit breaker threshold was exceeded."
                    )
                );
                let blue = world.in_use("blue");
                assert_eq!(
                    (blue.status, blue.rollout_state_reason.as_str()),
                    (
                        RevisionStatus::Primary,
                        "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/blue."
                    )
                );
                assert_eq!(
                    world.events,
                    [
                        "(deployment ecs-svc/green) deployment failed: tasks failed to start.",
                        "rolling back to deployment ecs-svc/blue."
                    ]
                );
            } else {
                assert_eq!((row.status, row.stopped_at), (ServiceDeploymentStatus::Stopped, Some(world.now)));
            }
        }
    }
}

#[test]
fn f24_a_settled_task_resets_only_the_consecutive_count() {
    for (reset, expected) in [(true, 1), (false, 3)] {
        let mut world = World::new(Configuration {
            circuit_breaker: breaker(true, ThresholdType::Count, 3, reset),
            ..Configuration::default()
        });
        world.deploy("green");
        let decision = world.decide();
        world.apply(decision);
        world.failures.insert("green".into(), 2);
        let decision = world.decide();
        world.apply(decision);
        // RUNNING for a moment only resets nothing; settled does.
        world.tasks.insert("green".into(), vec![world.now]);
        let decision = world.decide();
        world.apply(decision);
        assert_eq!(world.deployment.as_ref().unwrap().failure_count, 2);
        world.now = world.now.plus_seconds(SETTLE_SECONDS);
        world.failures.insert("green".into(), 1);
        let decision = world.decide();
        world.apply(decision);
        assert_eq!(world.deployment.as_ref().unwrap().failure_count, expected);
        let triggered = world.status() == ServiceDeploymentStatus::RollbackInProgress;
        assert_eq!(triggered, !reset);
        if reset {
            // The same task does not reset twice.
            world.failures.insert("green".into(), 2);
            let decision = world.decide();
            world.apply(decision);
            assert_eq!(world.status(), ServiceDeploymentStatus::RollbackInProgress);
        }
    }
}

#[test]
fn f24_a_crashing_image_is_rolled_back_and_the_service_holds() {
    for strategy in [Strategy::Rolling, Strategy::BlueGreen, LINEAR, CANARY] {
        let mut world = World::new(Configuration {
            circuit_breaker: breaker(true, ThresholdType::BoundedPercent, 50, true),
            ..with(strategy)
        });
        world.broken.push("green".into());
        world.deploy("green");
        for _ in 0..60 {
            world.play(1);
            assert_eq!(world.tasks_of("blue"), 3);
        }
        assert_eq!(world.status(), ServiceDeploymentStatus::RollbackSuccessful, "{strategy:?}");
        assert_eq!(world.service.revisions.len(), 1);
        assert_eq!(world.in_use("blue").rollout_state_reason, "ECS deployment ecs-svc/blue completed.");
        assert_eq!(world.in_use("blue").production_weight, 1000);
    }
}

#[test]
fn f24_without_rollback_the_old_revision_holds_the_service() {
    let mut world = World::new(Configuration {
        circuit_breaker: breaker(false, ThresholdType::BoundedPercent, 50, true),
        minimum_healthy_percent: 0,
        maximum_percent: 100,
        ..Configuration::default()
    });
    world.broken.push("green".into());
    world.deploy("green");
    world.play(30);
    assert_eq!(world.status(), ServiceDeploymentStatus::Stopped);
    assert_eq!(
        world.deployment.as_ref().unwrap().status_reason.as_deref(),
        Some("Service deployment stopped because the circuit breaker threshold was exceeded.")
    );
    assert_eq!((world.tasks_of("blue"), world.tasks_of("green")), (3, 0));
}

#[test]
fn f24_a_first_deployment_has_no_way_back() {
    let mut world = World::new(Configuration {
        circuit_breaker: breaker(true, ThresholdType::BoundedPercent, 50, true),
        ..Configuration::default()
    });
    (world.service.revisions, world.tasks) = (Vec::new(), BTreeMap::new());
    world.broken.push("green".into());
    world.deploy("green");
    world.play(10);
    assert_eq!(world.status(), ServiceDeploymentStatus::RollbackFailed);
    let row = world.deployment.as_ref().unwrap();
    assert_eq!(row.status_reason.as_deref(), Some("No rollback candidate was found to run the rollback."));
    assert_eq!(world.events.len(), 2);
    assert_eq!(world.in_use("green").desired_count, 3);
}

#[test]
fn f26_an_alarm_during_the_bake_returns_all_traffic_at_once() {
    for (strategy, rollback) in [
        (Strategy::BlueGreen, true),
        (LINEAR, true),
        (CANARY, true),
        (Strategy::Rolling, true),
        (CANARY, false),
    ] {
        let mut world = World::new(Configuration {
            alarms: Alarms { enable: true, rollback, names: vec!["high".into()] },
            ..with(strategy)
        });
        world.deploy("green");
        while world.deployment.as_ref().unwrap().stage != Some(LifecycleStage::BakeTime) {
            assert_eq!(world.decide().deployment.unwrap().alarm_status, MonitorStatus::Monitoring);
            world.play(1);
        }
        world.firing.push("high".into());
        let before = world.service.revisions.clone();
        let decision = world.decide();
        world.apply(decision);
        let row = world.deployment.clone().unwrap();
        assert_eq!(
            (row.alarm_status, row.triggered_alarms),
            (MonitorStatus::Triggered, vec!["high".to_owned()])
        );
        assert_eq!(world.in_use("green").rollout_state_reason, "ECS deployment failed: alarm detected.");
        if !rollback {
            assert_eq!(row.status, ServiceDeploymentStatus::Stopped);
            assert_eq!(world.in_use("green").production_weight, 1000, "what was shifted stays");
            continue;
        }
        if strategy != Strategy::Rolling {
            assert_eq!(before[0].production_weight, 1000);
            assert_eq!(world.in_use("blue").production_weight, 1000, "in the same write");
            assert_eq!(world.in_use("green").production_weight, 0);
        }
        world.play(20);
        assert_eq!(world.status(), ServiceDeploymentStatus::RollbackSuccessful, "{strategy:?}");
        assert_eq!((world.tasks_of("blue"), world.tasks_of("green")), (3, 0));
    }
}

#[test]
fn f26_an_alarm_from_before_is_not_watched() {
    let mut world = World::new(Configuration {
        alarms: Alarms { enable: true, rollback: true, names: vec!["high".into()] },
        ..Configuration::default()
    });
    world.firing.push("high".into());
    world.deploy("green");
    world.play(80);
    assert_eq!(world.status(), ServiceDeploymentStatus::Successful);
    assert_eq!(world.deployment.as_ref().unwrap().alarm_status, MonitorStatus::Disabled);
}

#[test]
fn f26_a_hook_that_fails_rolls_back() {
    use LifecycleStage::*;
    for stage in [
        PreScaleUp,
        PostScaleUp,
        TestTrafficShift,
        PostTestTrafficShift,
        PreProductionTrafficShift,
        ProductionTrafficShift,
        PostProductionTrafficShift,
    ] {
        for strategy in [Strategy::Rolling, Strategy::BlueGreen, LINEAR, CANARY] {
            let mut world = World::new(with(strategy));
            world.configuration.hooks = vec![lambda_at(stage)];
            world.deploy("green");
            while world.deployment.as_ref().unwrap().hooks.is_empty() {
                world.play(1);
            }
            assert_eq!(world.stage(), stage);
            world.play(30);
            assert_eq!(world.stage(), stage, "nothing goes on without it");
            world.answer_hooks(HookStatus::Failed);
            world.play(1);
            let reason = format!(
                "Service deployment rolled back because {stage} lifecycle hook(s) failed. Lifecycle hook target \
                 {LAMBDA} returned FAILED status."
            );
            assert_eq!(world.deployment.as_ref().unwrap().status_reason, Some(reason.clone()));
            assert_eq!(world.events[0], format!("(deployment ecs-svc/green) deployment failed: {reason}"));
            // On the way back the function is told, and what it says changes nothing.
            for _ in 0..30 {
                world.play(1);
                world.answer_hooks(HookStatus::Failed);
            }
            assert_eq!(world.status(), ServiceDeploymentStatus::RollbackSuccessful, "{stage} {strategy:?}");
            let told = world.deployment.as_ref().unwrap().hooks.iter().filter(|hook| hook.rollback).count();
            let moves = matches!(stage, TestTrafficShift | ProductionTrafficShift);
            assert_eq!(told, usize::from(moves && strategy != Strategy::Rolling), "{stage}");
            assert_eq!(world.tasks_of("blue"), 3);
        }
    }
}

#[test]
fn f26_a_pause_is_answered_or_times_out() {
    let paused = |rolls_back| {
        let mut world = World::new(with(Strategy::BlueGreen));
        let mut hook = pause_at(LifecycleStage::PostTestTrafficShift);
        hook.timeout_rolls_back = rolls_back;
        world.configuration.hooks = vec![hook];
        world.deploy("green");
        world.play(20);
        assert_eq!(world.stage(), LifecycleStage::PostTestTrafficShift);
        let hooks = &world.deployment.as_ref().unwrap().hooks;
        assert_eq!((hooks.len(), hooks[0].status), (1, HookStatus::AwaitingAction));
        world
    };
    let mut world = paused(true);
    world.answer_hooks(HookStatus::Succeeded);
    world.play(1);
    assert_eq!(world.stage(), LifecycleStage::ProductionTrafficShift);

    for (rolls_back, expected) in
        [(true, ServiceDeploymentStatus::RollbackSuccessful), (false, ServiceDeploymentStatus::Successful)]
    {
        let mut world = paused(rolls_back);
        let expires_at = world.deployment.as_ref().unwrap().hooks[0].expires_at.unwrap();
        assert_eq!(world.decide().wake_at, Some(expires_at));
        world.now = expires_at.plus_millis(-1);
        let decision = world.decide();
        world.apply(decision);
        assert_eq!(world.stage(), LifecycleStage::PostTestTrafficShift);
        world.now = expires_at;
        let decision = world.decide();
        world.apply(decision);
        assert_eq!(world.deployment.as_ref().unwrap().hooks[0].status, HookStatus::TimedOut);
        world.play(200);
        assert_eq!(world.status(), expected);
        let primary = if rolls_back { "blue" } else { "green" };
        assert_eq!(world.service.revisions.len(), 1);
        assert_eq!(world.in_use(primary).production_weight, 1000);
    }
}

#[test]
fn a_rollback_waits_for_tasks_that_take_the_traffic() {
    let mut world = World::new(with(Strategy::BlueGreen));
    world.deploy("green");
    while world.deployment.as_ref().unwrap().stage != Some(LifecycleStage::CleanUp) {
        world.play(1);
    }
    // The old tasks are gone, and then the caller wants them back.
    world.tasks.remove("blue");
    world.deployment.as_mut().unwrap().status = ServiceDeploymentStatus::RollbackRequested;
    let decision = world.decide();
    world.apply(decision);
    assert_eq!(world.in_use("green").production_weight, 1000, "nobody else can serve");
    assert_eq!((world.in_use("blue").desired_count, world.in_use("green").desired_count), (3, 3));
    world.play(2);
    assert_eq!(world.in_use("blue").production_weight, 1000);
    world.play(10);
    assert_eq!(world.status(), ServiceDeploymentStatus::RollbackSuccessful);
}

#[test]
fn an_abort_leaves_what_is() {
    let mut world = World::new(with(CANARY));
    world.deploy("green");
    while world.in_use("green").production_weight == 0 {
        world.play(1);
    }
    world.deployment.as_mut().unwrap().status = ServiceDeploymentStatus::StopRequested;
    world.play(30);
    assert_eq!(world.status(), ServiceDeploymentStatus::Stopped);
    assert_eq!((world.in_use("green").production_weight, world.in_use("blue").production_weight), (50, 950));
    assert_eq!((world.tasks_of("green"), world.tasks_of("blue")), (3, 3));
    assert_eq!(world.in_use("green").rollout_state, RolloutState::Failed);
    // The next deployment begins with one source.
    world.deploy("red");
    world.play(400);
    assert_eq!(world.status(), ServiceDeploymentStatus::Successful);
    assert_eq!(world.tasks.keys().collect::<Vec<_>>(), ["red"]);
}

#[test]
fn a_service_that_is_deleted_or_led_by_others_has_no_deployment() {
    for deleted in [true, false] {
        let mut world = World::new(with(CANARY));
        world.deploy("green");
        world.play(1);
        if deleted {
            world.service.status = domain::ServiceStatus::Draining;
        } else {
            world.service.deployment_controller = DeploymentControllerType::External;
        }
        let before = world.service.revisions.clone();
        let decision = world.decide();
        assert_eq!(decision.current_deployment(), None);
        world.apply(decision);
        assert_eq!(world.status(), ServiceDeploymentStatus::Stopped);
        if deleted {
            assert!(world.service.revisions.iter().all(|revision| revision.desired_count == 0));
        } else {
            assert_eq!(world.service.revisions, before);
        }
    }
}

#[test]
fn answers_of_functions() {
    let now = Timestamp::from_millis(START);
    let mut world = World::new(with(Strategy::BlueGreen));
    world.configuration.hooks = vec![lambda_at(LifecycleStage::PreScaleUp)];
    world.deploy("green");
    world.play(1);
    let fresh = world.deployment.unwrap().hooks[0].clone();
    let after = |answers: &[hooks::Answer]| {
        let mut run = fresh.clone();
        for answer in answers {
            hooks::note(&mut run, answer.clone(), now);
        }
        run
    };
    let none = hooks::Answer::None("gone.".into());
    let waits: Vec<i64> = (1..5)
        .map(|calls| after(&vec![none.clone(); calls]).call_not_before.unwrap().since_millis(now))
        .collect();
    assert_eq!(waits, [1000, 2000, 4000, 8000]);
    let dead = after(&vec![none.clone(); 5]);
    assert_eq!(dead.status, HookStatus::Failed);
    let reason = dead.reason.unwrap();
    assert_eq!(reason, format!("Lifecycle hook target {LAMBDA} could not be invoked: gone."));
    let later = hooks::Answer::InProgress { callback_seconds: None, details: Some("{}".into()) };
    let mut mixed = vec![none.clone(); 4];
    mixed.push(later);
    mixed.extend(vec![none; 4]);
    let alive = after(&mixed);
    assert_eq!((alive.status, alive.calls, alive.errors), (HookStatus::InProgress, 9, 4));
    assert_eq!(alive.callback.as_deref(), Some("{}"));
    let wait = |seconds| hooks::Answer::InProgress { callback_seconds: seconds, details: None };
    let delay = |seconds| after(&[wait(seconds)]).call_not_before.unwrap().since_millis(now);
    assert_eq!([None, Some(60), Some(-5), Some(i64::MAX)].map(delay), [30_000, 60_000, 1000, 86_400_000]);
    let unreadable = after(&[hooks::Answer::Unreadable("HookStatus must not be null.".into())]);
    let reason =
        format!("ECS was unable to parse the response from {LAMBDA} due to: HookStatus must not be null.");
    assert_eq!(unreadable.reason, Some(reason));
    // What comes late changes nothing.
    let done = after(&[hooks::Answer::Succeeded, hooks::Answer::Failed]);
    assert_eq!((done.status, done.calls), (HookStatus::Succeeded, 1));
}
