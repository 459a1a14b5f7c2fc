//! Managed daemons from the call to their tasks: the real operations and loops over a store in memory, with agents that do
//! as they are told. Time stands still but for what is slept through.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::Scope;
use common::Plane;
use control::seams::{AlarmState, Alarms, Seams};
use domain::{ContainerInstance, DesiredStatus, OutboxMessage, OutboxOrder, Task, TaskStatus};
use scheduler::task_lifecycle::{self};
use serde_json::{Value, json};
use store::rows::task_key;
use store::{Prefix, Transaction};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

struct World {
    plane: Plane,
    /// The most instances without a running daemon, since the last look.
    most_bare: usize,
    running: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    alarm: Arc<Switch>,
}

impl std::ops::Deref for World {
    type Target = Plane;

    fn deref(&self) -> &Plane {
        &self.plane
    }
}

/// The alarm `latency`, as its test wants it.
#[derive(Default)]
struct Switch(AtomicBool);

impl Alarms for Switch {
    fn state(&self, _scope: &Scope, name: &str) -> AlarmState {
        if name == "latency" && self.0.load(Ordering::Relaxed) { AlarmState::Alarm } else { AlarmState::Ok }
    }
}

const DAEMON: &str = "arn:aws:ecs:us-east-1:000000000000:daemon/default/watch";

impl World {
    /// A cluster with the capacity provider `own` and so many machines in it; the image `bad` never starts.
    async fn new(instances: usize) -> Self {
        let plane = Plane { exit_code: 1, ..Plane::new() };
        let alarm = Arc::default();
        let mut world = Self { plane, most_bare: 0, running: None, alarm };
        world.start();
        world.begun().await;
        world.ok("CreateCluster", json!({})).await;
        let group = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:a:autoScalingGroupName/own";
        let body = json!({"name": "own", "autoScalingGroupProvider": {"autoScalingGroupArn": group}});
        world.ok("CreateCapacityProvider", body).await;
        let body = json!({"cluster": "default", "capacityProviders": ["own"], "defaultCapacityProviderStrategy": []});
        world.ok("PutClusterCapacityProviders", body).await;
        for _ in 0..instances {
            world.add_instance().await;
        }
        for image in ["one", "two", "bad"] {
            let container = json!({"name": "app", "image": image, "memory": 64});
            let body = json!({"family": image, "containerDefinitions": [container]});
            world.ok("RegisterDaemonTaskDefinition", body).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        world
    }

    fn start(&mut self) {
        let (stop, stopped) = watch::channel(false);
        let seams = Seams { alarms: self.alarm.clone(), ..Seams::default() };
        let control = self.control().with_seams(seams);
        self.running = Some((stop, tokio::spawn(control.run(stopped))));
    }

    /// The loops have begun: agents that connect later have not been connected to an earlier process.
    async fn begun(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// `kill -9` of the control plane, and a new one.
    async fn restart(&mut self) {
        let (_, handle) = self.running.take().unwrap();
        handle.abort();
        let _ = handle.await;
        self.start();
    }

    async fn add_instance(&self) -> String {
        let body = json!({
            "cluster": "default",
            "instanceIdentityDocument": "",
            "instanceIdentityDocumentSignature": "",
            "totalResources": [
                {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
                {"name": "MEMORY", "type": "INTEGER", "integerValue": 1024},
            ],
            "attributes": [{"name": "roadstead.auto-scaling-group", "value": "own"}],
        });
        let answer = self.ok("RegisterContainerInstance", body).await;
        let arn = answer["containerInstance"]["containerInstanceArn"].as_str().unwrap().to_owned();
        assert_eq!(answer["containerInstance"]["capacityProviderName"], "own", "{answer}");
        let update = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            let mut rows = snapshot.scan::<ContainerInstance>(Prefix::everything(), None);
            let row = rows.find(|row| row.arn().to_string() == arn).unwrap();
            let next = ContainerInstance { agent_connected: true, ..row.value.as_ref().clone() };
            transaction.replace(&row, next);
            Ok::<_, std::convert::Infallible>((transaction, ()))
        });
        update.await.unwrap();
        arn
    }

    /// Makes the daemon; its deployment's ARN.
    async fn create(&self, definition: &str, change: Value) -> String {
        let mut body = json!({
            "daemonName": "watch", "daemonTaskDefinitionArn": definition, "capacityProviderArns": ["own"],
        });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.ok("CreateDaemon", body).await["deploymentArn"].as_str().unwrap().to_owned()
    }

    async fn update(&self, definition: &str, change: Value) -> String {
        let mut body = json!({
            "daemonArn": DAEMON, "daemonTaskDefinitionArn": definition, "capacityProviderArns": ["own"],
        });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.ok("UpdateDaemon", body).await["deploymentArn"].as_str().unwrap().to_owned()
    }

    async fn deployment(&self, arn: &str) -> Value {
        let shown = self.ok("DescribeDaemonDeployments", json!({"daemonDeploymentArns": [arn]})).await;
        shown["daemonDeployments"][0].clone()
    }

    /// Lets so many seconds pass, with the agents at work.
    async fn pass(&mut self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.look();
            self.agents().await;
            self.look();
        }
    }

