//! DescribeTargetGroups: tells target groups: all, those that are named, or those of a load balancer. Source: Elastic Load
//! Balancing API reference, "DescribeTargetGroups".
//!
//! Differs from AWS: nothing known.

use std::collections::BTreeSet;

use api::elasticloadbalancing::operations::DescribeTargetGroups;
use api::elasticloadbalancing::{DescribeTargetGroupsInput, DescribeTargetGroupsOutput};
use domain::TargetGroup;
use store::{Key, Snapshot, Versioned, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::validation;
use crate::listing;
use crate::resources::{load_balancer, target_group};

impl Operation<DescribeTargetGroups> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeTargetGroupsInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeTargetGroups", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeTargetGroupsInput,
    ) -> Result<DescribeTargetGroupsOutput, Fault> {
        let snapshot = self.store.snapshot();
        let rows = match (input.load_balancer_arn, input.target_group_arns, input.names) {
            (None, None, None) => snapshot.scan::<TargetGroup>(Key::prefix(&call.scope, &[]), None).collect(),
            (Some(arn), None, None) => of_load_balancer(&snapshot, call, &arn)?,
            (None, Some(arns), None) => {
                listing::check_named(&arns, "target groups")?;
                let find = |arn: &String| target_group::find(&snapshot, &call.scope, arn);
                arns.iter().map(find).collect::<Result<Vec<_>, _>>()?
            }
            (None, None, Some(names)) => {
                listing::check_named(&names, "target groups")?;
                let find = |name: &String| {
                    let key = rows_load_balancing::target_group_key(&call.scope, name);
                    let found = snapshot.get::<TargetGroup>(&key);
                    found.ok_or_else(|| target_group::not_found(name))
                };
                names.iter().map(find).collect::<Result<_, _>>()?
            }
            _ => {
                return Err(validation(
                    "Only one of a load balancer ARN, target group ARNs and target group names can be specified",
                ));
            }
        };
        let key = |row: &Versioned<TargetGroup>| row.name.clone();
        let page =
            listing::page("DescribeTargetGroups", rows, key, input.marker.as_deref(), input.page_size)?;
        Ok(DescribeTargetGroupsOutput {
            target_groups: Some(page.rows.iter().map(|row| target_group::describe(&snapshot, row)).collect()),
            next_marker: page.next_marker,
        })
    }
}

fn of_load_balancer(
    snapshot: &Snapshot,
    call: &Call,
    arn: &str,
) -> Result<Vec<Versioned<TargetGroup>>, Fault> {
    let load_balancer = load_balancer::find(snapshot, &call.scope, arn)?;
    let mut arns = BTreeSet::new();
    for listener in rows_load_balancing::listeners_of(snapshot, &load_balancer) {
        for rule in rows_load_balancing::rules_of(snapshot, &listener) {
            arns.extend(rule.action.target_groups().iter().map(|(arn, _)| arn.clone()));
        }
    }
    Ok(arns.iter().filter_map(|arn| rows_load_balancing::target_group_by_arn(snapshot, arn)).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn all_named_or_of_a_load_balancer() {
        let server = Server::new().await;
        let (a, b) = (server.target_group("a").await, server.target_group("b").await);
        let front = server.load_balancer("front").await;
        server.listener(&front, 80, &b).await;
        for (query, arns) in [
            (String::new(), vec![&a, &b]),
            ("Names.member.1=b&Names.member.2=a".to_owned(), vec![&a, &b]),
            (format!("TargetGroupArns.member.1={a}"), vec![&a]),
            (format!("LoadBalancerArn={front}"), vec![&b]),
            ("PageSize=1".to_owned(), vec![&a]),
        ] {
            let query = format!("Action=DescribeTargetGroups&{query}");
            assert_eq!(
                server.ask_for("TargetGroupArn", &query).await.iter().collect::<Vec<_>>(),
                arns,
                "{query}"
            );
        }
        let query = "Action=DescribeTargetGroups&Names.member.1=b";
        assert_eq!(server.ask_for("member", query).await.concat(), front);
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let arn = server.target_group("a").await;
        let gone = arn.replace("/a/", "/b/");
        for (query, fault) in [
            ("Names.member.1=x".to_owned(), "400 TargetGroupNotFound: Target group 'x' not found".to_owned()),
            (format!("TargetGroupArns.member.1={gone}"), format!("400 TargetGroupNotFound: Target group '{gone}' not found")),
            (format!("TargetGroupArns.member.1={arn}&Names.member.1=a"), "400 ValidationError: Only one of a load balancer ARN, target group ARNs and target group names can be specified".to_owned()),
            ("TargetGroupArns.member.1=x".to_owned(), "400 ValidationError: 'x' is not a valid target group ARN".to_owned()),
            ("LoadBalancerArn=arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/x/0".to_owned(), "400 LoadBalancerNotFound: Load balancer 'arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/x/0' not found".to_owned()),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeTargetGroups&{query}")).await, fault);
        }
    }
}
