//! [`Machine`]: a container instance whose agent and containers are make-believe.
//!
//! What the agent keeps on disk outlives it, and containers outlive it too, as with the real one. It keeps the real
//! one's rules: an order older than what it has seen is void, a task that has ended is reported again and never started
//! again, and what the manifest does not list is stopped only after a confirmation.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_protocol::payload::{DesiredStatus, Task as WireTask};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::link::{Link, Towards};
use crate::random::Random;
use crate::world::World;

/// How long an agent waits for an answer to a report.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries of a report.
const REPORT_AGAIN: Duration = Duration::from_secs(1);
/// Tasks on a machine's disk before old ones are forgotten, and how old those must be. The real agent's times.
const REMEMBERED: usize = 200;
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

/// What a container does, by the name of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// `app…`: serves until it is stopped.
    Serves,
    /// `crash…`: ends with 1 within seconds.
    Crashes,
    /// `nopull…`: is not in its registry.
    IsMissing,
    /// `sick…`: its health check never passes.
    IsSick,
    /// `job…`: ends with 0 within a minute.
    EndsWell,
}

impl Behaviour {
    fn of(image: &str) -> Self {
        let name = image.rsplit('/').next().unwrap_or_default();
        match name.split([':', '@', '-']).next().unwrap_or_default() {
            "crash" => Self::Crashes,
            "nopull" => Self::IsMissing,
            "sick" => Self::IsSick,
            "job" => Self::EndsWell,
            _ => Self::Serves,
        }
    }
}

/// A report that waits to be taken.
#[derive(Clone, Debug)]
struct Report {
    status: &'static str,
    reason: String,
    exit_code: Option<i32>,
}

/// How far a task's containers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waiting for the image.
    Pulling,
    /// Living, until the moment if there is one, when they end with the code.
    Up { ends: Option<(Instant, i32)> },
    /// Ended.
    Down,
}

/// What the agent has on disk of a task, and what is true of its containers.
#[derive(Debug)]
pub(crate) struct Record {
    pub cluster_arn: String,
    pub family: String,
    pub version: String,
    pub generation: u64,
    pub stop: bool,
    behaviour: Behaviour,
    containers: Vec<String>,
    /// Containers with a health check.
    pub checked: Vec<String>,
    stage: Stage,
    /// What the health check says; `None` before the first verdict.
    pub healthy: Option<bool>,
    reports: VecDeque<Report>,
    changed: Arc<Notify>,
    news: Arc<Notify>,
    accepted_at: Instant,
}

/// What outlives the agent.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub instance_arn: Option<String>,
    pub sequence_number: i64,
    pub tasks: BTreeMap<String, Record>,
}

impl Disk {
    /// Adds a task. Of those that ended long ago, the oldest known names go.
    fn remember(&mut self, arn: String, record: Record) {
        if self.tasks.len() >= REMEMBERED {
            let old = |record: &Record| {
                record.stage == Stage::Down
                    && record.reports.is_empty()
                    && record.accepted_at.elapsed() > REMEMBERED_FOR
            };
            self.tasks.retain(|_, record| !old(record));
        }
        self.tasks.insert(arn, record);
    }
}

/// What a machine has.
#[derive(Clone, Debug)]
pub struct Size {
    /// CPU units.
    pub cpu_units: i64,
    /// MiB.
    pub memory_mib: i64,
    /// GPU ids.
    pub gpu_ids: Vec<String>,
}

