//! CreateSubnet: makes a subnet of a VPC. Source: Amazon EC2 API reference, "CreateSubnet".
//!
//! Differs from AWS: a subnet is available at once. There are no IPAM pools, no Outposts, and no subnets with IPv6 addresses alone.

use api::ec2::operations::CreateSubnet;
use api::ec2::{CreateSubnetRequest, CreateSubnetResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{Ipv6CidrAssociation, Subnet, Vpc};
use store::Transaction;

use crate::resources::subnet::{self, DescribedSubnet};
use crate::resources::tag::{self, TaggedKind};
use crate::resources::{resource_arn, vpc};
use crate::{Ec2, faults};

impl Operation<CreateSubnet> for Ec2 {
    fn permissions(&self, call: &Call, input: &CreateSubnetRequest) -> Vec<Permission> {
        vec![
            Permission::new("ec2:CreateSubnet", resource_arn(call, "subnet", Some("*"))),
            Permission::new("ec2:CreateSubnet", resource_arn(call, "vpc", input.vpc_id.as_deref())),
        ]
    }

    async fn handle(&self, call: &Call, input: CreateSubnetRequest) -> Result<CreateSubnetResult, Fault> {
        let vpc_id = input.vpc_id.unwrap_or_default();
        if let Some(pool) = input.ipv4_ipam_pool_id.as_ref().or(input.ipv6_ipam_pool_id.as_ref()) {
            let message = format!("The ipam-pool ID '{pool}' does not exist");
            return Err(Fault::new("InvalidIpamPoolId.NotFound", message, 400));
        }
        if input.ipv4_netmask_length.is_some() || input.ipv6_netmask_length.is_some() {
            return Err(faults::invalid_combination("A netmask length needs an IPAM pool."));
        }
        if input.ipv6_native == Some(true) {
            return Err(faults::unsupported("Subnets with IPv6 addresses alone are not supported."));
        }
        if input.outpost_arn.is_some() {
            return Err(faults::unsupported("There are no Outposts."));
        }
        let cidr = subnet::cidr(input.cidr_block.as_deref().ok_or_else(|| faults::missing("cidrBlock"))?)?;
        let ipv6_cidr = input.ipv6_cidr_block.as_deref().map(subnet::ipv6_cidr).transpose()?;
        let zone =
            subnet::zone(call, input.availability_zone.as_deref(), input.availability_zone_id.as_deref())?;
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::Subnet)?;
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let vpc = vpc::KIND.find::<Vpc>(snapshot, &call.scope, &vpc_id)?;
                subnet::check_free(snapshot, &vpc, cidr)?;
                if let Some(cidr) = &ipv6_cidr {
                    subnet::check_ipv6_free(snapshot, &vpc, cidr)?;
                }
                let made = Subnet {
                    scope: call.scope.clone(),
                    id: format!("subnet-{}", self.ids.hex(17)),
                    vpc: vpc_id.clone(),
                    cidr,
                    ipv6: ipv6_cidr.map(|cidr| Ipv6CidrAssociation {
                        id: format!("subnet-cidr-assoc-{}", self.ids.hex(17)),
                        cidr,
                    }),
                    assign_ipv6_address_on_creation: false,
                    availability_zone: zone.name.clone(),
                    availability_zone_id: zone.id.clone(),
                    default_for_az: false,
                    map_public_ip_on_launch: false,
                    tags: tags.clone(),
                };
                let mut transaction = Transaction::new();
                transaction.require_unchanged(&vpc).insert(made.clone());
                Ok((transaction, made))
            })
            .await?;
        Ok(CreateSubnetResult { subnet: Some(subnet::describe(&DescribedSubnet::new_one(made))) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_subnet_is_made() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let query = format!(
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.1.9/28&AvailabilityZone=us-east-1b\
             &TagSpecification.1.ResourceType=subnet&TagSpecification.1.Tag.1.Key=Name"
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateSubnetResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <subnet>
                <assignIpv6AddressOnCreation>false</assignIpv6AddressOnCreation>
                <availabilityZone>us-east-1b</availabilityZone>
                <availabilityZoneId>use1-az2</availabilityZoneId>
                <availableIpAddressCount>11</availableIpAddressCount>
                <cidrBlock>10.0.1.0/28</cidrBlock>
                <defaultForAz>false</defaultForAz>
                <enableDns64>false</enableDns64>
                <ipv6CidrBlockAssociationSet></ipv6CidrBlockAssociationSet>
                <ipv6Native>false</ipv6Native>
                <mapCustomerOwnedIpOnLaunch>false</mapCustomerOwnedIpOnLaunch>
                <mapPublicIpOnLaunch>false</mapPublicIpOnLaunch>
                <ownerId>123456789012</ownerId>
                <privateDnsNameOptionsOnLaunch>
                  <enableResourceNameDnsAAAARecord>false</enableResourceNameDnsAAAARecord>
                  <enableResourceNameDnsARecord>false</enableResourceNameDnsARecord>
                  <hostnameType>ip-name</hostnameType>
                </privateDnsNameOptionsOnLaunch>
                <state>available</state>
                <subnetArn>arn:aws:ec2:us-east-1:123456789012:subnet/subnet-b13528074445fc105</subnetArn>
                <subnetId>subnet-b13528074445fc105</subnetId>
                <tagSet>
                  <item>
                    <key>Name</key>
                    <value></value>
                  </item>
                </tagSet>
                <vpcId>vpc-822d5fe3b5885a806</vpcId>
              </subnet>
            </CreateSubnetResponse>"#]]
        .assert_eq(&server.ask(&query).await);
        let by_id =
            format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.2.0/24&AvailabilityZoneId=use1-az3");
        assert_eq!(server.ask_for("availabilityZone", &by_id).await, ["us-east-1c"]);
        let plain = format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.3.0/24");
        assert_eq!(server.ask_for("availabilityZone", &plain).await, ["us-east-1a"]);
    }

    #[tokio::test]
    async fn ipv6_addresses_are_some_of_the_vpcs() {
        let server = Server::new();
        let query = "Action=CreateVpc&CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true";
        let answer = server.ask(query).await;
        let text = |name| crate::testing::texts(&answer, name).concat();
        let (vpc, of_vpc) = (text("vpcId"), text("ipv6CidrBlock"));
        let of_subnet = of_vpc.replace("::/56", "::/64");
        let create = |cidr: &str, ipv6: &str| {
            format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock={cidr}&Ipv6CidrBlock={ipv6}")
        };
        let made = server.ask_for("ipv6CidrBlock", &create("10.0.0.0/24", &of_subnet)).await;
        assert_eq!(made, [of_subnet.as_str()]);
        for (ipv6, fault) in [
            (of_subnet.as_str(), "400 InvalidSubnet.Conflict: The IPv6 CIDR"),
            ("fd00:1234::/64", "400 InvalidSubnet.Range: The IPv6 CIDR"),
            ("fd00:1234::/65", "400 InvalidParameterValue: "),
        ] {
            let found = server.fault(&create("10.0.1.0/24", ipv6)).await;
            assert!(found.starts_with(fault), "{found}");
        }
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/20").await;
        server.create_subnet(&vpc, "10.0.0.0/24").await;
        for (query, fault) in [
            ("", "400 MissingParameter: The request must contain the parameter cidrBlock"),
            ("CidrBlock=x", "400 InvalidParameterValue: Value (x) for parameter cidrBlock is invalid."),
            (
                "CidrBlock=10.0.0.128/25",
                "400 InvalidSubnet.Conflict: The CIDR '10.0.0.128/25' conflicts with another subnet",
            ),
            ("CidrBlock=10.0.0.0/16", "400 InvalidSubnet.Range: The CIDR '10.0.0.0/16' is invalid."),
            ("CidrBlock=10.1.0.0/24", "400 InvalidSubnet.Range: The CIDR '10.1.0.0/24' is invalid."),
            ("CidrBlock=10.0.1.0/29", "400 InvalidSubnet.Range: The CIDR '10.0.1.0/29' is invalid."),
            (
                "CidrBlock=10.0.1.0/24&AvailabilityZone=us-east-1z",
                "400 InvalidParameterValue: Value (us-east-1z) for parameter availabilityZone is invalid. Subnets can \
                 currently only be created in the following availability zones: us-east-1a, us-east-1b, us-east-1c.",
            ),
            ("CidrBlock=10.0.1.0/24&Ipv6Native=true", "400 UnsupportedOperation: "),
            ("CidrBlock=10.0.1.0/24&Ipv4IpamPoolId=x", "400 InvalidIpamPoolId.NotFound: "),
            ("CidrBlock=10.0.1.0/24&DryRun=true", "412 DryRunOperation: "),
        ] {
            let found = server.fault(&format!("Action=CreateSubnet&VpcId={vpc}&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let found = server.fault("Action=CreateSubnet&VpcId=vpc-0&CidrBlock=10.0.0.0/24").await;
        assert_eq!(found, "400 InvalidVpcID.NotFound: The vpc ID 'vpc-0' does not exist");
    }
}
