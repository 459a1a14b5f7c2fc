//! Which tasks of a service are to be started and which stopped.
//!
//! Source: AWS, "Amazon ECS services", "DeploymentConfiguration" data type, "How Amazon ECS manages service task
//! replacement", "Task scale-in protection", "Balancing an Amazon ECS service across Availability Zones", "Draining Amazon
//! ECS container instances".
//!
//! Vocabulary: a *goal* is how many tasks a revision (or task set) is to have. A task is *live* when it is meant to run and
//! has not begun to end. Live tasks are *starting* (no verdict yet), *healthy* or *unhealthy*; they *leave* when their
//! machine drains or may not have them. *Good* ones are live, not unhealthy, and do not leave. What a goal has beyond its
//! count is its *surplus*. A task *occupies* room until it has begun to end (DEACTIVATING, where
//! load balancers send it requests), meant to run or not: that is what
//! `runningCount` and `pendingCount` show, and what the ceiling bounds.
//!
//! A replacement comes before what it replaces wherever the ceiling has room for it; only where it has none are tasks
//! stopped first, down to the floor. Which of several equal tasks AWS stops on scale-in is not documented beyond zones and
//! instances: here it is the newest.

mod daemon;
mod facts;
mod stop_order;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use base::{Arn, Timestamp};
use domain::{Task, TaskStatus};

pub use facts::Facts;
use stop_order::StopOrder;

/// How many tasks a revision or task set is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The id of the revision or task set.
    pub id: String,
    /// Tasks. With the DAEMON strategy the instances decide.
    pub count: u32,
    /// Whether it gets new tasks; a failed one does not.
    pub may_start: bool,
}

/// For how long after the start of a task its failing checks leave it not ready instead of unhealthy. A check whose grace
/// never ends says whether a task is ready, and stops none: readiness, apart from liveness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grace {
    /// Seconds for the health checks of containers.
    pub containers_seconds: i32,
    /// Seconds for those of load balancers.
    pub targets_seconds: i32,
}

impl Grace {
    /// A grace that does not end: a task does not run for 68 years.
    pub const FOR_EVER_SECONDS: i32 = i32::MAX;

    /// The same for all checks.
    pub const fn of_all(seconds: i32) -> Self {
        Self { containers_seconds: seconds, targets_seconds: seconds }
    }
}

/// What a service is to have.
#[derive(Clone, Debug)]
pub struct Desired<'a> {
    /// Newest first.
    pub goals: &'a [Goal],
    /// The DAEMON strategy: the container instances that are to have one task each.
    pub daemon_on: Option<&'a BTreeSet<String>>,
    /// Least number of healthy tasks; rounded up.
    pub floor: u32,
    /// Greatest number of tasks that occupy room; rounded down.
    pub ceiling: u32,
    /// Every goal is held against floor and ceiling by itself.
    pub side_by_side: bool,
    /// The last try to place a task of it found no room: then tasks are stopped first, where the floor allows.
    pub no_room: bool,
    /// For how long after the start of a task failing checks do not count.
    pub grace: Grace,
    /// The service is being deleted: protection holds nothing back.
    pub ignores_protection: bool,
    /// No task is started before.
    pub start_not_before: Option<Timestamp>,
    /// The places that tasks are to be even over, by the keys of [`TaskSeen::place`]; `None` where they are left alone.
    pub balance_over: Option<&'a BTreeSet<String>>,
}

/// A task of the service that is not STOPPED.
#[derive(Clone, Copy, Debug)]
pub struct TaskSeen<'a> {
    /// What there is of it.
    pub facts: Facts,
    /// The revision or task set that it is of.
    pub revision: Option<&'a str>,
    /// Its Availability Zone.
    pub zone: Option<&'a str>,
    /// Its machine.
    pub machine: Option<&'a Arn>,
    /// Its machine drains, or is gone.
    pub leaves: bool,
    /// Where it counts when tasks are evened out: a zone or an instance.
    pub place: Option<&'a str>,
}

