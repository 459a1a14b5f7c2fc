//! Faults one at a time, each on what it does to the real control plane. The names are those of the catalogue of faults.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{ContainerInstance, DesiredStatus, Service, StopCode, Task, TaskStatus};
use serde_json::{Value, json};
use sim::chaos::{Outcome, come_to_rest, in_world, populate};
use sim::link::Way;
use sim::machine::{Machine, Size};
use sim::random::Random;
use sim::world::{Stages, World};
use store::Prefix;

const PEACE: Duration = Duration::from_secs(30 * 60);

/// Holds that no law was broken; else shows the end of the transcript.
fn hold(outcome: &Outcome) {
    assert!(outcome.failure.is_none(), "{}", outcome.report(""));
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// All tasks, also stopped ones.
fn tasks(world: &World) -> Vec<Task> {
    let snapshot = world.store.snapshot();
    snapshot.scan::<Task>(Prefix::everything(), None).map(|task| Task::clone(&task)).collect()
}

fn arns(answer: &Value) -> Vec<String> {
    let tasks = answer["tasks"].as_array().into_iter().flatten();
    tasks.filter_map(|task| task["taskArn"].as_str().map(str::to_owned)).collect()
}

async fn run_task(world: &World, family: &str, count: u64) -> Vec<String> {
    arns(&world.must("RunTask", json!({"taskDefinition": family, "count": count})).await)
}

async fn create_service(world: &World, name: &str, family: &str, count: u64, more: Value) {
    let mut body = json!({"serviceName": name, "taskDefinition": family, "desiredCount": count});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    world.must("CreateService", body).await;
}

fn row_of(world: &World, arn: &str) -> Option<Task> {
    tasks(world).into_iter().find(|task| task.arn().to_string() == arn)
}

fn running(world: &World, service: &str) -> usize {
    let group = format!("service:{service}");
    tasks(world)
        .iter()
        .filter(|task| {
            task.group == group
                && task.last_status == TaskStatus::Running
                && task.desired_status == DesiredStatus::Running
        })
        .count()
}

#[test]
fn f01_the_control_plane_dies_in_a_loop_during_200_calls() {
    for seed in 1..=5 {
        hold(&in_world(seed, Stages { crash_permille: 0, ..Stages::REAL }, |world| async move {
            populate(&world, 4).await;
            let killer = {
                let world = Arc::clone(&world);
                let mut random = Random::fork(seed, "killer");
                tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(Duration::from_millis(random.between(200, 2000))).await;
                        world.kill_control_plane().await;
                        tokio::time::sleep(Duration::from_millis(random.between(1, 100))).await;
                        world.start_control_plane();
                    }
                })
            };
            let mut random = Random::fork(seed, "calls");
            let mut promised: BTreeSet<String> = BTreeSet::new();
            for call in 0..200 {
                tokio::time::sleep(Duration::from_millis(random.between(10, 300))).await;
                let service = format!("s{}", random.between(1, 3));
                let answer = match call % 3 {
                    0 => world.call("RunTask", json!({"taskDefinition": "job", "count": 1})).await,
                    1 => {
                        let body =
                            json!({"serviceName": service, "taskDefinition": "web", "desiredCount": 1});
                        world.call("CreateService", body).await
                    }
                    _ => {
                        let body = json!({"service": service, "desiredCount": random.between(0, 3)});
                        world.call("UpdateService", body).await
                    }
                };
                match answer {
                    Some((200, answer)) if call % 3 == 0 => promised.extend(arns(&answer)),
                    Some((200, answer)) if call % 3 == 1 => {
                        promised.extend(answer["service"]["serviceArn"].as_str().map(str::to_owned));
                    }
                    _ => {}
                }
            }
            killer.abort();
            let _ = killer.await;
            if world.plane().is_none() {
                world.start_control_plane();
            }
            assert!(!promised.is_empty());
            let there: BTreeSet<String> = tasks(&world)
                .iter()
                .map(|task| task.arn().to_string())
                .chain({
                    let snapshot = world.store.snapshot();
                    let services = snapshot.scan::<Service>(Prefix::everything(), None);
                    services.map(|service| service.arn().to_string()).collect::<Vec<_>>()
                })
                .collect();
            let lost: Vec<_> = promised.difference(&there).collect();
            assert!(lost.is_empty(), "answered with 200, and gone: {lost:?}");
            come_to_rest(&world, PEACE).await;
        }));
    }
}

