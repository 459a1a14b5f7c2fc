//! ReleaseAddress: gives an elastic address back that no interface has. Source: Amazon EC2 API reference, "ReleaseAddress".
//!
//! Differs from AWS: nothing known.

use api::ec2::ReleaseAddressRequest;
use api::ec2::operations::ReleaseAddress;
use wire::{Call, Fault, Operation, Permission, Unit};

use store::{Transaction, rows_addresses};

use crate::Ec2;
use crate::resources::{elastic_address, resource_arn};

impl Operation<ReleaseAddress> for Ec2 {
    fn permissions(&self, call: &Call, input: &ReleaseAddressRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:ReleaseAddress",
            resource_arn(call, "elastic-ip", input.allocation_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: ReleaseAddressRequest) -> Result<Unit, Fault> {
        let (allocation, address) = (input.allocation_id.as_deref(), input.public_ip.as_deref());
        self.change(call, input.dry_run, |snapshot| {
            let read = elastic_address::find(snapshot, &call.scope, allocation, address)?;
            if elastic_address::interface_of(snapshot, &read).is_some() {
                let message = format!("Address {} is in use.", read.address);
                return Err(Fault::new("InvalidIPAddress.InUse", message, 400));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&read);
            let owner = &read.allocation_id;
            rows_addresses::release_public_address(snapshot, &mut transaction, read.address, owner, call.now);
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
    async fn an_address_goes_once_no_interface_has_it() {
        let server = Server::new();
        let id = server.allocate_address().await;
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
        let interface = server.ask_for("networkInterfaceId", &create).await.concat();
        let associate = format!("Action=AssociateAddress&AllocationId={id}&NetworkInterfaceId={interface}");
        let association = server.ask_for("associationId", &associate).await.concat();
        let release = format!("Action=ReleaseAddress&AllocationId={id}");
        assert!(server.fault(&release).await.starts_with("400 InvalidIPAddress.InUse: "));
        server.done(&format!("Action=DisassociateAddress&AssociationId={association}")).await;
        server.done(&release).await;
        for (query, fault) in [
            (release.as_str(), "400 InvalidAllocationID.NotFound: The allocation ID 'eipalloc-"),
            (
                "Action=ReleaseAddress&PublicIp=1.2.3.4",
                "400 InvalidAddress.NotFound: Address '1.2.3.4' not found.",
            ),
            ("Action=ReleaseAddress", "400 MissingParameter: "),
            ("Action=ReleaseAddress&PublicIp=x", "400 InvalidParameterValue: "),
            (
                "Action=ReleaseAddress&PublicIp=1.2.3.4&AllocationId=eipalloc-0",
                "400 InvalidParameterCombination: ",
            ),
        ] {
            let found = server.fault(query).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