    /// Never two tasks on an instance; how many instances are without one.
    fn look(&mut self) {
        let mut by_instance: BTreeMap<String, usize> = BTreeMap::new();
        let snapshot = self.store.snapshot();
        for instance in snapshot.scan::<ContainerInstance>(Prefix::everything(), None) {
            by_instance.insert(instance.arn().to_string(), 0);
        }
        let mut running = 0;
        for task in self.tasks() {
            let count = by_instance.get_mut(&task.container_instance.as_ref().unwrap().to_string()).unwrap();
            *count += 1;
            assert!(*count <= 1, "two tasks of one daemon on an instance");
            let runs =
                task.last_status == TaskStatus::Running && task.desired_status == DesiredStatus::Running;
            running += usize::from(runs);
        }
        self.most_bare = self.most_bare.max(by_instance.len() - running);
    }

    async fn agents(&self) {
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
                OutboxOrder::Start if task.family == "bad" => {
                    self.report(&task.id, TaskStatus::Stopped).await;
                }
                OutboxOrder::Start => self.report(&task.id, TaskStatus::Running).await,
                OutboxOrder::Stop => {
                    self.change_task(&task.id, |task| task_lifecycle::stop_acknowledged(task).task).await;
                }
            }
        }
    }

    fn all_tasks(&self) -> Vec<Task> {
        let snapshot = self.store.snapshot();
        snapshot.scan::<Task>(Prefix::everything(), None).map(|task| task.value.as_ref().clone()).collect()
    }

    /// Tasks that are not STOPPED.
    fn tasks(&self) -> Vec<Task> {
        self.all_tasks().into_iter().filter(|task| task.last_status != TaskStatus::Stopped).collect()
    }

    /// How many run of the family.
    fn running(&self, family: &str) -> usize {
        let runs = |task: &&Task| task.last_status == TaskStatus::Running && task.family == family;
        self.tasks().iter().filter(runs).count()
    }

    async fn instance(&self, arn: &str) -> Value {
        let body = json!({"containerInstances": [arn], "include": ["CONTAINER_INSTANCE_HEALTH"]});
        let shown = self.ok("DescribeContainerInstances", body).await;
        shown["containerInstances"][0].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn one_task_on_every_instance_before_any_other() {
    let mut world = World::new(3).await;
    let deployment = world
        .create("one", json!({"propagateTags": "DAEMON", "enableECSManagedTags": true, "tags": [{"key": "a", "value": "b"}]}))
        .await;
    world.pass(10).await;
    assert_eq!(world.running("one"), 3);
    let shown = world.deployment(&deployment).await;
    assert_eq!(
        (&shown["status"], &shown["statusReason"]),
        (&json!("SUCCESSFUL"), &json!("Deployment completed successfully."))
    );
    assert_eq!(shown["targetDaemonRevision"]["totalRunningInstanceCount"], 3);
    assert_eq!(
        shown["circuitBreaker"],
        json!({"failureCount": 0, "status": "MONITORING_COMPLETE", "threshold": 3})
    );
    let daemon = world.ok("DescribeDaemon", json!({"daemonArn": DAEMON})).await;
    assert_eq!(daemon["daemon"]["currentRevisions"][0]["totalRunningCount"], 3);
    let revision = daemon["daemon"]["currentRevisions"][0]["arn"].clone();
    let revision = world.ok("DescribeDaemonRevisions", json!({"daemonRevisionArns": [revision]})).await;
    let image = json!([{"containerName": "app", "image": "one", "imageDigest": "sha256:feed"}]);
    assert_eq!(revision["daemonRevisions"][0]["containerImages"], image);
    let task = &world.ok("DescribeTasks", json!({"tasks": [world.tasks()[0].id], "include": ["TAGS"]})).await
        ["tasks"][0];
    assert_eq!(task["group"], "daemon:watch");
    assert_eq!(task["capacityProviderName"], "own");
    assert_eq!(task["taskDefinitionArn"], "arn:aws:ecs:us-east-1:000000000000:daemon-task-definition/one:1");
    assert_eq!(
        task["tags"],
        json!([
            {"key": "a", "value": "b"},
            {"key": "aws:ecs:clusterName", "value": "default"},
            {"key": "aws:ecs:daemonName", "value": "watch"},
        ])
    );

    // A machine that joins takes no other task before the daemon runs on it.
    let arn = world.add_instance().await;
    assert_eq!(world.instance(&arn).await["status"], "REGISTERING");
    world.pass(2).await;
    assert_eq!(world.instance(&arn).await["status"], "ACTIVE");
    assert_eq!(world.running("one"), 4);
}

#[tokio::test(start_paused = true)]
async fn no_more_at_once_than_the_percentage() {
    let mut world = World::new(8).await;
    world.create("one", json!({"deploymentConfiguration": {"drainPercent": 100.0}})).await;
    world.pass(5).await;
    assert_eq!(world.running("one"), 8);
    world.most_bare = 0;
    let deployment = world
        .update("two", json!({"deploymentConfiguration": {"drainPercent": 25.0, "bakeTimeInMinutes": 2}}))
        .await;
    world.pass(60).await;
    assert_eq!((world.running("one"), world.running("two")), (0, 8));
    assert_eq!(world.most_bare, 2, "a quarter of eight");
    assert_eq!(world.deployment(&deployment).await["status"], "IN_PROGRESS", "it bakes");
    world.pass(120).await;
    assert_eq!(world.deployment(&deployment).await["status"], "SUCCESSFUL");
    let old = world.all_tasks().into_iter().find(|task| task.family == "one").unwrap();
    assert_eq!(old.stopped_reason.unwrap(), format!("Daemon deployment {deployment}"));
}

#[tokio::test(start_paused = true)]
async fn what_never_starts_is_rolled_back() {
    let mut world = World::new(4).await;
    world.create("one", json!({})).await;
    world.pass(10).await;
    let deployment = world.update("bad", json!({})).await;
    world.pass(120).await;
    let shown = world.deployment(&deployment).await;
    assert_eq!(shown["status"], "ROLLBACK_SUCCESSFUL", "{shown}");
    assert_eq!(shown["circuitBreaker"], json!({"failureCount": 3, "status": "TRIGGERED", "threshold": 3}));
    assert_eq!(
        shown["rollback"]["rollbackTargetDaemonRevisionArn"],
        shown["sourceDaemonRevisions"][0]["arn"]
    );
    assert_eq!(world.running("one"), 4);
    let bad = world.all_tasks().iter().filter(|task| task.family == "bad").count();
    assert_eq!(bad, 3, "no more tasks than failures that end it");
    let daemon = world.ok("DescribeDaemon", json!({"daemonArn": DAEMON})).await;
    assert_eq!(daemon["daemon"]["currentRevisions"][0]["totalRunningCount"], 4);
    let active = world.ok("ListContainerInstances", json!({"status": "ACTIVE"})).await;
    assert_eq!(active["containerInstanceArns"].as_array().unwrap().len(), 4, "no instance stays drained");
}

#[tokio::test(start_paused = true)]
async fn a_first_deployment_has_nowhere_to_go_back_to() {
    let mut world = World::new(2).await;
    let deployment = world.create("bad", json!({})).await;
    world.pass(300).await;
    let shown = world.deployment(&deployment).await;
    assert_eq!(shown["status"], "STOPPED", "{shown}");
    assert!(shown["statusReason"].as_str().unwrap().contains("no earlier daemon revision"));
    assert!(shown["stoppedAt"].is_number());
    let tasks = world.all_tasks().len();
    world.pass(1200).await;
    assert_eq!(world.all_tasks().len(), tasks, "nothing more is tried");
    let active = world.ok("ListContainerInstances", json!({"status": "ACTIVE"})).await;
    assert_eq!(active["containerInstanceArns"].as_array().unwrap().len(), 2);
    let next = world.update("two", json!({})).await;
    world.pass(10).await;
    assert_eq!(world.deployment(&next).await["status"], "SUCCESSFUL");
    assert_eq!(world.running("two"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_critical_daemon_that_ends_drains_its_instance_until_it_is_back() {
    for critical in [true, false] {
        let mut world = World::new(1).await;
        world.create("one", json!({ "critical": critical })).await;
        world.pass(5).await;
        let arn = world.tasks()[0].container_instance.clone().unwrap().to_string();
        let victim = world.tasks()[0].id.clone();
        world.report(&victim, TaskStatus::Stopped).await;
        world.pass(2).await;
        let instance = world.instance(&arn).await;
        if critical {
            assert_eq!(instance["status"], "DRAINING");
            assert!(
                instance["statusReason"].as_str().unwrap().starts_with("The critical daemon watch"),
                "{instance}"
            );
            assert_eq!(instance["healthStatus"]["overallStatus"], "IMPAIRED");
            assert_eq!(instance["healthStatus"]["details"][1]["type"], "DAEMON");
        } else {
            assert_eq!(instance["status"], "ACTIVE");
            let daemon = world.ok("DescribeDaemon", json!({"daemonArn": DAEMON})).await;
            assert_eq!(daemon["daemon"]["currentRevisions"][0]["totalWithoutDaemonCount"], 1);
        }
        world.pass(30).await;
        let instance = world.instance(&arn).await;
        assert_eq!(instance["status"], "ACTIVE");
        assert!(instance.get("statusReason").is_none(), "{instance}");
        assert_eq!(world.running("one"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_goes_and_so_does_what_it_used() {
    let mut world = World::new(2).await;
    world.create("one", json!({})).await;
    world.pass(10).await;
    world.ok("DeleteDaemonTaskDefinition", json!({"daemonTaskDefinition": "one:1"})).await;
    world.pass(10).await;
    let shown = world.ok("DescribeDaemonTaskDefinition", json!({"daemonTaskDefinition": "one:1"})).await;
    assert_eq!(shown["daemonTaskDefinition"]["status"], "DELETE_IN_PROGRESS", "a daemon uses it");
    let deleted = world.ok("DeleteDaemon", json!({"daemonArn": DAEMON})).await;
    let deployment = deleted["deploymentArn"].as_str().unwrap().to_owned();
    world.pass(20).await;
    assert!(world.tasks().is_empty());
    let (_, answer) = world.call("DescribeDaemon", json!({"daemonArn": DAEMON})).await;
    assert!(answer["__type"].as_str().unwrap().ends_with("DaemonNotFoundException"), "{answer}");
    assert_eq!(world.deployment(&deployment).await["status"], "SUCCESSFUL");
    let shown = world.ok("DescribeDaemonTaskDefinition", json!({"daemonTaskDefinition": "one:1"})).await;
    assert_eq!(shown["daemonTaskDefinition"]["status"], "DELETED");
    world.pass(3700).await;
    assert!(world.deployment(&deployment).await.is_null(), "an hour later nothing is left");
    let (status, _) =
        world.call("DescribeDaemonTaskDefinition", json!({"daemonTaskDefinition": "one:1"})).await;
    assert_eq!(status, 400);
    assert_eq!(world.store.snapshot().count::<domain::DaemonPlace>(), 0);
    assert_eq!(world.store.snapshot().count::<domain::DaemonRevision>(), 0);
}

#[tokio::test(start_paused = true)]
async fn f15_a_restart_in_the_middle_doubles_nothing() {
    let mut world = World::new(6).await;
    world.create("one", json!({})).await;
    world.pass(10).await;
    let deployment = world.update("two", json!({"deploymentConfiguration": {"drainPercent": 20.0}})).await;
    for _ in 0..40 {
        world.pass(1).await;
        world.restart().await;
    }
    assert_eq!(world.deployment(&deployment).await["status"], "SUCCESSFUL");
    assert_eq!((world.running("one"), world.running("two")), (0, 6));
    assert_eq!(world.all_tasks().len(), 12, "each task once");
}

#[tokio::test(start_paused = true)]
async fn without_room_it_says_why_and_comes_when_there_is() {
    let mut world = World::new(1).await;
    let container = json!({"name": "app", "image": "big", "memory": 4096});
    world
        .ok("RegisterDaemonTaskDefinition", json!({"family": "big", "containerDefinitions": [container]}))
        .await;
    let deployment = world.create("big", json!({"critical": false})).await;
    world.pass(3).await;
    assert_eq!(world.all_tasks().len(), 0);
    let shown = world.deployment(&deployment).await;
    assert_eq!(
        (&shown["status"], &shown["circuitBreaker"]["failureCount"]),
        (&json!("IN_PROGRESS"), &json!(1))
    );
    let why = "RESOURCE:MEMORY - Unable to place daemon task on container instance";
    assert_eq!(shown["statusReason"], why);
    let snapshot = world.store.snapshot();
    let place = snapshot.scan::<domain::DaemonPlace>(Prefix::everything(), None).next().unwrap();
    assert_eq!(place.reason.as_deref(), Some(why));
    world.update("one", json!({})).await;
    world.pass(5).await;
    assert_eq!(world.running("one"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_in_the_bake_time_takes_it_back() {
    let mut world = World::new(2).await;
    world.create("one", json!({})).await;
    world.pass(10).await;
    let alarms = json!({"alarmNames": ["latency", "errors"], "enable": true});
    let configuration = json!({"bakeTimeInMinutes": 10, "drainPercent": 100.0, "alarms": alarms});
    let deployment = world.update("two", json!({"deploymentConfiguration": configuration})).await;
    world.pass(60).await;
    assert_eq!(world.running("two"), 2);
    assert_eq!(world.deployment(&deployment).await["alarms"]["status"], "MONITORING");
    world.alarm.0.store(true, Ordering::Relaxed);
    world.pass(60).await;
    let shown = world.deployment(&deployment).await;
    assert_eq!(shown["status"], "ROLLBACK_SUCCESSFUL", "{shown}");
    assert_eq!(shown["alarms"]["status"], "TRIGGERED");
    assert_eq!(shown["alarms"]["triggeredAlarmNames"], json!(["latency"]));
    assert_eq!((world.running("one"), world.running("two")), (2, 0));
}
