//! ReplaceRouteTableAssociation: gives a subnet another route table, or a VPC another main one. Source: Amazon EC2 API reference, "ReplaceRouteTableAssociation".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::ReplaceRouteTableAssociation;
use api::ec2::{ReplaceRouteTableAssociationRequest, ReplaceRouteTableAssociationResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{RouteTable, RouteTableAssociation};
use store::Transaction;

use crate::resources::{resource_arn, route_table};
use crate::{Ec2, faults};

impl Operation<ReplaceRouteTableAssociation> for Ec2 {
    fn permissions(&self, call: &Call, input: &ReplaceRouteTableAssociationRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:ReplaceRouteTableAssociation",
            resource_arn(call, "route-table", input.route_table_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ReplaceRouteTableAssociationRequest,
    ) -> Result<ReplaceRouteTableAssociationResult, Fault> {
        let (id, table_id) =
            (input.association_id.unwrap_or_default(), input.route_table_id.unwrap_or_default());
        let new = format!("rtbassoc-{}", self.ids.hex(17));
        self.change(call, input.dry_run, |snapshot| {
            let old = route_table::with_association(snapshot, &call.scope, &id)?;
            let read = route_table::KIND.find::<RouteTable>(snapshot, &call.scope, &table_id)?;
            if old.vpc != read.vpc {
                let message = format!("Route table {table_id} and {} belong to different networks", old.id);
                return Err(faults::invalid_value(message));
            }
            let mut without = RouteTable::clone(&old);
            let at = without.associations.iter().position(|one| one.id == id).unwrap_or_default();
            let moved = RouteTableAssociation { id: new.clone(), ..without.associations.remove(at) };
            let mut transaction = Transaction::new();
            if old.id == read.id {
                without.associations.push(moved);
                transaction.replace(&old, without);
            } else {
                let mut with = RouteTable::clone(&read);
                with.associations.push(moved);
                transaction.replace(&old, without).replace(&read, with);
            }
            Ok((transaction, ()))
        })
        .await?;
        Ok(ReplaceRouteTableAssociationResult {
            association_state: Some(route_table::associated()),
            new_association_id: Some(new),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn another_table_becomes_the_main_one() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let (old, new) = (server.main_route_table(&vpc).await, server.create_route_table(&vpc).await);
        let described = format!("Action=DescribeRouteTables&RouteTableId.1={old}");
        let association = server.ask_for("routeTableAssociationId", &described).await.concat();
        let replace = |association: &str, table: &str| {
            format!("Action=ReplaceRouteTableAssociation&AssociationId={association}&RouteTableId={table}")
        };
        let changed = server.ask_for("newAssociationId", &replace(&association, &new)).await.concat();
        assert_eq!(server.main_route_table(&vpc).await, new);
        server.done(&format!("Action=DeleteRouteTable&RouteTableId={old}")).await;
        server.done(&replace(&changed, &new)).await;
        assert!(
            server.fault(&replace(&changed, &new)).await.starts_with("400 InvalidAssociationID.NotFound: ")
        );
        let fault = server.fault(&replace("rtbassoc-0", &new)).await;
        assert!(fault.starts_with("400 InvalidAssociationID.NotFound: "), "{fault}");
    }
}
