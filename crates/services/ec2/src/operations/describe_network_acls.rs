//! DescribeNetworkAcls: tells the default network ACL of each VPC. Source: Amazon EC2 API reference, "DescribeNetworkAcls".
//!
//! Differs from AWS: there are no other ACLs than the default ones, which cannot be changed. They have no tags.

use api::ec2::operations::DescribeNetworkAcls;
use api::ec2::{DescribeNetworkAclsRequest, DescribeNetworkAclsResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::network_acl::{self, KIND};

impl Operation<DescribeNetworkAcls> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeNetworkAclsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeNetworkAcls", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeNetworkAclsRequest,
    ) -> Result<DescribeNetworkAclsResult, Fault> {
        let rows = network_acl::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.network_acl_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeNetworkAclsResult {
            next_token: page.next_token,
            network_acls: Some(page.rows.iter().map(network_acl::describe).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn each_vpc_has_one_that_lets_everything_through() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        server.create_subnet(&vpc, "10.0.0.0/24").await;
        let of_vpc = format!("Action=DescribeNetworkAcls&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}");
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeNetworkAclsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <networkAclSet>
                <item>
                  <associationSet>
                    <item>
                      <networkAclAssociationId>aclassoc-b13528074445fc105</networkAclAssociationId>
                      <networkAclId>acl-822d5fe3b5885a806</networkAclId>
                      <subnetId>subnet-b13528074445fc105</subnetId>
                    </item>
                  </associationSet>
                  <entrySet>
                    <item>
                      <cidrBlock>0.0.0.0/0</cidrBlock>
                      <egress>true</egress>
                      <protocol>-1</protocol>
                      <ruleAction>allow</ruleAction>
                      <ruleNumber>100</ruleNumber>
                    </item>
                    <item>
                      <cidrBlock>0.0.0.0/0</cidrBlock>
                      <egress>true</egress>
                      <protocol>-1</protocol>
                      <ruleAction>deny</ruleAction>
                      <ruleNumber>32767</ruleNumber>
                    </item>
                    <item>
                      <cidrBlock>0.0.0.0/0</cidrBlock>
                      <egress>false</egress>
                      <protocol>-1</protocol>
                      <ruleAction>allow</ruleAction>
                      <ruleNumber>100</ruleNumber>
                    </item>
                    <item>
                      <cidrBlock>0.0.0.0/0</cidrBlock>
                      <egress>false</egress>
                      <protocol>-1</protocol>
                      <ruleAction>deny</ruleAction>
                      <ruleNumber>32767</ruleNumber>
                    </item>
                  </entrySet>
                  <default>true</default>
                  <networkAclId>acl-822d5fe3b5885a806</networkAclId>
                  <ownerId>123456789012</ownerId>
                  <tagSet></tagSet>
                  <vpcId>vpc-822d5fe3b5885a806</vpcId>
                </item>
              </networkAclSet>
            </DescribeNetworkAclsResponse>"#]]
        .assert_eq(&server.ask(&of_vpc).await);
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        for (name, value, count) in [
            ("association.subnet-id", subnet.as_str(), 1),
            ("default", "true", 2),
            ("default", "false", 0),
            ("entry.rule-number", "32767", 2),
            ("entry.ipv6-cidr", "::/0", 0),
            ("entry.port-range.from", "*", 0),
        ] {
            let query = format!("Action=DescribeNetworkAcls&Filter.1.Name={name}&Filter.1.Value.1={value}");
            assert_eq!(server.ask(&query).await.matches("<entrySet>").count(), count, "{name}={value}");
        }
        let fault = server.fault("Action=DescribeNetworkAcls&NetworkAclId.1=acl-0").await;
        assert_eq!(fault, "400 InvalidNetworkAclID.NotFound: The networkAcl ID 'acl-0' does not exist");
    }
}
