//! DescribeVpcPeeringConnections: tells the VPC peering connections: there are none. Source: Amazon EC2 API reference, "DescribeVpcPeeringConnections".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeVpcPeeringConnections;
use api::ec2::{DescribeVpcPeeringConnectionsRequest, DescribeVpcPeeringConnectionsResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::{Kind, Question};
use crate::resources::nothing::Nothing;

const KIND: Kind = Kind {
    operation: "DescribeVpcPeeringConnections",
    prefix: "pcx-",
    malformed: "InvalidVpcPeeringConnectionId.Malformed",
    not_found: "InvalidVpcPeeringConnectionID.NotFound",
    noun: "vpcPeeringConnection ID",
    filters: &[
        ("accepter-vpc-info.cidr-block", &[]),
        ("accepter-vpc-info.owner-id", &[]),
        ("accepter-vpc-info.vpc-id", &[]),
        ("expiration-time", &[]),
        ("requester-vpc-info.cidr-block", &[]),
        ("requester-vpc-info.owner-id", &[]),
        ("requester-vpc-info.vpc-id", &[]),
        ("status-code", &[]),
        ("status-message", &[]),
        ("vpc-peering-connection-id", &[]),
    ],
    has_tags: true,
};

impl Operation<DescribeVpcPeeringConnections> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeVpcPeeringConnectionsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeVpcPeeringConnections", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: DescribeVpcPeeringConnectionsRequest,
    ) -> Result<DescribeVpcPeeringConnectionsResult, Fault> {
        let question = Question {
            dry_run: input.dry_run,
            ids: input.vpc_peering_connection_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        KIND.answer(question, Vec::<Nothing>::new())?;
        Ok(DescribeVpcPeeringConnectionsResult {
            next_token: None,
            vpc_peering_connections: Some(Vec::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn there_are_none() {
        let server = Server::new();
        let answer = server.ask("Action=DescribeVpcPeeringConnections&Filter.1.Name=accepter-vpc-info.cidr-block&Filter.1.Value.1=x").await;
        assert!(answer.starts_with("200"), "{answer}");
        for (query, fault) in [
            (
                "VpcPeeringConnectionId.1=pcx-0",
                "400 InvalidVpcPeeringConnectionID.NotFound: The vpcPeeringConnection ID 'pcx-0' does not exist",
            ),
            (
                "VpcPeeringConnectionId.1=x",
                "400 InvalidVpcPeeringConnectionId.Malformed: Invalid id: \"x\" (expecting \"pcx-...\")",
            ),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeVpcPeeringConnections&{query}")).await, fault);
        }
    }
}
