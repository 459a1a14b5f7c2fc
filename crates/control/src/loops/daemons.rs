//! Keeps every managed daemon on its container instances: gathers what there is of it, decides, and writes what is to be
//! done in one conditional transaction.
//!
//! A change of a daemon, of one of its tasks or of a container instance of its capacity providers wakes it; a moment that
//! its decision names does too, and a slow scan stands behind. Beside, what is deleted goes when its time has come: daemon
//! task definitions that nothing refers to, and what is left of daemons that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::Timestamp;
use domain::{
    ContainerInstance, ContainerInstanceStatus, Daemon, DaemonDeployment, DaemonPlace, DaemonRevision,
    DaemonTaskDefinition, DaemonTaskDefinitionStatus, GROUP_DAEMON, HealthStatus, OutboxMessage, OutboxOrder,
    StopCode, Task, TaskStatus,
};
use ecs::launch;
use futures_util::StreamExt as _;
use scheduler::daemon::{Action, Decision, Desired, InstanceObserved, Observed, TaskObserved, decide};
use scheduler::task_lifecycle::{request_stop, was_handed_out};
use store::rows::{TASKS_BY_TASK_DEFINITION, task_key};
use store::rows_daemon::{
    DAEMON_DEPLOYMENTS_FORGET, DAEMON_REVISIONS_BY_TASK_DEFINITION, DAEMON_REVISIONS_FORGET,
    DAEMON_TASK_DEFINITIONS_DELETING, DAEMONS_BY_CAPACITY_PROVIDER, daemon_key, of_daemon, of_daemon_key,
};
use store::{Change, Key, Prefix, Row as _, Snapshot, Transaction, Versioned};
use wire::Fault;

use crate::Control;
use crate::seams::AlarmState;

/// Daemons that are worked on at once: their transactions share disk writes.
const AT_ONCE: usize = 16;
/// Every daemon is looked at this often, changed or not.
const SLOW_SCAN_SECONDS: i64 = 600;
/// While a deployment with alarms is under way they are asked this often: alarms have no change feed.
const ALARMS_SECONDS: i64 = 5;
/// A pause after a pass that could not be written.
const FAILED_SECONDS: i64 = 1;
/// Changes that come within this time are looked at together.
const GATHER_CHANGES: Duration = Duration::from_millis(5);
/// Seconds for which deployments and revisions of a daemon that is gone, and DELETED task definitions, can be described.
const LINGER_SECONDS: i64 = 3600;
/// Rows that one sweep removes.
const SWEEP: usize = 200;

/// Follows the store: each daemon that something happened to is looked at.
pub async fn run(control: Control) {
    loop {
        let snapshot = control.store.snapshot();
        let mut feed = control.store.changes(snapshot.version());
        let mut mind = Mind::default();
        mind.everything(&snapshot);
        drop(snapshot);
        let mut scanned_at = control.clock.now();
        loop {
            mind.work(&control).await;
            let now = control.clock.now();
            let scan_at = scanned_at.plus_seconds(SLOW_SCAN_SECONDS);
            let due = mind.timers.values().chain(&mind.sweep_at).min().copied();
            let due = due.map_or(scan_at, |at| at.min(scan_at));
            let wait = if mind.dirty.is_empty() { due.since_millis(now).max(1) } else { 0 };
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or_default());
            tokio::select! {
                biased;
                change = feed.next() => match change {
                    Ok(batch) => {
                        mind.take(&control.store.snapshot(), &batch.changes);
                        tokio::time::sleep(GATHER_CHANGES).await;
                    }
                    Err(lagged) => {
                        tracing::debug!(%lagged, "daemons start again from a snapshot");
                        break;
                    }
                },
                () = tokio::time::sleep(wait) => {}
            }
            let snapshot = control.store.snapshot();
            while let Ok(Some(batch)) = feed.try_next() {
                mind.take(&snapshot, &batch.changes);
            }
            let now = control.clock.now();
            if now >= scan_at {
                scanned_at = now;
                mind.everything(&snapshot);
            }
            mind.ring(now);
        }
    }
}

