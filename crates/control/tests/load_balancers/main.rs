//! Services behind load balancers: the real operations and loops over a store in memory, with an agent that does as it is told
//! and a load balancer that checks, drains and reports as it is set. Time stands still but for what is slept through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::{Clock, SeededIds, Timestamp};
use common::{Plane, scope};
use control::seams::{Seams, ServedElsewhere};
use domain::{
    ContainerInstance, DesiredStatus, ListenerRule, LoadBalancerType, OutboxMessage, OutboxOrder, RuleAction,
    Service, ServiceEvent, TargetGroup, TargetGroupHealthCheck, TargetRegistration, Task, TaskStatus,
};
use scheduler::task_lifecycle::{self};
use serde_json::{Value, json};
use store::rows::task_key;
use store::rows_load_balancing::{listener_rule_key, target_group_key};
use store::{Key, Prefix, Transaction};
use tokio::sync::watch;
use tokio::time::Instant;

#[path = "../common/mod.rs"]
mod common;
mod express;

/// Launches take turns in a process: one world at a time.
static ONE_WORLD: Mutex<()> = Mutex::new(());

/// The load balancer.
#[derive(Default)]
struct Balancer {
    /// Families, or ids of tasks, whose targets fail their health checks.
    sick: BTreeSet<String>,
    /// It does nothing at all.
    away: bool,
    /// Seconds that the requests under way take.
    drain_seconds: i64,
}

struct World {
    plane: Plane,
    _alone: MutexGuard<'static, ()>,
    balancer: Balancer,
    /// Tasks that were told to stop, in order, and whether one of their targets was there then.
    told: Vec<(String, bool)>,
    /// Most tasks that were running or pending, and least that served, since the last look.
    most: usize,
    least: usize,
    stop: watch::Sender<bool>,
}

impl std::ops::Deref for World {
    type Target = Plane;

    fn deref(&self) -> &Plane {
        &self.plane
    }
}

fn group(name: &str) -> TargetGroup {
    TargetGroup {
        scope: scope(),
        name: name.to_owned(),
        id: "0123456789abcdef".to_owned(),
        protocol: "HTTP".to_owned(),
        protocol_version: Some("HTTP1".to_owned()),
        port: 80,
        vpc: None,
        target_type: "ip".to_owned(),
        ip_address_type: "ipv4".to_owned(),
        health_check: TargetGroupHealthCheck {
            enabled: true,
            protocol: "HTTP".to_owned(),
            port: "traffic-port".to_owned(),
            path: Some("/".to_owned()),
            interval_seconds: 5,
            timeout_seconds: 2,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: Some("200".to_owned()),
        },
        attributes: BTreeMap::from([("deregistration_delay.timeout_seconds".to_owned(), "30".to_owned())]),
        created_at: Timestamp::from_millis(0),
        tags: Vec::new(),
    }
}

fn arn(name: &str) -> String {
    group(name).arn().to_string()
}

fn rule(listener: &str, priority: Option<u32>, weights: &[(&str, u32)]) -> ListenerRule {
    ListenerRule {
        scope: scope(),
        load_balancer: "front".to_owned(),
        load_balancer_id: "1111111111111111".to_owned(),
        load_balancer_type: LoadBalancerType::Application,
        listener: listener.to_owned(),
        id: "2222222222222222".to_owned(),
        priority,
        conditions: Vec::new(),
        action: RuleAction::Forward {
            target_groups: weights.iter().map(|(name, weight)| (arn(name), *weight)).collect(),
            stickiness_seconds: None,
        },
        created_at: Timestamp::from_millis(0),
        tags: Vec::new(),
    }
}

const PRODUCTION: &str = "aaaaaaaaaaaaaaaa";
const TEST: &str = "bbbbbbbbbbbbbbbb";

