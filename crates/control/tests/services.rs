//! Services from the call to their tasks: the real operations and loops over a store in memory, with an agent that does as
//! it is told. Time stands still but for what is slept through.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::{Clock, SeededIds};
use common::{Plane, scope};
use control::{Control, ControlConfig};
use domain::{
    ContainerInstance, DesiredStatus, HealthStatus, OutboxMessage, OutboxOrder, Service, ServiceEvent, Task,
    TaskStatus,
};
use scheduler::task_lifecycle::{self};
use serde_json::{Value, json};
use store::rows::task_key;
use store::{Key, Prefix, Row as _, Transaction};
use tokio::sync::watch;
use tokio::time::Instant;

const HEALTH_CHECKS: &str = "ecs.capability.container-health-check";
const DOCKER_API: &str = "com.amazonaws.ecs.capability.docker-remote-api.1.24";

/// How the agent treats a start order of a task definition's family.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    Runs,
    NeverStarts,
    Unhealthy,
}

/// Launches take turns in a process: a world that waits for another's turn would see its clock run on. One at a time.
static ONE_WORLD: Mutex<()> = Mutex::new(());

struct World {
    plane: Plane,
    _alone: MutexGuard<'static, ()>,
    behaviours: BTreeMap<String, Behaviour>,
    /// Greatest number of tasks that were running or pending, and least number of healthy ones, since the last look.
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

impl World {
    async fn new(instances: usize) -> Self {
        let plane = Plane::new();
        let (stop, stopped) = watch::channel(false);
        let control = plane.control();
        tokio::spawn(control.run(stopped));
        // The loops take note of what there was before: nothing.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let world = Self {
            _alone: ONE_WORLD.lock().unwrap_or_else(PoisonError::into_inner),
            plane,
            behaviours: BTreeMap::new(),
            most: 0,
            least: usize::MAX,
            stop,
        };
        world.ok("CreateCluster", json!({})).await;
        for number in 0..instances {
            world.add_instance(["us-east-1a", "us-east-1b"][number % 2], 1024).await;
        }
        for family in ["web", "next"] {
            world.register(family, json!({})).await;
        }
        world
    }

    async fn register(&self, family: &str, change: Value) {
        let mut container = json!({"name": "app", "image": "busybox:1", "memory": 128, "cpu": 100});
        for (key, value) in change.as_object().unwrap() {
            container[key] = value.clone();
        }
        let definition =
            json!({"family": family, "networkMode": "host", "containerDefinitions": [container]});
        self.ok("RegisterTaskDefinition", definition).await;
    }

