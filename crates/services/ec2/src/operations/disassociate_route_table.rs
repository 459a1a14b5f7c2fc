//! DisassociateRouteTable: gives a subnet the main route table of its VPC back. Source: Amazon EC2 API reference, "DisassociateRouteTable".
//!
//! Differs from AWS: nothing known.

use api::ec2::DisassociateRouteTableRequest;
use api::ec2::operations::DisassociateRouteTable;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::RouteTable;
use store::Transaction;

use crate::resources::route_table;
use crate::{Ec2, faults};

impl Operation<DisassociateRouteTable> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DisassociateRouteTableRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DisassociateRouteTable", "*")]
    }

    async fn handle(&self, call: &Call, input: DisassociateRouteTableRequest) -> Result<Unit, Fault> {
        let id = input.association_id.unwrap_or_default();
        self.change(call, input.dry_run, |snapshot| {
            let read = route_table::with_association(snapshot, &call.scope, &id)?;
            let mut table = RouteTable::clone(&read);
            if table.associations.iter().any(|one| one.id == id && one.is_main()) {
                let message = format!("cannot disassociate the main route table association {id}");
                return Err(faults::invalid_value(message));
            }
            table.associations.retain(|one| one.id != id);
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
    async fn the_main_association_stays() {
        let server = Server::new();
        let query = "Action=DescribeRouteTables";
        let main = server.ask_for("routeTableAssociationId", query).await.concat();
        let fault = server.fault(&format!("Action=DisassociateRouteTable&AssociationId={main}")).await;
        assert_eq!(
            fault,
            format!("400 InvalidParameterValue: cannot disassociate the main route table association {main}")
        );
        let fault = server.fault("Action=DisassociateRouteTable&AssociationId=rtbassoc-0").await;
        assert_eq!(
            fault,
            "400 InvalidAssociationID.NotFound: The association ID 'rtbassoc-0' does not exist"
        );
    }
}