impl World {
    async fn new() -> Self {
        let plane = Plane::new();
        let (stop, stopped) = watch::channel(false);
        let control = plane
            .control()
            .with_seams(Seams { load_balancing: Arc::new(ServedElsewhere), ..Seams::default() });
        tokio::spawn(control.run(stopped));
        // The loops take note of what there was before: nothing.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let world = Self {
            _alone: ONE_WORLD.lock().unwrap_or_else(PoisonError::into_inner),
            plane,
            balancer: Balancer { drain_seconds: 3, ..Balancer::default() },
            told: Vec::new(),
            most: 0,
            least: usize::MAX,
            stop,
        };
        world.ok("CreateCluster", json!({})).await;
        world.add_machine().await;
        let networks = ["172.31.0.0/16".parse().unwrap()];
        store::rows_vpc::ensure_default_vpc(&world.store, &scope(), &networks, &SeededIds::new(9))
            .await
            .unwrap();
        for family in ["web", "next"] {
            let definition = json!({
                "family": family, "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256",
                "memory": "512", "containerDefinitions": [
                    {"name": "app", "image": "busybox", "portMappings": [{"containerPort": 80}]}],
            });
            world.ok("RegisterTaskDefinition", definition).await;
        }
        let mut transaction = Transaction::new();
        for name in ["blue", "green"] {
            transaction.put(group(name));
        }
        transaction.put(rule(PRODUCTION, None, &[("blue", 100), ("green", 0)]));
        transaction.put(rule(TEST, None, &[("blue", 100), ("green", 0)]));
        world.store.transact(transaction).await.unwrap();
        world
    }

    async fn add_machine(&self) {
        let body = json!({
            "cluster": "default", "instanceIdentityDocument": "", "instanceIdentityDocumentSignature": "",
            "totalResources": [
                {"name": "CPU", "type": "INTEGER", "integerValue": 65536},
                {"name": "MEMORY", "type": "INTEGER", "integerValue": 65536},
            ],
            "attributes": [{"name": "ecs.availability-zone", "value": "us-east-1a"}],
        });
        self.ok("RegisterContainerInstance", body).await;
        let snapshot = self.store.snapshot();
        let row = snapshot.scan::<ContainerInstance>(Prefix::everything(), None).next().unwrap();
        let mut next = ContainerInstance::clone(&row);
        (next.agent_connected, next.fargate_capacity) = (true, true);
        for name in ["ecs.capability.task-eni", "roadstead.fargate-capacity"] {
            next.attributes.push(domain::Attribute { name: name.into(), value: None });
        }
        let mut transaction = Transaction::new();
        transaction.replace(&row, next);
        self.store.transact(transaction).await.unwrap();
    }

    async fn create(&self, change: Value) -> Value {
        let vpc = store::rows_vpc::find_default_vpc(&self.store.snapshot(), &scope()).unwrap();
        let mut body = json!({
            "serviceName": "web", "taskDefinition": "web", "desiredCount": 2, "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": [vpc.subnets[0].id]}},
            "loadBalancers": [{"targetGroupArn": arn("blue"), "containerName": "app", "containerPort": 80}],
        });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.ok("CreateService", body).await
    }

    /// Lets so many seconds pass, with agent and load balancer at work.
    async fn pass(&mut self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.look();
            self.agent().await;
            self.balance().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let tasks = self.tasks();
        let counted = tasks.iter().filter(|task| task.last_status < TaskStatus::Deactivating).count();
        self.most = self.most.max(counted);
        self.least = self.least.min(self.serving());
    }

    fn bounds(&mut self) -> (usize, usize) {
        (std::mem::take(&mut self.most), std::mem::replace(&mut self.least, usize::MAX))
    }

    /// Targets that requests go to and that answer.
    fn serving(&self) -> usize {
        self.registrations().iter().filter(|row| row.state == "healthy").count()
    }

    async fn agent(&mut self) {
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
                OutboxOrder::Start => self.report(&task.id, TaskStatus::Running).await,
                OutboxOrder::Stop => {
                    let is_target = |row: &TargetRegistration| {
                        task.targets.iter().any(|target| {
                            target.target_group == row.target_group_arn()
                                && target.target == Some((row.target.clone(), row.port))
                        })
                    };
                    let there = self.registrations().iter().any(is_target);
                    self.told.push((task.id.clone(), there));
                    self.change_task(&task.id, |task| task_lifecycle::stop_acknowledged(task).task).await;
                }
            }
        }
    }

    async fn balance(&self) {
        if self.balancer.away {
            return;
        }
        let now = self.clock.now();
        let snapshot = self.store.snapshot();
        for row in snapshot.scan::<TargetRegistration>(Prefix::everything(), None) {
            let mut transaction = Transaction::new();
            if let Some(at) = row.deregistered_at {
                if now >= at.plus_seconds(self.balancer.drain_seconds) {
                    transaction.remove(&row);
                }
            } else if now >= row.registered_at.plus_seconds(2) {
                let mut next = TargetRegistration::clone(&row);
                let sick = self.balancer.sick.iter().any(|sick| self.is_of(&row, sick));
                let said = "Health checks failed with these codes: [502]";
                if sick { "unhealthy" } else { "healthy" }.clone_into(&mut next.state);
                next.reason = sick.then(|| "Target.ResponseCodeMismatch".to_owned());
                next.description = sick.then(|| said.to_owned());
                if next != *row.value {
                    transaction.replace(&row, next);
                }
            }
            // The control plane may have taken it out at the same moment.
            let _ = self.store.transact(transaction).await;
        }
    }

    fn is_of(&self, row: &TargetRegistration, family_or_id: &str) -> bool {
        self.tasks().iter().any(|task| {
            (task.family == family_or_id || task.id == family_or_id)
                && task.targets.iter().any(|target| target.target == Some((row.target.clone(), row.port)))
        })
    }

    /// Tasks that are not STOPPED.
    fn tasks(&self) -> Vec<Task> {
        let snapshot = self.store.snapshot();
        let all = snapshot.scan::<Task>(Prefix::everything(), None);
        all.filter(|task| task.last_status != TaskStatus::Stopped).map(|task| Task::clone(&task)).collect()
    }

    fn statuses(&self) -> Vec<&'static str> {
        let mut statuses: Vec<_> = self.tasks().iter().map(|task| task.last_status.as_str()).collect();
        statuses.sort_unstable();
        statuses
    }

    fn registrations(&self) -> Vec<TargetRegistration> {
        let snapshot = self.store.snapshot();
        let all = snapshot.scan::<TargetRegistration>(Prefix::everything(), None);
        all.map(|row| TargetRegistration::clone(&row)).collect()
    }

    /// Targets by group.
    fn targets(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for row in self.registrations().iter().filter(|row| row.deregistered_at.is_none()) {
            *counts.entry(row.target_group.clone()).or_default() += 1;
        }
        counts
    }

    /// The weights of blue and green in a listener's rule.
    fn weights(&self, listener: &str) -> (u32, u32) {
        let key = listener_rule_key(&scope(), "front", listener, "2222222222222222");
        let row = self.store.snapshot().get::<ListenerRule>(&key).unwrap();
        let RuleAction::Forward { target_groups, .. } = &row.action else { panic!("{row:?}") };
        let of = |name: &str| target_groups.iter().find(|(there, _)| *there == arn(name)).unwrap().1;
        (of("blue"), of("green"))
    }

    fn service(&self) -> Service {
        let key = Key::new(&scope(), &["default", "web"]);
        Service::clone(&self.store.snapshot().get::<Service>(&key).unwrap())
    }

    /// What the service said, oldest first, with ids of tasks and revisions and target groups' ARNs in short.
    fn events(&self) -> Vec<String> {
        let snapshot = self.store.snapshot();
        let all = snapshot.scan::<ServiceEvent>(Prefix::everything(), None);
        all.map(|event| {
            let mut text = event.message.clone();
            for name in ["blue", "green"] {
                text = text.replace(&arn(name), name);
            }
            let words = text.split(' ').map(|word| {
                let bare = word.trim_end_matches(['.', ')', ',']);
                let is_id = bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
                if is_id { word.replace(bare, "T") } else { word.to_owned() }
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

#[tokio::test(start_paused = true)]
async fn f22_registered_before_it_runs_and_drained_before_it_is_told_to_stop() {
    let mut world = World::new().await;
    world.create(json!({})).await;
    world.pass(20).await;
    assert_eq!(world.statuses(), ["RUNNING", "RUNNING"]);
    assert_eq!(world.targets(), BTreeMap::from([("blue".to_owned(), 2)]));
    let events = world.events();
    assert_eq!(events[0], "(service web) has started 2 tasks: (task T) (task T).");
    assert_eq!(events[1], "(service web) registered 2 targets in (target-group blue)");
    assert!(events[2].ends_with("deployment completed."), "{events:?}");
    assert_eq!(events[3..], ["(service web) has reached a steady state."]);

    world.ok("UpdateService", json!({"service": "web", "desiredCount": 1})).await;
    world.pass(2).await;
    assert_eq!(world.statuses(), ["DEACTIVATING", "RUNNING"]);
    assert_eq!(world.told, [], "requests under way are let finish");
    let drained =
        world.tasks().into_iter().find(|task| task.desired_status == DesiredStatus::Stopped).unwrap();
    world.pass(5).await;
    assert_eq!(world.told, [(drained.id.clone(), false)]);
    assert_eq!(world.statuses(), ["RUNNING"]);
    let said = &world.events()[4..];
    assert_eq!(
        said,
        [
            "(service web) has stopped 1 running tasks: (task T).",
            "(service web) deregistered 1 targets in (target-group blue)",
            "(service web) has begun draining connections on 1 tasks.",
            "(service web) has reached a steady state.",
        ],
        "{said:?}"
    );

    // By a call as well.
    let task = world.tasks()[0].id.clone();
    world.ok("StopTask", json!({"task": task})).await;
    world.pass(1).await;
    assert_eq!(world.told.len(), 1);
    world.pass(10).await;
    assert_eq!(world.told[1..], [(task, false)]);
    assert_eq!(world.statuses(), ["RUNNING"], "another one has taken its place");

    // An essential container that ended has nothing that could finish requests: out at once.
    let task = world.tasks()[0].id.clone();
    world.report(&task, TaskStatus::Stopped).await;
    world.pass(10).await;
    assert_eq!(world.told.len(), 2);
    assert_eq!(world.targets(), BTreeMap::from([("blue".to_owned(), 1)]));

    world.ok("DeleteService", json!({"service": "web", "force": true})).await;
    world.pass(10).await;
    assert_eq!((world.tasks().len(), world.service().status.as_str()), (0, "INACTIVE"));
    assert_eq!(world.registrations(), []);
    assert!(world.told.iter().all(|(_, registered)| !registered), "{:?}", world.told);
}

#[tokio::test(start_paused = true)]
async fn tasks_beyond_the_quota_on_targets_wait_until_there_is_room() {
    let mut world = World::new().await;
    world.balancer.away = true;
    let other = |number: usize| domain::TargetDescription {
        target: format!("10.0.{}.{}", number / 250, number % 250),
        port: 80,
        zone: None,
    };
    let now = world.clock.now();
    let others: Vec<_> =
        (1..1000).map(|number| TargetRegistration::new(&group("green"), &other(number), now)).collect();
    let mut transaction = Transaction::new();
    for row in &others {
        transaction.put(row.clone());
    }
    world.store.transact(transaction).await.unwrap();
    world.create(json!({})).await;
    world.pass(20).await;
    assert_eq!(world.statuses(), ["ACTIVATING", "RUNNING"]);
    let registered: Vec<_> =
        world.registrations().into_iter().filter(|row| row.target_group == "blue").collect();
    assert_eq!(registered.len(), 1);
    assert_eq!(registered[0].zone.as_deref(), Some("us-east-1a"), "as RegisterTargets fills it in");
    let front = rule(PRODUCTION, None, &[]).load_balancer_arn();
    let reason = format!(
        "The maximum number of targets per load balancer '1000' has been reached on load balancer '{front}'"
    );
    let said = format!("(service web) failed to register targets. Reason: {reason}.");
    assert_eq!(world.events().iter().filter(|event| **event == said).count(), 1, "{:?}", world.events());
    let row = world.store.snapshot().get::<TargetRegistration>(&store::Row::key(&others[0])).unwrap();
    let mut transaction = Transaction::new();
    transaction.remove(&row);
    world.store.transact(transaction).await.unwrap();
    world.pass(10).await;
    assert_eq!(world.statuses(), ["RUNNING", "RUNNING"]);
}

#[tokio::test(start_paused = true)]
async fn f27_a_load_balancer_that_is_away_holds_up_no_task_for_ever() {
    let mut world = World::new().await;
    world.create(json!({"desiredCount": 1})).await;
    world.pass(20).await;
    world.balancer.away = true;
    let task = world.tasks()[0].id.clone();
    world.ok("UpdateService", json!({"service": "web", "desiredCount": 0})).await;
    world.pass(38).await;
    assert_eq!((world.told.len(), world.statuses()), (0, vec!["DEACTIVATING"]));
    world.pass(4).await;
    assert_eq!(world.told, [(task, true)]);
    // Its target group goes: nothing to wait for.
    world.balancer.away = false;
    world.pass(2).await;
    world.ok("UpdateService", json!({"service": "web", "desiredCount": 1})).await;
    world.pass(10).await;
    world.balancer.away = true;
    world.ok("UpdateService", json!({"service": "web", "desiredCount": 0})).await;
    world.pass(2).await;
    assert_eq!(world.statuses(), ["DEACTIVATING"]);
    let mut transaction = Transaction::new();
    transaction.delete::<TargetGroup>(&target_group_key(&scope(), "blue"));
    world.store.transact(transaction).await.unwrap();
    world.pass(2).await;
    assert_eq!(world.statuses(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn f29_what_fails_the_load_balancers_checks_is_replaced_after_the_grace_period_and_not_in_a_storm() {
    let mut world = World::new().await;
    world.create(json!({"healthCheckGracePeriodSeconds": 30})).await;
    world.pass(20).await;
    let first: BTreeSet<String> = world.tasks().into_iter().map(|task| task.id).collect();
    world.balancer.sick.clone_from(&first);
    world.pass(8).await;
    let now: BTreeSet<String> = world.tasks().into_iter().map(|task| task.id).collect();
    assert_eq!(now, first, "the grace period is not over");
    world.pass(15).await;
    let events = world.events();
    let unhealthy = "(service web) (task T) (port 80) is unhealthy in (target-group blue) due to (reason Health checks \
                     failed with these codes: [502])";
    world.balancer.sick.clear();
    world.pass(60).await;
    let all: Vec<String> = world.events();
    assert!(all.iter().any(|event| event == unhealthy), "{events:?}");
    let stopped =
        world.store.snapshot().get::<Task>(&task_key(&scope(), "default", first.iter().next().unwrap()));
    let reason = format!("Task failed ELB health checks in (target-group {})", arn("blue"));
    assert_eq!(stopped.unwrap().stopped_reason.as_deref(), Some(reason.as_str()));
    assert_eq!(world.serving(), 2);

    // For as long as none gets well: never more than the ceiling, and a bounded number of tasks.
    let started = |world: &World| {
        let snapshot = world.store.snapshot();
        snapshot.scan::<Task>(Prefix::everything(), None).count()
    };
    let before = started(&world);
    world.bounds();
    world.balancer.sick.insert("web".to_owned());
    world.pass(600).await;
    let (most, _) = world.bounds();
    assert!(most <= 4, "{most} tasks at once");
    let new = started(&world) - before;
    assert!(new <= 2 * 600 / 30 + 4, "{new} tasks in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn f23_a_rolling_deployment_waits_for_targets_that_answer() {
    let mut world = World::new().await;
    world.create(json!({"desiredCount": 4, "deploymentConfiguration": {"maximumPercent": 150}})).await;
    world.pass(20).await;
    world.bounds();
    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "next"})).await;
    world.pass(60).await;
    assert!(world.tasks().iter().all(|task| task.family == "next"), "{:?}", world.events());
    let (most, least) = world.bounds();
    assert!(most <= 6 && least >= 4, "{most} at most, {least} serve");
    assert!(world.told.iter().all(|(_, registered)| !registered), "{:?}", world.told);
    assert_eq!(world.service().current_deployment, None);

    // A revision whose targets never answer takes no task of the old one.
    world.balancer.sick.insert("web".to_owned());
    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "web"})).await;
    world.pass(120).await;
    let (_, least) = world.bounds();
    assert_eq!(least, 4);
    assert_eq!(world.tasks().iter().filter(|task| task.family == "next").count(), 4);
}

fn shifting(strategy: &Value) -> Value {
    let advanced = json!({
        "alternateTargetGroupArn": arn("green"),
        "productionListenerRule": rule(PRODUCTION, None, &[]).arn().to_string(),
        "testListenerRule": rule(TEST, None, &[]).arn().to_string(),
        "roleArn": "arn:aws:iam::000000000000:role/ecs",
    });
    json!({
        "deploymentConfiguration": strategy,
        "loadBalancers": [{"targetGroupArn": arn("blue"), "containerName": "app", "containerPort": 80,
            "advancedConfiguration": advanced}],
    })
}

#[tokio::test(start_paused = true)]
async fn blue_green_moves_all_traffic_at_once_and_the_next_deployment_goes_back_to_the_first_group() {
    let mut world = World::new().await;
    world.create(shifting(&json!({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1}))).await;
    world.pass(100).await;
    assert_eq!((world.weights(PRODUCTION), world.weights(TEST)), ((100, 0), (100, 0)));
    assert_eq!(world.targets(), BTreeMap::from([("blue".to_owned(), 2)]));

    world.bounds();
    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "next"})).await;
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        world.pass(1).await;
        let weights = world.weights(PRODUCTION);
        if weights == (0, 100) {
            assert_eq!(world.targets().get("green"), Some(&2), "traffic goes where targets are");
        }
        seen.insert((weights, world.weights(TEST)));
    }
    // Test traffic first, then production; never anything in between.
    let expected = [((0, 100), (0, 100)), ((100, 0), (0, 100)), ((100, 0), (100, 0))];
    assert!(seen.iter().all(|seen| expected.contains(seen)), "{seen:?}");
    assert!(seen.contains(&expected[0]), "{seen:?}");
    // Blue stays for as long as the new revision bakes.
    assert_eq!(world.targets(), BTreeMap::from([("blue".to_owned(), 2), ("green".to_owned(), 2)]));
    world.pass(90).await;
    assert_eq!(world.targets(), BTreeMap::from([("green".to_owned(), 2)]));
    let shown = world.ok("DescribeServices", json!({"services": ["web"]})).await;
    let revision = shown["services"][0]["currentServiceRevisions"][0]["arn"].clone();
    let revisions = world.ok("DescribeServiceRevisions", json!({"serviceRevisionArns": [revision]})).await;
    assert_eq!(
        revisions["serviceRevisions"][0]["resolvedConfiguration"]["loadBalancers"][0]["targetGroupArn"],
        json!(arn("green"))
    );

    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "web"})).await;
    world.pass(150).await;
    assert_eq!(
        (world.weights(PRODUCTION), world.targets()),
        ((100, 0), BTreeMap::from([("blue".to_owned(), 2)]))
    );
    let (_, least) = world.bounds();
    assert!(least >= 2, "{least} serve");
}

