//! `placementConstraints` and `placementStrategy` of a service: checked as RunTask checks them, and stored as given.
//! Source: CreateService. That a daemon service has no strategy is AWS's rule, the sentence ours.

use api::ecs::{PlacementConstraint, PlacementStrategy};
use domain::{LaunchType, SchedulingStrategy, TaskDefinition};
use wire::Fault;

use crate::faults::invalid;
use crate::launch;

/// What decides about placement, as given or as there is.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Constraints, as stored.
    pub constraints: Vec<(String, Option<String>)>,
    /// Strategies, as stored.
    pub strategies: Vec<(String, Option<String>)>,
}

/// Constraints on the wire.
pub fn describe_constraints(stored: &[(String, Option<String>)]) -> Vec<PlacementConstraint> {
    let describe = |(kind, expression): &(String, Option<String>)| PlacementConstraint {
        type_: Some(kind.clone()),
        expression: expression.clone(),
    };
    stored.iter().map(describe).collect()
}

/// Strategies on the wire.
pub fn describe_strategies(stored: &[(String, Option<String>)]) -> Vec<PlacementStrategy> {
    let describe = |(kind, field): &(String, Option<String>)| PlacementStrategy {
        type_: Some(kind.clone()),
        field: field.clone(),
    };
    stored.iter().map(describe).collect()
}

/// The constraints of a call as they are stored.
pub fn constraints(given: &[PlacementConstraint]) -> Vec<(String, Option<String>)> {
    let store = |given: &PlacementConstraint| {
        let expression = given.expression.clone().filter(|expression| !expression.is_empty());
        (given.type_.clone().unwrap_or_default(), expression)
    };
    given.iter().map(store).collect()
}

/// The strategies of a call as they are stored. An entry without any member takes all away, as AWS has it.
pub fn strategies(given: &[PlacementStrategy]) -> Vec<(String, Option<String>)> {
    let store = |given: &PlacementStrategy| {
        // AWS shows `host` as the same thing's other name.
        let field = given.field.clone().filter(|field| !field.is_empty());
        let field = field.map(|field| if field == "host" { "instanceId".to_owned() } else { field });
        (given.type_.clone().unwrap_or_default(), field)
    };
    let is_given = |given: &&PlacementStrategy| given.type_.is_some() || given.field.is_some();
    given.iter().filter(is_given).map(store).collect()
}

/// Checks what a service would have. `definition` is `None` with the EXTERNAL controller, whose task sets bring theirs.
pub fn check(
    placement: &Placement,
    definition: Option<(&TaskDefinition, LaunchType)>,
    scheduling: SchedulingStrategy,
) -> Result<(), Fault> {
    if scheduling == SchedulingStrategy::Daemon && !placement.strategies.is_empty() {
        return Err(invalid("The daemon scheduling strategy does not support placement strategies."));
    }
    let constraints = describe_constraints(&placement.constraints);
    let strategies = describe_strategies(&placement.strategies);
    match definition {
        Some((definition, launch_type)) => {
            launch::check_constraints(definition, Some(&constraints), launch_type)?;
            launch::check_strategies(Some(&strategies), launch_type)?;
        }
        None => {
            let member_of = constraints.iter().filter(|given| given.type_.as_deref() == Some("memberOf"));
            for given in member_of {
                launch::check_expression(given.expression.as_deref())
                    .map_err(|fault| invalid(fault.message()))?;
            }
            launch::check_strategies(Some(&strategies), LaunchType::Ec2)?;
        }
    }
    Ok(())
}
