//! Managed daemons: on which container instance a daemon's task starts or stops, and how a deployment goes on.
//!
//! Vocabulary. The *goal* is a revision and the capacity providers that it belongs on: a deployment's target, or on its
//! way back what was before. A *place* is a daemon's seat on one container instance; it has one task at most, so a new one
//! starts only when the old one is STOPPED. An instance is
//! - *covered* when the goal's task runs on it and is not unhealthy,
//! - *arriving* when the goal's task is there and does not run yet, or is to start again after a failure,
//! - *outdated* when another revision's task is there,
//! - *empty* when nothing is there,
//! - *foreign* when the goal does not belong on it, and there is a task all the same.
//!
//! `drainPercent` bounds how many instances are in transition at once ([`batch`], rounded down, at least one). An instance
//! that registered after the deployment was made, or that lost its task, is served at once.
//!
//! Failures: a task that ends though nobody stopped it, that is UNHEALTHY, or that finds no room. Each puts off the next
//! attempt on that instance by twice as long ([`put_off_seconds`]), each counts for the circuit breaker of the deployment
//! under way, and with a *critical* daemon the instance goes into DRAINING until the daemon has run on it for
//! [`STABLE_SECONDS`]. AWS does not publish the circuit breaker's threshold for daemons; ours is the rule for services
//! ([`threshold`]) with instances in place of tasks.

use base::Timestamp;
use domain::{
    ContainerInstanceStatus, Daemon, DaemonDeployment, DaemonDeploymentStatus, DaemonGoal, DaemonPlace,
    DaemonRollback, MonitorStatus,
};

/// Seconds that a task must have run for its earlier failures to be forgotten.
pub const STABLE_SECONDS: i64 = 10;
/// Seconds before the first new attempt after a failure.
const PUT_OFF_FIRST_SECONDS: i64 = 5;
/// Seconds before a new attempt at most. Source: AWS, "Service throttle logic" (15 minutes).
const PUT_OFF_MAXIMUM_SECONDS: i64 = 15 * 60;
/// Starts and stops in one decision: they must fit in one transaction. The rest follow at once.
pub const ACTIONS: usize = 100;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    /// The daemon.
    pub daemon: &'a Daemon,
    /// Its newest deployment.
    pub deployment: &'a DaemonDeployment,
}

/// A task that has a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskObserved {
    /// It is STOPPED.
    pub stopped: bool,
    /// It was told to stop, by whomever.
    pub told_to_stop: bool,
    /// A caller stopped it.
    pub stopped_by_user: bool,
    /// It is RUNNING.
    pub running: bool,
    /// Its health check says UNHEALTHY.
    pub unhealthy: bool,
    /// It has a health check that has not said HEALTHY yet.
    pub awaits_health: bool,
    /// Since when it runs.
    pub started_at: Option<Timestamp>,
    /// Why it stopped.
    pub reason: Option<String>,
}

/// A container instance of one of the capacity providers, or one on which the daemon still has a place.
#[derive(Clone, Debug)]
pub struct InstanceObserved {
    /// Its id.
    pub id: String,
    /// Its state; `None` where it is gone.
    pub status: Option<ContainerInstanceStatus>,
    /// Whether its agent is connected.
    pub connected: bool,
    /// The capacity provider that it belongs to.
    pub capacity_provider: Option<String>,
    /// When it registered.
    pub registered_at: Timestamp,
    /// The daemon's place on it.
    pub place: Option<DaemonPlace>,
    /// The task that has the place; `None` also where the row is gone.
    pub task: Option<TaskObserved>,
    /// Why the goal's task would find no room on it.
    pub refusal: Option<String>,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// In the order of their ids.
    pub instances: Vec<InstanceObserved>,
    /// The deployment's alarms that are in ALARM.
    pub alarms: Vec<String>,
}

