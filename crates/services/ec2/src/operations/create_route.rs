//! CreateRoute: adds a route to a route table. Source: Amazon EC2 API reference, "CreateRoute".
//!
//! Differs from AWS: a route leads to an internet or a NAT gateway: there are no other gateways here, and no instances that route.

use api::ec2::operations::CreateRoute;
use api::ec2::{CreateRouteRequest, CreateRouteResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{Route, RouteTable};
use store::Transaction;

use crate::Ec2;
use crate::resources::resource_arn;
use crate::resources::route_table::{self, AskedDestination, AskedTarget};

impl Operation<CreateRoute> for Ec2 {
    fn permissions(&self, call: &Call, input: &CreateRouteRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:CreateRoute",
            resource_arn(call, "route-table", input.route_table_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: CreateRouteRequest) -> Result<CreateRouteResult, Fault> {
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
            route_table::check_destination(snapshot, &read, &destination)?;
            let target = target.parse(snapshot, &read)?;
            if read.routes.iter().any(|route| route.destination == destination) {
                let message = format!("The route identified by {text} already exists.");
                return Err(Fault::new("RouteAlreadyExists", message, 400));
            }
            let mut table = RouteTable::clone(&read);
            table.routes.push(Route { destination: destination.clone(), target });
            route_table::check_count(snapshot, &table)?;
            let mut transaction = Transaction::new();
            transaction.replace(&read, table);
            Ok((transaction, ()))
        })
        .await?;
        Ok(CreateRouteResult { return_: Some(true) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_route_leads_to_the_gateway_until_that_is_detached() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let (table, gateway) = (server.main_route_table(&vpc).await, server.create_gateway(Some(&vpc)).await);
        let create = format!("Action=CreateRoute&RouteTableId={table}&GatewayId={gateway}");
        server.done(&format!("{create}&DestinationCidrBlock=0.0.0.0/0")).await;
        server.done(&format!("{create}&DestinationIpv6CidrBlock=::/0")).await;
        let of_vpc = format!("Action=DescribeRouteTables&RouteTableId.1={table}");
        assert_eq!(server.ask_for("gatewayId", &of_vpc).await, ["local", gateway.as_str(), gateway.as_str()]);
        assert_eq!(
            server.fault(&format!("{create}&DestinationCidrBlock=0.0.0.0/0")).await,
            "400 RouteAlreadyExists: The route identified by 0.0.0.0/0 already exists."
        );
        server.done(&format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}")).await;
        let states = server.ask_for("state", &of_vpc).await;
        assert_eq!(states, ["associated", "active", "blackhole", "blackhole"]);
    }

    #[tokio::test]
    async fn a_prefix_list_is_a_destination() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc.id;
        let table = server.main_route_table(&vpc).await;
        let list = server.create_prefix_list("IPv4", 2, &["192.0.2.0/24"]).await;
        let gateway = server.ask_for("internetGatewayId", "Action=DescribeInternetGateways").await.concat();
        let query = format!(
            "Action=CreateRoute&RouteTableId={table}&GatewayId={gateway}&DestinationPrefixListId={list}"
        );
        assert_eq!(server.ask_for("return", &query).await, ["true"]);
        let users = format!("Action=GetManagedPrefixListAssociations&PrefixListId={list}");
        assert_eq!(server.ask_for("resourceId", &users).await, [table]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let (table, loose) = (server.main_route_table(&vpc).await, server.create_gateway(None).await);
        let interface = server.add_interface([172, 31, 0, 9].into()).await.id;
        let everywhere = "DestinationCidrBlock=0.0.0.0/0";
        for (query, fault) in [
            (
                format!("GatewayId={loose}"),
                "400 MissingParameter: The request must contain the parameter destination",
            ),
            (everywhere.to_owned(), "400 MissingParameter: The request must contain the parameter gatewayId"),
            (format!("{everywhere}&GatewayId={loose}"), "400 InvalidParameterValue: route table rtb-"),
            (format!("{everywhere}&GatewayId=igw-0"), "400 InvalidInternetGatewayID.NotFound: "),
            (format!("{everywhere}&GatewayId=vgw-0"), "400 InvalidGatewayID.NotFound: "),
            (format!("{everywhere}&NatGatewayId=nat-0"), "400 InvalidNatGatewayID.NotFound: "),
            (format!("{everywhere}&NetworkInterfaceId={interface}"), "400 UnsupportedOperation: "),
            (format!("{everywhere}&TransitGatewayId=tgw-0"), "400 InvalidTransitGatewayID.NotFound: "),
            (
                format!("{everywhere}&VpcPeeringConnectionId=pcx-0"),
                "400 InvalidVpcPeeringConnectionID.NotFound: ",
            ),
            (
                format!("{everywhere}&GatewayId=igw-0&NatGatewayId=nat-0"),
                "400 InvalidParameterCombination: Only one target",
            ),
            (
                format!("{everywhere}&DestinationIpv6CidrBlock=::/0&GatewayId={loose}"),
                "400 InvalidParameterCombination: Only one destination",
            ),
            (
                format!("DestinationCidrBlock=x&GatewayId={loose}"),
                "400 InvalidParameterValue: Value (x) for parameter destinationCidrBlock is invalid.",
            ),
            (
                format!("DestinationCidrBlock=10.0.1.0/24&GatewayId={loose}"),
                "400 InvalidParameterValue: The destination CIDR block is equal to or more specific than",
            ),
            (format!("DestinationPrefixListId=pl-0&GatewayId={loose}"), "400 InvalidPrefixListID.NotFound: "),
        ] {
            let found = server.fault(&format!("Action=CreateRoute&RouteTableId={table}&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let found = server
            .fault(&format!("Action=CreateRoute&RouteTableId=rtb-0&{everywhere}&GatewayId={loose}"))
            .await;
        assert_eq!(found, "400 InvalidRouteTableID.NotFound: The routeTable ID 'rtb-0' does not exist");
    }
}
