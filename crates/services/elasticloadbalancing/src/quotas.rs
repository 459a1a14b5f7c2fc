//! What an account may have in a region. Source: "Quotas for your Application Load Balancers", "Quotas for your Network
//! Load Balancers"; their names are those of the "Limit" data type. Those on targets stand in `domain`: services' tasks are held to
//! them too.

use api::elasticloadbalancing::faults;
use domain::TargetQuota;
pub(crate) use domain::{
    TARGETS_PER_APPLICATION_LOAD_BALANCER, TARGETS_PER_NETWORK_LOAD_BALANCER, TARGETS_PER_TARGET_GROUP,
    TARGETS_PER_ZONE_OF_NETWORK_LOAD_BALANCER,
};
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

/// The fault for a quota on targets.
pub(crate) fn of_targets(quota: &TargetQuota) -> Fault {
    match quota {
        TargetQuota::Registrations(..) => {
            faults::too_many_registrations_for_target_id_exception(quota.to_string())
        }
        TargetQuota::TargetGroup(_) | TargetQuota::LoadBalancer(..) | TargetQuota::Zone(_) => {
            faults::too_many_targets_exception(quota.to_string())
        }
    }
}
