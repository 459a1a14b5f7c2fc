//! What an account may have in a region. Source: "Quotas for your Application Load Balancers", "Quotas for your Network
//! Load Balancers"; their names are those of the "Limit" data type.

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
