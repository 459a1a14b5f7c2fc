//! The shares of traffic that a service's revisions are to have, as weights of the rows of listener rules.
//!
//! A rule's weights change in the transaction that the deployment's step is written in, those of all rules at once: there is
//! no moment at which a part of them is another step's. They hold once whoever runs the load balancer routes by these rows.

use std::collections::BTreeMap;

use domain::{ListenerRule, RevisionInUse, RuleAction, ServiceRevision};
use ecs::launch::traffic;
use scheduler::listener_weights::weights;
use store::rows_load_balancing::forwarding_rule;
use store::{Snapshot, Transaction, Version, Versioned};

/// What the rules are to be, by ARN.
pub struct Wanted(BTreeMap<String, Rule>);

struct Rule {
    row: Option<Versioned<ListenerRule>>,
    weights: Vec<(String, u32)>,
}

impl Wanted {
    /// What `in_use` wishes. Rules that nobody has a share of yet stay as they are.
    pub fn of(snapshot: &Snapshot, rows: &[Versioned<ServiceRevision>], in_use: &[RevisionInUse]) -> Self {
        let mut shares: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
        for revision in in_use {
            let row = rows.iter().find(|row| row.id == revision.id);
            for shifted in row.map(|row| traffic::of_revision(row)).unwrap_or_default() {
                let rules = [
                    (shifted.production_rule, revision.production_weight),
                    (shifted.test_rule, revision.test_weight),
                ];
                for (rule, tenths) in rules {
                    let Some(rule) = rule else { continue };
                    let groups = shares.entry(rule).or_default();
                    for group in &shifted.target_groups {
                        groups.entry(group.clone()).or_default();
                    }
                    *groups.entry(shifted.target_group.clone()).or_default() += u32::from(tenths);
                }
            }
        }
        let rules = shares.into_iter().filter_map(|(arn, groups)| {
            let rule = Rule { row: forwarding_rule(snapshot, &arn), weights: weights(&groups)? };
            Some((arn, rule))
        });
        Self(rules.collect())
    }

    /// Whether the rows are so, and requests are routed by them: by all that was written up to `routed_by`.
    pub fn hold(&self, routed_by: Version) -> bool {
        let in_force = |row: &Versioned<ListenerRule>| row.revision.number() <= routed_by.number();
        self.0.values().all(|rule| rule.row.as_ref().is_some_and(|row| rule.is(row) && in_force(row)))
    }

    /// Rules that are not there (any more).
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, rule)| rule.row.is_none()).map(|(arn, _)| arn.as_str())
    }

    /// Makes the rows so.
    pub fn write(&self, transaction: &mut Transaction) {
        for rule in self.0.values() {
            let Some(row) = rule.row.as_ref().filter(|row| !rule.is(row)) else { continue };
            let stickiness_seconds = match &row.action {
                RuleAction::Forward { stickiness_seconds, .. } => *stickiness_seconds,
                _ => None,
            };
            let action = RuleAction::Forward { target_groups: rule.weights.clone(), stickiness_seconds };
            transaction.replace(row, ListenerRule { action, ..ListenerRule::clone(row) });
        }
    }
}

impl Rule {
    fn is(&self, row: &ListenerRule) -> bool {
        let RuleAction::Forward { target_groups, .. } = &row.action else { return false };
        let mut there = target_groups.clone();
        there.sort();
        there == self.weights
    }
}
