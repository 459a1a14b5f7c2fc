//! Lists the routes of services through gateways. AWS: ListGatewayRoutes.
//!
//! There are none (see [`crate::resources::gateway`]): the filters are read and checked, and the list is empty.

use api::ecs::operations::ListGatewayRoutes;
use api::ecs::{ListGatewayRoutesRequest, ListGatewayRoutesResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::resources::{cluster, gateway};
use crate::{Ecs, faults};

/// What the model calls the states of a route.
const STATUSES: &[&str] = &[
    "ACTIVE",
    "CREATE_IN_PROGRESS",
    "CREATE_FAILED",
    "UPDATE_IN_PROGRESS",
    "UPDATE_FAILED",
    "DELETE_IN_PROGRESS",
    "DELETE_FAILED",
];

impl Operation<ListGatewayRoutes> for Ecs {
    fn permissions(&self, call: &Call, input: &ListGatewayRoutesRequest) -> Vec<Permission> {
        let resource = match &input.gateway {
            Some(gateway) => gateway::arn_for_permission(call, Some(gateway)),
            None => "*".to_owned(),
        };
        vec![Permission::new("ecs:ListGatewayRoutes", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListGatewayRoutesRequest,
    ) -> Result<ListGatewayRoutesResponse, Fault> {
        if let Some(text) = &input.gateway {
            let name = gateway::name(call, Some(text))?;
            gateway::get(&self.store.snapshot(), &call.scope, &name)?;
        }
        if let Some(text) = &input.cluster {
            cluster::name(call, Some(text))?;
        }
        if let Some(word) = input.status.iter().flatten().find(|word| !STATUSES.contains(&word.as_str())) {
            return Err(faults::invalid(format!("Invalid status: {word}")));
        }
        let listing = format!(
            "ListGatewayRoutes/{:?}/{:?}/{:?}/{:?}/{:?}",
            input.gateway, input.cluster, input.service, input.service_container_port_name, input.status
        );
        PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        Ok(ListGatewayRoutesResponse { gateway_routes: Some(Vec::new()), next_token: None })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_gateway::tests::request;
    use crate::testing::World;

    #[tokio::test]
    async fn there_are_none() {
        let world = World::with_cluster().await;
        assert_eq!(
            world.refused("ListGatewayRoutes", json!({"gateway": "front"})).await,
            "GatewayNotFoundException: Gateway not found."
        );
        world.ok("CreateGateway", request(json!({}))).await;
        let listed = world.ok("ListGatewayRoutes", json!({"gateway": "front", "cluster": "default"})).await;
        assert_eq!(listed, json!({"gatewayRoutes": []}));
        for body in [json!({"maxResults": 0}), json!({"nextToken": "x"}), json!({"status": ["GONE"]})] {
            world.refused("ListGatewayRoutes", body).await;
        }
    }
}
