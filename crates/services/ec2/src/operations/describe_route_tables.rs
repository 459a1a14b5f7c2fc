//! DescribeRouteTables: tells the route tables, with the local routes of their VPCs. Source: Amazon EC2 API reference, "DescribeRouteTables".
//!
//! Differs from AWS: what a route table says is not what packets do: all tasks reach the outside through the machine
//! (see the README).

use api::ec2::operations::DescribeRouteTables;
use api::ec2::{DescribeRouteTablesRequest, DescribeRouteTablesResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::route_table::{self, KIND};

impl Operation<DescribeRouteTables> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeRouteTablesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeRouteTables", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeRouteTablesRequest,
    ) -> Result<DescribeRouteTablesResult, Fault> {
        let rows = route_table::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.route_table_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeRouteTablesResult {
            next_token: page.next_token,
            route_tables: Some(page.rows.iter().map(route_table::describe).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn the_default_vpc_has_a_way_out() {
        let server = Server::new();
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeRouteTablesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <routeTableSet>
                <item>
                  <associationSet>
                    <item>
                      <associationState>
                        <state>associated</state>
                      </associationState>
                      <main>true</main>
                      <routeTableAssociationId>rtbassoc-3b3aa0e380555bed3</routeTableAssociationId>
                      <routeTableId>rtb-e91e87c92d25bde1b</routeTableId>
                    </item>
                  </associationSet>
                  <ownerId>123456789012</ownerId>
                  <propagatingVgwSet></propagatingVgwSet>
                  <routeTableId>rtb-e91e87c92d25bde1b</routeTableId>
                  <routeSet>
                    <item>
                      <destinationCidrBlock>172.31.0.0/16</destinationCidrBlock>
                      <gatewayId>local</gatewayId>
                      <origin>CreateRouteTable</origin>
                      <state>active</state>
                    </item>
                    <item>
                      <destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>
                      <gatewayId>igw-776fb75f29f82848a</gatewayId>
                      <origin>CreateRoute</origin>
                      <state>active</state>
                    </item>
                  </routeSet>
                  <tagSet></tagSet>
                  <vpcId>vpc-befba86ae9e0c2078</vpcId>
                </item>
              </routeTableSet>
            </DescribeRouteTablesResponse>"#]]
        .assert_eq(&server.ask("Action=DescribeRouteTables").await);
    }

    #[tokio::test]
    async fn filters_pick() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc.id;
        let table = server.main_route_table(&vpc).await;
        for (name, value, count) in [
            ("vpc-id", vpc.as_str(), 1),
            ("route-table-id", &table, 1),
            ("association.main", "true", 1),
            ("association.main", "false", 0),
            ("association.subnet-id", "*", 0),
            ("route.destination-cidr-block", "0.0.0.0/0", 1),
            ("route.gateway-id", "local", 1),
            ("route.gateway-id", "igw-*", 1),
            ("route.origin", "CreateRouteTable", 1),
            ("route.state", "blackhole", 0),
            ("route.nat-gateway-id", "*", 0),
            ("owner-id", "123456789012", 1),
        ] {
            let query = format!("Action=DescribeRouteTables&Filter.1.Name={name}&Filter.1.Value.1={value}");
            let found = server.ask(&query).await.matches("<associationSet>").count();
            assert_eq!(found, count, "{name}={value}");
        }
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let fault = server.fault("Action=DescribeRouteTables&RouteTableId.1=rtb-0").await;
        assert_eq!(fault, "400 InvalidRouteTableID.NotFound: The routeTable ID 'rtb-0' does not exist");
        let fault = server.fault("Action=DescribeRouteTables&RouteTableId.1=x").await;
        assert!(fault.starts_with("400 InvalidRouteTableId.Malformed: "), "{fault}");
    }
}
