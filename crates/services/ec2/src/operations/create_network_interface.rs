//! CreateNetworkInterface: makes a network interface in a subnet, which nothing has yet. Source: Amazon EC2 API reference, "CreateNetworkInterface".
//!
//! Differs from AWS: an interface has one private IPv4 address. There are no prefixes, no connection tracking timeouts, and no
//! special kinds of interfaces. It is available at once. `ClientToken` does not keep a call from being done twice.

use api::ec2::operations::CreateNetworkInterface;
use api::ec2::{CreateNetworkInterfaceRequest, CreateNetworkInterfaceResult, PrivateIpAddressSpecification};
use wire::{Call, Fault, Operation, Permission};

use std::net::Ipv4Addr;
use std::sync::Arc;

use domain::{NetworkInterface, Subnet};
use store::{Key, Transaction};

use crate::resources::network_interface::{self, DescribedInterface, Ipv6Wanted, NewInterface};
use crate::resources::tag::{self, TaggedKind};
use crate::resources::{resource_arn, subnet};
use crate::{Ec2, faults};

/// Source: "Amazon VPC quotas", network interfaces per Region. Those of tasks and load balancers count, and are not refused.
const INTERFACES_MAXIMUM: usize = 5_000;

impl Operation<CreateNetworkInterface> for Ec2 {
    fn permissions(&self, call: &Call, input: &CreateNetworkInterfaceRequest) -> Vec<Permission> {
        vec![
            Permission::new("ec2:CreateNetworkInterface", resource_arn(call, "network-interface", Some("*"))),
            Permission::new(
                "ec2:CreateNetworkInterface",
                resource_arn(call, "subnet", input.subnet_id.as_deref()),
            ),
        ]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateNetworkInterfaceRequest,
    ) -> Result<CreateNetworkInterfaceResult, Fault> {
        check_unsupported(&input)?;
        let subnet_id = input.subnet_id.unwrap_or_default();
        let description = input.description.unwrap_or_default();
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::NetworkInterface)?;
        let groups = input.groups.unwrap_or_default();
        let address = one_address(input.private_ip_address, input.private_ip_addresses)?;
        let ipv6: Vec<String> = input
            .ipv6_addresses
            .unwrap_or_default()
            .into_iter()
            .filter_map(|asked| asked.ipv6_address)
            .collect();
        let wanted = Ipv6Wanted::parse(input.ipv6_address_count, &ipv6)?;
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let subnet = subnet::KIND.find::<Subnet>(snapshot, &call.scope, &subnet_id)?;
                let all = snapshot.scan::<NetworkInterface>(Key::prefix(&call.scope, &[]), None);
                if all.count() >= INTERFACES_MAXIMUM {
                    let message = "The maximum number of network interfaces has been reached.";
                    return Err(Fault::new("NetworkInterfaceLimitExceeded", message, 400));
                }
                let groups = network_interface::groups(snapshot, &subnet.scope, &subnet.vpc, &groups)?;
                let new =
                    NewInterface { address, groups, description: description.clone(), tags: tags.clone() };
                let mut made = new.make(snapshot, call, &subnet, &*self.ids)?;
                let ipv6 = wanted.or_one(subnet.assign_ipv6_address_on_creation);
                made.ipv6_addresses = ipv6.choose(snapshot, &subnet, &*self.ids)?;
                let mut transaction = Transaction::new();
                transaction.require_unchanged(&subnet).insert(made.clone());
                Ok((transaction, made))
            })
            .await?;
        let described = DescribedInterface::of(&self.store.snapshot(), Arc::new(made));
        Ok(CreateNetworkInterfaceResult {
            client_token: input.client_token,
            network_interface: Some(network_interface::describe(&described)),
        })
    }
}

