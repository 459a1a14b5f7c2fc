//! What random worlds have found, told again in small.

use std::time::Duration;

use domain::{ContainerInstance, OutboxMessage};
use serde_json::json;
use sim::chaos::{come_to_rest, in_world, populate};
use sim::link::Way;
use sim::world::{Stages, World};
use store::Prefix;

const PEACE: Duration = Duration::from_secs(600);

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn run_two(world: &World) {
    world.must("RunTask", json!({"taskDefinition": "web", "count": 2})).await;
    seconds(10).await;
    assert_eq!(world.running_on("i-1").len(), 2);
}

fn orders(world: &World) -> usize {
    world.store.snapshot().scan::<OutboxMessage>(Prefix::everything(), None).count()
}

/// A session once outlived the deregistration of its machine, whose tasks then ran on for ever.
#[test]
fn a_machine_that_is_deregistered_stops_its_tasks_and_joins_anew() {
    let outcome = in_world(1, Stages::STEADY, |world| async move {
        populate(&world, 1).await;
        run_two(&world).await;
        let machine = world.machine("i-1").unwrap();
        let before = machine.arn().unwrap();
        world.must("DeregisterContainerInstance", json!({"containerInstance": before, "force": true})).await;
        seconds(60).await;
        assert!(world.running_on("i-1").is_empty());
        assert_eq!(orders(&world), 0, "no order waits for a machine that is gone");
        assert_ne!(machine.arn().unwrap(), before);
        come_to_rest(&world, PEACE).await;
    });
    assert!(outcome.failure.is_none(), "{}", outcome.report(""));
}

/// A manifest that was lost was once not sent again, so that the machine ran what nobody wanted.
#[test]
fn a_lost_manifest_comes_again() {
    let outcome = in_world(2, Stages::STEADY, |world| async move {
        populate(&world, 1).await;
        run_two(&world).await;
        let machine = world.machine("i-1").unwrap();
        machine.kill_agent(&world).await;
        seconds(30).await;
        let before = machine.arn().unwrap();
        world.must("DeregisterContainerInstance", json!({"containerInstance": before, "force": true})).await;
        machine.start_agent(&world);
        while machine.arn().is_none_or(|arn| arn == before) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Of what the control plane says now, nearly everything is lost for a while.
        machine.link.set(Way { lost_permille: 900, ..Way::FAIR }, Way::FAIR);
        seconds(12).await;
        machine.link.mend();
        seconds(80).await;
        assert!(world.running_on("i-1").is_empty());
        come_to_rest(&world, PEACE).await;
    });
    assert!(outcome.failure.is_none(), "{}", outcome.report(""));
}

/// An agent that was back before a new control plane had looked around was once noted as away 15 seconds later.
#[test]
fn an_agent_that_is_back_at_once_stays_connected() {
    for seed in 0..40 {
        let outcome = in_world(seed, Stages::STEADY, |world| async move {
            populate(&world, 3).await;
            // Agents try again in between: with some seed one of them meets the first moment of the next life.
            world.kill_control_plane().await;
            tokio::time::sleep(Duration::from_millis(300 + seed * 70)).await;
            world.start_control_plane();
            seconds(40).await;
            let snapshot = world.store.snapshot();
            let away: Vec<String> = snapshot
                .scan::<ContainerInstance>(Prefix::everything(), None)
                .filter(|row| !row.agent_connected)
                .map(|row| world.watcher.machine_called(&row.arn().to_string()))
                .collect();
            assert!(away.is_empty(), "seed {seed}: {away:?}");
        });
        assert!(outcome.failure.is_none(), "{}", outcome.report(""));
    }
}
