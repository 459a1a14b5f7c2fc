//! DeleteRouteTable: removes a route table that no subnet uses and that is not the main one. Source: Amazon EC2 API reference, "DeleteRouteTable".
//!
//! Differs from AWS: nothing known.

use api::ec2::DeleteRouteTableRequest;
use api::ec2::operations::DeleteRouteTable;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::RouteTable;
use store::Transaction;

use crate::resources::{resource_arn, route_table};
use crate::{Ec2, faults};

impl Operation<DeleteRouteTable> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteRouteTableRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DeleteRouteTable",
            resource_arn(call, "route-table", input.route_table_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: DeleteRouteTableRequest) -> Result<Unit, Fault> {
        let id = input.route_table_id.unwrap_or_default();
        self.change(call, input.dry_run, |snapshot| {
            let table = route_table::KIND.find::<RouteTable>(snapshot, &call.scope, &id)?;
            if !table.associations.is_empty() {
                return Err(faults::in_use("routeTable", &id));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&table);
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
    async fn a_table_goes_once_no_subnet_uses_it() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let subnet = server.create_subnet(&vpc, "10.0.0.0/24").await;
        let table = server.create_route_table(&vpc).await;
        let query = format!("Action=AssociateRouteTable&RouteTableId={table}&SubnetId={subnet}");
        let association = server.ask_for("associationId", &query).await.concat();
        let delete = format!("Action=DeleteRouteTable&RouteTableId={table}");
        let in_use = format!(
            "400 DependencyViolation: The routeTable '{table}' has dependencies and cannot be deleted."
        );
        assert_eq!(server.fault(&delete).await, in_use);
        server.done(&format!("Action=DisassociateRouteTable&AssociationId={association}")).await;
        server.done(&delete).await;
        let gone = format!("400 InvalidRouteTableID.NotFound: The routeTable ID '{table}' does not exist");
        assert_eq!(server.fault(&delete).await, gone);
        let main = server.main_route_table(&vpc).await;
        let fault = server.fault(&format!("Action=DeleteRouteTable&RouteTableId={main}")).await;
        assert!(fault.starts_with("400 DependencyViolation: "), "{fault}");
    }
}
