//! Rules.

use api::elasticloadbalancing::{Rule, RuleTransform, faults};
use base::Scope;
use domain::ListenerRule;
use store::{Snapshot, Versioned, rows_load_balancing};
use wire::Fault;

use super::{action, condition, name};
use crate::faults::unsupported;

/// The rule with this ARN.
pub(crate) fn find(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Versioned<ListenerRule>, Fault> {
    name::check_arn(arn, "listener-rule", "listener rule")?;
    let found = rows_load_balancing::listener_rule_by_arn(snapshot, arn);
    found.filter(|found| found.scope == *scope).ok_or_else(|| not_found(arn))
}

pub(crate) fn not_found(arn: &str) -> Fault {
    faults::rule_not_found_exception(format!("Rule '{arn}' not found"))
}

/// Refuses transforms, which the balancer does not do.
pub(crate) fn check_transforms(transforms: Option<&Vec<RuleTransform>>) -> Result<(), Fault> {
    match transforms.and_then(|transforms| transforms.first()) {
        Some(transform) => {
            let kind = transform.type_.as_deref().unwrap_or_default();
            Err(unsupported(&format!("The transform type '{kind}'")))
        }
        None => Ok(()),
    }
}

/// The protocol of the rule's listener.
pub(crate) fn listener_protocol(snapshot: &Snapshot, row: &ListenerRule) -> String {
    let listener = rows_load_balancing::listener_by_arn(snapshot, row.listener_arn().as_str());
    listener.map(|listener| listener.protocol.clone()).unwrap_or_default()
}

/// The wire form.
pub(crate) fn describe(row: &ListenerRule) -> Rule {
    Rule {
        actions: Some(action::describe(&row.action)),
        conditions: Some(row.conditions.iter().map(condition::describe).collect()),
        is_default: Some(row.priority.is_none()),
        priority: Some(row.priority.map_or_else(|| "default".to_owned(), |priority| priority.to_string())),
        rule_arn: Some(row.arn().to_string()),
        transforms: Some(Vec::new()),
    }
}
