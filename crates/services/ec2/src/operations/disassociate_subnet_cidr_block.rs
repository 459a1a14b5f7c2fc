//! DisassociateSubnetCidrBlock: takes the IPv6 addresses from a subnet in which no interface has one. Source: Amazon EC2 API reference, "DisassociateSubnetCidrBlock".
//!
//! Differs from AWS: they are gone at once. The code of the fault for addresses in use is not documented.

use api::ec2::operations::DisassociateSubnetCidrBlock;
use api::ec2::{DisassociateSubnetCidrBlockRequest, DisassociateSubnetCidrBlockResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{NetworkInterface, Subnet};
use store::{Key, Transaction};

use crate::Ec2;
use crate::resources::subnet;

impl Operation<DisassociateSubnetCidrBlock> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DisassociateSubnetCidrBlockRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DisassociateSubnetCidrBlock", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DisassociateSubnetCidrBlockRequest,
    ) -> Result<DisassociateSubnetCidrBlockResult, Fault> {
        let id = input.association_id.unwrap_or_default();
        let (subnet, ipv6) = self
            .change(call, None, |snapshot| {
                let mut all = snapshot.scan::<Subnet>(Key::prefix(&call.scope, &[]), None);
                let found = all.find_map(|subnet| {
                    let ipv6 = subnet.ipv6.clone().filter(|ipv6| ipv6.id == id)?;
                    Some((subnet, ipv6))
                });
                let (read, ipv6) = found.ok_or_else(|| {
                    let message = format!("The subnet CIDR block association ID '{id}' does not exist");
                    Fault::new("InvalidSubnetCidrBlockAssociationID.NotFound", message, 400)
                })?;
                let mut interfaces =
                    snapshot.scan::<NetworkInterface>(Key::prefix(&call.scope, &[&read.id]), None);
                if interfaces.any(|interface| !interface.ipv6_addresses.is_empty()) {
                    let message =
                        format!("The CIDR block {} of the subnet '{}' is in use.", ipv6.cidr, read.id);
                    return Err(Fault::new("InvalidCidr.InUse", message, 400));
                }
                let subnet =
                    Subnet { ipv6: None, assign_ipv6_address_on_creation: false, ..Subnet::clone(&read) };
                let mut transaction = Transaction::new();
                transaction.replace(&read, subnet.clone());
                Ok((transaction, (subnet, ipv6)))
            })
            .await?;
        Ok(DisassociateSubnetCidrBlockResult {
            ipv6_cidr_block_association: Some(subnet::describe_ipv6(&ipv6, "disassociated")),
            subnet_id: Some(subnet.id),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn addresses_in_use_stay() {
        let server = Server::new();
        let mut subnet = server.default_vpc().await.subnets[0].clone();
        subnet.ipv6 = Some(domain::Ipv6CidrAssociation {
            id: "subnet-cidr-assoc-1".to_owned(),
            cidr: "fd00:1:2:3::/64".parse().unwrap(),
        });
        server.put(subnet).await;
        let mut interface = server.add_interface([172, 31, 0, 9].into()).await;
        interface.ipv6_addresses = vec!["fd00:1:2:3::9".parse().unwrap()];
        server.put(interface.clone()).await;
        let query = "Action=DisassociateSubnetCidrBlock&AssociationId=subnet-cidr-assoc-1";
        assert!(server.fault(query).await.starts_with("400 InvalidCidr.InUse: "));
        server.remove_interface(&interface).await;
        server.done(query).await;
    }
}