/// A container instance.
pub struct Machine {
    /// Its name in the transcript, such as `i-1`.
    pub name: String,
    /// Such as `a`, for `us-east-1a`.
    pub zone: String,
    /// What it has.
    pub size: Size,
    /// Its network.
    pub link: Link,
    pub(crate) disk: Mutex<Disk>,
    pub(crate) random: Mutex<Random>,
    /// Rings when a health check has a new verdict.
    pub(crate) health_changed: Notify,
    process: Mutex<Option<JoinSet<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// A machine that is off.
    pub fn new(seed: u64, name: &str, zone: &str, size: Size) -> Self {
        Self {
            name: name.to_owned(),
            zone: zone.to_owned(),
            size,
            link: Link::new(Random::fork(seed, &format!("link of {name}"))),
            disk: Mutex::default(),
            random: Mutex::new(Random::fork(seed, name)),
            health_changed: Notify::new(),
            process: Mutex::default(),
        }
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    pub(crate) fn between(&self, range: (u64, u64)) -> Duration {
        Duration::from_millis(lock(&self.random).between(range.0, range.1))
    }

    /// Its container instance ARN, once it has one.
    pub fn arn(&self) -> Option<String> {
        self.disk().instance_arn.clone()
    }

    /// Whether its agent runs.
    pub fn agent_runs(&self) -> bool {
        lock(&self.process).is_some()
    }

    /// Starts the agent, which takes up what is on disk. Nothing happens if it runs.
    pub fn start_agent(self: &Arc<Self>, world: &Arc<World>) {
        {
            let mut process = lock(&self.process);
            if process.is_some() {
                return;
            }
            *process = Some(JoinSet::new());
        }
        self.link.disturb();
        world.say(format!("  {}: the agent starts", self.name));
        let known: Vec<String> = self.disk().tasks.keys().cloned().collect();
        for arn in known {
            self.take_up(world, &arn);
        }
        self.spawn(crate::session::stay_connected(Arc::clone(world), Arc::clone(self)));
        self.spawn(crate::session::tell_health(Arc::clone(world), Arc::clone(self)));
    }

    /// Kills the agent. Containers live on.
    pub async fn kill_agent(&self, world: &World) {
        let process = lock(&self.process).take();
        if let Some(mut process) = process {
            world.say(format!("  {}: the agent is killed", self.name));
            process.shutdown().await;
            self.link.disturb();
        }
    }

    /// Takes the power away: agent and containers are gone at once. What is on disk stays.
    pub async fn cut_power(&self, world: &World) {
        world.say(format!("  {}: the power is cut", self.name));
        self.kill_agent(world).await;
        let lost: Vec<String> = {
            let mut disk = self.disk();
            let up = disk.tasks.iter_mut().filter(|(_, record)| matches!(record.stage, Stage::Up { .. }));
            up.map(|(arn, record)| {
                record.stage = Stage::Up { ends: Some((Instant::now(), 137)) };
                arn.clone()
            })
            .collect()
        };
        for arn in lost {
            world.container_ended(&arn, &self.name, 137);
        }
    }

    fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        if let Some(process) = &mut *lock(&self.process) {
            while process.try_join_next().is_some() {}
            process.spawn(job);
        }
    }

    /// Kills a task's containers from outside, as a crash does.
    pub fn crash_task(&self, arn: &str, exit_code: i32) {
        let changed = self.disk().tasks.get_mut(arn).map(|record| {
            if matches!(record.stage, Stage::Up { .. }) {
                record.stage = Stage::Up { ends: Some((Instant::now(), exit_code)) };
            }
            Arc::clone(&record.changed)
        });
        if let Some(changed) = changed {
            changed.notify_one();
        }
    }

    /// Its health check's verdict changes.
    pub fn set_health(&self, arn: &str, healthy: bool) {
        if let Some(record) = self.disk().tasks.get_mut(arn) {
            record.healthy = Some(healthy);
        }
        self.health_changed.notify_one();
    }

