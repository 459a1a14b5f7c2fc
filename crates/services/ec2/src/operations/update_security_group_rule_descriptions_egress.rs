//! UpdateSecurityGroupRuleDescriptionsEgress: changes the descriptions of outbound rules, or takes them away. Source: Amazon EC2 API reference, "UpdateSecurityGroupRuleDescriptionsEgress".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::UpdateSecurityGroupRuleDescriptionsEgress;
use api::ec2::{
    UpdateSecurityGroupRuleDescriptionsEgressRequest, UpdateSecurityGroupRuleDescriptionsEgressResult,
};
use wire::{Call, Fault, Operation, Permission};

use super::update_security_group_rule_descriptions_ingress::{Described, update};
use crate::Ec2;
use crate::resources::resource_arn;

impl Operation<UpdateSecurityGroupRuleDescriptionsEgress> for Ec2 {
    fn permissions(
        &self,
        call: &Call,
        input: &UpdateSecurityGroupRuleDescriptionsEgressRequest,
    ) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
            resource_arn(call, "security-group", input.group_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateSecurityGroupRuleDescriptionsEgressRequest,
    ) -> Result<UpdateSecurityGroupRuleDescriptionsEgressResult, Fault> {
        let asked = Described {
            dry_run: input.dry_run,
            group_id: input.group_id,
            group_name: input.group_name,
            is_egress: true,
            permissions: input.ip_permissions,
            descriptions: input.security_group_rule_descriptions,
        };
        update(self, call, asked).await?;
        Ok(UpdateSecurityGroupRuleDescriptionsEgressResult { return_: Some(true) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn the_rule_of_a_new_group_is_described() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let query = format!(
            "Action=UpdateSecurityGroupRuleDescriptionsEgress&GroupId={web}&IpPermissions.1.IpProtocol=-1\
             &IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0&IpPermissions.1.IpRanges.1.Description=out"
        );
        assert_eq!(server.ask_for("return", &query).await, ["true"]);
        let query =
            format!("Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={web}");
        assert_eq!(server.ask_for("description", &query).await, ["out"]);
    }
}
