//! ModifySecurityGroupRules: puts other traffic, peers and descriptions in place of those of rules, which keep their ids. Source: Amazon EC2 API reference, "ModifySecurityGroupRules".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::ModifySecurityGroupRules;
use api::ec2::{ModifySecurityGroupRulesRequest, ModifySecurityGroupRulesResult, SecurityGroupRuleRequest};
use wire::{Call, Fault, Operation, Permission};

use domain::{SecurityGroup, SecurityGroupPeer, SecurityGroupRule};
use store::{Snapshot, Transaction};

use crate::resources::permission::{self, Traffic};
use crate::resources::{resource_arn, security_group, security_group_rule};
use crate::{Ec2, faults};

impl Operation<ModifySecurityGroupRules> for Ec2 {
    fn permissions(&self, call: &Call, input: &ModifySecurityGroupRulesRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:ModifySecurityGroupRules",
            resource_arn(call, "security-group", input.group_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ModifySecurityGroupRulesRequest,
    ) -> Result<ModifySecurityGroupRulesResult, Fault> {
        let updates = input.security_group_rules.unwrap_or_default();
        let id = input.group_id.as_deref();
        self.change(call, input.dry_run, |snapshot| {
            let read = security_group::find(snapshot, &call.scope, id, None)?;
            let mut group = SecurityGroup::clone(&read);
            for update in &updates {
                let id = update.security_group_rule_id.as_deref().unwrap_or_default();
                let at = group.rules.iter().position(|rule| rule.id == id);
                let at = at.ok_or_else(|| security_group_rule::KIND.not_found(id))?;
                let asked = update.security_group_rule.clone().unwrap_or_default();
                let rule = replaced(snapshot, &group, &group.rules[at], &asked)?;
                group.rules[at] = rule;
            }
            for (at, rule) in group.rules.iter().enumerate() {
                if group.rules[..at].iter().any(|known| known.is_same_traffic(rule)) {
                    return Err(permission::duplicate(rule));
                }
            }
            permission::check_count(snapshot, &group)?;
            let mut transaction = Transaction::new();
            transaction.replace(&read, group);
            Ok((transaction, ()))
        })
        .await?;
        Ok(ModifySecurityGroupRulesResult { return_: Some(true) })
    }
}

/// The rule that takes the place of `rule`, with its id, direction and tags.
fn replaced(
    snapshot: &Snapshot,
    group: &SecurityGroup,
    rule: &SecurityGroupRule,
    asked: &SecurityGroupRuleRequest,
) -> Result<SecurityGroupRule, Fault> {
    let traffic = Traffic::parse(asked.ip_protocol.as_deref(), asked.from_port, asked.to_port)?;
    let peer = match (&asked.cidr_ipv4, &asked.cidr_ipv6, &asked.prefix_list_id, &asked.referenced_group_id) {
        (Some(cidr), None, None, None) => SecurityGroupPeer::Ipv4(permission::ipv4_cidr(cidr)?),
        (None, Some(cidr), None, None) => SecurityGroupPeer::Ipv6(permission::ipv6_cidr(cidr)?),
        (None, None, Some(id), None) => permission::prefix_list_peer(snapshot, &group.scope, id)?,
        (None, None, None, Some(id)) => permission::group_peer(snapshot, group, Some(id), None, None)?,
        (None, None, None, None) => {
            return Err(faults::missing("CidrIpv4, CidrIpv6, PrefixListId or ReferencedGroupId"));
        }
        _ => {
            let message =
                "Only one of CidrIpv4, CidrIpv6, PrefixListId and ReferencedGroupId can be specified";
            return Err(faults::invalid_combination(message));
        }
    };
    let description = permission::described(asked.description.as_deref())?;
    let made = traffic.rule(rule.is_egress, peer, description);
    Ok(SecurityGroupRule { id: rule.id.clone(), tags: rule.tags.clone(), ..made })
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_rule_keeps_its_id_and_direction() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let of_web =
            format!("Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={web}");
        let id = server.ask_for("securityGroupRuleId", &of_web).await.concat();
        let query = format!(
            "Action=ModifySecurityGroupRules&GroupId={web}&SecurityGroupRule.1.SecurityGroupRuleId={id}\
             &SecurityGroupRule.1.SecurityGroupRule.IpProtocol=tcp&SecurityGroupRule.1.SecurityGroupRule.FromPort=443\
             &SecurityGroupRule.1.SecurityGroupRule.ToPort=443&SecurityGroupRule.1.SecurityGroupRule.CidrIpv6=::/0"
        );
        assert_eq!(server.ask_for("return", &query).await, ["true"]);
        assert_eq!(server.ask_for("securityGroupRuleId", &of_web).await, [id]);
        assert_eq!(server.ask_for("isEgress", &of_web).await, ["true"]);
        assert_eq!(server.ask_for("cidrIpv6", &of_web).await, ["::/0"]);
        assert_eq!(server.ask_for("cidrIpv4", &of_web).await, [""; 0]);
        assert_eq!(server.ask_for("fromPort", &of_web).await, ["443"]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let add = format!(
            "Action=AuthorizeSecurityGroupEgress&GroupId={web}&IpPermissions.1.IpProtocol=47\
             &IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0"
        );
        let id = server.ask_for("securityGroupRuleId", &add).await.concat();
        let prefix = "SecurityGroupRule.1.SecurityGroupRule";
        for (rule, query, fault) in [
            ("sgr-0", format!("{prefix}.IpProtocol=-1"), "400 InvalidSecurityGroupRuleId.NotFound: "),
            (id.as_str(), format!("{prefix}.IpProtocol=-1"), "400 MissingParameter: "),
            (
                id.as_str(),
                format!("{prefix}.IpProtocol=-1&{prefix}.CidrIpv4=0.0.0.0/0&{prefix}.CidrIpv6=::/0"),
                "400 InvalidParameterCombination: ",
            ),
            (
                id.as_str(),
                format!("{prefix}.IpProtocol=-1&{prefix}.CidrIpv4=0.0.0.0/0"),
                "400 InvalidPermission.Duplicate: ",
            ),
        ] {
            let query = format!(
                "Action=ModifySecurityGroupRules&GroupId={web}&SecurityGroupRule.1.SecurityGroupRuleId={rule}&{query}"
            );
            let found = server.fault(&query).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
