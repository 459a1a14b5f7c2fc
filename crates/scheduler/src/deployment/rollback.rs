//! The way back: why a deployment failed, and how the service returns to the revision it came from.

use domain::{LifecycleStage, Rollback, RolloutState, STARTED_BY_SERVICE, ServiceDeploymentStatus};

use super::configuration::ALL_TRAFFIC;
use super::hooks::{self, Moment, Verdict};
use super::rollout::Rollout;
use super::stages;
use super::traffic_shift::Share;
use super::{TRAFFIC_POLL_SECONDS, end_stopped};

/// `statusReason` of a rollback that has nowhere to go.
pub const NO_CANDIDATE: &str = "No rollback candidate was found to run the rollback.";

/// Why a deployment ends.
pub(super) enum Failure {
    /// Too many tasks failed.
    CircuitBreaker,
    /// An alarm is in ALARM.
    Alarms,
    /// A hook refused; why.
    Hook(String),
    /// A caller asked for the way back; the reason written.
    Request(String),
}

impl Rollout<'_> {
    /// Ends the way forward. With a rollback, the way back begins in the same write: weights and all.
    pub(super) fn fail(&mut self, failure: &Failure) {
        let configuration = self.desired.configuration;
        let (target_reason, status_reason, rolls_back) = match failure {
            Failure::CircuitBreaker => (
                "ECS deployment circuit breaker: tasks failed to start.".to_owned(),
                "Service deployment rolled back because the circuit breaker threshold was exceeded."
                    .to_owned(),
                configuration.circuit_breaker.rollback,
            ),
            Failure::Alarms => {
                let names = self.deployment.triggered_alarms.join(", ");
                (
                    "ECS deployment failed: alarm detected.".to_owned(),
                    format!("Service deployment rolled back because of CloudWatch alarms in ALARM: {names}."),
                    configuration.alarms.rollback,
                )
            }
            Failure::Hook(reason) | Failure::Request(reason) => (reason.clone(), reason.clone(), true),
        };
        let status_reason =
            if rolls_back { status_reason } else { status_reason.replacen("rolled back", "stopped", 1) };
        let detail = match failure {
            Failure::CircuitBreaker => "tasks failed to start.",
            Failure::Alarms => "alarm detected.",
            Failure::Hook(_) | Failure::Request(_) => status_reason.as_str(),
        };
        let target = self.deployment.target_revision.clone();
        self.events.push(format!("(deployment {STARTED_BY_SERVICE}{target}) deployment failed: {detail}"));
        self.fail_target(&target_reason);
        hooks::give_up(&mut self.deployment.hooks, &status_reason);
        if !rolls_back {
            end_stopped(&mut self.deployment, &status_reason, self.now);
            return;
        }
        let Some(candidate) = self.candidate().map(str::to_owned) else {
            self.deployment.status = ServiceDeploymentStatus::RollbackFailed;
            self.deployment.status_reason = Some(NO_CANDIDATE.to_owned());
            self.deployment.finished_at = Some(self.now);
            super::end_monitors(&mut self.deployment);
            self.events
                .push(format!("Deployment [{}] rollback has failed. {NO_CANDIDATE}", self.deployment.id));
            return;
        };
        self.turn_round(failure, &candidate, status_reason);
        self.backward();
    }

    fn turn_round(&mut self, failure: &Failure, candidate: &str, status_reason: String) {
        super::end_monitors(&mut self.deployment);
        self.deployment.status = ServiceDeploymentStatus::RollbackInProgress;
        self.deployment.rollback = Some(Rollback {
            reason: status_reason.clone(),
            started_at: self.now,
            revision: candidate.to_owned(),
        });
        self.deployment.status_reason = Some(status_reason);
        let why = match failure {
            Failure::CircuitBreaker => "ECS deployment circuit breaker",
            Failure::Alarms => "ECS deployment failed: alarm detected",
            Failure::Hook(_) => "ECS deployment failed: lifecycle hook",
            Failure::Request(_) => "ECS deployment stopped",
        };
        self.make_primary(candidate);
        for revision in self.revisions.iter_mut().filter(|revision| revision.id == candidate) {
            revision.rollout_state = RolloutState::InProgress;
            revision.rollout_state_reason =
                format!("{why}: rolling back to deploymentId {STARTED_BY_SERVICE}{candidate}.");
        }
        self.events.push(format!("rolling back to deployment {STARTED_BY_SERVICE}{candidate}."));
    }

    /// One step of the way back.
    pub(super) fn backward(&mut self) {
        let Some(to) = self.deployment.rollback.as_ref().map(|rollback| rollback.revision.clone()) else {
            return;
        };
        let back = self.seen(&to);
        let target = self.seen(&self.deployment.target_revision);
        let side_by_side = self.desired.configuration.side_by_side();
        let count = self.desired.desired_count.max(0);
        // What the target serves it serves until the other revision can take it over, unless it serves nothing.
        let can_take_over = back.healthy >= self.desired.configuration.healthy_floor(count);
        let serves = side_by_side && self.target_mut().production_weight > 0 && target.healthy > 0;
        if serves && !can_take_over {
            self.set_goals_back(&to, true);
            self.report
                .push(format!("rollback: {} of {count} tasks can take the traffic back", back.healthy));
            return;
        }
        let held = self.shift_back(&to);
        // The target's tasks serve until the traffic has left them.
        self.set_goals_back(&to, side_by_side && !held && target.healthy > 0);
        if !held {
            self.report.push("rollback: waits for the traffic to go back".to_owned());
            self.wake(self.now.plus_seconds(TRAFFIC_POLL_SECONDS));
            return;
        }
        if !self.tell_hooks_of_return() {
            return;
        }
        let others = self.observed.revisions.iter().filter(|seen| seen.id != to);
        let left: i32 = others.map(|seen| seen.remaining()).sum();
        if back.settled < count || left > 0 {
            self.report.push(format!("rollback: {} of {count} tasks are up, {left} are left", back.settled));
            return;
        }
        self.deployment.status = ServiceDeploymentStatus::RollbackSuccessful;
        self.deployment.finished_at = Some(self.now);
        self.complete(&to);
    }

    fn shift_back(&mut self, to: &str) -> bool {
        if !self.desired.configuration.side_by_side() {
            return true;
        }
        let all = Share { production: ALL_TRAFFIC, test: ALL_TRAFFIC };
        super::traffic_shift::set(&mut self.revisions, to, None, all);
        self.weights_hold()
    }

    fn set_goals_back(&mut self, to: &str, target_stays: bool) {
        let count = self.desired.desired_count.max(0);
        let target = self.deployment.target_revision.clone();
        let running = self.seen(&target).running;
        for revision in &mut self.revisions {
            revision.desired_count = if revision.id == to {
                count
            } else if target_stays && revision.id == target {
                running.min(count)
            } else {
                0
            };
        }
    }

    /// Calls the functions at the stages that move traffic once more: traffic went back. Their answers change nothing.
    fn tell_hooks_of_return(&mut self) -> bool {
        let reached = |stage| self.deployment.stage.is_some_and(|present| !stages::is_before(present, stage));
        let told = [LifecycleStage::ProductionTrafficShift, LifecycleStage::TestTrafficShift]
            .map(|stage| (stage, reached(stage)));
        let mut waits = false;
        for (stage, reached) in told {
            if reached && self.desired.configuration.side_by_side() {
                let verdict = self.ask_hooks(Moment { stage, step: 0, rollback: true });
                waits |= matches!(verdict, Verdict::Waiting(_));
            }
        }
        !waits
    }
}
