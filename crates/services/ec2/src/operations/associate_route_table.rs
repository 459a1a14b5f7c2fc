//! AssociateRouteTable: makes a route table that of a subnet. Source: Amazon EC2 API reference, "AssociateRouteTable".
//!
//! Differs from AWS: gateways cannot have a route table.

use api::ec2::operations::AssociateRouteTable;
use api::ec2::{AssociateRouteTableRequest, AssociateRouteTableResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{RouteTable, RouteTableAssociation, Subnet};
use store::{Key, Transaction};

use crate::resources::{resource_arn, route_table, subnet};
use crate::{Ec2, faults};

impl Operation<AssociateRouteTable> for Ec2 {
    fn permissions(&self, call: &Call, input: &AssociateRouteTableRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:AssociateRouteTable",
            resource_arn(call, "route-table", input.route_table_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AssociateRouteTableRequest,
    ) -> Result<AssociateRouteTableResult, Fault> {
        if input.gateway_id.is_some() || input.public_ipv4_pool.is_some() {
            return Err(faults::unsupported("A route table can be associated with subnets alone."));
        }
        let (id, subnet_id) = (input.route_table_id.unwrap_or_default(), input.subnet_id);
        let subnet_id = subnet_id.ok_or_else(|| faults::missing("subnetId"))?;
        let association = format!("rtbassoc-{}", self.ids.hex(17));
        self.change(call, input.dry_run, |snapshot| {
            let read = route_table::KIND.find::<RouteTable>(snapshot, &call.scope, &id)?;
            let subnet = subnet::KIND.find::<Subnet>(snapshot, &call.scope, &subnet_id)?;
            if subnet.vpc != read.vpc {
                let message = format!("Route table {id} and subnet {subnet_id} belong to different networks");
                return Err(faults::invalid_value(message));
            }
            let all = snapshot.scan::<RouteTable>(Key::prefix(&call.scope, &[]), None);
            let mut taken = all.flat_map(|table| table.associations.clone());
            if taken.any(|one| one.subnet.as_ref() == Some(&subnet_id)) {
                let message = format!(
                    "the specified association for route table {id} conflicts with an existing association"
                );
                return Err(Fault::new("Resource.AlreadyAssociated", message, 400));
            }
            let mut table = RouteTable::clone(&read);
            let made = RouteTableAssociation { id: association.clone(), subnet: Some(subnet_id.clone()) };
            table.associations.push(made);
            let mut transaction = Transaction::new();
            transaction.require_unchanged(&subnet).replace(&read, table);
            Ok((transaction, ()))
        })
        .await?;
        Ok(AssociateRouteTableResult {
            association_id: Some(association),
            association_state: Some(route_table::associated()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_subnet_has_one_table_of_its_own() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let subnet = server.create_subnet(&vpc, "10.0.0.0/24").await;
        let (one, other) = (server.create_route_table(&vpc).await, server.create_route_table(&vpc).await);
        let associate = |table: &str, subnet: &str| {
            format!("Action=AssociateRouteTable&RouteTableId={table}&SubnetId={subnet}")
        };
        let id = server.ask_for("associationId", &associate(&one, &subnet)).await.concat();
        assert!(id.starts_with("rtbassoc-"));
        let of_subnet = format!(
            "Action=DescribeRouteTables&Filter.1.Name=association.subnet-id&Filter.1.Value.1={subnet}"
        );
        assert_eq!(server.ask_for("routeTableAssociationId", &of_subnet).await, [id]);
        let far = server.default_vpc().await.subnets[0].id.clone();
        for (query, fault) in [
            (associate(&other, &subnet), "400 Resource.AlreadyAssociated: "),
            (associate(&other, &far), "400 InvalidParameterValue: Route table rtb-"),
            (associate("rtb-0", &subnet), "400 InvalidRouteTableID.NotFound: "),
            (associate(&other, "subnet-0"), "400 InvalidSubnetID.NotFound: "),
            (format!("Action=AssociateRouteTable&RouteTableId={other}"), "400 MissingParameter: "),
            (
                format!("Action=AssociateRouteTable&RouteTableId={other}&GatewayId=igw-0"),
                "400 UnsupportedOperation: ",
            ),
        ] {
            let found = server.fault(&query).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        server.done(&format!("Action=DeleteSubnet&SubnetId={subnet}")).await;
        assert_eq!(
            server.ask_for("routeTableAssociationId", &of_subnet).await,
            [""; 0],
            "gone with the subnet"
        );
    }
}
