//! Deployments from the call to their end: the real operations and loops over a store in memory, with an agent that does as
//! it is told, neighbours that can be told what to say, and a control plane that can be killed. Time goes only where it is
//! slept through.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::{Scope, SeededIds};
use bytes::Bytes;
use common::{Plane, scope};
use control::seams::{
    AlarmState, Alarms, CallError, HookCall, HookTargets, MappedHookTargets, Seams, Traffic,
};
use control::{Control, ControlConfig};
use domain::{
    DesiredStatus, HookStatus, OutboxMessage, OutboxOrder, Service, ServiceDeployment,
    ServiceDeploymentStatus, Task, TaskStatus,
};
use futures_util::future::BoxFuture;
use scheduler::task_lifecycle::{self};
use serde_json::{Value, json};
use store::rows::task_key;
use store::{Key, Prefix, Transaction};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:check";

/// What a function does when it is called.
#[derive(Clone, Debug)]
enum Does {
    Answers(Value),
    Breaks,
    Hangs,
}

/// The neighbours, all in one.
#[derive(Default)]
struct Neighbours {
    firing: Mutex<BTreeSet<String>>,
    stalled: AtomicBool,
    /// What is done in turn; the last for ever.
    script: Mutex<Vec<Does>>,
    /// Execution id and event of each call.
    calls: Mutex<Vec<(String, Value)>>,
}

impl Alarms for Neighbours {
    fn state(&self, _scope: &Scope, name: &str) -> AlarmState {
        if self.firing.lock().unwrap().contains(name) { AlarmState::Alarm } else { AlarmState::Ok }
    }
}

impl Traffic for Neighbours {
    fn holds(&self, _service: &Service) -> bool {
        !self.stalled.load(Ordering::SeqCst)
    }
}

impl HookTargets for Neighbours {
    fn call(&self, call: HookCall) -> BoxFuture<'_, Result<Bytes, CallError>> {
        assert_eq!(call.target, FUNCTION);
        let event: Value = serde_json::from_str(&call.payload).unwrap();
        self.calls.lock().unwrap().push((call.execution_id, event));
        let mut script = self.script.lock().unwrap();
        let does = if script.len() > 1 { script.remove(0) } else { script[0].clone() };
        Box::pin(async move {
            match does {
                Does::Answers(answer) => Ok(Bytes::from(answer.to_string())),
                Does::Breaks => Err(CallError::Unanswered("it answered with HTTP status 500.".to_owned())),
                Does::Hangs => std::future::pending().await,
            }
        })
    }
}

fn succeeds() -> Does {
    Does::Answers(json!({"hookStatus": "SUCCEEDED"}))
}

/// Worlds take turns: placing is done under one lock for the whole process, and a world that waits for another one's has a
/// clock that runs on.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct World {
    plane: Plane,
    neighbours: Arc<Neighbours>,
    seams: Seams,
    /// Families whose tasks end as soon as they start.
    broken: BTreeSet<String>,
    /// What containers end with.
    /// The greatest number of lives so far, which gives each its own ids.
    lives: u64,
    control: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    _alone: MutexGuard<'static, ()>,
}

impl std::ops::Deref for World {
    type Target = Plane;

    fn deref(&self) -> &Plane {
        &self.plane
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((_stop, running)) = &self.control {
            running.abort();
        }
    }
}

impl World {
    async fn new() -> Self {
        let neighbours =
            Arc::new(Neighbours { script: Mutex::new(vec![succeeds()]), ..Neighbours::default() });
        let seams = Seams {
            alarms: neighbours.clone(),
            traffic: neighbours.clone(),
            hook_targets: neighbours.clone(),
            ..Seams::default()
        };
        Self::with_seams(neighbours, seams).await
    }

