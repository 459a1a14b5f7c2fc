//! Taking up tasks after a restart of the agent: what the record says and what the engine has, brought together.
//!
//! The record is written before a container is made, so whatever the engine has under one of its ids is ours. The engine is right
//! about what is there; the record is right about what was wanted and what was reported.

use std::collections::BTreeMap;

use base::Timestamp;
use engine::{ContainerStatus, Exit, State};

use super::decide;
use super::plan::TaskPlan;
use super::record::{ContainerRecord, KnownStatus, TaskRecord};

/// ECS's words for a container that was killed for want of memory.
pub const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";
/// Exit code of a container that was killed, whatever its program would have said.
const KILLED: i32 = 137;

/// What the record says after looking at the engine, and which containers must first be deleted from it.
pub fn reconcile(
    plan: &TaskPlan,
    record: &mut TaskRecord,
    engine: &BTreeMap<String, ContainerStatus>,
    now: Timestamp,
) -> Vec<String> {
    let mut to_delete = Vec::new();
    let desired = record.desired;
    for (container, plan) in record.containers.iter_mut().zip(&plan.containers) {
        let status = engine.get(&container.runtime_id);
        match (container.known, status.map(|status| &status.state)) {
            (KnownStatus::Stopped, _) => {}
            (_, Some(State::Running)) => {
                container.known = KnownStatus::Running;
                container.pid = status.and_then(|status| status.pid);
                let started_at = status.and_then(|status| status.started_at);
                container.started_at = started_at.or(container.started_at).or(Some(now));
                container.created_at = container.created_at.or(status.and_then(|status| status.created_at));
            }
            (_, Some(State::Exited(exit))) => {
                let started_at = status.and_then(|status| status.started_at);
                container.started_at = started_at.or(container.started_at);
                let ran = exit.finished_at.since_millis(container.started_at.unwrap_or(exit.finished_at));
                note_exit(container, exit);
                if container.started_at.is_some() && decide::restarts(plan, desired, ran, exit.code) {
                    container.known = KnownStatus::Running;
                    container.restart_due = true;
                    container.reason = None;
                } else {
                    container.known = KnownStatus::Stopped;
                }
            }
            (KnownStatus::Pulled | KnownStatus::Created, Some(State::Created)) => {
                container.known = KnownStatus::Created;
            }
            // Half made: away with it, and once more.
            (KnownStatus::None | KnownStatus::Pulled | KnownStatus::Created, Some(_)) => {
                to_delete.push(container.runtime_id.clone());
                container.known = container.known.min(KnownStatus::Pulled);
            }
            (KnownStatus::Created, None) => container.known = KnownStatus::Pulled,
            (KnownStatus::None | KnownStatus::Pulled, None) => {}
            (KnownStatus::Running, _) if container.restart_due => {}
            // It ran, and nothing tells how it ended: the machine was restarted, or its shim was killed.
            (KnownStatus::Running, _) => {
                container.known = KnownStatus::Stopped;
                container.finished_at = Some(now);
                container.reason =
                    Some("ContainerRuntimeError: the container was lost while the agent was away".to_owned());
            }
        }
    }
    let ended = plan.containers.iter().zip(&record.containers).find(|(plan, container)| {
        plan.essential && container.known == KnownStatus::Stopped && container.started_at.is_some()
    });
    if let Some((_, container)) = ended {
        let at = container.finished_at.unwrap_or(now);
        record.execution_stopped_at.get_or_insert(at);
    }
    to_delete
}

/// Writes down how a container ended, in ECS's words.
pub fn note_exit(container: &mut ContainerRecord, exit: &Exit) {
    container.exit_code = Some(exit.code);
    container.pid = None;
    container.finished_at = Some(exit.finished_at);
    container.reason = if exit.out_of_memory && exit.code == KILLED {
        Some(OUT_OF_MEMORY.to_owned())
    } else {
        exit.reason.clone()
    };
}
