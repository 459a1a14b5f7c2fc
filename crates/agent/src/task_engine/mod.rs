//! The task engine: all tasks of this node, one executor each.

mod adopt;
pub mod bridge;
pub mod connect;
pub mod container_spec;
pub mod decide;
mod executor;
pub mod health;
mod networks;
mod open_files;
pub mod plan;
pub mod record;
mod steps;
pub mod view;
pub mod volumes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_protocol::payload::{DesiredStatus, RoleCredentials, Task};
use base::{Arn, Timestamp};
use client::Client;
use engine::ContainerId;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::AgentConfig;
use crate::files::Durability;
use crate::images::Images;
use crate::logs::Logs;
use crate::seams::{ContainerEngine, TaskNetworking};
use crate::state::{StateDirectory, StateError};
use bridge::PromisedPorts;
use executor::{Command, Executor};
use plan::{PlanError, TaskPlan};
use record::{ContainerRecord, Desired, FORMAT, KnownStatus, TaskRecord, TaskStatus};
use view::TaskView;
use volumes::Volumes;

/// How long a stopped task waits for its logs to be shipped before they are thrown away.
pub const LOG_DRAIN_LIMIT: Duration = Duration::from_hours(1);
/// Orders that may wait for one task's executor.
const COMMANDS_MAXIMUM: usize = 64;
/// Tasks on one node, finished ones that are still remembered included. Ours, far above what a machine runs.
const TASKS_MAXIMUM: usize = 20_000;
/// Characters of a container's name in its Docker name.
const DOCKER_NAME_PART_MAXIMUM: usize = 64;

/// What all executors use.
pub struct Shared {
    /// Settings.
    pub config: AgentConfig,
    /// Runs containers.
    pub engine: Arc<dyn ContainerEngine>,
    /// Gives them their network.
    pub network: Arc<dyn TaskNetworking>,
    /// Their images.
    pub images: Images,
    /// Their output.
    pub logs: Logs,
    /// Their volumes.
    pub volumes: Volumes,
    /// Ports of the host that its tasks asked for by number.
    pub promised_ports: PromisedPorts,
    /// The state directory.
    pub state: StateDirectory,
    /// The control plane.
    pub client: Client,
    /// Bounds submissions under way.
    pub submissions: Semaphore,
    /// Port of loopback on which tasks of network mode `host` are answered.
    pub metadata_port: u16,
    /// Takes what tasks call through Service Connect.
    pub service_connect: connect::Connect,
    /// Rung when a container's health changed.
    pub health_changed: Notify,
}

