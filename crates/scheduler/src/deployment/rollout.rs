//! The way forward: one deployment, from PENDING to SUCCESSFUL.

use base::Timestamp;
use domain::{
    DeploymentControllerType, HookRun, LifecycleStage, MonitorStatus, RevisionInUse, RevisionStatus,
    RolloutState, STARTED_BY_SERVICE, ServiceDeployment, ServiceDeploymentStatus, ServiceStatus,
};

use super::configuration::ALL_TRAFFIC;
use super::hooks::{self, Moment, Verdict};
use super::rest::{self, seen};
use super::rollback::Failure;
use super::stages;
use super::traffic_shift::{self, Share};
use super::{
    ALARM_POLL_SECONDS, Decision, Desired, Limits, Observed, RevisionObserved, TRAFFIC_POLL_SECONDS,
    circuit_breaker, completed, end_monitors, end_stopped, in_progress, limits,
};

/// Stages passed in one decision at most. A LINEAR deployment has the most, two for each of its 34 steps and nine others;
/// what is left is done at the next look.
const STAGES_AT_ONCE: usize = 80;

/// A deployment being decided on: the rows as they become.
pub(super) struct Rollout<'a> {
    pub(super) desired: &'a Desired<'a>,
    pub(super) observed: &'a Observed<'a>,
    pub(super) now: Timestamp,
    before: &'a ServiceDeployment,
    pub(super) deployment: ServiceDeployment,
    pub(super) revisions: Vec<RevisionInUse>,
    begin_hooks: Vec<HookRun>,
    pub(super) events: Vec<String>,
    limits: Limits,
    wake_at: Option<Timestamp>,
    pub(super) report: Vec<String>,
}

/// What came of looking at a stage.
enum Step {
    Advanced,
    Waits,
    Failed(String),
}

impl<'a> Rollout<'a> {
    pub(super) fn new(
        desired: &'a Desired<'a>,
        observed: &'a Observed<'a>,
        open: &'a ServiceDeployment,
        now: Timestamp,
    ) -> Self {
        let side_by_side = desired.configuration.side_by_side();
        Self {
            desired,
            observed,
            now,
            before: open,
            deployment: open.clone(),
            revisions: desired.service.revisions.clone(),
            begin_hooks: Vec::new(),
            events: Vec::new(),
            limits: Limits { side_by_side, ..limits(desired.configuration, desired.desired_count) },
            wake_at: None,
            report: Vec::new(),
        }
    }

    pub(super) fn decide(mut self) -> Decision {
        if self.desired.service.deployment_controller != DeploymentControllerType::Ecs {
            self.stop("The deployment controller of the service was changed.");
        } else if self.desired.service.status != ServiceStatus::Active {
            self.stop("The service was deleted.");
        } else if !self.revisions.iter().any(|revision| revision.id == self.deployment.target_revision) {
            self.stop("The service no longer uses the target service revision.");
        } else {
            self.go_on();
        }
        if self.deployment.status.is_final() {
            self.limits = rest::settle(self.desired, self.observed, &mut self.revisions);
        }
        rest::touch(&self.desired.service.revisions, &mut self.revisions, self.now);
        if self.deployment != *self.before {
            self.deployment.updated_at = self.now;
        }
        Decision {
            deployment: Some(self.deployment),
            revisions: self.revisions,
            begin_hooks: self.begin_hooks,
            events: self.events,
            limits: self.limits,
            wake_at: self.wake_at,
            report: self.report,
        }
    }

    fn go_on(&mut self) {
        match self.deployment.status {
            ServiceDeploymentStatus::Pending => {
                self.begin();
                self.forward();
            }
            ServiceDeploymentStatus::InProgress => self.forward(),
            ServiceDeploymentStatus::StopRequested => {
                let reason = "Service deployment stopped because of a StopServiceDeployment request.";
                let reason = self.deployment.status_reason.clone().unwrap_or_else(|| reason.to_owned());
                self.fail_target(&reason);
                self.stop(&reason);
            }
            ServiceDeploymentStatus::RollbackRequested => {
                let reason = "Service deployment rolled back because of a StopServiceDeployment request.";
                let reason = self.deployment.status_reason.clone().unwrap_or_else(|| reason.to_owned());
                self.fail(&Failure::Request(reason));
            }
            ServiceDeploymentStatus::RollbackInProgress => self.backward(),
            _ => {}
        }
    }

    fn stop(&mut self, reason: &str) {
        end_stopped(&mut self.deployment, reason, self.now);
    }

