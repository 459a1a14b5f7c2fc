//! Describes a route of a service through a gateway. AWS: DescribeGatewayRoute.
//!
//! There are none (see [`crate::resources::gateway`]), so that every route is one that is not found.

use api::ecs::operations::DescribeGatewayRoute;
use api::ecs::{DescribeGatewayRouteRequest, DescribeGatewayRouteResponse, faults as modelled};
use wire::{Call, Fault, Operation, Permission};

use crate::Ecs;
use crate::resources::identifier;

impl Operation<DescribeGatewayRoute> for Ecs {
    fn permissions(&self, _call: &Call, input: &DescribeGatewayRouteRequest) -> Vec<Permission> {
        let resource = input.gateway_route_arn.as_deref().unwrap_or("*");
        vec![Permission::new("ecs:DescribeGatewayRoute", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeGatewayRouteRequest,
    ) -> Result<DescribeGatewayRouteResponse, Fault> {
        identifier::own_arn(call, input.gateway_route_arn.as_deref().unwrap_or_default(), "gateway-route")?;
        Err(modelled::resource_not_found_exception("Gateway route not found."))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn there_are_none() {
        let world = World::new();
        for (arn, wanted) in [
            (
                "arn:aws:ecs:us-east-1:000000000000:gateway-route/front/abc",
                "ResourceNotFoundException: Gateway route not found.",
            ),
            ("front", "InvalidParameterException: Invalid arn syntax."),
            (
                "arn:aws:ecs:us-east-1:000000000000:gateway/front",
                "InvalidParameterException: Unsupported resource type: gateway",
            ),
        ] {
            let body = json!({"gatewayRouteArn": arn});
            assert_eq!(world.refused("DescribeGatewayRoute", body).await, wanted);
        }
    }
}
