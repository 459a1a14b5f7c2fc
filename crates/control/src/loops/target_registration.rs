//! Registers services' tasks with their load balancers, takes them out before they are stopped, and brings the load
//! balancers' verdicts into the tasks' rows, where the scheduler of services finds them.
//!
//! Work is in proportion to what changed: the feed says which services have tasks that move and which targets' health is
//! another one. What is to be done is read off rows, so that a lost wake-up, a crash or a second run does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use base::{Arn, Timestamp};
use domain::{
    ContainerInstance, DeploymentControllerType, OutboxMessage, Service, ServiceStatus, StopCode, Subnet,
    TargetDescription, TargetGroup, TargetRegistration, TargetState, Task, TaskStatus, TaskTarget,
};
use futures_util::StreamExt as _;
use scheduler::target_registration::{Action, Decision, GroupSeen, Observed, TaskSeen, decide, zone_in};
use scheduler::task_lifecycle;
use store::rows::{TASKS_BY_TARGET, TASKS_MOVING_TARGETS, container_instance_key};
use store::rows_load_balancing::{
    deregister_targets, register_targets, target_counts, target_group_by_arn, target_registration_key,
};
use store::rows_service::service_key;
use store::rows_vpc::subnet_key;
use store::{Change, Key, Row as _, Snapshot, Transaction, Versioned, number_part};

use super::services::events::Messages;
use super::slow_scan::SlowScan;
use crate::Control;

/// Services, or tasks, that are worked on at once: their transactions share disk writes.
const AT_ONCE: usize = 32;
/// Tasks of a service that are moved in one transaction; the rest follows in the next.
const TASKS_AT_ONCE: usize = 500;
/// A pause after something that could not be written.
const FAILED_SECONDS: i64 = 1;
/// Every service with tasks that wait is looked at this often.
const SLOW_SCAN: Duration = Duration::from_secs(60);
/// A target group's attribute: for how long requests under way are let finish.
const DELAY: &str = "deregistration_delay.timeout_seconds";
/// Its default. Source: AWS, "Target group attributes".
const DEFAULT_DELAY_SECONDS: i64 = 300;

/// Which service: account, region, cluster and task group.
type Moving = [String; 4];

/// What the loop keeps in mind. All of it can be lost: the index of tasks that move gives it back.
#[derive(Debug, Default)]
struct Mind {
    /// Services to look at now.
    services: BTreeSet<Moving>,
    /// Tasks whose targets' health is to be looked at now.
    tasks: BTreeSet<Key>,
    /// When to look at a service though nothing changes.
    timers: BTreeMap<Moving, Timestamp>,
}

/// Follows the store.
pub async fn run(control: Control) {
    loop {
        let snapshot = control.store.snapshot();
        let mut feed = control.store.changes(snapshot.version());
        let mut mind = Mind::of(&snapshot);
        drop(snapshot);
        let mut scan = SlowScan::new(SLOW_SCAN);
        loop {
            mind.work(&control).await;
            let now = control.clock.now();
            let due = mind.timers.values().min().map(|at| at.since_millis(now).max(1));
            let wait = due.and_then(|due| u64::try_from(due).ok()).map_or(SLOW_SCAN, Duration::from_millis);
            let wait = if mind.services.is_empty() { wait } else { Duration::ZERO };
            tokio::select! {
                biased;
                change = feed.next() => match change {
                    Ok(batch) => mind.take(&control.store.snapshot(), &batch.changes),
                    Err(lagged) => {
                        tracing::debug!(%lagged, "target registration starts again from a snapshot");
                        break;
                    }
                },
                () = tokio::time::sleep(wait) => {}
                () = tokio::time::sleep_until(scan.at()) => {}
            }
            // All that has come in the meantime goes together.
            let snapshot = control.store.snapshot();
            while let Ok(Some(batch)) = feed.try_next() {
                mind.take(&snapshot, &batch.changes);
            }
            if scan.is_due() {
                mind.services.extend(all_that_move(&snapshot));
            }
            mind.ring(control.clock.now());
        }
    }
}

