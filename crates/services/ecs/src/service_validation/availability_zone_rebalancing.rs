//! `availabilityZoneRebalancing`: who can have it. Source: AWS, "Balancing an Amazon ECS service across Availability
//! Zones". The rules are AWS's, the sentences ours.

use domain::{DeploymentControllerType, LaunchType, SchedulingStrategy};
use wire::Fault;

use super::placement::Placement;
use crate::faults::invalid;

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// Scheduling strategy.
    pub scheduling: SchedulingStrategy,
    /// Deployment controller.
    pub controller: DeploymentControllerType,
    /// Launch type, where there is one.
    pub launch_type: Option<LaunchType>,
    /// `maximumPercent`.
    pub maximum_percent: i32,
    /// Placement.
    pub placement: &'a Placement,
}

/// Why the service cannot be rebalanced.
fn obstacle(of: Of<'_>) -> Option<&'static str> {
    const ZONE: &str = "attribute:ecs.availability-zone";
    if of.scheduling == SchedulingStrategy::Daemon {
        return Some("the DAEMON scheduling strategy");
    }
    if of.controller != DeploymentControllerType::Ecs {
        return Some("a deployment controller other than ECS");
    }
    if of.launch_type == Some(LaunchType::External) {
        return Some("the EXTERNAL launch type");
    }
    if of.maximum_percent <= 100 {
        return Some("a maximumPercent of 100 or less");
    }
    let by_zone = |(_, expression): &(String, Option<String>)| {
        expression.as_ref().is_some_and(|expression| expression.contains(ZONE))
    };
    if of.placement.constraints.iter().any(by_zone) {
        return Some("a placement constraint on attribute:ecs.availability-zone");
    }
    match of.placement.strategies.first() {
        None => None,
        Some((kind, field)) if kind == "spread" && field.as_deref() == Some(ZONE) => None,
        Some(_) => Some("a first placement strategy other than spread by attribute:ecs.availability-zone"),
    }
}

/// Whether the service is rebalanced: as asked for; else as it was; else wherever it can be.
pub fn check(asked: Option<&str>, there: Option<bool>, of: Of<'_>) -> Result<bool, Fault> {
    let wanted = match asked {
        Some(word) => word == "ENABLED",
        None => there.unwrap_or(true),
    };
    match obstacle(of) {
        Some(_) if !wanted => Ok(false),
        // A default that does not apply is not the caller's fault.
        Some(_) if asked.is_none() && there.is_none() => Ok(false),
        Some(obstacle) => Err(invalid(format!(
            "Availability Zone rebalancing is not supported for services with {obstacle}."
        ))),
        None => Ok(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_unless_it_cannot_be() {
        let placement = Placement::default();
        let plain = Of {
            scheduling: SchedulingStrategy::Replica,
            controller: DeploymentControllerType::Ecs,
            launch_type: Some(LaunchType::Ec2),
            maximum_percent: 200,
            placement: &placement,
        };
        assert!(check(None, None, plain).unwrap());
        assert!(!check(Some("DISABLED"), None, plain).unwrap());
        assert!(!check(None, Some(false), plain).unwrap());
        let spread = |field: &str| Placement {
            strategies: vec![("spread".to_owned(), Some(field.to_owned()))],
            ..Placement::default()
        };
        let (zones, machines) = (spread("attribute:ecs.availability-zone"), spread("instanceId"));
        assert!(check(None, None, Of { placement: &zones, ..plain }).unwrap());
        for other in [
            Of { scheduling: SchedulingStrategy::Daemon, ..plain },
            Of { controller: DeploymentControllerType::External, ..plain },
            Of { launch_type: Some(LaunchType::External), ..plain },
            Of { maximum_percent: 100, ..plain },
            Of { placement: &machines, ..plain },
        ] {
            assert!(!check(None, None, other).unwrap(), "{other:?}");
            assert!(check(Some("ENABLED"), None, other).is_err(), "{other:?}");
            assert!(check(None, Some(true), other).is_err(), "{other:?}");
        }
    }
}
