//! [`Executor`]: one task's own loop. It asks [`decide`] what to do, begins the steps, and writes down how they ended.
//!
//! Nothing here chooses between steps. A crash anywhere is repaired by `adopt`: the record says what was begun, the engine
//! what came of it.

mod ending;

use std::sync::Arc;
use std::time::Duration;

use base::Timestamp;
use engine::{ContainerId, ExecSpec};
use log_driver::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::Shared;
use super::decide::{self, Action, Decision, Observed, Operation, TaskResources, Verdict};
use super::health::{Health, Outcome};
use super::networks;
use super::plan::TaskPlan;
use super::record::{Changes, KnownStatus, TaskRecord};
use super::steps::{self, Made, Making, Prepared, Step, Up};
use super::view::TaskView;
use crate::files::Durability;
use crate::images::{LocalImage, PullFailure};
use crate::reporting;

/// A container's change waits this long for others of the task, so that they are reported together.
const REPORT_DELAY: Duration = Duration::from_secs(1);
/// A stop that failed in the engine is tried again after this.
const STOP_RETRY: Duration = Duration::from_secs(1);
/// Rounds of deciding without waiting; each changes a container or begins a step, so far fewer are needed.
const ROUNDS_MAXIMUM: usize = 1000;

/// What an executor is told.
pub enum Command {
    /// Stop the task; answered once that is on disk.
    Stop {
        /// Generation of the order.
        generation: u64,
        /// Why, if the agent itself wants it.
        reason: Option<String>,
        /// When nothing of the task may run any more.
        stop_by: Option<Timestamp>,
        /// Answer.
        durable: oneshot::Sender<()>,
    },
    /// End everything, report nothing, leave no trace.
    Destroy {
        /// Before SIGKILL.
        grace: Duration,
    },
}

/// A step under way for a container.
struct Busy {
    operation: Operation,
    abort: AbortHandle,
}

/// One container's volatile half.
#[derive(Default)]
struct Volatile {
    busy: Option<Busy>,
    waiting: Option<AbortHandle>,
    checking: Option<AbortHandle>,
    health: Health,
    image: Option<LocalImage>,
    log: Option<Handle>,
    retry_at: Option<Instant>,
}

/// How far the end of the task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    Releasing,
    Cleaning,
    Cleaned,
}

/// One task's own loop.
pub struct Executor {
    shared: Arc<Shared>,
    plan: Arc<TaskPlan>,
    record: TaskRecord,
    resources: TaskResources,
    prepared: Option<Prepared>,
    volatile: Vec<Volatile>,
    steps: JoinSet<Step>,
    ending: Ending,
    /// Containers whose address and ports are being given back.
    releasing: usize,
    reporting: bool,
    report_at: Option<Instant>,
    /// A verdict changed and is not shown yet.
    health_changed: bool,
    /// Set once the task is to be ended without a trace.
    destroyed: Option<Duration>,
    /// Tells the cleaning not to wait for anything any more.
    hurry: watch::Sender<bool>,
    dirty: Option<Durability>,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<Arc<TaskView>>,
}

impl Executor {
    /// The loop of a task that was just accepted, or adopted: see [`Executor::adopt_container`].
    pub fn new(
        shared: Arc<Shared>,
        plan: Arc<TaskPlan>,
        record: TaskRecord,
        commands: mpsc::Receiver<Command>,
        view: watch::Sender<Arc<TaskView>>,
    ) -> Self {
        let volatile = record.containers.iter().map(|_| Volatile::default()).collect();
        Self {
            shared,
            plan,
            record,
            resources: TaskResources::Absent,
            prepared: None,
            volatile,
            steps: JoinSet::new(),
            ending: Ending::No,
            releasing: 0,
            reporting: false,
            report_at: None,
            health_changed: false,
            destroyed: None,
            hurry: watch::Sender::new(false),
            dirty: None,
            commands,
            view,
        }
    }