fn moving(task: &Task) -> Moving {
    let (account, region) = (task.scope.account.as_str(), task.scope.region.as_str());
    [account.to_owned(), region.to_owned(), task.cluster.clone(), task.group.clone()]
}

/// The services of all tasks that are to be registered or taken out.
fn all_that_move(snapshot: &Snapshot) -> impl Iterator<Item = Moving> {
    snapshot.index::<Task>(TASKS_MOVING_TARGETS, &[], None).map(|task| moving(&task))
}

impl Mind {
    /// All that may be waiting: what happened while nobody looked is found in the rows.
    fn of(snapshot: &Snapshot) -> Self {
        let mut mind = Self::default();
        mind.services.extend(all_that_move(snapshot));
        for task in snapshot.index::<Task>(TASKS_BY_TARGET, &[], None) {
            mind.tasks.insert(task.key());
        }
        mind
    }

    fn ring(&mut self, now: Timestamp) {
        let due: Vec<Moving> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.timers.remove(&key);
            self.services.insert(key);
        }
    }

    fn take(&mut self, snapshot: &Snapshot, changes: &[Change]) {
        for change in changes {
            if let Some(task) = change.of::<Task>() {
                let Some(after) = task.after.filter(|after| !after.targets.is_empty()) else { continue };
                // One that waits may have been waiting for the ports that its containers are bound to.
                let same = task.before.as_ref().is_some_and(|before| {
                    after.last_status != TaskStatus::Activating
                        && before.last_status == after.last_status
                        && before.desired_status == after.desired_status
                        && before.targets == after.targets
                });
                if !same {
                    self.services.insert(moving(&after));
                    self.tasks.insert(change.key.clone());
                }
            } else if let Some(row) = change.of::<TargetRegistration>() {
                if let Some(row) = row.after.or(row.before) {
                    self.take_target(snapshot, &row);
                }
            } else if let Some(group) = change.of::<TargetGroup>() {
                // A shorter delay: those that wait look again.
                self.services.extend(self.timers.keys().cloned());
                if group.after.is_none() {
                    // Who waits to be registered in it waits in vain.
                    self.services.extend(all_that_move(snapshot));
                }
            }
        }
    }

    fn take_target(&mut self, snapshot: &Snapshot, row: &TargetRegistration) {
        let group = row.target_group_arn().to_string();
        let parts = [group.as_str(), row.target.as_str(), &number_part(u64::from(row.port))];
        for task in snapshot.index::<Task>(TASKS_BY_TARGET, &parts, None) {
            self.tasks.insert(task.key());
            if task.targets.iter().any(|target| target.state == TargetState::Draining) {
                self.services.insert(moving(&task));
            }
        }
    }

    async fn work(&mut self, control: &Control) {
        let services = std::mem::take(&mut self.services);
        let passes: Vec<(Moving, Passed)> = futures_util::stream::iter(services)
            .map(|key| async move {
                let passed = one(control, &key).await;
                (key, passed)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        for (key, passed) in passes {
            self.timers.remove(&key);
            if passed.again {
                self.services.insert(key);
            } else if let Some(at) = passed.wake_at {
                self.timers.insert(key, at);
            }
        }
        futures_util::stream::iter(std::mem::take(&mut self.tasks))
            .for_each_concurrent(AT_ONCE, |key| async move {
                let done =
                    control.store.update(|snapshot| Ok::<_, Infallible>((verdicts(snapshot, &key), ())));
                if let Err(error) = done.await {
                    tracing::warn!(%error, ?key, "a task's health in its target groups is not taken down");
                }
            })
            .await;
    }
}

/// What came of a pass over a service.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    wake_at: Option<Timestamp>,
    again: bool,
}

async fn one(control: &Control, key: &Moving) -> Passed {
    let update = control.store.update(|snapshot| Ok::<_, Infallible>(pass(control, snapshot, key)));
    update.await.unwrap_or_else(|error| {
        tracing::warn!(%error, ?key, "a service's targets wait");
        Passed { wake_at: Some(control.clock.now().plus_seconds(FAILED_SECONDS)), again: false }
    })
}

