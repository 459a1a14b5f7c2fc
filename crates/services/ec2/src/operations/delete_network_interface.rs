//! DeleteNetworkInterface: removes a network interface that nothing has. Source: Amazon EC2 API reference, "DeleteNetworkInterface".
//!
//! Differs from AWS: nothing known.

use api::ec2::DeleteNetworkInterfaceRequest;
use api::ec2::operations::DeleteNetworkInterface;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::NetworkInterfaceStatus;
use store::{Transaction, rows_addresses};

use crate::resources::{network_interface, resource_arn};
use crate::{Ec2, faults};

impl Operation<DeleteNetworkInterface> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteNetworkInterfaceRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DeleteNetworkInterface",
            resource_arn(call, "network-interface", input.network_interface_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: DeleteNetworkInterfaceRequest) -> Result<Unit, Fault> {
        let id = input.network_interface_id.unwrap_or_default();
        self.change(call, input.dry_run, |snapshot| {
            let interface = network_interface::find(snapshot, &call.scope, &id)?;
            if interface.status != NetworkInterfaceStatus::Available {
                let message = format!("Network interface '{id}' is currently in use.");
                return Err(faults::invalid_value(message));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&interface);
            rows_addresses::release_addresses(snapshot, &mut transaction, &interface, call.now);
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
    async fn one_that_nothing_has_goes() {
        let server = Server::new();
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
        let id = server.ask_for("networkInterfaceId", &create).await.concat();
        let delete = |id: &str| format!("Action=DeleteNetworkInterface&NetworkInterfaceId={id}");
        server.done(&delete(&id)).await;
        let gone =
            format!("400 InvalidNetworkInterfaceID.NotFound: The networkInterface ID '{id}' does not exist");
        assert_eq!(server.fault(&delete(&id)).await, gone);
        let of_task = server.add_interface([172, 31, 0, 9].into()).await.id;
        let in_use = format!("400 InvalidParameterValue: Network interface '{of_task}' is currently in use.");
        assert_eq!(server.fault(&delete(&of_task)).await, in_use);
    }
}
