//! DeleteInternetGateway: removes an internet gateway that is not attached. Source: Amazon EC2 API reference, "DeleteInternetGateway".
//!
//! Differs from AWS: nothing known.

use api::ec2::DeleteInternetGatewayRequest;
use api::ec2::operations::DeleteInternetGateway;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::InternetGateway;
use store::Transaction;

use crate::resources::{internet_gateway, resource_arn};
use crate::{Ec2, faults};

impl Operation<DeleteInternetGateway> for Ec2 {
    fn permissions(&self, call: &Call, input: &DeleteInternetGatewayRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:DeleteInternetGateway",
            resource_arn(call, "internet-gateway", input.internet_gateway_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: DeleteInternetGatewayRequest) -> Result<Unit, Fault> {
        let id = input.internet_gateway_id.unwrap_or_default();
        self.change(call, input.dry_run, |snapshot| {
            let read = internet_gateway::KIND.find::<InternetGateway>(snapshot, &call.scope, &id)?;
            if read.vpc.is_some() {
                return Err(faults::in_use("internetGateway", &id));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&read);
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
    async fn a_gateway_goes_once_it_is_detached() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let gateway = server.create_gateway(Some(&vpc)).await;
        let delete = format!("Action=DeleteInternetGateway&InternetGatewayId={gateway}");
        assert!(
            server.fault(&delete).await.starts_with("400 DependencyViolation: The internetGateway 'igw-")
        );
        server.done(&format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}")).await;
        server.done(&delete).await;
        assert!(server.fault(&delete).await.starts_with("400 InvalidInternetGatewayID.NotFound: "));
    }
}
