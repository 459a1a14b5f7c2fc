//! ModifyIpPools: sets the pools of Amazon VPC IPAM that a load balancer takes public addresses from. Source: Elastic Load Balancing API reference, "ModifyIpPools".
//!
//! Differs from AWS: there are no such pools. There is never one to remove.

use api::elasticloadbalancing::operations::ModifyIpPools;
use api::elasticloadbalancing::{ModifyIpPoolsInput, ModifyIpPoolsOutput};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{unsupported, validation};
use crate::resources::load_balancer;

impl Operation<ModifyIpPools> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &ModifyIpPoolsInput) -> Vec<Permission> {
        let arn = input.load_balancer_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:ModifyIpPools", arn)]
    }

    async fn handle(&self, call: &Call, input: ModifyIpPoolsInput) -> Result<ModifyIpPoolsOutput, Fault> {
        let arn = input.load_balancer_arn.unwrap_or_default();
        load_balancer::find(&self.store.snapshot(), &call.scope, &arn)?;
        match (input.ipam_pools, input.remove_ipam_pools) {
            (Some(_), _) => Err(unsupported("IpamPools")),
            (None, Some(_)) => Ok(ModifyIpPoolsOutput { ipam_pools: None }),
            (None, None) => Err(validation("Either IPAM pools or IPAM pools to remove must be specified")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn there_are_no_pools() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        let query = format!("Action=ModifyIpPools&LoadBalancerArn={arn}");
        server.ok(&format!("{query}&RemoveIpamPools.member.1=ipv4")).await;
        for (query, fault) in [
            (
                format!("{query}&IpamPools.Ipv4IpamPoolId=ipam-pool-0"),
                "InvalidConfigurationRequest: IpamPools is not supported by",
            ),
            (query.clone(), "ValidationError: Either IPAM pools or"),
            (format!("{query}0&RemoveIpamPools.member.1=ipv4"), "LoadBalancerNotFound: "),
        ] {
            let told = server.fault(&query).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}
