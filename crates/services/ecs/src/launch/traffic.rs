//! Where the traffic of a service's revision comes from: the listener rules of its load balancers.

use domain::ServiceRevision;

use crate::resources::service_revision;

/// One of a revision's load balancers, where deployments shift its traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shifted {
    /// ARN of the target group that the revision's tasks are in.
    pub target_group: String,
    /// ARNs of both target groups that revisions take turns with.
    pub target_groups: Vec<String>,
    /// ARN of the rule of production traffic: a listener's, where it has no rules to name.
    pub production_rule: Option<String>,
    /// ARN of the rule of test traffic.
    pub test_rule: Option<String>,
}

/// The revision's load balancers whose traffic is shifted.
pub fn of_revision(revision: &ServiceRevision) -> Vec<Shifted> {
    let Ok(document) = service_revision::document(revision) else { return Vec::new() };
    let resolved = document.resolved_configuration.and_then(|resolved| resolved.load_balancers);
    let pairs = document.load_balancers.unwrap_or_default().into_iter().zip(resolved.unwrap_or_default());
    let shifted = pairs.filter_map(|(item, resolved)| {
        let advanced = item.advanced_configuration?;
        let pair = [item.target_group_arn, advanced.alternate_target_group_arn];
        Some(Shifted {
            target_group: resolved.target_group_arn?,
            target_groups: pair.into_iter().flatten().collect(),
            production_rule: advanced.production_listener_rule,
            test_rule: advanced.test_listener_rule.filter(|rule| !rule.is_empty()),
        })
    });
    shifted.collect()
}
