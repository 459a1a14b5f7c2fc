//! RevokeSecurityGroupEgress: takes outbound rules from a security group. Source: Amazon EC2 API reference, "RevokeSecurityGroupEgress".
//!
//! Differs from AWS: as for RevokeSecurityGroupIngress.

use api::ec2::operations::RevokeSecurityGroupEgress;
use api::ec2::{RevokeSecurityGroupEgressRequest, RevokeSecurityGroupEgressResult};
use wire::{Call, Fault, Operation, Permission};

use super::revoke_security_group_ingress::{Revoked, revoke};
use crate::Ec2;
use crate::resources::permission::Flat;
use crate::resources::resource_arn;

impl Operation<RevokeSecurityGroupEgress> for Ec2 {
    fn permissions(&self, call: &Call, input: &RevokeSecurityGroupEgressRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:RevokeSecurityGroupEgress",
            resource_arn(call, "security-group", input.group_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: RevokeSecurityGroupEgressRequest,
    ) -> Result<RevokeSecurityGroupEgressResult, Fault> {
        let flat = Flat {
            cidr_ip: input.cidr_ip,
            ip_protocol: input.ip_protocol,
            from_port: input.from_port,
            to_port: input.to_port,
            source_group: input.source_security_group_name,
            source_owner: input.source_security_group_owner_id,
        };
        let asked = Revoked {
            dry_run: input.dry_run,
            group_id: input.group_id,
            group_name: None,
            is_egress: true,
            permissions: input.ip_permissions,
            flat,
            rule_ids: input.security_group_rule_ids,
        };
        let (revoked, unknown) = revoke(self, call, asked).await?;
        Ok(RevokeSecurityGroupEgressResult {
            return_: Some(true),
            revoked_security_group_rules: Some(revoked),
            unknown_ip_permissions: Some(unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn the_rule_of_a_new_group_goes() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let web = server.create_group("web", Some(&vpc)).await;
        let query = format!(
            "Action=RevokeSecurityGroupEgress&GroupId={web}&IpPermissions.1.IpProtocol=-1\
             &IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0"
        );
        assert_eq!(server.ask_for("isEgress", &query).await, ["true"]);
        assert!(server.fault(&query).await.starts_with("400 InvalidPermission.NotFound: "));
        let query =
            format!("Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={web}");
        assert_eq!(server.ask_for("isEgress", &query).await, [""; 0]);
    }
}