#[tokio::test(start_paused = true)]
async fn f26_canary_and_linear_shift_by_steps_and_a_rollback_takes_all_of_it_back_at_once() {
    let mut world = World::new().await;
    let canary = json!({"strategy": "CANARY", "bakeTimeInMinutes": 0,
        "canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": 1}});
    world.create(shifting(&canary)).await;
    world.pass(60).await;
    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "next"})).await;
    world.pass(40).await;
    assert_eq!(world.weights(PRODUCTION), (90, 10));
    let deployment = world.ok("DescribeServices", json!({"services": ["web"]})).await["services"][0]
        ["currentServiceDeployment"]
        .clone();
    world
        .ok("StopServiceDeployment", json!({"serviceDeploymentArn": deployment, "stopType": "ROLLBACK"}))
        .await;
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        world.pass(1).await;
        seen.insert(world.weights(PRODUCTION));
    }
    assert!(seen.iter().all(|seen| [(90, 10), (100, 0)].contains(seen)), "{seen:?}");
    assert_eq!((world.weights(PRODUCTION), world.weights(TEST)), ((100, 0), (100, 0)));
    assert_eq!(world.targets(), BTreeMap::from([("blue".to_owned(), 2)]));

    let linear = json!({"strategy": "LINEAR", "bakeTimeInMinutes": 0,
        "linearConfiguration": {"stepPercent": 25, "stepBakeTimeInMinutes": 1}});
    let update = json!({"service": "web", "taskDefinition": "next", "deploymentConfiguration": linear});
    world.ok("UpdateService", update).await;
    let mut seen = Vec::new();
    for _ in 0..300 {
        world.pass(1).await;
        let weights = world.weights(PRODUCTION);
        if seen.last() != Some(&weights) {
            seen.push(weights);
        }
    }
    assert_eq!(seen, [(100, 0), (75, 25), (50, 50), (25, 75), (0, 100)]);
    assert_eq!(world.targets(), BTreeMap::from([("green".to_owned(), 2)]));
    // Another strategy, and the tasks stay where the traffic is.
    let rolling = json!({"service": "web", "taskDefinition": "web",
        "deploymentConfiguration": {"strategy": "ROLLING"}});
    world.ok("UpdateService", rolling).await;
    world.pass(60).await;
    assert_eq!(
        (world.weights(PRODUCTION), world.targets()),
        ((0, 100), BTreeMap::from([("green".to_owned(), 2)]))
    );
    assert!(world.told.iter().all(|(_, registered)| !registered), "{:?}", world.told);
}

