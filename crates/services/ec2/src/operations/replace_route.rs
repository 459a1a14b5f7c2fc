//! ReplaceRoute: gives a route of a route table another target. Source: Amazon EC2 API reference, "ReplaceRoute".
//!
//! Differs from AWS: as for CreateRoute.

use api::ec2::ReplaceRouteRequest;
use api::ec2::operations::ReplaceRoute;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::RouteTable;
use store::Transaction;

use crate::resources::resource_arn;
use crate::resources::route_table::{self, AskedDestination, AskedTarget};
use crate::{Ec2, faults};

impl Operation<ReplaceRoute> for Ec2 {
    fn permissions(&self, call: &Call, input: &ReplaceRouteRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:ReplaceRoute",
            resource_arn(call, "route-table", input.route_table_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: ReplaceRouteRequest) -> Result<Unit, Fault> {
        if input.local_target == Some(true) {
            return Err(faults::unsupported("A local route always leads to the VPC here."));
        }
        let id = input.route_table_id.unwrap_or_default();
        let asked = AskedDestination {
            ipv4: input.destination_cidr_block,
            ipv6: input.destination_ipv6_cidr_block,
            prefix_list: input.destination_prefix_list_id,
        };
        let (destination, text) = asked.parse()?;
        let target = AskedTarget {
            gateway: input.gateway_id,
            nat_gateway: input.nat_gateway_id,
            network_interface: input.network_interface_id,
            others: vec![
                ("carrier gateway ID", "InvalidCarrierGatewayID.NotFound", input.carrier_gateway_id),
                ("core network", "InvalidCoreNetworkArn.NotFound", input.core_network_arn),
                (
                    "egress only gateway ID",
                    "InvalidGatewayID.NotFound",
                    input.egress_only_internet_gateway_id,
                ),
                ("instance ID", "InvalidInstanceID.NotFound", input.instance_id),
                ("local gateway ID", "InvalidLocalGatewayID.NotFound", input.local_gateway_id),
                ("ODB network", "InvalidOdbNetworkArn.NotFound", input.odb_network_arn),
                ("transitGateway ID", "InvalidTransitGatewayID.NotFound", input.transit_gateway_id),
                ("vpcEndpoint ID", "InvalidVpcEndpointId.NotFound", input.vpc_endpoint_id),
                (
                    "vpcPeeringConnection ID",
                    "InvalidVpcPeeringConnectionID.NotFound",
                    input.vpc_peering_connection_id,
                ),
            ],
        };
        self.change(call, input.dry_run, |snapshot| {
            let read = route_table::KIND.find::<RouteTable>(snapshot, &call.scope, &id)?;
            let target = target.parse(snapshot, &read)?;
            let mut table = RouteTable::clone(&read);
            let route = table.routes.iter_mut().find(|route| route.destination == destination);
            let missing = || {
                let message = format!(
                    "There is no route defined for '{text}' in the route table. Use CreateRoute instead."
                );
                faults::invalid_value(message)
            };
            route.ok_or_else(missing)?.target = target;
            let mut transaction = Transaction::new();
            transaction.replace(&read, table);
            Ok((transaction, ()))
        })
        .await?;
        Ok(Unit::default())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_route_gets_another_target() {
        let server = Server::new();
        let made = server.default_vpc().await;
        let table = server.main_route_table(&made.vpc.id).await;
        let nat = format!("Action=CreateNatGateway&SubnetId={}&ConnectivityType=private", made.subnets[0].id);
        let nat = server.ask_for("natGatewayId", &nat).await.concat();
        let replace = format!("Action=ReplaceRoute&RouteTableId={table}&NatGatewayId={nat}");
        server.done(&format!("{replace}&DestinationCidrBlock=0.0.0.0/0")).await;
        let described = format!("Action=DescribeRouteTables&RouteTableId.1={table}");
        assert_eq!(server.ask_for("natGatewayId", &described).await, [nat]);
        for (query, fault) in [
            (
                "DestinationCidrBlock=1.0.0.0/8",
                "400 InvalidParameterValue: There is no route defined for '1.0.0.0/8' in the route table. Use \
                 CreateRoute instead.",
            ),
            ("DestinationCidrBlock=172.31.0.0/16&LocalTarget=true", "400 UnsupportedOperation: "),
        ] {
            let found = server.fault(&format!("{replace}&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
