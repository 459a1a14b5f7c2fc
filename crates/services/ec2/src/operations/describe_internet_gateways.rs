//! DescribeInternetGateways: tells the internet gateways of the account and region. Source: Amazon EC2 API reference, "DescribeInternetGateways".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeInternetGateways;
use api::ec2::{DescribeInternetGatewaysRequest, DescribeInternetGatewaysResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::internet_gateway::{self, KIND};

impl Operation<DescribeInternetGateways> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeInternetGatewaysRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeInternetGateways", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeInternetGatewaysRequest,
    ) -> Result<DescribeInternetGatewaysResult, Fault> {
        let rows = internet_gateway::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.internet_gateway_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeInternetGatewaysResult {
            next_token: page.next_token,
            internet_gateways: Some(
                page.rows.iter().map(|gateway| internet_gateway::describe(gateway)).collect(),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn the_default_vpcs_is_there() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc.id;
        server.create_gateway(None).await;
        let describe = "Action=DescribeInternetGateways";
        assert_eq!(server.ask_for("internetGatewayId", describe).await.len(), 2);
        for (name, value, count) in [
            ("attachment.vpc-id", vpc.as_str(), 1),
            ("attachment.state", "available", 1),
            ("internet-gateway-id", "igw-*", 2),
            ("owner-id", "0", 0),
        ] {
            let query = format!("{describe}&Filter.1.Name={name}&Filter.1.Value.1={value}");
            assert_eq!(server.ask_for("internetGatewayId", &query).await.len(), count, "{name}");
        }
        let fault = server.fault(&format!("{describe}&InternetGatewayId.1=igw-0")).await;
        assert_eq!(
            fault,
            "400 InvalidInternetGatewayID.NotFound: The internetGateway ID 'igw-0' does not exist"
        );
    }
}
