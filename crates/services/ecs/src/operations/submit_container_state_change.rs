//! Takes in what an agent says of one container. AWS: SubmitContainerStateChange.
//!
//! Differs from AWS: as SubmitTaskStateChange does.

use api::ecs::operations::SubmitContainerStateChange;
use api::ecs::{SubmitContainerStateChangeRequest, SubmitContainerStateChangeResponse};
use scheduler::task_lifecycle::{ContainerReport, TaskReport};
use wire::{Call, Fault, Operation, Permission};

use super::submit_task_state_change::{key, network_bindings, status, take_in};
use crate::Ecs;
use crate::resources::cluster;

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

        let acknowledgment = Some(take_in(self, call, &key, &report).await?);
        Ok(SubmitContainerStateChangeResponse { acknowledgment })
    }
}
