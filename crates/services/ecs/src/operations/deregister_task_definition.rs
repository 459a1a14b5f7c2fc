//! Makes a task definition INACTIVE. AWS: DeregisterTaskDefinition. Differs from AWS: nothing known.

use api::ecs::operations::DeregisterTaskDefinition;
use api::ecs::{DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse};
use domain::{TaskDefinition, TaskDefinitionStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::task_definition;
use crate::{Ecs, faults};

impl Operation<DeregisterTaskDefinition> for Ecs {
    fn permissions(&self, _call: &Call, _input: &DeregisterTaskDefinitionRequest) -> Vec<Permission> {
        // AWS knows no resource for this action.
        vec![Permission::new("ecs:DeregisterTaskDefinition", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeregisterTaskDefinitionRequest,
    ) -> Result<DeregisterTaskDefinitionResponse, Fault> {
        let reference = task_definition::parse(call, input.task_definition.as_deref().unwrap_or_default())?;
        if reference.revision.is_none() {
            return Err(faults::client("Revision is missing."));
        }

        let update = self.store.update(|snapshot| {
            let there = task_definition::find(snapshot, &call.scope, &reference)
                .ok_or_else(|| faults::client("The specified task definition does not exist."))?;
            if there.status != TaskDefinitionStatus::Active {
                return Err(faults::client(
                    "The specified task definition is inactive. Specify a valid task definition and try again.",
                ));
            }
            let mut next = TaskDefinition::clone(&there);
            next.status = TaskDefinitionStatus::Inactive;
            next.deregistered_at = Some(call.now);
            let mut transaction = Transaction::new();
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let definition = update.await.map_err(faults::of_update)?;

        Ok(DeregisterTaskDefinitionResponse {
            task_definition: Some(task_definition::describe(&definition)?),
        })
    }
}
