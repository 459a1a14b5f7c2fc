//! Removes a namespace that has no services. AWS: DeleteNamespace.
//!
//! Differs from AWS: it is done in the transaction of the call, so that no request meets another one under way
//! (DuplicateRequest).

use api::servicediscovery::operations::DeleteNamespace;
use api::servicediscovery::{DeleteNamespaceRequest, DeleteNamespaceResponse, faults as modelled};
use domain::{DiscoveryOperation, DiscoveryOperationType};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{namespace, operation};
use crate::{Servicediscovery, faults};

impl Operation<DeleteNamespace> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &DeleteNamespaceRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:DeleteNamespace", input.id.as_deref().unwrap_or("*"))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteNamespaceRequest,
    ) -> Result<DeleteNamespaceResponse, Fault> {
        let given = input.id.unwrap_or_default();
        let made =
            operation::done(&*self.ids, &call.scope, DiscoveryOperationType::DeleteNamespace, call.now);

        let outcome = self.store.update(|snapshot| {
            let found = namespace::get(snapshot, &call.scope, &given)?;
            if found.service_count > 0 {
                return Err(modelled::resource_in_use(
                    "Namespace has associated services; delete the services before deleting the namespace",
                ));
            }
            let mut transaction = Transaction::new();
            namespace::remove_zone(snapshot, &found, &mut transaction);
            transaction.remove(&found);
            transaction.insert(DiscoveryOperation { namespace: Some(found.id.clone()), ..made.clone() });
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(DeleteNamespaceResponse { operation_id: Some(made.id) })
    }
}

#[cfg(test)]
mod tests {
    use domain::{HostedZone, ResourceRecordSet};
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn its_hosted_zone_goes_with_it() {
        let world = World::new();
        let namespace = world.private_namespace().await;
        assert_eq!(world.store.snapshot().count::<HostedZone>(), 1);
        world.operation("DeleteNamespace", json!({"Id": namespace})).await;
        let snapshot = world.store.snapshot();
        assert_eq!((snapshot.count::<HostedZone>(), snapshot.count::<ResourceRecordSet>()), (0, 0));
    }

    #[tokio::test]
    async fn a_namespace_goes_when_its_services_have() {
        let world = World::new();
        let namespace = world.http_namespace().await;
        let service = world.service(&namespace, json!({})).await;
        let refused = world.refused("DeleteNamespace", json!({"Id": namespace})).await;
        assert!(refused.starts_with("ResourceInUse: "), "{refused}");
        world.ok("DeleteService", json!({"Id": service})).await;
        let operation = world.operation("DeleteNamespace", json!({"Id": namespace})).await;
        assert_eq!(
            (&operation["Type"], &operation["Status"]),
            (&json!("DELETE_NAMESPACE"), &json!("SUCCESS"))
        );
        assert_eq!(
            world.refused("DeleteNamespace", json!({"Id": namespace})).await,
            format!("NamespaceNotFound: Namespace not found: {namespace}")
        );
    }
}
