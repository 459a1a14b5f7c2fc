//! CreateDefaultSubnet: makes the default subnet of a zone again after it was deleted. Source: Amazon EC2 API reference, "CreateDefaultSubnet".
//!
//! Differs from AWS: the code of the fault for a VPC without room is not documented.

use api::ec2::operations::CreateDefaultSubnet;
use api::ec2::{CreateDefaultSubnetRequest, CreateDefaultSubnetResult};
use wire::{Call, Fault, Operation, Permission};

use store::{Transaction, rows_vpc};

use crate::resources::subnet::{self, DescribedSubnet};
use crate::resources::{resource_arn, zone};
use crate::{Ec2, faults};

/// Places in the default VPC: a /16 has room for 16 subnets of its default size.
const SLOTS: usize = 16;

fn no_default_vpc() -> Fault {
    Fault::new("DefaultVpcDoesNotExist", "No default VPC exists for this account in this region.", 400)
}

impl Operation<CreateDefaultSubnet> for Ec2 {
    fn permissions(&self, call: &Call, _input: &CreateDefaultSubnetRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:CreateDefaultSubnet", resource_arn(call, "subnet", Some("*")))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateDefaultSubnetRequest,
    ) -> Result<CreateDefaultSubnetResult, Fault> {
        if input.ipv6_native == Some(true) {
            return Err(faults::unsupported("Subnets with IPv6 addresses alone are not supported."));
        }
        let zone =
            subnet::zone(call, input.availability_zone.as_deref(), input.availability_zone_id.as_deref())?;
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let found = rows_vpc::find_default_vpc(snapshot, &call.scope);
                let found = found.ok_or_else(no_default_vpc)?;
                if let Some(there) = found.subnets.iter().find(|subnet| subnet.availability_zone == zone.name)
                {
                    let message = format!("'{}' is already the default subnet in {}.", there.id, zone.name);
                    return Err(Fault::new("DefaultSubnetAlreadyExistsInAvailabilityZone", message, 400));
                }
                let number = zone::all(&call.scope.region).iter().position(|known| known.id == zone.id);
                let slots = (0..SLOTS).filter_map(|slot| {
                    domain::default_subnet(&found.vpc, number.unwrap_or_default(), slot, &*self.ids)
                });
                let mut free =
                    slots.filter(|subnet| subnet::check_free(snapshot, &found.vpc, subnet.cidr).is_ok());
                let made = free.next().ok_or_else(|| {
                    let message = "Not enough free addresses are left in the default VPC.";
                    Fault::new("InsufficientFreeAddressesInSubnet", message, 400)
                })?;
                let mut transaction = Transaction::new();
                transaction.insert(made.clone());
                Ok((transaction, made))
            })
            .await?;
        Ok(CreateDefaultSubnetResult { subnet: Some(subnet::describe(&DescribedSubnet::new_one(made))) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn the_zones_subnet_is_made_again() {
        let server = Server::new();
        let old = server.default_vpc().await.subnets[1].clone();
        let query = "Action=CreateDefaultSubnet&AvailabilityZone=us-east-1b";
        assert!(server.fault(query).await.starts_with("400 DefaultSubnetAlreadyExistsInAvailabilityZone: '"));
        server.done(&format!("Action=DeleteSubnet&SubnetId={}", old.id)).await;
        let answer = server.ask(query).await;
        let text = |name| crate::testing::texts(&answer, name).concat();
        assert_eq!(
            (text("cidrBlock"), text("defaultForAz")),
            ("172.31.16.0/20".to_owned(), "true".to_owned())
        );
        assert_ne!(text("subnetId"), old.id);
        assert_eq!(server.default_vpc().await.subnets.len(), 3);
        server.delete_default_vpc().await;
        assert!(server.fault(query).await.starts_with("400 DefaultVpcDoesNotExist: "));
    }
}
