//! The rules of security groups, one by one.

use std::sync::Arc;

use base::{Arn, Scope, Tag};
use domain::{SecurityGroup, SecurityGroupPeer, SecurityGroupRule};
use store::{Key, Snapshot};

use super::{tag, value};
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeSecurityGroupRules",
    prefix: "sgr-",
    malformed: "InvalidSecurityGroupRuleId.Malformed",
    not_found: "InvalidSecurityGroupRuleId.NotFound",
    noun: "security group rule ID",
    filters: &[("group-id", &[]), ("security-group-rule-id", &[])],
    has_tags: true,
};

/// A rule and the group that it is of.
pub(crate) struct DescribedRule {
    pub(crate) group: Arc<SecurityGroup>,
    pub(crate) rule: SecurityGroupRule,
}

/// All rules of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedRule> {
    let mut all = Vec::new();
    for group in snapshot.scan::<SecurityGroup>(Key::prefix(scope, &[]), None) {
        let described =
            |rule: &SecurityGroupRule| DescribedRule { group: Arc::clone(&group.value), rule: rule.clone() };
        all.extend(group.rules.iter().map(described));
    }
    all
}

impl Filterable for DescribedRule {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "group-id" => value(&self.group.id),
            "security-group-rule-id" => value(&self.rule.id),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.rule.tags
    }
}

impl Listed for DescribedRule {
    fn id(&self) -> &str {
        &self.rule.id
    }
}

/// The wire form.
pub(crate) fn describe(described: &DescribedRule) -> api::ec2::SecurityGroupRule {
    let (group, rule) = (&described.group, &described.rule);
    let owner = group.scope.account.to_string();
    let arn = Arn::new("ec2", &group.scope, format!("security-group-rule/{}", rule.id));
    let mut wire = api::ec2::SecurityGroupRule {
        description: rule.description.clone(),
        from_port: Some(rule.from_port),
        group_id: Some(group.id.clone()),
        group_owner_id: Some(owner.clone()),
        ip_protocol: Some(rule.ip_protocol.clone()),
        is_egress: Some(rule.is_egress),
        security_group_rule_arn: Some(arn.to_string()),
        security_group_rule_id: Some(rule.id.clone()),
        tags: tag::describe(&rule.tags),
        to_port: Some(rule.to_port),
        ..Default::default()
    };
    match &rule.peer {
        SecurityGroupPeer::Ipv4(cidr) => wire.cidr_ipv4 = Some(cidr.to_string()),
        SecurityGroupPeer::Ipv6(cidr) => wire.cidr_ipv6 = Some(cidr.to_string()),
        SecurityGroupPeer::PrefixList(id) => wire.prefix_list_id = Some(id.clone()),
        SecurityGroupPeer::Group(id) => {
            wire.referenced_group_info = Some(api::ec2::ReferencedSecurityGroup {
                group_id: Some(id.clone()),
                user_id: Some(owner),
                ..Default::default()
            });
        }
    }
    wire
}

/// The wire form of a rule that was revoked.
pub(crate) fn describe_revoked(
    group: &SecurityGroup,
    rule: &SecurityGroupRule,
) -> api::ec2::RevokedSecurityGroupRule {
    let mut wire = api::ec2::RevokedSecurityGroupRule {
        description: rule.description.clone(),
        from_port: Some(rule.from_port),
        group_id: Some(group.id.clone()),
        ip_protocol: Some(rule.ip_protocol.clone()),
        is_egress: Some(rule.is_egress),
        security_group_rule_id: Some(rule.id.clone()),
        to_port: Some(rule.to_port),
        ..Default::default()
    };
    match &rule.peer {
        SecurityGroupPeer::Ipv4(cidr) => wire.cidr_ipv4 = Some(cidr.to_string()),
        SecurityGroupPeer::Ipv6(cidr) => wire.cidr_ipv6 = Some(cidr.to_string()),
        SecurityGroupPeer::PrefixList(id) => wire.prefix_list_id = Some(id.clone()),
        SecurityGroupPeer::Group(id) => wire.referenced_group_id = Some(id.clone()),
    }
    wire
}
