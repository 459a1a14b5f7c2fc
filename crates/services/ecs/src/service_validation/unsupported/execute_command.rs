//! `enableExecuteCommand`: ECS Exec is not there.

use api::ecs::TaskDefinition;
use wire::Fault;

use crate::faults::invalid;

/// Refuses ECS Exec; as AWS does, first where the task definition has no task role.
pub fn check(given: Option<bool>, definition: Option<&TaskDefinition>) -> Result<(), Fault> {
    if given != Some(true) {
        return Ok(());
    }
    if definition.is_some_and(|definition| definition.task_role_arn.is_none()) {
        return Err(invalid(
            "The service couldn't be created because a valid taskRoleArn is not being used. Specify a valid task role in \
             your task definition and try again.",
        ));
    }
    Err(invalid("enableExecuteCommand is not supported by this release of Roadstead."))
}
