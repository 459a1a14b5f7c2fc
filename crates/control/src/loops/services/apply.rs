//! One pass over one service: from what there is to one conditional transaction.
//!
//! Everything that a pass finds out is written in the same transaction as what it does about it (ends that are counted,
//! steps of the deployment, tasks, events), on condition that the service is as it was read. A crash before it leaves no
//! trace, a crash after it no doubt.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base::{Arn, Timestamp};
use domain::{
    HealthStatus, LaunchType, OutboxMessage, Service, ServiceDeployment, ServiceRevision, ServiceStatus,
    StabilityStatus, StopCode, TargetState, Task, TaskSet, TaskSetStatus, TaskStatus, TaskTarget,
};
use ecs::launch;
use ecs::launch::service::Spot;
use scheduler::deployment::{self, Limits};
use scheduler::service_scheduler::{self, Action, Facts, Goal, Report, TaskSeen, Verdict, Where, Why};
use scheduler::task_lifecycle::{may_be_told_to_stop, request_stop};
use store::{Key, Snapshot, Transaction};

use super::balance::{self, Balance};
use super::events::{self, Messages};
use super::failures;
use super::gather::{ENDS_AT_ONCE, Gathered};
use super::members::Member;
use super::traffic::Wanted;
use crate::Control;
use crate::loops::lifecycle_hooks;

/// Tasks started in one transaction; the rest follows in the next, so that others get their turn at placing. Each pass looks at
/// all tasks of the service: with few at once a large service would be looked at very often.
const STARTS_AT_ONCE: u32 = 500;
/// Instances that one transaction starts a daemon's task on.
const INSTANCES_AT_ONCE: usize = 500;
/// Tasks stopped in one transaction.
const STOPS_AT_ONCE: usize = 1000;
/// Steps of a deployment that are due at once.
const STEPS_AT_ONCE: usize = 8;
/// The steady state is told again after this time. Source: AWS, "Service event messages".
const STEADY_SECONDS: i64 = 6 * 3600;

/// `stoppedReason` of a task whose container health checks failed.
pub const UNHEALTHY_REASON: &str = "Task failed container health checks";
/// What `stoppedReason` of a task that failed a load balancer's health checks begins with.
pub const UNHEALTHY_TARGET_REASON: &str = "Task failed ELB health checks in";

/// What a pass is told beside the rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// Whether this pass may place tasks: it is its turn.
    pub may_place: bool,
    /// The last try to place a task found no room.
    pub no_room: bool,
}

/// What a pass came to, beside its transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Look again though nothing changes.
    pub wake_at: Option<Timestamp>,
    /// There is more to do at once.
    pub again: bool,
    /// A task found no room.
    pub no_room: bool,
    /// A task that was to even out places found no room.
    pub no_moves: bool,
    /// How many tasks were looked at.
    pub tasks: usize,
}

/// The pass wants to place tasks and it is not its turn.
#[derive(Debug)]
pub struct NotMyTurn;

/// A pass under way.
struct Pass<'a> {
    control: &'a Control,
    snapshot: &'a Snapshot,
    gathered: &'a Gathered,
    /// Its tasks that are not STOPPED: actions name them by their number.
    members: &'a [(&'a Key, &'a Member)],
    given: Given,
    now: Timestamp,
    service: Service,
    deployment: Option<ServiceDeployment>,
    goals: Vec<Goal>,
    limits: Limits,
    messages: Messages,
    outcome: Outcome,
}

