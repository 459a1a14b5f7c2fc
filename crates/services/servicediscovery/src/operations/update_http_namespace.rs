//! Changes the description of an HTTP namespace. AWS: UpdateHttpNamespace.
//!
//! Differs from AWS: it is done in the transaction of the call, so that no request meets another one under way
//! (DuplicateRequest, ResourceInUse).

use api::servicediscovery::operations::UpdateHttpNamespace;
use api::servicediscovery::{UpdateHttpNamespaceRequest, UpdateHttpNamespaceResponse};
use domain::DiscoveryNamespaceType;
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;

impl Operation<UpdateHttpNamespace> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &UpdateHttpNamespaceRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:UpdateHttpNamespace", input.id.as_deref().unwrap_or("*"))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateHttpNamespaceRequest,
    ) -> Result<UpdateHttpNamespaceResponse, Fault> {
        let change = input.namespace.unwrap_or_default();

        let operation_id = self
            .update_namespace(
                (&call.scope, call.now),
                &input.id.unwrap_or_default(),
                DiscoveryNamespaceType::Http,
                (change.description, None),
            )
            .await?;

        Ok(UpdateHttpNamespaceResponse { operation_id: Some(operation_id) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_namespace_of_the_type_is_changed() {
        let world = World::new();
        let id = world.http_namespace().await;
        let change = json!({"Id": id, "Namespace": {"Description": "new"}});
        let operation = world.operation("UpdateHttpNamespace", change).await;
        assert_eq!(operation["Type"], "UPDATE_NAMESPACE");
        let namespace = world.ok("GetNamespace", json!({"Id": id})).await["Namespace"].clone();
        assert_eq!(namespace["Description"], "new");
        let refused = world
            .refused("UpdatePublicDnsNamespace", json!({"Id": id, "Namespace": {"Description": "x"}}))
            .await;
        assert!(refused.starts_with("InvalidInput: "), "{refused}");
        assert_eq!(
            world
                .refused("UpdateHttpNamespace", json!({"Id": "ns-none", "Namespace": {"Description": "x"}}))
                .await,
            "NamespaceNotFound: Namespace not found: ns-none"
        );
    }
}