/// What the loop keeps in mind. All of it can be lost: a first pass over every daemon finds it again.
#[derive(Debug, Default)]
struct Mind {
    /// Daemons to look at now.
    dirty: BTreeSet<Key>,
    /// When to look at a daemon though nothing changes: at most one entry each.
    timers: BTreeMap<Key, Timestamp>,
    /// Whether something that was deleted may go now.
    sweep: bool,
    /// When something that was deleted may go.
    sweep_at: Option<Timestamp>,
}

impl Mind {
    fn everything(&mut self, snapshot: &Snapshot) {
        self.dirty.extend(snapshot.scan::<Daemon>(Prefix::everything(), None).map(|row| row.key()));
        self.sweep = true;
    }

    fn ring(&mut self, now: Timestamp) {
        let due = self.timers.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone());
        self.dirty.extend(due.collect::<Vec<_>>());
        self.sweep |= self.sweep_at.is_some_and(|at| at <= now);
    }

    /// Notes which daemons a change touches.
    fn take(&mut self, snapshot: &Snapshot, changes: &[Change]) {
        for change in changes {
            if let Some(daemon) = change.of::<Daemon>() {
                self.sweep |= daemon.after.is_none();
                if daemon.after.is_some() {
                    self.dirty.insert(change.key.clone());
                }
            } else if let Some(task) = change.of::<Task>() {
                let task = task.after.or(task.before);
                let name = task.as_ref().and_then(|task| task.group.strip_prefix(GROUP_DAEMON));
                if let (Some(task), Some(name)) = (&task, name) {
                    self.dirty.insert(daemon_key(&task.scope, &task.cluster, name));
                    self.sweep |= task.last_status == TaskStatus::Stopped;
                }
            } else if let Some(instance) = change.of::<ContainerInstance>() {
                for row in [instance.before, instance.after].into_iter().flatten() {
                    self.take_instance(snapshot, &row);
                }
            } else if let Some(definition) = change.of::<DaemonTaskDefinition>() {
                self.sweep |=
                    definition.after.is_some_and(|row| row.status != DaemonTaskDefinitionStatus::Active);
            }
        }
    }

    fn take_instance(&mut self, snapshot: &Snapshot, instance: &ContainerInstance) {
        let Some(provider) = &instance.capacity_provider else { return };
        let (account, region) = (instance.scope.account.as_str(), instance.scope.region.as_str());
        let parts = [account, region, instance.cluster.as_str(), provider.as_str()];
        let daemons = snapshot.index::<Daemon>(DAEMONS_BY_CAPACITY_PROVIDER, &parts, None);
        self.dirty.extend(daemons.map(|row| row.key()));
    }

    async fn work(&mut self, control: &Control) {
        let dirty = std::mem::take(&mut self.dirty);
        let passes = dirty.into_iter().map(|key| async move {
            let now = control.clock.now();
            let done = control.store.update(|snapshot| pass(control, snapshot, &key, now));
            match done.await {
                Ok(wake_at) => (key, wake_at),
                Err(error) => {
                    tracing::warn!(%error, ?key, "a daemon waits for its next turn");
                    (key, Some(now.plus_seconds(FAILED_SECONDS)))
                }
            }
        });
        let done: Vec<(Key, Option<Timestamp>)> =
            futures_util::stream::iter(passes).buffered(AT_ONCE).collect().await;
        for (key, wake_at) in done {
            match wake_at {
                Some(at) => self.timers.insert(key, at),
                None => self.timers.remove(&key),
            };
        }
        if std::mem::take(&mut self.sweep) {
            let now = control.clock.now();
            let done = control.store.update(|snapshot| Ok::<_, Fault>(sweep(snapshot, now)));
            self.sweep_at = match done.await {
                Ok(at) => at,
                Err(error) => {
                    tracing::warn!(%error, "what was deleted stays for now");
                    Some(now.plus_seconds(FAILED_SECONDS))
                }
            };
        }
    }
}