    /// Carries out an order about one task, as the real agent's task engine does. When it returns the order is on disk.
    pub(crate) fn order(self: &Arc<Self>, world: &Arc<World>, task: &WireTask) {
        let generation = task.roadstead.as_ref().and_then(|extension| extension.generation).unwrap_or(0);
        let stop = task.desired_status != DesiredStatus::Running;
        let mut disk = self.disk();
        if let Some(record) = disk.tasks.get_mut(&task.arn) {
            if generation < record.generation {
                drop(disk);
                world.say(format!(
                    "  {}: an outdated order about {} is ignored",
                    self.name,
                    world.short(&task.arn)
                ));
                return;
            }
            record.generation = generation;
            if record.stage == Stage::Down {
                // The control plane missed the end: it is told again.
                if record.reports.is_empty() {
                    record.reports.push_back(Report {
                        status: "STOPPED",
                        reason: String::new(),
                        exit_code: None,
                    });
                    drop(disk);
                    let report = report_all(Arc::clone(world), Arc::clone(self), task.arn.clone());
                    self.spawn(report);
                }
            } else if stop && !record.stop {
                record.stop = true;
                record.changed.notify_one();
            }
            return;
        }
        let image = task.containers.first().map(|container| container.image.as_str()).unwrap_or_default();
        let record = Record {
            cluster_arn: task.task_cluster_arn.clone().unwrap_or_default(),
            family: task.family.clone(),
            version: task.version.clone(),
            generation,
            stop,
            behaviour: Behaviour::of(image),
            containers: task.containers.iter().map(|container| container.name.clone()).collect(),
            checked: task
                .containers
                .iter()
                .filter(|container| container.health_check_type.is_some())
                .map(|container| container.name.clone())
                .collect(),
            stage: Stage::Pulling,
            healthy: None,
            reports: VecDeque::new(),
            changed: Arc::default(),
            news: Arc::default(),
            accepted_at: Instant::now(),
        };
        disk.remember(task.arn.clone(), record);
        drop(disk);
        self.take_up(world, &task.arn);
    }

    /// What the manifest does not want but this machine means to run.
    pub(crate) fn unwanted(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let disk = self.disk();
        let meant = disk.tasks.iter().filter(|(_, record)| !record.stop && record.stage != Stage::Down);
        meant.map(|(arn, _)| arn.clone()).filter(|arn| !wanted(arn)).collect()
    }

    /// Stops a task for a reason of the agent's own.
    pub(crate) fn stop(&self, arn: &str) {
        if let Some(record) = self.disk().tasks.get_mut(arn)
            && !record.stop
        {
            record.stop = true;
            record.changed.notify_one();
        }
    }

    fn take_up(self: &Arc<Self>, world: &Arc<World>, arn: &str) {
        let (world, machine) = (Arc::clone(world), Arc::clone(self));
        self.spawn(report_all(Arc::clone(&world), Arc::clone(&machine), arn.to_owned()));
        self.spawn(live(world, machine, arn.to_owned()));
    }

    fn with<T>(&self, arn: &str, f: impl FnOnce(&mut Record) -> T) -> Option<T> {
        self.disk().tasks.get_mut(arn).map(f)
    }

    fn push(&self, arn: &str, status: &'static str, reason: &str, exit_code: Option<i32>) {
        self.with(arn, |record| {
            record.reports.push_back(Report { status, reason: reason.to_owned(), exit_code });
            record.news.notify_one();
        });
    }

    /// One call of the API over this machine's network: what is lost comes out as `None`, though it may be done.
    pub(crate) async fn call(
        &self,
        world: &Arc<World>,
        operation: &str,
        body: &Value,
    ) -> Option<(u16, Value)> {
        let Some(first) = self.link.carry(Towards::ControlPlane).into_iter().min() else {
            tokio::time::sleep(CALL_TIMEOUT).await;
            return None;
        };
        tokio::time::sleep(first).await;
        let answer = world.call(operation, body.clone()).await;
        let Some(back) = self.link.carry(Towards::Agent).into_iter().min() else {
            tokio::time::sleep(CALL_TIMEOUT).await;
            return None;
        };
        tokio::time::sleep(back).await;
        answer
    }
}