    fn begin(&mut self) {
        let configuration = self.desired.configuration;
        let sources = self.revisions.len().saturating_sub(1);
        self.deployment.status = ServiceDeploymentStatus::InProgress;
        self.deployment.started_at = Some(self.now);
        self.enter(stages::first(sources), 0);
        let monitor = |enable| if enable { MonitorStatus::Monitoring } else { MonitorStatus::Disabled };
        self.deployment.circuit_breaker_status = monitor(configuration.circuit_breaker.enable);
        // An alarm that is in ALARM before the deployment says nothing of it; the deployment may be the remedy.
        let quiet = self.observed.firing_alarms.is_empty();
        self.deployment.alarm_status = monitor(configuration.alarms.enable && quiet);
        if configuration.alarms.enable && !quiet {
            let names = self.observed.firing_alarms.join(", ");
            self.report.push(format!("alarms are not watched: in ALARM from the start: {names}"));
        }
        let target = self.target_mut();
        target.rollout_state = RolloutState::InProgress;
        target.rollout_state_reason = in_progress(&target.id);
    }

    fn forward(&mut self) {
        self.count_failures();
        if let Some(failure) = self.monitor() {
            self.fail(&failure);
            return;
        }
        for _ in 0..STAGES_AT_ONCE {
            match self.step() {
                Step::Advanced => {}
                Step::Waits => return,
                Step::Failed(reason) => {
                    self.fail(&Failure::Hook(reason));
                    return;
                }
            }
        }
        self.wake(self.now);
    }

    /// Takes the target's failures since the last look into the count.
    pub(super) fn count_failures(&mut self) {
        let breaker = &self.desired.configuration.circuit_breaker;
        let target = self.seen(&self.deployment.target_revision);
        let settled_since = target.settled > self.deployment.settled_tasks;
        let row = &mut self.deployment;
        row.failure_count =
            circuit_breaker::count(breaker, row.failure_count, target.failures(), settled_since);
        row.failure_threshold = circuit_breaker::threshold(breaker, self.desired.desired_count);
        row.settled_tasks = target.settled;
        let count = row.failure_count;
        self.target_mut().failed_tasks = count;
    }

    fn monitor(&mut self) -> Option<Failure> {
        let row = &mut self.deployment;
        if row.circuit_breaker_status == MonitorStatus::Monitoring
            && row.failure_count >= row.failure_threshold
        {
            row.circuit_breaker_status = MonitorStatus::Triggered;
            return Some(Failure::CircuitBreaker);
        }
        if row.alarm_status != MonitorStatus::Monitoring {
            return None;
        }
        if !self.observed.firing_alarms.is_empty() {
            row.alarm_status = MonitorStatus::Triggered;
            row.triggered_alarms = self.observed.firing_alarms.to_vec();
            return Some(Failure::Alarms);
        }
        self.wake(self.now.plus_seconds(ALARM_POLL_SECONDS));
        None
    }

    /// Looks at the present stage: sets its weights and goals, and leaves it if nothing holds it up.
    fn step(&mut self) -> Step {
        let configuration = self.desired.configuration;
        let stage = self.deployment.stage.unwrap_or(LifecycleStage::PreScaleUp);
        let step = self.deployment.step;
        let survivor = self.survivor();
        let completed = self.revisions.iter().any(|revision| {
            Some(&revision.id) == survivor.as_ref() && revision.rollout_state == RolloutState::Completed
        });
        let held = self.shift(traffic_shift::share(configuration, stage, step, completed));
        self.set_goals(stage, survivor.as_deref());
        let moves_traffic =
            matches!(stage, LifecycleStage::TestTrafficShift | LifecycleStage::ProductionTrafficShift);
        if moves_traffic && !held {
            self.report.push(format!("{stage}: waits for the traffic to go over"));
            self.wake(self.now.plus_seconds(TRAFFIC_POLL_SECONDS));
            return Step::Waits;
        }
        if stage == LifecycleStage::ProductionTrafficShift {
            self.deployment.step_at.get_or_insert(self.now);
        }
        let moment = Moment { stage, step: stages::hook_step(stage, step), rollback: false };
        match self.ask_hooks(moment) {
            Verdict::Passed => {}
            Verdict::Waiting(_) => return Step::Waits,
            Verdict::Failed(reason) => return Step::Failed(reason),
        }
        if !self.is_through(stage, step, survivor.as_deref(), completed) {
            return Step::Waits;
        }
        match stages::next(configuration, stage, step, completed) {
            Some((stage, step)) => self.enter(stage, step),
            None => {
                self.succeed();
                return Step::Waits;
            }
        }
        Step::Advanced
    }

