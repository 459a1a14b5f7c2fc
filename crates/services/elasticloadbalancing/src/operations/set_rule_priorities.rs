//! SetRulePriorities: gives rules other priorities, all at once. Source: Elastic Load Balancing API reference,
//! "SetRulePriorities".
//!
//! Differs from AWS: nothing known.

use std::collections::{BTreeMap, BTreeSet};

use api::elasticloadbalancing::operations::SetRulePriorities;
use api::elasticloadbalancing::{SetRulePrioritiesInput, SetRulePrioritiesOutput, faults};
use domain::{Listener, ListenerRule};
use store::{Snapshot, Transaction, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{of_update, validation};
use crate::resources::rule;

impl Operation<SetRulePriorities> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &SetRulePrioritiesInput) -> Vec<Permission> {
        let arns = input.rule_priorities.iter().flatten().filter_map(|pair| pair.rule_arn.as_deref());
        arns.map(|arn| Permission::new("elasticloadbalancing:SetRulePriorities", arn)).collect()
    }

    async fn handle(
        &self,
        call: &Call,
        input: SetRulePrioritiesInput,
    ) -> Result<SetRulePrioritiesOutput, Fault> {
        let mut wishes: Vec<(String, u32)> = Vec::new();
        for pair in input.rule_priorities.unwrap_or_default() {
            let arn = pair.rule_arn.ok_or_else(|| validation("A rule ARN must be specified"))?;
            let priority = pair.priority.and_then(|priority| u32::try_from(priority).ok());
            let priority = priority.ok_or_else(|| validation("A priority must be specified"))?;
            if wishes.iter().any(|(known, _)| *known == arn) {
                return Err(validation(format!("Rule '{arn}' was provided multiple times")));
            }
            wishes.push((arn, priority));
        }
        if wishes.is_empty() {
            return Err(validation("Rule priorities cannot be empty"));
        }
        let changed = self.store.update(|snapshot| change(snapshot, call, &wishes));
        let rows = changed.await.map_err(of_update)?;
        Ok(SetRulePrioritiesOutput { rules: Some(rows.iter().map(rule::describe).collect()) })
    }
}

fn change(
    snapshot: &Snapshot,
    call: &Call,
    wishes: &[(String, u32)],
) -> Result<(Transaction, Vec<ListenerRule>), Fault> {
    let mut transaction = Transaction::new();
    let mut rows = Vec::new();
    let mut taken: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let moved: BTreeSet<&str> = wishes.iter().map(|(arn, _)| arn.as_str()).collect();
    for (arn, priority) in wishes {
        let found = rule::find(snapshot, &call.scope, arn)?;
        if found.priority.is_none() {
            let message = format!("Default rule '{arn}' cannot have its priority set");
            return Err(faults::operation_not_permitted_exception(message));
        }
        let listener_arn = found.listener_arn().to_string();
        let listener = rows_load_balancing::listener_by_arn(snapshot, &listener_arn);
        let listener = listener.ok_or_else(|| rule::not_found(arn))?;
        let taken = taken.entry(listener_arn).or_insert_with(|| {
            // Its row is written again, so that no two rules take the same priority.
            transaction.replace(&listener, Listener::clone(&listener));
            let rules = rows_load_balancing::rules_of(snapshot, &listener);
            let stay = rules.iter().filter(|rule| !moved.contains(rule.arn().as_str()));
            stay.filter_map(|rule| rule.priority).collect()
        });
        if !taken.insert(*priority) {
            let is_given_twice = rows.iter().any(|row: &ListenerRule| row.priority == Some(*priority));
            return Err(if is_given_twice {
                validation(format!("Priority '{priority}' was provided multiple times"))
            } else {
                faults::priority_in_use_exception(format!("Priority '{priority}' is currently in use"))
            });
        }
        let row = ListenerRule { priority: Some(*priority), ..ListenerRule::clone(&found) };
        transaction.replace(&found, row.clone());
        rows.push(row);
    }
    Ok((transaction, rows))
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn rules_may_change_places() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let listener = server.listener(&front, 80, &group).await;
        let one = server.rule(&listener, 1, "/a", &group).await;
        let two = server.rule(&listener, 2, "/b", &group).await;
        server.rule(&listener, 3, "/c", &group).await;
        let set = |pairs: &[(&str, u32)]| {
            let pairs = (1..).zip(pairs).map(|(n, (arn, priority))| {
                format!(
                    "&RulePriorities.member.{n}.RuleArn={arn}&RulePriorities.member.{n}.Priority={priority}"
                )
            });
            format!("Action=SetRulePriorities{}", pairs.collect::<String>())
        };
        assert_eq!(server.ask_for("Priority", &set(&[(&one, 2), (&two, 1)])).await, ["2", "1"]);
        let rules = server.ask_for("RuleArn", &format!("Action=DescribeRules&ListenerArn={listener}")).await;
        assert_eq!(rules[..2], [two.clone(), one.clone()]);
        for (query, fault) in [
            (set(&[(&one, 3)]), "PriorityInUse: Priority '3' is currently in use"),
            (set(&[(&one, 9), (&two, 9)]), "ValidationError: Priority '9' was provided multiple times"),
            (set(&[(&one, 9), (&one, 10)]), "ValidationError: Rule '"),
            (set(&[(&rules[3], 9)]), "OperationNotPermitted: Default rule '"),
            (set(&[(&format!("{one}0"), 9)]), "RuleNotFound: Rule '"),
            (set(&[(&one, 50001)]), "ValidationError: 1 validation error detected"),
        ] {
            let told = server.fault(&query).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}
