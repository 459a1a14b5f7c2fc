//! The decider on a model of machines: what is decided is done, and the laws hold after each step.

use base::Scope;
use domain::DaemonStatus;
use proptest::prelude::*;

use super::*;

/// A world of machines that do what a decision says, with a daemon on them.
struct Model {
    daemon: Daemon,
    deployment: DaemonDeployment,
    instances: Vec<InstanceObserved>,
    now: Timestamp,
    alarms: Vec<String>,
}

fn goal(revision: &str) -> DaemonGoal {
    DaemonGoal { revision: revision.into(), capacity_providers: vec!["own".into()], critical: true }
}

impl Model {
    fn new(instances: usize, drain_percent_hundredths: u32) -> Self {
        let scope = Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap());
        let start = Timestamp::from_millis(1_000_000);
        let daemon = Daemon {
            scope: scope.clone(),
            cluster: "default".into(),
            name: "watch".into(),
            id: "1".into(),
            status: DaemonStatus::Active,
            created_at: start,
            updated_at: start,
            goal: goal("a"),
            steady: None,
            deployment: "d".into(),
            deploying: true,
            tags: Vec::new(),
        };
        let deployment = DaemonDeployment {
            scope,
            cluster: "default".into(),
            daemon: "watch".into(),
            daemon_id: "1".into(),
            id: "d".into(),
            status: DaemonDeploymentStatus::Pending,
            status_reason: None,
            created_at: start,
            started_at: None,
            finished_at: None,
            stopped_at: None,
            target: Some(goal("a")),
            sources: Vec::new(),
            drain_percent_hundredths,
            bake_time_minutes: 0,
            alarm_names: vec!["alarm".into()],
            alarms_enabled: true,
            alarms_ignored: Vec::new(),
            alarms_triggered: Vec::new(),
            failures: 0,
            rollback_failures: 0,
            threshold: 0,
            circuit_breaker: MonitorStatus::Disabled,
            baking_since: None,
            rollback: None,
            forget_at: None,
        };
        let instance = |number: usize| InstanceObserved {
            id: format!("i{number}"),
            status: Some(ContainerInstanceStatus::Active),
            connected: true,
            capacity_provider: Some("own".into()),
            registered_at: Timestamp::from_millis(0),
            place: None,
            task: None,
            refusal: None,
        };
        let instances = (0..instances).map(instance).collect();
        Self { daemon, deployment, instances, now: start, alarms: Vec::new() }
    }

    fn deploy(&mut self, target: Option<DaemonGoal>) {
        self.now = self.now.plus_seconds(1);
        let before = Model::new(0, self.deployment.drain_percent_hundredths).deployment;
        let id = format!("{}+", self.deployment.id);
        self.daemon.deployment.clone_from(&id);
        self.daemon.deploying = true;
        if let Some(goal) = &target {
            self.daemon.goal = goal.clone();
        }
        self.deployment = DaemonDeployment { id, target, created_at: self.now, ..before };
    }

    /// One decision, done at once; the laws that hold for each.
    fn step(&mut self) -> Decision {
        let observed = Observed { instances: self.instances.clone(), alarms: self.alarms.clone() };
        let desired = Desired { daemon: &self.daemon, deployment: &self.deployment };
        let decision = decide(desired, &observed, self.now);
        let again = decide(desired, &observed, self.now);
        assert_eq!(decision.actions, again.actions, "pure");
        assert!(
            !self.deployment.status.is_final() || decision.deployment == self.deployment,
            "what has ended stays as it is"
        );
        for instance in &mut self.instances {
            instance.place =
                decision.places.iter().find(|place| place.container_instance == instance.id).cloned();
        }
        let ids: Vec<String> = self.instances.iter().map(|instance| instance.id.clone()).collect();
        for action in &decision.actions {
            let find = |id: &String| ids.iter().position(|there| there == id).unwrap();
            match action {
                Action::Start { container_instance } => {
                    let instance = &mut self.instances[find(container_instance)];
                    assert!(
                        instance.task.as_ref().is_none_or(|task| task.stopped),
                        "a second task on {container_instance}"
                    );
                    instance.task = Some(task());
                    instance.place.as_mut().unwrap().task = Some("task".into());
                }
                Action::Stop { container_instance, .. } => {
                    let index = find(container_instance);
                    self.instances[index].task.as_mut().unwrap().told_to_stop = true;
                }
                Action::Drain { container_instance, .. } => {
                    let index = find(container_instance);
                    self.instances[index].status = Some(ContainerInstanceStatus::Draining);
                }
                Action::Restore { container_instance } => {
                    let index = find(container_instance);
                    self.instances[index].status = Some(ContainerInstanceStatus::Active);
                }
                Action::Leave { container_instance } => {
                    assert!(self.instances[find(container_instance)].place.is_none());
                }
            }
        }
        self.daemon = decision.daemon.clone();
        self.deployment = decision.deployment.clone();
        decision
    }

    /// The machines carry out what they were told: starting tasks run, those told to stop have stopped.
    fn machines(&mut self) {
        let now = self.now;
        for task in self.instances.iter_mut().filter_map(|instance| instance.task.as_mut()) {
            if task.told_to_stop {
                (task.stopped, task.running) = (true, false);
            } else if !task.stopped && !task.running {
                task.running = true;
                task.started_at = Some(now);
            }
        }
    }

    fn kill(&mut self, index: usize) {
        if let Some(task) = &mut self.instances[index].task {
            (task.stopped, task.running) = (true, false);
        }
    }

    fn on(&self, revision: &str) -> usize {
        let runs = |instance: &&InstanceObserved| {
            instance.task.as_ref().is_some_and(|task| task.running)
                && instance.place.as_ref().and_then(|place| place.revision.as_deref()) == Some(revision)
        };
        self.instances.iter().filter(runs).count()
    }

    fn settle(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.step();
            self.machines();
            self.now = self.now.plus_seconds(1);
        }
        self.step();
    }
}

