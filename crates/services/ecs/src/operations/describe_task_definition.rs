//! Describes a task definition. AWS: DescribeTaskDefinition. Differs from AWS: nothing known.

use api::ecs::operations::DescribeTaskDefinition;
use api::ecs::{DescribeTaskDefinitionRequest, DescribeTaskDefinitionResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{tag, task_definition};
use crate::{Ecs, faults};

impl Operation<DescribeTaskDefinition> for Ecs {
    fn permissions(&self, _call: &Call, _input: &DescribeTaskDefinitionRequest) -> Vec<Permission> {
        // AWS knows no resource for this action.
        vec![Permission::new("ecs:DescribeTaskDefinition", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeTaskDefinitionRequest,
    ) -> Result<DescribeTaskDefinitionResponse, Fault> {
        let reference = task_definition::parse(call, input.task_definition.as_deref().unwrap_or_default())?;
        let with_tags = input.include.iter().flatten().any(|word| word == "TAGS");

        let definition = task_definition::find(&self.store.snapshot(), &call.scope, &reference)
            .ok_or_else(|| faults::client("Unable to describe task definition."))?;
        Ok(DescribeTaskDefinitionResponse {
            task_definition: Some(task_definition::describe(&definition)?),
            tags: with_tags.then(|| tag::describe(&definition.tags)),
        })
    }
}
