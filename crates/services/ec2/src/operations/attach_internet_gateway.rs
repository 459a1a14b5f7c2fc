//! AttachInternetGateway: attaches an internet gateway to a VPC. Source: Amazon EC2 API reference, "AttachInternetGateway".
//!
//! Differs from AWS: nothing known.

use api::ec2::AttachInternetGatewayRequest;
use api::ec2::operations::AttachInternetGateway;
use wire::{Call, Fault, Operation, Permission, Unit};

use domain::{InternetGateway, Vpc};
use store::{Key, Transaction};

use crate::resources::{internet_gateway, resource_arn, vpc};
use crate::{Ec2, faults};

impl Operation<AttachInternetGateway> for Ec2 {
    fn permissions(&self, call: &Call, input: &AttachInternetGatewayRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:AttachInternetGateway",
            resource_arn(call, "internet-gateway", input.internet_gateway_id.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: AttachInternetGatewayRequest) -> Result<Unit, Fault> {
        let (id, vpc_id) = (input.internet_gateway_id.unwrap_or_default(), input.vpc_id.unwrap_or_default());
        self.change(call, input.dry_run, |snapshot| {
            let read = internet_gateway::KIND.find::<InternetGateway>(snapshot, &call.scope, &id)?;
            let vpc = vpc::KIND.find::<Vpc>(snapshot, &call.scope, &vpc_id)?;
            if let Some(there) = &read.vpc {
                let message = format!("resource {id} is already attached to network {there}");
                return Err(Fault::new("Resource.AlreadyAssociated", message, 400));
            }
            let mut others = snapshot.scan::<InternetGateway>(Key::prefix(&call.scope, &[]), None);
            if others.any(|other| other.vpc.as_ref() == Some(&vpc_id)) {
                let message = format!("Network {vpc_id} already has an internet gateway attached");
                return Err(faults::invalid_value(message));
            }
            let attached = InternetGateway { vpc: Some(vpc_id.clone()), ..InternetGateway::clone(&read) };
            let mut transaction = Transaction::new();
            transaction.require_unchanged(&vpc).replace(&read, attached);
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
    async fn a_vpc_has_one_gateway() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let (one, other) = (server.create_gateway(None).await, server.create_gateway(None).await);
        let attach = |gateway: &str, vpc: &str| {
            format!("Action=AttachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}")
        };
        server.done(&attach(&one, &vpc)).await;
        let there =
            format!("400 Resource.AlreadyAssociated: resource {one} is already attached to network {vpc}");
        assert_eq!(server.fault(&attach(&one, &vpc)).await, there);
        let full =
            format!("400 InvalidParameterValue: Network {vpc} already has an internet gateway attached");
        assert_eq!(server.fault(&attach(&other, &vpc)).await, full);
        assert!(server.fault(&attach(&other, "vpc-0")).await.starts_with("400 InvalidVpcID.NotFound: "));
        let gone = "400 InvalidInternetGatewayID.NotFound: The internetGateway ID 'igw-0' does not exist";
        assert_eq!(server.fault(&attach("igw-0", &vpc)).await, gone);
        assert!(
            server
                .fault(&format!("Action=DeleteVpc&VpcId={vpc}"))
                .await
                .starts_with("400 DependencyViolation")
        );
    }
}
