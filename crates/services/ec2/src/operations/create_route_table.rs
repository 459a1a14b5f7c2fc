//! CreateRouteTable: makes a route table for a VPC. Source: Amazon EC2 API reference, "CreateRouteTable".
//!
//! Differs from AWS: `ClientToken` does not keep a call from being done twice.

use api::ec2::operations::CreateRouteTable;
use api::ec2::{CreateRouteTableRequest, CreateRouteTableResult};
use wire::{Call, Fault, Operation, Permission};

use std::sync::Arc;

use domain::{RouteTable, Vpc};
use store::{Key, Transaction};

use crate::Ec2;
use crate::resources::route_table::{self, DescribedTable};
use crate::resources::tag::{self, TaggedKind};
use crate::resources::{resource_arn, vpc};

/// Source: "Amazon VPC quotas", route tables per VPC.
const TABLES_PER_VPC: usize = 200;

impl Operation<CreateRouteTable> for Ec2 {
    fn permissions(&self, call: &Call, input: &CreateRouteTableRequest) -> Vec<Permission> {
        vec![
            Permission::new("ec2:CreateRouteTable", resource_arn(call, "route-table", Some("*"))),
            Permission::new("ec2:CreateRouteTable", resource_arn(call, "vpc", input.vpc_id.as_deref())),
        ]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateRouteTableRequest,
    ) -> Result<CreateRouteTableResult, Fault> {
        let vpc_id = input.vpc_id.unwrap_or_default();
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::RouteTable)?;
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let vpc = vpc::KIND.find::<Vpc>(snapshot, &call.scope, &vpc_id)?;
                let known = snapshot.scan::<RouteTable>(Key::prefix(&call.scope, &[]), None);
                if known.filter(|table| table.vpc == vpc_id).count() >= TABLES_PER_VPC {
                    let message = "The maximum number of route tables has been reached.";
                    return Err(Fault::new("RouteTableLimitExceeded", message, 400));
                }
                let made = RouteTable {
                    scope: call.scope.clone(),
                    id: format!("rtb-{}", self.ids.hex(17)),
                    vpc: vpc_id.clone(),
                    routes: Vec::new(),
                    associations: Vec::new(),
                    tags: tags.clone(),
                };
                let mut transaction = Transaction::new();
                transaction.require_unchanged(&vpc).insert(made.clone());
                Ok((transaction, made))
            })
            .await?;
        let described = DescribedTable::of(&self.store.snapshot(), Arc::new(made));
        Ok(CreateRouteTableResult {
            client_token: input.client_token,
            route_table: Some(route_table::describe(&described)),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_table_has_the_local_route() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateRouteTableResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <routeTable>
                <associationSet></associationSet>
                <ownerId>123456789012</ownerId>
                <propagatingVgwSet></propagatingVgwSet>
                <routeTableId>rtb-b13528074445fc105</routeTableId>
                <routeSet>
                  <item>
                    <destinationCidrBlock>10.0.0.0/16</destinationCidrBlock>
                    <gatewayId>local</gatewayId>
                    <origin>CreateRouteTable</origin>
                    <state>active</state>
                  </item>
                </routeSet>
                <tagSet></tagSet>
                <vpcId>vpc-822d5fe3b5885a806</vpcId>
              </routeTable>
            </CreateRouteTableResponse>"#]]
        .assert_eq(&server.ask(&format!("Action=CreateRouteTable&VpcId={vpc}")).await);
        let of_vpc = format!("Action=DescribeRouteTables&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}");
        assert_eq!(server.ask_for("destinationCidrBlock", &of_vpc).await, ["10.0.0.0/16", "10.0.0.0/16"]);
        assert_eq!(server.ask_for("main", &of_vpc).await, ["true"]);
        let fault = server.fault("Action=CreateRouteTable&VpcId=vpc-0").await;
        assert_eq!(fault, "400 InvalidVpcID.NotFound: The vpc ID 'vpc-0' does not exist");
    }
}
