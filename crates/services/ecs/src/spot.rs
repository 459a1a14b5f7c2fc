//! Fargate Spot: capacity is taken back.
//!
//! Source: AWS, "Amazon ECS clusters for Fargate" and "How do I handle Spot termination notices in AWS Fargate Spot tasks?": the
//! notice is a change of the task's state (desired status STOPPED, stop code `SpotInterruption`) and the stop signal
//! to its containers, at once; SIGKILL comes after each container's stop timeout, and two minutes after the notice at the
//! latest; a task that load balancers send requests is taken out of them first, which takes half of the time at most
//! (`scheduler::target_registration`). There is no notice on the task metadata endpoint. A service's scheduler starts another task as for any that ends.
//!
//! Nobody here needs capacity back on his own: an interruption is an operator's (`roadstead spot interrupt`). AWS does not
//! say that a task on demand which finds no room takes back Spot capacity, so none does.

use base::{Arn, Scope, Timestamp};
use domain::{OutboxMessage, StopCode, Task, TaskStatus};
use scheduler::task_lifecycle::{may_be_told_to_stop, request_stop};
use store::rows::task_key;
use store::{Store, Transaction, UpdateError};

use crate::resources::capacity_provider::FARGATE_SPOT;

/// Seconds from the notice until nothing of the task runs any more.
pub const WARNING_SECONDS: i64 = 120;
/// AWS's sentence.
const INTERRUPTED: &str = "Your Spot Task was interrupted.";

/// Why a task is not interrupted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterruptError {
    /// There is no such task in the cluster.
    #[error("there is no task {0}")]
    Missing(String),
    /// It runs on capacity that is not taken back.
    #[error("the task {0} does not run on FARGATE_SPOT")]
    NotSpot(String),
    /// It ends already.
    #[error("the task {0} is stopped or stopping already")]
    Ended(String),
    /// The store gave up.
    #[error("the interruption is not written: {0}")]
    Store(String),
}

/// Takes back the capacity of a task, `warning_seconds` from now. Gives the task's ARN.
pub async fn interrupt(
    store: &Store,
    (scope, cluster, id): (&Scope, &str, &str),
    warning_seconds: i64,
    now: Timestamp,
) -> Result<Arn, InterruptError> {
    let update = store.update(|snapshot| {
        let row = snapshot
            .get::<Task>(&task_key(scope, cluster, id))
            .ok_or_else(|| InterruptError::Missing(format!("{cluster}/{id}")))?;
        if row.capacity_provider.as_deref() != Some(FARGATE_SPOT) {
            return Err(InterruptError::NotSpot(row.arn().to_string()));
        }
        let mut outcome = request_stop(&row, StopCode::SpotInterruption, INTERRUPTED, now);
        if !outcome.changed || row.last_status == TaskStatus::Stopped {
            return Err(InterruptError::Ended(row.arn().to_string()));
        }
        outcome.task.stop_by = Some(now.plus_seconds(warning_seconds.max(0)));
        let mut transaction = Transaction::new();
        if may_be_told_to_stop(&outcome.task)
            && let Some(order) = OutboxMessage::stop(&outcome.task, now)
        {
            transaction.put(order);
        }
        transaction.replace(&row, outcome.task);
        Ok((transaction, row.arn()))
    });
    update.await.map_err(|error| match error {
        UpdateError::Refused(error) => error,
        UpdateError::Transact(error) => InterruptError::Store(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use domain::OutboxOrder;
    use serde_json::json;

    use super::*;
    use crate::testing::{World, scope, text};

    #[tokio::test]
    async fn only_spot_tasks_are_interrupted_and_once() {
        let world = World::with_fargate().await;
        let providers = json!(["FARGATE", "FARGATE_SPOT"]);
        let put = json!({"cluster": "default", "capacityProviders": providers, "defaultCapacityProviderStrategy": []});
        world.ok("PutClusterCapacityProviders", put).await;
        let strategy = json!([{"capacityProvider": "FARGATE", "base": 1}, {"capacityProvider": "FARGATE_SPOT", "weight": 1}]);
        let run = world
            .run_on_fargate(json!({"launchType": null, "capacityProviderStrategy": strategy, "count": 2}))
            .await;
        let task = |number: usize| text(&run, &format!("/tasks/{number}/taskArn"));
        let interrupt = async |arn: &str| {
            let id = arn.rsplit('/').next().unwrap();
            let now = base::Clock::now(&*world.clock);
            super::interrupt(&world.store, (&scope(), "default", id), WARNING_SECONDS, now).await
        };
        assert_eq!(interrupt(&task(0)).await, Err(InterruptError::NotSpot(task(0))));
        assert!(matches!(interrupt("x/y").await, Err(InterruptError::Missing(_))));
        world
            .report(&task(1), TaskStatus::Running, json!([{"containerName": "app", "status": "RUNNING"}]))
            .await;
        assert_eq!(interrupt(&task(1)).await.unwrap().to_string(), task(1));
        let described = world.ok("DescribeTasks", json!({"tasks": [task(1)]})).await;
        let interrupted = &described["tasks"][0];
        assert_eq!(text(interrupted, "/desiredStatus"), "STOPPED");
        assert_eq!(text(interrupted, "/stopCode"), "SpotInterruption");
        assert_eq!(text(interrupted, "/stoppedReason"), "Your Spot Task was interrupted.");
        let everything = store::Prefix::everything();
        let orders: Vec<_> = world.store.snapshot().scan::<OutboxMessage>(everything, None).collect();
        let stop = orders.iter().find(|order| order.order == OutboxOrder::Stop).unwrap();
        assert!(task(1).ends_with(&stop.task_id));
        assert_eq!(interrupt(&task(1)).await, Err(InterruptError::Ended(task(1))));
    }
}