    async fn add_instance(&self, zone: &str, memory: i64) -> String {
        let answer = self
            .ok(
                "RegisterContainerInstance",
                json!({
                    "cluster": "default",
                    "instanceIdentityDocument": "",
                    "instanceIdentityDocumentSignature": "",
                    "totalResources": [
                        {"name": "CPU", "type": "INTEGER", "integerValue": 4096},
                        {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
                    ],
                    "attributes": [{"name": "ecs.availability-zone", "value": zone}],
                }),
            )
            .await;
        let arn = answer["containerInstance"]["containerInstanceArn"].as_str().unwrap().to_owned();
        self.change_instance(&arn, |row| row.agent_connected = true).await;
        self.change_instance(&arn, |row| {
            row.attributes.retain(|attribute| attribute.name != "ecs.availability-zone");
            for (name, value) in
                [("ecs.availability-zone", Some(zone)), (HEALTH_CHECKS, None), (DOCKER_API, None)]
            {
                row.attributes.push(domain::Attribute { name: name.into(), value: value.map(str::to_owned) });
            }
        })
        .await;
        arn
    }

    /// A machine that is Fargate capacity, the default VPC, the providers, and the task definition `fargate`.
    async fn with_fargate(&self) {
        let machine = self.add_instance("us-east-1a", 8192).await;
        self.change_instance(&machine, |row| {
            row.fargate_capacity = true;
            row.attributes.push(domain::Attribute { name: "ecs.capability.task-eni".into(), value: None });
        })
        .await;
        let networks = ["172.31.0.0/16".parse().unwrap()];
        store::rows_vpc::ensure_default_vpc(&self.store, &scope(), &networks, &SeededIds::new(9))
            .await
            .unwrap();
        let definition = json!({
            "family": "fargate", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256",
            "memory": "512", "containerDefinitions": [{"name": "app", "image": "busybox"}],
        });
        self.ok("RegisterTaskDefinition", definition).await;
        let providers = json!({
            "cluster": "default", "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "defaultCapacityProviderStrategy": [],
        });
        self.ok("PutClusterCapacityProviders", providers).await;
    }

    async fn change_instance(&self, arn: &str, change: impl Fn(&mut ContainerInstance)) {
        let all = self.store.snapshot();
        let mut rows = all.scan::<ContainerInstance>(Prefix::everything(), None);
        let row = rows.find(|row| row.arn().to_string() == arn).unwrap();
        let mut next = row.value.as_ref().clone();
        change(&mut next);
        let mut transaction = Transaction::new();
        transaction.replace(&row, next);
        self.store.transact(transaction).await.unwrap();
    }

    /// Lets so many seconds pass, with the agent at work.
    async fn pass(&mut self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.look();
            self.agent().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let tasks = self.tasks();
        let counted = tasks.iter().filter(|task| task.last_status < TaskStatus::Stopping).count();
        let healthy = tasks
            .iter()
            .filter(|task| {
                task.last_status == TaskStatus::Running
                    && task.desired_status == DesiredStatus::Running
                    && task.health_status != HealthStatus::Unhealthy
            })
            .count();
        self.most = self.most.max(counted);
        self.least = self.least.min(healthy);
    }

    /// The most and the least since the last call.
    fn bounds(&mut self) -> (usize, usize) {
        (std::mem::take(&mut self.most), std::mem::replace(&mut self.least, usize::MAX))
    }

    /// One step of the agent: each order is carried out, a stop in two steps.
    async fn agent(&self) {
        let now = self.clock.now();
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
                    let behaviour = self.behaviours.get(&task.family).copied().unwrap_or(Behaviour::Runs);
                    match behaviour {
                        Behaviour::NeverStarts => self.report(&task.id, TaskStatus::Stopped).await,
                        _ => self.report(&task.id, TaskStatus::Running).await,
                    }
                    if behaviour == Behaviour::Unhealthy {
                        self.change_task(&task.id, |task| {
                            task_lifecycle::health(task, &[("app".into(), HealthStatus::Unhealthy)]).task
                        })
                        .await;
                    }
                }
                OutboxOrder::Stop => {
                    self.change_task(&task.id, |task| task_lifecycle::stop_acknowledged(task).task).await;
                }
            }
        }
        let _ = now;
    }

    /// Tasks of services that are not STOPPED.
    fn tasks(&self) -> Vec<Task> {
        let snapshot = self.store.snapshot();
        let all = snapshot.scan::<Task>(Prefix::everything(), None);
        let live = all.filter(|task| task.last_status != TaskStatus::Stopped && task.is_of_service());
        live.map(|task| task.value.as_ref().clone()).collect()
    }

    fn running(&self) -> usize {
        let meant = |task: &&Task| {
            task.last_status == TaskStatus::Running && task.desired_status == DesiredStatus::Running
        };
        self.tasks().iter().filter(meant).count()
    }

    fn service(&self) -> Service {
        let snapshot = self.store.snapshot();
        snapshot.get::<Service>(&Key::new(&scope(), &["default", "web"])).unwrap().value.as_ref().clone()
    }

    /// What the service said, oldest first, with task ids as `T`.
    fn events(&self) -> Vec<String> {
        let snapshot = self.store.snapshot();
        let all = snapshot.scan::<ServiceEvent>(Prefix::everything(), None);
        all.map(|event| {
            let words = event.message.split(' ').map(|word| {
                let bare = word.trim_end_matches(['.', ')']);
                let is_id = bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
                if is_id { word.replace(bare, "T") } else { word.to_owned() }
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
    }

    async fn create(&self, change: Value) {
        let mut body = json!({
            "serviceName": "web", "taskDefinition": "web", "desiredCount": 3,
            "launchType": "EC2",
        });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.ok("CreateService", body).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_kept_scaled_updated_and_deleted() {
    let mut world = World::new(3).await;
    world.create(json!({})).await;
    world.pass(20).await;
    assert_eq!(world.running(), 3);
    assert_eq!(world.service().current_deployment, None);
    let events = world.events();
    assert_eq!(events[0], "(service web) has started 3 tasks: (task T) (task T) (task T).");
    assert!(events[1].ends_with("deployment completed."), "{events:?}");
    assert_eq!(events[2], "(service web) has reached a steady state.");
    assert_eq!(events.len(), 3, "{events:?}");

    // One crashes.
    let victim = world.tasks()[0].id.clone();
    world.report(&victim, TaskStatus::Stopped).await;
    world.pass(5).await;
    assert_eq!(world.running(), 3);
    let task = world.store.snapshot().get::<Task>(&task_key(&scope(), "default", &victim)).unwrap();
    assert!(task.accounted);

    // The digest that the first task pulled is what later ones run.
    let revision = world.service().revisions[0].id.clone();
    let key = store::rows_service::service_revision_key(&scope(), "default", "web", &revision);
    let row = world.store.snapshot().get::<domain::ServiceRevision>(&key).unwrap();
    assert_eq!(row.container_images[0].digest.as_deref(), Some("sha256:feed"));

    world.ok("UpdateService", json!({"service": "web", "desiredCount": 5})).await;
    world.pass(5).await;
    assert_eq!(world.running(), 5);
    world.bounds();
    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "next"})).await;
    world.pass(30).await;
    assert!(world.tasks().iter().all(|task| task.family == "next"));
    assert_eq!((world.running(), world.service().revisions.len()), (5, 1));
    let (most, least) = world.bounds();
    assert!(most <= 10 && least >= 5, "{most} {least}");

    world.ok("UpdateService", json!({"service": "web", "desiredCount": 2})).await;
    world.pass(5).await;
    assert_eq!(world.running(), 2);
    let events = world.events();
    assert!(
        events.iter().any(|event| event.starts_with("(service web) has stopped 3 running tasks: (task T)"))
    );
    world.ok("DeleteService", json!({"service": "web", "force": true})).await;
    world.pass(5).await;
    assert_eq!((world.tasks().len(), world.service().status.as_str()), (0, "INACTIVE"));
    let stopped = world.store.snapshot().get::<Task>(&task_key(&scope(), "default", &victim)).unwrap();
    assert_eq!(stopped.started_by.as_deref(), Some(format!("ecs-svc/{revision}").as_str()));
}

#[tokio::test(start_paused = true)]
async fn percentages_hold_on_a_machine_that_is_full() {
    let mut world = World::new(0).await;
    world.add_instance("us-east-1a", 4 * 128).await;
    world
        .create(json!({
            "desiredCount": 4,
            "deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 200},
        }))
        .await;
    world.pass(20).await;
    assert_eq!(world.running(), 4);
    world.bounds();
    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "next"})).await;
    world.pass(60).await;
    assert_eq!(world.tasks().iter().filter(|task| task.family == "next").count(), 4, "{:?}", world.events());
    let (most, least) = world.bounds();
    assert!(most <= 8 && least >= 2, "{most} {least}");
    let unplaced =
        world.events().into_iter().filter(|event| event.contains("unable to place")).collect::<Vec<_>>();
    assert!(unplaced[0].contains("has insufficient memory available."), "{unplaced:?}");
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_waits_for_a_machine() {
    let mut world = World::new(0).await;
    world.create(json!({})).await;
    world.pass(60).await;
    let events = world.events();
    assert_eq!(
        events,
        [
            "(service web) was unable to place a task because no container instance met all of its requirements. Reason: No \
          Container Instances were found in your cluster. For more information, see the Troubleshooting section of the \
          Amazon ECS Developer Guide."
        ]
    );
    world.add_instance("us-east-1a", 1024).await;
    world.pass(1).await;
    assert_eq!(world.running(), 3);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_never_start_are_throttled() {
    let mut world = World::new(1).await;
    world.behaviours.insert("web".into(), Behaviour::NeverStarts);
    world.create(json!({"desiredCount": 1})).await;
    world.pass(900).await;
    let snapshot = world.store.snapshot();
    let tasks = snapshot.scan::<Task>(Prefix::everything(), None).count();
    assert!((9..=12).contains(&tasks), "{tasks} tasks in 15 minutes: 1 + 2 + 4 + … seconds apart");
    let service = world.service();
    assert!(service.failed_starts >= 9 && service.revisions[0].failed_tasks >= 9, "{service:?}");
    let impaired =
        world.events().iter().filter(|event| event.contains("unable to consistently start")).count();
    assert_eq!(impaired, 1, "once in six hours");
    // A new revision starts at once.
    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "next"})).await;
    world.pass(10).await;
    assert_eq!(world.running(), 1);
    assert_eq!(world.service().failed_starts, 0);
}