fn check_unsupported(input: &CreateNetworkInterfaceRequest) -> Result<(), Fault> {
    let refused = [
        ("ConnectionTrackingSpecification", input.connection_tracking_specification.is_some()),
        ("EnablePrimaryIpv6", input.enable_primary_ipv6 == Some(true)),
        ("InterfaceType", input.interface_type.is_some()),
        ("Ipv4PrefixCount", input.ipv4_prefix_count.is_some_and(|count| count > 0)),
        ("Ipv4Prefixes", input.ipv4_prefixes.is_some()),
        ("Ipv6PrefixCount", input.ipv6_prefix_count.is_some_and(|count| count > 0)),
        ("Ipv6Prefixes", input.ipv6_prefixes.is_some()),
        ("Operator", input.operator.is_some()),
        (
            "SecondaryPrivateIpAddressCount",
            input.secondary_private_ip_address_count.is_some_and(|count| count > 0),
        ),
    ];
    match refused.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(faults::unsupported(format!("{name} is not supported."))),
        None => Ok(()),
    }
}

/// The primary address, in whichever form it is asked for.
fn one_address(
    address: Option<String>,
    addresses: Option<Vec<PrivateIpAddressSpecification>>,
) -> Result<Option<Ipv4Addr>, Fault> {
    let addresses = addresses.unwrap_or_default();
    if addresses.len() + usize::from(address.is_some()) > 1 {
        return Err(faults::unsupported("Secondary private addresses are not supported."));
    }
    let text = address.or_else(|| addresses.into_iter().next().and_then(|asked| asked.private_ip_address));
    text.map(|text| network_interface::ipv4_address(&text)).transpose()
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_region_has_so_many_at_most() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let subnet = server.create_subnet(&vpc, "10.0.0.0/24").await;
        let query = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
        server.ask(&query).await;
        let snapshot = server.store.snapshot();
        let made =
            snapshot.scan::<domain::NetworkInterface>(store::Prefix::everything(), None).next().unwrap();
        let mut transaction = store::Transaction::new();
        for number in 1..super::INTERFACES_MAXIMUM {
            let id = format!("eni-{number:017}");
            let private_address = std::net::Ipv4Addr::from(0x0b00_0000 + u32::try_from(number).unwrap());
            transaction.insert(domain::NetworkInterface {
                id,
                private_address,
                ..domain::NetworkInterface::clone(&made)
            });
        }
        server.store.transact(transaction).await.unwrap();
        assert_eq!(
            server.fault(&query).await,
            "400 NetworkInterfaceLimitExceeded: The maximum number of network interfaces has been reached."
        );
    }

    #[tokio::test]
    async fn an_interface_is_made() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let subnet = server.create_subnet(&vpc, "10.0.0.0/28").await;
        let query = format!(
            "Action=CreateNetworkInterface&SubnetId={subnet}&Description=spare&PrivateIpAddress=10.0.0.9\
             &TagSpecification.1.ResourceType=network-interface&TagSpecification.1.Tag.1.Key=a"
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateNetworkInterfaceResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <networkInterface>
                <availabilityZone>us-east-1a</availabilityZone>
                <availabilityZoneId>use1-az1</availabilityZoneId>
                <description>spare</description>
                <groupSet>
                  <item>
                    <groupId>sg-2eb7c239c856da603</groupId>
                    <groupName>default</groupName>
                  </item>
                </groupSet>
                <interfaceType>interface</interfaceType>
                <ipv6AddressesSet></ipv6AddressesSet>
                <macAddress>02:0e:4c:df:3a:53</macAddress>
                <networkInterfaceId>eni-0e4cdf3a53712b6aa</networkInterfaceId>
                <operator>
                  <managed>false</managed>
                </operator>
                <ownerId>123456789012</ownerId>
                <privateDnsName>ip-10-0-0-9.ec2.internal</privateDnsName>
                <privateIpAddress>10.0.0.9</privateIpAddress>
                <privateIpAddressesSet>
                  <item>
                    <primary>true</primary>
                    <privateDnsName>ip-10-0-0-9.ec2.internal</privateDnsName>
                    <privateIpAddress>10.0.0.9</privateIpAddress>
                  </item>
                </privateIpAddressesSet>
                <requesterManaged>false</requesterManaged>
                <sourceDestCheck>true</sourceDestCheck>
                <status>available</status>
                <subnetId>subnet-b13528074445fc105</subnetId>
                <tagSet>
                  <item>
                    <key>a</key>
                    <value></value>
                  </item>
                </tagSet>
                <vpcId>vpc-822d5fe3b5885a806</vpcId>
              </networkInterface>
            </CreateNetworkInterfaceResponse>"#]]
        .assert_eq(&server.ask(&query).await);
        let of_subnet = format!("Action=DescribeSubnets&SubnetId.1={subnet}");
        assert_eq!(server.ask_for("availableIpAddressCount", &of_subnet).await, ["10"]);
        for number in 0..10 {
            let query = format!("Action=CreateNetworkInterface&SubnetId={subnet}&Description={number}");
            server.done(&query).await;
        }
        let full = server.fault(&format!("Action=CreateNetworkInterface&SubnetId={subnet}")).await;
        assert!(full.starts_with("400 InsufficientFreeAddressesInSubnet: "), "{full}");
    }

    #[tokio::test]
    async fn ipv6_addresses_are_given_or_chosen() {
        let server = Server::new();
        let mut subnet = server.default_vpc().await.subnets[0].clone();
        subnet.ipv6 = Some(domain::Ipv6CidrAssociation {
            id: "subnet-cidr-assoc-1".to_owned(),
            cidr: "fd00:1:2:3::/64".parse().unwrap(),
        });
        subnet.assign_ipv6_address_on_creation = true;
        server.put(subnet.clone()).await;
        let create = format!("Action=CreateNetworkInterface&SubnetId={}", subnet.id);
        for (query, count) in [("", 1), ("&Ipv6AddressCount=0", 0), ("&Ipv6AddressCount=2", 2)] {
            let made = server.ask_for("ipv6Address", &format!("{create}{query}")).await;
            // One is also told as the primary one's own element.
            assert_eq!(made.len(), count + usize::from(count > 0), "{query}");
        }
        let given = format!("{create}&Ipv6Addresses.1.Ipv6Address=fd00:1:2:3::7");
        assert!(server.ask_for("ipv6Address", &given).await.contains(&"fd00:1:2:3::7".to_owned()));
        assert!(server.fault(&given).await.starts_with("400 InvalidIPAddress.InUse: "));
        let outside = server.fault(&format!("{create}&Ipv6Addresses.1.Ipv6Address=fd00::7")).await;
        assert!(outside.starts_with("400 InvalidParameterValue: "), "{outside}");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let subnet = server.create_subnet(&vpc, "10.0.0.0/24").await;
        let far = server.default_vpc().await.security_group.id;
        server
            .done(&format!("Action=CreateNetworkInterface&SubnetId={subnet}&PrivateIpAddress=10.0.0.9"))
            .await;
        let six: String = (1..=6)
            .map(|number| format!("&SecurityGroupId.{number}=sg-{number}"))
            .collect::<Vec<_>>()
            .concat();
        for (query, fault) in [
            ("&PrivateIpAddress=10.0.0.9", "400 InvalidIPAddress.InUse: Address 10.0.0.9 is in use."),
            (
                "&PrivateIpAddress=10.0.1.9",
                "400 InvalidParameterValue: Address does not fall within the subnet",
            ),
            (
                "&PrivateIpAddress=10.0.0.2",
                "400 InvalidParameterValue: Address is in subnet's reserved address range",
            ),
            ("&PrivateIpAddress=x", "400 InvalidParameterValue: "),
            (
                "&SecurityGroupId.1=sg-0",
                "400 InvalidGroup.NotFound: The security group 'sg-0' does not exist",
            ),
            (
                &format!("&SecurityGroupId.1={far}"),
                "400 InvalidGroup.NotFound: You have specified two resources that belong to different networks.",
            ),
            (&six, "400 SecurityGroupsPerInterfaceLimitExceeded: "),
            ("&SecondaryPrivateIpAddressCount=1", "400 UnsupportedOperation: SecondaryPrivateIpAddressCount"),
            ("&InterfaceType=efa", "400 UnsupportedOperation: InterfaceType"),
            ("&Ipv6AddressCount=1", "400 InvalidParameterValue: "),
            ("&DryRun=true", "412 DryRunOperation: "),
        ] {
            let found =
                server.fault(&format!("Action=CreateNetworkInterface&SubnetId={subnet}{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let found = server.fault("Action=CreateNetworkInterface&SubnetId=subnet-0").await;
        assert_eq!(found, "400 InvalidSubnetID.NotFound: The subnet ID 'subnet-0' does not exist");
    }
}
