//! Random faults, and the end of all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::link::Way;
use crate::machine::Machine;
use crate::random::Random;
use crate::world::{Stages, World};

/// Faults happen until `over`.
pub(crate) async fn run(
    world: Arc<World>,
    mut random: Random,
    every_millis: (u64, u64),
    over: Arc<AtomicBool>,
) {
    loop {
        let wait = random.between(every_millis.0, every_millis.1);
        if rest(&over, Duration::from_millis(wait)).await {
            return;
        }
        happen(&world, &mut random).await;
    }
}

/// Sleeps; true if it is over meanwhile.
async fn rest(over: &AtomicBool, time: Duration) -> bool {
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        if over.load(Ordering::Relaxed) {
            return true;
        }
        let left = end - tokio::time::Instant::now();
        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
    }
    over.load(Ordering::Relaxed)
}

async fn happen(world: &Arc<World>, random: &mut Random) {
    let machines = world.machines();
    let Some(machine) = random.pick(&machines).cloned() else { return };
    let short = Duration::from_millis(random.between(100, 20_000));
    let long = Duration::from_millis(random.between(10_000, 300_000));
    match random.below(100) {
        0..25 => {
            world.kill_control_plane().await;
            let again = Arc::clone(world);
            later(short, async move { revive(&again) });
        }
        25..35 => {
            world.say(format!("fault: {} is cut off", machine.name));
            machine.link.set(Way::CUT, Way::CUT);
            mend_later(world, machine, long);
        }
        35..42 => {
            world.say(format!("fault: {} hears nothing", machine.name));
            machine.link.set(Way::CUT, Way::FAIR);
            mend_later(world, machine, long);
        }
        42..49 => {
            world.say(format!("fault: {} is not heard", machine.name));
            machine.link.set(Way::FAIR, Way::CUT);
            mend_later(world, machine, long);
        }
        49..59 => {
            world.say(format!("fault: the network of {} is foul", machine.name));
            machine.link.set(Way::FOUL, Way::FOUL);
            mend_later(world, machine, long);
        }
        59..67 => {
            world.say(format!("fault: connections of {} are reset", machine.name));
            machine.link.reset();
        }
        67..79 => {
            machine.kill_agent(world).await;
            let again = Arc::clone(world);
            later(short, async move { machine.start_agent(&again) });
        }
        79..85 => {
            machine.cut_power(world).await;
            let again = Arc::clone(world);
            later(long, async move { machine.start_agent(&again) });
        }
        85..89 => lose_zone(world, &machine.zone, long).await,
        89..94 => {
            world.say("fault: pulls are slow");
            world.set_stages(Stages { pull_millis: (20_000, 120_000), ..world.stages() });
            let again = Arc::clone(world);
            later(long, async move {
                again.set_stages(Stages { pull_millis: Stages::REAL.pull_millis, ..again.stages() });
            });
        }
        94..98 => {
            let running = world.running_on(&machine.name);
            if let Some(task) = random.pick(&running) {
                world.say(format!("fault: {} crashes", world.short(task)));
                machine.crash_task(task, 1);
            }
        }
        _ => {
            world.say("fault: the control plane is killed again and again");
            for _ in 0..random.between(2, 6) {
                world.kill_control_plane().await;
                tokio::time::sleep(Duration::from_millis(random.between(1, 200))).await;
                revive(world);
                tokio::time::sleep(Duration::from_millis(random.between(1, 2000))).await;
            }
        }
    }
}

fn later(after: Duration, then: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        then.await;
    });
}

fn revive(world: &Arc<World>) {
    if world.plane().is_none() {
        world.start_control_plane();
    }
}

fn mend_later(world: &Arc<World>, machine: Arc<Machine>, after: Duration) {
    let world = Arc::clone(world);
    later(after, async move {
        world.say(format!("the network of {} is good again", machine.name));
        machine.link.mend();
    });
}

async fn lose_zone(world: &Arc<World>, zone: &str, time: Duration) {
    world.say(format!("fault: zone {zone} is lost"));
    for machine in world.machines().into_iter().filter(|machine| machine.zone == zone) {
        machine.cut_power(world).await;
        let again = Arc::clone(world);
        later(time, async move { machine.start_agent(&again) });
    }
}

/// Everything works again: the control plane, every agent, every network; and what clients left in a state that cannot
/// come right is brought into one that can.
pub(crate) async fn heal(world: &Arc<World>) {
    world.say("the faults are over");
    revive(world);
    world.set_stages(Stages { crash_permille: 0, ..Stages::REAL });
    for machine in world.machines() {
        machine.link.mend();
        machine.start_agent(world);
    }
    // The last repairs of faults are done by then.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let instances: Vec<String> = world.machines().iter().filter_map(|machine| machine.arn()).collect();
    for instance in instances {
        let body = json!({"containerInstances": [instance], "status": "ACTIVE"});
        world.call("UpdateContainerInstancesState", body).await;
    }
    for service in services(world).await {
        let desired = service["desiredCount"].as_i64().unwrap_or_default().min(3);
        let name = service["serviceName"].clone();
        let replica = service["schedulingStrategy"] != "DAEMON";
        let behind = service.pointer("/loadBalancers/0/containerPort").and_then(Value::as_i64);
        let family = match behind {
            None if service["networkConfiguration"].is_null() => json!("web"),
            None | Some(80) => json!("network"),
            Some(_) => name.clone(),
        };
        let mut body = json!({"service": name, "taskDefinition": family, "forceNewDeployment": true});
        if replica {
            // One with a port of its machine has no room for a second one there.
            let has_port = behind.is_some_and(|port| port != 80);
            body["desiredCount"] = json!(if has_port { desired.min(1) } else { desired });
        }
        let strategy = service.pointer("/deploymentConfiguration/strategy").and_then(Value::as_str);
        if replica && strategy.is_none_or(|strategy| strategy == "ROLLING") {
            // Bounds between which a single task could never be replaced are the caller's mistake.
            body["deploymentConfiguration"] = json!({"minimumHealthyPercent": 100, "maximumPercent": 200});
        }
        world.must("UpdateService", body).await;
    }
}

/// The services that are ACTIVE; none while services are not built.
pub(crate) async fn services(world: &World) -> Vec<Value> {
    let Some((200, listed)) = world.call("ListServices", json!({"maxResults": 100})).await else {
        return Vec::new();
    };
    let arns = listed["serviceArns"].as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for ten in arns.chunks(10) {
        if let Some((200, answer)) = world.call("DescribeServices", json!({"services": ten})).await {
            all.extend(answer["services"].as_array().cloned().unwrap_or_default());
        }
    }
    all.retain(|service| service["status"] == "ACTIVE");
    all
}