impl<'a> TaskSeen<'a> {
    /// As its row has it.
    pub fn of(task: &'a Task, leaves: bool, place: Option<&'a str>) -> Self {
        Self {
            facts: Facts::of(task),
            revision: task.service_revision(),
            zone: task.availability_zone.as_deref(),
            machine: task.container_instance.as_ref(),
            leaves,
            place,
        }
    }
}

/// What the service has.
#[derive(Clone, Debug, Default)]
pub struct Observed<'a> {
    /// In a stable order.
    pub tasks: &'a [TaskSeen<'a>],
}

/// Where a task is to be started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Where {
    /// Wherever placement puts it.
    Anywhere,
    /// In one of the places that tasks are evened out over.
    Place(String),
    /// On this container instance.
    Instance(String),
}

/// Why a task is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There are more than wanted: scale-in, or a newer revision takes its place.
    Scaling,
    /// Its checks fail.
    Unhealthy,
    /// Its machine drains or may not have it.
    Leaves,
    /// To even out places.
    Rebalancing,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start tasks.
    Start {
        /// Index in [`Desired::goals`].
        goal: usize,
        /// How many.
        count: u32,
        /// Where.
        place: Where,
    },
    /// Stop one.
    Stop {
        /// Index in [`Observed::tasks`].
        task: usize,
        /// Why.
        why: Why,
    },
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything is as wanted.
    pub steady: bool,
    /// Tasks started now that take the place of unhealthy ones.
    pub replaced_unhealthy: u32,
    /// Nothing can be stopped and nothing started, though both are wanted: the percentages do not let it.
    pub stuck: bool,
    /// By revision or task set: tasks that only their protection keeps.
    pub protected: BTreeMap<String, u32>,
    /// Tasks by place, where they are being evened out.
    pub unbalanced: Option<BTreeMap<String, u32>>,
}

/// What to do, how things stand, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Stops and starts.
    pub actions: Vec<Action>,
    /// How things stand.
    pub report: Report,
    /// When to look again though nothing changed.
    pub wake_at: Option<Timestamp>,
}

impl Decision {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |there| there.min(at)));
    }
}

/// What is known of a live task's health, from bad to good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A check of its containers or of a load balancer fails, after the grace period.
    Unhealthy,
    /// Not RUNNING yet, or its checks have not come to a verdict.
    Starting,
    /// RUNNING, and healthy where it has a check and in all its target groups.
    Healthy,
}

/// The least number of healthy tasks: rounded up. Source: `minimumHealthyPercent`.
pub fn healthy_floor(desired_count: u32, minimum_healthy_percent: u32) -> u32 {
    let floor = (u64::from(desired_count) * u64::from(minimum_healthy_percent)).div_ceil(100);
    u32::try_from(floor).unwrap_or(u32::MAX)
}

/// The greatest number of tasks: rounded down. Source: `maximumPercent`.
pub fn running_ceiling(desired_count: u32, maximum_percent: u32) -> u32 {
    u32::try_from(u64::from(desired_count) * u64::from(maximum_percent) / 100).unwrap_or(u32::MAX)
}

/// A task, and what has been made out about it.
#[derive(Clone, Debug)]
struct Known<'a> {
    index: usize,
    seen: &'a TaskSeen<'a>,
    goal: Option<usize>,
    live: bool,
    verdict: Verdict,
    protected: bool,
}

impl Known<'_> {
    /// Is to stop, and its containers have not been told yet.
    fn is_ending(&self) -> bool {
        !self.live && self.seen.facts.last_status < TaskStatus::Stopping
    }

    fn good(&self) -> bool {
        self.live && self.verdict != Verdict::Unhealthy && !self.seen.leaves
    }

    fn bad(&self) -> bool {
        self.live && self.verdict == Verdict::Unhealthy
    }

    fn healthy(&self) -> bool {
        self.live && self.verdict == Verdict::Healthy
    }

    /// Runs, and its checks do not say otherwise.
    fn may_be_healthy(&self) -> bool {
        self.live && self.verdict != Verdict::Unhealthy && self.seen.facts.last_status == TaskStatus::Running
    }
}

