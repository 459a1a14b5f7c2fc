//! DescribeNetworkInterfaces: tells the network interfaces: one for each task of network mode `awsvpc`, while it lives. Source: Amazon EC2 API reference, "DescribeNetworkInterfaces".
//!
//! Differs from AWS: interfaces that ECS made name `amazon-ecs` as their requester, not an account
//! of AWS; there are no public addresses.

use api::ec2::operations::DescribeNetworkInterfaces;
use api::ec2::{DescribeNetworkInterfacesRequest, DescribeNetworkInterfacesResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::network_interface::{self, KIND};

impl Operation<DescribeNetworkInterfaces> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeNetworkInterfacesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeNetworkInterfaces", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeNetworkInterfacesRequest,
    ) -> Result<DescribeNetworkInterfacesResult, Fault> {
        let rows = network_interface::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.network_interface_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeNetworkInterfacesResult {
            next_token: page.next_token,
            network_interfaces: Some(page.rows.iter().map(network_interface::describe).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_tasks_interface_is_told() {
        let server = Server::new();
        assert_eq!(server.ask_for("networkInterfaceId", "Action=DescribeNetworkInterfaces").await, [""; 0]);
        server.add_interface([172, 31, 0, 10].into()).await;
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeNetworkInterfacesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <networkInterfaceSet>
                <item>
                  <attachment>
                    <attachTime>2023-11-14T22:13:20Z</attachTime>
                    <attachmentId>eni-attach-23dd9e1f687ddc692</attachmentId>
                    <deleteOnTermination>false</deleteOnTermination>
                    <deviceIndex>1</deviceIndex>
                    <instanceOwnerId>123456789012</instanceOwnerId>
                    <networkCardIndex>0</networkCardIndex>
                    <status>attached</status>
                  </attachment>
                  <availabilityZone>us-east-1a</availabilityZone>
                  <availabilityZoneId>use1-az1</availabilityZoneId>
                  <description>arn:aws:ecs:us-east-1:123456789012:attachment/4567</description>
                  <groupSet>
                    <item>
                      <groupId>sg-6b717e602f2534b9d</groupId>
                      <groupName>default</groupName>
                    </item>
                  </groupSet>
                  <interfaceType>interface</interfaceType>
                  <ipv6AddressesSet></ipv6AddressesSet>
                  <macAddress>02:b5:88:5a:80:6d</macAddress>
                  <networkInterfaceId>eni-b5885a806df699158</networkInterfaceId>
                  <operator>
                    <managed>false</managed>
                  </operator>
                  <ownerId>123456789012</ownerId>
                  <privateDnsName>ip-172-31-0-10.ec2.internal</privateDnsName>
                  <privateIpAddress>172.31.0.10</privateIpAddress>
                  <privateIpAddressesSet>
                    <item>
                      <primary>true</primary>
                      <privateDnsName>ip-172-31-0-10.ec2.internal</privateDnsName>
                      <privateIpAddress>172.31.0.10</privateIpAddress>
                    </item>
                  </privateIpAddressesSet>
                  <requesterId>amazon-ecs</requesterId>
                  <requesterManaged>true</requesterManaged>
                  <sourceDestCheck>true</sourceDestCheck>
                  <status>in-use</status>
                  <subnetId>subnet-ad61c245e06bb0bc4</subnetId>
                  <tagSet></tagSet>
                  <vpcId>vpc-befba86ae9e0c2078</vpcId>
                </item>
              </networkInterfaceSet>
            </DescribeNetworkInterfacesResponse>"#]]
        .assert_eq(&server.ask("Action=DescribeNetworkInterfaces").await);
    }

    #[tokio::test]
    async fn filters_pick() {
        let server = Server::new();
        let interface = server.add_interface([172, 31, 0, 10].into()).await;
        server.add_interface([172, 31, 0, 11].into()).await;
        let mac = interface.mac.to_string();
        let attachment = interface.attachment.as_ref().unwrap().id.clone();
        for (name, value, count) in [
            ("private-ip-address", "172.31.0.10", 1),
            ("addresses.private-ip-address", "172.31.0.1?", 2),
            ("private-dns-name", "ip-172-31-0-10.ec2.internal", 1),
            ("network-interface-id", &interface.id, 1),
            ("mac-address", &mac, 1),
            ("attachment.attachment-id", &attachment, 1),
            ("attachment.status", "attached", 2),
            ("attachment.instance-id", "*", 0),
            ("subnet-id", &interface.subnet, 2),
            ("vpc-id", &interface.vpc, 2),
            ("group-id", &interface.security_groups[0], 2),
            ("group-name", "default", 2),
            ("description", "arn:aws:ecs:*:attachment/4567", 2),
            ("status", "in-use", 2),
            ("status", "available", 0),
            ("requester-managed", "true", 2),
            ("requester-id", "amazon-ecs", 2),
            ("interface-type", "interface", 2),
            ("availability-zone", "us-east-1a", 2),
            ("owner-id", "123456789012", 2),
            ("source-dest-check", "true", 2),
            ("association.public-ip", "*", 0),
        ] {
            let query =
                format!("Action=DescribeNetworkInterfaces&Filter.1.Name={name}&Filter.1.Value.1={value}");
            assert_eq!(server.ask_for("networkInterfaceId", &query).await.len(), count, "{name}={value}");
        }
    }

    #[tokio::test]
    async fn what_load_balancers_have_is_theirs() {
        let server = Server::new();
        let mut interface = server.add_interface([172, 31, 0, 10].into()).await;
        interface.requester = Some("amazon-elb".to_owned());
        let mut transaction = store::Transaction::new();
        transaction.put(interface);
        server.store.transact(transaction).await.unwrap();
        for told in ["requesterId", "instanceOwnerId"] {
            assert_eq!(
                server.ask_for(told, "Action=DescribeNetworkInterfaces").await,
                ["amazon-elb"],
                "{told}"
            );
        }
    }

    #[tokio::test]
    async fn pages_tell_each_once() {
        let server = Server::new();
        for last in 10..22 {
            server.add_interface([172, 31, 0, last].into()).await;
        }
        let mut told = Vec::new();
        let mut token = String::new();
        for page in [5, 5, 2] {
            let query = format!("Action=DescribeNetworkInterfaces&MaxResults=5{token}");
            let answer = server.ask(&query).await;
            let ids = crate::testing::texts(&answer, "networkInterfaceId");
            assert_eq!(ids.len(), page);
            told.extend(ids);
            token = format!("&NextToken={}", crate::testing::texts(&answer, "nextToken").concat());
        }
        assert_eq!(token, "&NextToken=");
        let all = server.ask_for("networkInterfaceId", "Action=DescribeNetworkInterfaces").await;
        assert_eq!(told, all);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            (
                "NetworkInterfaceId.1=eni-0",
                "400 InvalidNetworkInterfaceID.NotFound: The networkInterface ID 'eni-0' does not exist",
            ),
            (
                "NetworkInterfaceId.1=x",
                "400 InvalidNetworkInterfaceId.Malformed: Invalid id: \"x\" (expecting \"eni-...\")",
            ),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeNetworkInterfaces&{query}")).await, fault);
        }
    }
}