/// What to do on one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the goal's task.
    Start {
        /// The container instance's id.
        container_instance: String,
    },
    /// Stop the task that is there.
    Stop {
        /// The container instance's id.
        container_instance: String,
        /// `stoppedReason`.
        reason: String,
    },
    /// Put the instance into DRAINING.
    Drain {
        /// The container instance's id.
        container_instance: String,
        /// `statusReason`.
        reason: String,
    },
    /// Make the instance ACTIVE again.
    Restore {
        /// The container instance's id.
        container_instance: String,
    },
    /// The place is no longer needed.
    Leave {
        /// The container instance's id.
        container_instance: String,
    },
}

/// What to do, and what is to be written.
#[derive(Clone, Debug)]
pub struct Decision {
    /// In the order of the instances.
    pub actions: Vec<Action>,
    /// The places as they are after the actions (a started task is filled in by who starts it).
    pub places: Vec<DaemonPlace>,
    /// The daemon from now on.
    pub daemon: Daemon,
    /// The deployment from now on.
    pub deployment: DaemonDeployment,
    /// The daemon's end is complete: it goes.
    pub gone: bool,
    /// When to look again though nothing changed.
    pub wake_at: Option<Timestamp>,
}

/// How many of `instances` may be in transition at once: the percentage, rounded down, and at least one.
pub fn batch(instances: usize, drain_percent_hundredths: u32) -> usize {
    let share = (instances as u64).saturating_mul(u64::from(drain_percent_hundredths)) / 10_000;
    usize::try_from(share).unwrap_or(usize::MAX).max(1)
}

/// Failures that end a deployment: half of the instances, rounded up, at least 3 and at most 200.
pub fn threshold(instances: usize) -> u32 {
    u32::try_from(instances.div_ceil(2)).unwrap_or(u32::MAX).clamp(3, 200)
}

/// Seconds until the next attempt after so many failures in a row.
pub fn put_off_seconds(failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1).min(16);
    (PUT_OFF_FIRST_SECONDS << doublings).min(PUT_OFF_MAXIMUM_SECONDS)
}

/// Whether an instance in this state is to have its daemons: it takes tasks, or will as soon as they run.
fn serves(status: Option<ContainerInstanceStatus>) -> bool {
    matches!(status, Some(ContainerInstanceStatus::Active | ContainerInstanceStatus::Registering))
}

/// Where one instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Covered,
    Arriving,
    Outdated,
    Empty,
    Foreign,
    /// Nothing is there and nothing belongs there.
    Nothing,
}

struct Deciding<'a> {
    now: Timestamp,
    daemon: Daemon,
    deployment: DaemonDeployment,
    goal: Option<DaemonGoal>,
    observed: &'a Observed,
    places: Vec<Option<DaemonPlace>>,
    actions: Vec<Action>,
    wake_at: Option<Timestamp>,
}

/// Decides for one daemon.
pub fn decide(desired: Desired<'_>, observed: &Observed, now: Timestamp) -> Decision {
    let mut deciding = Deciding {
        now,
        daemon: desired.daemon.clone(),
        deployment: desired.deployment.clone(),
        goal: None,
        observed,
        places: observed.instances.iter().map(|instance| instance.place.clone()).collect(),
        actions: Vec::new(),
        wake_at: None,
    };
    deciding.begin();
    deciding.goal = deciding.current_goal();
    deciding.account();
    deciding.judge();
    // A way back has another goal, and what fits on the instances was asked for the goal before: the next decision starts it.
    let goal = deciding.current_goal();
    let turned = goal != deciding.goal;
    deciding.goal = goal;
    let halted = deciding.halted();
    if turned {
        deciding.wake(now);
    } else if !halted {
        deciding.move_on();
    }
    deciding.repair(halted);
    let gone = deciding.conclude();
    Decision {
        actions: deciding.actions,
        places: deciding.places.into_iter().flatten().collect(),
        daemon: deciding.daemon,
        deployment: deciding.deployment,
        gone,
        wake_at: deciding.wake_at,
    }
}

