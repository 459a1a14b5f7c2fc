//! AuthorizeSecurityGroupIngress: adds inbound rules to a security group. Source: Amazon EC2 API reference, "AuthorizeSecurityGroupIngress".
//!
//! Differs from AWS: rules cannot name groups of other accounts or across VPC peering, of which there is none. The wording of
//! some faults of ports and protocols is from reports of users, not from documents.

use api::ec2::operations::AuthorizeSecurityGroupIngress;
use api::ec2::{
    AuthorizeSecurityGroupIngressRequest, AuthorizeSecurityGroupIngressResult, IpPermission,
    SecurityGroupRule, TagSpecification,
};
use wire::{Call, Fault, Operation, Permission};

use std::sync::Arc;

use domain::SecurityGroup;
use store::Transaction;

use crate::Ec2;
use crate::resources::permission::{self, Flat};
use crate::resources::security_group_rule::{self, DescribedRule};
use crate::resources::tag::{self, TaggedKind};
use crate::resources::{resource_arn, security_group};

impl Operation<AuthorizeSecurityGroupIngress> for Ec2 {
    fn permissions(&self, call: &Call, input: &AuthorizeSecurityGroupIngressRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:AuthorizeSecurityGroupIngress",
            resource_arn(call, "security-group", input.group_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AuthorizeSecurityGroupIngressRequest,
    ) -> Result<AuthorizeSecurityGroupIngressResult, Fault> {
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
            group_name: input.group_name,
            is_egress: false,
            permissions: permission::of_call(input.ip_permissions, flat)?,
            tag_specifications: input.tag_specifications,
        };
        let rules = authorize(self, call, asked).await?;
        Ok(AuthorizeSecurityGroupIngressResult { return_: Some(true), security_group_rules: Some(rules) })
    }
}

/// What a call that adds rules asks for.
pub(super) struct Authorized {
    pub(super) dry_run: Option<bool>,
    pub(super) group_id: Option<String>,
    pub(super) group_name: Option<String>,
    pub(super) is_egress: bool,
    pub(super) permissions: Vec<IpPermission>,
    pub(super) tag_specifications: Option<Vec<TagSpecification>>,
}

