//! Shows the health of a service's instances. AWS: GetInstancesHealthStatus.
//!
//! Differs from AWS: there is no delay between registering an instance and knowing its health.

use std::collections::BTreeMap;

use api::servicediscovery::operations::GetInstancesHealthStatus;
use api::servicediscovery::{GetInstancesHealthStatusRequest, GetInstancesHealthStatusResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::page::PageRequest;
use crate::resources::{instance, service};

impl Operation<GetInstancesHealthStatus> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &GetInstancesHealthStatusRequest) -> Vec<Permission> {
        let service = input.service_id.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:GetInstancesHealthStatus", service)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: GetInstancesHealthStatusRequest,
    ) -> Result<GetInstancesHealthStatusResponse, Fault> {
        let snapshot = self.store.snapshot();
        let found = service::get(&snapshot, &call.scope, &input.service_id.unwrap_or_default())?;
        let listing = format!("GetInstancesHealthStatus/{}", found.id);
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        if let Some(wanted) = input.instances {
            let mut status = BTreeMap::new();
            for id in wanted {
                let row = instance::get(&snapshot, &found, &id)?;
                status.insert(id, instance::health(&found, &row).to_owned());
            }
            return Ok(GetInstancesHealthStatusResponse { next_token: None, status: Some(status) });
        }
        let rows = instance::of_service(&snapshot, &call.scope, &found.id, page.after.as_deref());
        let (status, next_token) = page.take(
            rows.map(|row| (row.id.clone(), (row.id.clone(), instance::health(&found, &row).to_owned()))),
        );

        Ok(GetInstancesHealthStatusResponse { next_token, status: Some(status.into_iter().collect()) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn health_of_all_or_of_some() {
        let world = World::new();
        let service = world.backend(&[("a", "10.0.0.1", "HEALTHY"), ("b", "10.0.0.2", "UNHEALTHY")]).await;
        let all = world.ok("GetInstancesHealthStatus", json!({"ServiceId": service})).await;
        assert_eq!(all["Status"], json!({"a": "HEALTHY", "b": "UNHEALTHY"}));
        let some = json!({"ServiceId": service, "Instances": ["b"]});
        assert_eq!(world.ok("GetInstancesHealthStatus", some).await["Status"], json!({"b": "UNHEALTHY"}));
        let page = world.ok("GetInstancesHealthStatus", json!({"ServiceId": service, "MaxResults": 1})).await;
        assert_eq!(page["Status"], json!({"a": "HEALTHY"}));
        assert!(page["NextToken"].is_string());
        for (body, code) in [
            (json!({"ServiceId": service, "Instances": ["c"]}), "InstanceNotFound: "),
            (json!({"ServiceId": "srv-none"}), "ServiceNotFound: "),
            (json!({"ServiceId": service, "NextToken": "x"}), "InvalidInput: "),
        ] {
            let refused = world.refused("GetInstancesHealthStatus", body).await;
            assert!(refused.starts_with(code), "{refused}");
        }
    }
}