fn task() -> TaskObserved {
    TaskObserved {
        stopped: false,
        told_to_stop: false,
        stopped_by_user: false,
        running: false,
        unhealthy: false,
        awaits_health: false,
        started_at: None,
        reason: None,
    }
}

#[test]
fn counts() {
    assert_eq!([batch(8, 2_500), batch(3, 2_500), batch(0, 10_000), batch(7, 10_000)], [2, 1, 1, 7]);
    assert_eq!([threshold(0), threshold(7), threshold(1_000)], [3, 4, 200]);
    assert_eq!([1, 2, 3, 8, 9, 60].map(put_off_seconds), [5, 10, 20, 640, 900, 900]);
}

#[test]
fn without_instances_a_deployment_is_done_at_once() {
    let mut model = Model::new(0, 2_500);
    model.step();
    assert_eq!(model.deployment.status, DaemonDeploymentStatus::Successful);
    assert_eq!(model.daemon.steady, Some(goal("a")));
}

#[test]
fn an_alarm_rolls_back_but_not_one_that_was_there_before() {
    let mut model = Model::new(2, 10_000);
    model.alarms = vec!["alarm".into()];
    model.settle(3);
    assert_eq!(model.deployment.status, DaemonDeploymentStatus::Successful);
    model.alarms.clear();
    model.deploy(Some(goal("b")));
    model.step();
    model.alarms = vec!["alarm".into()];
    model.settle(10);
    assert_eq!(model.deployment.status, DaemonDeploymentStatus::RollbackSuccessful);
    assert_eq!(model.deployment.alarms_triggered, ["alarm"]);
    assert_eq!((model.on("a"), model.daemon.goal.revision.as_str()), (2, "a"));
}

#[test]
fn an_unhealthy_task_is_replaced_and_counts_once() {
    let mut model = Model::new(4, 2_500);
    model.settle(20);
    model.deploy(Some(goal("b")));
    model.settle(3);
    let index = model.instances.iter().position(|instance| {
        instance.place.as_ref().and_then(|place| place.revision.as_deref()) == Some("b")
    });
    let index = index.unwrap();
    model.machines();
    model.instances[index].task.as_mut().unwrap().unhealthy = true;
    model.settle(60);
    assert_eq!(model.deployment.failures, 1);
    assert_eq!(model.on("b"), 4);
    assert_eq!(model.deployment.status, DaemonDeploymentStatus::Successful);
}

