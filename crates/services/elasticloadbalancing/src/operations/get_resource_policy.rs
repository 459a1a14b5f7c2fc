//! GetResourcePolicy: tells the policy of a resource that is shared with other accounts. Source: Elastic Load Balancing API reference, "GetResourcePolicy".
//!
//! Differs from AWS: only trust stores have policies, and there are none.

use api::elasticloadbalancing::operations::GetResourcePolicy;
use api::elasticloadbalancing::{GetResourcePolicyInput, GetResourcePolicyOutput, faults};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;

impl Operation<GetResourcePolicy> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &GetResourcePolicyInput) -> Vec<Permission> {
        let arn = input.resource_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:GetResourcePolicy", arn)]
    }

    async fn handle(
        &self,
        _call: &Call,
        input: GetResourcePolicyInput,
    ) -> Result<GetResourcePolicyOutput, Fault> {
        let arn = input.resource_arn.unwrap_or_default();
        Err(faults::resource_not_found_exception(format!("Resource '{arn}' not found")))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn nothing_has_a_policy() {
        let server = Server::new().await;
        assert_eq!(
            server.fault("Action=GetResourcePolicy&ResourceArn=x").await,
            "400 ResourceNotFound: Resource 'x' not found"
        );
    }
}
