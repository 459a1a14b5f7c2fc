//! Wishes that a task stop. AWS: StopTask.
//!
//! Differs from AWS: a task stopped without a reason shows the sentence that the console gives.

use api::ecs::operations::StopTask;
use api::ecs::{StopTaskRequest, StopTaskResponse};
use base::Arn;
use domain::{OutboxMessage, StopCode, Task};
use scheduler::task_lifecycle::{may_be_told_to_stop, request_stop};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, task};
use crate::{Ecs, faults};

/// What a task shows that was stopped without a reason.
const NO_REASON: &str = "Task stopped by user";
/// Characters of a caller's reason. Source: AWS, "Stopped task error codes".
const REASON_CHARACTERS: usize = 1024;

impl Operation<StopTask> for Ecs {
    fn permissions(&self, call: &Call, input: &StopTaskRequest) -> Vec<Permission> {
        let resource = cluster::name(call, input.cluster.as_deref())
            .and_then(|name| Ok((task::id(call, &name, input.task.as_deref().unwrap_or_default())?, name)))
            .map(|(id, name)| Arn::new("ecs", &call.scope, format!("task/{name}/{id}")).to_string());
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        let resource = resource.unwrap_or_else(|_| "*".to_owned());
        vec![Permission::new("ecs:StopTask", resource).when("ecs:cluster", cluster)]
    }

    async fn handle(&self, call: &Call, input: StopTaskRequest) -> Result<StopTaskResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let id = task::id(call, &name, input.task.as_deref().unwrap_or_default())?;
        let reason = input.reason.unwrap_or_else(|| NO_REASON.to_owned());
        if reason.chars().count() > REASON_CHARACTERS {
            return Err(faults::invalid(format!("reason must have at most {REASON_CHARACTERS} characters.")));
        }

        let update = self.store.update(|snapshot| {
            cluster::get(snapshot, &call.scope, &name)?;
            let there = task::get(snapshot, call, &name, &id)
                .ok_or_else(|| faults::invalid("The referenced task was not found."))?;
            let outcome = request_stop(&there, StopCode::UserInitiated, &reason, call.now);
            let mut transaction = Transaction::new();
            if outcome.changed {
                transaction.replace(&there, outcome.task.clone());
                order_stop(&mut transaction, &outcome.task, call);
            }
            Ok((transaction, outcome.task))
        });
        let stopped = update.await.map_err(faults::of_update)?;

        Ok(StopTaskResponse { task: Some(task::describe(&stopped, true)?) })
    }
}

/// The order goes out only if an agent may know the task, else the control loop gives up what was prepared for it; and only
/// once no load balancer sends it requests, which another loop sees to.
fn order_stop(transaction: &mut Transaction, task: &Task, call: &Call) {
    if may_be_told_to_stop(task)
        && let Some(order) = OutboxMessage::stop(task, call.now)
    {
        transaction.put(order);
    }
}

#[cfg(test)]
mod tests {
    use domain::{OutboxMessage, OutboxOrder};
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn the_wish_is_written_once() {
        let (world, _) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web"})).await;
        let task = text(&run, "/tasks/0/taskArn");
        let stopped = world.ok("StopTask", json!({"task": task})).await;
        assert_eq!(text(&stopped, "/task/stoppedReason"), "Task stopped by user");
        let again = world.ok("StopTask", json!({"task": task, "reason": "other"})).await;
        assert_eq!(again, stopped);
        let order =
            world.store.snapshot().scan::<OutboxMessage>(store::Prefix::everything(), None).next().unwrap();
        assert_eq!((order.order, order.generation), (OutboxOrder::Stop, 2));
        assert_eq!(
            world.refused("StopTask", json!({"task": "0".repeat(32)})).await,
            "InvalidParameterException: The referenced task was not found."
        );
        assert_eq!(
            world.refused("StopTask", json!({"task": "short"})).await,
            "InvalidParameterException: taskId length should be one of [32,36]"
        );
        assert_eq!(
            world.refused("StopTask", json!({"task": task.replace("task/default", "task/other")})).await,
            "InvalidParameterException: Invalid identifier: Identifier is for cluster other. Your cluster is default"
        );
        world.refused("StopTask", json!({"task": task, "reason": "x".repeat(1025)})).await;
    }
}