/// Decides, and makes the transaction that carries it out; an empty one where nothing is to be done.
pub fn pass(
    control: &Control,
    snapshot: &Snapshot,
    gathered: &Gathered,
    given: Given,
) -> Result<(Transaction, Outcome), NotMyTurn> {
    let members: Vec<(&Key, &Member)> = gathered.seen.live().collect();
    let mut pass = Pass {
        control,
        snapshot,
        gathered,
        members: &members,
        given,
        now: control.clock.now(),
        service: gathered.service.value.as_ref().clone(),
        deployment: gathered.deployment.as_ref().map(|row| row.value.as_ref().clone()),
        goals: Vec::new(),
        limits: Limits::default(),
        messages: Messages::default(),
        outcome: Outcome { tasks: members.len(), ..Outcome::default() },
    };
    let daemon_on = pass.daemon_instances();
    pass.count_ends();
    let desired_count = match &daemon_on {
        Some(instances) => i32::try_from(instances.len()).unwrap_or(i32::MAX),
        None => pass.service.desired_count,
    };
    let task_sets = pass.set_goals(desired_count);
    let balance = pass.balance();
    let places: Vec<Option<Cow<'_, str>>> = balance.as_ref().map_or_else(Vec::new, |balance| {
        members.iter().map(|(_, member)| balance.place_of(member, gathered)).collect()
    });
    let seen: Vec<TaskSeen<'_>> = members
        .iter()
        .enumerate()
        .map(|(number, (_, member))| TaskSeen {
            facts: member.facts,
            revision: member.revision.as_deref(),
            zone: member.zone.as_deref(),
            machine: gathered.seen.machine_arn(member),
            leaves: gathered.seen.leaves(member),
            place: places.get(number).and_then(Option::as_deref),
        })
        .collect();
    let decision = service_scheduler::decide(
        &pass.desired(daemon_on.as_ref(), balance.as_ref()),
        &service_scheduler::Observed { tasks: &seen },
        pass.now,
    );
    pass.wake(decision.wake_at);
    let mut transaction = pass.start(&decision, balance.as_ref())?;
    pass.stop(&decision, &mut transaction);
    pass.shift_traffic(&mut transaction);
    pass.report(&decision.report, balance.as_ref(), &mut transaction);
    pass.write_task_sets(task_sets, &mut transaction);
    pass.write(transaction)
}

