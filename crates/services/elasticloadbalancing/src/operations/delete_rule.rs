//! DeleteRule: deletes a rule, which is not the default one. Source: Elastic Load Balancing API reference, "DeleteRule".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DeleteRule;
use api::elasticloadbalancing::{DeleteRuleInput, DeleteRuleOutput, faults};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::of_update;
use crate::resources::rule;

impl Operation<DeleteRule> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &DeleteRuleInput) -> Vec<Permission> {
        let arn = input.rule_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:DeleteRule", arn)]
    }

    async fn handle(&self, call: &Call, input: DeleteRuleInput) -> Result<DeleteRuleOutput, Fault> {
        let arn = input.rule_arn.unwrap_or_default();
        let deleted = self.store.update(|snapshot| {
            let found = rule::find(snapshot, &call.scope, &arn)?;
            if found.priority.is_none() {
                let message = format!("Default rule '{arn}' cannot be deleted");
                return Err(faults::operation_not_permitted_exception(message));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&found);
            Ok((transaction, ()))
        });
        deleted.await.map_err(of_update)?;
        Ok(DeleteRuleOutput {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn a_rule_goes_and_the_default_stays() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let listener = server.listener(&front, 80, &group).await;
        let rule = server.rule(&listener, 1, "/a", &group).await;
        let query = format!("Action=DeleteRule&RuleArn={rule}");
        server.ok(&query).await;
        assert_eq!(server.fault(&query).await, format!("400 RuleNotFound: Rule '{rule}' not found"));
        let rules = format!("Action=DescribeRules&ListenerArn={listener}");
        let default = server.ask_for("RuleArn", &rules).await.concat();
        assert_eq!(
            server.fault(&format!("Action=DeleteRule&RuleArn={default}")).await,
            format!("400 OperationNotPermitted: Default rule '{default}' cannot be deleted")
        );
    }
}
