//! What an account may have in a region. Source: "Quotas for your Application Load Balancers", "Quotas for your Network
//! Load Balancers"; their names are those of the "Limit" data type.

use std::collections::BTreeMap;

use api::elasticloadbalancing::faults;
use domain::{LoadBalancer, LoadBalancerType};
use wire::Fault;

/// Load balancers of each kind.
pub(crate) const LOAD_BALANCERS: usize = 50;
/// Target groups.
pub(crate) const TARGET_GROUPS: usize = 3000;
/// Listeners of a load balancer.
pub(crate) const LISTENERS_PER_LOAD_BALANCER: usize = 50;
/// Rules of an application load balancer, default rules not counted.
pub(crate) const RULES_PER_LOAD_BALANCER: usize = 100;
/// Values of all conditions of a rule.
pub(crate) const CONDITION_VALUES_PER_RULE: usize = 5;
/// Wildcards in the values of all conditions of a rule.
pub(crate) const CONDITION_WILDCARDS_PER_RULE: usize = 6;
/// Target groups that the rules of a load balancer name.
pub(crate) const TARGET_GROUPS_PER_LOAD_BALANCER: usize = 100;
/// Target groups of a `forward` action.
pub(crate) const TARGET_GROUPS_PER_ACTION: usize = 5;
/// Certificates of a load balancer, default certificates not counted.
pub(crate) const CERTIFICATES_PER_LOAD_BALANCER: usize = 25;
/// Targets of a target group.
pub(crate) const TARGETS_PER_TARGET_GROUP: usize = 1000;
/// Targets of all target groups of an application load balancer.
pub(crate) const TARGETS_PER_APPLICATION_LOAD_BALANCER: usize = 1000;
/// Targets of all target groups of a network load balancer.
pub(crate) const TARGETS_PER_NETWORK_LOAD_BALANCER: usize = 3000;
/// Those of them in one Availability Zone.
pub(crate) const TARGETS_PER_ZONE_OF_NETWORK_LOAD_BALANCER: usize = 500;
/// Registrations of one target, at several ports or in several target groups, with an application load balancer.
pub(crate) const REGISTRATIONS_PER_TARGET: usize = 1000;

/// Whether a load balancer may have all these targets: each registration with its target, and its zone where it has one.
/// A target counts as often as it is registered.
pub(crate) fn check_targets<'a>(
    load_balancer: &LoadBalancer,
    registrations: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(), Fault> {
    let (mut total, mut of_target, mut in_zone) = (0, BTreeMap::new(), BTreeMap::new());
    for (target, zone) in registrations {
        total += 1;
        *of_target.entry(target).or_insert(0) += 1;
        if let Some(zone) = zone {
            *in_zone.entry(zone).or_insert(0) += 1;
        }
    }
    if load_balancer.load_balancer_type == LoadBalancerType::Application {
        let maximum = REGISTRATIONS_PER_TARGET;
        if let Some((target, _)) = of_target.into_iter().find(|(_, count)| *count > maximum) {
            return Err(faults::too_many_registrations_for_target_id_exception(format!(
                "The maximum number of registrations '{maximum}' of the target '{target}' with a load balancer has been reached"
            )));
        }
        return within(total, TARGETS_PER_APPLICATION_LOAD_BALANCER, "a load balancer");
    }
    within(total, TARGETS_PER_NETWORK_LOAD_BALANCER, "a load balancer")?;
    let fullest = in_zone.into_values().max().unwrap_or(0);
    within(fullest, TARGETS_PER_ZONE_OF_NETWORK_LOAD_BALANCER, "an Availability Zone of a load balancer")
}

fn within(count: usize, maximum: usize, of: &str) -> Result<(), Fault> {
    if count <= maximum {
        return Ok(());
    }
    let message = format!("The maximum number of targets '{maximum}' of {of} has been reached");
    Err(faults::too_many_targets_exception(message))
}
