//! UnassignIpv6Addresses: takes IPv6 addresses from a network interface that no service manages. Source: Amazon EC2 API reference, "UnassignIpv6Addresses".
//!
//! Differs from AWS: nothing known.

use api::ec2::operations::UnassignIpv6Addresses;
use api::ec2::{UnassignIpv6AddressesRequest, UnassignIpv6AddressesResult};
use wire::{Call, Fault, Operation, Permission};

use domain::NetworkInterface;
use store::Transaction;

use crate::resources::network_interface::{self, Ipv6Wanted};
use crate::resources::resource_arn;
use crate::{Ec2, faults};

impl Operation<UnassignIpv6Addresses> for Ec2 {
    fn permissions(&self, call: &Call, input: &UnassignIpv6AddressesRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:UnassignIpv6Addresses",
            resource_arn(call, "network-interface", input.network_interface_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UnassignIpv6AddressesRequest,
    ) -> Result<UnassignIpv6AddressesResult, Fault> {
        let id = input.network_interface_id.unwrap_or_default();
        let wanted = Ipv6Wanted::parse(None, &input.ipv6_addresses.unwrap_or_default())?.addresses;
        if input.ipv6_prefixes.is_some_and(|prefixes| !prefixes.is_empty()) {
            return Err(faults::unsupported("Prefixes are not supported."));
        }
        if wanted.is_empty() {
            return Err(faults::missing("ipv6Addresses"));
        }
        self.change(call, None, |snapshot| {
            let read = network_interface::find(snapshot, &call.scope, &id)?;
            network_interface::check_not_managed(&read)?;
            let mut changed = NetworkInterface::clone(&read);
            for address in &wanted {
                let at = changed.ipv6_addresses.iter().position(|known| known == address);
                let at = at.ok_or_else(|| {
                    let message =
                        format!("Some of the specified addresses are not assigned to interface {id}");
                    faults::invalid_value(message)
                })?;
                changed.ipv6_addresses.remove(at);
            }
            let mut transaction = Transaction::new();
            transaction.replace(&read, changed);
            Ok((transaction, ()))
        })
        .await?;
        Ok(UnassignIpv6AddressesResult {
            network_interface_id: Some(id),
            unassigned_ipv6_addresses: Some(wanted.iter().map(ToString::to_string).collect()),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let id = server.add_interface([172, 31, 0, 9].into()).await.id;
        for (query, fault) in [
            (format!("NetworkInterfaceId={id}"), "400 MissingParameter: "),
            (format!("NetworkInterfaceId={id}&Ipv6Addresses.1=x"), "400 InvalidParameterValue: "),
            (format!("NetworkInterfaceId={id}&Ipv6Addresses.1=fd00::1"), "400 AuthFailure: "),
            (
                "NetworkInterfaceId=eni-0&Ipv6Addresses.1=fd00::1".to_owned(),
                "400 InvalidNetworkInterfaceID.NotFound",
            ),
        ] {
            let found = server.fault(&format!("Action=UnassignIpv6Addresses&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
