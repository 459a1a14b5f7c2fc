//! DeleteVpc: removes a VPC that has nothing in it but what it was made with. Source: Amazon EC2 API reference, "DeleteVpc".
//!
//! Differs from AWS: nothing known.

use api::ec2::DeleteVpcRequest;
use api::ec2::operations::DeleteVpc;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::{InternetGateway, RouteTable, SecurityGroup, Subnet, Vpc};
use store::{Key, Snapshot, Transaction, rows_vpc};

use crate::resources::{resource_arn, vpc};
use crate::{Ec2, faults};

impl Operation<DeleteVpc> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteVpcRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DeleteVpc", resource_arn(call, "vpc", input.vpc_id.as_deref()))]
    }

    async fn handle(&self, call: &Call, input: DeleteVpcRequest) -> Result<Unit, Fault> {
        let id = input.vpc_id.unwrap_or_default();
        let delete = |snapshot: &Snapshot| {
            let vpc = vpc::KIND.find::<Vpc>(snapshot, &call.scope, &id)?;
            let everything = || Key::prefix(&call.scope, &[]);
            let has_subnets = snapshot.scan::<Subnet>(everything(), None).any(|subnet| subnet.vpc == id);
            let mut gateways = snapshot.scan::<InternetGateway>(everything(), None);
            let has_gateway = gateways.any(|gateway| gateway.vpc.as_deref() == Some(&id));
            let groups = snapshot.scan::<SecurityGroup>(everything(), None).filter(|group| group.vpc == id);
            let (default, others): (Vec<_>, Vec<_>) = groups.partition(|group| group.name == "default");
            let tables = snapshot.scan::<RouteTable>(everything(), None).filter(|table| table.vpc == id);
            let (main, more): (Vec<_>, Vec<_>) = tables.partition(|table| table.is_main());
            if has_subnets || has_gateway || !others.is_empty() || !more.is_empty() {
                return Err(faults::in_use("vpc", &id));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&vpc);
            for group in default {
                transaction.remove(&group);
            }
            for table in main {
                transaction.remove(&table);
            }
            rows_vpc::release_vpc_cidr(snapshot, &mut transaction, &vpc);
            Ok((transaction, ()))
        };
        self.with_claim(None, async |_| self.change(call, input.dry_run, delete).await).await?;
        Ok(Unit::default())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn an_empty_vpc_goes_with_what_it_was_made_with() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let delete = format!("Action=DeleteVpc&VpcId={vpc}");
        let in_use =
            format!("400 DependencyViolation: The vpc '{vpc}' has dependencies and cannot be deleted.");
        let subnet = server.create_subnet(&vpc, "10.0.0.0/24").await;
        assert_eq!(server.fault(&delete).await, in_use);
        server.done(&format!("Action=DeleteSubnet&SubnetId={subnet}")).await;
        let group = server.create_group("web", Some(&vpc)).await;
        assert_eq!(server.fault(&delete).await, in_use);
        server.done(&format!("Action=DeleteSecurityGroup&GroupId={group}")).await;
        server.done(&delete).await;
        assert_eq!(server.ask_for("groupName", "Action=DescribeSecurityGroups").await, ["default"]);
        let gone = format!("400 InvalidVpcID.NotFound: The vpc ID '{vpc}' does not exist");
        assert_eq!(server.fault(&delete).await, gone);
        server.create_vpc("10.0.0.0/16").await;
    }
}