/// Compares what a service is to have with what it has.
pub fn decide(desired: &Desired<'_>, observed: &Observed<'_>, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let tasks = know(desired, observed, now, &mut decision);
    if let Some(instances) = desired.daemon_on {
        daemon::decide(desired, instances, &tasks, now, &mut decision);
    } else if desired.side_by_side {
        for goal in 0..desired.goals.len() {
            let own: Vec<&Known<'_>> = tasks.iter().filter(|task| task.goal == Some(goal)).collect();
            let alone = Desired { floor: own_floor(desired, goal), ..desired.clone() };
            Group { desired: &alone, goals: vec![goal], tasks: own, now }.decide(&mut decision);
        }
        let others: Vec<&Known<'_>> = tasks.iter().filter(|task| task.goal.is_none()).collect();
        let none = Desired { floor: 0, ..desired.clone() };
        Group { desired: &none, goals: Vec::new(), tasks: others, now }.decide(&mut decision);
    } else {
        let goals = (0..desired.goals.len()).collect();
        Group { desired, goals, tasks: tasks.iter().collect(), now }.decide(&mut decision);
    }
    decision.report.steady = is_steady(desired, &tasks) && decision.actions.is_empty();
    if decision.report.steady && desired.daemon_on.is_none() {
        rebalance(desired, &tasks, now, &mut decision);
    }
    decision
}

/// The floor of a goal that stands alone: never above what it is to have.
pub(crate) fn own_floor(desired: &Desired<'_>, goal: usize) -> u32 {
    desired.floor.min(desired.goals[goal].count)
}

fn know<'a>(
    desired: &Desired<'_>,
    observed: &Observed<'a>,
    now: Timestamp,
    decision: &mut Decision,
) -> Vec<Known<'a>> {
    let known = |(index, seen): (usize, &'a TaskSeen<'a>)| {
        let facts = &seen.facts;
        if let Some(at) = facts.counts_from(desired.grace, now) {
            decision.wake(at);
        }
        Known {
            index,
            seen,
            goal: desired.goals.iter().position(|goal| Some(goal.id.as_str()) == seen.revision),
            live: facts.live,
            verdict: facts.verdict(desired.grace, now),
            protected: !desired.ignores_protection && facts.protected_until.is_some_and(|until| now < until),
        }
    };
    observed.tasks.iter().enumerate().map(known).collect()
}

fn is_steady(desired: &Desired<'_>, tasks: &[Known<'_>]) -> bool {
    let occupying = tasks.iter().filter(|task| task.seen.facts.occupies());
    let at_rest = |task: &Known<'_>| task.good() && task.healthy() && task.goal.is_some();
    let of_goal = |goal: usize| match desired.daemon_on {
        Some(instances) if goal == 0 => count(instances.len()),
        Some(_) => 0,
        None => desired.goals[goal].count,
    };
    occupying.clone().all(at_rest)
        && (0..desired.goals.len()).all(|goal| {
            count(occupying.clone().filter(|task| task.goal == Some(goal)).count()) == of_goal(goal)
        })
}

fn count(amount: usize) -> u32 {
    u32::try_from(amount).unwrap_or(u32::MAX)
}

/// Goals that share one floor and one ceiling, and their tasks.
struct Group<'a, 'd> {
    desired: &'a Desired<'d>,
    goals: Vec<usize>,
    tasks: Vec<&'a Known<'a>>,
    now: Timestamp,
}

/// What is planned of one goal.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    deficit: u32,
    started: u32,
}

impl Group<'_, '_> {
    fn decide(&self, decision: &mut Decision) {
        let waits = self.desired.start_not_before.filter(|at| self.now < *at);
        let occupying = count(self.tasks.iter().filter(|task| task.seen.facts.occupies()).count());
        let room = self.desired.ceiling.saturating_sub(occupying);
        let plans = self.starts(room, waits, decision);
        let deficit: u32 = plans.values().map(|plan| plan.deficit).sum();
        let started: u32 = plans.values().map(|plan| plan.started).sum();
        let before = decision.actions.len();
        let exhausted = waits.is_none() && started >= room;
        let kept = self.stops(&plans, exhausted, decision);
        let stopped = decision.actions.len() > before;

        let moving = self
            .tasks
            .iter()
            .any(|task| task.is_ending() || (task.good() && task.verdict == Verdict::Starting));
        decision.report.stuck |=
            deficit > 0 && started == 0 && waits.is_none() && room == 0 && !stopped && !moving && kept == 0;
    }

