//! Capacity providers from the call to the machines: the real operations and loops over a store in memory, with an Auto
//! Scaling group that launches and ends machines as it is told. Time stands still but for what is slept through.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::Plane;
use control::seams::{AutoScalingGroup, AutoScalingGroups, GroupInstance, Seams};
use domain::{CapacityProvider, ContainerInstance, ContainerInstanceStatus, Task, TaskStatus};
use scheduler::capacity_provider::{Group, Lifecycle};
use serde_json::{Value, json};
use store::{Prefix, Snapshot, Transaction};
use tokio::sync::watch;

/// A group that follows its desired capacity when the test lets it.
#[derive(Default)]
struct Growing(Mutex<State>);

#[derive(Default)]
struct State {
    desired: u32,
    launched: usize,
    instances: BTreeMap<String, (Lifecycle, bool)>,
    /// In order, what was asked for.
    asked: Vec<u32>,
    ended: Vec<String>,
}

impl AutoScalingGroups for Growing {
    fn describe(&self, _: &Snapshot, provider: &CapacityProvider, _: &str) -> Option<AutoScalingGroup> {
        let state = self.0.lock().unwrap();
        let instances = state.instances.iter().map(|(id, (lifecycle, protected))| GroupInstance {
            ec2_instance_id: id.clone(),
            lifecycle: *lifecycle,
            protected: *protected,
        });
        (provider.auto_scaling_group() == "group").then(|| AutoScalingGroup {
            group: Group { minimum: 0, maximum: 10, desired: state.desired },
            instances: instances.collect(),
        })
    }

    fn set_desired_capacity(&self, _: &CapacityProvider, desired: u32) {
        let mut state = self.0.lock().unwrap();
        state.desired = desired;
        state.asked.push(desired);
    }

    fn protect(&self, _: &CapacityProvider, ec2_instance_id: &str, protected: bool) {
        self.0.lock().unwrap().instances.get_mut(ec2_instance_id).unwrap().1 = protected;
    }

    fn complete_termination(&self, _: &CapacityProvider, ec2_instance_id: &str) {
        let mut state = self.0.lock().unwrap();
        let (lifecycle, _) = state.instances.remove(ec2_instance_id).unwrap();
        assert_eq!(lifecycle, Lifecycle::TerminatingWait);
        state.ended.push(ec2_instance_id.to_owned());
    }
}

/// Launches take turns in a process: a world that waits for another's turn would see its clock run on. One at a time.
static ONE_WORLD: Mutex<()> = Mutex::new(());

struct World {
    plane: Plane,
    _alone: MutexGuard<'static, ()>,
    group: Arc<Growing>,
    _stop: watch::Sender<bool>,
}

impl std::ops::Deref for World {
    type Target = Plane;

    fn deref(&self) -> &Plane {
        &self.plane
    }
}

/// Sleeps, a second at a time, and gives the store's own thread, which knows nothing of paused time, the time to commit.
async fn slept(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for _ in 0..4 {
            std::thread::sleep(Duration::from_micros(100));
            tokio::task::yield_now().await;
        }
    }
}

impl World {
    async fn new(seams: impl FnOnce(Seams, Arc<Growing>) -> Seams) -> Self {
        let alone = ONE_WORLD.lock().unwrap_or_else(PoisonError::into_inner);
        let plane = Plane::new();
        let group = Arc::new(Growing::default());
        let (stop, stopped) = watch::channel(false);
        let control = plane.control().with_seams(seams(Seams::default(), Arc::clone(&group)));
        tokio::spawn(control.run(stopped));
        let world = Self { plane, _alone: alone, group, _stop: stop };
        world.ok("CreateCluster", json!({})).await;
        let definition = json!({
            "family": "web",
            "networkMode": "host",
            "containerDefinitions": [{"name": "app", "image": "busybox", "memory": 128, "cpu": 10}],
        });
        world.ok("RegisterTaskDefinition", definition).await;
        let scaling = json!({"status": "ENABLED"});
        let provider = json!({
            "autoScalingGroupArn": "group",
            "managedScaling": scaling,
            "managedTerminationProtection": "ENABLED",
        });
        world
            .ok("CreateCapacityProvider", json!({"name": "mine", "autoScalingGroupProvider": provider}))
            .await;
        let strategy = json!([{"capacityProvider": "mine", "weight": 1}]);
        let put = json!({
            "cluster": "default",
            "capacityProviders": ["mine"],
            "defaultCapacityProviderStrategy": strategy,
        });
        world.ok("PutClusterCapacityProviders", put).await;
        world
    }

    async fn growing() -> Self {
        Self::new(|seams, group| Seams { auto_scaling_groups: group, ..seams }).await
    }

