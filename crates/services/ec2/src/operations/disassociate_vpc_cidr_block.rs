//! DisassociateVpcCidrBlock: takes the IPv6 addresses from a VPC in which no subnet has some. Source: Amazon EC2 API reference, "DisassociateVpcCidrBlock".
//!
//! Differs from AWS: they are gone at once. The code of the fault for addresses in use is not documented.

use api::ec2::operations::DisassociateVpcCidrBlock;
use api::ec2::{DisassociateVpcCidrBlockRequest, DisassociateVpcCidrBlockResult};
use wire::{Call, Fault, Operation, Permission};

use domain::Vpc;
use store::{Key, Transaction};

use crate::Ec2;
use crate::resources::{subnet, vpc};

impl Operation<DisassociateVpcCidrBlock> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DisassociateVpcCidrBlockRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DisassociateVpcCidrBlock", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DisassociateVpcCidrBlockRequest,
    ) -> Result<DisassociateVpcCidrBlockResult, Fault> {
        let id = input.association_id.unwrap_or_default();
        let (vpc, ipv6) = self
            .change(call, None, |snapshot| {
                let mut all = snapshot.scan::<Vpc>(Key::prefix(&call.scope, &[]), None);
                let is_ipv6 = |vpc: &Vpc| vpc.ipv6.as_ref().is_some_and(|ipv6| ipv6.id == id);
                let read = all.find(|vpc| vpc.cidr_association_id == id || is_ipv6(vpc)).ok_or_else(|| {
                    let message = format!("The vpc CIDR block association ID '{id}' does not exist");
                    Fault::new("InvalidVpcCidrBlockAssociationID.NotFound", message, 400)
                })?;
                let Some(ipv6) = read.ipv6.clone().filter(|ipv6| ipv6.id == id) else {
                    let message = format!(
                        "The vpc CIDR block with association ID {id} may not be disassociated. It is the primary IPv4 \
                         CIDR block of the VPC"
                    );
                    return Err(Fault::new("OperationNotPermitted", message, 400));
                };
                if subnet::of_vpc(snapshot, &read).any(|subnet| subnet.ipv6.is_some()) {
                    let message =
                        format!("The CIDR block {} of the VPC '{}' is in use by a subnet.", ipv6.cidr, read.id);
                    return Err(Fault::new("InvalidCidr.InUse", message, 400));
                }
                let vpc = Vpc { ipv6: None, ..Vpc::clone(&read) };
                let mut transaction = Transaction::new();
                transaction.replace(&read, vpc.clone());
                Ok((transaction, (vpc, ipv6)))
            })
            .await?;
        Ok(DisassociateVpcCidrBlockResult {
            ipv6_cidr_block_association: Some(vpc::describe_ipv6(&vpc, &ipv6, "disassociated")),
            vpc_id: Some(vpc.id),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let query = "Action=CreateVpc&CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true";
        let answer = server.ask(query).await;
        let texts = |name| crate::testing::texts(&answer, name);
        let cidr = texts("ipv6CidrBlock").concat().replace("::/56", "::/64");
        let vpc = texts("vpcId").concat();
        server
            .done(&format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.0.0/24&Ipv6CidrBlock={cidr}"))
            .await;
        let ids = texts("associationId");
        for (id, fault) in [
            (
                ids[0].as_str(),
                "400 OperationNotPermitted: The vpc CIDR block with association ID vpc-cidr-assoc-",
            ),
            (ids[1].as_str(), "400 InvalidCidr.InUse: "),
            ("vpc-cidr-assoc-0", "400 InvalidVpcCidrBlockAssociationID.NotFound: "),
        ] {
            let found = server.fault(&format!("Action=DisassociateVpcCidrBlock&AssociationId={id}")).await;
            assert!(found.starts_with(fault), "{id}: {found}");
        }
    }
}
