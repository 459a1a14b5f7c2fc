//! How containers end, and the task with them.

use std::sync::Arc;
use std::time::Duration;

use base::Timestamp;
use engine::{EngineError, Exit, Signal};
use tokio::time::Instant;

use super::{Ending, Executor, STOP_RETRY};
use crate::files::Durability;
use crate::task_engine::decide::{self, Operation};
use crate::task_engine::plan::NetworkPlan;
use crate::task_engine::record::KnownStatus;
use crate::task_engine::{adopt, networks, steps};

impl Executor {
    pub(super) fn begin_stop(&mut self, index: usize) -> bool {
        let now = self.now();
        let (Some(id), Some(plan)) = (self.id(index), self.plan.containers.get(index)) else { return false };
        let Some(volatile) = self.volatile.get_mut(index) else { return false };
        if volatile.retry_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        volatile.retry_at = None;
        let Some(container) = self.record.containers.get_mut(index) else { return false };
        // After a restart of the agent only what is left of the stop timeout counts.
        let asked = *container.stopping_at.get_or_insert(now);
        let passed = Duration::from_millis(u64::try_from(now.since_millis(asked)).unwrap_or(0));
        let own = plan.stop_timeout.unwrap_or(self.shared.config.stop_timeout_default).saturating_sub(passed);
        let left = |by: Timestamp| Duration::from_millis(u64::try_from(by.since_millis(now)).unwrap_or(0));
        let own = self.record.stop_by.map_or(own, |by| own.min(left(by)));
        let timeout = self.destroyed.map_or(own, |grace| own.min(grace));
        // None: the one that the container was made with.
        let signal = timeout.is_zero().then_some(Signal::KILL);
        self.dirty = Some(Durability::Process);
        let step = steps::stop(Arc::clone(&self.shared), index, id, signal, timeout);
        self.occupy(index, Operation::Stopping, step);
        true
    }

    /// Takes a container as stopped that will never run (again).
    pub(super) fn give_up(&mut self, index: usize, reason: Option<String>) {
        let now = self.now();
        if let Some(volatile) = self.volatile.get_mut(index) {
            if let Some(busy) = volatile.busy.take() {
                busy.abort.abort();
            }
            for handle in [volatile.waiting.take(), volatile.checking.take()].into_iter().flatten() {
                handle.abort();
            }
        }
        if let Some(container) = self.record.containers.get_mut(index) {
            container.known = KnownStatus::Stopped;
            container.restart_due = false;
            if container.started_at.is_none() {
                container.reason = container.reason.take().or(reason);
            }
            container.finished_at.get_or_insert(now);
        }
        self.note_end(index);
        self.dirty = Some(Durability::Process);
    }

    /// A container has ended for good, or will never run: its address and ports are free at once, as with Docker. If it is
    /// essential, the task ends.
    fn note_end(&mut self, index: usize) {
        let now = self.now();
        if let (NetworkPlan::Bridge, Some(container)) =
            (&self.plan.network, self.record.containers.get(index))
            && container.address.is_some()
        {
            self.releasing += 1;
            let (shared, plan, id) =
                (Arc::clone(&self.shared), Arc::clone(&self.plan), container.runtime_id.clone());
            self.steps.spawn(networks::release_container(shared, plan, id));
        }
        let ran = self.record.containers.get(index).is_some_and(|container| container.started_at.is_some());
        if ran && self.plan.containers.get(index).is_some_and(|plan| plan.essential) {
            self.record.execution_stopped_at.get_or_insert(now);
        }
    }

    /// The end, step by step: the network interface first, so that STOPPED can be told; then everything else.
    pub(super) fn finish(&mut self) -> bool {
        match self.ending {
            Ending::No if !self.record.released => {
                // Until these are done, ports are taken that STOPPED would tell to be free.
                if self.releasing > 0 {
                    return false;
                }
                self.ending = Ending::Releasing;
                let ids =
                    self.record.containers.iter().map(|container| container.runtime_id.clone()).collect();
                let (shared, plan) = (Arc::clone(&self.shared), Arc::clone(&self.plan));
                self.steps.spawn(networks::release(shared, plan, ids));
                true
            }
            Ending::No => {
                self.ending = Ending::Cleaning;
                let runtime_ids =
                    self.record.containers.iter().map(|container| container.runtime_id.clone()).collect();
                let logs = self.volatile.iter_mut().filter_map(|volatile| volatile.log.take()).collect();
                self.steps.spawn(steps::clean(
                    Arc::clone(&self.shared),
                    Arc::clone(&self.plan),
                    runtime_ids,
                    logs,
                    self.hurry.subscribe(),
                ));
                true
            }
            Ending::Releasing | Ending::Cleaning | Ending::Cleaned => false,
        }
    }

    pub(super) fn exited(&mut self, index: usize, outcome: Result<Exit, EngineError>) {
        let now = self.now();
        let desired = self.record.desired;
        if let Some(volatile) = self.volatile.get_mut(index) {
            volatile.waiting = None;
            if let Some(checking) = volatile.checking.take() {
                checking.abort();
            }
        }
        let (Some(plan), Some(container)) =
            (self.plan.containers.get(index), self.record.containers.get_mut(index))
        else {
            return;
        };
        if container.known != KnownStatus::Running {
            return;
        }
        match outcome {
            Ok(exit) => {
                let ran = exit.finished_at.since_millis(container.started_at.unwrap_or(exit.finished_at));
                adopt::note_exit(container, &exit);
                if decide::restarts(plan, desired, ran, exit.code) {
                    tracing::info!(task = %self.plan.arn, container = plan.name, code = exit.code, "the container is started again");
                    container.restart_due = true;
                    container.reason = None;
                    return;
                }
            }
            Err(error) => {
                container.reason = Some(format!("ContainerRuntimeError: {}", crate::words(&error)));
                container.finished_at = Some(now);
            }
        }
        container.known = KnownStatus::Stopped;
        tracing::info!(task = %self.plan.arn, container = plan.name, code = container.exit_code, "the container ended");
        self.note_end(index);
    }

    pub(super) fn stop_sent(&mut self, index: usize, outcome: Result<Exit, EngineError>) {
        self.free(index);
        match outcome {
            // The wait tells the same; whichever comes first counts.
            Ok(exit) => self.exited(index, Ok(exit)),
            Err(error @ EngineError::NotFound(_)) => self.exited(index, Err(error)),
            Err(error) => {
                tracing::error!(task = %self.plan.arn, error = crate::words(&error), "the container could not be stopped; trying again");
                if let Some(volatile) = self.volatile.get_mut(index) {
                    volatile.retry_at = Some(Instant::now() + STOP_RETRY);
                }
            }
        }
    }

    /// A container that could not be made or started.
    pub(super) fn failed(&mut self, index: usize, reason: String) {
        tracing::warn!(task = %self.plan.arn, container = index, reason, "the container failed");
        let now = self.now();
        let Some(container) = self.record.containers.get_mut(index) else { return };
        container.known = KnownStatus::Stopped;
        container.finished_at.get_or_insert(now);
        container.reason = Some(reason);
        self.note_end(index);
    }
}
