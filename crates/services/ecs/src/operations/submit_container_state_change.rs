//! Takes in what an agent says of one container. AWS: SubmitContainerStateChange.
//!
//! Differs from AWS: as SubmitTaskStateChange does.

use api::ecs::operations::SubmitContainerStateChange;
use api::ecs::{SubmitContainerStateChangeRequest, SubmitContainerStateChangeResponse};
use domain::Task;
use scheduler::task_lifecycle::{ContainerReport, TaskReport, step};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use super::submit_task_state_change::{key, network_bindings, status};
use crate::resources::{cluster, node};
use crate::{Ecs, faults};

impl Operation<SubmitContainerStateChange> for Ecs {
    fn permissions(&self, call: &Call, input: &SubmitContainerStateChangeRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:SubmitContainerStateChange", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: SubmitContainerStateChangeRequest,
    ) -> Result<SubmitContainerStateChangeResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let key = key(call, &name, input.task.as_deref().unwrap_or_default())?;
        let container = ContainerReport {
            name: input.container_name.unwrap_or_default(),
            status: status(input.status.as_deref())?,
            runtime_id: input.runtime_id.filter(|id| id.len() <= 255),
            exit_code: input.exit_code,
            reason: input.reason,
            image_digest: None,
            network_bindings: network_bindings(input.network_bindings.unwrap_or_default())?,
        };
        let report = TaskReport { containers: vec![container], ..TaskReport::default() };

        let update = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            if let Some(there) = snapshot.get::<Task>(&key) {
                node::check_task(snapshot, call, &there)?;
                let outcome = step(&there, &report, call.now);
                if outcome.changed {
                    transaction.replace(&there, outcome.task);
                }
            }
            Ok::<_, Fault>((transaction, ()))
        });
        update.await.map_err(faults::of_update)?;

        let acknowledgment = Some(format!("{}/{}", call.scope.region, call.request_id));
        Ok(SubmitContainerStateChangeResponse { acknowledgment })
    }
}
