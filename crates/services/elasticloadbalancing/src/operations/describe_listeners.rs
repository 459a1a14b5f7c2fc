//! DescribeListeners: tells the listeners of a load balancer, or those that are named. Source: Elastic Load Balancing API
//! reference, "DescribeListeners".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DescribeListeners;
use api::elasticloadbalancing::{DescribeListenersInput, DescribeListenersOutput};
use domain::Listener;
use store::{Versioned, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::validation;
use crate::listing;
use crate::resources::{listener, load_balancer};

impl Operation<DescribeListeners> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeListenersInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeListeners", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeListenersInput,
    ) -> Result<DescribeListenersOutput, Fault> {
        let snapshot = self.store.snapshot();
        let rows = match (input.load_balancer_arn, input.listener_arns) {
            (Some(arn), None) => {
                let load_balancer = load_balancer::find(&snapshot, &call.scope, &arn)?;
                rows_load_balancing::listeners_of(&snapshot, &load_balancer)
            }
            (None, Some(arns)) => {
                listing::check_named(&arns, "listeners")?;
                let find = |arn: &String| listener::find(&snapshot, &call.scope, arn);
                arns.iter().map(find).collect::<Result<_, _>>()?
            }
            (Some(_), Some(_)) => {
                return Err(validation(
                    "Listener ARNs and a load balancer ARN cannot be specified at the same time",
                ));
            }
            (None, None) => {
                return Err(validation("You must specify either listener ARNs or a load balancer ARN"));
            }
        };
        let key = |row: &Versioned<Listener>| row.arn().to_string();
        let page = listing::page("DescribeListeners", rows, key, input.marker.as_deref(), input.page_size)?;
        let describe = |row: &Versioned<Listener>| {
            listener::describe(row, listener::default_rule(&snapshot, row).as_deref())
        };
        Ok(DescribeListenersOutput {
            listeners: Some(page.rows.iter().map(describe).collect()),
            next_marker: page.next_marker,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn those_of_a_load_balancer_or_those_that_are_named() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let mut listeners =
            [server.listener(&front, 80, &group).await, server.listener(&front, 81, &group).await];
        listeners.sort();
        let asked = |query: &str| format!("Action=DescribeListeners&{query}");
        let of_front = asked(&format!("LoadBalancerArn={front}"));
        assert_eq!(server.ask_for("ListenerArn", &of_front).await, listeners);
        assert_eq!(server.ask_for("ListenerArn", &format!("{of_front}&PageSize=1")).await, listeners[..1]);
        let named = asked(&format!("ListenerArns.member.1={}", listeners[1]));
        assert_eq!(server.ask_for("ListenerArn", &named).await, listeners[1..]);
        let answer = server.ok(&named).await;
        assert!(answer.contains(&format!("<TargetGroupArn>{group}<")), "{answer}");
        for (query, fault) in [
            (
                String::new(),
                "ValidationError: You must specify either listener ARNs or a load balancer ARN".to_owned(),
            ),
            (
                "ListenerArns.member.1=x".to_owned(),
                "ValidationError: 'x' is not a valid listener ARN".to_owned(),
            ),
            (
                format!("LoadBalancerArn={front}&ListenerArns.member.1=x"),
                "ValidationError: Listener ARNs and a load".to_owned(),
            ),
            (
                format!("ListenerArns.member.1={front}"),
                format!("ValidationError: '{front}' is not a valid listener ARN"),
            ),
            (
                format!("ListenerArns.member.1={}0", listeners[0]),
                format!("ListenerNotFound: Listener '{}0' not found", listeners[0]),
            ),
            (
                format!("LoadBalancerArn={front}0"),
                format!("LoadBalancerNotFound: Load balancer '{front}0' not found"),
            ),
        ] {
            let told = server.fault(&asked(&query)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}