/// One control plane stands still for half a minute, and another session of the same agent is there when it goes on. What the
/// old session sends then is of an older epoch: it was fenced.
#[test]
fn f08_a_session_that_stood_still_is_fenced() {
    hold(&in_world(8, Stages::STEADY, |world| async move {
        populate(&world, 1).await;
        let machine = world.machine("i-1").unwrap();
        let row = |world: &World| {
            let snapshot = world.store.snapshot();
            let row = snapshot.scan::<ContainerInstance>(Prefix::everything(), None).next().unwrap();
            (row.session_epoch, row.agent_connected)
        };
        let (first, _) = row(&world);
        // Nothing of the old session arrives for 30 seconds; the agent connects anew meanwhile.
        machine.link.set(Way::CUT, Way::CUT);
        let started = run_task(&world, "web", 3).await;
        seconds(1).await;
        machine.link.mend();
        machine.link.reset();
        seconds(30).await;
        let (second, connected) = row(&world);
        assert!(second > first && connected);
        assert!(started.iter().all(|task| world.runs_on(task).is_some()));
        come_to_rest(&world, PEACE).await;
    }));
}

#[test]
fn f13_an_agent_is_cut_off_for_five_minutes() {
    hold(&in_world(13, Stages::STEADY, |world| async move {
        populate(&world, 1).await;
        let started = run_task(&world, "web", 3).await;
        seconds(10).await;
        let machine = world.machine("i-1").unwrap();
        machine.link.set(Way::CUT, Way::CUT);
        seconds(60).await;
        let row =
            world.store.snapshot().scan::<ContainerInstance>(Prefix::everything(), None).next().unwrap();
        assert!(!row.agent_connected, "it is known to be away");
        world.must("StopTask", json!({"task": started[0]})).await;
        seconds(240).await;
        assert!(started.iter().all(|task| world.runs_on(task).is_some()), "tasks run on meanwhile");
        machine.link.mend();
        seconds(60).await;
        assert!(world.runs_on(&started[0]).is_none(), "the stop is carried out");
        assert!(started[1..].iter().all(|task| world.runs_on(task).is_some()), "and no other");
        come_to_rest(&world, PEACE).await;
    }));
}

#[test]
fn f14_an_agent_that_sends_and_does_not_hear_misses_no_order() {
    hold(&in_world(14, Stages::STEADY, |world| async move {
        populate(&world, 1).await;
        let machine = world.machine("i-1").unwrap();
        machine.link.set(Way::CUT, Way::FAIR);
        let started = run_task(&world, "web", 3).await;
        seconds(60).await;
        let row =
            world.store.snapshot().scan::<ContainerInstance>(Prefix::everything(), None).next().unwrap();
        assert!(!row.agent_connected, "an agent that answers no heartbeat counts as gone");
        assert!(started.iter().all(|task| world.runs_on(task).is_none()));
        machine.link.mend();
        seconds(60).await;
        assert!(started.iter().all(|task| world.runs_on(task).is_some()), "every order came in the end");
        come_to_rest(&world, PEACE).await;
    }));
}

/// 30 % loss, 200 ms jitter, reordering and duplicates: the world itself holds that no task is started twice.
#[test]
fn f15_a_foul_network() {
    for seed in 1..=10 {
        hold(&in_world(seed, Stages { crash_permille: 0, ..Stages::REAL }, |world| async move {
            populate(&world, 2).await;
            for machine in world.machines() {
                machine.link.set(Way::FOUL, Way::FOUL);
            }
            let mut started = Vec::new();
            for _ in 0..5 {
                started.extend(run_task(&world, "web", 2).await);
                seconds(7).await;
            }
            for task in started.iter().step_by(2) {
                world.must("StopTask", json!({"task": task})).await;
            }
            seconds(600).await;
            for (index, task) in started.iter().enumerate() {
                assert_eq!(world.runs_on(task).is_some(), index % 2 == 1, "seed {seed}, task {index}");
                // A stop that overtook its start keeps the task from starting; every other order is carried out once.
                assert!(index % 2 == 0 || world.was_started(task));
            }
            for machine in world.machines() {
                machine.link.mend();
            }
            come_to_rest(&world, PEACE).await;
        }));
    }
}

/// Everything comes twice, and late: an order that was carried out long ago is not carried out again.
#[test]
fn f16_every_message_comes_again() {
    let twice = Way { doubled_permille: 1000, delay_millis: (1, 9000), reorders: true, ..Way::FAIR };
    hold(&in_world(16, Stages::STEADY, |world| async move {
        populate(&world, 1).await;
        world.machine("i-1").unwrap().link.set(twice, Way::FAIR);
        let started = run_task(&world, "web", 3).await;
        seconds(20).await;
        for task in &started {
            world.must("StopTask", json!({"task": task})).await;
        }
        seconds(60).await;
        assert!(started.iter().all(|task| world.runs_on(task).is_none()));
        assert!(started.iter().all(|task| row_of(&world, task).unwrap().last_status == TaskStatus::Stopped));
        world.machine("i-1").unwrap().link.mend();
        come_to_rest(&world, PEACE).await;
    }));
}