impl<'a> Deciding<'a> {
    /// PENDING goes to IN_PROGRESS.
    fn begin(&mut self) {
        if !self.daemon.deploying || self.deployment.status != DaemonDeploymentStatus::Pending {
            return;
        }
        let deployment = &mut self.deployment;
        deployment.status = DaemonDeploymentStatus::InProgress;
        deployment.started_at = Some(self.now);
        if deployment.target.is_some() {
            let providers = deployment.target.iter().flat_map(|goal| &goal.capacity_providers);
            let providers: Vec<&String> = providers.collect();
            let there = self.observed.instances.iter().filter(|instance| {
                serves(instance.status)
                    && instance.capacity_provider.as_ref().is_some_and(|name| providers.contains(&name))
            });
            deployment.threshold = threshold(there.count());
            deployment.circuit_breaker = MonitorStatus::Monitoring;
        }
        if deployment.alarms_enabled {
            deployment.alarms_ignored.clone_from(&self.observed.alarms);
        }
    }

    /// What the instances should have now. Without a deployment it is what the daemon has reached.
    fn current_goal(&self) -> Option<DaemonGoal> {
        if self.daemon.deploying { self.deployment.goal().cloned() } else { self.daemon.steady.clone() }
    }

    /// No deployment is under way and none has ever succeeded: nothing is started and nothing replaced.
    fn halted(&self) -> bool {
        !self.daemon.deploying && self.daemon.steady.is_none()
    }

    fn critical(&self) -> bool {
        self.goal.as_ref().is_some_and(|goal| goal.critical)
    }

    fn belongs(&self, instance: &InstanceObserved) -> bool {
        let there = serves(instance.status) || instance.status == Some(ContainerInstanceStatus::Draining);
        there
            && self.goal.as_ref().is_some_and(|goal| {
                instance.capacity_provider.as_ref().is_some_and(|name| goal.capacity_providers.contains(name))
            })
    }

