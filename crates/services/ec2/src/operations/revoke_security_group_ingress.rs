//! RevokeSecurityGroupIngress: takes inbound rules from a security group. Source: Amazon EC2 API reference, "RevokeSecurityGroupIngress".
//!
//! Differs from AWS: a permission whose peer is not there (a group, a prefix list) is a fault in the default VPC too.

use api::ec2::operations::RevokeSecurityGroupIngress;
use api::ec2::{
    IpPermission, RevokeSecurityGroupIngressRequest, RevokeSecurityGroupIngressResult,
    RevokedSecurityGroupRule,
};
use wire::{Call, Fault, Operation, Permission};

use domain::SecurityGroup;
use store::Transaction;

use crate::resources::permission::{self, Flat};
use crate::resources::{resource_arn, security_group, security_group_rule, vpc};
use crate::{Ec2, faults};

impl Operation<RevokeSecurityGroupIngress> for Ec2 {
    fn permissions(&self, call: &Call, input: &RevokeSecurityGroupIngressRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:RevokeSecurityGroupIngress",
            resource_arn(call, "security-group", input.group_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: RevokeSecurityGroupIngressRequest,
    ) -> Result<RevokeSecurityGroupIngressResult, Fault> {
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
            group_name: input.group_name,
            is_egress: false,
            permissions: input.ip_permissions,
            flat,
            rule_ids: input.security_group_rule_ids,
        };
        let (revoked, unknown) = revoke(self, call, asked).await?;
        Ok(RevokeSecurityGroupIngressResult {
            return_: Some(true),
            revoked_security_group_rules: Some(revoked),
            unknown_ip_permissions: Some(unknown),
        })
    }
}

/// What a call that takes rules away asks for.
pub(super) struct Revoked {
    pub(super) dry_run: Option<bool>,
    pub(super) group_id: Option<String>,
    pub(super) group_name: Option<String>,
    pub(super) is_egress: bool,
    pub(super) permissions: Option<Vec<IpPermission>>,
    pub(super) flat: Flat,
    pub(super) rule_ids: Option<Vec<String>>,
}

/// The rules that were there, and the permissions that were not.
pub(super) type Outcome = (Vec<RevokedSecurityGroupRule>, Vec<IpPermission>);