impl Pass<'_> {
    fn wake(&mut self, at: Option<Timestamp>) {
        let there = self.outcome.wake_at;
        self.outcome.wake_at = match (there, at) {
            (Some(there), Some(at)) => Some(there.min(at)),
            (there, at) => there.or(at),
        };
    }

    fn is_active(&self) -> bool {
        self.service.status == ServiceStatus::Active
    }

    /// The instances that are to have a task, for the DAEMON strategy.
    fn daemon_instances(&mut self) -> Option<BTreeSet<String>> {
        if !self.gathered.is_daemon() {
            return None;
        }
        if !self.is_active() {
            return Some(BTreeSet::new());
        }
        let there = self.gathered.members().filter(|member| self.gathered.seen.machine(member).is_some());
        let arns: BTreeSet<&Arn> =
            there.filter_map(|member| self.gathered.seen.machine_arn(member)).collect();
        let has: BTreeSet<String> = arns.into_iter().map(ToString::to_string).collect();
        let Some(workload) = self.gathered.newest().and_then(|id| self.gathered.workload(id)) else {
            return Some(has);
        };
        let call = launch::service::call(&self.service.scope, self.now);
        match launch::service::prepare(self.snapshot, &call, &self.service, &workload) {
            Ok(launch) => Some(launch::service::daemon_instances(self.snapshot, &launch, &has)),
            Err(fault) => {
                self.say_failed(None, fault.message());
                Some(has)
            }
        }
    }

    fn say_failed(&mut self, task_set: Option<&str>, message: &str) {
        let what = format!("failed to launch a task with (error {message}).");
        self.messages.say_once(self.snapshot, &self.service, task_set, &what, self.now);
    }

    fn count_ends(&mut self) {
        let ends: Vec<failures::End> = self.gathered.ended().map(|task| failures::end(task)).collect();
        if failures::throttle(&mut self.service, &ends, self.now) {
            self.messages.say_once(self.snapshot, &self.service, None, failures::IMPAIRED, self.now);
        }
        self.outcome.again |= ends.len() >= ENDS_AT_ONCE;
    }

    /// Settles how many tasks each revision or task set is to have. Gives the task sets that change.
    fn set_goals(&mut self, desired_count: i32) -> Vec<TaskSet> {
        if self.gathered.service.deployment_controller == domain::DeploymentControllerType::Ecs {
            self.deploy(desired_count);
            return Vec::new();
        }
        let configuration = &self.gathered.configuration;
        self.limits = Limits { side_by_side: true, ..deployment::limits(configuration, desired_count) };
        let mut changed = Vec::new();
        for row in &self.gathered.task_sets {
            let computed = if row.status == TaskSetStatus::Draining || !self.is_active() {
                0
            } else {
                scaled(desired_count, row.scale_hundredths_percent)
            };
            self.goals.push(Goal {
                id: row.id.clone(),
                count: u32::try_from(computed).unwrap_or(0),
                may_start: self.is_active(),
            });
            changed.push(TaskSet { computed_desired_count: computed, ..row.value.as_ref().clone() });
        }
        changed
    }

    /// Takes the steps of the deployment that are due.
    fn deploy(&mut self, desired_count: i32) {
        let (mut observed, settles) = self.gathered.observed(self.now);
        if self.deployment.is_some() {
            self.wake(settles);
        }
        let routed_by = self.control.seams.rows_in_force.version();
        for _ in 0..STEPS_AT_ONCE {
            let seen = self.control.seams.observe(&self.service, &self.gathered.configuration);
            let weights = self.weights().is_none_or(|weights| weights.hold(routed_by));
            let open = self.deployment.clone().filter(|row| !row.status.is_final());
            let mut decision = deployment::decide(
                &deployment::Desired {
                    service: &self.service,
                    deployment: open.as_ref(),
                    configuration: &self.gathered.configuration,
                    desired_count,
                },
                &deployment::Observed {
                    revisions: &observed,
                    firing_alarms: &seen.firing_alarms,
                    alarm_bake_seconds: seen.alarm_bake_seconds,
                    traffic_held: seen.traffic_held && weights,
                },
                self.now,
            );
            lifecycle_hooks::mint(&mut decision, &*self.control.ids);
            for event in &decision.events {
                self.messages.say(&self.service, event);
            }
            let current = decision.current_deployment().map(str::to_owned);
            let changed = decision.revisions != self.service.revisions
                || current != self.service.current_deployment
                || decision.deployment != open;
            self.limits = decision.limits;
            self.service.revisions = decision.revisions;
            self.service.current_deployment = current;
            if decision.deployment.is_some() {
                self.deployment = decision.deployment;
            }
            // What ended was told once.
            for there in &mut observed {
                (there.failed, there.failed_health_checks, there.exited) = (0, 0, 0);
            }
            if !changed {
                self.wake(decision.wake_at);
                break;
            }
        }
        self.goals = self
            .service
            .revisions
            .iter()
            .map(|revision| Goal {
                id: revision.id.clone(),
                count: u32::try_from(revision.desired_count).unwrap_or(0),
                may_start: self.is_active() && deployment::may_start(revision),
            })
            .collect();
    }

    /// What the rules of the service's load balancers are to be; `None` where nobody shifts traffic.
    fn weights(&self) -> Option<Wanted> {
        let shifts = self.gathered.configuration.side_by_side() && self.is_active();
        shifts.then(|| Wanted::of(self.snapshot, &self.gathered.revisions, &self.service.revisions))
    }

    /// Writes the weights while a deployment is under way, or where a step changed them.
    fn shift_traffic(&mut self, transaction: &mut Transaction) {
        let of = |service: &Service| -> Vec<(String, u16, u16)> {
            let weights = |there: &domain::RevisionInUse| {
                (there.id.clone(), there.production_weight, there.test_weight)
            };
            service.revisions.iter().map(weights).collect()
        };
        let changed = of(&self.service) != of(&self.gathered.service);
        if !changed && self.service.current_deployment.is_none() {
            return;
        }
        let Some(wanted) = self.weights() else { return };
        wanted.write(transaction);
        for rule in wanted.missing() {
            let what = format!(
                "failed to modify the listener rule (listener-rule {rule}). Reason: it does not exist."
            );
            self.messages.say_once(self.snapshot, &self.service, None, &what, self.now);
        }
    }

    fn desired<'b>(
        &'b self,
        daemon_on: Option<&'b BTreeSet<String>>,
        balance: Option<&'b Balance>,
    ) -> service_scheduler::Desired<'b> {
        let bound = |limit: i32| if self.is_active() { u32::try_from(limit).unwrap_or(0) } else { 0 };
        service_scheduler::Desired {
            goals: &self.goals,
            daemon_on,
            floor: bound(self.limits.floor),
            ceiling: bound(self.limits.ceiling),
            side_by_side: self.limits.side_by_side,
            no_room: self.given.no_room,
            grace: self.gathered.grace(),
            ignores_protection: !self.is_active(),
            start_not_before: self.service.start_not_before,
            balance_over: balance.map(|balance| &balance.places),
        }
    }

    fn balance(&self) -> Option<Balance> {
        let wanted = self.is_active() && self.service.current_deployment.is_none();
        let workload = self.gathered.newest().filter(|_| wanted).and_then(|id| self.gathered.workload(id))?;
        balance::of(self.snapshot, &self.service, &workload, self.now)
    }

    fn task_set<'b>(&self, id: &'b str) -> Option<&'b str> {
        (self.service.deployment_controller != domain::DeploymentControllerType::Ecs).then_some(id)
    }

    /// Starts what one placement can: the tasks of one goal in one place, or one on each instance. Where the first finds no
    /// room at all, the next is tried.
    fn start(
        &mut self,
        decision: &service_scheduler::Decision,
        balance: Option<&Balance>,
    ) -> Result<Transaction, NotMyTurn> {
        let mut tries: Vec<(usize, u32, Spot)> = Vec::new();
        let mut instances = Vec::new();
        for action in &decision.actions {
            let Action::Start { goal, count, place } = action else { continue };
            match place {
                Where::Anywhere => tries.push((*goal, *count, Spot::Anywhere)),
                Where::Place(name) => {
                    tries.push((*goal, *count, balance.map_or(Spot::Anywhere, |balance| balance.spot(name))));
                }
                Where::Instance(arn) => instances.push((*goal, arn.clone())),
            }
        }
        if let Some(&(goal, _)) = instances.first() {
            let more = instances.len() > INSTANCES_AT_ONCE;
            let arns: Vec<String> =
                instances.into_iter().take(INSTANCES_AT_ONCE).map(|(_, arn)| arn).collect();
            let count = u32::try_from(arns.len()).unwrap_or(u32::MAX);
            tries.push((goal, count.saturating_add(u32::from(more)), Spot::Instances(arns)));
        }
        if tries.is_empty() {
            return Ok(Transaction::new());
        }
        if !self.given.may_place {
            return Err(NotMyTurn);
        }
        let last = tries.len() - 1;
        for (number, (goal, count, spot)) in tries.into_iter().enumerate() {
            let at_once = match &spot {
                Spot::Instances(arns) => u32::try_from(arns.len()).unwrap_or(u32::MAX),
                _ => count.min(STARTS_AT_ONCE),
            };
            if let Some(transaction) = self.place(goal, at_once, &spot, decision) {
                self.outcome.again |= count > at_once || number < last;
                return Ok(transaction);
            }
        }
        Ok(Transaction::new())
    }

    /// Places tasks; `None` where not one found a place.
    fn place(
        &mut self,
        goal: usize,
        count: u32,
        spot: &Spot,
        decision: &service_scheduler::Decision,
    ) -> Option<Transaction> {
        let id = self.goals[goal].id.clone();
        let task_set = self.task_set(&id);
        let workload = self.gathered.workload(&id)?;
        let call = launch::service::call(&self.service.scope, self.now);
        let counts = |member: &&Member| member.facts.live && member.revision.as_deref() == Some(id.as_str());
        let live: Vec<&Task> =
            self.gathered.members().filter(counts).map(|member| member.row.value.as_ref()).collect();
        let wanted = usize::try_from(count).unwrap_or(0);
        let placed =
            launch::service::prepare(self.snapshot, &call, &self.service, &workload).and_then(|launch| {
                launch::service::start(self.snapshot, &call, &*self.control.ids, &launch, &live, wanted, spot)
            });
        let (placed, tried) = match placed {
            Ok(placed) => placed,
            Err(fault) => {
                self.outcome.no_room = true;
                if fault.message() == NO_INSTANCES {
                    let what = events::unplaced(&[], None);
                    self.messages.say_once(self.snapshot, &self.service, task_set, &what, self.now);
                } else {
                    self.say_failed(task_set, fault.message());
                }
                return None;
            }
        };
        let moving = decision.report.unbalanced.is_some();
        let zone = match spot {
            Spot::Zone(zone) => Some(zone.as_str()),
            _ => None,
        };
        if placed.tasks.len() < tried {
            if moving {
                self.outcome.no_moves = true;
            } else {
                self.outcome.no_room = true;
            }
            if !moving || zone.is_some() {
                let what = events::unplaced(&placed.failures, zone);
                self.messages.say_once(self.snapshot, &self.service, task_set, &what, self.now);
            }
        } else if tried < wanted {
            self.outcome.again = true;
        }
        if !placed.tasks.is_empty() {
            let names = events::named(placed.tasks.iter().map(|task| task.id.as_str()));
            let count = placed.tasks.len();
            let what = match (zone.filter(|_| moving), decision.report.replaced_unhealthy) {
                (Some(zone), _) => format!("has started {count} tasks in {zone} to AZ Rebalance: {names}."),
                (None, 0) => format!("has started {count} tasks: {names}."),
                (None, replaced) => format!(
                    "has started {count} tasks: {names}. Amazon ECS replaced {replaced} tasks due to an unhealthy \
                     status."
                ),
            };
            if let (Some(counts), true) = (&decision.report.unbalanced, zone.is_some()) {
                let zones = events::by_zone(counts);
                let what = format!("is not AZ balanced with {zones}. AZ Rebalancing in progress.");
                self.messages.say_once(self.snapshot, &self.service, None, &what, self.now);
            }
            self.messages.say_of(&self.service, task_set, &what);
        }
        (!placed.tasks.is_empty()).then_some(placed.transaction)
    }

    fn stop(&mut self, decision: &service_scheduler::Decision, transaction: &mut Transaction) {
        let mut stopped: BTreeMap<(Option<String>, Option<String>), Vec<String>> = BTreeMap::new();
        let stops = decision.actions.iter().filter_map(|action| match action {
            Action::Stop { task, why } => Some((*task, *why)),
            Action::Start { .. } => None,
        });
        for (number, (task, why)) in stops.enumerate() {
            if number >= STOPS_AT_ONCE {
                self.outcome.again = true;
                break;
            }
            let (_, member) = self.members[task];
            let row = &member.row;
            let id = member.revision.as_deref().unwrap_or_default();
            let reason = match why {
                Why::Unhealthy => match unhealthy_target(row) {
                    Some(target) => {
                        format!("{UNHEALTHY_TARGET_REASON} (target-group {})", target.target_group)
                    }
                    None => UNHEALTHY_REASON.to_owned(),
                },
                Why::Scaling | Why::Leaves | Why::Rebalancing => {
                    format!("Scaling activity initiated by (deployment ecs-svc/{id})")
                }
            };
            let next = request_stop(row, StopCode::ServiceSchedulerInitiated, &reason, self.now).task;
            if may_be_told_to_stop(&next)
                && let Some(order) = OutboxMessage::stop(&next, self.now)
            {
                transaction.put(order);
            }
            let task_set = self.task_set(id).map(str::to_owned);
            if why == Why::Unhealthy {
                let what = self.unhealthy(member);
                self.messages.say_of(&self.service, task_set.as_deref(), &what);
            }
            let zone = next
                .availability_zone
                .clone()
                .filter(|_| why == Why::Rebalancing && self.service.availability_zone_rebalancing);
            stopped.entry((task_set, zone)).or_default().push(next.id.clone());
            transaction.replace(row, next);
        }
        self.require_who_stays(decision, transaction);
        for ((task_set, zone), ids) in stopped {
            let names = events::named(ids.iter().map(String::as_str));
            let what = match zone {
                Some(zone) => {
                    format!(
                        "has stopped {} running tasks in {zone} due to AZ rebalancing: {names}.",
                        ids.len()
                    )
                }
                None => format!("has stopped {} running tasks: {names}.", ids.len()),
            };
            self.messages.say_of(&self.service, task_set.as_deref(), &what);
        }
    }

    /// What can be spared was found by counting the healthy tasks that stay: they must still be as they were.
    fn require_who_stays(&self, decision: &service_scheduler::Decision, transaction: &mut Transaction) {
        let spared = |action: &Action| match action {
            Action::Stop { task, why } if *why != Why::Unhealthy => Some(*task),
            _ => None,
        };
        let leaving: BTreeSet<usize> = decision.actions.iter().filter_map(spared).collect();
        if leaving.is_empty() || self.limits.floor <= 0 {
            return;
        }
        let grace = self.gathered.grace();
        for (number, (key, member)) in self.members.iter().enumerate() {
            let facts = &member.facts;
            if !leaving.contains(&number) && facts.live && facts.verdict(grace, self.now) == Verdict::Healthy
            {
                transaction.require_revision::<Task>(key, Some(member.row.revision));
            }
        }
    }

    /// What is said of a task whose checks fail. Source: AWS, "Amazon ECS service unhealthy event messages".
    fn unhealthy(&self, member: &Member) -> String {
        let task = &member.row;
        let id = &task.id;
        let Some(target) = unhealthy_target(task) else {
            return format!("(task {id}) failed container health checks.");
        };
        let instance = self.gathered.seen.machine(member).filter(|_| task.launch_type != LaunchType::Fargate);
        let instance =
            instance.map(|instance| format!("(instance {}) ", instance.ec2_instance_id)).unwrap_or_default();
        let port = target.target.as_ref().map_or(target.container_port, |(_, port)| *port);
        let (group, reason) = (&target.target_group, target.reason.as_deref().unwrap_or_default());
        format!(
            "(task {id}) {instance}(port {port}) is unhealthy in (target-group {group}) due to (reason {reason})"
        )
    }

    /// Says how things stand.
    fn report(&mut self, report: &Report, balance: Option<&Balance>, transaction: &mut Transaction) {
        for (id, count) in &report.protected {
            let what = format!("was unable to scale in due to (reason {count} tasks under protection)");
            self.messages.say_once(self.snapshot, &self.service, Some(id), &what, self.now);
        }
        if report.stuck {
            let what = "was unable to stop or start tasks during a deployment because of the service deployment \
                        configuration. Update the minimumHealthyPercent or maximumPercent value and try again.";
            self.messages.say_once(self.snapshot, &self.service, None, what, self.now);
        }
        self.learn_digests(transaction);
        let started_at = self.gathered.members().map(|member| member.facts.started_at);
        let youngest = started_at.max().flatten().filter(|_| report.steady);
        let due = failures::recover(&mut self.service, youngest, self.now);
        self.wake(due);
        if !self.is_active() {
            self.finish();
            return;
        }
        // One that waits for room to move its tasks has all that it wants otherwise.
        let steady = report.steady || self.outcome.no_moves;
        if !steady || self.service.current_deployment.is_some() {
            self.service.steady = false;
            return;
        }
        let repeat_at = self.service.steady_at.map(|at| at.plus_seconds(STEADY_SECONDS));
        if !self.service.steady || repeat_at.is_none_or(|at| self.now >= at) {
            if let Some(counts) =
                balance.filter(|balance| balance.zones).map(|balance| balance.counts(self.gathered))
                && events::is_called_unbalanced(self.snapshot, &self.service)
            {
                let what = format!("is AZ balanced with {}.", events::by_zone(&counts));
                self.messages.say(&self.service, &what);
            }
            self.messages.say(&self.service, "has reached a steady state.");
            self.service.steady = true;
            self.service.steady_at = Some(self.now);
        }
        self.wake(self.service.steady_at.map(|at| at.plus_seconds(STEADY_SECONDS)));
    }

    /// A service that is being deleted is gone when its last task is.
    fn finish(&mut self) {
        self.service.steady = false;
        if self.members.is_empty() && self.gathered.ended().count() < ENDS_AT_ONCE {
            self.service.status = ServiceStatus::Inactive;
            self.service.revisions.clear();
            self.service.current_deployment = None;
        }
    }

    /// The first task that has pulled an image says what its revision runs from then on.
    fn learn_digests(&self, transaction: &mut Transaction) {
        for row in &self.gathered.revisions {
            let unknown = |image: &domain::ContainerImage| image.consistent && image.digest.is_none();
            if !row.container_images.iter().any(unknown) {
                continue;
            }
            let mut next: ServiceRevision = row.value.as_ref().clone();
            let of_revision = |member: &&Member| member.revision.as_deref() == Some(row.id.as_str());
            for task in self.gathered.members().filter(of_revision).map(|member| &member.row) {
                for image in next.container_images.iter_mut().filter(|image| unknown(image)) {
                    let pulled = task.container(&image.container);
                    image.digest = pulled.and_then(|container| container.image_digest.clone());
                }
            }
            if next != *row.value {
                transaction.replace(row, next);
            }
        }
    }

    fn write_task_sets(&mut self, task_sets: Vec<TaskSet>, transaction: &mut Transaction) {
        for (row, mut next) in self.gathered.task_sets.iter().zip(task_sets) {
            let of_set = |member: &&Member| member.revision.as_deref() == Some(row.id.as_str());
            let tasks: Vec<&Facts> =
                self.gathered.members().filter(of_set).map(|member| &member.facts).collect();
            if tasks.is_empty() && (row.status == TaskSetStatus::Draining || !self.is_active()) {
                transaction.remove(row);
                continue;
            }
            let grace = self.gathered.grace();
            let good = |facts: &&&Facts| facts.live && facts.verdict(grace, self.now) == Verdict::Healthy;
            let occupying = tasks.iter().filter(|facts| facts.occupies()).count();
            let healthy = tasks.iter().filter(good).count();
            let wanted = usize::try_from(next.computed_desired_count).unwrap_or(0);
            let stability = if healthy == wanted && occupying == wanted {
                StabilityStatus::SteadyState
            } else {
                StabilityStatus::Stabilizing
            };
            if stability != next.stability_status {
                next.stability_status = stability;
                next.stability_status_at = self.now;
                if stability == StabilityStatus::SteadyState {
                    self.messages.say_of(&self.service, Some(&next.id), "has reached a steady state.");
                }
            }
            if next != *row.value {
                next.updated_at = self.now;
                transaction.replace(row, next);
            }
        }
    }

    fn write(mut self, mut transaction: Transaction) -> Result<(Transaction, Outcome), NotMyTurn> {
        for task in self.gathered.ended() {
            transaction.replace(task, Task { accounted: true, ..task.value.as_ref().clone() });
        }
        if let Some(next) = self.deployment.take() {
            match &self.gathered.deployment {
                Some(row) if *row.value == next => {}
                Some(row) => {
                    transaction.replace(row, next);
                }
                None => {
                    transaction.put(next);
                }
            }
        }
        let mut service = self.service;
        self.messages.write(&mut service, &mut transaction, &*self.control.ids, self.now);
        let row = &self.gathered.service;
        if service != *row.value {
            transaction.replace(row, service);
        } else if !transaction.is_empty() {
            transaction.require_unchanged(row);
        }
        Ok((transaction, self.outcome))
    }
}

