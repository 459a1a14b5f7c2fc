//! Makes a namespace whose names resolve for everybody. AWS: CreatePublicDnsNamespace.
//!
//! Differs from AWS: it is made in the transaction of the call (see CreateHttpNamespace). Its hosted zone answers on this
//! machine: no registrar delegates to it.

use api::servicediscovery::operations::CreatePublicDnsNamespace;
use api::servicediscovery::{CreatePublicDnsNamespaceRequest, CreatePublicDnsNamespaceResponse};
use domain::{DiscoveryNamespace, DiscoveryNamespaceType};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::{namespace, tag};

impl Operation<CreatePublicDnsNamespace> for Servicediscovery {
    fn permissions(&self, call: &Call, _input: &CreatePublicDnsNamespaceRequest) -> Vec<Permission> {
        let arn = DiscoveryNamespace::arn_of(&call.scope, "*").to_string();
        vec![Permission::new("servicediscovery:CreatePublicDnsNamespace", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreatePublicDnsNamespaceRequest,
    ) -> Result<CreatePublicDnsNamespaceResponse, Fault> {
        let name = input.name.unwrap_or_default();
        namespace::check_domain_name(&name)?;
        let dns_properties = input.properties.and_then(|properties| properties.dns_properties);
        let soa_ttl = dns_properties.and_then(|properties| properties.soa).and_then(|soa| soa.ttl);
        let namespace = DiscoveryNamespace {
            scope: call.scope.clone(),
            id: domain::discovery_id(&*self.ids, "ns"),
            name,
            namespace_type: DiscoveryNamespaceType::DnsPublic,
            description: input.description,
            vpc: None,
            hosted_zone: None,
            soa_ttl_seconds: Some(namespace::soa_ttl(soa_ttl)?),
            creator_request_id: input.creator_request_id,
            made_by: None,
            service_count: 0,
            created_at: call.now,
            tags: tag::parse(input.tags)?,
        };

        let operation_id = self.create_namespace(namespace).await?;

        Ok(CreatePublicDnsNamespaceResponse { operation_id: Some(operation_id) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_public_namespace_is_a_domain() {
        let world = World::new();
        let id = world.made("CreatePublicDnsNamespace", json!({"Name": "example.com"})).await;
        let namespace = world.ok("GetNamespace", json!({"Id": id})).await["Namespace"].clone();
        assert_eq!(namespace["Type"], "DNS_PUBLIC");
        assert_eq!(namespace["Properties"]["DnsProperties"]["SOA"]["TTL"], 15);
        assert_eq!(
            world.refused("CreatePublicDnsNamespace", json!({"Name": "example.com"})).await,
            "NamespaceAlreadyExists: Namespace already exists: example.com"
        );
        let (status, _) = world.ask("CreatePublicDnsNamespace", json!({"Name": "com"})).await;
        assert_eq!(status, 400);
    }
}
