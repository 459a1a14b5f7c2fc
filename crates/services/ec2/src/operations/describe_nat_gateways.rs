//! DescribeNatGateways: tells the NAT gateways of the account and region. Source: Amazon EC2 API reference, "DescribeNatGateways".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeNatGateways;
use api::ec2::{DescribeNatGatewaysRequest, DescribeNatGatewaysResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::nat_gateway::{self, KIND};

impl Operation<DescribeNatGateways> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeNatGatewaysRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeNatGateways", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeNatGatewaysRequest,
    ) -> Result<DescribeNatGatewaysResult, Fault> {
        let rows = nat_gateway::all(&self.snapshot(call).await?, &call.scope, call.now);
        let ids = input.nat_gateway_ids.unwrap_or_default();
        if let Some(unknown) = ids.iter().find(|id| !rows.iter().any(|known| known.id == **id)) {
            KIND.check_id(unknown)?;
            return Err(nat_gateway::not_found(unknown));
        }
        let question = Question {
            dry_run: input.dry_run,
            ids: Some(ids),
            filters: input.filter,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeNatGatewaysResult {
            nat_gateways: Some(page.rows.iter().map(|gateway| nat_gateway::describe(gateway)).collect()),
            next_token: page.next_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn gateways_are_told_and_picked() {
        let server = Server::new();
        let made = server.default_vpc().await;
        let create =
            format!("Action=CreateNatGateway&ConnectivityType=private&SubnetId={}", made.subnets[0].id);
        let id = server.ask_for("natGatewayId", &create).await.concat();
        let describe = "Action=DescribeNatGateways";
        for (query, count) in [
            (format!("&NatGatewayId.1={id}"), 1),
            (format!("&Filter.1.Name=vpc-id&Filter.1.Value.1={}", made.vpc.id), 1),
            (format!("&Filter.1.Name=subnet-id&Filter.1.Value.1={}", made.subnets[1].id), 0),
            ("&Filter.1.Name=state&Filter.1.Value.1=available".to_owned(), 1),
        ] {
            assert_eq!(
                server.ask_for("natGatewayId", &format!("{describe}{query}")).await.len(),
                count,
                "{query}"
            );
        }
        let fault = server.fault(&format!("{describe}&NatGatewayId.1=nat-0")).await;
        assert_eq!(fault, "400 NatGatewayNotFound: The Nat Gateway nat-0 was not found");
    }
}
