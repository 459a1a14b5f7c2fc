//! Tells whether an instance is healthy. AWS: UpdateInstanceCustomHealthStatus.
//!
//! Differs from AWS: the status changes at once, not after half a minute.

use api::servicediscovery::operations::UpdateInstanceCustomHealthStatus;
use api::servicediscovery::{UpdateInstanceCustomHealthStatusRequest, faults as modelled};
use domain::DiscoveryInstance;
use store::Transaction;
use store::rows_service_discovery::change_instances;
use wire::{Call, Fault, Operation, Permission, Unit};

use crate::resources::{instance, service};
use crate::{Servicediscovery, faults};

impl Operation<UpdateInstanceCustomHealthStatus> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &UpdateInstanceCustomHealthStatusRequest) -> Vec<Permission> {
        let service = input.service_id.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:UpdateInstanceCustomHealthStatus", service)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateInstanceCustomHealthStatusRequest,
    ) -> Result<Unit, Fault> {
        let given = input.service_id.unwrap_or_default();
        let id = input.instance_id.unwrap_or_default();
        let is_healthy = input.status.as_deref() == Some("HEALTHY");

        let outcome = self.store.update(|snapshot| {
            let of = service::get(snapshot, &call.scope, &given)?;
            let found = instance::get(snapshot, &of, &id)?;
            if !of.custom_health {
                return Err(modelled::custom_health_not_found(format!(
                    "Custom health check not found for service: {}",
                    of.id
                )));
            }
            let mut transaction = Transaction::new();
            if found.custom_health != Some(is_healthy) {
                let next =
                    DiscoveryInstance { custom_health: Some(is_healthy), ..DiscoveryInstance::clone(&found) };
                change_instances(snapshot, &mut transaction, &of, vec![next], &[]);
            }
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(Unit {})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    fn body(service: &str, instance: &str) -> Value {
        json!({"ServiceId": service, "InstanceId": instance, "Status": "UNHEALTHY"})
    }

    #[tokio::test]
    async fn health_is_told() {
        let world = World::new();
        let service = world.backend(&[("a", "10.0.0.1", "HEALTHY")]).await;
        world.ok("UpdateInstanceCustomHealthStatus", body(&service, "a")).await;
        let health = world.ok("GetInstancesHealthStatus", json!({"ServiceId": service})).await;
        assert_eq!(health["Status"], json!({"a": "UNHEALTHY"}));
        let namespace = world.http_namespace().await;
        let plain = world.service(&namespace, json!({})).await;
        let instance = json!({"ServiceId": plain, "InstanceId": "a", "Attributes": {"n": "1"}});
        world.ok("RegisterInstance", instance).await;
        for (body, code) in [
            (body(&service, "b"), "InstanceNotFound: "),
            (body("srv-x", "a"), "ServiceNotFound: "),
            (body(&plain, "a"), "CustomHealthNotFound: "),
        ] {
            let refused = world.refused("UpdateInstanceCustomHealthStatus", body).await;
            assert!(refused.starts_with(code), "{refused}");
        }
    }
}
