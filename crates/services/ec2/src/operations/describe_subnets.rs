//! DescribeSubnets: tells the subnets of the account and region, with how many addresses each has left. Source: Amazon EC2 API reference, "DescribeSubnets".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeSubnets;
use api::ec2::{DescribeSubnetsRequest, DescribeSubnetsResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::subnet::{self, KIND};

impl Operation<DescribeSubnets> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeSubnetsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeSubnets", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeSubnetsRequest,
    ) -> Result<DescribeSubnetsResult, Fault> {
        let rows = subnet::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.subnet_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeSubnetsResult {
            next_token: page.next_token,
            subnets: Some(page.rows.iter().map(subnet::describe).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn there_is_one_in_each_zone() {
        let server = Server::new();
        let zones = server.ask_for("availabilityZone", "Action=DescribeSubnets").await;
        assert_eq!(zones.len(), 3);
        let query = "Action=DescribeSubnets&Filter.1.Name=availabilityZone&Filter.1.Value.1=us-east-1b";
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeSubnetsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <subnetSet>
                <item>
                  <assignIpv6AddressOnCreation>false</assignIpv6AddressOnCreation>
                  <availabilityZone>us-east-1b</availabilityZone>
                  <availabilityZoneId>use1-az2</availabilityZoneId>
                  <availableIpAddressCount>4091</availableIpAddressCount>
                  <cidrBlock>172.31.16.0/20</cidrBlock>
                  <defaultForAz>true</defaultForAz>
                  <enableDns64>false</enableDns64>
                  <ipv6CidrBlockAssociationSet></ipv6CidrBlockAssociationSet>
                  <ipv6Native>false</ipv6Native>
                  <mapCustomerOwnedIpOnLaunch>false</mapCustomerOwnedIpOnLaunch>
                  <mapPublicIpOnLaunch>true</mapPublicIpOnLaunch>
                  <ownerId>123456789012</ownerId>
                  <privateDnsNameOptionsOnLaunch>
                    <enableResourceNameDnsAAAARecord>false</enableResourceNameDnsAAAARecord>
                    <enableResourceNameDnsARecord>false</enableResourceNameDnsARecord>
                    <hostnameType>ip-name</hostnameType>
                  </privateDnsNameOptionsOnLaunch>
                  <state>available</state>
                  <subnetArn>arn:aws:ec2:us-east-1:123456789012:subnet/subnet-d2f49798ab0deb2c8</subnetArn>
                  <subnetId>subnet-d2f49798ab0deb2c8</subnetId>
                  <vpcId>vpc-befba86ae9e0c2078</vpcId>
                </item>
              </subnetSet>
            </DescribeSubnetsResponse>"#]]
        .assert_eq(&server.ask(query).await);
    }

    #[tokio::test]
    async fn addresses_in_use_are_not_available() {
        let server = Server::new();
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        let query = format!("Action=DescribeSubnets&SubnetId.1={subnet}");
        assert_eq!(server.ask_for("availableIpAddressCount", &query).await, ["4091"]);
        server.add_interface([172, 31, 0, 10].into()).await;
        server.add_interface([172, 31, 0, 11].into()).await;
        assert_eq!(server.ask_for("availableIpAddressCount", &query).await, ["4089"]);
        let query = "Action=DescribeSubnets&Filter.1.Name=available-ip-address-count&Filter.1.Value.1=4089";
        assert_eq!(server.ask_for("subnetId", query).await, [subnet]);
    }

    #[tokio::test]
    async fn filters_pick() {
        let server = Server::new();
        let subnet = server.default_vpc().await.subnets[2].clone();
        let arn = subnet.arn().to_string();
        for (name, value, count) in [
            ("availability-zone", "us-east-1c", 1),
            ("availability-zone-id", "use1-az3", 1),
            ("cidrBlock", "172.31.32.0/20", 1),
            ("cidr-block", "172.31.32.0/20", 1),
            ("defaultForAz", "true", 3),
            ("default-for-az", "false", 0),
            ("map-public-ip-on-launch", "true", 3),
            ("owner-id", "123456789012", 3),
            ("state", "available", 3),
            ("state", "pending", 0),
            ("subnet-arn", &arn, 1),
            ("subnet-id", &subnet.id, 1),
            ("vpc-id", &subnet.vpc, 3),
            ("vpc-id", "vpc-0", 0),
            ("ipv6-native", "true", 0),
            ("outpost-arn", "*", 0),
        ] {
            let query = format!("Action=DescribeSubnets&Filter.1.Name={name}&Filter.1.Value.1={value}");
            assert_eq!(server.ask_for("subnetId", &query).await.len(), count, "{name}={value}");
        }
        // Filters are all to hold, values are alternatives.
        let query = "Action=DescribeSubnets&Filter.1.Name=availability-zone&Filter.1.Value.1=us-east-1a\
            &Filter.1.Value.2=us-east-1b&Filter.2.Name=cidr-block&Filter.2.Value.1=172.31.16.0/20";
        assert_eq!(server.ask_for("availabilityZone", query).await, ["us-east-1b"]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            ("SubnetId.1=subnet-0", "400 InvalidSubnetID.NotFound: The subnet ID 'subnet-0' does not exist"),
            (
                "SubnetId.1=vpc-0",
                "400 InvalidSubnetID.Malformed: Invalid id: \"vpc-0\" (expecting \"subnet-...\")",
            ),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeSubnets&{query}")).await, fault);
        }
        for bad in ["4", "1001", "-1", "0"] {
            let fault = server.fault(&format!("Action=DescribeSubnets&MaxResults={bad}")).await;
            assert!(fault.starts_with("400 InvalidParameterValue: Value ( "), "{fault}");
        }
    }
}
