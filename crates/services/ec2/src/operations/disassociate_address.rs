//! DisassociateAddress: takes an elastic address from its network interface. Source: Amazon EC2 API reference, "DisassociateAddress".
//!
//! Differs from AWS: nothing known.

use api::ec2::DisassociateAddressRequest;
use api::ec2::operations::DisassociateAddress;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::{NetworkInterface, PublicAddress};
use store::{Key, Transaction};

use crate::resources::{elastic_address, network_interface};
use crate::{Ec2, faults};

impl Operation<DisassociateAddress> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DisassociateAddressRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DisassociateAddress", "*")]
    }

    async fn handle(&self, call: &Call, input: DisassociateAddressRequest) -> Result<Unit, Fault> {
        let (id, address) = (input.association_id.as_deref(), input.public_ip.as_deref());
        self.change(call, input.dry_run, |snapshot| {
            let read = match (id, address) {
                (Some(id), _) => {
                    let mut all = snapshot.scan::<NetworkInterface>(Key::prefix(&call.scope, &[]), None);
                    let is_it = |public: &PublicAddress| public.association_id.as_deref() == Some(id);
                    let found = all.find(|interface| interface.public_address.as_ref().is_some_and(is_it));
                    found.ok_or_else(|| {
                        let message = format!("The association ID '{id}' does not exist");
                        Fault::new("InvalidAssociationID.NotFound", message, 400)
                    })?
                }
                (None, Some(address)) => {
                    let elastic = elastic_address::find(snapshot, &call.scope, None, Some(address))?;
                    let found = elastic_address::interface_of(snapshot, &elastic);
                    found.ok_or_else(|| {
                        let message = format!("Address '{address}' is not associated.");
                        Fault::new("InvalidAssociationID.NotFound", message, 400)
                    })?
                }
                (None, None) => return Err(faults::missing("associationId")),
            };
            network_interface::check_not_managed(&read)?;
            let mut transaction = Transaction::new();
            transaction
                .replace(&read, NetworkInterface { public_address: None, ..NetworkInterface::clone(&read) });
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
    async fn an_address_comes_off_by_either_name() {
        let server = Server::new();
        let id = server.allocate_address().await;
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
        let interface = server.ask_for("networkInterfaceId", &create).await.concat();
        let associate = format!("Action=AssociateAddress&AllocationId={id}&NetworkInterfaceId={interface}");
        let association = server.ask_for("associationId", &associate).await.concat();
        let by_id = format!("Action=DisassociateAddress&AssociationId={association}");
        server.done(&by_id).await;
        assert!(server.fault(&by_id).await.starts_with("400 InvalidAssociationID.NotFound: "));
        server.done(&associate).await;
        let address = server.ask_for("publicIp", "Action=DescribeAddresses").await.concat();
        let by_address = format!("Action=DisassociateAddress&PublicIp={address}");
        server.done(&by_address).await;
        assert!(server.fault(&by_address).await.starts_with("400 InvalidAssociationID.NotFound: "));
        assert!(server.fault("Action=DisassociateAddress").await.starts_with("400 MissingParameter: "));
    }
}
