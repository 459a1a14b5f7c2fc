//! AssociateSubnetCidrBlock: gives a subnet some of the IPv6 addresses of its VPC. Source: Amazon EC2 API reference, "AssociateSubnetCidrBlock".
//!
//! Differs from AWS: they are associated at once. A subnet has one IPv6 network at most; the code of the fault for more is not
//! documented.

use api::ec2::operations::AssociateSubnetCidrBlock;
use api::ec2::{AssociateSubnetCidrBlockRequest, AssociateSubnetCidrBlockResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{Ipv6CidrAssociation, Subnet, Vpc};
use store::Transaction;

use crate::resources::{resource_arn, subnet, vpc};
use crate::{Ec2, faults};

impl Operation<AssociateSubnetCidrBlock> for Ec2 {
    fn permissions(&self, call: &Call, input: &AssociateSubnetCidrBlockRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ec2:AssociateSubnetCidrBlock",
            resource_arn(call, "subnet", input.subnet_id.as_deref()),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AssociateSubnetCidrBlockRequest,
    ) -> Result<AssociateSubnetCidrBlockResult, Fault> {
        let id = input.subnet_id.unwrap_or_default();
        if let Some(pool) = &input.ipv6_ipam_pool_id {
            let message = format!("The ipam-pool ID '{pool}' does not exist");
            return Err(Fault::new("InvalidIpamPoolId.NotFound", message, 400));
        }
        let cidr = input.ipv6_cidr_block.as_deref().ok_or_else(|| faults::missing("ipv6CidrBlock"))?;
        let cidr = subnet::ipv6_cidr(cidr)?;
        let made = Ipv6CidrAssociation { id: format!("subnet-cidr-assoc-{}", self.ids.hex(17)), cidr };
        self.change(call, None, |snapshot| {
            let read = subnet::KIND.find::<Subnet>(snapshot, &call.scope, &id)?;
            let vpc = vpc::KIND.find::<Vpc>(snapshot, &call.scope, &read.vpc)?;
            if read.ipv6.is_some() {
                let message = format!("The subnet '{id}' already has an IPv6 CIDR block.");
                return Err(Fault::new("CidrBlockLimitExceeded", message, 400));
            }
            subnet::check_ipv6_free(snapshot, &vpc, &cidr)?;
            let mut transaction = Transaction::new();
            transaction.require_unchanged(&vpc);
            transaction.replace(&read, Subnet { ipv6: Some(made.clone()), ..Subnet::clone(&read) });
            Ok((transaction, ()))
        })
        .await?;
        Ok(AssociateSubnetCidrBlockResult {
            ipv6_cidr_block_association: Some(subnet::describe_ipv6(&made, "associated")),
            subnet_id: Some(id),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn ipv6_comes_and_goes() {
        let server = Server::new();
        let query = "Action=CreateVpc&CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true";
        let answer = server.ask(query).await;
        let text = |name| crate::testing::texts(&answer, name).concat();
        let cidr = text("ipv6CidrBlock").replace("::/56", "::/64");
        let subnet = server.create_subnet(&text("vpcId"), "10.0.0.0/24").await;
        let associate =
            |cidr: &str| format!("Action=AssociateSubnetCidrBlock&SubnetId={subnet}&Ipv6CidrBlock={cidr}");
        let outside = server.fault(&associate("fd00:1::/64")).await;
        assert!(outside.starts_with("400 InvalidSubnet.Range: "), "{outside}");
        let id = server.ask_for("associationId", &associate(&cidr)).await.concat();
        assert!(server.fault(&associate(&cidr)).await.starts_with("400 CidrBlockLimitExceeded: "));
        let described = format!("Action=DescribeSubnets&SubnetId.1={subnet}");
        assert_eq!(server.ask_for("ipv6CidrBlock", &described).await, [cidr]);
        let query = format!("Action=DisassociateSubnetCidrBlock&AssociationId={id}");
        assert_eq!(server.ask_for("state", &query).await, ["disassociated"]);
        assert_eq!(server.ask_for("ipv6CidrBlock", &described).await, [""; 0]);
        let gone = server.fault(&query).await;
        assert!(gone.starts_with("400 InvalidSubnetCidrBlockAssociationID.NotFound: "), "{gone}");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            ("SubnetId=subnet-0&Ipv6CidrBlock=fd00::/64", "400 InvalidSubnetID.NotFound: "),
            ("SubnetId=subnet-0&Ipv6CidrBlock=fd00::/66", "400 InvalidParameterValue: "),
            ("SubnetId=subnet-0", "400 MissingParameter: "),
            ("SubnetId=subnet-0&Ipv6IpamPoolId=x", "400 InvalidIpamPoolId.NotFound: "),
        ] {
            let found = server.fault(&format!("Action=AssociateSubnetCidrBlock&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}