/// Lives a task's life, from the stage that is on disk to its end.
async fn live(world: Arc<World>, machine: Arc<Machine>, arn: String) {
    let Some((changed, behaviour)) =
        machine.with(&arn, |record| (Arc::clone(&record.changed), record.behaviour))
    else {
        return;
    };
    let stages = world.stages();
    if machine.with(&arn, |record| record.stage) == Some(Stage::Pulling)
        && !pull(&world, &machine, &arn, &changed, behaviour).await
    {
        return;
    }
    // Up: until the containers end by themselves or are stopped.
    let health_at = Instant::now() + Duration::from_millis(stages.healthy_after_millis);
    let mut stopped_at = None;
    loop {
        let Some((stage, stop, verdict_due)) = machine.with(&arn, |record| {
            (record.stage, record.stop, !record.checked.is_empty() && record.healthy.is_none())
        }) else {
            return;
        };
        let Stage::Up { ends } = stage else { return };
        if stop && stopped_at.is_none() {
            stopped_at = Some(Instant::now() + machine.between(stages.stop_millis));
        }
        let own_end = ends.map(|(at, _)| at);
        let end = [own_end, stopped_at].into_iter().flatten().min();
        tokio::select! {
            biased;
            () = until(end) => break,
            () = until(verdict_due.then_some(health_at)) => {
                machine.set_health(&arn, behaviour != Behaviour::IsSick);
            }
            () = changed.notified() => {}
        }
    }
    let Some(Stage::Up { ends }) = machine.with(&arn, |record| record.stage) else { return };
    let by_itself = ends.filter(|(at, _)| *at <= Instant::now());
    let exit_code = by_itself.map_or(143, |(_, code)| code);
    machine.with(&arn, |record| {
        record.stage = Stage::Down;
        record.healthy = None;
    });
    if world.runs_on(&arn).is_some() {
        world.container_ended(&arn, &machine.name, exit_code);
    }
    let reason = if by_itself.is_some() { "Essential container in task exited" } else { "" };
    machine.push(&arn, "STOPPED", reason, Some(exit_code));
}

/// Pulls and starts; false where the task ended before it ran.
async fn pull(
    world: &Arc<World>,
    machine: &Arc<Machine>,
    arn: &str,
    changed: &Notify,
    behaviour: Behaviour,
) -> bool {
    let stages = world.stages();
    let ready = Instant::now() + machine.between(stages.pull_millis) + machine.between(stages.start_millis);
    while machine.with(arn, |record| record.stop) == Some(false) {
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = tokio::time::sleep_until(ready) => break,
        }
    }
    let refused = if machine.with(arn, |record| record.stop) != Some(false) {
        Some("")
    } else if behaviour == Behaviour::IsMissing {
        Some("CannotPullContainerError: pull image manifest has been retried 1 time(s): not found")
    } else {
        None
    };
    if let Some(reason) = refused {
        machine.with(arn, |record| record.stage = Stage::Down);
        machine.push(arn, "STOPPED", reason, None);
        return false;
    }
    let ends = match behaviour {
        Behaviour::Crashes => Some((machine.between((500, 3000)), 1)),
        Behaviour::EndsWell => Some((machine.between((20_000, 60_000)), 0)),
        _ if lock(&machine.random).permille(stages.crash_permille) => {
            Some((machine.between((5000, 600_000)), 1))
        }
        _ => None,
    };
    let ends = ends.map(|(after, code)| (Instant::now() + after, code));
    machine.with(arn, |record| record.stage = Stage::Up { ends });
    world.container_started(arn, &machine.name);
    machine.push(arn, "RUNNING", "", None);
    true
}

/// Submits a task's reports, in order, each until it is taken.
async fn report_all(world: Arc<World>, machine: Arc<Machine>, arn: String) {
    loop {
        let Some((report, containers, cluster, news, down)) = machine.with(&arn, |record| {
            let (first, names) = (record.reports.front().cloned(), record.containers.clone());
            let down = record.stage == Stage::Down;
            (first, names, record.cluster_arn.clone(), Arc::clone(&record.news), down)
        }) else {
            return;
        };
        let Some(report) = report else {
            if down {
                return;
            }
            news.notified().await;
            continue;
        };
        let containers: Vec<Value> = containers
            .iter()
            .map(|name| {
                let mut container = json!({"containerName": name, "status": report.status});
                if let Some(code) = report.exit_code {
                    container["exitCode"] = json!(code);
                }
                container
            })
            .collect();
        let body = json!({
            "cluster": cluster, "task": arn, "status": report.status, "reason": report.reason,
            "containers": containers,
        });
        match machine.call(&world, "SubmitTaskStateChange", &body).await {
            Some((status, _)) if status < 500 => {
                machine.with(&arn, |record| record.reports.pop_front());
            }
            _ => tokio::time::sleep(REPORT_AGAIN).await,
        }
    }
}

/// Waits until the moment; forever where there is none.
pub(crate) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
