//! Placement constraints and strategies of a launch.

use api::ecs::{PlacementConstraint, PlacementStrategy};
use domain::{LaunchType, TaskDefinition};
use scheduler::cluster_query_language::Expression;
use scheduler::placement::{Constraint, Strategy};
use wire::Fault;

use crate::faults::{client, invalid};

/// Constraints of definition and call together. Source: RunTask, `placementConstraints`.
const CONSTRAINTS: usize = 10;
/// Strategies of one call. Source: RunTask, `placementStrategy`.
const STRATEGIES: usize = 5;

/// Reads an expression of the cluster query language.
fn expression(text: Option<&str>) -> Result<Expression, Fault> {
    let text = text.unwrap_or_default();
    if text.trim().is_empty() {
        return Err(invalid("The expression of a memberOf placement constraint can not be blank."));
    }
    Expression::parse(text).map_err(|error| invalid(format!("Invalid expression: {error}")))
}

/// Checks the expression of a task definition's constraint.
pub fn check_expression(text: Option<&str>) -> Result<(), Fault> {
    expression(text).map(|_| ()).map_err(|fault| client(fault.message()))
}

/// The definition's constraints, and those of the call.
pub fn constraints(
    definition: &TaskDefinition,
    given: Option<&[PlacementConstraint]>,
    launch_type: LaunchType,
) -> Result<Vec<Constraint>, Fault> {
    let given = given.unwrap_or_default();
    if launch_type == LaunchType::Fargate {
        return if given.is_empty() {
            Ok(Vec::new())
        } else {
            Err(invalid("Placement constraints are not supported with FARGATE launch type."))
        };
    }
    if given.len() + definition.projection.member_of.len() > CONSTRAINTS {
        return Err(invalid(format!("A maximum of {CONSTRAINTS} placement constraints is supported.")));
    }
    let mut constraints = Vec::new();
    for text in &definition.projection.member_of {
        constraints.push(Constraint::MemberOf(expression(Some(text))?));
    }
    for constraint in given {
        match (constraint.type_.as_deref(), constraint.expression.as_deref()) {
            (Some("distinctInstance"), None | Some("")) => constraints.push(Constraint::DistinctInstance),
            (Some("distinctInstance"), Some(_)) => {
                return Err(invalid("Expressions are not supported with the distinctInstance constraint."));
            }
            (Some("memberOf"), text) => constraints.push(Constraint::MemberOf(expression(text)?)),
            (other, _) => {
                return Err(invalid(format!(
                    "Invalid placement constraint type: {}",
                    other.unwrap_or_default()
                )));
            }
        }
    }
    Ok(constraints)
}

/// The strategies of the call.
pub fn strategies(
    given: Option<&[PlacementStrategy]>,
    launch_type: LaunchType,
) -> Result<Vec<Strategy>, Fault> {
    let given = given.unwrap_or_default();
    if launch_type == LaunchType::Fargate && !given.is_empty() {
        return Err(invalid("Placement strategies are not supported with FARGATE launch type."));
    }
    if given.len() > STRATEGIES {
        return Err(invalid(format!("A maximum of {STRATEGIES} placement strategies is supported.")));
    }
    given.iter().map(strategy).collect()
}

fn strategy(given: &PlacementStrategy) -> Result<Strategy, Fault> {
    let field = given.field.as_deref().filter(|field| !field.is_empty());
    let bad_field = || invalid(format!("Invalid placement strategy field: {}", field.unwrap_or_default()));
    match given.type_.as_deref() {
        Some("random") => match field {
            None => Ok(Strategy::Random),
            Some(_) => Err(bad_field()),
        },
        Some("spread") => match field {
            Some("instanceId" | "host") => Ok(Strategy::Spread(None)),
            Some(text) => match text.strip_prefix("attribute:") {
                Some(name) if !name.is_empty() => Ok(Strategy::Spread(Some(name.to_owned()))),
                _ => Err(bad_field()),
            },
            None => Err(bad_field()),
        },
        Some("binpack") => match field {
            Some(text) if text.eq_ignore_ascii_case("cpu") => Ok(Strategy::BinpackCpu),
            Some(text) if text.eq_ignore_ascii_case("memory") => Ok(Strategy::BinpackMemory),
            _ => Err(bad_field()),
        },
        other => Err(invalid(format!("Invalid placement strategy type: {}", other.unwrap_or_default()))),
    }
}
