//! Shows a namespace. AWS: GetNamespace.

use api::servicediscovery::operations::GetNamespace;
use api::servicediscovery::{GetNamespaceRequest, GetNamespaceResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::namespace;

impl Operation<GetNamespace> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &GetNamespaceRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:GetNamespace", input.id.as_deref().unwrap_or("*"))]
    }

    async fn handle(&self, call: &Call, input: GetNamespaceRequest) -> Result<GetNamespaceResponse, Fault> {
        let found = namespace::get(&self.store.snapshot(), &call.scope, &input.id.unwrap_or_default())?;

        Ok(GetNamespaceResponse { namespace: Some(namespace::describe(&found)) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_namespace_is_found_by_id_and_arn() {
        let world = World::new();
        let id = world.http_namespace().await;
        let found = world.ok("GetNamespace", json!({"Id": id})).await;
        let arn = format!("arn:aws:servicediscovery:us-east-1:123456789012:namespace/{id}");
        assert_eq!(found["Namespace"]["Arn"], arn.as_str());
        assert_eq!(found["Namespace"]["Properties"], json!({"HttpProperties": {"HttpName": "web"}}));
        assert_eq!(world.ok("GetNamespace", json!({"Id": arn})).await, found);
        assert_eq!(
            world.refused("GetNamespace", json!({"Id": "ns-none"})).await,
            "NamespaceNotFound: Namespace not found: ns-none"
        );
    }
}
