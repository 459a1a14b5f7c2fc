//! A target group at work: its members, their health, and which is next.
//!
//! Vocabulary: a *member* is a target that the group knows. It is *registered* or *draining* (deregistered, with requests
//! under way that may end). It is *eligible* when it is registered and healthy; where no registered member is healthy, all
//! registered ones are ("fail open", as documented for load balancers).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::configuration::{Algorithm, GroupProtocol, Target, TargetGroup};
use crate::health;
use crate::place::Place;
use crate::upstream::Pool;

/// What is known of a target's health. Source: "TargetHealth" data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// No verdict yet.
    Initial,
    /// Passes.
    Healthy,
    /// Fails.
    Unhealthy,
    /// Deregistered; requests under way may end.
    Draining,
    /// No listener sends to its group.
    Unused,
}

impl TargetState {
    /// AWS's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Unused => "unused",
        }
    }
}

/// A target's health, with AWS's reason and description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealth {
    /// The target.
    pub target: Target,
    /// State.
    pub state: TargetState,
    /// Such as `Target.ResponseCodeMismatch`.
    pub reason: Option<&'static str>,
    /// In words.
    pub description: Option<String>,
}

#[derive(Clone, Debug)]
struct Verdict {
    state: TargetState,
    reason: Option<&'static str>,
    description: Option<String>,
    /// When it last became healthy: slow start counts from here.
    healthy_since: Option<Instant>,
}

/// A target that the group knows.
pub struct Member {
    /// The target.
    pub target: Target,
    /// Where it is.
    pub address: SocketAddr,
    /// Connections to it that wait for use.
    pub pool: Pool,
    verdict: RwLock<Verdict>,
    draining: AtomicBool,
    outstanding: AtomicUsize,
    idle: Notify,
    checker: Mutex<Option<JoinHandle<()>>>,
    cut: watch::Sender<bool>,
}

/// Which targets' states changed since somebody last asked: one entry a target, however often it changed.
#[derive(Debug)]
pub struct Changes {
    bell: watch::Sender<u64>,
    dirty: Mutex<BTreeSet<(Arc<str>, Target)>>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { bell: watch::channel(0).0, dirty: Mutex::default() }
    }
}

impl Changes {
    /// Rings at every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }

    /// What changed since the last call.
    pub fn take(&self) -> BTreeSet<(Arc<str>, Target)> {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, group: &Arc<str>, targets: impl Iterator<Item = Target>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        dirty.extend(targets.map(|target| (Arc::clone(group), target)));
        drop(dirty);
        self.bell.send_modify(|count| *count += 1);
    }
}

/// A request or connection under way with a member; ends when dropped.
pub struct Outstanding(Arc<Member>);

impl Outstanding {
    /// Whom it is with.
    pub const fn member(&self) -> &Arc<Member> {
        &self.0
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        if self.0.outstanding.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Member {
    fn new(target: Target, seen: Option<TargetState>) -> Arc<Self> {
        let address = SocketAddr::new(target.address, target.port);
        let (state, reason, description) = match seen {
            Some(TargetState::Healthy) => (TargetState::Healthy, None, None),
            Some(TargetState::Unhealthy) => {
                (TargetState::Unhealthy, Some("Target.FailedHealthChecks"), Some("Health checks failed"))
            }
            _ => (
                TargetState::Initial,
                Some("Elb.RegistrationInProgress"),
                Some("Target registration is in progress"),
            ),
        };
        Arc::new(Self {
            target,
            address,
            pool: Pool::default(),
            verdict: RwLock::new(Verdict {
                state,
                reason,
                description: description.map(str::to_owned),
                healthy_since: None,
            }),
            draining: AtomicBool::new(false),
            outstanding: AtomicUsize::new(0),
            idle: Notify::new(),
            checker: Mutex::new(None),
            cut: watch::channel(false).0,
        })
    }

    /// Counts a request or connection in; `None` where the member was deregistered. Whoever deregisters marks first and
    /// counts then, whoever begins counts first and looks then: one of the two sees the other.
    pub fn begin(self: &Arc<Self>) -> Option<Outstanding> {
        self.outstanding.fetch_add(1, Ordering::SeqCst);
        let begun = Outstanding(Arc::clone(self));
        (!self.is_draining()).then_some(begun)
    }

    /// Counts what goes on longer than what began it, such as a web socket.
    pub fn go_on(self: &Arc<Self>) -> Outstanding {
        self.outstanding.fetch_add(1, Ordering::SeqCst);
        Outstanding(Arc::clone(self))
    }

    /// Waits until the connections of this member, which was deregistered, must end: those that passed on bytes, not requests.
    pub async fn cut_off(&self) {
        let mut cut = self.cut.subscribe();
        // What `wait_for` gives holds a lock: it must not live across another await.
        drop(cut.wait_for(|cut| *cut).await);
    }

    /// Requests and connections under way.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::SeqCst)
    }

    /// Whether it was deregistered.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// What its checks came to.
    pub fn state(&self) -> TargetState {
        self.verdict.read().unwrap_or_else(PoisonError::into_inner).state
    }

    fn is_healthy(&self) -> bool {
        self.state() == TargetState::Healthy
    }

    /// Share of its part that it takes, in per mille: less than 1,000 during slow start.
    fn warmth(&self, slow_start: Duration, now: Instant) -> u64 {
        if slow_start.is_zero() {
            return 1000;
        }
        let since = self.verdict.read().unwrap_or_else(PoisonError::into_inner).healthy_since;
        let Some(since) = since else { return 1000 };
        let warm = now.saturating_duration_since(since);
        if warm >= slow_start {
            1000
        } else {
            (warm.as_millis() * 1000 / slow_start.as_millis().max(1)).max(1) as u64
        }
    }

    fn stop_checking(&self) {
        if let Some(checker) = self.checker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            checker.abort();
        }
    }
}

