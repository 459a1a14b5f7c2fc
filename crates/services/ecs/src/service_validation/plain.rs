//! Single values of a service. Messages without a source in AWS's own answers are ours.

use api::ecs::DeploymentController;
use base::limits::TASKS_PER_SERVICE;
use domain::{DeploymentControllerType, SchedulingStrategy};
use wire::Fault;

use crate::faults::{client, invalid};
use crate::resources::identifier;

/// A new service's name.
pub fn name(text: Option<&str>) -> Result<String, Fault> {
    match text {
        Some(text) if identifier::is_name(text) => Ok(text.to_owned()),
        None | Some("") => Err(invalid("Service name can not be blank.")),
        Some(_) => Err(invalid(
            "Invalid service name. Up to 255 letters, numbers, hyphens, and underscores are allowed.",
        )),
    }
}

/// `schedulingStrategy`; REPLICA where none is given.
pub fn scheduling_strategy(text: Option<&str>) -> Result<SchedulingStrategy, Fault> {
    text.map_or(Ok(SchedulingStrategy::Replica), |word| {
        word.parse().map_err(|_| invalid(format!("Invalid scheduling strategy: {word}")))
    })
}

/// `deploymentController`; ECS where none is given.
pub fn deployment_controller(
    given: Option<&DeploymentController>,
    scheduling: SchedulingStrategy,
) -> Result<DeploymentControllerType, Fault> {
    let controller = match given.and_then(|given| given.type_.as_deref()) {
        None => DeploymentControllerType::Ecs,
        Some(word) => {
            word.parse().map_err(|_| invalid(format!("Invalid deployment controller type: {word}")))?
        }
    };
    if scheduling == SchedulingStrategy::Daemon && controller != DeploymentControllerType::Ecs {
        return Err(invalid(format!(
            "The daemon scheduling strategy does not support the {controller} deployment controller.",
        )));
    }
    Ok(controller)
}

/// `desiredCount` of a call.
pub fn desired_count(given: Option<i32>, scheduling: SchedulingStrategy) -> Result<Option<i32>, Fault> {
    match given {
        None => Ok(None),
        Some(_) if scheduling == SchedulingStrategy::Daemon => Err(invalid(
            "The daemon scheduling strategy does not support a desired count for services. Remove the desired count value \
             and try again",
        )),
        Some(count) if count < 0 => Err(invalid("Task count can not be lesser than 0")),
        Some(count) if count > TASKS_PER_SERVICE => {
            Err(invalid(format!("Task count can not be greater than {TASKS_PER_SERVICE}")))
        }
        Some(count) => Ok(Some(count)),
    }
}

/// `healthCheckGracePeriodSeconds` of a call.
pub fn health_check_grace_period(given: Option<i32>) -> Result<Option<i32>, Fault> {
    if given.is_some_and(|seconds| seconds < 0) {
        return Err(invalid("healthCheckGracePeriodSeconds can not be negative."));
    }
    Ok(given)
}

/// `role` is for load balancers only, of which there are none.
pub fn role(given: Option<&str>) -> Result<(), Fault> {
    match given {
        None | Some("") => Ok(()),
        Some(_) => {
            Err(invalid("You cannot specify an IAM role for services that require a service linked role."))
        }
    }
}

/// `taskDefinition` must be given.
pub fn task_definition(given: Option<&str>) -> Result<&str, Fault> {
    match given {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(client("TaskDefinition can not be blank.")),
    }
}