    /// Runs until the task has ended, was reported and cleaned away. Returns the record as it stands then.
    pub async fn run(mut self) -> TaskRecord {
        self.resume();
        loop {
            let wake_at = self.act();
            self.flush();
            if self.is_over() {
                break;
            }
            let sleep = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(step) = self.steps.join_next(), if !self.steps.is_empty() => {
                    // Aborted steps come back as errors; their places were cleared when they were aborted.
                    if let Ok(step) = step {
                        self.take(step);
                    }
                }
                Some(command) = self.commands.recv() => self.obey(command).await,
                () = sleep => {}
            }
        }
        self.record.finished_at = Some(self.now());
        // Only the memory of the task is kept, no more of its content.
        self.record.containers.clear();
        self.record.reports.clear();
        self.record
    }

    fn now(&self) -> Timestamp {
        self.shared.config.clock.now()
    }

    fn is_over(&self) -> bool {
        self.ending == Ending::Cleaned
            && (self.destroyed.is_some() || (self.record.reports.is_empty() && !self.reporting))
    }

    /// Takes up what an earlier agent left: waits for what runs, ships what was not shipped.
    fn resume(&mut self) {
        for index in 0..self.record.containers.len() {
            let (known, in_engine) = {
                let container = &self.record.containers[index];
                (container.known, container.in_engine)
            };
            if known == KnownStatus::Running {
                if let Some(volatile) = self.volatile.get_mut(index) {
                    volatile.health = Health::known(self.record.containers[index].healthy);
                }
                self.watch_container(index);
            }
            if in_engine && let Some(log) = self.configured_log(index) {
                self.ship(index, log);
            }
        }
        self.dirty = Some(Durability::Process);
    }

    fn configured_log(&self, index: usize) -> Option<log_driver::ContainerLog> {
        let (plan, record) = (self.plan.containers.get(index)?, self.record.containers.get(index)?);
        self.shared.logs.configure(&self.plan, plan, record).ok()?.shipped
    }

    /// Decides and begins until there is nothing more to begin. Returns when to look again.
    fn act(&mut self) -> Option<Instant> {
        for _ in 0..ROUNDS_MAXIMUM {
            let now = self.now();
            let decision = self.decide(now);
            let mut changed = false;
            for action in decision.actions {
                changed |= self.begin(action);
            }
            if !changed {
                let waits =
                    self.volatile.iter().filter_map(|volatile| volatile.retry_at).chain(self.report_at);
                let limit = decision.wake_at.map(|at| {
                    let millis = u64::try_from(at.since_millis(now)).unwrap_or(0);
                    // A moment later rather than earlier: the limit must be over when we look.
                    Instant::now() + Duration::from_millis(millis + 1)
                });
                return waits.chain(limit).min();
            }
        }
        tracing::error!(task = %self.plan.arn, "deciding does not come to an end");
        Some(Instant::now() + STOP_RETRY)
    }

    fn decide(&self, now: Timestamp) -> Decision {
        let operations: Vec<_> =
            self.volatile.iter().map(|volatile| volatile.busy.as_ref().map(|busy| busy.operation)).collect();
        let health: Vec<Verdict> = self.volatile.iter().map(|volatile| volatile.health.verdict).collect();
        let observed = Observed {
            plan: &self.plan,
            record: &self.record,
            resources: self.resources,
            operations: &operations,
            health: &health,
        };
        decide::decide(&observed, now)
    }

    /// Begins an action. Returns whether what was observed is different now.
    fn begin(&mut self, action: Action) -> bool {
        match action {
            Action::PrepareResources => {
                self.resources = TaskResources::Preparing;
                let containers = networks::to_be_attached(&self.plan, &self.record);
                let (shared, plan) = (Arc::clone(&self.shared), Arc::clone(&self.plan));
                let mut known = self.record.containers.iter();
                let runs = known.any(|container| container.known == KnownStatus::Running);
                self.steps.spawn(networks::prepare(shared, plan, containers, runs));
                true
            }
            Action::Pull(index) => self.begin_pull(index),
            Action::Create(index) => self.begin_making(index, Operation::Creating),
            Action::Restart(index) => self.begin_making(index, Operation::Starting),
            Action::Start(index) => {
                let Some(id) = self.id(index) else { return false };
                let step = steps::start(Arc::clone(&self.shared), Arc::clone(&self.plan), index, id);
                self.occupy(index, Operation::Starting, step);
                true
            }
            Action::Stop(index) => self.begin_stop(index),
            Action::GiveUp { container, reason } => {
                self.give_up(container, reason);
                true
            }
            Action::StopTask { reason } => {
                tracing::info!(task = %self.plan.arn, reason, "the task stops");
                self.record.stop(Some(reason));
                self.dirty = Some(Durability::Process);
                true
            }
            Action::Finish => self.finish(),
        }
    }

    fn id(&self, index: usize) -> Option<ContainerId> {
        ContainerId::new(self.record.containers.get(index)?.runtime_id.clone()).ok()
    }

    fn occupy(
        &mut self,
        index: usize,
        operation: Operation,
        step: impl Future<Output = Step> + Send + 'static,
    ) {
        let abort = self.steps.spawn(step);
        if let Some(volatile) = self.volatile.get_mut(index) {
            volatile.busy = Some(Busy { operation, abort });
        }
    }

    fn begin_pull(&mut self, index: usize) -> bool {
        let (Some(plan), Some(container)) =
            (self.plan.containers.get(index), self.record.containers.get(index))
        else {
            return false;
        };
        let (reference, holder) = (plan.message.image.clone(), container.runtime_id.clone());
        let now = self.now();
        self.record.pull_started_at.get_or_insert(now);
        let step = steps::pull(Arc::clone(&self.shared), index, reference, holder);
        self.occupy(index, Operation::Pulling, step);
        true
    }

    fn begin_making(&mut self, index: usize, operation: Operation) -> bool {
        let images = |index: usize| self.volatile.get(index)?.image.as_ref();
        let links = match networks::links(&self.plan, &self.record, index, images) {
            Ok(links) => links,
            Err(reason) => {
                self.failed(index, reason);
                return true;
            }
        };
        let making = (|| {
            Some(Making {
                plan: Arc::clone(&self.plan),
                index,
                record: self.record.containers.get(index)?.clone(),
                image: self.volatile.get(index)?.image.clone()?,
                prepared: self.prepared.clone()?,
                links,
                credentials_id: self
                    .record
                    .task
                    .role_credentials
                    .as_ref()
                    .map(|role| role.credentials_id.clone()),
            })
        })();
        let (Some(making), Some(id)) = (making, self.id(index)) else {
            // An adopted container whose image is gone, or whose task's resources are: pulled or prepared anew first.
            return self.lacking(index);
        };
        let shared = Arc::clone(&self.shared);
        if let Some(container) = self.record.containers.get_mut(index) {
            container.in_engine = true;
            if operation == Operation::Starting {
                container.restart_count = container.restart_count.saturating_add(1);
                container.restart_due = false;
            }
        }
        // The engine may hold something under this id from here on: a restarted agent must know.
        self.save(Durability::Process);
        if operation == Operation::Starting {
            let log = self.volatile.get_mut(index).and_then(|volatile| volatile.log.take());
            self.occupy(index, operation, steps::restart(shared, making, id, log));
        } else {
            self.occupy(index, operation, steps::create(shared, making));
        }
        true
    }

    /// What a container needs to be made is not at hand.
    fn lacking(&mut self, index: usize) -> bool {
        if self.prepared.is_none() && self.resources != TaskResources::Preparing {
            return self.begin(Action::PrepareResources);
        }
        if self.volatile.get(index).is_some_and(|volatile| volatile.image.is_none()) {
            return self.begin_pull(index);
        }
        false
    }

    /// Writes down how a step ended.
    fn take(&mut self, step: Step) {
        match step {
            Step::Prepared(Ok(prepared)) => {
                for (index, network) in &prepared.containers {
                    if let Some(container) = self.record.containers.get_mut(*index) {
                        container.address = Some(network.address);
                    }
                }
                self.prepared = Some(prepared);
                self.resources = TaskResources::Ready;
            }
            Step::Prepared(Err(reason)) => {
                tracing::warn!(task = %self.plan.arn, reason, "the task's resources could not be made");
                self.resources = TaskResources::Absent;
                self.record.stop(Some(reason));
            }
            Step::Pulled(index, outcome) => self.pulled(index, outcome),
            Step::Created(index, outcome) => self.created(index, outcome),
            Step::Started(index, outcome) => self.started(index, outcome),
            Step::Exited(index, outcome) => self.exited(index, outcome),
            Step::StopSent(index, outcome) => self.stop_sent(index, outcome),
            Step::Checked(index, outcome) => self.checked(index, outcome),
            Step::Reported => {
                self.record.reports.pop_front();
                self.reporting = false;
            }
            Step::ContainerReleased => self.releasing = self.releasing.saturating_sub(1),
            Step::Released => {
                self.record.released = true;
                self.ending = Ending::No;
            }
            Step::Cleaned => self.ending = Ending::Cleaned,
        }
        self.dirty.get_or_insert(Durability::Process);
    }

    fn free(&mut self, index: usize) -> bool {
        self.volatile.get_mut(index).and_then(|volatile| volatile.busy.take()).is_some()
    }

    fn pulled(&mut self, index: usize, outcome: Result<Box<LocalImage>, PullFailure>) {
        let now = self.now();
        if !self.free(index) {
            return;
        }
        match outcome {
            Ok(image) => {
                let Some(container) = self.record.containers.get_mut(index) else { return };
                container.known = container.known.max(KnownStatus::Pulled);
                container.image_digest = Some(image.image.manifest_digest.clone());
                container.image_id = Some(image.image.image_id.clone());
                if let Some(volatile) = self.volatile.get_mut(index) {
                    volatile.image = Some(*image);
                }
                self.record.pull_stopped_at = Some(now);
            }
            Err(failure) => {
                self.record.pull_stopped_at = Some(now);
                self.failed(index, failure.0);
            }
        }
    }

    fn created(&mut self, index: usize, outcome: Result<Box<Made>, String>) {
        self.free(index);
        match outcome {
            Ok(made) => {
                if let Some(container) = self.record.containers.get_mut(index) {
                    container.known = KnownStatus::Created;
                    container.created_at = Some(made.created.created_at);
                }
                if let Some(log) = made.log {
                    self.ship(index, log);
                }
            }
            Err(reason) => self.failed(index, reason),
        }
    }

    fn ship(&mut self, index: usize, log: log_driver::ContainerLog) {
        let handle = self.shared.logs.ship(log);
        match (handle, self.volatile.get_mut(index)) {
            (Ok(handle), Some(volatile)) => volatile.log = Some(handle),
            (Err(error), _) => {
                tracing::error!(task = %self.plan.arn, %error, "a container's log cannot be shipped");
            }
            (Ok(_), None) => {}
        }
    }

    fn started(&mut self, index: usize, outcome: Result<Up, String>) {
        self.free(index);
        match outcome {
            Ok(Up { started, published }) => {
                if let Some(container) = self.record.containers.get_mut(index) {
                    container.known = KnownStatus::Running;
                    container.started_at = Some(started.started_at);
                    container.pid = Some(started.pid);
                    container.published = published;
                    container.finished_at = None;
                    container.exit_code = None;
                    container.healthy = None;
                }
                if let Some(volatile) = self.volatile.get_mut(index) {
                    volatile.health = Health::default();
                }
                // A container that was started again: the shipping of its last life has come to its end.
                if self.volatile.get(index).is_some_and(|volatile| volatile.log.is_none())
                    && let Some(log) = self.configured_log(index)
                {
                    self.ship(index, log);
                }
                self.watch_container(index);
            }
            Err(reason) => self.failed(index, reason),
        }
    }

    /// Waits for a running container's end, and checks its health.
    fn watch_container(&mut self, index: usize) {
        let Some(id) = self.id(index) else { return };
        let waiting = self.steps.spawn(steps::wait(Arc::clone(&self.shared), index, id));
        if let Some(volatile) = self.volatile.get_mut(index) {
            volatile.waiting = Some(waiting);
        }
        self.check_health(index);
    }

    fn check_health(&mut self, index: usize) {
        let (Some(id), Some(plan)) = (self.id(index), self.plan.containers.get(index)) else { return };
        let Some(check) = &plan.health_check else { return };
        let spec = ExecSpec::new(check.arguments.clone(), check.timeout);
        let step = steps::check(Arc::clone(&self.shared), index, id, check.interval, spec);
        let checking = self.steps.spawn(step);
        if let Some(volatile) = self.volatile.get_mut(index) {
            volatile.checking = Some(checking);
        }
    }

    fn checked(&mut self, index: usize, outcome: Outcome) {
        let now = self.now();
        let started_at = self.record.containers.get(index).and_then(|container| container.started_at);
        let running = self
            .record
            .containers
            .get(index)
            .is_some_and(|container| container.known == KnownStatus::Running);
        let (Some(volatile), Some(plan)) = (self.volatile.get_mut(index), self.plan.containers.get(index))
        else {
            return;
        };
        let Some(check) = &plan.health_check else { return };
        if volatile.health.take(outcome, check, started_at, now) {
            self.health_changed = true;
            let healthy = volatile.health.to_keep();
            if let Some(container) = self.record.containers.get_mut(index) {
                container.healthy = healthy;
            }
        }
        volatile.checking = None;
        if running {
            self.check_health(index);
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Stop { generation, reason, stop_by, durable } => {
                self.record.generation = self.record.generation.max(generation);
                self.record.stop_by = stop_by.or(self.record.stop_by);
                self.record.stop(reason);
                // On disk before it is acknowledged, but the signal need not wait for that.
                self.act();
                self.save_durably().await;
                let _ = durable.send(());
            }
            Command::Destroy { grace } => {
                self.destroyed = Some(grace);
                self.hurry.send_replace(true);
                self.record.stop(None);
                for volatile in &mut self.volatile {
                    if let Some(busy) = volatile.busy.take_if(|busy| busy.operation == Operation::Stopping) {
                        busy.abort.abort();
                    }
                    if let Some(log) = volatile.log.take() {
                        log.stop();
                    }
                }
            }
        }
    }

    /// Writes, shows and reports what has changed.
    fn flush(&mut self) {
        match self.record.changes() {
            Changes::None => {}
            Changes::Urgent => self.note_changes(),
            Changes::Some => match self.report_at {
                Some(at) if Instant::now() >= at => self.note_changes(),
                Some(_) => {}
                None => self.report_at = Some(Instant::now() + REPORT_DELAY),
            },
        }
        if !self.reporting
            && self.destroyed.is_none()
            && let Some(report) = self.record.reports.front()
        {
            self.reporting = true;
            let (shared, plan, report) = (Arc::clone(&self.shared), Arc::clone(&self.plan), report.clone());
            self.steps.spawn(async move {
                reporting::submit(&shared, &plan, &report).await;
                Step::Reported
            });
        }
        if let Some(durability) = self.dirty.take() {
            self.save(durability);
        }
        self.publish();
    }

    fn note_changes(&mut self) {
        self.report_at = None;
        self.record.note_changes();
        self.dirty.get_or_insert(Durability::Process);
    }

    fn save(&mut self, durability: Durability) {
        if self.destroyed.is_some() {
            return;
        }
        if let Err(error) = self.shared.state.save(&self.plan.id, &self.record, durability) {
            // The task goes on: with a full disk nothing running may be touched.
            tracing::error!(task = %self.plan.arn, error = crate::words(&error), "the task's state could not be written");
        }
    }

    /// Writes to the disk itself, on another thread: a disk that is slow must not hold up other tasks.
    async fn save_durably(&mut self) {
        if self.destroyed.is_some() {
            return;
        }
        self.dirty = None;
        let (state, id, record) = (self.shared.state.clone(), self.plan.id.clone(), self.record.clone());
        let saved = tokio::task::spawn_blocking(move || state.save(&id, &record, Durability::Power)).await;
        if let Ok(Err(error)) = saved {
            tracing::error!(task = %self.plan.arn, error = crate::words(&error), "the task's state could not be written");
        }
    }

    fn publish(&mut self) {
        let health = self.volatile.iter().map(|volatile| volatile.health.clone()).collect();
        let labels = |image: &LocalImage| image.image.config.labels.clone();
        let image_labels = self
            .volatile
            .iter()
            .map(|volatile| volatile.image.as_ref().map(labels).unwrap_or_default())
            .collect();
        self.view.send_replace(Arc::new(TaskView {
            plan: Arc::clone(&self.plan),
            record: self.record.clone(),
            health,
            image_labels,
        }));
        // Only now: whoever is woken looks at the view.
        if std::mem::take(&mut self.health_changed) {
            self.shared.health_changed.notify_one();
        }
    }

    /// Gives an adopted container its image.
    pub fn adopt_image(&mut self, index: usize, image: LocalImage) {
        if let Some(volatile) = self.volatile.get_mut(index) {
            volatile.image = Some(image);
        }
    }
}
