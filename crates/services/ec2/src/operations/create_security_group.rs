//! CreateSecurityGroup: makes a security group, which lets all traffic out and none in. Source: Amazon EC2 API reference, "CreateSecurityGroup".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::CreateSecurityGroup;
use api::ec2::{CreateSecurityGroupRequest, CreateSecurityGroupResult};
use wire::{Call, Fault, Operation, Permission};

use domain::SecurityGroup;
use store::{Key, Transaction};

use crate::resources::permission::is_plain;
use crate::resources::tag::{self, TaggedKind};
use crate::resources::{resource_arn, security_group, vpc};
use crate::{Ec2, faults};

/// Security groups of an account in a region. Source: "Amazon VPC quotas".
const GROUPS_PER_REGION: usize = 2500;
/// Characters of a name and of a description. Source: CreateSecurityGroup.
const TEXT_CHARACTERS: usize = 255;

impl Operation<CreateSecurityGroup> for Ec2 {
    fn permissions(&self, call: &Call, input: &CreateSecurityGroupRequest) -> Vec<Permission> {
        vec![
            Permission::new("ec2:CreateSecurityGroup", resource_arn(call, "security-group", Some("*"))),
            Permission::new("ec2:CreateSecurityGroup", resource_arn(call, "vpc", input.vpc_id.as_deref())),
        ]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateSecurityGroupRequest,
    ) -> Result<CreateSecurityGroupResult, Fault> {
        let name = checked_name(input.group_name.unwrap_or_default())?;
        let description = checked_description(input.description.unwrap_or_default())?;
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::SecurityGroup)?;
        let group = self
            .change(call, input.dry_run, |snapshot| {
                let vpc = vpc::named_or_default(snapshot, &call.scope, input.vpc_id.as_deref())?;
                if security_group::named(snapshot, &call.scope, &vpc.id, &name).is_some() {
                    let message = format!("The security group '{name}' already exists for VPC '{}'", vpc.id);
                    return Err(Fault::new("InvalidGroup.Duplicate", message, 400));
                }
                if snapshot.scan::<SecurityGroup>(Key::prefix(&call.scope, &[]), None).count()
                    >= GROUPS_PER_REGION
                {
                    let message = "The maximum number of security groups for VPC has been reached";
                    return Err(Fault::new("SecurityGroupLimitExceeded", message, 400));
                }
                let mut rules: Vec<_> = domain::to_everyone(&*self.ids).into_iter().collect();
                if vpc.ipv6.is_some() {
                    rules.extend(domain::to_everyone_ipv6(&*self.ids));
                }
                let group = SecurityGroup {
                    scope: call.scope.clone(),
                    id: format!("sg-{}", self.ids.hex(17)),
                    vpc: vpc.id.clone(),
                    name: name.clone(),
                    description: description.clone(),
                    rules,
                    tags: tags.clone(),
                };
                let mut transaction = Transaction::new();
                transaction.require_unchanged(&vpc).insert(group.clone());
                Ok((transaction, group))
            })
            .await?;
        Ok(CreateSecurityGroupResult {
            security_group_arn: Some(group.arn().to_string()),
            tags: tag::describe(&group.tags),
            group_id: Some(group.id),
        })
    }
}

fn checked_name(name: String) -> Result<String, Fault> {
    if name.is_empty() {
        return Err(faults::missing("GroupName"));
    }
    if name == "default" {
        return Err(faults::invalid_value("Cannot use reserved security group name: default"));
    }
    if name.starts_with("sg-") {
        return Err(faults::invalid_value(format!(
            "Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*."
        )));
    }
    if name.chars().count() > TEXT_CHARACTERS || !name.chars().all(is_plain) {
        return Err(faults::invalid_value(format!(
            "Value ({name}) for parameter GroupName is invalid. Valid names are strings less than 256 characters from the \
             following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{{}}!$*"
        )));
    }
    Ok(name)
}