#[tokio::test(start_paused = true)]
async fn unhealthy_tasks_are_replaced() {
    let mut world = World::new(2).await;
    world.register("checked", json!({"healthCheck": {"command": ["CMD", "true"]}})).await;
    world.create(json!({"taskDefinition": "checked", "desiredCount": 1})).await;
    world.pass(5).await;
    let first = world.tasks()[0].id.clone();
    let healthy = HealthStatus::Healthy;
    world.change_task(&first, |task| task_lifecycle::health(task, &[("app".into(), healthy)]).task).await;
    world.pass(10).await;
    world.bounds();
    let ill = HealthStatus::Unhealthy;
    world.change_task(&first, |task| task_lifecycle::health(task, &[("app".into(), ill)]).task).await;
    world.pass(2).await;
    assert_eq!(world.tasks().len(), 2, "the replacement comes first");
    let second = world.tasks().into_iter().find(|task| task.id != first).unwrap().id;
    world.change_task(&second, |task| task_lifecycle::health(task, &[("app".into(), healthy)]).task).await;
    world.pass(5).await;
    assert_eq!(world.tasks().len(), 1);
    let stopped = world.store.snapshot().get::<Task>(&task_key(&scope(), "default", &first)).unwrap();
    assert_eq!(stopped.stopped_reason.as_deref(), Some("Task failed container health checks"));
    let events = world.events();
    let expected = [
        "(service web) has started 1 tasks: (task T). Amazon ECS replaced 1 tasks due to an unhealthy status.",
        "(service web) (task T) failed container health checks.",
        "(service web) has stopped 1 running tasks: (task T).",
    ];
    for message in expected {
        assert!(events.iter().any(|event| event == message), "{message}: {events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_follows_the_instances() {
    let mut world = World::new(2).await;
    world
        .ok(
            "CreateService",
            json!({"serviceName": "web", "taskDefinition": "web", "schedulingStrategy": "DAEMON", "launchType": "EC2"}),
        )
        .await;
    world.pass(10).await;
    assert_eq!(world.running(), 2);
    let third = world.add_instance("us-east-1a", 1024).await;
    world.pass(3).await;
    assert_eq!(world.running(), 3);
    world.change_instance(&third, |row| row.status = domain::ContainerInstanceStatus::Draining).await;
    world.pass(3).await;
    assert_eq!(world.running(), 2);
    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "next"})).await;
    world.pass(20).await;
    assert!(world.tasks().iter().all(|task| task.family == "next") && world.running() == 2);
}

