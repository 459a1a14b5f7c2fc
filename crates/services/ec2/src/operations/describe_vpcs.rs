//! DescribeVpcs: tells the VPCs of the account and region. Source: Amazon EC2 API reference, "DescribeVpcs".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::DescribeVpcs;
use api::ec2::{DescribeVpcsRequest, DescribeVpcsResult};
use domain::Vpc;
use store::Key;
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::vpc::{self, KIND};

impl Operation<DescribeVpcs> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeVpcsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeVpcs", "*")]
    }

    async fn handle(&self, call: &Call, input: DescribeVpcsRequest) -> Result<DescribeVpcsResult, Fault> {
        self.default_vpc(call).await?;
        let snapshot = self.store.snapshot();
        let rows = snapshot.scan::<Vpc>(Key::prefix(&call.scope, &[]), None);
        let rows: Vec<Vpc> = rows.map(|row| Vpc::clone(&row)).collect();
        let question = Question {
            dry_run: input.dry_run,
            ids: input.vpc_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeVpcsResult {
            next_token: page.next_token,
            vpcs: Some(page.rows.iter().map(vpc::describe).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn the_default_vpc_is_there() {
        let server = Server::new();
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <vpcSet>
                <item>
                  <cidrBlock>172.31.0.0/16</cidrBlock>
                  <cidrBlockAssociationSet>
                    <item>
                      <associationId>vpc-cidr-assoc-e8349d4ecdbc8b0f4</associationId>
                      <cidrBlock>172.31.0.0/16</cidrBlock>
                      <cidrBlockState>
                        <state>associated</state>
                      </cidrBlockState>
                    </item>
                  </cidrBlockAssociationSet>
                  <dhcpOptionsId>dopt-99a0dfa60568e28ab</dhcpOptionsId>
                  <instanceTenancy>default</instanceTenancy>
                  <isDefault>true</isDefault>
                  <ownerId>123456789012</ownerId>
                  <state>available</state>
                  <vpcId>vpc-befba86ae9e0c2078</vpcId>
                </item>
              </vpcSet>
            </DescribeVpcsResponse>"#]]
        .assert_eq(&server.ask("Action=DescribeVpcs").await);
        let id = server.default_vpc().await.vpc.id;
        assert_eq!(server.ask_for("vpcId", &format!("Action=DescribeVpcs&VpcId.1={id}")).await, [id]);
    }

    #[tokio::test]
    async fn filters_pick() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc;
        for (name, value) in [
            ("isDefault", "true"),
            ("is-default", "true"),
            ("cidr", "172.31.0.0/16"),
            ("cidr-block-association.cidr-block", "172.31.*"),
            ("cidr-block-association.association-id", &vpc.cidr_association_id),
            ("cidr-block-association.state", "associated"),
            ("dhcp-options-id", &vpc.dhcp_options_id),
            ("owner-id", "123456789012"),
            ("state", "available"),
            ("vpc-id", &vpc.id),
        ] {
            let ask = |value: &str| {
                let query = format!("Action=DescribeVpcs&Filter.1.Name={name}&Filter.1.Value.1={value}");
                async { server.ask_for("vpcId", &{ query }).await }
            };
            assert_eq!(ask(value).await, std::slice::from_ref(&vpc.id), "{name}");
            assert_eq!(ask("nothing-like-it").await, [""; 0], "{name}");
        }
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            ("VpcId.1=vpc-0", "400 InvalidVpcID.NotFound: The vpc ID 'vpc-0' does not exist"),
            ("VpcId.1=x", "400 InvalidVpcID.Malformed: Invalid id: \"x\" (expecting \"vpc-...\")"),
            ("Filter.1.Name=x&Filter.1.Value.1=y", "400 InvalidParameterValue: The filter 'x' is invalid"),
            (
                "Filter.1.Name=state",
                "400 MissingParameter: The request must contain the parameter Filter.Value",
            ),
            ("NextToken=x", "400 InvalidParameterValue: Unable to parse pagination token"),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeVpcs&{query}")).await, fault);
        }
    }

    #[tokio::test]
    async fn every_region_has_a_vpc_of_its_own_until_the_networks_end() {
        let server = Server::new();
        let mut cidrs = server.ask_for("cidrBlock", "Action=DescribeVpcs").await;
        cidrs.extend(server.ask_in("eu-west-1", "cidrBlock", "Action=DescribeVpcs").await);
        cidrs.dedup();
        assert_eq!(cidrs, ["172.31.0.0/16", "172.30.0.0/16"]);
        let code = server.ask_in("eu-west-2", "Code", "Action=DescribeVpcs").await;
        assert_eq!(code, ["VpcLimitExceeded"]);
    }
}
