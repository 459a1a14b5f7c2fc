//! DescribeVpcAttribute: tells one attribute of a VPC. Source: Amazon EC2 API reference, "DescribeVpcAttribute".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeVpcAttribute;
use api::ec2::{AttributeBooleanValue, DescribeVpcAttributeRequest, DescribeVpcAttributeResult};
use wire::{Call, Fault, Operation, Permission};

use domain::Vpc;

use crate::resources::{resource_arn, vpc};
use crate::{Ec2, faults};

impl Operation<DescribeVpcAttribute> for Ec2 {
    fn permissions(&self, call: &Call, input: &DescribeVpcAttributeRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeVpcAttribute", resource_arn(call, "vpc", input.vpc_id.as_deref()))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeVpcAttributeRequest,
    ) -> Result<DescribeVpcAttributeResult, Fault> {
        let id = input.vpc_id.unwrap_or_default();
        let vpc = vpc::KIND.find::<Vpc>(&self.snapshot(call).await?, &call.scope, &id)?;
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }
        let value = |value| Some(AttributeBooleanValue { value: Some(value) });
        let mut told = DescribeVpcAttributeResult { vpc_id: Some(id), ..Default::default() };
        match input.attribute.unwrap_or_default().as_str() {
            "enableDnsSupport" => told.enable_dns_support = value(vpc.enable_dns_support),
            "enableDnsHostnames" => told.enable_dns_hostnames = value(vpc.enable_dns_hostnames),
            "enableNetworkAddressUsageMetrics" => {
                told.enable_network_address_usage_metrics = value(vpc.enable_network_address_usage_metrics);
            }
            other => {
                let message =
                    format!("Value ({other}) for parameter attribute is invalid. Unknown attribute.");
                return Err(faults::invalid_value(message));
            }
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn attributes_are_told_one_by_one() {
        let server = Server::new();
        let (default, vpc) = (server.default_vpc().await.vpc.id, server.create_vpc("10.0.0.0/16").await);
        for (vpc, attribute, value) in [
            (&default, "enableDnsSupport", "true"),
            (&default, "enableDnsHostnames", "true"),
            (&vpc, "enableDnsHostnames", "false"),
            (&vpc, "enableNetworkAddressUsageMetrics", "false"),
        ] {
            let query = format!("Action=DescribeVpcAttribute&VpcId={vpc}&Attribute={attribute}");
            assert_eq!(server.ask_for("value", &query).await, [value], "{attribute}");
        }
        for (query, fault) in [
            ("VpcId=vpc-0&Attribute=enableDnsSupport".to_owned(), "400 InvalidVpcID.NotFound: "),
            (format!("VpcId={vpc}&Attribute=x"), "400 InvalidParameterValue: "),
            (format!("VpcId={vpc}"), "400 MissingParameter: "),
        ] {
            let found = server.fault(&format!("Action=DescribeVpcAttribute&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
