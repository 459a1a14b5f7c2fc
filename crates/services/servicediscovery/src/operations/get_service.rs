//! Shows a service. AWS: GetService.

use api::servicediscovery::operations::GetService;
use api::servicediscovery::{GetServiceRequest, GetServiceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::service;

impl Operation<GetService> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &GetServiceRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:GetService", input.id.as_deref().unwrap_or("*"))]
    }

    async fn handle(&self, call: &Call, input: GetServiceRequest) -> Result<GetServiceResponse, Fault> {
        let found = service::get(&self.store.snapshot(), &call.scope, &input.id.unwrap_or_default())?;

        Ok(GetServiceResponse { service: Some(service::describe(&found)) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_service_is_found_by_id_and_arn() {
        let world = World::new();
        let id = world.backend(&[("a", "10.0.0.1", "HEALTHY")]).await;
        let found = world.ok("GetService", json!({"Id": id})).await;
        let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:service/{id}");
        assert_eq!(found["Service"]["Arn"], arn.as_str());
        assert_eq!(found["Service"]["InstanceCount"], 1);
        assert_eq!(world.ok("GetService", json!({"Id": arn})).await, found);
        assert_eq!(
            world.refused("GetService", json!({"Id": "srv-none"})).await,
            "ServiceNotFound: Service not found: srv-none"
        );
    }
}