fn checked_description(description: String) -> Result<String, Fault> {
    if description.is_empty() {
        return Err(faults::missing("GroupDescription"));
    }
    if description.chars().count() > TEXT_CHARACTERS || !description.chars().all(is_plain) {
        return Err(faults::invalid_value(format!(
            "Value ({description}) for parameter GroupDescription is invalid. Valid descriptions are strings less than 256 \
             characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{{}}!$*"
        )));
    }
    Ok(description)
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    const CREATE: &str = "Action=CreateSecurityGroup&GroupDescription=of+the+web";

    #[tokio::test]
    async fn a_group_lets_all_out_and_none_in() {
        let server = Server::new();
        let query = format!(
            "{CREATE}&GroupName=web&TagSpecification.1.ResourceType=security-group\
             &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=web"
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateSecurityGroupResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <groupId>sg-8e1cc1a423dd9e1f6</groupId>
              <securityGroupArn>arn:aws:ec2:us-east-1:123456789012:security-group/sg-8e1cc1a423dd9e1f6</securityGroupArn>
              <tagSet>
                <item>
                  <key>Name</key>
                  <value>web</value>
                </item>
              </tagSet>
            </CreateSecurityGroupResponse>"#]].assert_eq(&server.ask(&query).await);
        let query = "Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1=";
        let id = server
            .ask_for("groupId", "Action=DescribeSecurityGroups&Filter.1.Name=tag:Name&Filter.1.Value.1=web")
            .await
            .concat();
        assert_eq!(server.ask_for("isEgress", &format!("{query}{id}")).await, ["true"]);
        assert_eq!(server.ask_for("cidrIpv4", &format!("{query}{id}")).await, ["0.0.0.0/0"]);
    }

    #[tokio::test]
    async fn a_name_is_used_once_in_a_vpc() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        server.create_group("web", None).await;
        let there = format!(
            "400 InvalidGroup.Duplicate: The security group 'web' already exists for VPC '{}'",
            server.default_vpc().await.vpc.id
        );
        assert_eq!(server.fault(&format!("{CREATE}&GroupName=web")).await, there);
        server.create_group("web", Some(&vpc)).await;
        let query = format!("Action=DescribeSecurityGroups&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}");
        assert_eq!(server.ask_for("groupName", &query).await.len(), 2, "its default group, and the new one");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let long = "a".repeat(256);
        for (query, fault) in [
            ("GroupName=x&VpcId=vpc-0", "400 InvalidVpcID.NotFound: The vpc ID 'vpc-0' does not exist"),
            ("GroupName=x&VpcId=x", "400 InvalidVpcID.Malformed: "),
            ("GroupName=", "400 MissingParameter: "),
            (
                "GroupName=default",
                "400 InvalidParameterValue: Cannot use reserved security group name: default",
            ),
            (
                "GroupName=sg-web",
                "400 InvalidParameterValue: Value (sg-web) for parameter GroupName is invalid.",
            ),
            ("GroupName=%C3%A9", "400 InvalidParameterValue: Value ("),
            (&format!("GroupName={long}"), "400 InvalidParameterValue: Value (aaa"),
            ("GroupName=x&DryRun=true", "412 DryRunOperation: "),
            (
                "GroupName=x&TagSpecification.1.ResourceType=vpc&TagSpecification.1.Tag.1.Key=a",
                "400 InvalidParameterValue: 'vpc' is not a valid taggable resource type for this operation.",
            ),
        ] {
            let found = server.fault(&format!("{CREATE}&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        assert_eq!(server.ask_for("groupName", "Action=DescribeSecurityGroups").await, ["default"]);
        let found = server.fault("Action=CreateSecurityGroup&GroupName=x&GroupDescription=%3Cb%3E").await;
        assert!(
            found.starts_with("400 InvalidParameterValue: Value (&lt;b&gt;) for parameter GroupDesc"),
            "{found}"
        );
    }
}