/// Gathers, decides, and makes the transaction.
fn pass(control: &Control, snapshot: &Snapshot, key: &Moving) -> (Transaction, Passed) {
    let now = control.clock.now();
    let parts: Vec<&str> = key.iter().map(String::as_str).collect();
    let rows: Vec<Versioned<Task>> =
        snapshot.index::<Task>(TASKS_MOVING_TARGETS, &parts, None).take(TASKS_AT_ONCE).collect();
    let Some(first) = rows.first() else { return (Transaction::new(), Passed::default()) };
    let service = first
        .group
        .strip_prefix("service:")
        .and_then(|name| snapshot.get::<Service>(&service_key(&first.scope, &first.cluster, name)));
    let groups = groups(snapshot, &rows);
    let instances: Vec<Option<Versioned<ContainerInstance>>> =
        rows.iter().map(|row| container_instance(snapshot, row)).collect();
    let subnets: Vec<Option<Versioned<Subnet>>> = rows.iter().map(|row| subnet(snapshot, row)).collect();
    let seen: Vec<TaskSeen<'_>> = rows
        .iter()
        .zip(instances.iter().zip(&subnets))
        .map(|(row, (instance, subnet))| TaskSeen {
            task: row.value.as_ref(),
            ec2_instance_id: instance.as_ref().map(|instance| instance.ec2_instance_id.as_str()),
            zone: subnet.as_ref().map(|subnet| subnet.availability_zone.as_str()),
            groups: row.targets.iter().map(|target| group_seen(snapshot, &groups, target)).collect(),
        })
        .collect();
    // Counting is for those that come: those that go are in no quota's way.
    let come = rows.iter().filter(|row| row.last_status == TaskStatus::Activating);
    let wanted: BTreeSet<&Arn> =
        come.flat_map(|row| &row.targets).map(|target| &target.target_group).collect();
    let wanted = wanted.into_iter().filter_map(|arn| groups.get(arn)).map(|group| &**group);
    let decision = decide(&Observed { tasks: &seen, counts: target_counts(snapshot, wanted) }, now);
    let mut work = Work {
        snapshot,
        now,
        rows: &rows,
        seen: &seen,
        groups: &groups,
        service: service.as_ref(),
        told: Told::default(),
        transaction: Transaction::new(),
    };
    work.carry_out(&decision);
    let more = rows.len() == TASKS_AT_ONCE && !decision.actions.is_empty();
    (work.finish(control, &decision), Passed { wake_at: decision.wake_at, again: more })
}

fn groups(snapshot: &Snapshot, rows: &[Versioned<Task>]) -> BTreeMap<Arn, Versioned<TargetGroup>> {
    let arns: BTreeSet<&Arn> =
        rows.iter().flat_map(|row| &row.targets).map(|target| &target.target_group).collect();
    arns.into_iter()
        .filter_map(|arn| Some((arn.clone(), target_group_by_arn(snapshot, arn.as_str())?)))
        .collect()
}

fn container_instance(snapshot: &Snapshot, task: &Task) -> Option<Versioned<ContainerInstance>> {
    let arn = task.container_instance.as_ref()?;
    let (cluster, id) = arn.resource().strip_prefix("container-instance/")?.split_once('/')?;
    snapshot.get::<ContainerInstance>(&container_instance_key(&arn.scope()?, cluster, id))
}

fn subnet(snapshot: &Snapshot, task: &Task) -> Option<Versioned<Subnet>> {
    let subnet = task.network_interface()?.details.get("subnetId")?;
    snapshot.get::<Subnet>(&subnet_key(&task.scope, subnet))
}

fn registration(
    snapshot: &Snapshot,
    group: &TargetGroup,
    target: &TaskTarget,
) -> Option<Versioned<TargetRegistration>> {
    let (id, port) = target.target.as_ref()?;
    snapshot.get(&target_registration_key(&group.scope, &group.name, id, *port))
}

