//! Takes an instance out of a service. AWS: DeregisterInstance.
//!
//! Differs from AWS: it is done in the transaction of the call, so that no request meets another one under way
//! (DuplicateRequest, ResourceInUse).

use api::servicediscovery::operations::DeregisterInstance;
use api::servicediscovery::{DeregisterInstanceRequest, DeregisterInstanceResponse};
use domain::{DiscoveryOperation, DiscoveryOperationType};
use store::Transaction;
use store::rows_service_discovery::change_instances;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{instance, operation, service};
use crate::{Servicediscovery, faults};

impl Operation<DeregisterInstance> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &DeregisterInstanceRequest) -> Vec<Permission> {
        let service = input.service_id.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:DeregisterInstance", service)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeregisterInstanceRequest,
    ) -> Result<DeregisterInstanceResponse, Fault> {
        let given = input.service_id.unwrap_or_default();
        let id = input.instance_id.unwrap_or_default();
        let made =
            operation::done(&*self.ids, &call.scope, DiscoveryOperationType::DeregisterInstance, call.now);

        let outcome = self.store.update(|snapshot| {
            let of = service::get(snapshot, &call.scope, &given)?;
            instance::get(snapshot, &of, &id)?;
            let mut transaction = Transaction::new();
            change_instances(snapshot, &mut transaction, &of, Vec::new(), std::slice::from_ref(&id));
            transaction.insert(DiscoveryOperation {
                service: Some(of.id.clone()),
                instance: Some(id.clone()),
                ..made.clone()
            });
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(DeregisterInstanceResponse { operation_id: Some(made.id) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn an_instance_is_deregistered_once() {
        let world = World::new();
        let service = world.backend(&[("a", "10.0.0.1", "HEALTHY")]).await;
        let body = json!({"ServiceId": service, "InstanceId": "a"});
        let operation = world.operation("DeregisterInstance", body.clone()).await;
        assert_eq!(operation["Targets"], json!({"INSTANCE": "a", "SERVICE": service}));
        let found = world.ok("GetService", json!({"Id": service})).await["Service"].clone();
        assert_eq!(found["InstanceCount"], 0);
        assert_eq!(
            world.refused("DeregisterInstance", body).await,
            "InstanceNotFound: Instance not found: a"
        );
        let body = json!({"ServiceId": "srv-x", "InstanceId": "a"});
        assert_eq!(
            world.refused("DeregisterInstance", body).await,
            "ServiceNotFound: Service not found: srv-x"
        );
    }
}
