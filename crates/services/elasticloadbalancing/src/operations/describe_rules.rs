//! DescribeRules: tells the rules of a listener, or those that are named. Source: Elastic Load Balancing API reference,
//! "DescribeRules".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DescribeRules;
use api::elasticloadbalancing::{DescribeRulesInput, DescribeRulesOutput};
use domain::ListenerRule;
use store::{Versioned, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::validation;
use crate::listing;
use crate::resources::{listener, rule};

impl Operation<DescribeRules> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeRulesInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeRules", "*")]
    }

    async fn handle(&self, call: &Call, input: DescribeRulesInput) -> Result<DescribeRulesOutput, Fault> {
        let snapshot = self.store.snapshot();
        let rows = match (input.listener_arn, input.rule_arns) {
            (Some(arn), None) => {
                let listener = listener::find(&snapshot, &call.scope, &arn)?;
                rows_load_balancing::rules_of(&snapshot, &listener)
            }
            (None, Some(arns)) => {
                listing::check_named(&arns, "rules")?;
                let find = |arn: &String| rule::find(&snapshot, &call.scope, arn);
                arns.iter().map(find).collect::<Result<_, _>>()?
            }
            (Some(_), Some(_)) => {
                return Err(validation("Rule ARNs and a listener ARN cannot be specified at the same time"));
            }
            (None, None) => {
                return Err(validation("You must specify either listener rule ARNs or a listener ARN"));
            }
        };
        // By priority, the default rule last.
        let key =
            |row: &Versioned<ListenerRule>| format!("{:010}/{}", row.priority.unwrap_or(u32::MAX), row.arn());
        let page = listing::page("DescribeRules", rows, key, input.marker.as_deref(), input.page_size)?;
        Ok(DescribeRulesOutput {
            rules: Some(page.rows.iter().map(|row| rule::describe(row)).collect()),
            next_marker: page.next_marker,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn rules_are_told_by_priority_the_default_last() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let listener = server.listener(&front, 80, &group).await;
        let (late, early) =
            (server.rule(&listener, 100, "/b", &group).await, server.rule(&listener, 9, "/a", &group).await);
        let query = format!("Action=DescribeRules&ListenerArn={listener}");
        assert_eq!(server.ask_for("Priority", &query).await, ["9", "100", "default"]);
        assert_eq!(server.ask_for("IsDefault", &query).await, ["false", "false", "true"]);
        let page = format!("{query}&PageSize=2");
        assert_eq!(server.ask_for("RuleArn", &page).await, [early, late.clone()]);
        let marker = server.ask_for("NextMarker", &page).await.concat();
        assert_eq!(server.ask_for("Priority", &format!("{page}&Marker={marker}")).await, ["default"]);
        let named = format!("Action=DescribeRules&RuleArns.member.1={late}");
        assert_eq!(server.ask_for("Priority", &named).await, ["100"]);
        for (query, fault) in [
            (
                String::new(),
                "ValidationError: You must specify either listener rule ARNs or a listener ARN".to_owned(),
            ),
            (
                format!("ListenerArn={listener}&RuleArns.member.1={late}"),
                "ValidationError: Rule ARNs and a listener ARN".to_owned(),
            ),
            (format!("RuleArns.member.1={late}0"), format!("RuleNotFound: Rule '{late}0' not found")),
            (
                format!("ListenerArn={listener}0"),
                format!("ListenerNotFound: Listener '{listener}0' not found"),
            ),
            (
                "RuleArns.member.1=x".to_owned(),
                "ValidationError: 'x' is not a valid listener rule ARN".to_owned(),
            ),
        ] {
            let told = server.fault(&format!("Action=DescribeRules&{query}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}