    async fn with_seams(neighbours: Arc<Neighbours>, seams: Seams) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let plane = Plane { exit_code: 1, ..Plane::new() };
        let mut world = Self {
            plane,
            neighbours,
            seams,
            broken: BTreeSet::new(),
            lives: 0,
            control: None,
            _alone: alone,
        };
        world.start();
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.ok("CreateCluster", json!({})).await;
        world.add_instance().await;
        for family in ["web", "next", "migrate"] {
            let container = json!({"name": "app", "image": "busybox:1", "memory": 128, "cpu": 100});
            let body = json!({"family": family, "networkMode": "host", "containerDefinitions": [container]});
            world.ok("RegisterTaskDefinition", body).await;
        }
        world
    }

    fn start(&mut self) {
        let (stop, stopped) = watch::channel(false);
        self.lives += 1;
        let ids = Arc::new(SeededIds::new(100 + self.lives));
        let control = Control::new(self.store.clone(), self.clock.clone(), ids, ControlConfig::default())
            .with_seams(self.seams.clone());
        self.control = Some((stop, tokio::spawn(control.run(stopped))));
    }

    /// The control plane is gone from one moment to the next, and back.
    async fn crash(&mut self) {
        if let Some((_stop, running)) = self.control.take() {
            running.abort();
            let _ended = running.await;
        }
        self.start();
    }

    async fn add_instance(&self) {
        let resources: Vec<Value> = [("CPU", 16_384), ("MEMORY", 16_384)]
            .map(|(name, value)| json!({"name": name, "type": "INTEGER", "integerValue": value}))
            .to_vec();
        let body = json!({
            "cluster": "default", "instanceIdentityDocument": "", "instanceIdentityDocumentSignature": "",
            "totalResources": resources,
        });
        self.ok("RegisterContainerInstance", body).await;
        let snapshot = self.store.snapshot();
        let row = snapshot.scan::<domain::ContainerInstance>(Prefix::everything(), None).next().unwrap();
        let mut next = row.value.as_ref().clone();
        next.agent_connected = true;
        let mut transaction = Transaction::new();
        transaction.replace(&row, next);
        self.store.transact(transaction).await.unwrap();
    }

    /// Lets so many seconds pass, with the agent at work.
    async fn pass(&self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.agent().await;
        }
    }

    /// One step of the agent: each order is carried out, a stop in two steps.
    async fn agent(&self) {
        let snapshot = self.store.snapshot();
        for task in snapshot.scan::<Task>(Prefix::everything(), None) {
            if task.last_status == TaskStatus::Stopping {
                self.report(&task.id, TaskStatus::Stopped).await;
            }
        }
        for message in snapshot.scan::<OutboxMessage>(Prefix::everything(), None) {
            let mut transaction = Transaction::new();
            transaction.remove(&message);
            self.store.transact(transaction).await.unwrap();
            let key = task_key(&message.scope, &message.cluster, &message.task_id);
            let Some(task) = snapshot.get::<Task>(&key) else { continue };
            match message.order {
                OutboxOrder::Start => {
                    self.report(&task.id, TaskStatus::Running).await;
                    if self.broken.contains(&task.family) {
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        self.report(&task.id, TaskStatus::Stopped).await;
                    }
                }
                OutboxOrder::Stop => {
                    self.change_task(&task.id, |task| task_lifecycle::stop_acknowledged(task).task).await;
                }
            }
        }
    }

    fn running(&self, family: &str) -> usize {
        let snapshot = self.store.snapshot();
        let meant = |task: &store::Versioned<Task>| {
            task.family == family
                && task.last_status == TaskStatus::Running
                && task.desired_status == DesiredStatus::Running
        };
        snapshot.scan::<Task>(Prefix::everything(), None).filter(meant).count()
    }

    fn service(&self) -> Service {
        let snapshot = self.store.snapshot();
        snapshot.get::<Service>(&Key::new(&scope(), &["default", "web"])).unwrap().value.as_ref().clone()
    }

    /// The deployment that was begun last.
    fn deployment(&self) -> ServiceDeployment {
        let snapshot = self.store.snapshot();
        let all = snapshot.scan::<ServiceDeployment>(Prefix::everything(), None);
        all.max_by_key(|row| row.created_at).unwrap().value.as_ref().clone()
    }

    /// A service of two tasks whose first deployment is done; then another is asked for, with this configuration.
    async fn deploy(&self, configuration: Value) {
        let body =
            json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": 2, "launchType": "EC2"});
        self.ok("CreateService", body).await;
        self.pass(12).await;
        assert_eq!(self.deployment().status, ServiceDeploymentStatus::Successful);
        let body =
            json!({"service": "web", "taskDefinition": "next", "deploymentConfiguration": configuration});
        self.ok("UpdateService", body).await;
    }

    /// Weights of the revisions, PRIMARY first.
    fn weights(&self) -> Vec<u16> {
        self.service().revisions.iter().map(|revision| revision.production_weight).collect()
    }
}

