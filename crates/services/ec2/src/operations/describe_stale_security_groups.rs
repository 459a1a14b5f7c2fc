//! DescribeStaleSecurityGroups: tells rules that name groups of a VPC behind a peering connection that is gone: none, for there are no such
//! connections. Source: Amazon EC2 API reference, "DescribeStaleSecurityGroups".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeStaleSecurityGroups;
use api::ec2::{DescribeStaleSecurityGroupsRequest, DescribeStaleSecurityGroupsResult};
use wire::{Call, Fault, Operation, Permission};

use domain::Vpc;

use crate::listing::page_size;
use crate::resources::vpc;
use crate::{Ec2, faults};

impl Operation<DescribeStaleSecurityGroups> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeStaleSecurityGroupsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeStaleSecurityGroups", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeStaleSecurityGroupsRequest,
    ) -> Result<DescribeStaleSecurityGroupsResult, Fault> {
        let id = input.vpc_id.unwrap_or_default();
        vpc::KIND.find::<Vpc>(&self.snapshot(call).await?, &call.scope, &id)?;
        page_size(input.max_results)?;
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }
        Ok(DescribeStaleSecurityGroupsResult { next_token: None, stale_security_group_set: Some(Vec::new()) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn there_are_none() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc.id;
        let query = format!("Action=DescribeStaleSecurityGroups&VpcId={vpc}");
        assert!(server.ask(&query).await.contains("<staleSecurityGroupSet>"));
        let fault = server.fault("Action=DescribeStaleSecurityGroups&VpcId=vpc-0").await;
        assert_eq!(fault, "400 InvalidVpcID.NotFound: The vpc ID 'vpc-0' does not exist");
    }
}