/// A container that ends right after its start, before anyone was told, and an agent that is dead at that moment.
#[test]
fn f18_the_end_comes_before_the_report_of_the_start() {
    hold(&in_world(18, Stages::STEADY, |world| async move {
        populate(&world, 1).await;
        let machine = world.machine("i-1").unwrap();
        let task = run_task(&world, "web", 1).await.remove(0);
        // The container starts while no report gets through, the agent dies, and then the container does.
        machine.link.set(Way::FAIR, Way::CUT);
        while world.runs_on(&task).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        machine.kill_agent(&world).await;
        machine.crash_task(&task, 137);
        seconds(5).await;
        machine.link.mend();
        machine.start_agent(&world);
        seconds(30).await;
        let row = row_of(&world, &task).unwrap();
        assert_eq!(row.last_status, TaskStatus::Stopped);
        assert_eq!(row.stop_code, Some(StopCode::EssentialContainerExited));
        assert_eq!(row.containers[0].exit_code, Some(137));
        // One whose image is not there never starts.
        let task = run_task(&world, "nopull", 1).await.remove(0);
        seconds(30).await;
        let row = row_of(&world, &task).unwrap();
        assert_eq!(row.stop_code, Some(StopCode::TaskFailedToStart));
        assert!(!world.was_started(&task));
        come_to_rest(&world, PEACE).await;
    }));
}

/// Deployments of an image that crashes: the circuit breaker trips at its threshold, once, and the service goes back; without one
/// the starts are spaced out.
#[test]
fn f24_a_crashing_image_is_rolled_back() {
    hold(&in_world(24, Stages::STEADY, |world| async move {
        populate(&world, 3).await;
        let breaker = json!({"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": true, "rollback": true}}});
        create_service(&world, "web", "web", 2, breaker).await;
        come_to_rest(&world, PEACE).await;
        let before = tasks(&world).len();
        world.must("UpdateService", json!({"service": "web", "taskDefinition": "crash"})).await;
        come_to_rest(&world, PEACE).await;
        let crashed = tasks(&world).iter().filter(|task| task.family == "crash").count();
        assert!((3..=9).contains(&crashed), "{crashed} tasks of the bad revision");
        assert!(tasks(&world).len() >= before);
        assert_eq!(running(&world, "web"), 2);
        assert!(
            tasks(&world).iter().all(|task| task.family == "web" || task.last_status == TaskStatus::Stopped)
        );
    }));
    hold(&in_world(24, Stages::STEADY, |world| async move {
        populate(&world, 3).await;
        // Source: AWS, "Amazon ECS service throttle logic": it holds for tasks that never reach RUNNING.
        create_service(&world, "bad", "nopull", 3, json!({})).await;
        seconds(3600).await;
        let first = tasks(&world).len();
        assert!(first < 60, "{first} starts in the first hour: a start must wait for longer and longer");
        seconds(3600).await;
        let second = tasks(&world).len() - first;
        assert!(
            (3..=15).contains(&second),
            "{second} starts in the second hour: four times three at most, and not none"
        );
    }));
}

/// The control plane dies at every step of a deployment: the stages come in the same order, none is repeated, and no bake time is
/// begun again or left out.
#[test]
fn f25_deployments_survive_the_control_plane_in_every_stage() {
    let strategies = [
        json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 2}),
        json!({"strategy": "CANARY", "bakeTimeInMinutes": 2,
            "canaryConfiguration": {"canaryPercent": 20.0, "canaryBakeTimeInMinutes": 2}}),
        json!({"strategy": "LINEAR", "bakeTimeInMinutes": 1,
            "linearConfiguration": {"stepPercent": 50.0, "stepBakeTimeInMinutes": 1}}),
    ];
    for (number, strategy) in strategies.iter().enumerate() {
        let undisturbed = deployment_of(strategy.clone(), None);
        for seed in 1..=3 {
            let disturbed = deployment_of(strategy.clone(), Some(seed));
            assert_eq!(undisturbed.0, disturbed.0, "strategy {number}, seed {seed}");
            let (without, with) = (undisturbed.1, disturbed.1);
            assert!(with + 5 >= without && with <= without + 120, "{with} seconds instead of {without}");
        }
    }
}

