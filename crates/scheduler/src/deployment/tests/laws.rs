//! Laws that hold whatever happens, in whatever order.

use proptest::prelude::{
    Just, ProptestConfig, TestCaseError, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::strategy::Strategy as Generate;

use super::*;
use crate::deployment::configuration::Alarms;

/// What must hold of every state, in every world.
fn laws(before: &World, after: &World) -> Result<(), TestCaseError> {
    let Some(deployment) = &after.deployment else { return Ok(()) };
    let production: u32 =
        after.service.revisions.iter().map(|revision| u32::from(revision.production_weight)).sum();
    if after.configuration.side_by_side() {
        prop_assert!(production == 0 || production == 1000, "production traffic is {production}");
    }
    let mut moments: Vec<_> =
        deployment.hooks.iter().map(|hook| (hook.hook, hook.stage, hook.step, hook.rollback)).collect();
    moments.sort_unstable();
    prop_assert!(moments.windows(2).all(|pair| pair[0] != pair[1]), "a hook was begun twice");
    let Some(old) = before.deployment.as_ref().filter(|old| old.id == deployment.id) else { return Ok(()) };
    prop_assert!(!old.status.is_final() || old == deployment, "an ended deployment changed");
    for (old, new) in old.hooks.iter().zip(&deployment.hooks) {
        prop_assert_eq!(&old.id, &new.id);
        prop_assert!(!old.status.is_final() || old.status == new.status);
    }
    if deployment.status == ServiceDeploymentStatus::InProgress {
        prop_assert!(deployment.step >= old.step);
        let configuration = &after.configuration;
        if deployment.step > old.step {
            let bake = configuration.step_bake_seconds(old.step) * 1000;
            let since = old.step_at.map_or(0, |at| after.now.since_millis(at));
            prop_assert!(since >= bake, "step {} baked {since} of {bake} ms", old.step);
        }
    }
    let left_bake =
        old.stage == Some(LifecycleStage::BakeTime) && deployment.stage == Some(LifecycleStage::CleanUp);
    if left_bake {
        let baked = after.now.since_millis(old.stage_at.unwrap());
        prop_assert!(baked >= after.configuration.bake_seconds(60) * 1000, "baked {baked} ms");
        prop_assert!(
            baked < after.configuration.bake_seconds(60) * 1000 + 2000,
            "baked {baked} ms: from 0 again"
        );
    }
    Ok(())
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// A decision is made, written, and tasks follow.
    Pass,
    /// The process ends between decision and write.
    Crash,
    /// A second passes, and a pass.
    Second,
    HookAnswers(bool),
    TaskFails(bool),
    AlarmFires,
    TrafficStalls(bool),
    Stop(bool),
    DesiredCount(i32),
    Redeploy,
}

fn happening() -> impl Generate<Value = Happening> {
    prop_oneof![
        6 => Just(Happening::Pass),
        4 => Just(Happening::Crash),
        30 => Just(Happening::Second),
        4 => prop::bool::weighted(0.9).prop_map(Happening::HookAnswers),
        2 => any::<bool>().prop_map(Happening::TaskFails),
        1 => prop::bool::weighted(0.2).prop_map(|_| Happening::AlarmFires),
        2 => any::<bool>().prop_map(Happening::TrafficStalls),
        1 => any::<bool>().prop_map(Happening::Stop),
        1 => (0..6i32).prop_map(Happening::DesiredCount),
        1 => Just(Happening::Redeploy),
    ]
}

fn happen(world: &mut World, happening: &Happening, deployments: &mut u32) {
    match happening {
        Happening::Pass => {
            let decision = world.decide();
            world.apply(decision);
            world.schedule();
        }
        Happening::Crash => {
            let _lost = world.decide();
        }
        Happening::Second => {
            world.now = world.now.plus_seconds(1);
            let decision = world.decide();
            world.apply(decision);
            world.schedule();
        }
        Happening::HookAnswers(passes) => {
            if world.deployment.as_ref().is_some_and(|row| !row.status.is_final()) {
                world.answer_hooks(if *passes { HookStatus::Succeeded } else { HookStatus::Failed });
            }
        }
        Happening::TaskFails(of_target) => {
            let Some(target) = world.deployment.as_ref().map(|row| row.target_revision.clone()) else {
                return;
            };
            let id = if *of_target { target } else { "blue".to_owned() };
            if let Some(tasks) = world.tasks.get_mut(&id) {
                tasks.pop();
                *world.failures.entry(id).or_default() += 1;
            }
        }
        Happening::AlarmFires => world.firing = vec!["high".into()],
        Happening::TrafficStalls(stalls) => world.balanced = !stalls,
        Happening::Stop(rollback) => {
            if let Some(row) = world.deployment.as_mut().filter(|row| {
                matches!(row.status, ServiceDeploymentStatus::Pending | ServiceDeploymentStatus::InProgress)
            }) {
                row.status = if *rollback {
                    ServiceDeploymentStatus::RollbackRequested
                } else {
                    ServiceDeploymentStatus::StopRequested
                };
            }
        }
        Happening::DesiredCount(count) => world.service.desired_count = *count,
        Happening::Redeploy => {
            *deployments += 1;
            world.deploy(&format!("green{deployments}"));
        }
    }
}

fn strategy() -> impl Generate<Value = Strategy> {
    prop_oneof![Just(Strategy::Rolling), Just(Strategy::BlueGreen), Just(LINEAR), Just(CANARY)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever happens, in whatever order, with whatever lost.
    #[test]
    fn f25_laws_hold_whatever_happens(
        strategy in strategy(),
        hooks in prop::collection::vec((0..8usize, any::<bool>()), 0..3),
        alarms: bool,
        happenings in prop::collection::vec(happening(), 1..400),
    ) {
        let stages: Vec<LifecycleStage> = LifecycleStage::ALL
            .iter()
            .copied()
            .filter(|stage| !matches!(stage, LifecycleStage::ScaleUp | LifecycleStage::BakeTime | LifecycleStage::CleanUp))
            .collect();
        let mut configuration = Configuration {
            circuit_breaker: breaker(true, ThresholdType::Count, 5, true),
            alarms: Alarms { enable: alarms, rollback: true, names: vec!["high".into()] },
            ..with(strategy)
        };
        configuration.hooks = hooks
            .iter()
            .map(|(stage, pause)| if *pause { pause_at(stages[*stage]) } else { lambda_at(stages[*stage]) })
            .collect();
        let mut world = World::new(configuration);
        world.deploy("green");
        let mut deployments = 0;
        for happening in &happenings {
            let before = world.clone();
            happen(&mut world, happening, &mut deployments);
            if !matches!(happening, Happening::Redeploy) {
                laws(&before, &world)?;
            }
        }
        // When all is quiet again it comes to an end, and the service has what it should.
        world.balanced = true;
        world.firing.clear();
        let mut before = world.clone();
        for _ in 0..900 {
            if world.deployment.as_ref().is_some_and(|row| !row.status.is_final()) {
                world.answer_hooks(HookStatus::Succeeded);
            }
            world.play(1);
            laws(&before, &world)?;
            before = world.clone();
        }
        let row = world.deployment.clone().unwrap();
        prop_assert!(row.status.is_final(), "{:?} at {:?}: {:?}", row.status, row.stage, world.decide().report);
        let desired = world.service.desired_count;
        let completed = world.service.revisions.iter().any(|revision| revision.rollout_state == RolloutState::Completed);
        let tasks: usize = world.tasks.values().map(Vec::len).sum();
        if completed {
            prop_assert!(tasks as i32 >= desired, "{tasks} of {desired} tasks: {:?}", world.service.revisions);
        }
    }

    /// A crash at every point of every strategy changes nothing of what comes of it.
    #[test]
    fn f25_crashes_change_nothing(
        strategy in strategy(),
        crashes in prop::collection::vec(0..3u8, 500),
        pause in 0..8usize,
    ) {
        let stages = [
            LifecycleStage::PreScaleUp, LifecycleStage::PostScaleUp, LifecycleStage::TestTrafficShift,
            LifecycleStage::PostTestTrafficShift, LifecycleStage::PreProductionTrafficShift,
            LifecycleStage::ProductionTrafficShift, LifecycleStage::PostProductionTrafficShift,
        ];
        let run = |crashes: &[u8]| {
            let mut world = World::new(with(strategy));
            if let Some(stage) = stages.get(pause) {
                world.configuration.hooks = vec![lambda_at(*stage)];
            }
            world.deploy("green");
            for (second, lost) in crashes.iter().enumerate() {
                // A decision that is lost is made again from the same rows.
                for _ in 0..*lost {
                    let _ = world.decide();
                }
                world.play(1);
                if second % 40 == 39 {
                    world.answer_hooks(HookStatus::Succeeded);
                }
            }
            (world.trace, world.deployment, world.service.revisions, world.events)
        };
        let undisturbed = run(&[0; 500]);
        prop_assert_eq!(run(&crashes), undisturbed);
    }
}
