//! DescribeVpcEndpoints: tells the VPC endpoints: there are none. Source: Amazon EC2 API reference, "DescribeVpcEndpoints".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeVpcEndpoints;
use api::ec2::{DescribeVpcEndpointsRequest, DescribeVpcEndpointsResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::{Kind, Question};
use crate::resources::nothing::Nothing;

const KIND: Kind = Kind {
    operation: "DescribeVpcEndpoints",
    prefix: "vpce-",
    malformed: "InvalidVpcEndpointId.Malformed",
    not_found: "InvalidVpcEndpointId.NotFound",
    noun: "Vpc Endpoint Id",
    filters: &[
        ("ip-address-type", &[]),
        ("service-name", &[]),
        ("service-region", &[]),
        ("vpc-endpoint-id", &[]),
        ("vpc-endpoint-state", &[]),
        ("vpc-endpoint-type", &[]),
        ("vpc-id", &[]),
    ],
    has_tags: true,
};

impl Operation<DescribeVpcEndpoints> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeVpcEndpointsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeVpcEndpoints", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: DescribeVpcEndpointsRequest,
    ) -> Result<DescribeVpcEndpointsResult, Fault> {
        let question = Question {
            dry_run: input.dry_run,
            ids: input.vpc_endpoint_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        KIND.answer(question, Vec::<Nothing>::new())?;
        Ok(DescribeVpcEndpointsResult { next_token: None, vpc_endpoints: Some(Vec::new()) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn there_are_none() {
        let server = Server::new();
        let answer =
            server.ask("Action=DescribeVpcEndpoints&Filter.1.Name=ip-address-type&Filter.1.Value.1=x").await;
        assert!(answer.starts_with("200"), "{answer}");
        for (query, fault) in [
            (
                "VpcEndpointId.1=vpce-0",
                "400 InvalidVpcEndpointId.NotFound: The Vpc Endpoint Id 'vpce-0' does not exist",
            ),
            (
                "VpcEndpointId.1=x",
                "400 InvalidVpcEndpointId.Malformed: Invalid id: \"x\" (expecting \"vpce-...\")",
            ),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeVpcEndpoints&{query}")).await, fault);
        }
    }
}
