//! Changes the description and the time to live of a private DNS namespace. AWS: UpdatePrivateDnsNamespace.
//!
//! Differs from AWS: it is done in the transaction of the call, so that no request meets another one under way
//! (DuplicateRequest, ResourceInUse).

use api::servicediscovery::operations::UpdatePrivateDnsNamespace;
use api::servicediscovery::{UpdatePrivateDnsNamespaceRequest, UpdatePrivateDnsNamespaceResponse};
use domain::DiscoveryNamespaceType;
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;

impl Operation<UpdatePrivateDnsNamespace> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &UpdatePrivateDnsNamespaceRequest) -> Vec<Permission> {
        vec![Permission::new(
            "servicediscovery:UpdatePrivateDnsNamespace",
            input.id.as_deref().unwrap_or("*"),
        )]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdatePrivateDnsNamespaceRequest,
    ) -> Result<UpdatePrivateDnsNamespaceResponse, Fault> {
        let change = input.namespace.unwrap_or_default();
        let dns_properties = change.properties.and_then(|properties| properties.dns_properties);
        let soa_ttl = dns_properties.and_then(|properties| properties.soa).and_then(|soa| soa.ttl);

        let operation_id = self
            .update_namespace(
                (&call.scope, call.now),
                &input.id.unwrap_or_default(),
                DiscoveryNamespaceType::DnsPrivate,
                (change.description, soa_ttl),
            )
            .await?;

        Ok(UpdatePrivateDnsNamespaceResponse { operation_id: Some(operation_id) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_namespace_of_the_type_is_changed() {
        let world = World::new();
        let id = world.private_namespace().await;
        let soa = json!({"DnsProperties": {"SOA": {"TTL": 99}}});
        let change = json!({"Id": id, "Namespace": {"Properties": soa}});
        let operation = world.operation("UpdatePrivateDnsNamespace", change).await;
        assert_eq!(operation["Type"], "UPDATE_NAMESPACE");
        let namespace = world.ok("GetNamespace", json!({"Id": id})).await["Namespace"].clone();
        assert_eq!(namespace["Properties"]["DnsProperties"]["SOA"]["TTL"], 99);
        let refused =
            world.refused("UpdateHttpNamespace", json!({"Id": id, "Namespace": {"Description": "x"}})).await;
        assert!(refused.starts_with("InvalidInput: "), "{refused}");
        assert_eq!(
            world
                .refused(
                    "UpdatePrivateDnsNamespace",
                    json!({"Id": "ns-none", "Namespace": {"Description": "x"}})
                )
                .await,
            "NamespaceNotFound: Namespace not found: ns-none"
        );
    }
}