    /// A machine of the group joins: room for four tasks.
    async fn join(&self, ec2_instance_id: &str) {
        let document = json!({"instanceId": ec2_instance_id, "accountId": "000000000000"}).to_string();
        let answer = self
            .ok(
                "RegisterContainerInstance",
                json!({
                    "cluster": "default",
                    "instanceIdentityDocument": document,
                    "totalResources": [
                        {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
                        {"name": "MEMORY", "type": "INTEGER", "integerValue": 512},
                    ],
                    "attributes": [{"name": "roadstead.auto-scaling-group", "value": "group"}],
                }),
            )
            .await;
        assert_eq!(answer["containerInstance"]["capacityProviderName"], json!("mine"));
        let row = self.instance(ec2_instance_id).unwrap();
        let mut transaction = Transaction::new();
        transaction.put(ContainerInstance { agent_connected: true, ..row });
        self.store.transact(transaction).await.unwrap();
    }

    fn instance(&self, ec2_instance_id: &str) -> Option<ContainerInstance> {
        self.store
            .snapshot()
            .scan::<ContainerInstance>(Prefix::everything(), None)
            .find(|row| {
                row.ec2_instance_id == ec2_instance_id && row.status != ContainerInstanceStatus::Inactive
            })
            .map(|row| ContainerInstance::clone(&row))
    }

    /// The group does what was wished for: launches machines, or begins to end unprotected ones.
    async fn follow(&self) {
        let launched: Vec<String> = {
            let mut state = self.group.0.lock().unwrap();
            let wanted = state.desired as usize;
            let mut launched = Vec::new();
            let in_service = |state: &State| {
                state.instances.values().filter(|(lifecycle, _)| *lifecycle == Lifecycle::InService).count()
            };
            while in_service(&state) < wanted {
                state.launched += 1;
                let id = format!("i-{}", state.launched);
                state.instances.insert(id.clone(), (Lifecycle::InService, true));
                launched.push(id);
            }
            for _ in wanted..in_service(&state) {
                let free = state
                    .instances
                    .values_mut()
                    .find(|(lifecycle, protected)| *lifecycle == Lifecycle::InService && !*protected);
                if let Some((lifecycle, _)) = free {
                    *lifecycle = Lifecycle::TerminatingWait;
                }
            }
            launched
        };
        for id in launched {
            self.join(&id).await;
        }
        let ended = std::mem::take(&mut self.group.0.lock().unwrap().ended);
        for id in ended {
            let arn = self.instance(&id).unwrap().arn().to_string();
            self.ok("DeregisterContainerInstance", json!({"containerInstance": arn})).await;
        }
    }

    async fn minutes(&self, minutes: usize) {
        for _ in 0..minutes {
            slept(60).await;
            self.follow().await;
        }
        slept(5).await;
    }

    fn with_status(&self, status: TaskStatus) -> Vec<String> {
        let tasks = self.store.snapshot();
        let tasks = tasks.scan::<Task>(Prefix::everything(), None);
        tasks.filter(|task| task.last_status == status).map(|task| task.arn().to_string()).collect()
    }

    fn size(&self) -> usize {
        self.group.0.lock().unwrap().instances.len()
    }
}

fn arns(run: &Value) -> Vec<String> {
    run["tasks"].as_array().unwrap().iter().map(|task| task["taskArn"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn f31_the_group_grows_for_waiting_tasks_and_shrinks_when_they_are_gone() {
    let world = World::growing().await;
    let tasks = arns(&world.ok("RunTask", json!({"taskDefinition": "web", "count": 10})).await);
    assert_eq!(world.with_status(TaskStatus::Provisioning).len(), 10);
    // From nothing to two machines, room for eight: those that came first.
    world.minutes(2).await;
    assert_eq!(world.group.0.lock().unwrap().asked.first(), Some(&2));
    world.minutes(3).await;
    assert_eq!(world.with_status(TaskStatus::Pending).len(), 10);
    assert_eq!(world.group.0.lock().unwrap().asked, [2, 3], "three machines hold ten tasks");
    let described = world.ok("DescribeClusters", json!({"include": ["ATTACHMENTS"]})).await;
    assert_eq!(described["clusters"][0]["attachmentsStatus"], json!("UPDATE_COMPLETE"));

    // One task stays. Its machine is protected; the others go one after the other, drained first.
    let kept = world
        .store
        .snapshot()
        .scan::<Task>(Prefix::everything(), None)
        .find(|task| task.arn().to_string() == tasks[0]);
    let kept = kept.unwrap().container_instance.clone().unwrap().to_string();
    for task in &tasks[1..] {
        let body = json!({"cluster": "default", "task": task, "status": "STOPPED", "containers": []});
        world.ok("SubmitTaskStateChange", body).await;
    }
    world.minutes(10).await;
    assert_eq!(world.size(), 3, "not before fifteen datapoints");
    world.minutes(20).await;
    assert_eq!(world.size(), 1);
    let left: Vec<String> = world
        .store
        .snapshot()
        .scan::<ContainerInstance>(Prefix::everything(), None)
        .filter(|row| row.status != ContainerInstanceStatus::Inactive)
        .map(|row| row.arn().to_string())
        .collect();
    assert_eq!(left, [kept], "the busy machine is the one that stays");
    // The last task ends, and the last machine goes.
    let body = json!({"cluster": "default", "task": tasks[0], "status": "STOPPED", "containers": []});
    world.ok("SubmitTaskStateChange", body).await;
    world.minutes(20).await;
    assert_eq!(world.size(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_to_end_is_drained_and_its_standalone_tasks_finish() {
    let world = World::growing().await;
    let tasks = arns(&world.ok("RunTask", json!({"taskDefinition": "web"})).await);
    world.minutes(3).await;
    assert_eq!(world.with_status(TaskStatus::Pending), tasks);
    let snapshot = world.store.snapshot();
    let task = snapshot.scan::<Task>(Prefix::everything(), None).next().unwrap();
    let busy = task.container_instance.clone().unwrap();
    let row =
        snapshot.scan::<ContainerInstance>(Prefix::everything(), None).find(|row| row.arn() == busy).unwrap();
    let id = row.ec2_instance_id.clone();
    // Someone ends the machine though it is busy.
    world.group.0.lock().unwrap().instances.get_mut(&id).unwrap().0 = Lifecycle::TerminatingWait;
    world.minutes(5).await;
    assert_eq!(world.instance(&id).unwrap().status, ContainerInstanceStatus::Draining);
    assert_eq!(world.with_status(TaskStatus::Pending), tasks, "a standalone task is left alone");
    assert!(world.group.0.lock().unwrap().instances.contains_key(&id), "it waits for the task");
    let body = json!({"cluster": "default", "task": tasks[0], "status": "STOPPED", "containers": []});
    world.ok("SubmitTaskStateChange", body).await;
    world.minutes(2).await;
    assert!(!world.group.0.lock().unwrap().instances.contains_key(&id));
    assert!(world.instance(&id).is_none());
}

#[tokio::test(start_paused = true)]
async fn f31_a_full_queue_is_no_busy_loop_and_a_standing_group_says_that_it_cannot_grow() {
    let world = World::new(|seams, _| seams).await;
    for number in 0..2 {
        world.join(&format!("i-{number}")).await;
    }
    for _ in 0..50 {
        world.ok("RunTask", json!({"taskDefinition": "web", "count": 10})).await;
    }
    slept(90).await;
    let machines: Vec<_> = ["i-0", "i-1"].iter().map(|id| world.instance(id)).collect();
    let pending = world.with_status(TaskStatus::Pending).len();
    assert_eq!(pending, 8, "{} stopped, {machines:?}", world.with_status(TaskStatus::Stopped).len());
    assert_eq!(world.with_status(TaskStatus::Provisioning).len(), 492);
    let described = world.ok("DescribeCapacityProviders", json!({"capacityProviders": ["mine"]})).await;
    assert_eq!(
        described["capacityProviders"][0]["updateStatusReason"],
        json!(
            "The Auto Scaling group group cannot grow: 125 instances are needed, and its maximum size is 2."
        )
    );
    // In ten minutes: ten datapoints, and nothing else.
    let before = world.store.snapshot().version().number();
    slept(600).await;
    let written = world.store.snapshot().version().number() - before;
    assert!(written <= 11, "{written} transactions while nothing happened");
    // Room for four more, first come first served.
    world.join("i-2").await;
    slept(20).await;
    assert_eq!(world.with_status(TaskStatus::Pending).len(), 12);
    // After half an hour those that wait are given up.
    slept(1900).await;
    assert_eq!(world.with_status(TaskStatus::Provisioning).len(), 0);
    assert_eq!(world.with_status(TaskStatus::Stopped).len(), 488);
    let described = world.ok("DescribeCapacityProviders", json!({"capacityProviders": ["mine"]})).await;
    assert_eq!(described["capacityProviders"][0]["updateStatusReason"], json!(null));
}

#[tokio::test(start_paused = true)]
async fn f31_a_service_queues_as_many_tasks_as_may_wait_and_keeps_to_its_provider() {
    let world = World::new(|seams, _| seams).await;
    let other = json!({
        "cluster": "default",
        "totalResources": [
            {"name": "CPU", "type": "INTEGER", "integerValue": 100_000},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": 100_000},
        ],
    });
    world.ok("RegisterContainerInstance", other).await;
    world.join("i-0").await;
    let service = json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": 530});
    world.ok("CreateService", service).await;
    slept(60).await;
    let placed = world.with_status(TaskStatus::Pending).len();
    assert_eq!(placed, 4, "the other machine has room, and is not of the provider");
    let waiting = world.with_status(TaskStatus::Provisioning).len();
    assert!((496..=500).contains(&waiting), "{waiting}");
    let before = world.store.snapshot().version().number();
    slept(300).await;
    let written = world.store.snapshot().version().number() - before;
    assert!(written <= 30, "{written} transactions while nothing happened");
    world.join("i-1").await;
    slept(20).await;
    assert_eq!(world.with_status(TaskStatus::Pending).len(), 8);
}