/// What happened to a deployment, a line each time that it changed: what crashes must not change.
async fn timeline(world: &mut World, seconds: u64, crashes: bool) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for second in 0..seconds {
        if crashes {
            world.crash().await;
        }
        world.pass(1).await;
        if second >= 40 {
            for hook in
                world.deployment().hooks.iter().filter(|hook| hook.status == HookStatus::AwaitingAction)
            {
                let body =
                    json!({"serviceDeploymentArn": world.deployment().arn().to_string(), "hookId": hook.id});
                world.ok("ContinueServiceDeployment", body).await;
            }
        }
        let row = world.deployment();
        let stage = row.stage.map_or("none", |stage| stage.as_str());
        let line = format!("{} {stage} {} {:?}", row.status, row.step, world.weights());
        if lines.last() != Some(&line) {
            lines.push(line);
        }
        if row.status.is_final() {
            break;
        }
    }
    lines
}

#[tokio::test(start_paused = true)]
async fn f25_crashes_in_every_stage_change_nothing() {
    let strategies = [
        json!({"strategy": "BLUE_GREEN"}),
        json!({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 40.0, "stepBakeTimeInMinutes": 1}}),
        json!({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 1}}),
    ];
    let hooks = json!([
        {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]},
        {"targetType": "AWS_LAMBDA", "hookTargetArn": FUNCTION, "roleArn": "arn:aws:iam::000000000000:role/r",
         "lifecycleStages": ["PRE_SCALE_UP", "TEST_TRAFFIC_SHIFT", "PRE_PRODUCTION_TRAFFIC_SHIFT",
                             "PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"]},
    ]);
    for (strategy, steps) in strategies.into_iter().zip([1, 3, 2]) {
        let mut configuration = strategy;
        configuration["bakeTimeInMinutes"] = json!(1);
        configuration["lifecycleHooks"] = hooks.clone();
        let mut told = Vec::new();
        for crashes in [false, true] {
            let mut world = World::new().await;
            // Every function is asked twice.
            *world.neighbours.script.lock().unwrap() = (0..60)
                .flat_map(|_| {
                    [Does::Answers(json!({"hookStatus": "IN_PROGRESS", "callBackDelay": 2})), succeeds()]
                })
                .collect();
            world.deploy(configuration.clone()).await;
            told.push(timeline(&mut world, 600, crashes).await);
            let row = world.deployment();
            assert_eq!(row.status, ServiceDeploymentStatus::Successful, "{:?}", told.last());
            assert_eq!(row.hooks.len(), 1 + 3 + 2 * steps);
            let calls = world.neighbours.calls.lock().unwrap().clone();
            let called: BTreeSet<String> = calls.iter().map(|(id, _)| id.clone()).collect();
            let known = row.hooks.iter().filter(|hook| hook.target.is_some()).map(|hook| hook.id.clone());
            assert_eq!(called, known.collect(), "no hook is called under a second id");
            // The bake: not begun anew, not cut short.
            let baked = row.finished_at.unwrap().since_millis(row.started_at.unwrap()) / 1000;
            let least = i64::from(60 * (steps - 1) as i32) + 60;
            assert!((least..least + 120).contains(&baked), "{baked} s of {least} s, crashes: {crashes}");
            assert_eq!((world.running("next"), world.running("web")), (2, 0));
            assert_eq!(world.weights(), [1000]);
        }
        assert_eq!(told[0].last(), told[1].last());
        let stages = |lines: &[String]| {
            lines
                .iter()
                .filter(|line| line.contains("PRODUCTION_TRAFFIC_SHIFT") || line.contains("BAKE_TIME"))
                .cloned()
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(stages(&told[0]), stages(&told[1]));
    }
}

