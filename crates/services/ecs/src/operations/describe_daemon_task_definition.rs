//! Describes a daemon task definition. AWS: DescribeDaemonTaskDefinition. Differs from AWS: nothing known; the wording for
//! one that is not there could not be verified. A DELETED one is shown for an hour.

use api::ecs::operations::DescribeDaemonTaskDefinition;
use api::ecs::{DescribeDaemonTaskDefinitionRequest, DescribeDaemonTaskDefinitionResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::daemon_task_definition;
use crate::{Ecs, faults};

impl Operation<DescribeDaemonTaskDefinition> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeDaemonTaskDefinitionRequest) -> Vec<Permission> {
        let resource = daemon_task_definition::arn_for_permission(
            &self.store.snapshot(),
            call,
            input.daemon_task_definition.as_deref(),
        );
        vec![Permission::new("ecs:DescribeDaemonTaskDefinition", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeDaemonTaskDefinitionRequest,
    ) -> Result<DescribeDaemonTaskDefinitionResponse, Fault> {
        let text = input.daemon_task_definition.as_deref().unwrap_or_default();
        let reference = daemon_task_definition::parse(call, text)?;

        let definition = daemon_task_definition::find(&self.store.snapshot(), &call.scope, &reference)
            .ok_or_else(|| faults::client("Unable to describe daemon task definition."))?;

        let described = daemon_task_definition::describe(&definition)?;
        Ok(DescribeDaemonTaskDefinitionResponse { daemon_task_definition: Some(described) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn what_is_not_there() {
        let world = World::new();
        for (text, wanted) in [
            ("ghost", "ClientException: Unable to describe daemon task definition."),
            ("ghost:1", "ClientException: Unable to describe daemon task definition."),
            ("ghost:0", "InvalidParameterException: Invalid revision number. Number: 0"),
            ("", "ClientException: DaemonTaskDefinition can not be blank."),
            (
                "arn:aws:ecs:us-east-1:000000000000:task-definition/x:1",
                "InvalidParameterException: Unsupported resource type: task-definition",
            ),
        ] {
            let body = json!({"daemonTaskDefinition": text});
            assert_eq!(world.refused("DescribeDaemonTaskDefinition", body).await, wanted);
        }
    }
}
