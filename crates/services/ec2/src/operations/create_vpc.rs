//! CreateVpc: makes a VPC, with its default security group, main route table and network ACL. Source: Amazon EC2 API reference, "CreateVpc".
//!
//! Differs from AWS: a VPC is available at once. No two VPCs of the machine, of whatever account and region, can have the same
//! addresses, nor such as the machine routes elsewhere: InvalidVpc.Range says so (`decisions/0019`). IPv6 addresses that
//! AWS would provide are unique local ones (RFC 4193). There are no IPAM pools and no dedicated hardware.

use api::ec2::operations::CreateVpc;
use api::ec2::{CreateVpcRequest, CreateVpcResult};
use wire::{Call, Fault, Operation, Permission};

use base::Ipv4Cidr;
use store::{Transaction, rows_vpc};

use crate::resources::tag::{self, TaggedKind};
use crate::resources::{resource_arn, vpc};
use crate::{Ec2, faults};

impl Operation<CreateVpc> for Ec2 {
    fn permissions(&self, call: &Call, _input: &CreateVpcRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:CreateVpc", resource_arn(call, "vpc", Some("*")))]
    }

    async fn handle(&self, call: &Call, input: CreateVpcRequest) -> Result<CreateVpcResult, Fault> {
        let cidr = wanted_cidr(&input)?;
        check_unsupported(&input)?;
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::Vpc)?;
        let has_ipv6 = input.amazon_provided_ipv6_cidr_block == Some(true);
        let made = self
            .with_claim(Some(cidr), async |taken| {
                self.change(call, input.dry_run, |snapshot| {
                    vpc::check_free(snapshot, &call.scope, cidr, taken)?;
                    vpc::check_quota(snapshot, &call.scope)?;
                    let options = vpc::dhcp_options_id(snapshot, &call.scope);
                    let mut made = domain::new_vpc(&call.scope, cidr, options, &*self.ids);
                    made.vpc.tags.clone_from(&tags);
                    if has_ipv6 {
                        made.vpc.ipv6 = Some(vpc::new_ipv6(snapshot, &*self.ids));
                        made.security_group.rules.extend(domain::to_everyone_ipv6(&*self.ids));
                    }
                    let mut transaction = Transaction::new();
                    rows_vpc::take_vpc_cidr(snapshot, &mut transaction, &made.vpc);
                    transaction.insert(made.vpc.clone()).insert(made.security_group).insert(made.route_table);
                    Ok((transaction, made.vpc))
                })
                .await
            })
            .await?;
        Ok(CreateVpcResult { vpc: Some(vpc::describe(&made)) })
    }
}

fn wanted_cidr(input: &CreateVpcRequest) -> Result<Ipv4Cidr, Fault> {
    if let Some(pool) = input.ipv4_ipam_pool_id.as_ref().or(input.ipv6_ipam_pool_id.as_ref()) {
        let message = format!("The ipam-pool ID '{pool}' does not exist");
        return Err(Fault::new("InvalidIpamPoolId.NotFound", message, 400));
    }
    if input.ipv4_netmask_length.is_some() || input.ipv6_netmask_length.is_some() {
        return Err(faults::invalid_combination("A netmask length needs an IPAM pool."));
    }
    let text = input.cidr_block.as_deref().ok_or_else(|| faults::missing("cidrBlock"))?;
    vpc::cidr(text)
}

