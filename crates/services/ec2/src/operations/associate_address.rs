//! AssociateAddress: makes a network interface reachable at an elastic address. Source: Amazon EC2 API reference, "AssociateAddress".
//!
//! Differs from AWS: instances here have no network interfaces, and the interfaces of tasks and load balancers cannot be changed.

use api::ec2::operations::AssociateAddress;
use api::ec2::{AssociateAddressRequest, AssociateAddressResult};
use wire::{Call, Fault, Operation, Permission};

use std::net::Ipv4Addr;

use domain::NetworkInterface;
use store::Transaction;

use crate::resources::{elastic_address, instance, network_interface, resource_arn, route_table};
use crate::{Ec2, faults};

impl Operation<AssociateAddress> for Ec2 {
    fn permissions(&self, call: &Call, input: &AssociateAddressRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:AssociateAddress",
            resource_arn(call, "elastic-ip", input.allocation_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AssociateAddressRequest,
    ) -> Result<AssociateAddressResult, Fault> {
        let (allocation, address) = (input.allocation_id.as_deref(), input.public_ip.as_deref());
        let interface_id = match (input.network_interface_id, input.instance_id) {
            (Some(_), Some(_)) => {
                let message = "You may specify an instance ID or a network interface ID, but not both.";
                return Err(faults::invalid_combination(message));
            }
            (Some(id), None) => id,
            (None, Some(id)) => {
                instance::find(&self.snapshot(call).await?, &call.scope, &id)?;
                let message = format!(
                    "The instance '{id}' has no network interface: it is a machine that registered itself."
                );
                return Err(faults::unsupported(message));
            }
            (None, None) => return Err(faults::missing("networkInterfaceId")),
        };
        let private = input.private_ip_address.as_deref().map(network_interface::ipv4_address).transpose()?;
        let may_move = input.allow_reassociation != Some(false);
        let association = format!("eipassoc-{}", self.ids.hex(17));
        self.change(call, input.dry_run, |snapshot| {
            let elastic = elastic_address::find(snapshot, &call.scope, allocation, address)?;
            let read = network_interface::find(snapshot, &call.scope, &interface_id)?;
            network_interface::check_not_managed(&read)?;
            check_private(&read, private)?;
            route_table::check_gateway(snapshot, &call.scope, &read.vpc)?;
            let mut transaction = Transaction::new();
            transaction.require_unchanged(&elastic);
            if let Some(owner) =
                elastic_address::interface_of(snapshot, &elastic).filter(|owner| owner.id != read.id)
            {
                if !may_move || owner.requester_managed {
                    return Err(elastic_address::already_associated(&elastic));
                }
                let without = NetworkInterface { public_address: None, ..NetworkInterface::clone(&owner) };
                transaction.replace(&owner, without);
            }
            let public = elastic_address::of_interface(&elastic, association.clone());
            let with = NetworkInterface { public_address: Some(public), ..NetworkInterface::clone(&read) };
            transaction.replace(&read, with);
            Ok((transaction, ()))
        })
        .await?;
        Ok(AssociateAddressResult { association_id: Some(association) })
    }
}

fn check_private(interface: &NetworkInterface, private: Option<Ipv4Addr>) -> Result<(), Fault> {
    match private.filter(|private| *private != interface.private_address) {
        Some(other) => {
            let message =
                format!("The private IP address '{other}' is not assigned to interface '{}'.", interface.id);
            Err(faults::invalid_value(message))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn an_address_moves_from_one_interface_to_another() {
        let server = Server::new();
        let id = server.allocate_address().await;
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
        let one = server.ask_for("networkInterfaceId", &create).await.concat();
        let other = server.ask_for("networkInterfaceId", &create).await.concat();
        let associate = |interface: &str| {
            format!("Action=AssociateAddress&AllocationId={id}&NetworkInterfaceId={interface}")
        };
        server.done(&associate(&one)).await;
        let address = server.ask_for("publicIp", "Action=DescribeAddresses").await.concat();
        let by_address = |address: &str| {
            format!(
                "Action=DescribeNetworkInterfaces&Filter.1.Name=association.public-ip&Filter.1.Value.1={address}"
            )
        };
        assert_eq!(server.ask_for("networkInterfaceId", &by_address(&address)).await, [one.as_str()]);
        let fixed = format!("{}&AllowReassociation=false", associate(&other));
        assert!(server.fault(&fixed).await.starts_with("400 Resource.AlreadyAssociated: "));
        server.done(&associate(&other)).await;
        assert_eq!(server.ask_for("networkInterfaceId", &by_address(&address)).await, [other.as_str()]);
        server.done(&format!("Action=DeleteNetworkInterface&NetworkInterfaceId={other}")).await;
        assert_eq!(
            server.ask_for("associationId", "Action=DescribeAddresses").await,
            [""; 0],
            "gone with it"
        );
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let id = server.allocate_address().await;
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let subnet = server.create_subnet(&vpc, "10.0.0.0/24").await;
        let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
        let inside = server.ask_for("networkInterfaceId", &create).await.concat();
        let of_task = server.add_interface([172, 31, 0, 9].into()).await.id;
        server.add_instance("i-0123456789abcdef0").await;
        for (query, fault) in [
            (format!("AllocationId={id}"), "400 MissingParameter: "),
            (
                format!("AllocationId={id}&NetworkInterfaceId=eni-0"),
                "400 InvalidNetworkInterfaceID.NotFound: ",
            ),
            (
                format!("AllocationId=eipalloc-0&NetworkInterfaceId={inside}"),
                "400 InvalidAllocationID.NotFound: ",
            ),
            (format!("AllocationId={id}&NetworkInterfaceId={of_task}"), "400 AuthFailure: "),
            (
                format!("AllocationId={id}&NetworkInterfaceId={inside}"),
                "400 Gateway.NotAttached: Network vpc-",
            ),
            (
                format!("AllocationId={id}&NetworkInterfaceId={inside}&PrivateIpAddress=10.0.0.77"),
                "400 InvalidParameterValue: The private IP address '10.0.0.77' is not assigned to interface",
            ),
            (format!("AllocationId={id}&InstanceId=i-0"), "400 InvalidInstanceID.NotFound: "),
            (format!("AllocationId={id}&InstanceId=i-0123456789abcdef0"), "400 UnsupportedOperation: "),
            (
                format!("AllocationId={id}&InstanceId=i-0&NetworkInterfaceId=eni-0"),
                "400 InvalidParameterCombination",
            ),
        ] {
            let found = server.fault(&format!("Action=AssociateAddress&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
