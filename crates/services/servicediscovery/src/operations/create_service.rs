//! Makes a service in a namespace. AWS: CreateService.
//!
//! Differs from AWS: HealthCheckConfig is refused, as no Route 53 health check looks at instances. A service in a DNS
//! namespace without DnsConfig is found by DiscoverInstances alone, as with the Type HTTP. Of AWS's faults for settings that
//! do not go together only the code is known, not the wording.

use std::collections::BTreeMap;

use api::servicediscovery::operations::CreateService;
use api::servicediscovery::{CreateServiceRequest, CreateServiceResponse};
use domain::{DiscoveryNamespace, DiscoveryNamespaceType, DiscoveryService, DiscoveryServiceType};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{namespace, service, tag};
use crate::{Servicediscovery, faults};

impl Operation<CreateService> for Servicediscovery {
    fn permissions(&self, call: &Call, input: &CreateServiceRequest) -> Vec<Permission> {
        let namespace = input.namespace_id.as_deref().unwrap_or("*");
        let arn = DiscoveryNamespace::arn_of(&call.scope, namespace).to_string();
        vec![Permission::new("servicediscovery:CreateService", arn)]
    }

    async fn handle(&self, call: &Call, input: CreateServiceRequest) -> Result<CreateServiceResponse, Fault> {
        let in_dns_config = input.dns_config.as_ref().and_then(|dns_config| dns_config.namespace_id.clone());
        let given = input.namespace_id.or(in_dns_config);
        let given = given.ok_or_else(|| faults::invalid("A NamespaceId must be specified."))?;
        let is_api_only = input.type_.is_some();
        if is_api_only && input.dns_config.is_some() {
            return Err(faults::invalid("DnsConfig can't be specified for a service of the type HTTP."));
        }
        let has_dns_config = input.dns_config.is_some();
        let (mut records, mut routing_policy) = (Vec::new(), None);
        if let Some(dns_config) = input.dns_config {
            records = service::parse_records(dns_config.dns_records)?;
            routing_policy = Some(service::parse_policy(dns_config.routing_policy.as_deref(), &records)?);
        }
        let wish = DiscoveryService {
            scope: call.scope.clone(),
            id: domain::discovery_id(&*self.ids, "srv"),
            name: input.name.unwrap_or_default(),
            namespace: String::new(),
            service_type: if has_dns_config {
                DiscoveryServiceType::DnsHttp
            } else {
                DiscoveryServiceType::Http
            },
            description: input.description,
            routing_policy,
            records,
            health_check: None,
            custom_health: input.health_check_custom_config.is_some(),
            attributes: BTreeMap::new(),
            creator_request_id: input.creator_request_id,
            instance_count: 0,
            instances_revision: 0,
            managed_by: None,
            connect: None,
            created_at: call.now,
            tags: tag::parse(input.tags)?,
        };

        let outcome = self.store.update(|snapshot| {
            let namespace = namespace::get(snapshot, &call.scope, &given)?;
            if has_dns_config && namespace.namespace_type == DiscoveryNamespaceType::Http {
                return Err(faults::invalid(
                    "DnsConfig can't be specified for a service in an HTTP namespace.",
                ));
            }
            service::check_health_check(
                input.health_check_config.as_ref(),
                wish.custom_health,
                namespace.namespace_type,
            )?;
            if let Some(there) = service::by_name(snapshot, &namespace, &wish.name) {
                let is_again =
                    wish.creator_request_id.is_some() && there.creator_request_id == wish.creator_request_id;
                return if is_again {
                    Ok((Transaction::new(), DiscoveryService::clone(&there)))
                } else {
                    Err(service::already_exists(&there))
                };
            }
            let made = DiscoveryService { namespace: namespace.id.clone(), ..wish.clone() };
            let mut transaction = Transaction::new();
            let mut next = DiscoveryNamespace::clone(&namespace);
            next.service_count += 1;
            transaction.replace(&namespace, next);
            transaction.insert(made.clone());
            Ok((transaction, made))
        });
        let made = outcome.await.map_err(faults::of_update)?;

        Ok(CreateServiceResponse { service: Some(service::describe(&made)) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_service_of_a_private_namespace_has_records() {
        let world = World::new();
        let namespace = world.private_namespace().await;
        let body = json!({
            "Name": "backend",
            "DnsConfig": {"NamespaceId": namespace, "DnsRecords": [{"Type": "SRV", "TTL": 5}, {"Type": "A", "TTL": 60}]},
            "HealthCheckCustomConfig": {"FailureThreshold": 3},
            "CreatorRequestId": "one",
        });
        let made = world.ok("CreateService", body.clone()).await["Service"].clone();
        assert_eq!(made["Type"], "DNS_HTTP");
        assert_eq!(made["DnsConfig"]["RoutingPolicy"], "MULTIVALUE");
        assert_eq!(
            made["DnsConfig"]["DnsRecords"],
            json!([{"Type": "SRV", "TTL": 5}, {"Type": "A", "TTL": 60}])
        );
        assert_eq!(made["HealthCheckCustomConfig"]["FailureThreshold"], 1);
        assert_eq!(made["InstanceCount"], 0);
        assert_eq!(world.ok("CreateService", body).await["Service"], made);
        let (status, answer) =
            world.ask("CreateService", json!({"Name": "Backend", "NamespaceId": namespace})).await;
        assert_eq!((status, &answer["ServiceId"], &answer["ServiceArn"]), (400, &made["Id"], &made["Arn"]));
        let found = world.ok("GetNamespace", json!({"Id": namespace})).await["Namespace"].clone();
        assert_eq!(found["ServiceCount"], 1);
    }

    #[tokio::test]
    async fn settings_that_do_not_go_together_are_refused() {
        let world = World::new();
        let http = world.http_namespace().await;
        let dns = world.private_namespace().await;
        let a = json!({"DnsRecords": [{"Type": "A", "TTL": 60}]});
        for (body, code) in [
            (json!({"Name": "s"}), "InvalidInput"),
            (json!({"Name": "s", "NamespaceId": "ns-none"}), "NamespaceNotFound"),
            (json!({"Name": "s", "NamespaceId": http, "DnsConfig": a}), "InvalidInput"),
            (json!({"Name": "s", "NamespaceId": dns, "Type": "HTTP", "DnsConfig": a}), "InvalidInput"),
            (
                json!({"Name": "s", "NamespaceId": http, "HealthCheckConfig": {"Type": "HTTP"}}),
                "InvalidInput",
            ),
            (
                json!({"Name": "s", "NamespaceId": http, "HealthCheckConfig": {"Type": "TCP"}, "HealthCheckCustomConfig": {}}),
                "InvalidInput",
            ),
            (
                json!({"Name": "s", "NamespaceId": dns, "DnsConfig": {"DnsRecords": [
                    {"Type": "CNAME", "TTL": 1}, {"Type": "A", "TTL": 1}], "RoutingPolicy": "WEIGHTED"}}),
                "InvalidInput",
            ),
            (
                json!({"Name": "s", "NamespaceId": dns, "DnsConfig": {"DnsRecords": [{"Type": "CNAME", "TTL": 1}]}}),
                "InvalidInput",
            ),
            (json!({"Name": "s", "NamespaceId": dns, "DnsConfig": {"DnsRecords": []}}), "InvalidInput"),
        ] {
            let refused = world.refused("CreateService", body.clone()).await;
            assert!(refused.starts_with(&format!("{code}: ")), "{body}: {refused}");
        }
        let api_only = world.service(&dns, json!({"Type": "HTTP"})).await;
        let found = world.ok("GetService", json!({"Id": api_only})).await["Service"].clone();
        assert_eq!((&found["Type"], &found["DnsConfig"]), (&json!("HTTP"), &json!(null)));
    }
}
