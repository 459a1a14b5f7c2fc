//! DescribeLoadBalancers: tells load balancers, all of them or those that are named. Source: Elastic Load Balancing API
//! reference, "DescribeLoadBalancers".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DescribeLoadBalancers;
use api::elasticloadbalancing::{DescribeLoadBalancersInput, DescribeLoadBalancersOutput};
use domain::LoadBalancer;
use store::{Key, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::validation;
use crate::listing;
use crate::resources::load_balancer;

impl Operation<DescribeLoadBalancers> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeLoadBalancersInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeLoadBalancers", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeLoadBalancersInput,
    ) -> Result<DescribeLoadBalancersOutput, Fault> {
        let snapshot = self.store.snapshot();
        let rows = match (input.load_balancer_arns, input.names) {
            (Some(_), Some(_)) => {
                return Err(validation("Load balancer names and ARNs cannot be specified at the same time"));
            }
            (Some(arns), None) => {
                listing::check_named(&arns, "load balancers")?;
                let find = |arn: &String| load_balancer::find(&snapshot, &call.scope, arn);
                arns.iter().map(find).collect::<Result<Vec<_>, _>>()?
            }
            (None, Some(names)) => {
                listing::check_named(&names, "load balancers")?;
                let find = |name: &String| {
                    let key = rows_load_balancing::load_balancer_key(&call.scope, name);
                    let found = snapshot.get::<LoadBalancer>(&key);
                    found.ok_or_else(|| load_balancer::not_found(name))
                };
                names.iter().map(find).collect::<Result<_, _>>()?
            }
            (None, None) => snapshot.scan::<LoadBalancer>(Key::prefix(&call.scope, &[]), None).collect(),
        };
        let key = |row: &store::Versioned<LoadBalancer>| row.name.clone();
        let page =
            listing::page("DescribeLoadBalancers", rows, key, input.marker.as_deref(), input.page_size)?;
        Ok(DescribeLoadBalancersOutput {
            load_balancers: Some(
                page.rows.iter().map(|row| load_balancer::describe(&snapshot, row)).collect(),
            ),
            next_marker: page.next_marker,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn all_or_those_that_are_named() {
        let server = Server::new().await;
        let (a, b) = (server.load_balancer("a").await, server.load_balancer("b").await);
        let asked = |query: &str| format!("Action=DescribeLoadBalancers&{query}");
        let arns = |query: String| {
            let server = &server;
            async move { server.ask_for("LoadBalancerArn", &query).await.join(" ") }
        };
        assert_eq!(arns(asked("")).await, format!("{a} {b}"));
        assert_eq!(arns(asked("Names.member.1=b")).await, b);
        assert_eq!(arns(asked(&format!("LoadBalancerArns.member.1={a}"))).await, a);
        assert_eq!(arns(asked("PageSize=1")).await, a);
        let marker = server.ask_for("NextMarker", &asked("PageSize=1")).await.concat();
        assert_eq!(arns(asked(&format!("PageSize=1&Marker={marker}"))).await, b);
        let elsewhere = server.ask_in("eu-west-1", "LoadBalancerArn", &asked("")).await;
        assert!(elsewhere.is_empty());
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let arn = server.load_balancer("a").await;
        let gone = arn.replace("/a/", "/b/");
        let many: Vec<_> = (1..22).map(|n| format!("Names.member.{n}=x{n}")).collect();
        for (query, fault) in [
            (
                "Names.member.1=x".to_owned(),
                "400 LoadBalancerNotFound: Load balancer 'x' not found".to_owned(),
            ),
            (
                format!("LoadBalancerArns.member.1={gone}"),
                format!("400 LoadBalancerNotFound: Load balancer '{gone}' not found"),
            ),
            (
                "LoadBalancerArns.member.1=x".to_owned(),
                "400 ValidationError: 'x' is not a valid load balancer ARN".to_owned(),
            ),
            (
                format!("LoadBalancerArns.member.1={arn}&Names.member.1=a"),
                "400 ValidationError: Load balancer names and ARNs cannot be specified at the same time"
                    .to_owned(),
            ),
            ("Marker=x".to_owned(), "400 ValidationError: Marker 'x' is invalid".to_owned()),
            (
                many.join("&"),
                "400 ValidationError: No more than '20' load balancers can be specified in a call".to_owned(),
            ),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeLoadBalancers&{query}")).await, fault);
        }
    }
}