fn group_seen(
    snapshot: &Snapshot,
    groups: &BTreeMap<Arn, Versioned<TargetGroup>>,
    target: &TaskTarget,
) -> GroupSeen {
    let Some(group) = groups.get(&target.target_group) else { return GroupSeen::default() };
    let delay = group.attributes.get(DELAY).and_then(|text| text.parse().ok());
    GroupSeen {
        target_type: Some(group.target_type.clone()),
        is_udp: group.protocol == "UDP",
        deregistration_delay_seconds: delay.unwrap_or(DEFAULT_DELAY_SECONDS),
        drains: registration(snapshot, group, target).is_some_and(|row| row.deregistered_at.is_some()),
    }
}

/// What was done, for the service's events: by task set where there are such, and target group.
#[derive(Debug, Default)]
struct Told {
    registered: BTreeMap<(Option<String>, Arn), usize>,
    deregistered: BTreeMap<(Option<String>, Arn), usize>,
    draining: BTreeMap<Option<String>, usize>,
}

/// A pass under way.
struct Work<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    rows: &'a [Versioned<Task>],
    seen: &'a [TaskSeen<'a>],
    groups: &'a BTreeMap<Arn, Versioned<TargetGroup>>,
    service: Option<&'a Versioned<Service>>,
    told: Told,
    transaction: Transaction,
}

impl Work<'_> {
    fn task_set(&self, task: &Task) -> Option<String> {
        let service =
            self.service.filter(|service| service.deployment_controller != DeploymentControllerType::Ecs);
        service.and_then(|_| task.service_revision().map(str::to_owned))
    }

    fn carry_out(&mut self, decision: &Decision) {
        // All targets of a group in one call: each makes its transaction depend on the group.
        let mut come: BTreeMap<&Arn, Vec<TargetDescription>> = BTreeMap::new();
        let mut go: BTreeMap<&Arn, Vec<TargetDescription>> = BTreeMap::new();
        for action in &decision.actions {
            match action {
                Action::Register { task, targets } => {
                    let row = &self.rows[*task];
                    for (place, (target, port)) in targets {
                        let group = &row.targets[*place].target_group;
                        let seen = &self.seen[*task];
                        let zone = zone_in(seen, seen.groups[*place].target_type.as_deref());
                        come.entry(group).or_default().push(description(target, *port, zone));
                        let told = (self.task_set(row), group.clone());
                        *self.told.registered.entry(told).or_default() += 1;
                    }
                    let next = task_lifecycle::targets_registered(row, targets, self.now).task;
                    self.transaction.replace(row, next);
                }
                Action::GiveUp { task, reason } => self.give_up(*task, reason),
                Action::Deregister { task, targets } => {
                    let row = &self.rows[*task];
                    for place in targets {
                        let there = &row.targets[*place];
                        if let Some((target, port)) = &there.target {
                            go.entry(&there.target_group).or_default().push(description(target, *port, None));
                            let told = (self.task_set(row), there.target_group.clone());
                            *self.told.deregistered.entry(told).or_default() += 1;
                        }
                    }
                    if row.last_status < TaskStatus::Deprovisioning {
                        *self.told.draining.entry(self.task_set(row)).or_default() += 1;
                    }
                    let next = task_lifecycle::targets_moved(row, targets, TargetState::Draining, self.now);
                    self.transaction.replace(row, next);
                }
                Action::Drained { task, targets, order_stop } => {
                    let row = &self.rows[*task];
                    let next =
                        task_lifecycle::targets_moved(row, targets, TargetState::Deregistered, self.now);
                    // AWS Cloud Map may still tell of it: then the order goes out with that.
                    if *order_stop
                        && task_lifecycle::waits_for_its_order(&next)
                        && let Some(order) = OutboxMessage::stop(&next, self.now)
                    {
                        self.transaction.put(order);
                    }
                    self.transaction.replace(row, next);
                }
            }
        }
        for (arn, targets) in &come {
            if let Some(group) = self.groups.get(*arn) {
                register_targets(self.snapshot, &mut self.transaction, group, targets, self.now);
            }
        }
        for (arn, targets) in &go {
            if let Some(group) = self.groups.get(*arn) {
                deregister_targets(self.snapshot, &mut self.transaction, group, targets, self.now);
            }
        }
    }

    fn give_up(&mut self, task: usize, reason: &str) {
        let row = &self.rows[task];
        let next = task_lifecycle::request_stop(row, StopCode::TaskFailedToStart, reason, self.now).task;
        if task_lifecycle::may_be_told_to_stop(&next)
            && let Some(order) = OutboxMessage::stop(&next, self.now)
        {
            self.transaction.put(order);
        }
        self.transaction.replace(row, next);
    }

    /// Adds what the service says.
    fn finish(mut self, control: &Control, decision: &Decision) -> Transaction {
        let Some(row) = self.service.filter(|service| service.status != ServiceStatus::Inactive) else {
            return self.transaction;
        };
        let mut messages = Messages::default();
        for ((task_set, group), count) in &self.told.registered {
            let what = format!("registered {count} targets in (target-group {group})");
            messages.say_of(row, task_set.as_deref(), &what);
        }
        for ((task_set, group), count) in &self.told.deregistered {
            let what = format!("deregistered {count} targets in (target-group {group})");
            messages.say_of(row, task_set.as_deref(), &what);
        }
        for (task_set, count) in &self.told.draining {
            let what = format!("has begun draining connections on {count} tasks.");
            messages.say_of(row, task_set.as_deref(), &what);
        }
        for (task, reason) in &decision.report {
            let set = self.task_set(&self.rows[*task]);
            let what = format!("failed to register targets. Reason: {reason}.");
            messages.say_once(self.snapshot, row, set.as_deref(), &what, self.now);
        }
        if !messages.is_empty() {
            let mut next = Service::clone(row);
            messages.write(&mut next, &mut self.transaction, &*control.ids, self.now);
            self.transaction.replace(row, next);
        }
        self.transaction
    }
}