/// A target group at work.
pub struct Group {
    arn: Arc<str>,
    configuration: RwLock<Arc<TargetGroup>>,
    members: RwLock<Arc<Vec<Arc<Member>>>>,
    /// Who is next in turn: kept, for every request looks at it and it changes seldom.
    eligible: RwLock<Arc<Vec<Arc<Member>>>>,
    cursor: AtomicUsize,
    changes: Arc<Changes>,
    /// Where its load balancer stands; `None` while no listener sends to it.
    origin: RwLock<Option<Arc<[Place]>>>,
}

impl Group {
    /// A group at work. `changes` is told of every change of a target's state, `seen` is what an earlier process saw.
    pub fn new(
        configuration: Arc<TargetGroup>,
        changes: Arc<Changes>,
        seen: &[(Target, TargetState)],
    ) -> Arc<Self> {
        let group = Arc::new(Self {
            arn: Arc::clone(&configuration.arn),
            configuration: RwLock::new(Arc::clone(&configuration)),
            members: RwLock::default(),
            eligible: RwLock::default(),
            cursor: AtomicUsize::new(0),
            changes,
            origin: RwLock::new(None),
        });
        group.update(configuration, seen);
        group
    }

    /// How it is set.
    pub fn configuration(&self) -> Arc<TargetGroup> {
        Arc::clone(&self.configuration.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything that the group knows.
    pub fn members(&self) -> Arc<Vec<Arc<Member>>> {
        Arc::clone(&self.members.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn eligible(&self) -> Arc<Vec<Arc<Member>>> {
        Arc::clone(&self.eligible.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works out anew who is eligible.
    fn sort_out(&self) {
        // Held while the members are looked at, so that of two that sort out at once the later one looks later.
        let mut eligible = self.eligible.write().unwrap_or_else(PoisonError::into_inner);
        let members = self.members();
        let registered = || members.iter().filter(|member| !member.is_draining());
        let mut next: Vec<Arc<Member>> = registered().filter(|member| member.is_healthy()).cloned().collect();
        if next.is_empty() {
            next = registered().cloned().collect();
        }
        *eligible = Arc::new(next);
    }

    /// Where connections to targets come from.
    pub fn origin(&self) -> Option<Place> {
        self.origin.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.first().cloned()
    }

    fn is_in_use(&self) -> bool {
        self.origin.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Says where the load balancer stands that sends to it. Targets of a group that nobody sends to are not checked.
    pub fn set_origin(self: &Arc<Self>, origin: Option<Arc<[Place]>>) {
        let before = {
            let mut there = self.origin.write().unwrap_or_else(PoisonError::into_inner);
            if *there == origin {
                return;
            }
            std::mem::replace(&mut *there, origin.clone())
        };
        let members = self.members();
        for member in members.iter() {
            // Connections that wait are from where it stood before.
            member.pool.clear();
            if member.is_draining() || before.is_some() == origin.is_some() {
                continue;
            }
            if origin.is_some() {
                self.check(member);
            } else {
                member.stop_checking();
            }
        }
        self.changes.tell(&self.arn, members.iter().map(|member| member.target.clone()));
    }

    /// Takes over new settings and targets. Members that stay keep their health and connections.
    pub fn update(self: &Arc<Self>, configuration: Arc<TargetGroup>, seen: &[(Target, TargetState)]) {
        let before = self.configuration();
        let recheck = before.health_check != configuration.health_check
            || before.protocol_version != configuration.protocol_version;
        *self.configuration.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&configuration);
        let old = self.members();
        let mut known: BTreeMap<&Target, &Arc<Member>> = old
            .iter()
            .filter(|member| !member.is_draining())
            .map(|member| (&member.target, member))
            .collect();
        let mut members: Vec<Arc<Member>> =
            old.iter().filter(|member| member.is_draining()).cloned().collect();
        let mut fresh = Vec::new();
        for target in &configuration.targets {
            if let Some(member) = known.remove(target) {
                members.push(Arc::clone(member));
                if recheck {
                    fresh.push(Arc::clone(member));
                }
            } else {
                let seen = seen.iter().find(|(known, _)| known == target).map(|(_, state)| *state);
                let member = Member::new(target.clone(), seen);
                members.push(Arc::clone(&member));
                fresh.push(member);
            }
        }
        let gone: Vec<Arc<Member>> = known.into_values().cloned().collect();
        for member in &gone {
            member.draining.store(true, Ordering::SeqCst);
            members.push(Arc::clone(member));
        }
        members.sort_by(|a, b| a.target.cmp(&b.target));
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(members);
        self.sort_out();
        // Connections to targets of application load balancers end with the delay at the latest.
        let cut = configuration.connection_termination
            || matches!(configuration.protocol, GroupProtocol::Http | GroupProtocol::Https);
        for member in &gone {
            self.drain(member, configuration.deregistration_delay, cut);
        }
        if self.is_in_use() {
            for member in &fresh {
                self.check(member);
            }
        }
        self.changes.tell(&self.arn, fresh.iter().chain(&gone).map(|member| member.target.clone()));
    }

    fn check(self: &Arc<Self>, member: &Arc<Member>) {
        member.stop_checking();
        let checker = tokio::spawn(health::watch(Arc::downgrade(self), Arc::downgrade(member)));
        *member.checker.lock().unwrap_or_else(PoisonError::into_inner) = Some(checker);
    }

    /// Takes a member out: it gets nothing new, what is under way may end within the delay. `cut` says whether its connections are
    /// closed then; a request of HTTP that is under way ends as it will.
    fn drain(self: &Arc<Self>, member: &Arc<Member>, delay: Duration, cut: bool) {
        member.stop_checking();
        let (group, member) = (Arc::downgrade(self), Arc::clone(member));
        tokio::spawn(async move {
            let deadline = Instant::now() + delay;
            loop {
                let idle = member.idle.notified();
                tokio::pin!(idle);
                idle.as_mut().enable();
                if member.outstanding() == 0 || tokio::time::timeout_at(deadline, idle).await.is_err() {
                    break;
                }
            }
            if cut || member.outstanding() == 0 {
                member.cut.send_replace(true);
            }
            member.pool.clear();
            if let Some(group) = group.upgrade() {
                let mut members = group.members.write().unwrap_or_else(PoisonError::into_inner);
                let left = members.iter().filter(|other| !Arc::ptr_eq(other, &member)).cloned().collect();
                *members = Arc::new(left);
                drop(members);
                group.changes.tell(&group.arn, std::iter::once(member.target.clone()));
            }
        });
    }

    /// Writes a checker's verdict down.
    pub fn judge(
        &self,
        member: &Member,
        state: TargetState,
        reason: Option<&'static str>,
        description: Option<String>,
    ) {
        let mut verdict = member.verdict.write().unwrap_or_else(PoisonError::into_inner);
        if verdict.state == state && verdict.reason == reason && verdict.description == description {
            return;
        }
        if state == TargetState::Healthy && verdict.state != TargetState::Healthy {
            verdict.healthy_since = Some(Instant::now());
        }
        let turned = verdict.state != state;
        (verdict.state, verdict.reason, verdict.description) = (state, reason, description);
        drop(verdict);
        if turned {
            self.sort_out();
        }
        self.changes.tell(&self.arn, std::iter::once(member.target.clone()));
    }

    /// What is known of every target.
    pub fn health(&self) -> Vec<TargetHealth> {
        let in_use = self.is_in_use();
        self.members().iter().map(|member| health_of(member, in_use)).collect()
    }

    /// What is known of one target: of its registration where it has one, else of what drains of it.
    pub fn health_of(&self, target: &Target) -> Option<TargetHealth> {
        let members = self.members();
        // Members stand in order of their targets; one that drains may stand beside its successor.
        let first = members.partition_point(|member| member.target < *target);
        let mut same = members.iter().skip(first).take_while(|member| member.target == *target).peekable();
        let drains = same.peek().copied();
        let found = same.find(|member| !member.is_draining()).or(drains)?;
        Some(health_of(found, self.is_in_use()))
    }

    /// The member called so, where it may still be used: eligible, or registered while no member is healthy.
    pub fn find(&self, id: &str, port: u16) -> Option<Outstanding> {
        let eligible = self.eligible();
        eligible.iter().find(|member| &*member.target.id == id && member.target.port == port)?.begin()
    }

    /// Whether there is a registered target at all.
    pub fn has_targets(&self) -> bool {
        !self.eligible().is_empty()
    }

    /// The next member, with the request counted in; `None` where none is registered.
    pub fn choose(&self, chance: &Chance) -> Option<Outstanding> {
        loop {
            let eligible = self.eligible();
            if eligible.is_empty() {
                return None;
            }
            // One that was deregistered a moment ago is no longer among the eligible ones at the next look.
            if let Some(begun) = self.next_of(&eligible, chance).begin() {
                return Some(begun);
            }
            std::thread::yield_now();
        }
    }

    fn next_of<'a>(&self, eligible: &'a [Arc<Member>], chance: &Chance) -> &'a Arc<Member> {
        let configuration = self.configuration();
        let turn = |count: usize| self.cursor.fetch_add(1, Ordering::Relaxed) % count;
        let warm: Vec<&Arc<Member>>;
        if eligible.len() > 1 && !configuration.slow_start.is_zero() {
            let now = Instant::now();
            let is_due =
                |member: &&Arc<Member>| chance.below(1000) < member.warmth(configuration.slow_start, now);
            warm = eligible.iter().filter(is_due).collect();
            if !warm.is_empty() {
                return match configuration.algorithm {
                    Algorithm::RoundRobin => warm[turn(warm.len())],
                    Algorithm::WeightedRandom => warm[chance.below(warm.len() as u64) as usize],
                    Algorithm::LeastOutstandingRequests => least(&warm, turn(warm.len())),
                };
            }
        }
        match configuration.algorithm {
            _ if eligible.len() == 1 => &eligible[0],
            Algorithm::RoundRobin => &eligible[turn(eligible.len())],
            Algorithm::WeightedRandom => &eligible[chance.below(eligible.len() as u64) as usize],
            Algorithm::LeastOutstandingRequests => {
                let all: Vec<&Arc<Member>> = eligible.iter().collect();
                least(&all, turn(all.len()))
            }
        }
    }

    /// A member for a client's address: the same one as long as the eligible ones stay. With a zone, it is one of that zone
    /// or of all; where the zone has none, any.
    pub fn choose_by_hash(&self, hash: u64, zone: Option<&str>) -> Option<Outstanding> {
        // Rendezvous hashing: a member that goes moves only its own clients.
        let weight = |member: &&Arc<Member>| {
            let own = crate::chance::hash(member.target.id.as_bytes());
            crate::chance::mix(hash ^ own ^ u64::from(member.target.port))
        };
        let is_near = |member: &&Arc<Member>| {
            let of_member = member.target.zone.as_deref();
            zone.is_none() || of_member.is_none() || of_member == zone
        };
        loop {
            let eligible = self.eligible();
            let near = eligible.iter().filter(is_near).max_by_key(weight);
            let chosen = near.or_else(|| eligible.iter().max_by_key(weight))?;
            if let Some(begun) = chosen.begin() {
                return Some(begun);
            }
            std::thread::yield_now();
        }
    }

    /// Ends every checker; connections under way go on.
    pub fn close(&self) {
        for member in self.members().iter() {
            member.stop_checking();
            member.pool.clear();
        }
    }
}

/// The one with the fewest requests under way; equal ones take turns.
fn least<'a>(members: &[&'a Arc<Member>], turn: usize) -> &'a Arc<Member> {
    let (before, after) = members.split_at(turn);
    let mut in_turn = after.iter().chain(before).copied();
    let first = members[turn];
    in_turn.by_ref().min_by_key(|member| member.outstanding()).unwrap_or(first)
}

fn health_of(member: &Member, in_use: bool) -> TargetHealth {
    let target = member.target.clone();
    if member.is_draining() {
        return TargetHealth {
            target,
            state: TargetState::Draining,
            reason: Some("Target.DeregistrationInProgress"),
            description: Some("Target deregistration is in progress".to_owned()),
        };
    }
    if !in_use {
        return TargetHealth {
            target,
            state: TargetState::Unused,
            reason: Some("Target.NotInUse"),
            description: Some(
                "Target group is not configured to receive traffic from the load balancer".to_owned(),
            ),
        };
    }
    let verdict = member.verdict.read().unwrap_or_else(PoisonError::into_inner).clone();
    TargetHealth { target, state: verdict.state, reason: verdict.reason, description: verdict.description }
}
