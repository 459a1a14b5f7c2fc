//! Shows the attributes of a service. AWS: GetServiceAttributes.

use api::servicediscovery::operations::GetServiceAttributes;
use api::servicediscovery::{GetServiceAttributesRequest, GetServiceAttributesResponse, ServiceAttributes};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::service;

impl Operation<GetServiceAttributes> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &GetServiceAttributesRequest) -> Vec<Permission> {
        let service = input.service_id.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:GetServiceAttributes", service)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetServiceAttributesRequest,
    ) -> Result<GetServiceAttributesResponse, Fault> {
        let given = input.service_id.unwrap_or_default();
        let found = service::get(&self.store.snapshot(), &call.scope, &given)?;

        let service_attributes = ServiceAttributes {
            attributes: Some(found.attributes.clone()),
            resource_owner: Some(call.scope.account.to_string()),
            service_arn: Some(found.arn().to_string()),
        };
        Ok(GetServiceAttributesResponse { service_attributes: Some(service_attributes) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_service_starts_without_attributes() {
        let world = World::new();
        let service = world.backend(&[]).await;
        let found = world.ok("GetServiceAttributes", json!({"ServiceId": service})).await;
        assert_eq!(found["ServiceAttributes"]["Attributes"], json!({}));
        assert_eq!(
            world.refused("GetServiceAttributes", json!({"ServiceId": "srv-x"})).await,
            "ServiceNotFound: Service not found: srv-x"
        );
    }
}
