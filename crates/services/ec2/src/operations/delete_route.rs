//! DeleteRoute: removes a route from a route table. Source: Amazon EC2 API reference, "DeleteRoute".
//!
//! Differs from AWS: nothing known.

use api::ec2::DeleteRouteRequest;
use api::ec2::operations::DeleteRoute;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::{RouteDestination, RouteTable, Vpc};
use store::{Key, Transaction};

use crate::resources::resource_arn;
use crate::resources::route_table::{self, AskedDestination};
use crate::{Ec2, faults};

impl Operation<DeleteRoute> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteRouteRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DeleteRoute",
            resource_arn(call, "route-table", input.route_table_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: DeleteRouteRequest) -> Result<Unit, Fault> {
        let id = input.route_table_id.unwrap_or_default();
        let asked = AskedDestination {
            ipv4: input.destination_cidr_block,
            ipv6: input.destination_ipv6_cidr_block,
            prefix_list: input.destination_prefix_list_id,
        };
        let (destination, text) = asked.parse()?;
        self.change(call, input.dry_run, |snapshot| {
            let read = route_table::KIND.find::<RouteTable>(snapshot, &call.scope, &id)?;
            let mut table = RouteTable::clone(&read);
            table.routes.retain(|route| route.destination != destination);
            if table.routes.len() == read.routes.len() {
                let vpc = snapshot.get::<Vpc>(&Key::new(&call.scope, &[&read.vpc]));
                if vpc.is_some_and(|vpc| RouteDestination::Ipv4(vpc.cidr) == destination) {
                    let message = format!("cannot remove local route {text} in route table {id}");
                    return Err(faults::invalid_value(message));
                }
                let message = format!("no route with destination-cidr-block {text} in route table {id}");
                return Err(Fault::new("InvalidRoute.NotFound", message, 400));
            }
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
    async fn a_route_goes_and_the_local_one_stays() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc.id;
        let table = server.main_route_table(&vpc).await;
        let delete = format!("Action=DeleteRoute&RouteTableId={table}");
        server.done(&format!("{delete}&DestinationCidrBlock=0.0.0.0/0")).await;
        assert_eq!(
            server.fault(&format!("{delete}&DestinationCidrBlock=0.0.0.0/0")).await,
            format!(
                "400 InvalidRoute.NotFound: no route with destination-cidr-block 0.0.0.0/0 in route table {table}"
            )
        );
        assert_eq!(
            server.fault(&format!("{delete}&DestinationCidrBlock=172.31.0.0/16")).await,
            format!(
                "400 InvalidParameterValue: cannot remove local route 172.31.0.0/16 in route table {table}"
            )
        );
    }
}
