//! AuthorizeSecurityGroupEgress: adds outbound rules to a security group. Source: Amazon EC2 API reference, "AuthorizeSecurityGroupEgress".
//!
//! Differs from AWS: as for AuthorizeSecurityGroupIngress. The parameters of a single permission, which AWS says not to use here,
//! are understood.

use api::ec2::operations::AuthorizeSecurityGroupEgress;
use api::ec2::{AuthorizeSecurityGroupEgressRequest, AuthorizeSecurityGroupEgressResult};
use wire::{Call, Fault, Operation, Permission};

use super::authorize_security_group_ingress::{Authorized, authorize};
use crate::Ec2;
use crate::resources::permission::{self, Flat};
use crate::resources::resource_arn;

impl Operation<AuthorizeSecurityGroupEgress> for Ec2 {
    fn permissions(&self, call: &Call, input: &AuthorizeSecurityGroupEgressRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:AuthorizeSecurityGroupEgress",
            resource_arn(call, "security-group", input.group_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AuthorizeSecurityGroupEgressRequest,
    ) -> Result<AuthorizeSecurityGroupEgressResult, Fault> {
        let flat = Flat {
            cidr_ip: input.cidr_ip,
            ip_protocol: input.ip_protocol,
            from_port: input.from_port,
            to_port: input.to_port,
            source_group: input.source_security_group_name,
            source_owner: input.source_security_group_owner_id,
        };
        let asked = Authorized {
            dry_run: input.dry_run,
            group_id: input.group_id,
            group_name: None,
            is_egress: true,
            permissions: permission::of_call(input.ip_permissions, flat)?,
            tag_specifications: input.tag_specifications,
        };
        let rules = authorize(self, call, asked).await?;
        Ok(AuthorizeSecurityGroupEgressResult { return_: Some(true), security_group_rules: Some(rules) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn an_outbound_rule_is_added() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let query = format!(
            "Action=AuthorizeSecurityGroupEgress&GroupId={web}&IpPermissions.1.IpProtocol=udp&IpPermissions.1.FromPort=53\
             &IpPermissions.1.ToPort=53&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8"
        );
        assert_eq!(server.ask_for("isEgress", &query).await, ["true"]);
        assert!(server.fault(&query).await.starts_with("400 InvalidPermission.Duplicate: "));
        let query =
            format!("Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={web}");
        assert_eq!(server.ask_for("isEgress", &query).await, ["true", "true"]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let fault = server
            .fault("Action=AuthorizeSecurityGroupEgress&GroupId=sg-0&IpPermissions.1.IpProtocol=-1")
            .await;
        assert_eq!(fault, "400 InvalidGroup.NotFound: The security group 'sg-0' does not exist");
        let fault = server.fault("Action=AuthorizeSecurityGroupEgress&IpPermissions.1.IpProtocol=-1").await;
        assert_eq!(fault, "400 MissingParameter: The request must contain the parameter GroupId");
    }
}
