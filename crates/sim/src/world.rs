//! [`World`]: a control plane, machines and a network between them, on a clock of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::{Clock, Ids, Scope, SeededIds};
use serde_json::{Value, json};
use store::{Options, Pause, Store};
use tokio::time::Instant;

use crate::clock::SimClock;
use crate::laws::Watcher;
use crate::machine::Machine;
use crate::plane::{Ground, Plane};
use crate::random::Random;
use crate::transcript::Transcript;

/// Stages of a task's life as data, and how often they go wrong.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// Shortest and longest pull of an image, in milliseconds.
    pub pull_millis: (u64, u64),
    /// From the pull to the started container.
    pub start_millis: (u64, u64),
    /// From the start to the first passed health check.
    pub healthy_after_millis: u64,
    /// From the stop signal to the container's end.
    pub stop_millis: (u64, u64),
    /// Of a thousand containers, how many crash by themselves within ten minutes.
    pub crash_permille: u64,
    /// Of a thousand transactions, how many take their time.
    pub slow_commit_permille: u64,
    /// How long those take at most, before the commit and after it.
    pub slow_commit_millis: u64,
}

impl Stages {
    /// Nothing goes wrong, and everything takes always the same time.
    pub const STEADY: Self = Self {
        pull_millis: (2000, 2000),
        start_millis: (200, 200),
        healthy_after_millis: 5000,
        stop_millis: (1000, 1000),
        crash_permille: 0,
        slow_commit_permille: 0,
        slow_commit_millis: 0,
    };
    /// As on real machines: one task in twenty crashes.
    pub const REAL: Self = Self {
        pull_millis: (1500, 4000),
        start_millis: (50, 500),
        healthy_after_millis: 5000,
        stop_millis: (200, 4000),
        crash_permille: 50,
        slow_commit_permille: 200,
        slow_commit_millis: 12,
    };
}

/// What really runs, whatever anyone believes.
#[derive(Debug, Default)]
struct Truth {
    /// Tasks with living containers, and where.
    running: BTreeMap<String, String>,
    /// Every task that ever had any.
    started: BTreeSet<String>,
}

/// A control plane, machines, and the network between them.
pub struct World {
    /// What it grew from.
    pub seed: u64,
    /// Its time.
    pub clock: SimClock,
    /// The control plane's disk: it outlives every life of the control plane.
    pub store: Store,
    ground: Ground,
    plane: Mutex<Option<Arc<Plane>>>,
    machines: Mutex<BTreeMap<String, Arc<Machine>>>,
    truth: Mutex<Truth>,
    stages: Mutex<Stages>,
    transcript: Mutex<Transcript>,
    violation: Mutex<Option<String>>,
    /// When the control plane last began a life.
    born_at: Mutex<Instant>,
    /// What the laws say of everything that was written.
    pub watcher: Watcher,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world with a control plane that runs, the cluster `default`, and no machine. Must be made in a runtime whose
    /// time is paused.
    pub async fn new(seed: u64, stages: Stages) -> Arc<Self> {
        let clock = SimClock::start();
        let scope =
            Scope::new("000000000000".parse().expect("an account"), "us-east-1".parse().expect("a region"));
        let pauses = Arc::new(Mutex::new((Random::fork(seed, "commits"), stages)));
        let store = Store::ephemeral(store::rows::register(Options::ephemeral().pause(pause(&pauses))));
        let ids: Arc<dyn Ids> = Arc::new(SeededIds::new(seed));
        let ground = Ground { store: store.clone(), clock: Arc::new(clock), ids, scope };
        let world = Arc::new(Self {
            seed,
            clock,
            store,
            ground,
            plane: Mutex::default(),
            machines: Mutex::default(),
            truth: Mutex::default(),
            stages: Mutex::new(stages),
            transcript: Mutex::default(),
            violation: Mutex::default(),
            born_at: Mutex::new(Instant::now()),
            watcher: Watcher::default(),
        });
        tokio::spawn(Watcher::follow(Arc::clone(&world)));
        tokio::spawn(Watcher::compare_forever(Arc::clone(&world)));
        world.start_control_plane();
        world.must("CreateCluster", json!({})).await;
        world
    }

    /// Account and region.
    pub fn scope(&self) -> &Scope {
        &self.ground.scope
    }

    /// Ids of the world's own.
    pub fn ids(&self) -> &dyn Ids {
        &*self.ground.ids
    }

    /// How long things take now.
    pub fn stages(&self) -> Stages {
        *lock(&self.stages)
    }

    /// From now on things take this long.
    pub fn set_stages(&self, stages: Stages) {
        *lock(&self.stages) = stages;
    }

    /// Adds a line to the transcript.
    pub fn say(&self, text: impl AsRef<str>) {
        lock(&self.transcript).say(self.clock.elapsed_millis(), text.as_ref());
    }

    /// What happened so far.
    pub fn transcript(&self) -> Transcript {
        lock(&self.transcript).clone()
    }

    /// A law is broken. The first time counts.
    pub fn broken(&self, law: impl Into<String>) {
        let law = law.into();
        self.say(format!("BROKEN: {law}"));
        lock(&self.violation).get_or_insert(law);
    }