/// What the deployment went through, and how many seconds it took; with a seed the control plane dies all the while.
fn deployment_of(strategy: Value, killed: Option<u64>) -> (Vec<String>, u64) {
    let told = Arc::new(std::sync::Mutex::new((Vec::new(), 0)));
    let tell = Arc::clone(&told);
    hold(&in_world(25, Stages::STEADY, |world| async move {
        populate(&world, 3).await;
        create_service(&world, "web", "web", 2, json!({"deploymentConfiguration": strategy})).await;
        come_to_rest(&world, PEACE).await;
        let began = world.clock.elapsed_millis();
        world.must("UpdateService", json!({"service": "web", "taskDefinition": "web2"})).await;
        let killer = killed.map(|seed| {
            let (world, mut random) = (Arc::clone(&world), Random::fork(seed, "killer"));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(random.between(100, 9000))).await;
                    world.kill_control_plane().await;
                    tokio::time::sleep(Duration::from_millis(random.between(1, 2000))).await;
                    world.start_control_plane();
                }
            })
        });
        let is_open = |world: &World| {
            let snapshot = world.store.snapshot();
            snapshot
                .scan::<Service>(Prefix::everything(), None)
                .any(|service| service.current_deployment.is_some())
        };
        while is_open(&world) && world.clock.elapsed_millis() < began + 3_600_000 {
            seconds(1).await;
        }
        let took = (world.clock.elapsed_millis() - began) / 1000;
        if let Some(killer) = killer {
            killer.abort();
            let _ = killer.await;
            if world.plane().is_none() {
                world.start_control_plane();
            }
        }
        come_to_rest(&world, PEACE).await;
        let transcript = world.transcript();
        let stages = transcript.lines().filter_map(|line| {
            let at = line.find("deployment-2 of service").or_else(|| line.find("revision-"))?;
            let told = line.contains("deployment-2 of service") || line.contains("% of production");
            told.then(|| line[at..].to_owned())
        });
        *tell.lock().unwrap() = (stages.collect(), took);
    }));
    let told = told.lock().unwrap().clone();
    assert!(told.0.last().is_some_and(|last| last.contains("SUCCESSFUL")), "{told:?}");
    told
}

#[test]
fn f30_a_zone_is_lost_and_comes_back() {
    hold(&in_world(30, Stages::STEADY, |world| async move {
        populate(&world, 0).await;
        for (number, zone) in ["a", "a", "b", "b", "c"].iter().enumerate() {
            let size = Size { cpu_units: 2048, memory_mib: 4096, gpu_ids: Vec::new() };
            world.add_machine(Machine::new(30, &format!("i-{}", number + 1), zone, size));
        }
        seconds(5).await;
        let spread = json!({"placementStrategy": [{"type": "spread", "field": "attribute:ecs.availability-zone"}],
            "availabilityZoneRebalancing": "ENABLED"});
        create_service(&world, "web", "web", 6, spread).await;
        come_to_rest(&world, PEACE).await;
        let zone_a = [world.machine("i-1").unwrap(), world.machine("i-2").unwrap()];
        let there = || zone_a.iter().map(|machine| world.running_on(&machine.name).len()).sum::<usize>();
        assert_eq!(there(), 2, "two in each zone");
        for machine in &zone_a {
            machine.cut_power(&world).await;
        }
        seconds(600).await;
        for machine in &zone_a {
            machine.start_agent(&world);
        }
        // The laws hold the floor meanwhile: rebalancing starts before it stops.
        seconds(1800).await;
        come_to_rest(&world, PEACE).await;
        assert_eq!(running(&world, "web"), 6);
        assert_eq!(there(), 2, "two in each zone again");
    }));
}

#[test]
fn f31_a_full_cluster_waits_without_a_busy_loop() {
    hold(&in_world(31, Stages::STEADY, |world| async move {
        populate(&world, 1).await;
        // 128 CPU units each on 2,048: sixteen.
        create_service(&world, "web", "web", 20, json!({})).await;
        seconds(600).await;
        assert_eq!(running(&world, "web"), 16);
        let (lines, _) = world.transcript().fingerprint();
        let version = world.store.snapshot().version().number();
        seconds(3600).await;
        let written = world.store.snapshot().version().number() - version;
        assert!(written < 400, "{written} transactions in an hour in which nothing can be placed");
        let (later, _) = world.transcript().fingerprint();
        assert!(later - lines < 200, "{} lines in that hour", later - lines);
        let size = Size { cpu_units: 2048, memory_mib: 4096, gpu_ids: Vec::new() };
        world.add_machine(Machine::new(31, "i-2", "b", size));
        come_to_rest(&world, PEACE).await;
        assert_eq!(running(&world, "web"), 20);
    }));
}