    fn enter(&mut self, stage: LifecycleStage, step: u16) {
        if step != self.deployment.step {
            self.deployment.step_at = None;
        }
        self.deployment.stage = Some(stage);
        self.deployment.stage_at = Some(self.now);
        self.deployment.step = step;
        if stage == LifecycleStage::CleanUp {
            end_monitors(&mut self.deployment);
        }
    }

    /// Wishes the weights. Whether they hold: what was wished just now cannot yet.
    pub(super) fn shift(&mut self, share: Share) -> bool {
        if !self.desired.configuration.side_by_side() {
            return true;
        }
        let (target, survivor) = (self.deployment.target_revision.clone(), self.survivor());
        traffic_shift::set(&mut self.revisions, &target, survivor.as_deref(), share);
        self.weights_hold()
    }

    /// Whether the weights as they are now hold: what is wished only now cannot yet.
    pub(super) fn weights_hold(&self) -> bool {
        let stored = &self.desired.service.revisions;
        let as_stored = self.revisions.iter().all(|revision| {
            stored.iter().any(|old| {
                old.id == revision.id
                    && (old.production_weight, old.test_weight)
                        == (revision.production_weight, revision.test_weight)
            })
        });
        as_stored && self.observed.traffic_held
    }

    /// Begins the hooks of `moment`, and asks those that were begun.
    pub(super) fn ask_hooks(&mut self, moment: Moment) -> Verdict {
        let begun = hooks::to_begin(self.desired.configuration, &self.deployment.hooks, moment, self.now);
        for hook in &begun {
            self.report.push(format!("{}: hook {} begins", hook.stage, hook.hook));
            self.wake_maybe(hook.expires_at);
        }
        let none_begun = begun.is_empty();
        self.begin_hooks.extend(begun);
        match hooks::verdict(&mut self.deployment.hooks, moment, self.now) {
            Verdict::Waiting(expires_at) => {
                self.report.push(format!("{}: waits for hooks", moment.stage));
                self.wake_maybe(expires_at);
                Verdict::Waiting(expires_at)
            }
            Verdict::Passed if !none_begun => Verdict::Waiting(None),
            verdict => verdict,
        }
    }

    /// Tasks that each revision is to have in `stage`.
    fn set_goals(&mut self, stage: LifecycleStage, survivor: Option<&str>) {
        let count = self.desired.desired_count.max(0);
        let scaled_up = !stages::is_before(stage, LifecycleStage::ScaleUp);
        let side_by_side = self.desired.configuration.side_by_side();
        let cleaning = stage == LifecycleStage::CleanUp;
        let floor = self.limits.floor;
        let observed = self.observed;
        let target = self.deployment.target_revision.clone();
        let of = |id: &str| seen(observed, id).cloned().unwrap_or_default();
        let survivor_healthy = survivor.map_or(0, |id| of(id).healthy);
        let others = |id: &str| id != target && Some(id) != survivor;
        let healthy_of_others: i32 =
            observed.revisions.iter().filter(|seen| others(&seen.id)).map(|seen| seen.healthy).sum();
        for revision in &mut self.revisions {
            let now = of(&revision.id);
            revision.desired_count = if revision.id == target {
                if scaled_up { count } else { 0 }
            } else if cleaning || (scaled_up && !side_by_side) {
                0
            } else if Some(revision.id.as_str()) == survivor {
                if side_by_side { count } else { (count - healthy_of_others).max(0) }
            } else if scaled_up {
                0
            } else if !side_by_side {
                // Before its tasks come up, a rolling deployment leaves all as it is.
                (now.running + now.pending).min(count)
            } else if survivor_healthy >= floor || now.healthy <= survivor_healthy {
                0
            } else {
                revision.desired_count
            };
        }
    }