#[tokio::test(start_paused = true)]
async fn the_event_is_as_documented_and_details_come_back() {
    let world = World::new().await;
    *world.neighbours.script.lock().unwrap() = vec![
        Does::Answers(
            json!({"hookStatus": "IN_PROGRESS", "callBackDelay": 7, "hookDetails": {"seen": 1, "a": 2}}),
        ),
        succeeds(),
    ];
    world
        .deploy(json!({
            "strategy": "CANARY", "bakeTimeInMinutes": 0,
            "canaryConfiguration": {"canaryPercent": 2.5, "canaryBakeTimeInMinutes": 0},
            "lifecycleHooks": [{
                "hookTargetArn": FUNCTION, "roleArn": "arn:aws:iam::000000000000:role/r",
                "lifecycleStages": ["PRODUCTION_TRAFFIC_SHIFT"], "hookDetails": {"a": 1, "b": 1},
            }],
        }))
        .await;
    world.pass(30).await;
    let row = world.deployment();
    assert_eq!(row.status, ServiceDeploymentStatus::Successful);
    let calls = world.neighbours.calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 3);
    let source = &row.source_revisions[0].id;
    let arn = |id: &str| format!("arn:aws:ecs:us-east-1:000000000000:service-revision/default/web/{id}");
    assert_eq!(
        calls[0].1,
        json!({
            "executionId": row.hooks[0].id,
            "lifecycleStage": "PRODUCTION_TRAFFIC_SHIFT",
            "resourceArn": row.arn().to_string(),
            "executionDetails": {
                "serviceArn": "arn:aws:ecs:us-east-1:000000000000:service/default/web",
                "targetServiceRevisionArn": arn(&row.target_revision),
                "testTrafficWeights": {},
                "productionTrafficWeights": {(arn(&row.target_revision)): 2.5, (arn(source)): 97.5},
            },
            "hookDetails": {"a": 1, "b": 1},
        })
    );
    assert_eq!(calls[1].0, calls[0].0);
    assert_eq!(calls[1].1["hookDetails"], json!({"a": 2, "b": 1, "seen": 1}));
    // The second step is a hook of its own, and begins with what was configured.
    assert_ne!(calls[2].0, calls[0].0);
    assert_eq!(calls[2].1["hookDetails"], json!({"a": 1, "b": 1}));
    assert_eq!(calls[2].1["executionDetails"]["productionTrafficWeights"][arn(source)], json!(0));
}