#[tokio::test(start_paused = true)]
async fn zones_are_evened_out() {
    let mut world = World::new(0).await;
    world.add_instance("us-east-1a", 2048).await;
    world.create(json!({"desiredCount": 4, "availabilityZoneRebalancing": "ENABLED"})).await;
    world.pass(10).await;
    assert_eq!(world.running(), 4);
    world.bounds();
    world.add_instance("us-east-1b", 2048).await;
    world.pass(20).await;
    let zones = |zone: &str| {
        world.tasks().iter().filter(|task| task.availability_zone.as_deref() == Some(zone)).count()
    };
    assert_eq!((zones("us-east-1a"), zones("us-east-1b")), (2, 2), "{:?}", world.events());
    let events = world.events();
    for part in [
        "(service web) is not AZ balanced with 4 tasks in us-east-1a, 0 tasks in us-east-1b. AZ Rebalancing in progress.",
        "(service web) has started 2 tasks in us-east-1b to AZ Rebalance: (task T) (task T).",
        "(service web) has stopped 2 running tasks in us-east-1a due to AZ rebalancing: (task T) (task T).",
        "(service web) is AZ balanced with 2 tasks in us-east-1a, 2 tasks in us-east-1b.",
    ] {
        assert!(events.iter().any(|event| event == part), "{part}: {events:?}");
    }
    assert!(world.bounds().1 >= 4, "start before stop");
}

