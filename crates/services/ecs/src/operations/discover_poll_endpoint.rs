//! Tells an agent where its web sockets are. AWS: DiscoverPollEndpoint.
//!
//! Differs from AWS: there is no endpoint for Service Connect yet.

use api::ecs::operations::DiscoverPollEndpoint;
use api::ecs::{DiscoverPollEndpointRequest, DiscoverPollEndpointResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Ecs;
use crate::resources::{cluster, container_instance};

impl Operation<DiscoverPollEndpoint> for Ecs {
    fn permissions(&self, _call: &Call, _input: &DiscoverPollEndpointRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:DiscoverPollEndpoint", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DiscoverPollEndpointRequest,
    ) -> Result<DiscoverPollEndpointResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        if let Some(text) = &input.container_instance {
            container_instance::id(call, &name, text)?;
        }
        let endpoint = call.endpoint.trim_end_matches('/');
        Ok(DiscoverPollEndpointResponse {
            endpoint: Some(format!("{endpoint}{}", self.config.agent_endpoint_path)),
            telemetry_endpoint: Some(format!("{endpoint}{}", self.config.telemetry_endpoint_path)),
            service_connect_endpoint: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn where_the_client_found_us() {
        let (world, instance) = World::with_instance(1024, 1024, &[]).await;
        let body = json!({"cluster": "default", "containerInstance": instance, "zoneId": ""});
        let answer = world.ok("DiscoverPollEndpoint", body).await;
        assert_eq!(
            answer,
            json!({
                "endpoint": "http://127.0.0.1:4566/_roadstead/acs",
                "telemetryEndpoint": "http://127.0.0.1:4566/_roadstead/tcs",
            })
        );
    }
}
