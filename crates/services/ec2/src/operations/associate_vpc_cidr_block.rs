//! AssociateVpcCidrBlock: gives a VPC IPv6 addresses. Source: Amazon EC2 API reference, "AssociateVpcCidrBlock".
//!
//! Differs from AWS: a VPC has one IPv4 network and one IPv6 network at most; the code of the fault for more is not documented.
//! The IPv6 addresses are unique local ones (`decisions/0019`). They are associated at once.

use api::ec2::operations::AssociateVpcCidrBlock;
use api::ec2::{AssociateVpcCidrBlockRequest, AssociateVpcCidrBlockResult};
use wire::{Call, Fault, Operation, Permission};

use domain::Vpc;
use store::Transaction;

use crate::resources::{resource_arn, vpc};
use crate::{Ec2, faults};

impl Operation<AssociateVpcCidrBlock> for Ec2 {
    fn permissions(&self, call: &Call, input: &AssociateVpcCidrBlockRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:AssociateVpcCidrBlock", resource_arn(call, "vpc", input.vpc_id.as_deref()))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AssociateVpcCidrBlockRequest,
    ) -> Result<AssociateVpcCidrBlockResult, Fault> {
        let id = input.vpc_id.unwrap_or_default();
        if let Some(pool) = input.ipv4_ipam_pool_id.as_ref().or(input.ipv6_ipam_pool_id.as_ref()) {
            let message = format!("The ipam-pool ID '{pool}' does not exist");
            return Err(Fault::new("InvalidIpamPoolId.NotFound", message, 400));
        }
        if let Some(pool) = &input.ipv6_pool {
            let message = format!("The pool ID '{pool}' does not exist.");
            return Err(Fault::new("InvalidPoolID.NotFound", message, 400));
        }
        if input.cidr_block.is_some() {
            return Err(faults::unsupported(
                "A VPC has one IPv4 CIDR block here: make another VPC, or a larger one.",
            ));
        }
        if input.amazon_provided_ipv6_cidr_block != Some(true) {
            return Err(faults::missing("amazonProvidedIpv6CidrBlock"));
        }
        let vpc = self
            .change(call, None, |snapshot| {
                let read = vpc::KIND.find::<Vpc>(snapshot, &call.scope, &id)?;
                if read.ipv6.is_some() {
                    let message =
                        format!("The maximum number of IPv6 CIDR blocks of the VPC '{id}' has been reached.");
                    return Err(Fault::new("CidrBlockLimitExceeded", message, 400));
                }
                let ipv6 = Some(vpc::new_ipv6(snapshot, &*self.ids));
                let vpc = Vpc { ipv6, ..Vpc::clone(&read) };
                let mut transaction = Transaction::new();
                transaction.replace(&read, vpc.clone());
                Ok((transaction, vpc))
            })
            .await?;
        Ok(AssociateVpcCidrBlockResult {
            ipv6_cidr_block_association: vpc
                .ipv6
                .as_ref()
                .map(|ipv6| vpc::describe_ipv6(&vpc, ipv6, "associated")),
            vpc_id: Some(vpc.id.clone()),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn ipv6_comes_and_goes() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let associate = format!("Action=AssociateVpcCidrBlock&VpcId={vpc}");
        let ipv6 = format!("{associate}&AmazonProvidedIpv6CidrBlock=true");
        let answer = server.ask(&ipv6).await;
        let text = |name| crate::testing::texts(&answer, name).concat();
        assert!(text("ipv6CidrBlock").ends_with("::/56"), "{answer}");
        let described = format!("Action=DescribeVpcs&VpcId.1={vpc}");
        assert_eq!(server.ask_for("ipv6CidrBlock", &described).await, [text("ipv6CidrBlock")]);
        for (query, fault) in [
            (ipv6.clone(), "400 CidrBlockLimitExceeded: "),
            (associate.clone(), "400 MissingParameter: "),
            (format!("{associate}&CidrBlock=10.1.0.0/16"), "400 UnsupportedOperation: "),
            (format!("{associate}&Ipv6Pool=x&Ipv6CidrBlock=fd00::/56"), "400 InvalidPoolID.NotFound: "),
            (format!("{associate}&Ipv4IpamPoolId=x"), "400 InvalidIpamPoolId.NotFound: "),
        ] {
            let found = server.fault(&query).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
        let query = format!("Action=DisassociateVpcCidrBlock&AssociationId={}", text("associationId"));
        assert_eq!(server.ask_for("state", &query).await, ["disassociated"]);
        assert_eq!(server.ask_for("ipv6CidrBlock", &described).await, [""; 0]);
    }
}
