//! AssignIpv6Addresses: gives a network interface that no service manages more IPv6 addresses. Source: Amazon EC2 API reference, "AssignIpv6Addresses".
//!
//! Differs from AWS: there are no prefixes. Without a count or addresses, one is assigned.

use api::ec2::operations::AssignIpv6Addresses;
use api::ec2::{AssignIpv6AddressesRequest, AssignIpv6AddressesResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{NetworkInterface, Subnet};
use store::Transaction;

use crate::resources::network_interface::{self, Ipv6Wanted};
use crate::resources::{resource_arn, subnet};
use crate::{Ec2, faults};

impl Operation<AssignIpv6Addresses> for Ec2 {
    fn permissions(&self, call: &Call, input: &AssignIpv6AddressesRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:AssignIpv6Addresses",
            resource_arn(call, "network-interface", input.network_interface_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AssignIpv6AddressesRequest,
    ) -> Result<AssignIpv6AddressesResult, Fault> {
        let id = input.network_interface_id.unwrap_or_default();
        if input.ipv6_prefix_count.is_some() || input.ipv6_prefixes.is_some() {
            return Err(faults::unsupported("Prefixes are not supported."));
        }
        let wanted = Ipv6Wanted::parse(input.ipv6_address_count, &input.ipv6_addresses.unwrap_or_default())?;
        let assigned = self
            .change(call, None, |snapshot| {
                let read = network_interface::find(snapshot, &call.scope, &id)?;
                network_interface::check_not_managed(&read)?;
                let subnet = subnet::KIND.find::<Subnet>(snapshot, &call.scope, &read.subnet)?;
                let assigned = wanted.clone().or_one(true).choose(snapshot, &subnet, &*self.ids)?;
                let mut changed = NetworkInterface::clone(&read);
                changed.ipv6_addresses.extend(&assigned);
                let mut transaction = Transaction::new();
                transaction.require_unchanged(&subnet).replace(&read, changed);
                Ok((transaction, assigned))
            })
            .await?;
        Ok(AssignIpv6AddressesResult {
            assigned_ipv6_addresses: Some(assigned.iter().map(ToString::to_string).collect()),
            network_interface_id: Some(id),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn addresses_come_and_go() {
        let server = Server::new();
        let mut subnet = server.default_vpc().await.subnets[0].clone();
        let create = format!("Action=CreateNetworkInterface&SubnetId={}", subnet.id);
        let id = server.ask_for("networkInterfaceId", &create).await.concat();
        let assign = format!("Action=AssignIpv6Addresses&NetworkInterfaceId={id}");
        let none = server.fault(&format!("{assign}&Ipv6AddressCount=1")).await;
        assert!(none.starts_with("400 InvalidParameterValue: "), "{none}");
        subnet.ipv6 = Some(domain::Ipv6CidrAssociation {
            id: "subnet-cidr-assoc-1".to_owned(),
            cidr: "fd00:1:2:3::/64".parse().unwrap(),
        });
        server.put(subnet).await;
        server.done(&format!("{assign}&Ipv6AddressCount=2")).await;
        let given = format!("{assign}&Ipv6Addresses.1=fd00:1:2:3::7");
        server.done(&given).await;
        assert!(server.fault(&given).await.starts_with("400 InvalidIPAddress.InUse: "));
        let described = format!("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={id}");
        assert_eq!(server.ask(&described).await.matches("<isPrimaryIpv6>").count(), 3);
        let unassign =
            format!("Action=UnassignIpv6Addresses&NetworkInterfaceId={id}&Ipv6Addresses.1=fd00:1:2:3::7");
        server.done(&unassign).await;
        assert_eq!(server.ask(&described).await.matches("<isPrimaryIpv6>").count(), 2);
        assert!(server.fault(&unassign).await.starts_with("400 InvalidParameterValue: "));
        assert!(
            server
                .fault(&format!("{assign}&Ipv6PrefixCount=1"))
                .await
                .starts_with("400 UnsupportedOperation")
        );
    }
}
