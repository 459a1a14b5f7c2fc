//! CreateTags: adds tags to resources, or changes their values. Source: Amazon EC2 API reference, "CreateTags".
//!
//! Differs from AWS: all resources are changed or none, where AWS may change some.

use std::collections::BTreeSet;

use api::ec2::CreateTagsRequest;
use api::ec2::operations::CreateTags;
use base::{Tag, limits};
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::tag;
use crate::{Ec2, faults};

/// Source: CreateTags, `ResourceId`.
const RESOURCES_MAXIMUM: usize = 1000;

impl Operation<CreateTags> for Ec2 {
    fn permissions(&self, call: &Call, input: &CreateTagsRequest) -> Vec<Permission> {
        let resources = input.resources.iter().flatten().take(RESOURCES_MAXIMUM);
        let tags: Vec<_> = input.tags.iter().flatten().collect();
        let permission = |id: &String| {
            let permission = Permission::new("ec2:CreateTags", tag::resource_arn(&call.scope, id));
            tags.iter().fold(permission, |permission, tag| {
                let key = format!("aws:RequestTag/{}", tag.key.as_deref().unwrap_or_default());
                permission.when(key, tag.value.as_deref().unwrap_or_default())
            })
        };
        resources.map(permission).collect()
    }

    async fn handle(&self, call: &Call, input: CreateTagsRequest) -> Result<Unit, Fault> {
        let resources = resources(input.resources)?;
        let tags = input.tags.filter(|tags| !tags.is_empty()).ok_or_else(|| faults::missing("Tag"))?;
        let tags = tag::check(tags)?;
        let add = |known: &mut Vec<Tag>| add_tags(known, &tags);
        self.change(call, input.dry_run, |snapshot| {
            tag::change_all(snapshot, &call.scope, &resources, &add).map(|transaction| (transaction, ()))
        })
        .await?;
        Ok(Unit::default())
    }
}

/// The resources of a call about tags, each once.
pub(super) fn resources(ids: Option<Vec<String>>) -> Result<BTreeSet<String>, Fault> {
    let ids = ids.filter(|ids| !ids.is_empty()).ok_or_else(|| faults::missing("resourceIdSet"))?;
    if ids.len() > RESOURCES_MAXIMUM {
        let message =
            format!("The maximum number of resources specified on a single call is {RESOURCES_MAXIMUM}");
        return Err(faults::invalid_value(message));
    }
    Ok(ids.into_iter().collect())
}

fn add_tags(known: &mut Vec<Tag>, tags: &[Tag]) -> Result<(), Fault> {
    known.retain(|known| !tags.iter().any(|tag| tag.key == known.key));
    known.extend_from_slice(tags);
    known.sort();
    if known.len() > limits::TAGS_PER_RESOURCE { Err(tag::too_many()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn tags_are_added_changed_and_told_with_the_resource() {
        let server = Server::new();
        let interface = server.add_interface([172, 31, 0, 10].into()).await;
        let made = server.default_vpc().await;
        let (group, rule) = (&made.security_group.id, &made.security_group.rules[0].id);
        let (vpc, subnet) = (&made.vpc.id, &made.subnets[0].id);
        let query = format!(
            "Action=CreateTags&ResourceId.1={vpc}&ResourceId.2={subnet}&ResourceId.3={group}&ResourceId.4={rule}\
            &ResourceId.5={}&Tag.1.Key=Name&Tag.1.Value=main&Tag.2.Key=empty",
            interface.id
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <return>true</return>
            </CreateTagsResponse>"#]]
        .assert_eq(&server.ask(&query).await);
        for (action, id, list) in [
            ("DescribeVpcs", vpc, "vpcId"),
            ("DescribeSubnets", subnet, "subnetId"),
            ("DescribeSecurityGroups", group, "groupId"),
            ("DescribeSecurityGroupRules", rule, "securityGroupRuleId"),
            ("DescribeNetworkInterfaces", &interface.id, "networkInterfaceId"),
        ] {
            for filter in [
                "Filter.1.Name=tag:Name&Filter.1.Value.1=main",
                "Filter.1.Name=tag-key&Filter.1.Value.1=empty",
                "Filter.1.Name=tag:empty&Filter.1.Value.1=",
            ] {
                let query = format!("Action={action}&{filter}");
                assert!(server.ask_for(list, &query).await.contains(id), "{query}");
                assert_eq!(server.ask_for("key", &query).await, ["Name", "empty"], "{query}");
            }
            let query = format!("Action={action}&Filter.1.Name=tag:Name&Filter.1.Value.1=other");
            assert_eq!(server.ask_for("key", &query).await, [""; 0]);
        }
        let query = format!("Action=CreateTags&ResourceId.1={vpc}&Tag.1.Key=Name&Tag.1.Value=new");
        server.ask(&query).await;
        let query = format!("Action=DescribeVpcs&VpcId.1={vpc}");
        assert_eq!(server.ask_for("value", &query).await, ["new", ""]);
    }

    #[tokio::test]
    async fn what_is_refused_changes_nothing() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc.id;
        let long = |length| "k".repeat(length);
        for (query, fault) in [
            ("Tag.1.Key=a".to_owned(), "400 MissingParameter: "),
            (format!("ResourceId.1={vpc}"), "400 MissingParameter: "),
            (
                format!("ResourceId.1={vpc}&ResourceId.2=subnet-0&Tag.1.Key=a"),
                "400 InvalidSubnetID.NotFound: The subnet ID 'subnet-0' does not exist",
            ),
            (
                format!("ResourceId.1={vpc}&ResourceId.2=x&Tag.1.Key=a"),
                "400 InvalidID: The ID 'x' is not valid",
            ),
            (
                format!("ResourceId.1={vpc}&Tag.1.Key=Aws:x"),
                "400 InvalidParameterValue: Tag keys starting with 'aws:' are reserved for internal use: Aws:x",
            ),
            (
                format!("ResourceId.1={vpc}&Tag.1.Key={}", long(128)),
                "400 InvalidParameterValue: Tag key exceeds the maximum length of 127 characters",
            ),
            (
                format!("ResourceId.1={vpc}&Tag.1.Key=a&Tag.1.Value={}", long(257)),
                "400 InvalidParameterValue: Tag value exceeds the maximum length of 256 characters",
            ),
            (
                format!("ResourceId.1={vpc}&Tag.1.Key=a&Tag.2.Key=a"),
                "400 InvalidParameterValue: Duplicate tag key 'a' specified.",
            ),
            (format!("ResourceId.1={vpc}&Tag.1.Key=a&DryRun=true"), "412 DryRunOperation: "),
        ] {
            let told = server.fault(&format!("Action=CreateTags&{query}")).await;
            assert!(told.starts_with(fault), "{query}: {told}");
        }
        let query = format!("Action=DescribeVpcs&VpcId.1={vpc}");
        assert_eq!(server.ask_for("key", &query).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_resource_has_fifty_at_most() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc.id;
        let add = |from: u32, to: u32| {
            let tags: Vec<_> = (from..to).map(|n| format!("Tag.{}.Key=k{n}", n - from + 1)).collect();
            format!("Action=CreateTags&ResourceId.1={vpc}&{}", tags.join("&"))
        };
        assert!(server.ask(&add(0, 50)).await.starts_with("200"));
        let fault = server.fault(&add(50, 51)).await;
        assert_eq!(
            fault,
            "400 TagLimitExceeded: The maximum number of Tags for a resource has been reached."
        );
        assert!(server.ask(&add(10, 20)).await.starts_with("200"), "those that are there do not count twice");
    }
}