#[test]
fn f35_one_client_token_fifty_times_at_once() {
    hold(&in_world(35, Stages { crash_permille: 0, ..Stages::REAL }, |world| async move {
        populate(&world, 2).await;
        let body = json!({"taskDefinition": "web", "count": 2, "clientToken": "once"});
        let calls = (0..50).map(|_| {
            let (world, body) = (Arc::clone(&world), body.clone());
            tokio::spawn(async move { world.must("RunTask", body).await })
        });
        let calls: Vec<_> = calls.collect();
        let mut answers = BTreeSet::new();
        for call in calls {
            answers.insert(arns(&call.await.unwrap()));
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(tasks(&world).len(), 2);
        let other = json!({"taskDefinition": "web", "count": 3, "clientToken": "once"});
        let (status, refused) = world.call("RunTask", other).await.unwrap();
        assert_eq!((status, refused["__type"].as_str()), (400, Some("ConflictException")));
        come_to_rest(&world, PEACE).await;
    }));
}

/// DeleteService and StopTask race UpdateService and RunTask, in random schedules: whatever is answered, what is left in the end
/// is what the rows say, and nothing runs that no row wants.
#[test]
fn f36_deletes_and_stops_race_updates_and_runs() {
    for seed in 1..=60 {
        hold(&in_world(seed, Stages { slow_commit_permille: 700, ..Stages::REAL }, |world| async move {
            populate(&world, 2).await;
            create_service(&world, "web", "web", 2, json!({})).await;
            let mut random = Random::fork(seed, "races");
            seconds(random.between(0, 10)).await;
            for _ in 0..4 {
                let count = random.between(0, 4);
                let live: Vec<String> =
                    world.watcher.live_tasks().iter().map(|task| task.arn().to_string()).collect();
                let mut calls = vec![
                    ("DeleteService", json!({"service": "web", "force": true})),
                    ("UpdateService", json!({"service": "web", "desiredCount": count})),
                    ("UpdateService", json!({"service": "web", "taskDefinition": "web2"})),
                    (
                        "CreateService",
                        json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": 1}),
                    ),
                    ("RunTask", json!({"taskDefinition": "web"})),
                ];
                calls.extend(random.pick(&live).map(|task| ("StopTask", json!({"task": task}))));
                let calls: Vec<_> = calls
                    .into_iter()
                    .map(|(operation, body)| {
                        let (world, wait) = (Arc::clone(&world), random.between(0, 40));
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(wait)).await;
                            world.call(operation, body).await
                        })
                    })
                    .collect();
                for call in calls {
                    let _ = call.await;
                }
                tokio::time::sleep(Duration::from_millis(random.between(0, 4000))).await;
            }
            world.set_stages(Stages { crash_permille: 0, ..world.stages() });
            come_to_rest(&world, PEACE).await;
        }));
    }
}

/// Nobody answers the pause of a blue/green deployment, and the control plane dies meanwhile: the way back is taken once, and
/// production traffic never left the old revision.
#[test]
fn f26_a_pause_that_nobody_answers_rolls_back() {
    hold(&in_world(26, Stages::STEADY, |world| async move {
        populate(&world, 2).await;
        create_service(
            &world,
            "web",
            "web",
            2,
            json!({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}),
        )
        .await;
        come_to_rest(&world, PEACE).await;
        let hook = json!({"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"],
            "timeoutConfiguration": {"timeoutInMinutes": 5, "action": "ROLLBACK"}});
        let configuration =
            json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1, "lifecycleHooks": [hook]});
        let update =
            json!({"service": "web", "taskDefinition": "web2", "deploymentConfiguration": configuration});
        world.must("UpdateService", update).await;
        seconds(120).await;
        assert_eq!(tasks(&world).iter().filter(|task| task.family == "web2").count(), 2, "both stand");
        world.kill_control_plane().await;
        seconds(60).await;
        world.start_control_plane();
        seconds(600).await;
        come_to_rest(&world, PEACE).await;
        assert_eq!(running(&world, "web"), 2);
        let back = |task: &Task| task.family == "web" || task.last_status == TaskStatus::Stopped;
        assert!(tasks(&world).iter().all(back));
        let transcript = world.transcript();
        let told = |words: &str| transcript.lines().filter(|line| line.contains(words)).count();
        assert_eq!(told("deployment-2 of service web is ROLLBACK_SUCCESSFUL"), 1);
        assert_eq!(told("revision-2 of service web gets 100.0 % of production"), 0);
    }));
}