/// One pass over one daemon: what there is, what to do, and the transaction that does it.
fn pass(
    control: &Control,
    snapshot: &Snapshot,
    key: &Key,
    now: Timestamp,
) -> Result<(Transaction, Option<Timestamp>), Fault> {
    let mut transaction = Transaction::new();
    let Some(row) = snapshot.get::<Daemon>(key) else { return Ok((transaction, None)) };
    let deployment_key = of_daemon_key(&row.scope, &row.cluster, &row.name, &row.deployment);
    let Some(deployment) = snapshot.get::<DaemonDeployment>(&deployment_key) else {
        tracing::error!(daemon = %row.arn(), "a daemon without its deployment");
        return Ok((transaction, None));
    };
    let gathered = Gathered::of(control, snapshot, &row, &deployment)?;
    let decision = decide(Desired { daemon: &row, deployment: &deployment }, &gathered.observed, now);
    let mut wake_at = decision.wake_at;
    if row.deploying && deployment.alarms_enabled && !decision.deployment.status.is_final() {
        let ask_at = now.plus_seconds(ALARMS_SECONDS);
        wake_at = Some(wake_at.map_or(ask_at, |at| at.min(ask_at)));
    }
    // Whatever a caller changes meanwhile, the pass is void.
    transaction.require_unchanged(&row);
    transaction.require_unchanged(&deployment);
    Apply { control, snapshot, now, row: &row, gathered: &gathered }.apply(&mut transaction, &decision)?;
    write(snapshot, &mut transaction, &row, &deployment, decision, now);
    gathered.learn_digests(snapshot, &mut transaction, &row);
    Ok((transaction, wake_at))
}

/// What there is of a daemon.
struct Gathered {
    observed: Observed,
    instances: BTreeMap<String, Versioned<ContainerInstance>>,
    places: BTreeMap<String, Versioned<DaemonPlace>>,
    tasks: BTreeMap<String, Versioned<Task>>,
    /// What the goal's tasks are started from.
    launch: Option<(launch::Launch, Versioned<DaemonTaskDefinition>)>,
}

impl Gathered {
    fn of(
        control: &Control,
        snapshot: &Snapshot,
        row: &Daemon,
        deployment: &DaemonDeployment,
    ) -> Result<Self, Fault> {
        let prefix = of_daemon(&row.scope, &row.cluster, &row.name);
        let places: BTreeMap<String, Versioned<DaemonPlace>> = snapshot
            .scan::<DaemonPlace>(prefix, None)
            .map(|place| (place.container_instance.clone(), place))
            .collect();
        let mut tasks = BTreeMap::new();
        for (id, place) in &places {
            let task = place.task.as_ref().map(|task| task_key(&row.scope, &row.cluster, task));
            if let Some(task) = task.and_then(|key| snapshot.get::<Task>(&key)) {
                tasks.insert(id.clone(), task);
            }
        }
        let goal = if row.deploying { deployment.goal() } else { row.steady.as_ref() };
        let ours = |instance: &ContainerInstance| {
            instance.status != ContainerInstanceStatus::Inactive
                && instance
                    .capacity_provider
                    .as_ref()
                    .is_some_and(|name| goal.is_some_and(|goal| goal.capacity_providers.contains(name)))
        };
        let instances: BTreeMap<String, Versioned<ContainerInstance>> = snapshot
            .scan::<ContainerInstance>(Key::prefix(&row.scope, &[&row.cluster]), None)
            .filter(|instance| places.contains_key(&instance.id) || ours(instance))
            .map(|instance| (instance.id.clone(), instance))
            .collect();
        let revision = goal.and_then(|goal| {
            let key = of_daemon_key(&row.scope, &row.cluster, &row.name, &goal.revision);
            snapshot.get::<DaemonRevision>(&key)
        });
        let launch =
            revision.map(|revision| launch::daemon::prepare(snapshot, row, &revision)).transpose()?;
        let ids: BTreeSet<&String> = instances.keys().chain(places.keys()).collect();
        let observe = |id: &String| InstanceObserved {
            id: id.clone(),
            status: instances
                .get(id)
                .map(|row| row.status)
                .filter(|it| *it != ContainerInstanceStatus::Inactive),
            connected: instances.get(id).is_some_and(|row| row.agent_connected),
            capacity_provider: instances.get(id).and_then(|row| row.capacity_provider.clone()),
            registered_at: instances.get(id).map(|row| row.registered_at).unwrap_or_default(),
            place: places.get(id).map(|place| DaemonPlace::clone(place)),
            task: tasks.get(id).map(|task| observe_task(task)),
            refusal: instances.get(id).filter(|_| !is_taken(tasks.get(id))).and_then(|instance| {
                launch.as_ref().and_then(|(launch, _)| launch::daemon::refusal_of(snapshot, launch, instance))
            }),
        };
        let instances_observed = ids.into_iter().map(observe).collect();
        let alarms = deployment.alarm_names.iter().filter(|name| {
            row.deploying
                && deployment.alarms_enabled
                && control.seams.alarms.state(&row.scope, name) == AlarmState::Alarm
        });
        let observed = Observed { instances: instances_observed, alarms: alarms.cloned().collect() };
        Ok(Self { observed, instances, places, tasks, launch })
    }

