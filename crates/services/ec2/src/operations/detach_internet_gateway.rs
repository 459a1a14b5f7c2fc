//! DetachInternetGateway: detaches an internet gateway from a VPC in which nothing has a public address. Source: Amazon EC2 API reference, "DetachInternetGateway".
//!
//! Differs from AWS: nothing known.

use api::ec2::DetachInternetGatewayRequest;
use api::ec2::operations::DetachInternetGateway;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::{InternetGateway, Vpc};
use store::Transaction;

use crate::Ec2;
use crate::resources::{internet_gateway, resource_arn, route_table, vpc};

impl Operation<DetachInternetGateway> for Ec2 {
    fn permissions(&self, call: &Call, input: &DetachInternetGatewayRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DetachInternetGateway",
            resource_arn(call, "internet-gateway", input.internet_gateway_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: DetachInternetGatewayRequest) -> Result<Unit, Fault> {
        let (id, vpc_id) = (input.internet_gateway_id.unwrap_or_default(), input.vpc_id.unwrap_or_default());
        self.change(call, input.dry_run, |snapshot| {
            let read = internet_gateway::KIND.find::<InternetGateway>(snapshot, &call.scope, &id)?;
            vpc::KIND.find::<Vpc>(snapshot, &call.scope, &vpc_id)?;
            if read.vpc.as_ref() != Some(&vpc_id) {
                let message = format!("resource {id} is not attached to network {vpc_id}");
                return Err(Fault::new("Gateway.NotAttached", message, 400));
            }
            if route_table::has_public_addresses(snapshot, &call.scope, &vpc_id) {
                let message = format!(
                    "Network {vpc_id} has some mapped public address(es). Please unmap those public address(es) \
                     before detaching the gateway."
                );
                return Err(Fault::new("DependencyViolation", message, 400));
            }
            let mut transaction = Transaction::new();
            transaction.replace(&read, InternetGateway { vpc: None, ..InternetGateway::clone(&read) });
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
    async fn a_gateway_comes_off() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let gateway = server.create_gateway(Some(&vpc)).await;
        let detach = format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}");
        server.done(&detach).await;
        let off = format!("400 Gateway.NotAttached: resource {gateway} is not attached to network {vpc}");
        assert_eq!(server.fault(&detach).await, off);
    }

    #[tokio::test]
    async fn public_addresses_hold_it() {
        let server = Server::new();
        let vpc = server.default_vpc().await.vpc.id;
        let gateway = server.ask_for("internetGatewayId", "Action=DescribeInternetGateways").await.concat();
        let mut interface = server.add_interface([172, 31, 0, 9].into()).await;
        interface.public_address = Some(domain::PublicAddress {
            address: [198, 18, 0, 9].into(),
            allocation_id: None,
            association_id: None,
        });
        server.put(interface).await;
        let fault = server
            .fault(&format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}"))
            .await;
        assert!(fault.starts_with("400 DependencyViolation: Network vpc-"), "{fault}");
    }
}