    fn of(&self, goal: Option<usize>) -> impl Iterator<Item = &Known<'_>> {
        self.tasks.iter().copied().filter(move |task| task.goal == goal)
    }

    fn starts(&self, room: u32, waits: Option<Timestamp>, decision: &mut Decision) -> BTreeMap<usize, Plan> {
        let mut plans = BTreeMap::new();
        let mut left = room;
        for &goal in &self.goals {
            let wanted = &self.desired.goals[goal];
            let good = count(self.of(Some(goal)).filter(|task| task.good()).count());
            let unhealthy = count(self.of(Some(goal)).filter(|task| task.bad()).count());
            let deficit = if wanted.may_start { wanted.count.saturating_sub(good) } else { 0 };
            // A replacement that turned out unhealthy itself gets none of its own before the count is right again.
            let excess = (good + unhealthy).saturating_sub(wanted.count);
            let deficit = if excess > 0 && unhealthy >= excess && self.none_starting(goal) {
                deficit.saturating_sub(unhealthy.min(excess))
            } else {
                deficit
            };
            let started = if waits.is_some() { 0 } else { deficit.min(left) };
            if let Some(at) = waits.filter(|_| deficit > 0) {
                decision.wake(at);
            }
            left -= started;
            if started > 0 {
                decision.report.replaced_unhealthy += started.min(unhealthy);
                decision.actions.push(Action::Start { goal, count: started, place: Where::Anywhere });
            }
            plans.insert(goal, Plan { deficit, started });
        }
        plans
    }

    fn none_starting(&self, goal: usize) -> bool {
        !self.of(Some(goal)).any(|task| task.good() && task.verdict == Verdict::Starting)
    }

    /// Adds the stops; gives how many tasks only protection keeps.
    fn stops(&self, plans: &BTreeMap<usize, Plan>, exhausted: bool, decision: &mut Decision) -> u32 {
        let lacks_room = exhausted && plans.values().any(|plan| plan.deficit > plan.started);
        let healthy = count(self.tasks.iter().filter(|task| task.healthy()).count());
        let wanted: u32 = self.goals.iter().map(|&goal| self.desired.goals[goal].count).sum();
        // With room for all that is to come, nothing healthy goes before it has come.
        let floor = if lacks_room || self.desired.no_room {
            self.desired.floor
        } else {
            self.desired.floor.max(wanted)
        };
        let running = count(self.tasks.iter().filter(|task| task.may_be_healthy()).count());
        let mut budget = Budget {
            healthy: healthy.saturating_sub(floor),
            running: running.saturating_sub(self.desired.floor),
            keeps_unproven: healthy < self.desired.floor && !lacks_room && !self.desired.no_room,
        };
        for &goal in &self.goals {
            let plan = plans.get(&goal).copied().unwrap_or_default();
            self.stop_unhealthy(goal, plan, lacks_room, decision);
        }
        let mut kept = BTreeMap::new();
        for task in self.tasks.iter().filter(|task| task.live && task.seen.leaves && !task.bad()) {
            stop_if_allowed(task, Why::Leaves, &mut budget, &mut kept, decision);
        }
        let goals = self.goals.iter().rev().map(|&goal| Some(goal));
        for goal in std::iter::once(None).chain(goals) {
            if goal.is_none() {
                for task in self.of(None).filter(|task| task.bad()) {
                    decision.actions.push(Action::Stop { task: task.index, why: Why::Unhealthy });
                }
            }
            self.stop_surplus(goal, &mut budget, &mut kept, decision);
        }
        let all = kept.values().sum();
        for (goal, kept) in kept {
            *decision.report.protected.entry(goal).or_default() += kept;
        }
        all
    }

    fn stop_unhealthy(&self, goal: usize, plan: Plan, lacks_room: bool, decision: &mut Decision) {
        let mut bad: Vec<&Known<'_>> = self.of(Some(goal)).filter(|task| task.bad()).collect();
        bad.sort_by_key(|task| (task.seen.facts.created_at, task.index));
        let wanted = self.desired.goals[goal].count;
        let good = count(self.of(Some(goal)).filter(|task| task.good()).count());
        let healthy = count(self.of(Some(goal)).filter(|task| task.good() && task.healthy()).count());
        let stopping = self.tasks.iter().any(|task| task.is_ending());
        let stops = if healthy >= wanted {
            bad.len()
        } else if lacks_room && plan.deficit > plan.started && !stopping {
            // No room for a replacement: one at a time makes it.
            1
        } else if plan.started == 0 && self.none_starting(goal) {
            usize::try_from((good + count(bad.len())).saturating_sub(wanted)).unwrap_or(0)
        } else {
            0
        };
        for task in bad.into_iter().take(stops) {
            decision.actions.push(Action::Stop { task: task.index, why: Why::Unhealthy });
        }
    }

    fn stop_surplus(
        &self,
        goal: Option<usize>,
        budget: &mut Budget,
        kept: &mut BTreeMap<String, u32>,
        decision: &mut Decision,
    ) {
        let wanted = goal.map_or(0, |goal| self.desired.goals[goal].count);
        let keeps_unproven = wanted == 0 && budget.keeps_unproven;
        let is_kept = |task: &Known<'_>| keeps_unproven && task.may_be_healthy() && !task.healthy();
        let good: Vec<&Known<'_>> = self.of(goal).filter(|task| task.good() && !is_kept(task)).collect();
        let surplus = count(good.len()).saturating_sub(wanted);
        if surplus == 0 || self.is_being_evened_out(&good, surplus) {
            return;
        }
        let healthy = count(good.iter().filter(|task| task.healthy()).count());
        let running = count(good.iter().filter(|task| task.may_be_healthy()).count());
        let all_may_go = healthy <= budget.healthy && running <= budget.running;
        if wanted == 0 && all_may_go && self.desired.balance_over.is_none() {
            // All of them: the order does not matter.
            for task in good {
                stop_if_allowed(task, Why::Scaling, budget, kept, decision);
            }
            return;
        }
        let why = if self.desired.balance_over.is_some_and(|_| self.is_uneven(&good)) {
            Why::Rebalancing
        } else {
            Why::Scaling
        };
        let protected_until = good.iter().filter(|task| task.protected);
        let protected_until = protected_until.filter_map(|task| task.seen.facts.protected_until).min();
        let mut order = StopOrder::new(good, self.tasks.iter().copied().filter(|task| task.live));
        for _ in 0..surplus {
            let Some(task) = order.next() else { break };
            if let Some(until) = protected_until.filter(|_| task.protected) {
                decision.wake(until);
            }
            if stop_if_allowed(task, why, budget, kept, decision) {
                order.stopped(task);
            } else if !task.protected {
                break;
            }
        }
    }

    /// What starts in another place is no surplus before it is there to take the place of what is stopped then.
    fn is_being_evened_out(&self, good: &[&Known<'_>], surplus: u32) -> bool {
        let starting = count(good.iter().filter(|task| task.verdict == Verdict::Starting).count());
        self.desired.balance_over.is_some() && surplus <= starting && self.is_uneven(good)
    }

    fn is_uneven(&self, good: &[&Known<'_>]) -> bool {
        let Some(places) = self.desired.balance_over else { return false };
        let healthy = good.iter().copied().filter(|task| task.healthy());
        let counts = by_place(places, healthy);
        spread(&counts) > 1
    }
}

/// How many tasks the floor can spare. What runs and has no verdict of its checks yet may well serve: it counts for nothing
/// that is healthy, but it is not stopped either where fewer would be left running than the floor asks for.
#[derive(Clone, Copy, Debug)]
struct Budget {
    healthy: u32,
    running: u32,
    /// Fewer are known to be healthy than the floor asks for, and all that is to come has room: what runs of older revisions
    /// without a verdict, such as the tasks of an update that the next one overtakes, may be what serves. It stays until others do.
    keeps_unproven: bool,
}

impl Budget {
    /// Takes a task out of it; false where the floor cannot spare it.
    fn take(&mut self, task: &Known<'_>) -> bool {
        if task.healthy() {
            if self.healthy == 0 {
                return false;
            }
            self.healthy -= 1;
            self.running = self.running.saturating_sub(1);
        } else if task.may_be_healthy() {
            if self.running == 0 {
                return false;
            }
            self.running -= 1;
        }
        true
    }
}

/// Stops a task that is not protected and that the floor can spare; says whether it did.
fn stop_if_allowed(
    task: &Known<'_>,
    why: Why,
    budget: &mut Budget,
    kept: &mut BTreeMap<String, u32>,
    decision: &mut Decision,
) -> bool {
    if task.protected {
        *kept.entry(task.seen.revision.unwrap_or_default().to_owned()).or_default() += 1;
        if let Some(until) = task.seen.facts.protected_until {
            decision.wake(until);
        }
        return false;
    }
    if !budget.take(task) {
        return false;
    }
    decision.actions.push(Action::Stop { task: task.index, why });
    true
}

fn by_place<'a>(
    places: &BTreeSet<String>,
    tasks: impl Iterator<Item = &'a Known<'a>>,
) -> BTreeMap<String, u32> {
    let mut counts: BTreeMap<String, u32> = places.iter().map(|place| (place.clone(), 0)).collect();
    for task in tasks {
        if let Some(there) = task.seen.place.and_then(|place| counts.get_mut(place)) {
            *there += 1;
        }
    }
    counts
}