    /// Images are learned from the tasks that pulled them.
    fn learn_digests(&self, snapshot: &Snapshot, transaction: &mut Transaction, row: &Daemon) {
        let mut done = BTreeSet::new();
        for (id, task) in &self.tasks {
            let Some(revision) = self.places.get(id).and_then(|place| place.value.revision.as_ref()) else {
                continue;
            };
            if task.last_status != TaskStatus::Running || !done.insert(revision) {
                continue;
            }
            let key = of_daemon_key(&row.scope, &row.cluster, &row.name, revision);
            let Some(there) = snapshot.get::<DaemonRevision>(&key) else { continue };
            let mut next = DaemonRevision::clone(&there);
            for image in next.container_images.iter_mut().filter(|image| image.digest.is_none()) {
                image.digest = task.container(&image.container).and_then(|it| it.image_digest.clone());
            }
            if next != *there.value {
                transaction.replace(&there, next);
            }
        }
    }
}

fn is_taken(task: Option<&Versioned<Task>>) -> bool {
    task.is_some_and(|task| task.last_status != TaskStatus::Stopped)
}

fn observe_task(task: &Task) -> TaskObserved {
    let unknown = task.health_status == HealthStatus::Unknown;
    TaskObserved {
        stopped: task.last_status == TaskStatus::Stopped,
        told_to_stop: task.desired_status == domain::DesiredStatus::Stopped,
        stopped_by_user: task.stop_code == Some(StopCode::UserInitiated),
        running: task.last_status == TaskStatus::Running,
        unhealthy: task.health_status == HealthStatus::Unhealthy,
        awaits_health: unknown
            && task.containers.iter().any(|container| container.essential && container.has_health_check),
        started_at: task.times.started_at,
        reason: task.stopped_reason.clone().map(|reason| with_container_reason(task, reason)),
    }
}

/// The task's reason, and the first reason that a container of it has.
fn with_container_reason(task: &Task, reason: String) -> String {
    match task.containers.iter().find_map(|container| container.reason.as_deref()) {
        Some(why) if !reason.contains(why) => format!("{reason}: {why}"),
        _ => reason,
    }
}

struct Apply<'a> {
    control: &'a Control,
    snapshot: &'a Snapshot,
    now: Timestamp,
    row: &'a Daemon,
    gathered: &'a Gathered,
}