#[tokio::test(start_paused = true)]
async fn f26_a_function_that_hangs_breaks_or_refuses_rolls_back() {
    let cases = [
        (Does::Hangs, format!("Lifecycle hook target {FUNCTION} timed out."), 1),
        (
            Does::Breaks,
            format!(
                "Lifecycle hook target {FUNCTION} could not be invoked: it answered with HTTP status 500."
            ),
            5,
        ),
        (
            Does::Answers(json!({"hookStatus": "FAILED"})),
            format!("Lifecycle hook target {FUNCTION} returned FAILED status."),
            1,
        ),
        (
            Does::Answers(json!({"status": "fine"})),
            format!(
                "ECS was unable to parse the response from {FUNCTION} due to: HookStatus must not be null."
            ),
            1,
        ),
    ];
    for (does, detail, calls) in cases {
        let world = World::new().await;
        *world.neighbours.script.lock().unwrap() = vec![does];
        world
            .deploy(json!({
                "strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1,
                "lifecycleHooks": [{
                    "hookTargetArn": FUNCTION, "roleArn": "arn:aws:iam::000000000000:role/r",
                    "lifecycleStages": ["POST_PRODUCTION_TRAFFIC_SHIFT"],
                    "timeoutConfiguration": {"timeoutInMinutes": 1, "action": "ROLLBACK"},
                }],
            }))
            .await;
        let mut before = Vec::new();
        for _ in 0..100 {
            world.pass(1).await;
            let weights = world.weights();
            if weights != before {
                let production: u16 = weights.iter().sum();
                assert_eq!(production, 1000, "{weights:?}");
                before = weights;
            }
            assert!(world.running("web") >= 2 || world.deployment().status.is_final());
        }
        let row = world.deployment();
        assert_eq!(row.status, ServiceDeploymentStatus::RollbackSuccessful, "{detail}");
        let reason = format!(
            "Service deployment rolled back because POST_PRODUCTION_TRAFFIC_SHIFT lifecycle hook(s) failed. {detail}"
        );
        assert_eq!(row.status_reason.as_deref(), Some(reason.as_str()));
        assert_eq!(row.rollback.map(|rollback| rollback.reason), Some(reason));
        assert_eq!(world.neighbours.calls.lock().unwrap().len(), calls);
        assert_eq!((world.running("web"), world.running("next"), world.weights()), (2, 0, vec![1000]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_without_an_address_says_how_to_map_it() {
    let neighbours = Arc::new(Neighbours::default());
    let seams = Seams { hook_targets: Arc::new(MappedHookTargets::new(BTreeMap::new())), ..Seams::default() };
    let world = World::with_seams(neighbours, seams).await;
    world
        .deploy(json!({
            "lifecycleHooks": [{
                "hookTargetArn": FUNCTION, "roleArn": "arn:aws:iam::000000000000:role/r",
                "lifecycleStages": ["PRE_SCALE_UP"],
            }],
        }))
        .await;
    world.pass(20).await;
    let row = world.deployment();
    assert_eq!(row.status, ServiceDeploymentStatus::RollbackSuccessful);
    let reason = row.status_reason.unwrap();
    assert!(reason.contains(&format!("--hook-target {FUNCTION}=http://")), "{reason}");
    assert_eq!((world.running("web"), world.running("next")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_once_before_and_once_after_a_deployment_whatever_crashes() {
    for (exit_code, crashes) in [(0, false), (0, true), (3, false)] {
        let mut world = World::new().await;
        world.broken.insert("migrate".to_owned());
        world.plane.exit_code = exit_code;
        world
            .deploy(json!({
                "lifecycleHooks": [{
                    "hookTargetArn": "arn:aws:ecs:us-east-1:000000000000:task-definition/migrate:1",
                    "lifecycleStages": ["PRE_SCALE_UP", "POST_PRODUCTION_TRAFFIC_SHIFT"],
                }],
            }))
            .await;
        timeline(&mut world, 40, crashes).await;
        let row = world.deployment();
        let snapshot = world.store.snapshot();
        let tasks = snapshot.scan::<Task>(Prefix::everything(), None);
        let once: Vec<_> =
            tasks.filter(|task| task.family == "migrate").map(|task| task.started_by.clone()).collect();
        assert!(once.iter().flatten().all(|by| by.starts_with("ecs-hook/")), "{once:?}");
        if exit_code == 0 {
            assert_eq!(row.status, ServiceDeploymentStatus::Successful, "{:?}", row.status_reason);
            assert_eq!((once.len(), world.running("next")), (2, 2));
        } else {
            assert_eq!(row.status, ServiceDeploymentStatus::RollbackSuccessful);
            let reason = row.status_reason.unwrap();
            assert!(reason.contains("app ended with 3"), "{reason}");
            assert_eq!((once.len(), world.running("web"), world.running("next")), (1, 2, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f26_an_alarm_in_the_bake_and_a_pause_that_nobody_answers() {
    let alarms = json!({"alarmNames": ["high"], "enable": true, "rollback": true});
    let pause = json!([{"targetType": "PAUSE", "lifecycleStages": ["POST_PRODUCTION_TRAFFIC_SHIFT"],
        "timeoutConfiguration": {"timeoutInMinutes": 2, "action": "ROLLBACK"}}]);
    for (alarm, hooks) in [(true, json!([])), (false, pause)] {
        let mut world = World::new().await;
        world
            .deploy(json!({
                "strategy": "BLUE_GREEN", "bakeTimeInMinutes": 5, "alarms": alarms, "lifecycleHooks": hooks,
            }))
            .await;
        world.pass(40).await;
        world.crash().await;
        assert_eq!((world.running("web"), world.running("next")), (2, 2));
        assert_eq!(world.weights(), [1000, 0]);
        if alarm {
            assert_eq!(world.deployment().stage.unwrap().as_str(), "BAKE_TIME");
            world.neighbours.firing.lock().unwrap().insert("high".to_owned());
            world.pass(40).await;
            assert_eq!(world.deployment().triggered_alarms, ["high"]);
        } else {
            assert_eq!(world.deployment().hooks[0].status, HookStatus::AwaitingAction);
            world.pass(120).await;
            assert_eq!(world.deployment().hooks[0].status, HookStatus::TimedOut);
        }
        assert_eq!(world.deployment().status, ServiceDeploymentStatus::RollbackSuccessful);
        assert_eq!((world.running("web"), world.running("next"), world.weights()), (2, 0, vec![1000]));
    }
}

#[tokio::test(start_paused = true)]
async fn f24_an_image_that_crashes_is_rolled_back_at_the_threshold() {
    for (strategy, breaker, threshold) in [
        ("ROLLING", json!({"enable": true, "rollback": true}), 3),
        (
            "BLUE_GREEN",
            json!({"enable": true, "rollback": true,
            "thresholdConfiguration": {"type": "COUNT", "value": 5}}),
            5,
        ),
        (
            "ROLLING",
            json!({"enable": true, "rollback": true, "resetOnHealthyTask": false,
            "thresholdConfiguration": {"type": "UNBOUNDED_PERCENT", "value": 50}}),
            1,
        ),
    ] {
        let mut world = World::new().await;
        world.broken.insert("next".to_owned());
        let mut configuration = json!({"strategy": strategy, "deploymentCircuitBreaker": breaker});
        if strategy == "BLUE_GREEN" {
            configuration["bakeTimeInMinutes"] = json!(1);
        }
        world.deploy(configuration).await;
        for _ in 0..120 {
            world.pass(1).await;
            // One that runs for a moment takes an old one's place for as long.
            let least = if strategy == "ROLLING" { 1 } else { 2 };
            assert!(world.running("web") >= least);
        }
        let row = world.deployment();
        assert_eq!(row.status, ServiceDeploymentStatus::RollbackSuccessful);
        assert_eq!(
            row.status_reason.as_deref(),
            Some("Service deployment rolled back because the circuit breaker threshold was exceeded.")
        );
        assert_eq!(row.failure_threshold, threshold);
        assert_eq!(world.running("web"), 2);
        let snapshot = world.store.snapshot();
        let started =
            snapshot.scan::<Task>(Prefix::everything(), None).filter(|task| task.family == "next").count();
        // Two are started at a time, so that one more may be on its way when the last one that counts ends.
        let started = u32::try_from(started).unwrap();
        assert!((threshold..=threshold + 1).contains(&started), "{started} tasks for {threshold} failures");
        assert_eq!(world.service().revisions.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_goes_back_or_leaves_things_as_they_are() {
    for (stop_type, status) in [
        ("ROLLBACK", ServiceDeploymentStatus::RollbackSuccessful),
        ("ABORT", ServiceDeploymentStatus::Stopped),
    ] {
        let world = World::new().await;
        world
            .deploy(json!({
                "strategy": "CANARY", "bakeTimeInMinutes": 5,
                "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 10},
            }))
            .await;
        world.pass(20).await;
        assert_eq!(world.weights(), [100, 900]);
        let body =
            json!({"serviceDeploymentArn": world.deployment().arn().to_string(), "stopType": stop_type});
        world.ok("StopServiceDeployment", body).await;
        world.pass(20).await;
        assert_eq!(world.deployment().status, status);
        assert_eq!(world.service().current_deployment, None);
        if stop_type == "ROLLBACK" {
            assert_eq!((world.running("web"), world.running("next"), world.weights()), (2, 0, vec![1000]));
        } else {
            assert_eq!(
                (world.running("web"), world.running("next"), world.weights()),
                (2, 2, vec![100, 900])
            );
        }
        // Either way the next deployment comes through.
        let body = json!({"service": "web", "taskDefinition": "next", "forceNewDeployment": true,
            "deploymentConfiguration": {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0}});
        world.ok("UpdateService", body).await;
        world.pass(40).await;
        assert_eq!(world.deployment().status, ServiceDeploymentStatus::Successful);
        assert_eq!((world.running("web"), world.running("next"), world.weights()), (0, 2, vec![1000]));
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_that_stalls_holds_the_deployment_up() {
    let world = World::new().await;
    world.neighbours.stalled.store(true, Ordering::SeqCst);
    world.deploy(json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0})).await;
    world.pass(60).await;
    assert_eq!(world.deployment().stage.unwrap().as_str(), "TEST_TRAFFIC_SHIFT");
    world.neighbours.stalled.store(false, Ordering::SeqCst);
    world.pass(20).await;
    assert_eq!(world.deployment().status, ServiceDeploymentStatus::Successful);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_overtaken_or_whose_service_goes_is_closed() {
    let pause = json!({
        "strategy": "CANARY", "bakeTimeInMinutes": 0,
        "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 0},
        "lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["POST_PRODUCTION_TRAFFIC_SHIFT"]}],
    });
    for deleted in [false, true] {
        let world = World::new().await;
        world.deploy(pause.clone()).await;
        world.pass(30).await;
        let open = world.deployment();
        assert_eq!(open.hooks[0].status, HookStatus::AwaitingAction);
        if deleted {
            world.ok("DeleteService", json!({"service": "web", "force": true})).await;
        } else {
            let body = json!({"service": "web", "taskDefinition": "web",
                "deploymentConfiguration": {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": []}});
            world.ok("UpdateService", body).await;
        }
        world.pass(40).await;
        let snapshot = world.store.snapshot();
        let rows: Vec<_> = snapshot.scan::<ServiceDeployment>(Prefix::everything(), None).collect();
        assert!(rows.iter().all(|row| row.status.is_final()));
        let closed = rows.iter().find(|row| row.id == open.id).unwrap();
        assert_eq!(
            (closed.status, closed.hooks[0].status),
            (ServiceDeploymentStatus::Stopped, HookStatus::Failed)
        );
        if deleted {
            assert_eq!((world.running("web"), world.running("next")), (0, 0));
        } else {
            assert_eq!(world.deployment().status, ServiceDeploymentStatus::Successful);
            assert_eq!((world.running("web"), world.running("next"), world.weights()), (2, 0, vec![1000]));
        }
    }
}
