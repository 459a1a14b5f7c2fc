//! DescribeEgressOnlyInternetGateways: tells the egress-only internet gateways: there are none. Source: Amazon EC2 API reference, "DescribeEgressOnlyInternetGateways".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeEgressOnlyInternetGateways;
use api::ec2::{DescribeEgressOnlyInternetGatewaysRequest, DescribeEgressOnlyInternetGatewaysResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::{Kind, Question};
use crate::resources::nothing::Nothing;

const KIND: Kind = Kind {
    operation: "DescribeEgressOnlyInternetGateways",
    prefix: "eigw-",
    malformed: "InvalidEgressOnlyInternetGatewayId.Malformed",
    not_found: "InvalidGatewayID.NotFound",
    noun: "gateway ID",
    filters: &[("tag", &[])],
    has_tags: true,
};

impl Operation<DescribeEgressOnlyInternetGateways> for Ec2 {
    fn permissions(
        &self,
        _call: &Call,
        _input: &DescribeEgressOnlyInternetGatewaysRequest,
    ) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeEgressOnlyInternetGateways", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: DescribeEgressOnlyInternetGatewaysRequest,
    ) -> Result<DescribeEgressOnlyInternetGatewaysResult, Fault> {
        let question = Question {
            dry_run: input.dry_run,
            ids: input.egress_only_internet_gateway_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        KIND.answer(question, Vec::<Nothing>::new())?;
        Ok(DescribeEgressOnlyInternetGatewaysResult {
            next_token: None,
            egress_only_internet_gateways: Some(Vec::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn there_are_none() {
        let server = Server::new();
        let answer = server
            .ask("Action=DescribeEgressOnlyInternetGateways&Filter.1.Name=tag&Filter.1.Value.1=x")
            .await;
        assert!(answer.starts_with("200"), "{answer}");
        for (query, fault) in [
            (
                "EgressOnlyInternetGatewayId.1=eigw-0",
                "400 InvalidGatewayID.NotFound: The gateway ID 'eigw-0' does not exist",
            ),
            (
                "EgressOnlyInternetGatewayId.1=x",
                "400 InvalidEgressOnlyInternetGatewayId.Malformed: Invalid id: \"x\" (expecting \"eigw-...\")",
            ),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(
                server.fault(&format!("Action=DescribeEgressOnlyInternetGateways&{query}")).await,
                fault
            );
        }
    }
}
