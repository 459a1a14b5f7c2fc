//! Describes a gateway. AWS: DescribeGateway. Differs from AWS: see [`crate::resources::gateway`].

use api::ecs::operations::DescribeGateway;
use api::ecs::{DescribeGatewayRequest, DescribeGatewayResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Ecs;
use crate::resources::gateway;

impl Operation<DescribeGateway> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeGatewayRequest) -> Vec<Permission> {
        let resource = gateway::arn_for_permission(call, input.gateway.as_deref());
        vec![Permission::new("ecs:DescribeGateway", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeGatewayRequest,
    ) -> Result<DescribeGatewayResponse, Fault> {
        let name = gateway::name(call, input.gateway.as_deref())?;
        let there = gateway::get(&self.store.snapshot(), &call.scope, &name)?;
        Ok(DescribeGatewayResponse { gateway: Some(gateway::describe(&there)?) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_gateway::tests::request;
    use crate::testing::World;

    #[tokio::test]
    async fn by_name_and_by_arn() {
        let world = World::new();
        let made = world.ok("CreateGateway", request(json!({}))).await;
        let by_arn = world.ok("DescribeGateway", json!({"gateway": made["gatewayArn"]})).await;
        assert_eq!(world.ok("DescribeGateway", json!({"gateway": "front"})).await, by_arn);
        for (text, wanted) in [
            ("ghost", "GatewayNotFoundException: Gateway not found."),
            (
                "arn:aws:ecs:us-east-1:000000000000:cluster/front",
                "InvalidParameterException: Unsupported resource type: cluster",
            ),
        ] {
            assert_eq!(world.refused("DescribeGateway", json!({"gateway": text})).await, wanted);
        }
        world.refused("DescribeGateway", json!({"gateway": ""})).await;
    }
}
