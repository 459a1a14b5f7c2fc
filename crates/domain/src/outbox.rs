//! Orders to agents that are not yet acknowledged.

use base::{Arn, Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Task;

/// What an order asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutboxOrder {
    /// Run the task.
    Start,
    /// Stop the task.
    Stop,
}

/// An order to one agent about one task. There is at most one per task: a newer one takes its place.
///
/// The message itself is made when it is sent, from the task and its definition, so that no secret is stored here.
/// The row goes away when the agent acknowledges it, on condition that its generation is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxMessage {
    /// The container instance whose agent must hear it.
    pub container_instance: Arn,
    /// Scope of the task (a Fargate task may lie in another account or region than the machine).
    pub scope: Scope,
    /// The task's cluster.
    pub cluster: String,
    /// The task's id.
    pub task_id: String,
    /// Start or stop.
    pub order: OutboxOrder,
    /// The task's generation when this was written.
    pub generation: u64,
    /// When it was written.
    pub written_at: Timestamp,
}

impl OutboxMessage {
    /// The order to stop a task, in its present generation; `None` where it is on no machine.
    pub fn stop(task: &Task, now: Timestamp) -> Option<Self> {
        Some(Self {
            container_instance: task.container_instance.clone()?,
            scope: task.scope.clone(),
            cluster: task.cluster.clone(),
            task_id: task.id.clone(),
            order: OutboxOrder::Stop,
            generation: task.generation,
            written_at: now,
        })
    }
}
