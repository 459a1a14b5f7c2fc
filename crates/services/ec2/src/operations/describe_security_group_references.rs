//! DescribeSecurityGroupReferences: tells which VPCs on the other side of a peering connection name the groups: none, for there are no such
//! connections. Source: Amazon EC2 API reference, "DescribeSecurityGroupReferences".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeSecurityGroupReferences;
use api::ec2::{DescribeSecurityGroupReferencesRequest, DescribeSecurityGroupReferencesResult};
use wire::{Call, Fault, Operation, Permission};

use domain::SecurityGroup;

use crate::resources::security_group;
use crate::{Ec2, faults};

impl Operation<DescribeSecurityGroupReferences> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeSecurityGroupReferencesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeSecurityGroupReferences", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeSecurityGroupReferencesRequest,
    ) -> Result<DescribeSecurityGroupReferencesResult, Fault> {
        let ids = input.group_id.unwrap_or_default();
        let snapshot = self.snapshot(call).await?;
        for id in &ids {
            security_group::KIND.find::<SecurityGroup>(&snapshot, &call.scope, id)?;
        }
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }
        Ok(DescribeSecurityGroupReferencesResult { security_group_reference_set: Some(Vec::new()) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn there_are_none() {
        let server = Server::new();
        let group = server.default_vpc().await.security_group.id;
        let query = format!("Action=DescribeSecurityGroupReferences&GroupId.1={group}");
        let answer = server.ask(&query).await;
        assert!(answer.starts_with("200") && answer.contains("<securityGroupReferenceSet>"), "{answer}");
        let fault = server.fault("Action=DescribeSecurityGroupReferences&GroupId.1=sg-0").await;
        assert_eq!(fault, "400 InvalidGroup.NotFound: The security group 'sg-0' does not exist");
        assert!(server.fault(&format!("{query}&DryRun=true")).await.starts_with("412 DryRunOperation"));
    }
}
