//! DeleteSubnet: removes a subnet that has no network interfaces. Source: Amazon EC2 API reference, "DeleteSubnet".
//!
//! Differs from AWS: nothing known.

use api::ec2::DeleteSubnetRequest;
use api::ec2::operations::DeleteSubnet;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::{RouteTable, Subnet};
use store::{Key, Transaction};

use crate::resources::{resource_arn, subnet};
use crate::{Ec2, faults};

impl Operation<DeleteSubnet> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteSubnetRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DeleteSubnet", resource_arn(call, "subnet", input.subnet_id.as_deref()))]
    }

    async fn handle(&self, call: &Call, input: DeleteSubnetRequest) -> Result<Unit, Fault> {
        let id = input.subnet_id.unwrap_or_default();
        let subnet = self
            .change(call, input.dry_run, |snapshot| {
                let subnet = subnet::KIND.find::<Subnet>(snapshot, &call.scope, &id)?;
                if subnet::has_interfaces(snapshot, &subnet) {
                    return Err(faults::in_use("subnet", &id));
                }
                let mut transaction = Transaction::new();
                transaction.remove(&subnet);
                for table in snapshot.scan::<RouteTable>(Key::prefix(&call.scope, &[]), None) {
                    let mut changed = RouteTable::clone(&table);
                    changed.associations.retain(|association| association.subnet.as_ref() != Some(&id));
                    if changed != *table {
                        transaction.replace(&table, changed);
                    }
                }
                Ok((transaction, subnet))
            })
            .await?;
        self.put_back_if(&subnet, |snapshot| subnet::has_interfaces(snapshot, &subnet)).await?;
        Ok(Unit::default())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_subnet_goes_once_it_is_empty() {
        let server = Server::new();
        let id = server.default_vpc().await.subnets[0].id.clone();
        let interface = server.add_interface([172, 31, 0, 9].into()).await;
        let delete = format!("Action=DeleteSubnet&SubnetId={id}");
        let in_use =
            format!("400 DependencyViolation: The subnet '{id}' has dependencies and cannot be deleted.");
        assert_eq!(server.fault(&delete).await, in_use);
        server.remove_interface(&interface).await;
        server.done(&delete).await;
        assert_eq!(server.ask_for("subnetId", "Action=DescribeSubnets").await.len(), 2);
        let gone = format!("400 InvalidSubnetID.NotFound: The subnet ID '{id}' does not exist");
        assert_eq!(server.fault(&delete).await, gone);
    }
}
