//! Adds attributes to a service, or changes them. AWS: UpdateServiceAttributes.

use api::servicediscovery::operations::UpdateServiceAttributes;
use api::servicediscovery::{
    UpdateServiceAttributesRequest, UpdateServiceAttributesResponse, faults as modelled,
};
use domain::DiscoveryService;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::service;
use crate::{Servicediscovery, faults};

/// Attributes of a service. Source: UpdateServiceAttributes, `Attributes`.
const SERVICE_ATTRIBUTES_MAXIMUM: usize = 30;

impl Operation<UpdateServiceAttributes> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &UpdateServiceAttributesRequest) -> Vec<Permission> {
        let service = input.service_id.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:UpdateServiceAttributes", service)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateServiceAttributesRequest,
    ) -> Result<UpdateServiceAttributesResponse, Fault> {
        let given = input.service_id.unwrap_or_default();
        let added = input.attributes.unwrap_or_default();

        let outcome = self.store.update(|snapshot| {
            let found = service::get(snapshot, &call.scope, &given)?;
            let mut next = DiscoveryService::clone(&found);
            next.attributes.extend(added.clone());
            if next.attributes.len() > SERVICE_ATTRIBUTES_MAXIMUM {
                return Err(modelled::service_attributes_limit_exceeded_exception(format!(
                    "The maximum number of attributes of a service is {SERVICE_ATTRIBUTES_MAXIMUM}."
                )));
            }
            let mut transaction = Transaction::new();
            transaction.replace(&found, next);
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(UpdateServiceAttributesResponse {})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use crate::testing::World;

    #[tokio::test]
    async fn attributes_are_added_up_to_thirty() {
        let world = World::new();
        let service = world.backend(&[]).await;
        let body = json!({"ServiceId": service, "Attributes": {"a": "1", "b": "2"}});
        world.ok("UpdateServiceAttributes", body).await;
        world.ok("UpdateServiceAttributes", json!({"ServiceId": service, "Attributes": {"b": "3"}})).await;
        let found = world.ok("GetServiceAttributes", json!({"ServiceId": service})).await;
        assert_eq!(found["ServiceAttributes"]["Attributes"], json!({"a": "1", "b": "3"}));
        let many: Map<_, _> = (0..29).map(|number| (format!("k{number}"), json!("v"))).collect();
        assert_eq!(
            world.refused("UpdateServiceAttributes", json!({"ServiceId": service, "Attributes": many})).await,
            "ServiceAttributesLimitExceededException: The maximum number of attributes of a service is 30."
        );
        let bad = json!({"ServiceId": "srv-x", "Attributes": {"a": "1"}});
        assert!(world.refused("UpdateServiceAttributes", bad).await.starts_with("ServiceNotFound: "));
    }
}