/// Takes rules from a group. In a group of the default VPC, what is not there is told; elsewhere it is a fault, and all
/// rules stay.
pub(super) async fn revoke(ec2: &Ec2, call: &Call, asked: Revoked) -> Result<Outcome, Fault> {
    let (id, name) = (asked.group_id.as_deref(), asked.group_name.as_deref());
    let rule_ids = asked.rule_ids.unwrap_or_default();
    let by_id = !rule_ids.is_empty();
    if by_id && (asked.permissions.is_some() || asked.flat.ip_protocol.is_some()) {
        return Err(faults::invalid_combination(
            "The parameter 'securityGroupRuleIds' may not be used in combination with 'ipPermissions'",
        ));
    }
    let permissions = if by_id { Vec::new() } else { permission::of_call(asked.permissions, asked.flat)? };
    ec2.change(call, asked.dry_run, |snapshot| {
        let read = security_group::find(snapshot, &call.scope, id, name)?;
        let mut group = SecurityGroup::clone(&read);
        let (mut revoked, mut unknown) = (Vec::new(), Vec::new());
        for id in &rule_ids {
            let is_it =
                |rule: &domain::SecurityGroupRule| rule.id == *id && rule.is_egress == asked.is_egress;
            let at = group.rules.iter().position(is_it);
            let at = at.ok_or_else(|| security_group_rule::KIND.not_found(id))?;
            revoked.push(group.rules.remove(at));
        }
        for permission in &permissions {
            let rules =
                permission::rules(snapshot, &group, asked.is_egress, std::slice::from_ref(permission))?;
            let before = revoked.len();
            let wanted = rules.len();
            for rule in rules {
                let at = group.rules.iter().position(|known| known.is_same_traffic(&rule));
                revoked.extend(at.map(|at| group.rules.remove(at)));
            }
            if revoked.len() - before < wanted {
                unknown.push(permission.clone());
            }
        }
        if !unknown.is_empty() && !vpc::is_default(snapshot, &call.scope, &group.vpc) {
            return Err(permission::not_found());
        }
        let told = revoked.iter().map(|rule| security_group_rule::describe_revoked(&group, rule)).collect();
        let mut transaction = Transaction::new();
        transaction.replace(&read, group);
        Ok((transaction, (told, unknown)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    const HTTP: &str = "IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80\
         &IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0";

    #[tokio::test]
    async fn rules_go_by_what_they_say_and_by_id() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let add = format!("Action=AuthorizeSecurityGroupIngress&GroupId={web}&{HTTP}");
        server.done(&add).await;
        let revoke = format!("Action=RevokeSecurityGroupIngress&GroupId={web}");
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <RevokeSecurityGroupIngressResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <return>true</return>
              <revokedSecurityGroupRuleSet>
                <item>
                  <cidrIpv4>0.0.0.0/0</cidrIpv4>
                  <fromPort>80</fromPort>
                  <groupId>sg-8e1cc1a423dd9e1f6</groupId>
                  <ipProtocol>tcp</ipProtocol>
                  <isEgress>false</isEgress>
                  <securityGroupRuleId>sgr-2eb7c239c856da603</securityGroupRuleId>
                  <toPort>80</toPort>
                </item>
              </revokedSecurityGroupRuleSet>
              <unknownIpPermissionSet></unknownIpPermissionSet>
            </RevokeSecurityGroupIngressResponse>"#]]
        .assert_eq(&server.ask(&format!("{revoke}&{HTTP}")).await);
        let id = server.ask_for("securityGroupRuleId", &add).await.concat();
        let by_id = format!("{revoke}&SecurityGroupRuleId.1={id}");
        assert_eq!(server.ask_for("securityGroupRuleId", &by_id).await, [id.as_str()]);
        let gone = format!(
            "400 InvalidSecurityGroupRuleId.NotFound: The security group rule ID '{id}' does not exist"
        );
        assert_eq!(server.fault(&by_id).await, gone);
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_in_the_default_vpc_and_refused_elsewhere() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let (web, far) =
            (server.create_group("web", None).await, server.create_group("far", Some(&vpc)).await);
        for group in [&web, &far] {
            server.done(&format!("Action=AuthorizeSecurityGroupIngress&GroupId={group}&{HTTP}")).await;
        }
        let other = "&IpPermissions.2.IpProtocol=udp&IpPermissions.2.FromPort=1&IpPermissions.2.ToPort=1\
             &IpPermissions.2.IpRanges.1.CidrIp=0.0.0.0/0";
        let revoke = |group: &str| format!("Action=RevokeSecurityGroupIngress&GroupId={group}&{HTTP}{other}");
        assert_eq!(server.ask_for("ipProtocol", &revoke(&web)).await, ["tcp", "udp"], "revoked, unknown");
        assert_eq!(
            server.fault(&revoke(&far)).await,
            "400 InvalidPermission.NotFound: The specified rule does not exist in this security group."
        );
        let rules = |group: &str| {
            format!("Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={group}")
        };
        assert_eq!(server.ask_for("isEgress", &rules(&web)).await, ["true"]);
        assert_eq!(server.ask_for("isEgress", &rules(&far)).await.len(), 2, "nothing was revoked");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let outbound =
            server.ask_for("securityGroupRuleId", "Action=DescribeSecurityGroupRules").await.pop().unwrap();
        for (query, fault) in [
            (String::new(), "400 MissingParameter: "),
            (format!("{HTTP}&SecurityGroupRuleId.1=sgr-0"), "400 InvalidParameterCombination: "),
            (format!("SecurityGroupRuleId.1={outbound}"), "400 InvalidSecurityGroupRuleId.NotFound: "),
        ] {
            let found =
                server.fault(&format!("Action=RevokeSecurityGroupIngress&GroupId={web}&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
