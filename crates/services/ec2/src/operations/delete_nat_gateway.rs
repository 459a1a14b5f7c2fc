//! DeleteNatGateway: removes a NAT gateway with its network interface; its elastic address stays. Source: Amazon EC2 API reference, "DeleteNatGateway".
//!
//! Differs from AWS: a gateway is gone at once, and told as deleted for an hour.

use api::ec2::operations::DeleteNatGateway;
use api::ec2::{DeleteNatGatewayRequest, DeleteNatGatewayResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{NatGateway, NatGatewayState};
use store::{Key, Transaction, rows_addresses, rows_vpc};

use crate::Ec2;
use crate::resources::{nat_gateway, resource_arn};

impl Operation<DeleteNatGateway> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteNatGatewayRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DeleteNatGateway",
            resource_arn(call, "natgateway", input.nat_gateway_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteNatGatewayRequest,
    ) -> Result<DeleteNatGatewayResult, Fault> {
        let id = input.nat_gateway_id.unwrap_or_default();
        self.change(call, input.dry_run, |snapshot| {
            nat_gateway::KIND.check_id(&id)?;
            let read = snapshot.get::<NatGateway>(&Key::new(&call.scope, &[&id]));
            let read = read.ok_or_else(|| nat_gateway::not_found(&id))?;
            let mut transaction = Transaction::new();
            if read.state == NatGatewayState::Deleted {
                return Ok((transaction, ()));
            }
            nat_gateway::forget(snapshot, &mut transaction, &call.scope, call.now);
            let deleted_at = Some(call.now);
            transaction.replace(
                &read,
                NatGateway { state: NatGatewayState::Deleted, deleted_at, ..NatGateway::clone(&read) },
            );
            if let Some(interface) =
                rows_vpc::network_interface(snapshot, &call.scope, &read.network_interface)
            {
                transaction.remove(&interface);
                rows_addresses::release_addresses(snapshot, &mut transaction, &interface, call.now);
            }
            Ok((transaction, ()))
        })
        .await?;
        Ok(DeleteNatGatewayResult { nat_gateway_id: Some(id) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn a_deleted_gateway_is_told_for_an_hour() {
        let server = Server::new();
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        let create = format!("Action=CreateNatGateway&ConnectivityType=private&SubnetId={subnet}");
        let id = server.ask_for("natGatewayId", &create).await.concat();
        let delete = format!("Action=DeleteNatGateway&NatGatewayId={id}");
        assert_eq!(server.ask_for("natGatewayId", &delete).await, [id.as_str()]);
        server.done(&delete).await;
        let describe = "Action=DescribeNatGateways";
        assert_eq!(server.ask_for("state", describe).await, ["deleted"]);
        assert_eq!(server.ask_for("networkInterfaceId", "Action=DescribeNetworkInterfaces").await, [""; 0]);
        server.done(&format!("Action=DeleteSubnet&SubnetId={subnet}")).await;
        server.pass_seconds(3600);
        assert_eq!(server.ask_for("state", describe).await, [""; 0]);
        let fault = server.fault("Action=DeleteNatGateway&NatGatewayId=nat-0").await;
        assert_eq!(fault, "400 NatGatewayNotFound: The Nat Gateway nat-0 was not found");
        let fault = server.fault("Action=DeleteNatGateway&NatGatewayId=x").await;
        assert!(fault.starts_with("400 NatGatewayMalformed: "), "{fault}");
    }
}