fn spread(counts: &BTreeMap<String, u32>) -> u32 {
    let most = counts.values().max().copied().unwrap_or(0);
    most - counts.values().min().copied().unwrap_or(0)
}

/// Starts tasks where few are, when otherwise nothing is to be done; those that are too many elsewhere go as surplus once
/// these are healthy.
fn rebalance(desired: &Desired<'_>, tasks: &[Known<'_>], now: Timestamp, decision: &mut Decision) {
    let Some(places) = desired.balance_over.filter(|places| places.len() > 1) else { return };
    let Some(goal) = desired.goals.iter().position(|goal| goal.count > 0 && goal.may_start) else { return };
    let counts = by_place(places, tasks.iter().filter(|task| task.live));
    let movable = by_place(places, tasks.iter().filter(|task| task.live && !task.protected));
    if spread(&counts) <= 1 {
        return;
    }
    if let Some(at) = desired.start_not_before.filter(|at| now < *at) {
        decision.wake(at);
        return;
    }
    let occupying = count(tasks.iter().filter(|task| task.seen.facts.occupies()).count());
    let room = desired.ceiling.saturating_sub(occupying);
    let mut planned = counts.clone();
    let mut movable = movable;
    let mut starts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..room {
        let most = planned
            .iter()
            .filter(|(place, _)| movable.get(*place).copied().unwrap_or(0) > 0)
            .max_by_key(|(_, count)| **count)
            .map(|(place, count)| (place.clone(), *count));
        let least =
            planned.iter().min_by_key(|(_, count)| **count).map(|(place, count)| (place.clone(), *count));
        let (Some((from, most)), Some((to, least))) = (most, least) else { break };
        if most.saturating_sub(least) <= 1 {
            break;
        }
        for (place, change) in [(&from, -1), (&to, 1)] {
            if let Some(there) = planned.get_mut(place) {
                *there = there.saturating_add_signed(change);
            }
        }
        if let Some(there) = movable.get_mut(&from) {
            *there -= 1;
        }
        *starts.entry(to).or_default() += 1;
    }
    if starts.is_empty() {
        let protected = count(tasks.iter().filter(|task| task.live && task.protected).count());
        if protected > 0 && room > 0 {
            decision.report.protected.insert(desired.goals[goal].id.clone(), protected);
            let until =
                tasks.iter().filter_map(|task| task.seen.facts.protected_until).filter(|at| now < *at).min();
            if let Some(until) = until {
                decision.wake(until);
            }
        }
        return;
    }
    decision.report.steady = false;
    decision.report.unbalanced = Some(counts);
    for (place, count) in starts {
        decision.actions.push(Action::Start { goal, count, place: Where::Place(place) });
    }
}