    /// The first law that was broken.
    pub fn violation(&self) -> Option<String> {
        lock(&self.violation).clone()
    }

    /// The control plane's life now, if it has one.
    pub fn plane(&self) -> Option<Arc<Plane>> {
        lock(&self.plane).clone()
    }

    /// Begins a life of the control plane on what is on its disk.
    pub fn start_control_plane(self: &Arc<Self>) {
        let world = Arc::downgrade(self);
        let ended = move || {
            if let Some(world) = world.upgrade() {
                world.broken("a loop of the control plane ended by itself");
            }
        };
        let plane = Arc::new(Plane::start(&self.ground, ended));
        *lock(&self.plane) = Some(plane);
        *lock(&self.born_at) = Instant::now();
        self.say("the control plane starts");
    }

    /// Ends the control plane's life without a warning.
    pub async fn kill_control_plane(&self) {
        let plane = lock(&self.plane).take();
        if let Some(plane) = plane {
            self.say("the control plane is killed");
            plane.kill().await;
        }
    }

    /// Since when the control plane lives; `None` while it does not.
    pub fn alive_since(&self) -> Option<Instant> {
        lock(&self.plane).is_some().then(|| *lock(&self.born_at))
    }

    /// One call of the API: status and body. `None` where the control plane is not there or died meanwhile.
    pub async fn call(&self, operation: &str, body: Value) -> Option<(u16, Value)> {
        let plane = self.plane()?;
        let (status, answer) = plane.call(operation, body.to_string()).await?;
        if status >= 500 && status != 501 {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if !text.contains("changed meanwhile") {
                self.broken(format!("{operation} {body} was answered with {status}: {text}"));
            }
        }
        Some((status, serde_json::from_slice(&answer).unwrap_or(Value::Null)))
    }

    /// A call that must be answered with 200; anything else breaks the world.
    pub async fn must(&self, operation: &str, body: Value) -> Value {
        match self.call(operation, body.clone()).await {
            Some((200, answer)) => answer,
            other => {
                self.broken(format!("{operation} {body} was answered with {other:?}"));
                Value::Null
            }
        }
    }

    /// Adds a machine, whose agent starts at once.
    pub fn add_machine(self: &Arc<Self>, machine: Machine) -> Arc<Machine> {
        let machine = Arc::new(machine);
        lock(&self.machines).insert(machine.name.clone(), Arc::clone(&machine));
        machine.start_agent(self);
        machine
    }

    /// The machine called `name`.
    pub fn machine(&self, name: &str) -> Option<Arc<Machine>> {
        lock(&self.machines).get(name).cloned()
    }

    /// All machines, by name.
    pub fn machines(&self) -> Vec<Arc<Machine>> {
        lock(&self.machines).values().cloned().collect()
    }

    /// Lets time pass.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// A task's containers start on a machine: once in its life, and in one place.
    pub fn container_started(&self, task: &str, machine: &str) {
        let mut truth = lock(&self.truth);
        let elsewhere = truth.running.insert(task.to_owned(), machine.to_owned());
        let again = !truth.started.insert(task.to_owned());
        drop(truth);
        if let Some(elsewhere) = elsewhere {
            self.broken(format!("{} runs on {machine} and on {elsewhere}", self.short(task)));
        } else if again {
            self.broken(format!("{} was started a second time, on {machine}", self.short(task)));
        }
        self.say(format!("  {machine}: {} is started", self.short(task)));
    }

    /// A task's containers ended.
    pub fn container_ended(&self, task: &str, machine: &str, exit_code: i32) {
        lock(&self.truth).running.remove(task);
        self.say(format!("  {machine}: {} ended with {exit_code}", self.short(task)));
    }

    /// Where the task's containers live; `None` where they do not.
    pub fn runs_on(&self, task: &str) -> Option<String> {
        lock(&self.truth).running.get(task).cloned()
    }

    /// Tasks with living containers on a machine.
    pub fn running_on(&self, machine: &str) -> Vec<String> {
        let truth = lock(&self.truth);
        truth.running.iter().filter(|(_, there)| *there == machine).map(|(task, _)| task.clone()).collect()
    }

    /// Whether the task ever had containers.
    pub fn was_started(&self, task: &str) -> bool {
        lock(&self.truth).started.contains(task)
    }

    /// The name that the transcript gives to a task: `task-7`.
    pub fn short(&self, arn_or_id: &str) -> String {
        self.watcher.name_of(arn_or_id)
    }

    /// `now` as rows have it.
    pub fn now(&self) -> base::Timestamp {
        self.clock.now()
    }
}

fn pause(state: &Arc<Mutex<(Random, Stages)>>) -> Pause {
    let state = Arc::clone(state);
    Arc::new(move || {
        let millis = {
            let mut state = lock(&state);
            let (permille, maximum) = (state.1.slow_commit_permille, state.1.slow_commit_millis);
            if state.0.permille(permille) { state.0.between(1, maximum.max(1)) } else { 0 }
        };
        Box::pin(async move {
            if millis > 0 {
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
        })
    })
}
