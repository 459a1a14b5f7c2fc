//! ModifyRule: replaces the conditions or the actions of a rule; what the call leaves out stays. Source: Elastic Load
//! Balancing API reference, "ModifyRule".
//!
//! Differs from AWS: not served, and refused by name, is what CreateRule refuses. No rule has transforms, so there is
//! nothing for `ResetTransforms` to remove.

use api::elasticloadbalancing::operations::ModifyRule;
use api::elasticloadbalancing::{ModifyRuleInput, ModifyRuleOutput, faults};
use domain::ListenerRule;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{of_update, validation};
use crate::resources::{action, condition, load_balancer, rule};

impl Operation<ModifyRule> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &ModifyRuleInput) -> Vec<Permission> {
        let arn = input.rule_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:ModifyRule", arn)]
    }

    async fn handle(&self, call: &Call, input: ModifyRuleInput) -> Result<ModifyRuleOutput, Fault> {
        let arn = input.rule_arn.unwrap_or_default();
        rule::check_transforms(input.transforms.as_ref())?;
        if input.conditions.is_none() && input.actions.is_none() && input.reset_transforms.is_none() {
            return Err(validation("Either conditions or actions must be specified"));
        }
        let conditions = input.conditions.map(condition::parse).transpose()?;
        let changed = self.store.update(|snapshot| {
            let found = rule::find(snapshot, &call.scope, &arn)?;
            if found.priority.is_none() {
                let message = format!("Default rule '{arn}' cannot be modified");
                return Err(faults::operation_not_permitted_exception(message));
            }
            let mut row = ListenerRule::clone(&found);
            let mut transaction = Transaction::new();
            if let Some(conditions) = &conditions {
                row.conditions.clone_from(conditions);
            }
            if let Some(actions) = input.actions.clone() {
                row.action = action::parse(actions, row.load_balancer_type)?;
                let of_rule = found.load_balancer_arn();
                let load_balancer = load_balancer::find(snapshot, &call.scope, of_rule.as_str())?;
                let protocol = rule::listener_protocol(snapshot, &row);
                action::join_groups(snapshot, &mut transaction, &load_balancer, &protocol, &row.action)?;
            }
            transaction.replace(&found, row.clone());
            Ok((transaction, row))
        });
        let row = changed.await.map_err(of_update)?;
        Ok(ModifyRuleOutput { rules: Some(vec![rule::describe(&row)]) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn conditions_and_actions_change_by_themselves() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let (a, b) = (server.target_group("a").await, server.target_group("b").await);
        let listener = server.listener(&front, 80, &a).await;
        let rule = server.rule(&listener, 1, "/a", &a).await;
        let set = |arn: &str, rest: &str| format!("Action=ModifyRule&RuleArn={arn}&{rest}");
        let to_b = format!("Actions.member.1.Type=forward&Actions.member.1.TargetGroupArn={b}");
        let answer = server.ok(&set(&rule, &to_b)).await;
        assert!(answer.contains("<member>/a</member>") && answer.contains(&b), "{answer}");
        let path = "Conditions.member.1.Field=path-pattern&Conditions.member.1.Values.member.1=/b";
        let answer = server.ok(&set(&rule, path)).await;
        assert!(answer.contains("<member>/b</member>") && answer.contains(&b), "{answer}");
        assert_eq!(
            server.fault(&format!("Action=DeleteTargetGroup&TargetGroupArn={b}")).await,
            format!("400 ResourceInUse: Target group '{b}' is currently in use by a listener or a rule")
        );
        let rules = server.ask_for("RuleArn", &format!("Action=DescribeRules&ListenerArn={listener}")).await;
        let tcp = server.target_group_with("tcp", "Protocol=TCP&Port=9").await;
        for (arn, rest, fault) in [
            (&rules[1], path, "OperationNotPermitted: Default rule '"),
            (&rule, "", "ValidationError: Either conditions or actions must be specified"),
            (&format!("{rule}0"), path, "RuleNotFound: Rule '"),
            (&rule, &to_b.replace(&b, &tcp), "IncompatibleProtocols: "),
            (&rule, &to_b.replace(&b, &format!("{b}0")), "TargetGroupNotFound: "),
            (
                &rule,
                "Transforms.member.1.Type=url-rewrite",
                "InvalidConfigurationRequest: The transform type 'url-rewrite'",
            ),
            (
                &rule,
                "Actions.member.1.Type=authenticate-cognito",
                "InvalidConfigurationRequest: The action type 'authenticate-cognito'",
            ),
        ] {
            let told = server.fault(&set(arn, rest)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{rest}: {told}");
        }
    }
}