/// Adds rules to a group, all of them or none.
pub(super) async fn authorize(
    ec2: &Ec2,
    call: &Call,
    asked: Authorized,
) -> Result<Vec<SecurityGroupRule>, Fault> {
    let (id, name) = (asked.group_id.as_deref(), asked.group_name.as_deref());
    let tags = tag::of_specifications(asked.tag_specifications, TaggedKind::SecurityGroupRule)?;
    let (group, added) = ec2
        .change(call, asked.dry_run, |snapshot| {
            let read = security_group::find(snapshot, &call.scope, id, name)?;
            let mut group = SecurityGroup::clone(&read);
            let mut added = permission::rules(snapshot, &group, asked.is_egress, &asked.permissions)?;
            for rule in &mut added {
                if group.rules.iter().any(|known| known.is_same_traffic(rule)) {
                    return Err(permission::duplicate(rule));
                }
                rule.id = format!("sgr-{}", ec2.ids.hex(17));
                rule.tags.clone_from(&tags);
                group.rules.push(rule.clone());
            }
            permission::check_count(snapshot, &group)?;
            let mut transaction = Transaction::new();
            transaction.replace(&read, group.clone());
            Ok((transaction, (Arc::new(group), added)))
        })
        .await?;
    let described = |rule| security_group_rule::describe(&DescribedRule { group: Arc::clone(&group), rule });
    Ok(added.into_iter().map(described).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn rules_are_added_one_for_each_peer() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let list = server.create_prefix_list("IPv4", 5, &["10.1.0.0/16"]).await;
        let query = format!(
            "Action=AuthorizeSecurityGroupIngress&GroupId={web}&IpPermissions.1.IpProtocol=tcp\
             &IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.7/8\
             &IpPermissions.1.IpRanges.1.Description=office&IpPermissions.1.Ipv6Ranges.1.CidrIpv6=::/0\
             &IpPermissions.1.PrefixListIds.1.PrefixListId={list}&IpPermissions.1.Groups.1.GroupId={web}\
             &TagSpecification.1.ResourceType=security-group-rule&TagSpecification.1.Tag.1.Key=a"
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <AuthorizeSecurityGroupIngressResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <return>true</return>
              <securityGroupRuleSet>
                <item>
                  <cidrIpv4>10.0.0.0/8</cidrIpv4>
                  <description>office</description>
                  <fromPort>80</fromPort>
                  <groupId>sg-8e1cc1a423dd9e1f6</groupId>
                  <groupOwnerId>123456789012</groupOwnerId>
                  <ipProtocol>tcp</ipProtocol>
                  <isEgress>false</isEgress>
                  <securityGroupRuleArn>arn:aws:ec2:us-east-1:123456789012:security-group-rule/sgr-45c1947a07c7695c3</securityGroupRuleArn>
                  <securityGroupRuleId>sgr-45c1947a07c7695c3</securityGroupRuleId>
                  <tagSet>
                    <item>
                      <key>a</key>
                      <value></value>
                    </item>
                  </tagSet>
                  <toPort>80</toPort>
                </item>
                <item>
                  <cidrIpv6>::/0</cidrIpv6>
                  <fromPort>80</fromPort>
                  <groupId>sg-8e1cc1a423dd9e1f6</groupId>
                  <groupOwnerId>123456789012</groupOwnerId>
                  <ipProtocol>tcp</ipProtocol>
                  <isEgress>false</isEgress>
                  <securityGroupRuleArn>arn:aws:ec2:us-east-1:123456789012:security-group-rule/sgr-4a81291f895ffa3bb</securityGroupRuleArn>
                  <securityGroupRuleId>sgr-4a81291f895ffa3bb</securityGroupRuleId>
                  <tagSet>
                    <item>
                      <key>a</key>
                      <value></value>
                    </item>
                  </tagSet>
                  <toPort>80</toPort>
                </item>
                <item>
                  <fromPort>80</fromPort>
                  <groupId>sg-8e1cc1a423dd9e1f6</groupId>
                  <groupOwnerId>123456789012</groupOwnerId>
                  <ipProtocol>tcp</ipProtocol>
                  <isEgress>false</isEgress>
                  <prefixListId>pl-2eb7c239c856da603</prefixListId>
                  <securityGroupRuleArn>arn:aws:ec2:us-east-1:123456789012:security-group-rule/sgr-8afdbf44809d8de32</securityGroupRuleArn>
                  <securityGroupRuleId>sgr-8afdbf44809d8de32</securityGroupRuleId>
                  <tagSet>
                    <item>
                      <key>a</key>
                      <value></value>
                    </item>
                  </tagSet>
                  <toPort>80</toPort>
                </item>
                <item>
                  <fromPort>80</fromPort>
                  <groupId>sg-8e1cc1a423dd9e1f6</groupId>
                  <groupOwnerId>123456789012</groupOwnerId>
                  <ipProtocol>tcp</ipProtocol>
                  <isEgress>false</isEgress>
                  <referencedGroupInfo>
                    <groupId>sg-8e1cc1a423dd9e1f6</groupId>
                    <userId>123456789012</userId>
                  </referencedGroupInfo>
                  <securityGroupRuleArn>arn:aws:ec2:us-east-1:123456789012:security-group-rule/sgr-af28c5d84b8734e6d</securityGroupRuleArn>
                  <securityGroupRuleId>sgr-af28c5d84b8734e6d</securityGroupRuleId>
                  <tagSet>
                    <item>
                      <key>a</key>
                      <value></value>
                    </item>
                  </tagSet>
                  <toPort>80</toPort>
                </item>
              </securityGroupRuleSet>
            </AuthorizeSecurityGroupIngressResponse>"#]].assert_eq(&server.ask(&query).await);
        let query = format!("Action=DescribeSecurityGroups&GroupId.1={web}");
        assert_eq!(server.ask_for("fromPort", &query).await, ["80"], "one permission of four peers");
        for (name, value) in [
            ("ip-permission.cidr", "10.0.0.0/8"),
            ("ip-permission.ipv6-cidr", "::/0"),
            ("ip-permission.prefix-list-id", &list),
            ("ip-permission.group-name", "web"),
        ] {
            let query =
                format!("Action=DescribeSecurityGroups&Filter.1.Name={name}&Filter.1.Value.1={value}");
            assert_eq!(server.ask_for("groupName", &query).await, ["web"], "{name}");
        }
    }

    #[tokio::test]
    async fn the_flat_parameters_are_one_permission() {
        let server = Server::new();
        let query = "Action=AuthorizeSecurityGroupIngress&GroupName=default&CidrIp=0.0.0.0/0&IpProtocol=tcp\
             &FromPort=22&ToPort=22";
        assert_eq!(server.ask_for("cidrIpv4", query).await, ["0.0.0.0/0"]);
        assert_eq!(
            server.fault(query).await,
            "400 InvalidPermission.Duplicate: the specified rule \"peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, \
             ALLOW\" already exists"
        );
        server.create_group("web", None).await;
        let query = "Action=AuthorizeSecurityGroupIngress&GroupName=web&SourceSecurityGroupName=default";
        assert_eq!(server.ask_for("ipProtocol", query).await, ["-1"], "all of a group's traffic");
    }

    #[tokio::test]
    async fn there_are_at_most_sixty_for_each_direction_and_family() {
        let server = Server::new();
        let web = server.create_group("web", None).await;
        let authorize = |peers: String| {
            format!("Action=AuthorizeSecurityGroupIngress&GroupId={web}&IpPermissions.1.IpProtocol=-1{peers}")
        };
        let ranges = |first: u32, count: u32| -> String {
            let range = |n: u32| format!("&IpPermissions.1.IpRanges.{n}.CidrIp=10.{}.0.0/16", first + n);
            (1..=count).map(range).collect()
        };
        let full = "400 RulesPerSecurityGroupLimitExceeded: The maximum number of rules per security group has been \
             reached.";
        assert_eq!(server.fault(&authorize(ranges(0, 61))).await, full);
        server.done(&authorize(ranges(0, 60))).await;
        assert_eq!(server.fault(&authorize(ranges(100, 1))).await, full);
        server.done(&authorize("&IpPermissions.1.Ipv6Ranges.1.CidrIpv6=::/0".to_owned())).await;
        let list = server.create_prefix_list("IPv6", 60, &[]).await;
        let of_list = authorize(format!("&IpPermissions.1.PrefixListIds.1.PrefixListId={list}"));
        assert_eq!(server.fault(&of_list).await, full, "a list counts as what it may hold");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let (web, far) =
            (server.create_group("web", None).await, server.create_group("far", Some(&vpc)).await);
        let tcp = "IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80";
        for (query, fault) in [
            (String::new(), "400 MissingParameter: "),
            (format!("{tcp}&CidrIp=0.0.0.0/0"), "400 InvalidParameterCombination: "),
            (tcp.to_owned(), "400 MissingParameter: "),
            (
                format!("{tcp}&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.1"),
                "400 InvalidParameterValue: CIDR block 10.0.0.1 is malformed",
            ),
            (
                format!("{tcp}&IpPermissions.1.Ipv6Ranges.1.CidrIpv6=10.0.0.0/8"),
                "400 InvalidParameterValue: CIDR block 10.0.0.0/8 is malformed",
            ),
            (
                format!("{tcp}&IpPermissions.1.Groups.1.GroupId=sg-0"),
                "400 InvalidGroup.NotFound: The security group 'sg-0' does not exist",
            ),
            (
                format!(
                    "{tcp}&IpPermissions.1.Groups.1.GroupId={web}&IpPermissions.1.Groups.1.UserId=210987654321"
                ),
                "400 InvalidGroup.NotFound: The security group",
            ),
            (
                format!("{tcp}&IpPermissions.1.Groups.1.GroupId={far}"),
                "400 InvalidGroup.NotFound: You have specified two resources that belong to different networks.",
            ),
            (
                format!("{tcp}&IpPermissions.1.PrefixListIds.1.PrefixListId=pl-0"),
                "400 InvalidPrefixListID.NotFound: The prefix list ID 'pl-0' does not exist",
            ),
            (
                format!(
                    "{tcp}&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8&IpPermissions.1.IpRanges.2.CidrIp=10.0.0.1/8"
                ),
                "400 InvalidParameterValue: The same permission must not appear multiple times",
            ),
            (
                format!(
                    "{tcp}&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8&IpPermissions.1.IpRanges.1.Description=%22"
                ),
                "400 InvalidParameterValue: Invalid rule description. ",
            ),
            (
                "CidrIp=0.0.0.0/0&IpProtocol=tcp&FromPort=80&ToPort=70000".to_owned(),
                "400 InvalidParameterValue: TCP/UDP port (70000) out of range",
            ),
            (
                "CidrIp=0.0.0.0/0&IpProtocol=x".to_owned(),
                "400 InvalidParameterValue: Invalid value 'x' for IP protocol. Unknown protocol.",
            ),
            ("CidrIp=0.0.0.0/0&IpProtocol=-1&DryRun=true".to_owned(), "412 DryRunOperation: "),
        ] {
            let query = format!("Action=AuthorizeSecurityGroupIngress&GroupId={web}&{query}");
            let found = server.fault(&query).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let found =
            server.fault("Action=AuthorizeSecurityGroupIngress&GroupId=sg-0&CidrIp=0.0.0.0/0&IpProtocol=-1");
        assert_eq!(found.await, "400 InvalidGroup.NotFound: The security group 'sg-0' does not exist");
    }
}