fn description(target: &str, port: u16, zone: Option<&str>) -> TargetDescription {
    TargetDescription { target: target.to_owned(), port, zone: zone.map(str::to_owned) }
}

/// Takes the load balancers' verdicts on a task into its row.
fn verdicts(snapshot: &Snapshot, key: &Key) -> Transaction {
    let mut transaction = Transaction::new();
    let Some(row) = snapshot.get::<Task>(key) else { return transaction };
    let mut next = Task::clone(&row);
    for place in 0..row.targets.len() {
        let target = &row.targets[place];
        if !target.state.is_registered() {
            continue;
        }
        let group = target_group_by_arn(snapshot, target.target_group.as_str());
        let seen = group.and_then(|group| registration(snapshot, &group, target));
        let (state, reason) = verdict(seen.as_deref());
        next = task_lifecycle::target_health(&next, place, state, reason).task;
    }
    if next != *row.value {
        transaction.replace(&row, next);
    }
    transaction
}

/// What a target's row says of the task. A target that somebody else took out gets no requests: it is as good as unhealthy,
/// and its reason is what AWS gives.
fn verdict(row: Option<&TargetRegistration>) -> (TargetState, Option<&str>) {
    let Some(row) = row else {
        return (TargetState::Unhealthy, Some("Target is not registered to the target group"));
    };
    match row.state.as_str() {
        // There is no verdict where the target group is not checked: its targets get requests.
        "healthy" | "unavailable" => (TargetState::Healthy, None),
        "unhealthy" | "unhealthy.draining" | "draining" => {
            (TargetState::Unhealthy, row.description.as_deref())
        }
        _ => (TargetState::Initial, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_taken_out_by_somebody_else_is_unhealthy() {
        assert_eq!(verdict(None).0, TargetState::Unhealthy);
    }
}
