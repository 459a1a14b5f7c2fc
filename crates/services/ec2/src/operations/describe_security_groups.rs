//! DescribeSecurityGroups: tells the security groups of the account and region. Source: Amazon EC2 API reference, "DescribeSecurityGroups".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeSecurityGroups;
use api::ec2::{DescribeSecurityGroupsRequest, DescribeSecurityGroupsResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::faults;
use crate::listing::Question;
use crate::resources::security_group::{self, DescribedGroup, KIND};

/// Ours.
const NAMES_MAXIMUM: usize = 1000;

impl Operation<DescribeSecurityGroups> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeSecurityGroupsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeSecurityGroups", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeSecurityGroupsRequest,
    ) -> Result<DescribeSecurityGroupsResult, Fault> {
        let rows = security_group::all(&self.snapshot(call).await?, &call.scope);
        let default_vpc = self.default_vpc(call).await?.map(|default| default.vpc.id);
        let rows = named(rows, input.group_names.as_deref(), default_vpc.as_deref())?;
        let question = Question {
            dry_run: input.dry_run,
            ids: input.group_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeSecurityGroupsResult {
            next_token: page.next_token,
            security_groups: Some(
                page.rows.iter().map(|group| security_group::describe(&group.row)).collect(),
            ),
        })
    }
}

/// Source: DescribeSecurityGroups, `GroupName`: names are those of groups of the default VPC.
fn named(
    mut rows: Vec<DescribedGroup>,
    names: Option<&[String]>,
    default_vpc: Option<&str>,
) -> Result<Vec<DescribedGroup>, Fault> {
    let Some(names) = names.filter(|names| !names.is_empty()) else { return Ok(rows) };
    rows.retain(|group| Some(group.row.vpc.as_str()) == default_vpc);
    if names.len() > NAMES_MAXIMUM {
        let message =
            format!("The maximum number of group names specified on a single call is {NAMES_MAXIMUM}");
        return Err(faults::invalid_value(message));
    }
    if let Some(unknown) = names.iter().find(|name| !rows.iter().any(|group| group.row.name == **name)) {
        let message = format!("The security group '{unknown}' does not exist in default VPC");
        return Err(Fault::new("InvalidGroup.NotFound", message, 400));
    }
    Ok(rows.into_iter().filter(|group| names.contains(&group.row.name)).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn the_default_group_is_there() {
        let server = Server::new();
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeSecurityGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <securityGroupInfo>
                <item>
                  <groupDescription>default VPC security group</groupDescription>
                  <groupId>sg-6b717e602f2534b9d</groupId>
                  <groupName>default</groupName>
                  <ipPermissions>
                    <item>
                      <ipProtocol>-1</ipProtocol>
                      <ipRanges></ipRanges>
                      <ipv6Ranges></ipv6Ranges>
                      <prefixListIds></prefixListIds>
                      <groups>
                        <item>
                          <groupId>sg-6b717e602f2534b9d</groupId>
                          <userId>123456789012</userId>
                        </item>
                      </groups>
                    </item>
                  </ipPermissions>
                  <ipPermissionsEgress>
                    <item>
                      <ipProtocol>-1</ipProtocol>
                      <ipRanges>
                        <item>
                          <cidrIp>0.0.0.0/0</cidrIp>
                        </item>
                      </ipRanges>
                      <ipv6Ranges></ipv6Ranges>
                      <prefixListIds></prefixListIds>
                      <groups></groups>
                    </item>
                  </ipPermissionsEgress>
                  <ownerId>123456789012</ownerId>
                  <securityGroupArn>arn:aws:ec2:us-east-1:123456789012:security-group/sg-6b717e602f2534b9d</securityGroupArn>
                  <vpcId>vpc-befba86ae9e0c2078</vpcId>
                </item>
              </securityGroupInfo>
            </DescribeSecurityGroupsResponse>"#]].assert_eq(&server.ask("Action=DescribeSecurityGroups").await);
        let id = server.default_vpc().await.security_group.id;
        for query in [format!("GroupId.1={id}"), "GroupName.1=default".to_owned()] {
            let query = format!("Action=DescribeSecurityGroups&{query}");
            assert_eq!(server.ask_for("groupName", &query).await, ["default"]);
        }
    }

    #[tokio::test]
    async fn names_are_those_of_the_default_vpc() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        server.create_group("web", Some(&vpc)).await;
        let query = "Action=DescribeSecurityGroups&GroupName.1";
        let default = server.default_vpc().await.security_group.id;
        let permission_and_group = server.ask_for("groupId", &format!("{query}=default")).await;
        assert!(permission_and_group.iter().all(|id| *id == default), "{permission_and_group:?}");
        let fault = server.fault(&format!("{query}=web")).await;
        assert!(fault.starts_with("400 InvalidGroup.NotFound: "), "{fault}");
    }

    #[tokio::test]
    async fn filters_pick() {
        let server = Server::new();
        let group = server.default_vpc().await.security_group;
        for (name, value, count) in [
            ("group-name", "default", 1),
            ("group-name", "def*", 1),
            ("group-id", &group.id, 1),
            ("vpc-id", &group.vpc, 1),
            ("description", "default VPC security group", 1),
            ("ip-permission.group-id", &group.id, 1),
            ("ip-permission.group-name", "default", 1),
            ("ip-permission.user-id", "123456789012", 1),
            ("ip-permission.protocol", "-1", 1),
            ("ip-permission.protocol", "tcp", 0),
            ("ip-permission.cidr", "0.0.0.0/0", 0),
            ("egress.ip-permission.cidr", "0.0.0.0/0", 1),
            ("egress.ip-permission.group-id", &group.id, 0),
        ] {
            let value = value.replace(' ', "+");
            let query =
                format!("Action=DescribeSecurityGroups&Filter.1.Name={name}&Filter.1.Value.1={value}");
            assert_eq!(server.ask_for("groupName", &query).await.len(), count, "{name}={value}");
        }
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            ("GroupId.1=sg-0", "400 InvalidGroup.NotFound: The security group 'sg-0' does not exist"),
            ("GroupId.1=x", "400 InvalidGroupId.Malformed: Invalid id: \"x\" (expecting \"sg-...\")"),
            (
                "GroupName.1=x",
                "400 InvalidGroup.NotFound: The security group 'x' does not exist in default VPC",
            ),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeSecurityGroups&{query}")).await, fault);
        }
    }
}
