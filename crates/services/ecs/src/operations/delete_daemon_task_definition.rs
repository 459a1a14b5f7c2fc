//! Deletes a daemon task definition. AWS: DeleteDaemonTaskDefinition.
//!
//! As there, daemons that use it go on. It is DELETE_IN_PROGRESS until no daemon and no task refers to it, then DELETED for
//! an hour, then gone; the control plane's loop for daemons sees to that. The wording of the refusals could not be verified.

use api::ecs::operations::DeleteDaemonTaskDefinition;
use api::ecs::{DeleteDaemonTaskDefinitionRequest, DeleteDaemonTaskDefinitionResponse};
use domain::{DaemonTaskDefinition, DaemonTaskDefinitionStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::daemon_task_definition;
use crate::{Ecs, faults};

impl Operation<DeleteDaemonTaskDefinition> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteDaemonTaskDefinitionRequest) -> Vec<Permission> {
        let resource = daemon_task_definition::arn_for_permission(
            &self.store.snapshot(),
            call,
            input.daemon_task_definition.as_deref(),
        );
        vec![Permission::new("ecs:DeleteDaemonTaskDefinition", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteDaemonTaskDefinitionRequest,
    ) -> Result<DeleteDaemonTaskDefinitionResponse, Fault> {
        let text = input.daemon_task_definition.as_deref().unwrap_or_default();
        let reference = daemon_task_definition::parse(call, text)?;
        if reference.revision.is_none() {
            return Err(faults::client("Revision is missing."));
        }

        let update = self.store.update(|snapshot| {
            let there = daemon_task_definition::find(snapshot, &call.scope, &reference)
                .ok_or_else(|| faults::client("The specified daemon task definition does not exist."))?;
            if there.status != DaemonTaskDefinitionStatus::Active {
                return Err(faults::client(
                    "The specified daemon task definition is not in an ACTIVE state.",
                ));
            }
            let mut transaction = Transaction::new();
            let next = DaemonTaskDefinition {
                status: DaemonTaskDefinitionStatus::DeleteInProgress,
                delete_requested_at: Some(call.now),
                ..DaemonTaskDefinition::clone(&there)
            };
            transaction.replace(&there, next);
            Ok((transaction, there.arn()))
        });
        let arn = update.await.map_err(faults::of_update)?;

        Ok(DeleteDaemonTaskDefinitionResponse { daemon_task_definition_arn: Some(arn.to_string()) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn once_and_by_revision() {
        let world = World::new();
        let body = json!({"family": "agent", "containerDefinitions": [{"name": "a", "image": "i"}]});
        world.ok("RegisterDaemonTaskDefinition", body).await;
        let delete = |text: &str| json!({"daemonTaskDefinition": text});
        assert_eq!(
            world.refused("DeleteDaemonTaskDefinition", delete("agent")).await,
            "ClientException: Revision is missing."
        );
        assert_eq!(
            world.refused("DeleteDaemonTaskDefinition", delete("agent:2")).await,
            "ClientException: The specified daemon task definition does not exist."
        );
        let answer = world.ok("DeleteDaemonTaskDefinition", delete("agent:1")).await;
        let arn = text(&answer, "/daemonTaskDefinitionArn");
        let shown = world.ok("DescribeDaemonTaskDefinition", delete(&arn)).await;
        assert_eq!(text(&shown, "/daemonTaskDefinition/status"), "DELETE_IN_PROGRESS");
        assert!(shown["daemonTaskDefinition"]["deleteRequestedAt"].is_number());
        world.refused("DeleteDaemonTaskDefinition", delete(&arn)).await;
        let missing = world.refused("DescribeDaemonTaskDefinition", delete("agent")).await;
        assert!(missing.starts_with("ClientException"), "no ACTIVE one is left: {missing}");
    }
}
