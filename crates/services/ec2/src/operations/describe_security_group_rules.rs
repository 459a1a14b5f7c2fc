//! DescribeSecurityGroupRules: tells the rules of the security groups one by one. Source: Amazon EC2 API reference, "DescribeSecurityGroupRules".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeSecurityGroupRules;
use api::ec2::{DescribeSecurityGroupRulesRequest, DescribeSecurityGroupRulesResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::security_group_rule::{self, KIND};

impl Operation<DescribeSecurityGroupRules> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeSecurityGroupRulesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeSecurityGroupRules", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeSecurityGroupRulesRequest,
    ) -> Result<DescribeSecurityGroupRulesResult, Fault> {
        let rows = security_group_rule::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.security_group_rule_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeSecurityGroupRulesResult {
            next_token: page.next_token,
            security_group_rules: Some(page.rows.iter().map(security_group_rule::describe).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn the_default_groups_rules_are_there() {
        let server = Server::new();
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeSecurityGroupRulesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <securityGroupRuleSet>
                <item>
                  <fromPort>-1</fromPort>
                  <groupId>sg-6b717e602f2534b9d</groupId>
                  <groupOwnerId>123456789012</groupOwnerId>
                  <ipProtocol>-1</ipProtocol>
                  <isEgress>false</isEgress>
                  <referencedGroupInfo>
                    <groupId>sg-6b717e602f2534b9d</groupId>
                    <userId>123456789012</userId>
                  </referencedGroupInfo>
                  <securityGroupRuleArn>arn:aws:ec2:us-east-1:123456789012:security-group-rule/sgr-0c648da30520c364b</securityGroupRuleArn>
                  <securityGroupRuleId>sgr-0c648da30520c364b</securityGroupRuleId>
                  <toPort>-1</toPort>
                </item>
                <item>
                  <cidrIpv4>0.0.0.0/0</cidrIpv4>
                  <fromPort>-1</fromPort>
                  <groupId>sg-6b717e602f2534b9d</groupId>
                  <groupOwnerId>123456789012</groupOwnerId>
                  <ipProtocol>-1</ipProtocol>
                  <isEgress>true</isEgress>
                  <securityGroupRuleArn>arn:aws:ec2:us-east-1:123456789012:security-group-rule/sgr-d87cde17876ac515c</securityGroupRuleArn>
                  <securityGroupRuleId>sgr-d87cde17876ac515c</securityGroupRuleId>
                  <toPort>-1</toPort>
                </item>
              </securityGroupRuleSet>
            </DescribeSecurityGroupRulesResponse>"#]].assert_eq(&server.ask("Action=DescribeSecurityGroupRules").await);
        let group = server.default_vpc().await.security_group;
        let query = format!("Action=DescribeSecurityGroupRules&SecurityGroupRuleId.1={}", group.rules[1].id);
        assert_eq!(server.ask_for("isEgress", &query).await, ["true"]);
        let query =
            format!("Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={}", group.id);
        assert_eq!(server.ask_for("securityGroupRuleId", &query).await.len(), 2);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let fault = server.fault("Action=DescribeSecurityGroupRules&SecurityGroupRuleId.1=sgr-0").await;
        assert_eq!(
            fault,
            "400 InvalidSecurityGroupRuleId.NotFound: The security group rule ID 'sgr-0' does not exist"
        );
    }
}