impl Apply<'_> {
    fn apply(&self, transaction: &mut Transaction, decision: &Decision) -> Result<(), Fault> {
        let mut started: BTreeMap<String, String> = BTreeMap::new();
        // What becomes of an instance's row: one write each, whatever asks for it.
        let mut statuses: BTreeMap<String, (ContainerInstanceStatus, Option<String>)> = BTreeMap::new();
        for action in &decision.actions {
            match action {
                Action::Start { container_instance } => {
                    if let Some(task) = self.start(transaction, container_instance)? {
                        started.insert(container_instance.clone(), task);
                    }
                }
                Action::Stop { container_instance, reason } => {
                    self.stop(transaction, container_instance, reason);
                }
                Action::Drain { container_instance, reason } => {
                    let status = (ContainerInstanceStatus::Draining, Some(reason.clone()));
                    statuses.insert(container_instance.clone(), status);
                }
                Action::Restore { container_instance } => {
                    statuses.insert(container_instance.clone(), (ContainerInstanceStatus::Active, None));
                }
                Action::Leave { container_instance } => {
                    if let Some(place) = self.gathered.places.get(container_instance) {
                        transaction.remove(place);
                    }
                }
            }
        }
        for (id, instance) in &self.gathered.instances {
            let registers = instance.status == ContainerInstanceStatus::Registering;
            if registers && !ecs::daemon_holds_back(self.snapshot, instance) {
                statuses.insert(id.clone(), (ContainerInstanceStatus::Active, None));
            }
        }
        for (id, status) in statuses {
            self.set_status(transaction, &id, status, &started);
        }
        for place in &decision.places {
            let mut next = place.clone();
            if let Some(task) = started.remove(&place.container_instance) {
                next.task = Some(task);
                next.stopping = false;
            }
            match self.gathered.places.get(&place.container_instance) {
                // A task on a machine that is gone: nobody will tell of its end.
                Some(there) if decision.gone => {
                    transaction.remove(there);
                }
                Some(there) if *there.value == next => {}
                Some(there) => {
                    transaction.replace(there, next);
                }
                None => {
                    transaction.insert(next);
                }
            }
        }
        Ok(())
    }

    fn start(&self, transaction: &mut Transaction, id: &str) -> Result<Option<String>, Fault> {
        let (Some(instance), Some((launch, definition))) =
            (self.gathered.instances.get(id), &self.gathered.launch)
        else {
            return Ok(None);
        };
        let call = launch::service::call(&self.row.scope, self.now);
        let ids = self.control.ids.as_ref();
        let task =
            launch::daemon::start(self.snapshot, transaction, &call, ids, launch, definition, instance)?;
        Ok(Some(task.id))
    }

    fn stop(&self, transaction: &mut Transaction, id: &str, reason: &str) {
        let Some(task) = self.gathered.tasks.get(id) else { return };
        let outcome = request_stop(task, StopCode::ServiceSchedulerInitiated, reason, self.now);
        if !outcome.changed {
            return;
        }
        transaction.replace(task, outcome.task.clone());
        let container_instance = outcome.task.container_instance.clone();
        if let Some(container_instance) = container_instance.filter(|_| was_handed_out(&outcome.task)) {
            transaction.put(OutboxMessage {
                container_instance,
                scope: task.scope.clone(),
                cluster: task.cluster.clone(),
                task_id: task.id.clone(),
                order: OutboxOrder::Stop,
                generation: outcome.task.generation,
                written_at: self.now,
            });
        }
    }

    fn set_status(
        &self,
        transaction: &mut Transaction,
        id: &str,
        (status, reason): (ContainerInstanceStatus, Option<String>),
        started: &BTreeMap<String, String>,
    ) {
        let Some(instance) = self.gathered.instances.get(id) else { return };
        let mut next = ContainerInstance::clone(instance);
        next.status = status;
        next.status_reason = reason;
        next.version = next.version.saturating_add(1);
        transaction.replace(instance, next);
        if !started.contains_key(id) {
            // A task that is started in this transaction has raised it already.
            ecs::container_instance::touch_allocation(self.snapshot, transaction, instance);
        }
    }
}

