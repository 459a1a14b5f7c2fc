//! DescribeVpnGateways: tells the virtual private gateways: there are none. Source: Amazon EC2 API reference, "DescribeVpnGateways".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeVpnGateways;
use api::ec2::{DescribeVpnGatewaysRequest, DescribeVpnGatewaysResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::{Kind, Question};
use crate::resources::nothing::Nothing;

const KIND: Kind = Kind {
    operation: "DescribeVpnGateways",
    prefix: "vgw-",
    malformed: "InvalidVpnGatewayId.Malformed",
    not_found: "InvalidVpnGatewayID.NotFound",
    noun: "vpnGateway ID",
    filters: &[
        ("amazon-side-asn", &[]),
        ("attachment.state", &[]),
        ("attachment.vpc-id", &[]),
        ("availability-zone", &[]),
        ("state", &[]),
        ("type", &[]),
        ("vpn-gateway-id", &[]),
    ],
    has_tags: true,
};

impl Operation<DescribeVpnGateways> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeVpnGatewaysRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeVpnGateways", "*")]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: DescribeVpnGatewaysRequest,
    ) -> Result<DescribeVpnGatewaysResult, Fault> {
        let question = Question {
            dry_run: input.dry_run,
            ids: input.vpn_gateway_ids,
            filters: input.filters,
            max_results: None,
            next_token: None,
        };
        KIND.answer(question, Vec::<Nothing>::new())?;
        Ok(DescribeVpnGatewaysResult { vpn_gateways: Some(Vec::new()) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn there_are_none() {
        let server = Server::new();
        let answer =
            server.ask("Action=DescribeVpnGateways&Filter.1.Name=amazon-side-asn&Filter.1.Value.1=x").await;
        assert!(answer.starts_with("200"), "{answer}");
        for (query, fault) in [
            (
                "VpnGatewayId.1=vgw-0",
                "400 InvalidVpnGatewayID.NotFound: The vpnGateway ID 'vgw-0' does not exist",
            ),
            (
                "VpnGatewayId.1=x",
                "400 InvalidVpnGatewayId.Malformed: Invalid id: \"x\" (expecting \"vgw-...\")",
            ),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeVpnGateways&{query}")).await, fault);
        }
    }
}
