//! DescribeAccountAttributes: tells what the account may have. Source: Amazon EC2 API reference, "DescribeAccountAttributes".
//!
//! Differs from AWS: there are no EC2 instances and no elastic addresses to be had, so their limits are 0.

use api::ec2::operations::DescribeAccountAttributes;
use api::ec2::{
    AccountAttribute, AccountAttributeValue, DescribeAccountAttributesRequest,
    DescribeAccountAttributesResult,
};
use wire::{Call, Fault, Operation, Permission};

use crate::{Ec2, faults};

/// Source: "Amazon VPC quotas", security groups per network interface.
const SECURITY_GROUPS_PER_INTERFACE: &str = "5";

impl Operation<DescribeAccountAttributes> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeAccountAttributesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeAccountAttributes", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeAccountAttributesRequest,
    ) -> Result<DescribeAccountAttributesResult, Fault> {
        let default_vpc =
            self.default_vpc(call).await?.map_or_else(|| "none".to_owned(), |found| found.vpc.id);
        let known = [
            ("supported-platforms", "VPC"),
            ("default-vpc", default_vpc.as_str()),
            ("max-instances", "0"),
            ("vpc-max-security-groups-per-interface", SECURITY_GROUPS_PER_INTERFACE),
            ("max-elastic-ips", "0"),
            ("vpc-max-elastic-ips", "0"),
        ];
        let wanted = input.attribute_names.unwrap_or_default();
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }

        let attributes =
            known.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == name));
        let attribute = |(name, value): &(&str, &str)| AccountAttribute {
            attribute_name: Some((*name).to_owned()),
            attribute_values: Some(vec![AccountAttributeValue {
                attribute_value: Some((*value).to_owned()),
            }]),
        };
        Ok(DescribeAccountAttributesResult { account_attributes: Some(attributes.map(attribute).collect()) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn the_account_has_a_default_vpc() {
        let server = Server::new();
        let query = "Action=DescribeAccountAttributes&AttributeName.1=supported-platforms";
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeAccountAttributesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <accountAttributeSet>
                <item>
                  <attributeName>supported-platforms</attributeName>
                  <attributeValueSet>
                    <item>
                      <attributeValue>VPC</attributeValue>
                    </item>
                  </attributeValueSet>
                </item>
              </accountAttributeSet>
            </DescribeAccountAttributesResponse>"#]]
        .assert_eq(&server.ask(query).await);
        let query = "Action=DescribeAccountAttributes&AttributeName.1=default-vpc";
        let vpc = server.default_vpc().await.vpc.id;
        assert_eq!(server.ask_for("attributeValue", query).await, [vpc]);
        let all = server.ask_for("attributeName", "Action=DescribeAccountAttributes").await;
        assert_eq!(all.len(), 6);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let fault = server.fault("Action=DescribeAccountAttributes&AttributeName.1=x").await;
        assert_eq!(fault, "400 InvalidParameterValue: Value ( x ) for parameter AttributeName is invalid.");
        let fault = server.fault("Action=DescribeAccountAttributes&DryRun=true").await;
        assert!(fault.starts_with("412 DryRunOperation"), "{fault}");
    }
}