fn check_unsupported(input: &CreateVpcRequest) -> Result<(), Fault> {
    if let Some(pool) = &input.ipv6_pool {
        let message = format!("The pool ID '{pool}' does not exist.");
        return Err(Fault::new("InvalidPoolID.NotFound", message, 400));
    }
    if input.ipv6_cidr_block.is_some() {
        return Err(faults::invalid_combination("ipv6CidrBlock needs ipv6Pool or ipv6IpamPoolId."));
    }
    if input.instance_tenancy.as_deref().is_some_and(|tenancy| tenancy != "default") {
        return Err(faults::unsupported(
            "The instance tenancy must be default: there is no dedicated hardware.",
        ));
    }
    if input.vpc_encryption_control.is_some() {
        return Err(faults::unsupported("VPC encryption control is not supported."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    const CREATE: &str = "Action=CreateVpc";

    #[tokio::test]
    async fn a_vpc_has_what_every_new_one_has() {
        let server = Server::new();
        let query = format!(
            "{CREATE}&CidrBlock=10.0.0.7/16&TagSpecification.1.ResourceType=vpc&TagSpecification.1.Tag.1.Key=Name\
             &TagSpecification.1.Tag.1.Value=main"
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateVpcResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <vpc>
                <cidrBlock>10.0.0.0/16</cidrBlock>
                <cidrBlockAssociationSet>
                  <item>
                    <associationId>vpc-cidr-assoc-8e1cc1a423dd9e1f6</associationId>
                    <cidrBlock>10.0.0.0/16</cidrBlock>
                    <cidrBlockState>
                      <state>associated</state>
                    </cidrBlockState>
                  </item>
                </cidrBlockAssociationSet>
                <dhcpOptionsId>dopt-99a0dfa60568e28ab</dhcpOptionsId>
                <instanceTenancy>default</instanceTenancy>
                <isDefault>false</isDefault>
                <ownerId>123456789012</ownerId>
                <state>available</state>
                <tagSet>
                  <item>
                    <key>Name</key>
                    <value>main</value>
                  </item>
                </tagSet>
                <vpcId>vpc-822d5fe3b5885a806</vpcId>
              </vpc>
            </CreateVpcResponse>"#]]
        .assert_eq(&server.ask(&query).await);
        let query = "Action=DescribeVpcs&Filter.1.Name=is-default&Filter.1.Value.1=false";
        let vpc = server.ask_for("vpcId", query).await.concat();
        let in_it = format!("Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}");
        let groups = format!("Action=DescribeSecurityGroups&{in_it}");
        assert_eq!(server.ask_for("groupName", &groups).await, ["default"]);
    }

    #[tokio::test]
    async fn ipv6_is_unique_and_local() {
        let server = Server::new();
        let create = |cidr: &str| format!("{CREATE}&CidrBlock={cidr}&AmazonProvidedIpv6CidrBlock=true");
        let one = server.ask_for("ipv6CidrBlock", &create("10.0.0.0/16")).await.concat();
        let other = server.ask_for("ipv6CidrBlock", &create("10.1.0.0/16")).await.concat();
        assert!(one.starts_with("fd") && one.ends_with("::/56") && one != other, "{one} {other}");
        let query = "Action=DescribeSecurityGroupRules";
        let everyone = server.ask_for("cidrIpv6", query).await;
        assert_eq!(everyone, ["::/0", "::/0"], "their default groups let all of it out");
    }

    #[tokio::test]
    async fn no_two_share_addresses_in_whatever_region() {
        let server = Server::new();
        let there = server.default_vpc().await.vpc.id;
        let fault = server.fault(&format!("{CREATE}&CidrBlock=172.31.128.0/17")).await;
        assert_eq!(
            fault,
            format!(
                "400 InvalidVpc.Range: The CIDR '172.31.128.0/17' overlaps 172.31.0.0/16 of {there} in us-east-1. All \
                 regions and accounts share this machine, and two of its VPCs cannot have the same addresses."
            )
        );
        server.create_vpc("10.0.0.0/16").await;
        assert!(
            server
                .fault(&format!("{CREATE}&CidrBlock=10.0.0.0/24"))
                .await
                .starts_with("400 InvalidVpc.Range: ")
        );
        let fault = server.fault(&format!("{CREATE}&CidrBlock=192.0.2.128/25")).await;
        assert!(fault.contains("which this machine routes elsewhere"), "{fault}");
    }

    #[tokio::test]
    async fn a_network_is_claimed_as_long_as_a_vpc_has_it() {
        let server = Server::new();
        server.default_vpc().await;
        let kept = server.create_vpc("10.0.0.0/16").await;
        let gone = server.create_vpc("10.1.0.0/16").await;
        let claimed = || server.claimed().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(claimed(), ["10.0.0.0/16", "10.1.0.0/16", "172.31.0.0/16"]);
        for refused in
            ["CidrBlock=10.0.0.0/24", "CidrBlock=10.2.0.0/16&DryRun=true", "CidrBlock=192.0.2.0/24"]
        {
            server.fault(&format!("{CREATE}&{refused}")).await;
            assert_eq!(claimed().len(), 3, "{refused}");
        }
        server.done(&format!("Action=DeleteVpc&VpcId={gone}")).await;
        assert_eq!(claimed(), ["10.0.0.0/16", "172.31.0.0/16"], "{kept} alone is left");
    }

    #[tokio::test]
    async fn there_are_at_most_five() {
        let server = Server::new();
        for second in 0..4 {
            server.create_vpc(&format!("10.{second}.0.0/16")).await;
        }
        let fault = server.fault(&format!("{CREATE}&CidrBlock=10.9.0.0/16")).await;
        assert_eq!(fault, "400 VpcLimitExceeded: The maximum number of VPCs has been reached.");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            ("", "400 MissingParameter: The request must contain the parameter cidrBlock"),
            ("CidrBlock=x", "400 InvalidParameterValue: Value (x) for parameter cidrBlock is invalid."),
            ("CidrBlock=10.0.0.0/15", "400 InvalidVpc.Range: The CIDR '10.0.0.0/15' is invalid."),
            ("CidrBlock=10.0.0.0/29", "400 InvalidVpc.Range: The CIDR '10.0.0.0/29' is invalid."),
            ("CidrBlock=127.0.0.0/16", "400 InvalidVpc.Range: The CIDR '127.0.0.0/16' is invalid."),
            ("CidrBlock=169.254.0.0/16", "400 InvalidVpc.Range: "),
            ("CidrBlock=224.0.0.0/16", "400 InvalidVpc.Range: "),
            ("CidrBlock=10.0.0.0/16&InstanceTenancy=dedicated", "400 UnsupportedOperation: "),
            ("CidrBlock=10.0.0.0/16&Ipv4IpamPoolId=ipam-pool-0", "400 InvalidIpamPoolId.NotFound: "),
            ("CidrBlock=10.0.0.0/16&Ipv6Pool=x&Ipv6CidrBlock=fd00::/56", "400 InvalidPoolID.NotFound: "),
            ("CidrBlock=10.0.0.0/16&Ipv6CidrBlock=fd00::/56", "400 InvalidParameterCombination: "),
            ("CidrBlock=10.0.0.0/16&DryRun=true", "412 DryRunOperation: "),
        ] {
            let found = server.fault(&format!("{CREATE}&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        assert_eq!(server.ask_for("vpcId", "Action=DescribeVpcs").await.len(), 1);
    }
}