    /// Whether `stage` has come to its end, hooks aside.
    fn is_through(&mut self, stage: LifecycleStage, step: u16, survivor: Option<&str>, shares: bool) -> bool {
        let configuration = self.desired.configuration;
        let target = self.seen(&self.deployment.target_revision);
        match stage {
            LifecycleStage::ReconcileService if configuration.side_by_side() => {
                let left = self.remaining_except(survivor);
                // Where none of the sources is well, the target may be the remedy: nothing waits for them.
                let ill = survivor.is_none_or(|id| self.seen(id).healthy < self.limits.floor);
                self.holds(left == 0 || ill, || format!("waits for {left} tasks of older revisions to stop"))
            }
            LifecycleStage::ScaleUp => {
                let wanted = configuration.success_count(self.desired.desired_count);
                let up = target.settled;
                self.holds(up >= wanted, || format!("{up} of {wanted} tasks are up"))
            }
            LifecycleStage::PreProductionTrafficShift if configuration.side_by_side() => {
                let (up, floor) = (target.healthy, self.limits.floor);
                self.holds(up >= floor, || format!("{up} of {floor} tasks are healthy"))
            }
            LifecycleStage::ProductionTrafficShift => {
                let since = self.deployment.step_at.unwrap_or(self.now);
                let last = traffic_shift::is_last_step(configuration, step, shares);
                let seconds = if last { 0 } else { configuration.step_bake_seconds(step) };
                self.wait_until(since.plus_seconds(seconds))
            }
            LifecycleStage::BakeTime => {
                let since = self.deployment.stage_at.unwrap_or(self.now);
                let seconds = configuration.bake_seconds(self.observed.alarm_bake_seconds);
                self.wait_until(since.plus_seconds(seconds))
            }
            LifecycleStage::CleanUp => {
                let deferred = configuration.early_success.is_some_and(|early| !early.cleanup_is_blocking);
                let left = if deferred { 0 } else { self.remaining_except(None) };
                self.holds(left == 0, || format!("waits for {left} tasks of older revisions to stop"))
            }
            _ => true,
        }
    }

    fn holds(&mut self, holds: bool, otherwise: impl FnOnce() -> String) -> bool {
        if !holds {
            self.report.push(otherwise());
        }
        holds
    }

    fn wait_until(&mut self, moment: Timestamp) -> bool {
        if self.now < moment {
            self.report.push(format!("bakes until {moment}"));
            self.wake(moment);
        }
        self.now >= moment
    }

    fn succeed(&mut self) {
        self.deployment.status = ServiceDeploymentStatus::Successful;
        self.deployment.finished_at = Some(self.now);
        end_monitors(&mut self.deployment);
        let target = self.deployment.target_revision.clone();
        self.complete(&target);
    }

    /// The rollout of `id` is done: all traffic is its own.
    pub(super) fn complete(&mut self, id: &str) {
        let all = Share { production: ALL_TRAFFIC, test: ALL_TRAFFIC };
        traffic_shift::set(&mut self.revisions, id, None, all);
        for revision in self.revisions.iter_mut().filter(|revision| revision.id == id) {
            revision.rollout_state = RolloutState::Completed;
            revision.rollout_state_reason = completed(id);
        }
        self.events.push(format!("(deployment {STARTED_BY_SERVICE}{id}) deployment completed."));
    }

    /// The source that holds the service up meanwhile.
    pub(super) fn survivor(&self) -> Option<String> {
        let target = self.deployment.target_revision.as_str();
        rest::survivor(&self.revisions, target, self.observed, self.limits.floor).map(str::to_owned)
    }

    /// The revision that a rollback goes back to.
    pub(super) fn candidate(&self) -> Option<&str> {
        self.revisions
            .iter()
            .filter(|revision| revision.id != self.deployment.target_revision)
            .find(|revision| revision.rollout_state == RolloutState::Completed)
            .map(|revision| revision.id.as_str())
    }

    pub(super) fn seen(&self, id: &str) -> RevisionObserved {
        seen(self.observed, id).cloned().unwrap_or_default()
    }

    /// Tasks that are not STOPPED of all revisions but the target and `but`.
    fn remaining_except(&self, but: Option<&str>) -> i32 {
        let target = self.deployment.target_revision.as_str();
        let others = self.observed.revisions.iter();
        others
            .filter(|seen| seen.id != target && Some(seen.id.as_str()) != but)
            .map(|seen| seen.remaining())
            .sum()
    }

    pub(super) fn target_mut(&mut self) -> &mut RevisionInUse {
        let target = &self.deployment.target_revision;
        let index = self.revisions.iter().position(|revision| revision.id == *target);
        // `decide` has looked.
        &mut self.revisions[index.unwrap_or_default()]
    }

    /// The target's rollout has failed: it gets no more tasks.
    pub(super) fn fail_target(&mut self, reason: &str) {
        let target = self.target_mut();
        target.rollout_state = RolloutState::Failed;
        reason.clone_into(&mut target.rollout_state_reason);
    }

    /// Makes `id` the PRIMARY revision; it stands first.
    pub(super) fn make_primary(&mut self, id: &str) {
        for revision in &mut self.revisions {
            revision.status =
                if revision.id == id { RevisionStatus::Primary } else { RevisionStatus::Active };
        }
        self.revisions.sort_by_key(|revision| revision.status);
    }

    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn wake_maybe(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.wake(at);
        }
    }
}
