//! Removes a service that has no instances. AWS: DeleteService.

use api::servicediscovery::operations::DeleteService;
use api::servicediscovery::{DeleteServiceRequest, DeleteServiceResponse, faults as modelled};
use domain::DiscoveryNamespace;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{namespace, service};
use crate::{Servicediscovery, faults};

impl Operation<DeleteService> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &DeleteServiceRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:DeleteService", input.id.as_deref().unwrap_or("*"))]
    }

    async fn handle(&self, call: &Call, input: DeleteServiceRequest) -> Result<DeleteServiceResponse, Fault> {
        let given = input.id.unwrap_or_default();

        let outcome = self.store.update(|snapshot| {
            let found = service::get(snapshot, &call.scope, &given)?;
            if found.instance_count > 0 {
                return Err(modelled::resource_in_use(
                    "Service contains registered instances; delete the instances before deleting the service",
                ));
            }
            let of = namespace::get(snapshot, &call.scope, &found.namespace)?;
            let mut next = DiscoveryNamespace::clone(&of);
            next.service_count = next.service_count.saturating_sub(1);
            let mut transaction = Transaction::new();
            transaction.replace(&of, next);
            transaction.remove(&found);
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(DeleteServiceResponse {})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_service_goes_when_its_instances_have() {
        let world = World::new();
        let service = world.backend(&[("a", "10.0.0.1", "HEALTHY")]).await;
        assert_eq!(
            world.refused("DeleteService", json!({"Id": service})).await,
            "ResourceInUse: Service contains registered instances; delete the instances before deleting the service"
        );
        world.ok("DeregisterInstance", json!({"ServiceId": service, "InstanceId": "a"})).await;
        world.ok("DeleteService", json!({"Id": service})).await;
        assert_eq!(
            world.refused("DeleteService", json!({"Id": service})).await,
            format!("ServiceNotFound: Service not found: {service}")
        );
    }
}