#[tokio::test(start_paused = true)]
async fn task_sets_are_behind_load_balancers_of_their_own() {
    let mut world = World::new().await;
    let made = world.create(json!({"deploymentController": {"type": "CODE_DEPLOY"}})).await;
    assert_eq!(made["service"]["taskSets"][0]["status"], json!("PRIMARY"));
    assert_eq!(made["service"]["taskSets"][0]["startedBy"], json!("CODE_DEPLOY"));
    assert_eq!(made["service"]["loadBalancers"][0]["targetGroupArn"], json!(arn("blue")));
    world.pass(20).await;
    assert_eq!(world.targets(), BTreeMap::from([("blue".to_owned(), 2)]));
    let vpc = store::rows_vpc::find_default_vpc(&world.store.snapshot(), &scope()).unwrap();
    let body = json!({
        "cluster": "default", "service": "web", "taskDefinition": "next", "launchType": "FARGATE",
        "scale": {"value": 100.0, "unit": "PERCENT"},
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": [vpc.subnets[0].id]}},
        "loadBalancers": [{"targetGroupArn": arn("green"), "containerName": "app", "containerPort": 80}],
    });
    let replacement = world.ok("CreateTaskSet", body).await["taskSet"].clone();
    assert_eq!(replacement["loadBalancers"][0]["targetGroupArn"], json!(arn("green")));
    world.pass(20).await;
    assert_eq!(world.targets(), BTreeMap::from([("blue".to_owned(), 2), ("green".to_owned(), 2)]));
    let set = replacement["id"].as_str().unwrap();
    let said = format!("(service web, taskSet {set}) registered 2 targets in (target-group green)");
    assert!(world.events().contains(&said), "{:?}", world.events());
    world
        .ok(
            "UpdateServicePrimaryTaskSet",
            json!({"cluster": "default", "service": "web", "primaryTaskSet": set}),
        )
        .await;
    let old = made["service"]["taskSets"][0]["id"].clone();
    world
        .ok("DeleteTaskSet", json!({"cluster": "default", "service": "web", "taskSet": old, "force": true}))
        .await;
    world.pass(20).await;
    assert_eq!(world.targets(), BTreeMap::from([("green".to_owned(), 2)]));
    assert!(world.told.iter().all(|(_, registered)| !registered), "{:?}", world.told);
}