/// The fault of a launch in a cluster without machines.
const NO_INSTANCES: &str = "No Container Instances were found in your cluster.";

/// A share of the desired count, rounded up. Source: AWS, "TaskSet" data type, `computedDesiredCount`.
fn scaled(desired_count: i32, hundredths_percent: i32) -> i32 {
    let scaled = (i64::from(desired_count.max(0)) * i64::from(hundredths_percent.max(0)) + 9_999) / 10_000;
    i32::try_from(scaled).unwrap_or(i32::MAX)
}

/// The target whose checks fail, where it is not the containers' own.
fn unhealthy_target(task: &Task) -> Option<&TaskTarget> {
    let by_containers = task.health_status == HealthStatus::Unhealthy;
    task.targets.iter().find(|target| target.state == TargetState::Unhealthy).filter(|_| !by_containers)
}

/// Whether a change of a task may matter to its service.
pub fn matters(before: &Task, after: &Task) -> bool {
    before.last_status != after.last_status
        || before.desired_status != after.desired_status
        || before.health_status != after.health_status
        || before.targets.iter().zip(&after.targets).any(|(a, b)| a.state != b.state)
        || before.protected_until != after.protected_until
        || before.container_instance != after.container_instance
        || (after.last_status == TaskStatus::Running
            && before.containers.iter().zip(&after.containers).any(|(a, b)| a.image_digest != b.image_digest))
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn a_share_is_rounded_up() {
        assert_eq!([scaled(3, 5000), scaled(4, 10_000), scaled(10, 1), scaled(0, 5000)], [2, 4, 1, 0]);
    }
}