/// Writes the daemon and its deployment; a daemon that is gone leaves what can be described for a while.
fn write(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    row: &Versioned<Daemon>,
    deployment: &Versioned<DaemonDeployment>,
    decision: Decision,
    now: Timestamp,
) {
    if !decision.gone {
        if decision.daemon != *row.value {
            transaction.replace(row, decision.daemon);
        }
        if decision.deployment != *deployment.value {
            transaction.replace(deployment, decision.deployment);
        }
        return;
    }
    let forget_at = Some(now.plus_seconds(LINGER_SECONDS));
    transaction.remove(row);
    transaction.replace(deployment, DaemonDeployment { forget_at, ..decision.deployment });
    let prefix = || of_daemon(&row.scope, &row.cluster, &row.name);
    for other in snapshot.scan::<DaemonDeployment>(prefix(), None).filter(|it| it.id != deployment.id) {
        transaction.replace(&other, DaemonDeployment { forget_at, ..DaemonDeployment::clone(&other) });
    }
    for revision in snapshot.scan::<DaemonRevision>(prefix(), None) {
        transaction.replace(&revision, DaemonRevision { forget_at, ..DaemonRevision::clone(&revision) });
    }
}

/// Takes away what is deleted and due; says when the next will be.
fn sweep(snapshot: &Snapshot, now: Timestamp) -> (Transaction, Option<Timestamp>) {
    let mut transaction = Transaction::new();
    let mut next: Option<Timestamp> = None;
    let mut removed = 0;
    let mut due = |at: Timestamp| {
        let is_due = at <= now && removed < SWEEP;
        if is_due {
            removed += 1;
        } else {
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        is_due
    };
    for row in snapshot.index::<DaemonDeployment>(DAEMON_DEPLOYMENTS_FORGET, &[], None) {
        if !row.forget_at.is_some_and(&mut due) {
            break;
        }
        transaction.remove(&row);
    }
    for row in snapshot.index::<DaemonRevision>(DAEMON_REVISIONS_FORGET, &[], None) {
        if !row.forget_at.is_some_and(&mut due) {
            break;
        }
        transaction.remove(&row);
    }
    for row in snapshot.index::<DaemonTaskDefinition>(DAEMON_TASK_DEFINITIONS_DELETING, &[], None) {
        match row.deleted_at {
            Some(deleted_at) if due(deleted_at.plus_seconds(LINGER_SECONDS)) => {
                transaction.remove(&row);
            }
            Some(_) => {}
            None if is_in_use(snapshot, &row) => {}
            None => {
                let gone = DaemonTaskDefinition {
                    status: DaemonTaskDefinitionStatus::Deleted,
                    deleted_at: Some(now),
                    ..DaemonTaskDefinition::clone(&row)
                };
                transaction.replace(&row, gone);
            }
        }
    }
    (transaction, next)
}

/// Whether a daemon or a task that is not STOPPED refers to the definition.
fn is_in_use(snapshot: &Snapshot, definition: &DaemonTaskDefinition) -> bool {
    let arn = definition.arn().to_string();
    let mut revisions = snapshot.index::<DaemonRevision>(DAEMON_REVISIONS_BY_TASK_DEFINITION, &[&arn], None);
    let of_daemon = revisions.any(|revision| {
        let key = daemon_key(&revision.scope, &revision.cluster, &revision.daemon);
        snapshot.get::<Daemon>(&key).is_some_and(|daemon| {
            daemon.id == revision.daemon_id
                && std::iter::once(&daemon.goal)
                    .chain(&daemon.steady)
                    .any(|goal| goal.revision == revision.id)
        })
    });
    of_daemon || snapshot.index::<Task>(TASKS_BY_TASK_DEFINITION, &[&arn], None).next().is_some()
}