#[test]
fn a_first_deployment_that_fails_everywhere_at_once_leaves_no_machine_drained() {
    let mut model = Model::new(3, 10_000);
    model.step();
    (0..3).for_each(|index| model.kill(index));
    model.settle(3);
    assert_eq!(model.deployment.status, DaemonDeploymentStatus::Stopped);
    assert!(model.instances.iter().all(|it| it.status == Some(ContainerInstanceStatus::Active)));
    assert!(model.instances.iter().all(|it| it.place.is_none()), "and nothing more is tried");
}

#[test]
fn a_machine_that_is_drained_by_hand_keeps_what_it_has() {
    let mut model = Model::new(2, 10_000);
    model.settle(3);
    model.instances[0].status = Some(ContainerInstanceStatus::Draining);
    model.deploy(Some(goal("b")));
    model.settle(10);
    assert_eq!((model.on("a"), model.on("b")), (1, 1));
    assert_eq!(model.deployment.status, DaemonDeploymentStatus::Successful);
    model.instances[0].status = Some(ContainerInstanceStatus::Active);
    model.settle(5);
    assert_eq!(model.on("b"), 2, "when it is back it gets what the others have");
    model.instances[1].status = None;
    model.kill(1);
    model.settle(2);
    assert!(model.instances[1].place.is_none(), "nothing is kept of a machine that is gone");
}

#[derive(Clone, Debug)]
enum Event {
    Kill(usize),
    Disconnect(usize),
    Connect(usize),
    Refuse(usize),
    Pass(i64),
    Deploy(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..6_usize).prop_map(Event::Kill),
        1 => (0..6_usize).prop_map(Event::Disconnect),
        1 => (0..6_usize).prop_map(Event::Connect),
        1 => (0..6_usize).prop_map(Event::Refuse),
        4 => (1..30_i64).prop_map(Event::Pass),
        1 => any::<bool>().prop_map(Event::Deploy),
    ]
}

proptest! {
    // Each case goes through twenty minutes, second by second.
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_happens_it_ends_with_one_task_on_each(
        drain in 100..10_000_u32,
        events in proptest::collection::vec(event(), 0..40),
    ) {
        let mut model = Model::new(6, drain);
        model.settle(120);
        for event in events {
            match event {
                Event::Kill(index) => model.kill(index),
                Event::Disconnect(index) => model.instances[index].connected = false,
                Event::Connect(index) => model.instances[index].connected = true,
                Event::Refuse(index) => model.instances[index].refusal = Some("RESOURCE:CPU".into()),
                Event::Pass(seconds) => model.settle(seconds),
                Event::Deploy(newer) => model.deploy(Some(goal(if newer { "c" } else { "b" }))),
            }
            model.step();
        }
        // The faults stop, and the longest put-off passes.
        for instance in &mut model.instances {
            (instance.connected, instance.refusal) = (true, None);
        }
        model.settle(1_200);
        prop_assert!(model.deployment.status.is_final());
        let steady = model.daemon.steady.clone().unwrap();
        prop_assert_eq!(model.on(&steady.revision), 6);
        prop_assert!(model.instances.iter().all(|it| it.status == Some(ContainerInstanceStatus::Active)));
        model.deploy(None);
        let mut gone = false;
        for _ in 0..60 {
            gone = gone || model.step().gone;
            if gone {
                break;
            }
            model.machines();
        }
        prop_assert!(gone && model.instances.iter().all(|it| it.place.is_none()));
    }

    #[test]
    fn a_planned_replacement_never_exceeds_the_batch(instances in 1..20_usize, drain in 100..=10_000_u32) {
        let mut model = Model::new(instances, drain);
        model.settle(3 * i64::try_from(instances).unwrap() + 3);
        prop_assert_eq!(model.on("a"), instances);
        model.deploy(Some(goal("b")));
        for _ in 0..=4 * instances {
            model.step();
            let bare = instances - model.on("a") - model.on("b");
            let stopping = model.instances.iter().filter(|it| it.task.as_ref().is_some_and(|task| task.told_to_stop && !task.stopped)).count();
            prop_assert!(bare + stopping <= batch(instances, drain), "{bare} bare, {stopping} stopping");
            model.machines();
            model.now = model.now.plus_seconds(1);
        }
        prop_assert_eq!(model.on("b"), instances);
    }
}
