//! Removes attributes of a service. AWS: DeleteServiceAttributes.
//!
//! Keys that the service does not have are passed over; AWS does not say what it does with them.

use api::servicediscovery::operations::DeleteServiceAttributes;
use api::servicediscovery::{DeleteServiceAttributesRequest, DeleteServiceAttributesResponse};
use domain::DiscoveryService;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::service;
use crate::{Servicediscovery, faults};

impl Operation<DeleteServiceAttributes> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &DeleteServiceAttributesRequest) -> Vec<Permission> {
        let service = input.service_id.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:DeleteServiceAttributes", service)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteServiceAttributesRequest,
    ) -> Result<DeleteServiceAttributesResponse, Fault> {
        let given = input.service_id.unwrap_or_default();
        let removed = input.attributes.unwrap_or_default();

        let outcome = self.store.update(|snapshot| {
            let found = service::get(snapshot, &call.scope, &given)?;
            let mut next = DiscoveryService::clone(&found);
            next.attributes.retain(|key, _| !removed.contains(key));
            let mut transaction = Transaction::new();
            transaction.replace(&found, next);
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(DeleteServiceAttributesResponse {})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn attributes_are_removed() {
        let world = World::new();
        let service = world.backend(&[]).await;
        let body = json!({"ServiceId": service, "Attributes": {"a": "1", "b": "2"}});
        world.ok("UpdateServiceAttributes", body).await;
        world.ok("DeleteServiceAttributes", json!({"ServiceId": service, "Attributes": ["a", "z"]})).await;
        let found = world.ok("GetServiceAttributes", json!({"ServiceId": service})).await;
        assert_eq!(found["ServiceAttributes"]["Attributes"], json!({"b": "2"}));
        let bad = json!({"ServiceId": "srv-x", "Attributes": ["a"]});
        assert!(world.refused("DeleteServiceAttributes", bad).await.starts_with("ServiceNotFound: "));
    }
}
