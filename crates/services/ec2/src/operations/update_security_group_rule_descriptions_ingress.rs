//! UpdateSecurityGroupRuleDescriptionsIngress: changes the descriptions of inbound rules, or takes them away. Source: Amazon EC2 API reference, "UpdateSecurityGroupRuleDescriptionsIngress".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::UpdateSecurityGroupRuleDescriptionsIngress;
use api::ec2::{
    IpPermission, SecurityGroupRuleDescription, UpdateSecurityGroupRuleDescriptionsIngressRequest,
    UpdateSecurityGroupRuleDescriptionsIngressResult,
};
use wire::{Call, Fault, Operation, Permission};

use domain::SecurityGroup;
use store::Transaction;

use crate::resources::{permission, resource_arn, security_group, security_group_rule};
use crate::{Ec2, faults};

impl Operation<UpdateSecurityGroupRuleDescriptionsIngress> for Ec2 {
    fn permissions(
        &self,
        call: &Call,
        input: &UpdateSecurityGroupRuleDescriptionsIngressRequest,
    ) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
            resource_arn(call, "security-group", input.group_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateSecurityGroupRuleDescriptionsIngressRequest,
    ) -> Result<UpdateSecurityGroupRuleDescriptionsIngressResult, Fault> {
        let asked = Described {
            dry_run: input.dry_run,
            group_id: input.group_id,
            group_name: input.group_name,
            is_egress: false,
            permissions: input.ip_permissions,
            descriptions: input.security_group_rule_descriptions,
        };
        update(self, call, asked).await?;
        Ok(UpdateSecurityGroupRuleDescriptionsIngressResult { return_: Some(true) })
    }
}

/// What a call that describes rules asks for.
pub(super) struct Described {
    pub(super) dry_run: Option<bool>,
    pub(super) group_id: Option<String>,
    pub(super) group_name: Option<String>,
    pub(super) is_egress: bool,
    pub(super) permissions: Option<Vec<IpPermission>>,
    pub(super) descriptions: Option<Vec<SecurityGroupRuleDescription>>,
}

/// Changes the descriptions of rules, of all that are named or of none.
pub(super) async fn update(ec2: &Ec2, call: &Call, asked: Described) -> Result<(), Fault> {
    let (id, name) = (asked.group_id.as_deref(), asked.group_name.as_deref());
    let permissions = asked.permissions.unwrap_or_default();
    let descriptions = asked.descriptions.unwrap_or_default();
    if permissions.is_empty() == descriptions.is_empty() {
        let message = "Either 'ipPermissions' or 'securityGroupRuleDescriptions' must be provided";
        return Err(faults::invalid_combination(message));
    }
    ec2.change(call, asked.dry_run, |snapshot| {
        let read = security_group::find(snapshot, &call.scope, id, name)?;
        let mut group = SecurityGroup::clone(&read);
        for rule in permission::rules(snapshot, &group, asked.is_egress, &permissions)? {
            let known = group.rules.iter_mut().find(|known| known.is_same_traffic(&rule));
            known.ok_or_else(permission::not_found)?.description = rule.description;
        }
        for described in &descriptions {
            let id = described.security_group_rule_id.as_deref().unwrap_or_default();
            let is_it =
                |known: &&mut domain::SecurityGroupRule| known.id == id && known.is_egress == asked.is_egress;
            let known = group.rules.iter_mut().find(is_it);
            let known = known.ok_or_else(|| security_group_rule::KIND.not_found(id))?;
            known.description = permission::described(described.description.as_deref())?;
        }
        let mut transaction = Transaction::new();
        transaction.replace(&read, group);
        Ok((transaction, ()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn descriptions_change_and_go() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let http = "IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80\
             &IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0";
        let add = format!("Action=AuthorizeSecurityGroupIngress&GroupId={web}&{http}");
        let id = server.ask_for("securityGroupRuleId", &add).await.concat();
        let update = format!("Action=UpdateSecurityGroupRuleDescriptionsIngress&GroupId={web}");
        let described = format!("Action=DescribeSecurityGroupRules&SecurityGroupRuleId.1={id}");
        server.done(&format!("{update}&{http}&IpPermissions.1.IpRanges.1.Description=all")).await;
        assert_eq!(server.ask_for("description", &described).await, ["all"]);
        let by_id = format!(
            "{update}&SecurityGroupRuleDescription.1.SecurityGroupRuleId={id}\
             &SecurityGroupRuleDescription.1.Description=every"
        );
        assert_eq!(server.ask_for("return", &by_id).await, ["true"]);
        assert_eq!(server.ask_for("description", &described).await, ["every"]);
        server.done(&format!("{update}&{http}")).await;
        assert_eq!(server.ask_for("description", &described).await, [""; 0]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let all = "IpPermissions.1.IpProtocol=-1&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0";
        let unknown = "SecurityGroupRuleDescription.1.SecurityGroupRuleId=sgr-0";
        for (query, fault) in [
            (String::new(), "400 InvalidParameterCombination: "),
            (format!("{all}&{unknown}"), "400 InvalidParameterCombination: "),
            (all.to_owned(), "400 InvalidPermission.NotFound: "),
            (unknown.to_owned(), "400 InvalidSecurityGroupRuleId.NotFound: "),
        ] {
            let query = format!("Action=UpdateSecurityGroupRuleDescriptionsIngress&GroupId={web}&{query}");
            let found = server.fault(&query).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
