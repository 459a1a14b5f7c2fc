//! Makes a namespace whose names resolve in a VPC. AWS: CreatePrivateDnsNamespace.
//!
//! Differs from AWS: it is made in the transaction of the call (see CreateHttpNamespace). The wording of the operation's
//! error for a VPC that is not there could not be verified.

use api::servicediscovery::operations::CreatePrivateDnsNamespace;
use api::servicediscovery::{CreatePrivateDnsNamespaceRequest, CreatePrivateDnsNamespaceResponse};
use domain::{DiscoveryNamespace, DiscoveryNamespaceType};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::{namespace, tag};

impl Operation<CreatePrivateDnsNamespace> for Servicediscovery {
    fn permissions(&self, call: &Call, _input: &CreatePrivateDnsNamespaceRequest) -> Vec<Permission> {
        let arn = DiscoveryNamespace::arn_of(&call.scope, "*").to_string();
        vec![Permission::new("servicediscovery:CreatePrivateDnsNamespace", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreatePrivateDnsNamespaceRequest,
    ) -> Result<CreatePrivateDnsNamespaceResponse, Fault> {
        let name = input.name.unwrap_or_default();
        namespace::check_domain_name(&name)?;
        let dns_properties = input.properties.and_then(|properties| properties.dns_properties);
        let soa_ttl = dns_properties.and_then(|properties| properties.soa).and_then(|soa| soa.ttl);
        let namespace = DiscoveryNamespace {
            scope: call.scope.clone(),
            id: domain::discovery_id(&*self.ids, "ns"),
            name,
            namespace_type: DiscoveryNamespaceType::DnsPrivate,
            description: input.description,
            vpc: Some(input.vpc.unwrap_or_default()),
            hosted_zone: None,
            soa_ttl_seconds: Some(namespace::soa_ttl(soa_ttl)?),
            creator_request_id: input.creator_request_id,
            made_by: None,
            service_count: 0,
            created_at: call.now,
            tags: tag::parse(input.tags)?,
        };

        let operation_id = self.create_namespace(namespace).await?;

        Ok(CreatePrivateDnsNamespaceResponse { operation_id: Some(operation_id) })
    }
}

#[cfg(test)]
mod tests {
    use domain::{HostedZone, RecordSetContent, RecordType, ResourceRecordSet};
    use serde_json::json;
    use store::rows_dns::{hosted_zone_key, record_set_key};

    use crate::testing::World;

    #[tokio::test]
    async fn a_namespace_has_a_vpc_and_a_time_to_live() {
        let world = World::new();
        let vpc = world.vpc().await;
        let body =
            json!({"Name": "a.local", "Vpc": vpc, "Properties": {"DnsProperties": {"SOA": {"TTL": 60}}}});
        let id = world.made("CreatePrivateDnsNamespace", body.clone()).await;
        let namespace = world.ok("GetNamespace", json!({"Id": id})).await["Namespace"].clone();
        assert_eq!(namespace["Type"], "DNS_PRIVATE");
        assert_eq!(namespace["Properties"]["DnsProperties"]["SOA"]["TTL"], 60);
        assert_eq!(namespace["Properties"]["HttpProperties"]["HttpName"], "a.local");
        let zone = namespace["Properties"]["DnsProperties"]["HostedZoneId"].as_str().unwrap();
        let zone = world.store.snapshot().get::<HostedZone>(&hosted_zone_key(zone)).unwrap();
        assert_eq!((zone.name.as_str(), &zone.vpcs[0].vpc), ("a.local.", &vpc));
        let change = json!({"Id": id, "Namespace": {"Properties": {"DnsProperties": {"SOA": {"TTL": 99}}}}});
        world.operation("UpdatePrivateDnsNamespace", change).await;
        let soa = record_set_key(&zone.id, &zone.name, RecordType::Soa, None);
        let soa = world.store.snapshot().get::<ResourceRecordSet>(&soa).unwrap();
        let RecordSetContent::Records { ttl_seconds, values } = &soa.content else { panic!("records") };
        assert!(*ttl_seconds == 99 && values[0].ends_with(" 1209600 99"), "{values:?}");
        assert_eq!(
            world.refused("CreatePrivateDnsNamespace", body).await,
            "NamespaceAlreadyExists: Namespace already exists: a.local"
        );
    }

    #[tokio::test]
    async fn a_vpc_that_is_not_there_fails_the_operation() {
        let world = World::new();
        let body = json!({"Name": "a.local", "Vpc": "vpc-0123"});
        let operation = world.operation("CreatePrivateDnsNamespace", body).await;
        assert_eq!(operation["Status"], "FAIL");
        assert_eq!(operation["ErrorCode"], "CANNOT_CREATE_HOSTED_ZONE");
        assert_eq!(world.ok("ListNamespaces", json!({})).await["Namespaces"], json!([]));
        for name in ["a..local", "a b"] {
            let refused =
                world.refused("CreatePrivateDnsNamespace", json!({"Name": name, "Vpc": "vpc-0123"})).await;
            assert!(!refused.is_empty(), "{name}");
        }
    }
}