#[tokio::test(start_paused = true)]
async fn a_loop_at_rest_writes_nothing() {
    let mut world = World::new(2).await;
    world.create(json!({})).await;
    world.pass(30).await;
    let before = world.store.snapshot().version();
    world.pass(300).await;
    assert_eq!(world.store.snapshot().version(), before, "{:?}", world.events());
}

#[tokio::test(start_paused = true)]
async fn draining_machines_are_left_and_protected_tasks_stay() {
    let mut world = World::new(2).await;
    world.create(json!({"desiredCount": 2})).await;
    world.pass(15).await;
    let drained = world.tasks()[0].container_instance.clone().unwrap().to_string();
    world.bounds();
    world.change_instance(&drained, |row| row.status = domain::ContainerInstanceStatus::Draining).await;
    world.pass(10).await;
    assert!(
        world.tasks().iter().all(|task| task.container_instance.as_ref().unwrap().to_string() != drained)
    );
    assert!(world.bounds().1 >= 2);
    let now = world.clock.now();
    for task in world.tasks() {
        world
            .change_task(&task.id, |task| Task {
                protected_until: Some(now.plus_seconds(100)),
                ..task.clone()
            })
            .await;
    }
    world.ok("UpdateService", json!({"service": "web", "desiredCount": 0})).await;
    world.pass(50).await;
    assert_eq!(world.running(), 2);
    let said =
        world.events().into_iter().filter(|event| event.contains("under protection")).collect::<Vec<_>>();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("was unable to scale in due to (reason 2 tasks under protection)"), "{said:?}");
    world.pass(60).await;
    assert_eq!(world.running(), 0, "the protection is over");
    assert!(world.tasks().iter().all(|task| task.key() != Key::global(&[])));
}