/// Why an order was not accepted. It is not acknowledged then, and comes again.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The order cannot be written down.
    #[error(transparent)]
    State(#[from] StateError),
    /// More tasks than [`TASKS_MAXIMUM`].
    #[error("this node has too many tasks")]
    TooMany,
    /// The order names no task of the long ARN form.
    #[error(transparent)]
    Invalid(#[from] PlanError),
    /// The agent is being shut down.
    #[error("the agent is shutting down")]
    ShuttingDown,
}

/// A task of this node.
enum Entry {
    /// Its executor runs.
    Live {
        generation: u64,
        commands: mpsc::Sender<Command>,
        view: watch::Receiver<Arc<TaskView>>,
        run: JoinHandle<()>,
    },
    /// It was here and has ended.
    Finished { generation: u64 },
}

/// All tasks of this node. Cheap to clone.
#[derive(Clone)]
pub struct TaskEngine {
    shared: Arc<Shared>,
    tasks: Arc<Mutex<Tasks>>,
    roles: Arc<Mutex<HashMap<String, Role>>>,
}

#[derive(Default)]
struct Tasks {
    closed: bool,
    /// Raised by [`TaskEngine::destroy_all`]: a task that was being accepted meanwhile is not begun.
    epoch: u64,
    by_id: HashMap<String, Entry>,
}

/// Keys of a task's role, held in memory only.
#[derive(Clone, Debug)]
pub struct Role {
    /// The task.
    pub task_arn: String,
    /// Whether they are for the task's containers; the execution role's never leave the agent.
    pub application: bool,
    /// The keys.
    pub credentials: RoleCredentials,
}

impl TaskEngine {
    /// A task engine without tasks.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, tasks: Arc::default(), roles: Arc::default() }
    }

    /// What all executors use.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes up the tasks of an earlier agent, and clears away what belongs to none.
    pub async fn adopt(&self) -> Result<(), StateError> {
        let now = self.shared.config.clock.now();
        let records = self.shared.state.load(now)?;
        let listed = match self.shared.engine.list().await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::error!(error = crate::words(&error), "the engine's containers cannot be listed");
                Vec::new()
            }
        };
        let listed: BTreeMap<String, _> =
            listed.into_iter().map(|status| (status.id.to_string(), status)).collect();
        let mut known = HashSet::new();
        let mut live = HashSet::new();
        let mut attached = HashSet::new();
        let mut taken_up = Vec::new();
        for (id, mut record) in records {
            if record.finished_at.is_some() {
                let entry = Entry::Finished { generation: record.generation };
                self.tasks().by_id.insert(id, entry);
                continue;
            }
            let Some(plan) = readable_plan(&mut record) else { continue };
            let plan = Arc::new(plan);
            for runtime_id in adopt::reconcile(&plan, &mut record, &listed, now) {
                self.delete_container(&runtime_id).await;
            }
            known.extend(record.containers.iter().map(|container| container.runtime_id.clone()));
            let there = record.containers.iter().filter(|container| container.known != KnownStatus::Stopped);
            attached.extend(there.map(|container| container.runtime_id.clone()));
            attached.insert(id.clone());
            live.insert(id);
            self.shared.promised_ports.promise(&plan);
            taken_up.push((plan, record));
        }
        for (plan, record) in taken_up {
            self.take_up(plan, record).await;
        }
        for orphan in listed.keys().filter(|id| !known.contains(*id)) {
            tracing::warn!(container = orphan, "a container of no task is removed");
            self.delete_container(orphan).await;
            self.shared.images.release(orphan).await;
        }
        if let Err(error) = self.shared.network.sweep(&attached).await {
            tracing::error!(
                error = crate::words(&error),
                "network interfaces of no task could not be removed"
            );
        }
        let volumes = self.shared.volumes.clone();
        let swept = tokio::task::spawn_blocking(move || volumes.sweep(|id| live.contains(id))).await;
        if let Ok(Err(error)) = swept {
            tracing::error!(%error, "volumes of no task could not be removed");
        }
        Ok(())
    }

    async fn delete_container(&self, runtime_id: &str) {
        let Ok(id) = ContainerId::new(runtime_id) else { return };
        if let Err(error) = self.shared.engine.delete(&id).await {
            tracing::error!(
                container = runtime_id,
                error = crate::words(&error),
                "the container could not be removed"
            );
        }
    }

    async fn take_up(&self, plan: Arc<TaskPlan>, record: TaskRecord) {
        tracing::info!(task = %plan.arn, status = record.reported.as_str(), "the task is taken up again");
        let mut images = Vec::new();
        for (index, container) in record.containers.iter().enumerate() {
            let Some(container_plan) = plan.containers.get(index) else { continue };
            if container.known == KnownStatus::Stopped || container.image_digest.is_none() {
                continue;
            }
            let reference = &container_plan.message.image;
            if let Ok(image) = self.shared.images.local(reference, container.image_digest.as_deref()).await {
                images.push((index, image));
            }
        }
        let epoch = self.tasks().epoch;
        self.spawn(plan, record, images, epoch);
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out one task of a payload. When it returns `Ok` the order is on disk (or void) and may be acknowledged.
    pub async fn order(&self, task: Task) -> Result<(), OrderError> {
        let plan = TaskPlan::bare(&task)?;
        let generation = task.roadstead.as_ref().and_then(|extension| extension.generation).unwrap_or(0);
        let stop = task.desired_status != DesiredStatus::Running;
        enum Found {
            Void,
            Stop(mpsc::Sender<Command>),
            Known,
            Ended,
            New,
        }
        let found = {
            let mut tasks = self.tasks();
            if tasks.closed {
                return Err(OrderError::ShuttingDown);
            }
            let count = tasks.by_id.len();
            match tasks.by_id.get_mut(&plan.id) {
                Some(Entry::Live { generation: seen, .. } | Entry::Finished { generation: seen, .. })
                    if generation < *seen =>
                {
                    Found::Void
                }
                Some(Entry::Live { generation: seen, commands, .. }) => {
                    *seen = generation;
                    if stop { Found::Stop(commands.clone()) } else { Found::Known }
                }
                Some(Entry::Finished { .. }) => Found::Ended,
                None if count >= TASKS_MAXIMUM => return Err(OrderError::TooMany),
                None => Found::New,
            }
        };
        match found {
            Found::Void => {
                tracing::info!(task = task.arn, generation, "an outdated order is ignored");
                Ok(())
            }
            Found::Known => {
                self.take_credentials(&task);
                Ok(())
            }
            Found::Stop(commands) => self.send_stop(&commands, generation, None, stop_by(&task)).await,
            Found::Ended => {
                // The control plane missed the end, or asks for a task that it has forgotten: tell it again.
                self.tasks().by_id.remove(&plan.id);
                self.accept(task, generation, Some(String::new())).await
            }
            Found::New if stop => self.accept(task, generation, Some(String::new())).await,
            Found::New => self.accept(task, generation, None).await,
        }
    }

    async fn send_stop(
        &self,
        commands: &mpsc::Sender<Command>,
        generation: u64,
        reason: Option<String>,
        stop_by: Option<Timestamp>,
    ) -> Result<(), OrderError> {
        let (durable, done) = oneshot::channel();
        // An executor that has just ended has stopped the task already.
        if commands.send(Command::Stop { generation, reason, stop_by, durable }).await.is_ok() {
            let _ = done.await;
        }
        Ok(())
    }

    /// Writes a new task down and begins it. With `ended` it is not run: only its end is reported, with that reason.
    async fn accept(&self, task: Task, generation: u64, ended: Option<String>) -> Result<(), OrderError> {
        let now = self.shared.config.clock.now();
        let epoch = self.tasks().epoch;
        let mut ended = ended;
        let plan = match TaskPlan::read(&task) {
            Ok(plan) if ended.is_none() => plan,
            Ok(_) => TaskPlan::bare(&task)?,
            Err(error) => {
                // The spelling is the stock agent's.
                ended.get_or_insert_with(|| format!("UnrecogniedTaskError: Error loading task - {error}"));
                TaskPlan::bare(&task)?
            }
        };
        self.take_credentials(&task);
        let ids = &self.shared.config.ids;
        let containers = plan
            .containers
            .iter()
            .map(|container| {
                let short: String = container.name.chars().take(DOCKER_NAME_PART_MAXIMUM).collect();
                let docker_name = format!("ecs-{}-{}-{short}-{}", plan.family, plan.revision, ids.hex(20));
                ContainerRecord::new(&container.name, ids.hex(64), ids.uuid(), docker_name)
            })
            .collect();
        let record = TaskRecord {
            format: FORMAT,
            task: Arc::new(without_secrets(task)),
            desired: if ended.is_some() { Desired::Stopped } else { Desired::Running },
            generation,
            stop_reason: ended,
            stop_by: None,
            reported: TaskStatus::Pending,
            reports: std::collections::VecDeque::new(),
            containers,
            accepted_at: now,
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
            released: false,
            finished_at: None,
        };
        let (state, id, written) = (self.shared.state.clone(), plan.id.clone(), record.clone());
        tokio::task::spawn_blocking(move || state.save(&id, &written, Durability::Power))
            .await
            .map_err(|_| OrderError::ShuttingDown)??;
        tracing::info!(task = %plan.arn, family = plan.family, revision = plan.revision, "task accepted");
        self.spawn(Arc::new(plan), record, Vec::new(), epoch);
        Ok(())
    }

    /// Begins a task's executor.
    fn spawn(
        &self,
        plan: Arc<TaskPlan>,
        record: TaskRecord,
        images: Vec<(usize, crate::images::LocalImage)>,
        epoch: u64,
    ) {
        let (sender, commands) = mpsc::channel(COMMANDS_MAXIMUM);
        let first = TaskView {
            plan: Arc::clone(&plan),
            record: record.clone(),
            health: Vec::new(),
            image_labels: Vec::new(),
        };
        let (view, receiver) = watch::channel(Arc::new(first));
        let generation = record.generation;
        self.shared.promised_ports.promise(&plan);
        let mut executor = Executor::new(Arc::clone(&self.shared), Arc::clone(&plan), record, commands, view);
        for (index, image) in images {
            executor.adopt_image(index, image);
        }
        let (engine, id) = (self.clone(), plan.id.clone());
        let mut tasks = self.tasks();
        if tasks.closed {
            return;
        }
        if tasks.epoch != epoch {
            drop(tasks);
            let _ = self.shared.state.forget(&plan.id);
            self.shared.promised_ports.forget(&plan.id);
            return;
        }
        let run = tokio::spawn(async move {
            let record = executor.run().await;
            engine.finished(&id, record).await;
        });
        let entry = Entry::Live { generation, commands: sender, view: receiver, run };
        tasks.by_id.insert(plan.id.clone(), entry);
    }

    async fn finished(&self, id: &str, record: TaskRecord) {
        self.shared.promised_ports.forget(id);
        let (state, name) = (self.shared.state.clone(), id.to_owned());
        let (generation, arn) = (record.generation, record.task.arn.clone());
        let saved = tokio::task::spawn_blocking(move || state.save(&name, &record, Durability::Power)).await;
        if let Ok(Err(error)) = saved {
            tracing::error!(
                task = arn,
                error = crate::words(&error),
                "the end of the task could not be written"
            );
        }
        self.roles.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, role| role.task_arn != arn);
        let mut tasks = self.tasks();
        if !tasks.closed {
            tasks.by_id.insert(id.to_owned(), Entry::Finished { generation });
        }
    }

    /// Takes over the keys that an order carries. They are kept in memory only.
    fn take_credentials(&self, task: &Task) {
        let pairs = [(true, &task.role_credentials), (false, &task.execution_role_credentials)];
        let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        for (application, credentials) in pairs {
            // An order that is read back from disk has no secrets.
            if let Some(credentials) = credentials.as_ref().filter(|keys| !keys.secret_access_key.is_empty())
            {
                let role = Role { task_arn: task.arn.clone(), application, credentials: credentials.clone() };
                roles.insert(credentials.credentials_id.clone(), role);
            }
        }
    }

    /// Takes over refreshed keys; false when the task is not known here.
    pub fn refresh_credentials(
        &self,
        task_arn: &str,
        application: bool,
        credentials: RoleCredentials,
    ) -> bool {
        let known = self.view_by_arn(task_arn).is_some();
        if known {
            let role = Role { task_arn: task_arn.to_owned(), application, credentials: credentials.clone() };
            let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
            roles.insert(credentials.credentials_id, role);
        }
        known
    }

    /// The role behind a credentials id.
    pub fn role(&self, credentials_id: &str) -> Option<Role> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner).get(credentials_id).cloned()
    }

    /// All live tasks.
    pub fn views(&self) -> Vec<Arc<TaskView>> {
        let tasks = self.tasks();
        tasks
            .by_id
            .values()
            .filter_map(|entry| match entry {
                Entry::Live { view, .. } => Some(Arc::clone(&view.borrow())),
                Entry::Finished { .. } => None,
            })
            .collect()
    }

    /// A live task by id.
    pub fn view(&self, id: &str) -> Option<Arc<TaskView>> {
        match self.tasks().by_id.get(id) {
            Some(Entry::Live { view, .. }) => Some(Arc::clone(&view.borrow())),
            _ => None,
        }
    }

    fn view_by_arn(&self, arn: &str) -> Option<Arc<TaskView>> {
        let parsed: Arn = arn.parse().ok()?;
        let id = parsed.resource().rsplit('/').next()?.to_owned();
        self.view(&id).filter(|view| view.plan.arn == parsed)
    }

    /// Stops a task of this node, if it is one.
    pub async fn stop(&self, arn: &str, reason: Option<String>) {
        let commands = self.view_by_arn(arn).and_then(|view| match self.tasks().by_id.get(&view.plan.id) {
            Some(Entry::Live { commands, generation, .. }) => Some((commands.clone(), *generation)),
            _ => None,
        });
        if let Some((commands, generation)) = commands {
            let _ = self.send_stop(&commands, generation, reason, None).await;
        }
    }

    /// Leaves all tasks running and forgets about them: for the end of this process.
    pub async fn let_go(&self) {
        let entries = {
            let mut tasks = self.tasks();
            tasks.closed = true;
            std::mem::take(&mut tasks.by_id)
        };
        for entry in entries.into_values() {
            if let Entry::Live { run, .. } = entry {
                run.abort();
                let _ = run.await;
            }
        }
    }

    /// Ends every task, with SIGKILL after `grace`, and leaves no trace of any, volumes included, nor any memory of them. Nothing is
    /// reported, and logs that were not shipped are lost.
    pub async fn destroy_all(&self, grace: Duration) {
        let live: Vec<_> = {
            let mut tasks = self.tasks();
            tasks.epoch += 1;
            let entries = std::mem::take(&mut tasks.by_id);
            entries
                .into_values()
                .filter_map(|entry| match entry {
                    Entry::Live { commands, run, .. } => Some((commands, run)),
                    Entry::Finished { .. } => None,
                })
                .collect()
        };
        for (commands, _) in &live {
            let _ = commands.send(Command::Destroy { grace }).await;
        }
        for (_, run) in live {
            let _ = run.await;
        }
        let ids: Vec<String> = std::mem::take(&mut self.tasks().by_id).into_keys().collect();
        self.roles.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let (state, volumes) = (self.shared.state.clone(), self.shared.volumes.clone());
        let now = self.shared.config.clock.now();
        let removed = tokio::task::spawn_blocking(move || {
            ids.iter().try_for_each(|id| state.forget(id))?;
            state.load(now)?.keys().try_for_each(|id| state.forget(id))?;
            if let Err(error) = volumes.remove_all() {
                tracing::error!(%error, "volumes could not be removed");
            }
            Ok::<_, StateError>(())
        });
        if let Ok(Err(error)) = removed.await {
            tracing::error!(error = crate::words(&error), "the tasks' state could not be removed");
        }
    }
}

/// The plan of a task that was accepted earlier. One that this version can no longer read is taken as ended: its containers are
/// then of no task, and removed.
fn readable_plan(record: &mut TaskRecord) -> Option<TaskPlan> {
    let refused = match TaskPlan::read(&record.task) {
        Ok(plan) => return Some(plan),
        Err(error) => error,
    };
    if !record.containers.is_empty() {
        tracing::error!(task = record.task.arn, error = %refused, "the task can no longer be read and is ended");
        record.containers.clear();
        record.stop(Some(format!("UnrecogniedTaskError: Error loading task - {refused}")));
    }
    TaskPlan::bare(&record.task).ok()
}

/// When an order to stop wants nothing of the task to run any more.
fn stop_by(task: &Task) -> Option<Timestamp> {
    task.roadstead.as_ref().and_then(|extension| extension.stop_by).map(Timestamp::from_millis)
}

/// The order as it may be written down: without the keys of its roles.
fn without_secrets(mut task: Task) -> Task {
    for credentials in
        [&mut task.role_credentials, &mut task.execution_role_credentials].into_iter().flatten()
    {
        credentials.access_key_id = String::new();
        credentials.secret_access_key = String::new();
        credentials.session_token = String::new();
    }
    task
}
