//! Changes description and records of a service. AWS: UpdateService.
//!
//! Differs from AWS: it is done in the transaction of the call. As AWS documents, records that are left out are removed; types
//! that the service did not have cannot be added. HealthCheckConfig is refused (see CreateService).

use api::servicediscovery::operations::UpdateService;
use api::servicediscovery::{UpdateServiceRequest, UpdateServiceResponse};
use domain::{DiscoveryOperation, DiscoveryOperationType, DiscoveryService, DiscoveryServiceType};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{namespace, operation, service};
use crate::{Servicediscovery, faults};

impl Operation<UpdateService> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &UpdateServiceRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:UpdateService", input.id.as_deref().unwrap_or("*"))]
    }

    async fn handle(&self, call: &Call, input: UpdateServiceRequest) -> Result<UpdateServiceResponse, Fault> {
        let given = input.id.unwrap_or_default();
        let change = input.service.unwrap_or_default();
        let records = match change.dns_config {
            Some(dns_config) => service::parse_records(dns_config.dns_records)?,
            None => Vec::new(),
        };
        let made = operation::done(&*self.ids, &call.scope, DiscoveryOperationType::UpdateService, call.now);

        let outcome = self.store.update(|snapshot| {
            let found = service::get(snapshot, &call.scope, &given)?;
            let of = namespace::get(snapshot, &call.scope, &found.namespace)?;
            service::check_health_check(
                change.health_check_config.as_ref(),
                found.custom_health,
                of.namespace_type,
            )?;
            if let Some((added, _)) = records.iter().find(|(kind, _)| found.ttl_seconds(*kind).is_none()) {
                return Err(faults::invalid(format!(
                    "The service has no DNS record of the type {added}: types can't be added."
                )));
            }
            let mut next = DiscoveryService::clone(&found);
            next.description = change.description.clone().or(next.description);
            next.records.clone_from(&records);
            if records.is_empty() {
                next.routing_policy = None;
                next.service_type = DiscoveryServiceType::Http;
            }
            let mut transaction = Transaction::new();
            transaction.insert(DiscoveryOperation { service: Some(next.id.clone()), ..made.clone() });
            transaction.replace(&found, next);
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(UpdateServiceResponse { operation_id: Some(made.id) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn records_get_another_time_to_live_or_go() {
        let world = World::new();
        let id = world.backend(&[]).await;
        let change = json!({"Id": id, "Service": {"Description": "d", "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 7}]}}});
        let operation = world.operation("UpdateService", change).await;
        assert_eq!(operation["Targets"], json!({"SERVICE": id}));
        let found = world.ok("GetService", json!({"Id": id})).await["Service"].clone();
        assert_eq!(found["DnsConfig"]["DnsRecords"], json!([{"Type": "A", "TTL": 7}]));
        assert_eq!(found["Description"], "d");
        let change =
            json!({"Id": id, "Service": {"DnsConfig": {"DnsRecords": [{"Type": "AAAA", "TTL": 7}]}}});
        let refused = world.refused("UpdateService", change).await;
        assert!(refused.starts_with("InvalidInput: "), "{refused}");
        world.operation("UpdateService", json!({"Id": id, "Service": {"Description": "e"}})).await;
        let found = world.ok("GetService", json!({"Id": id})).await["Service"].clone();
        assert_eq!((&found["Type"], &found["DnsConfig"]), (&json!("HTTP"), &json!(null)));
        assert_eq!(found["HealthCheckCustomConfig"]["FailureThreshold"], 1);
        assert_eq!(
            world.refused("UpdateService", json!({"Id": "srv-none", "Service": {}})).await,
            "ServiceNotFound: Service not found: srv-none"
        );
    }
}
