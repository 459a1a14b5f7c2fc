//! CreateDefaultVpc: makes the default VPC again after it was deleted. Source: Amazon EC2 API reference, "CreateDefaultVpc".
//!
//! Differs from AWS: its network is the first one that is free (`decisions/0005`).

use api::ec2::operations::CreateDefaultVpc;
use api::ec2::{CreateDefaultVpcRequest, CreateDefaultVpcResult};
use wire::{Call, Fault, Operation, Permission};

use store::rows_vpc;

use crate::resources::{resource_arn, vpc};
use crate::{Ec2, faults};

impl Operation<CreateDefaultVpc> for Ec2 {
    fn permissions(&self, call: &Call, _input: &CreateDefaultVpcRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:CreateDefaultVpc", resource_arn(call, "vpc", Some("*")))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateDefaultVpcRequest,
    ) -> Result<CreateDefaultVpcResult, Fault> {
        let made = self
            .change(call, input.dry_run, |snapshot| {
                if let Some(found) = rows_vpc::find_default_vpc(snapshot, &call.scope) {
                    let message = format!(
                        "A Default VPC already exists for this account in this region: {}",
                        found.vpc.id
                    );
                    return Err(Fault::new("DefaultVpcAlreadyExists", message, 400));
                }
                vpc::check_quota(snapshot, &call.scope)?;
                let made = rows_vpc::make_default_vpc(snapshot, &call.scope, &self.networks, &*self.ids);
                made.map_err(|error| faults::of_default_vpc(&error))
            })
            .await?;
        Ok(CreateDefaultVpcResult { vpc: Some(vpc::describe(&made.vpc)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn it_is_made_again_when_asked_for() {
        let server = Server::new();
        let old = server.default_vpc().await.vpc.id;
        assert_eq!(
            server.fault("Action=CreateDefaultVpc").await,
            format!(
                "400 DefaultVpcAlreadyExists: A Default VPC already exists for this account in this region: {old}"
            )
        );
        server.delete_default_vpc().await;
        assert_eq!(server.ask_for("vpcId", "Action=DescribeVpcs").await, [""; 0], "not by itself");
        let fault = server.fault("Action=CreateSecurityGroup&GroupName=x&GroupDescription=x").await;
        assert_eq!(fault, "400 VPCIdNotSpecified: No default VPC for this user");
        let new = server.ask_for("vpcId", "Action=CreateDefaultVpc").await.concat();
        assert!(new.starts_with("vpc-") && new != old);
        assert_eq!(server.ask_for("subnetId", "Action=DescribeSubnets").await.len(), 3);
        assert_eq!(server.default_vpc().await.vpc.id, new);
    }
}