#[tokio::test(start_paused = true)]
async fn task_sets_have_their_share_of_the_desired_count() {
    let mut world = World::new(2).await;
    let external = json!({
        "serviceName": "web", "desiredCount": 3, "deploymentController": {"type": "EXTERNAL"},
    });
    world.ok("CreateService", external).await;
    let set = |definition: &str, percent: f64| {
        json!({
            "cluster": "default", "service": "web", "taskDefinition": definition, "launchType": "EC2",
            "scale": {"unit": "PERCENT", "value": percent},
        })
    };
    world.ok("CreateTaskSet", set("web", 100.0)).await;
    let second = world.ok("CreateTaskSet", set("next", 50.0)).await;
    world.pass(10).await;
    let of = |world: &World, family: &str| world.tasks().iter().filter(|task| task.family == family).count();
    assert_eq!((of(&world, "web"), of(&world, "next")), (3, 2), "half of three, rounded up");
    let described = world.ok("DescribeTaskSets", json!({"cluster": "default", "service": "web"})).await;
    for set in described["taskSets"].as_array().unwrap() {
        assert_eq!(set["stabilityStatus"], "STEADY_STATE", "{set}");
        assert_eq!(set["runningCount"], set["computedDesiredCount"]);
    }
    let id = second["taskSet"]["id"].as_str().unwrap().to_owned();
    let events = world.events();
    let started = format!("(service web, taskSet {id}) has started 2 tasks: (task T) (task T).");
    assert!(events.contains(&started), "{events:?}");
    let mut smaller = json!({"cluster": "default", "service": "web", "taskSet": id});
    smaller["scale"] = json!({"unit": "PERCENT", "value": 10.0});
    world.ok("UpdateTaskSet", smaller).await;
    world.pass(5).await;
    assert_eq!((of(&world, "web"), of(&world, "next")), (3, 1));
    let gone = json!({"cluster": "default", "service": "web", "taskSet": id, "force": true});
    world.ok("DeleteTaskSet", gone).await;
    world.pass(5).await;
    assert_eq!((of(&world, "web"), of(&world, "next")), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn blue_and_green_run_side_by_side_for_the_bake_time() {
    let mut world = World::new(4).await;
    world
        .create(json!({"deploymentConfiguration": {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 2}}))
        .await;
    world.pass(200).await;
    assert_eq!((world.running(), world.service().current_deployment), (3, None));
    world.bounds();
    world.ok("UpdateService", json!({"service": "web", "taskDefinition": "next"})).await;
    world.pass(60).await;
    let of = |world: &World, family: &str| world.tasks().iter().filter(|task| task.family == family).count();
    assert_eq!((of(&world, "web"), of(&world, "next")), (3, 3), "{:?}", world.events());
    world.pass(180).await;
    assert_eq!((of(&world, "web"), of(&world, "next")), (0, 3), "{:?}", world.events());
    assert!(world.bounds().1 >= 3);
}

#[tokio::test(start_paused = true)]
async fn tasks_move_to_new_instances_where_the_tag_asks_for_it() {
    for (tags, moved) in [(json!([{"key": "roadstead:rebalance", "value": "enabled"}]), 2), (json!([]), 0)] {
        let mut world = World::new(0).await;
        world.add_instance("us-east-1a", 2048).await;
        world
            .create(json!({
                "desiredCount": 4, "tags": tags, "availabilityZoneRebalancing": "DISABLED",
                "placementStrategy": [{"type": "spread", "field": "instanceId"}],
            }))
            .await;
        world.pass(10).await;
        let new = world.add_instance("us-east-1a", 2048).await;
        world.pass(20).await;
        let there = world.tasks().into_iter().filter(|task| {
            task.container_instance.as_ref().is_some_and(|instance| instance.to_string() == new)
        });
        assert_eq!(there.count(), moved, "{:?}", world.events());
        assert_eq!(world.running(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_counts_no_failure_twice() {
    let mut world = World::new(1).await;
    world.behaviours.insert("web".into(), Behaviour::NeverStarts);
    world.create(json!({"desiredCount": 1})).await;
    world.pass(30).await;
    let failed = world.service().revisions[0].failed_tasks;
    world.stop.send_replace(true);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let ended = |world: &World| {
        let snapshot = world.store.snapshot();
        snapshot.scan::<Task>(Prefix::everything(), None).filter(|task| task.accounted).count()
    };
    assert_eq!(ended(&world), failed as usize);
    let (stop, stopped) = watch::channel(false);
    let ids = Arc::new(SeededIds::new(8));
    let control = Control::new(world.store.clone(), world.clock.clone(), ids, ControlConfig::default());
    tokio::spawn(control.run(stopped));
    world.stop = stop;
    world.pass(120).await;
    assert_eq!(ended(&world), world.service().revisions[0].failed_tasks as usize);
    assert!(ended(&world) > failed as usize);
}

#[tokio::test(start_paused = true)]
async fn a_strategy_counts_the_tasks_that_are_there() {
    let mut world = World::new(0).await;
    world.with_fargate().await;
    let strategy = json!([
        {"capacityProvider": "FARGATE", "base": 1, "weight": 1}, {"capacityProvider": "FARGATE_SPOT", "weight": 3},
    ]);
    let vpc = store::rows_vpc::find_default_vpc(&world.store.snapshot(), &scope()).unwrap();
    let subnets: Vec<&str> = vpc.subnets.iter().map(|subnet| subnet.id.as_str()).collect();
    let body = json!({
        "serviceName": "web", "taskDefinition": "fargate", "desiredCount": 5, "capacityProviderStrategy": strategy,
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": subnets}},
        "enableECSManagedTags": true, "propagateTags": "SERVICE", "tags": [{"key": "team", "value": "blue"}],
    });
    world.ok("CreateService", body).await;
    world.pass(20).await;
    let of = |world: &World, provider: &str| {
        world.tasks().iter().filter(|task| task.capacity_provider.as_deref() == Some(provider)).count()
    };
    assert_eq!((of(&world, "FARGATE"), of(&world, "FARGATE_SPOT")), (2, 3), "{:?}", world.events());
    let victim =
        world.tasks().into_iter().find(|task| task.capacity_provider.as_deref() == Some("FARGATE_SPOT"));
    world.report(&victim.unwrap().id, TaskStatus::Stopped).await;
    world.pass(10).await;
    assert_eq!((of(&world, "FARGATE"), of(&world, "FARGATE_SPOT")), (2, 3), "of the provider that lacks one");
    let tags: Vec<String> =
        world.tasks()[0].tags.iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect();
    assert_eq!(tags, ["team=blue", "aws:ecs:clusterName=default", "aws:ecs:serviceName=web"]);
    let mut zones: BTreeMap<String, usize> = BTreeMap::new();
    for task in world.tasks() {
        *zones.entry(task.availability_zone.unwrap_or_default()).or_default() += 1;
    }
    assert!(zones.values().max().unwrap() - zones.values().min().unwrap() <= 1, "{zones:?}");
}

#[tokio::test(start_paused = true)]
async fn what_goes_meanwhile_is_the_reason_that_a_start_fails() {
    let mut world = World::new(1).await;
    world.create(json!({"desiredCount": 1})).await;
    world.pass(10).await;
    // A definition that was deregistered goes on serving.
    world.ok("DeregisterTaskDefinition", json!({"taskDefinition": "web:1"})).await;
    world.ok("UpdateService", json!({"service": "web", "desiredCount": 2})).await;
    world.pass(5).await;
    assert_eq!(world.running(), 2);
    let mut transaction = Transaction::new();
    transaction.delete::<domain::TaskDefinition>(&store::rows::task_definition_key(&scope(), "web", 1));
    world.store.transact(transaction).await.unwrap();
    let victim = world.tasks()[0].id.clone();
    world.report(&victim, TaskStatus::Stopped).await;
    world.pass(30).await;
    let said = world.events();
    let failed: Vec<&String> =
        said.iter().filter(|event| event.contains("failed to launch a task")).collect();
    assert_eq!(failed.len(), 1, "{said:?}");
    assert_eq!(
        failed[0],
        "(service web) failed to launch a task with (error Unable to describe task definition.)."
    );
}