    /// The task that has the place and is not STOPPED.
    fn live(&self, index: usize) -> Option<&'a TaskObserved> {
        let has_task = self.places[index].as_ref().is_some_and(|place| place.task.is_some());
        self.observed.instances[index].task.as_ref().filter(|task| has_task && !task.stopped)
    }

    fn standing(&self, index: usize) -> Standing {
        let instance = &self.observed.instances[index];
        let place = self.places[index].as_ref();
        let revision = place.and_then(|place| place.revision.as_deref());
        let is_goal = self.goal.as_ref().is_some_and(|goal| revision == Some(goal.revision.as_str()));
        match self.live(index) {
            Some(_) if !self.belongs(instance) => Standing::Foreign,
            Some(_) if !is_goal => Standing::Outdated,
            Some(task) if task.running && !task.unhealthy && !task.awaits_health && !task.told_to_stop => {
                Standing::Covered
            }
            Some(_) => Standing::Arriving,
            None if !self.belongs(instance) => Standing::Nothing,
            None if place.is_some() => Standing::Arriving,
            None => Standing::Empty,
        }
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |there| there.min(at)));
    }

    fn fail(&mut self, index: usize, reason: String) {
        let now = self.now;
        let Some(place) = &mut self.places[index] else { return };
        place.failures = place.failures.saturating_add(1);
        place.start_not_before = Some(now.plus_seconds(put_off_seconds(place.failures)));
        place.reason = Some(reason.clone());
        let revision = place.revision.clone();
        let of_goal = self.goal.as_ref().is_some_and(|goal| Some(&goal.revision) == revision.as_ref());
        if of_goal && self.daemon.deploying {
            let deployment = &mut self.deployment;
            let count = match &deployment.rollback {
                None => &mut deployment.failures,
                Some(_) => &mut deployment.rollback_failures,
            };
            *count = count.saturating_add(1);
            if *count >= deployment.threshold {
                // Judged already in this decision, or not yet: it is not to wait for a change.
                self.wake(now);
            }
        }
        let instance = &self.observed.instances[index];
        let drain = self.critical() && instance.status == Some(ContainerInstanceStatus::Active);
        if let Some(place) = self.places[index].as_mut().filter(|_| drain) {
            place.drained = true;
            let name = &self.daemon.name;
            self.actions.push(Action::Drain {
                container_instance: instance.id.clone(),
                reason: format!("The critical daemon {name} does not run on it: {reason}"),
            });
        }
    }

    /// Takes note of tasks that ended, that are unhealthy, and that have lasted.
    fn account(&mut self) {
        let mut noted = 0;
        for index in 0..self.places.len() {
            if noted >= ACTIONS {
                self.wake(self.now);
                return;
            }
            let Some(place) = self.places[index].as_mut().filter(|place| place.task.is_some()) else {
                continue;
            };
            let observed = &self.observed.instances[index].task;
            match observed {
                Some(task) if !task.stopped => self.account_live(index, task),
                _ => {
                    noted += 1;
                    place.task = None;
                    let planned = std::mem::take(&mut place.stopping)
                        || observed.as_ref().is_none_or(|task| task.stopped_by_user);
                    if !planned {
                        let reason = observed.as_ref().and_then(|task| task.reason.clone());
                        self.fail(index, reason.unwrap_or_else(|| "Daemon task stopped".to_owned()));
                    }
                }
            }
        }
    }

    fn account_live(&mut self, index: usize, task: &TaskObserved) {
        let Some(place) = &mut self.places[index] else { return };
        if task.unhealthy && !task.told_to_stop && self.actions.len() < ACTIONS {
            place.stopping = true;
            let reason = "Daemon task failed container health checks.".to_owned();
            self.actions.push(Action::Stop {
                container_instance: self.observed.instances[index].id.clone(),
                reason: reason.clone(),
            });
            self.fail(index, reason);
            return;
        }
        let well = task.running && !task.unhealthy && !task.awaits_health;
        if well
            && place.failures > 0
            && let Some(started_at) = task.started_at
        {
            let stable_at = started_at.plus_seconds(STABLE_SECONDS);
            if stable_at <= self.now {
                place.failures = 0;
                place.start_not_before = None;
                place.reason = None;
            } else {
                self.wake(stable_at);
            }
        }
    }

    /// Whether the deployment goes on, goes back or ends.
    fn judge(&mut self) {
        if !self.daemon.deploying {
            return;
        }
        let deployment = &mut self.deployment;
        if deployment.rollback.is_some() {
            if deployment.rollback_failures >= deployment.threshold {
                self.end(
                    DaemonDeploymentStatus::RollbackFailed,
                    "The rollback failed: daemon tasks failed to start.".to_owned(),
                );
            }
            return;
        }
        if deployment.target.is_none() {
            return;
        }
        let fired: Vec<String> = if deployment.alarms_enabled {
            let counts = |name: &&String| !deployment.alarms_ignored.contains(name);
            self.observed.alarms.iter().filter(counts).cloned().collect()
        } else {
            Vec::new()
        };
        if deployment.failures >= deployment.threshold {
            deployment.circuit_breaker = MonitorStatus::Triggered;
            self.go_back("Daemon deployment circuit breaker was triggered: daemon tasks failed to start.");
        } else if !fired.is_empty() {
            deployment.circuit_breaker = MonitorStatus::MonitoringComplete;
            deployment.alarms_triggered = fired;
            self.go_back("CloudWatch alarms were triggered during the daemon deployment.");
        }
    }

    fn go_back(&mut self, why: &str) {
        let back = self.daemon.steady.clone().filter(|goal| Some(goal) != self.deployment.target.as_ref());
        let Some(goal) = back else {
            let reason = format!("{why} There is no earlier daemon revision to roll back to.");
            self.end(DaemonDeploymentStatus::Stopped, reason);
            return;
        };
        let deployment = &mut self.deployment;
        deployment.status = DaemonDeploymentStatus::RollbackInProgress;
        deployment.status_reason = Some(why.to_owned());
        deployment.stopped_at = Some(self.now);
        deployment.baking_since = None;
        self.daemon.goal = goal.clone();
        deployment.rollback = Some(DaemonRollback { reason: why.to_owned(), started_at: self.now, goal });
    }

    fn end(&mut self, status: DaemonDeploymentStatus, reason: String) {
        let now = self.now;
        let deployment = &mut self.deployment;
        deployment.status = status;
        deployment.status_reason = Some(reason);
        deployment.finished_at = Some(now);
        if matches!(status, DaemonDeploymentStatus::Stopped | DaemonDeploymentStatus::RollbackFailed) {
            deployment.stopped_at.get_or_insert(now);
        }
        if deployment.circuit_breaker == MonitorStatus::Monitoring {
            deployment.circuit_breaker = MonitorStatus::MonitoringComplete;
        }
        self.daemon.deploying = false;
    }

    /// Starts what is missing and stops what is outdated, no more at once than the batch.
    fn move_on(&mut self) {
        let standings: Vec<Standing> = (0..self.places.len()).map(|index| self.standing(index)).collect();
        let of_daemon = standings.iter().filter(|standing| **standing != Standing::Nothing).count();
        let leaving = |index: usize| self.places[index].as_ref().is_some_and(|place| place.stopping);
        let in_transition = (0..standings.len())
            .filter(|&index| match standings[index] {
                Standing::Arriving => true,
                Standing::Outdated | Standing::Foreign => leaving(index),
                _ => false,
            })
            .count();
        let allowed = batch(of_daemon, self.deployment.drain_percent_hundredths);
        let mut free = allowed.saturating_sub(in_transition);
        for (index, standing) in standings.into_iter().enumerate() {
            if self.actions.len() >= ACTIONS {
                self.wake(self.now);
                return;
            }
            match standing {
                Standing::Covered | Standing::Nothing => {}
                Standing::Arriving => self.arrive(index),
                Standing::Outdated | Standing::Foreign => self.leave(index, standing, &mut free),
                Standing::Empty => {
                    let instance = &self.observed.instances[index];
                    let at_once =
                        !self.daemon.deploying || instance.registered_at >= self.deployment.created_at;
                    let fit = instance.connected && serves(instance.status);
                    if fit && (at_once || free > 0) {
                        free = free.saturating_sub(usize::from(!at_once));
                        self.places[index] = Some(DaemonPlace {
                            scope: self.daemon.scope.clone(),
                            cluster: self.daemon.cluster.clone(),
                            daemon: self.daemon.name.clone(),
                            container_instance: instance.id.clone(),
                            task: None,
                            revision: None,
                            stopping: false,
                            failures: 0,
                            start_not_before: None,
                            drained: false,
                            reason: None,
                        });
                        self.arrive(index);
                    }
                }
            }
        }
    }

    /// Starts the goal's task in a place without one.
    fn arrive(&mut self, index: usize) {
        let (Some(goal), None) = (self.goal.clone(), self.live(index)) else { return };
        let instance = &self.observed.instances[index];
        // The end of a task that is not noted yet comes first.
        let Some(place) = self.places[index].as_mut().filter(|place| place.task.is_none()) else { return };
        if place.revision.as_ref() != Some(&goal.revision) {
            // What an other revision did says nothing of this one.
            place.revision = Some(goal.revision);
            place.failures = 0;
            place.start_not_before = None;
        }
        if !instance.connected {
            return;
        }
        match place.start_not_before {
            Some(at) if at > self.now => self.wake(at),
            _ => match &instance.refusal {
                Some(refusal) => {
                    let reason = format!("{refusal} - Unable to place daemon task on container instance");
                    self.fail(index, reason);
                    if let Some(at) = self.places[index].as_ref().and_then(|place| place.start_not_before) {
                        self.wake(at);
                    }
                }
                None => self.actions.push(Action::Start { container_instance: instance.id.clone() }),
            },
        }
    }

    /// Stops a task of another revision, or one that does not belong here.
    fn leave(&mut self, index: usize, standing: Standing, free: &mut usize) {
        let instance = &self.observed.instances[index];
        let Some(task) = self.live(index) else { return };
        let Some(place) = &mut self.places[index] else { return };
        if place.stopping || task.told_to_stop {
            return;
        }
        // On a machine that is gone or being drained by hand the old task stays as long as the machine does.
        let held = !serves(instance.status) && !place.drained;
        let deleted = self.goal.is_none();
        if *free == 0 || (held && !deleted) {
            return;
        }
        *free -= 1;
        place.stopping = true;
        let reason = if standing == Standing::Outdated {
            format!("Daemon deployment {}", self.deployment.arn())
        } else {
            format!("The daemon {} no longer runs on this container instance", self.daemon.name)
        };
        self.actions.push(Action::Stop { container_instance: instance.id.clone(), reason });
    }

    /// Gives instances back that the daemon's failure had drained, and places that nothing needs.
    fn repair(&mut self, halted: bool) {
        for index in 0..self.places.len() {
            if self.actions.len() >= 2 * ACTIONS {
                self.wake(self.now);
                return;
            }
            let instance = &self.observed.instances[index];
            let standing = self.standing(index);
            let started = self.actions.iter().any(
                |action| matches!(action, Action::Start { container_instance } if *container_instance == instance.id),
            );
            let critical = self.critical();
            let live = self.live(index).is_some();
            let Some(place) = &mut self.places[index] else { continue };
            let needed = live || started || (!halted && standing != Standing::Nothing);
            let recovered = standing == Standing::Covered && place.failures == 0;
            if place.drained && (recovered || !critical || !needed || halted) {
                place.drained = false;
                // What this very decision would drain is left as it is.
                self.actions.retain(|action| {
                    !matches!(action, Action::Drain { container_instance, .. } if *container_instance == instance.id)
                });
                if instance.status == Some(ContainerInstanceStatus::Draining) {
                    self.actions.push(Action::Restore { container_instance: instance.id.clone() });
                }
            }
            if !needed {
                self.places[index] = None;
                self.actions.push(Action::Leave { container_instance: instance.id.clone() });
            }
        }
    }

    /// A deployment that does not get on says why: a machine that is away, or the last failure.
    fn say_what_is_missing(&mut self) {
        if self.deployment.rollback.is_some() {
            return;
        }
        let away = (0..self.places.len()).find_map(|index| {
            let instance = &self.observed.instances[index];
            let lacks = !matches!(self.standing(index), Standing::Covered | Standing::Nothing);
            (lacks && !instance.connected && serves(instance.status))
                .then(|| format!("The agent of the container instance {} is not connected.", instance.id))
        });
        let failed = self.places.iter().flatten().find_map(|place| place.reason.clone());
        self.deployment.status_reason = failed.or(away);
    }

    /// Whether the deployment has done its work; whether the daemon goes.
    fn conclude(&mut self) -> bool {
        if !self.daemon.deploying {
            return false;
        }
        let done = (0..self.places.len()).all(|index| {
            let instance = &self.observed.instances[index];
            let drained = self.places[index].as_ref().is_some_and(|place| place.drained);
            let counts = serves(instance.status) || drained;
            match self.standing(index) {
                Standing::Covered | Standing::Nothing => true,
                Standing::Foreign => instance.status.is_none(),
                Standing::Arriving | Standing::Outdated | Standing::Empty => !counts,
            }
        });
        if !done {
            self.say_what_is_missing();
            return false;
        }
        if self.deployment.rollback.is_some() {
            let reason = self.deployment.status_reason.clone().unwrap_or_default();
            self.end(DaemonDeploymentStatus::RollbackSuccessful, reason);
            return false;
        }
        let Some(target) = self.deployment.target.clone() else {
            self.end(DaemonDeploymentStatus::Successful, "Deployment completed successfully.".to_owned());
            return true;
        };
        let since = *self.deployment.baking_since.get_or_insert(self.now);
        let baked_at = since.plus_seconds(i64::from(self.deployment.bake_time_minutes) * 60);
        if self.now < baked_at {
            self.wake(baked_at);
            return false;
        }
        self.daemon.steady = Some(target);
        self.end(DaemonDeploymentStatus::Successful, "Deployment completed successfully.".to_owned());
        false
    }
}

#[cfg(test)]
mod tests;
