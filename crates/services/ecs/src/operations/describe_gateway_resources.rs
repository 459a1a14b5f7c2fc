//! Describes the load balancers of a gateway. AWS: DescribeGatewayResources.
//!
//! There are none (see [`crate::resources::gateway`]), as for a gateway there that no service uses yet.

use api::ecs::operations::DescribeGatewayResources;
use api::ecs::{
    DescribeGatewayResourcesRequest, DescribeGatewayResourcesResponse, GatewayInfrastructureResources,
    GatewayResources,
};
use wire::{Call, Fault, Operation, Permission};

use crate::Ecs;
use crate::resources::gateway;
use crate::resources::page::PageRequest;

impl Operation<DescribeGatewayResources> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeGatewayResourcesRequest) -> Vec<Permission> {
        let resource = gateway::arn_for_permission(call, input.gateway.as_deref());
        vec![Permission::new("ecs:DescribeGatewayResources", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeGatewayResourcesRequest,
    ) -> Result<DescribeGatewayResourcesResponse, Fault> {
        let name = gateway::name(call, input.gateway.as_deref())?;
        let listing = format!("DescribeGatewayResources/{name}");
        PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;
        let there = gateway::get(&self.store.snapshot(), &call.scope, &name)?;

        Ok(DescribeGatewayResourcesResponse {
            gateway_resources: Some(GatewayResources {
                gateway_arn: Some(there.arn().to_string()),
                resources: Some(GatewayInfrastructureResources { host_shared_alb: Some(Vec::new()) }),
            }),
            next_token: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_gateway::tests::request;
    use crate::testing::World;

    #[tokio::test]
    async fn there_are_none() {
        let world = World::new();
        assert_eq!(
            world.refused("DescribeGatewayResources", json!({"gateway": "front"})).await,
            "GatewayNotFoundException: Gateway not found."
        );
        let made = world.ok("CreateGateway", request(json!({}))).await;
        let shown = world.ok("DescribeGatewayResources", json!({"gateway": "front"})).await;
        let resources = json!({"gatewayArn": made["gatewayArn"], "resources": {"hostSharedAlb": []}});
        assert_eq!(shown, json!({ "gatewayResources": resources }));
        world.refused("DescribeGatewayResources", json!({"gateway": "front", "maxResults": 101})).await;
    }
}
