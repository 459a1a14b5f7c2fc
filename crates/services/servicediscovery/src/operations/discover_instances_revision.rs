//! Tells whether the instances of a service have changed. AWS: DiscoverInstancesRevision.
//!
//! Differs from AWS: there is no limit on requests (RequestLimitExceeded).

use api::servicediscovery::operations::DiscoverInstancesRevision;
use api::servicediscovery::{DiscoverInstancesRevisionRequest, DiscoverInstancesRevisionResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::service;

impl Operation<DiscoverInstancesRevision> for Servicediscovery {
    fn permissions(&self, _call: &Call, _input: &DiscoverInstancesRevisionRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:DiscoverInstancesRevision", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DiscoverInstancesRevisionRequest,
    ) -> Result<DiscoverInstancesRevisionResponse, Fault> {
        let (_, found) = service::discover(
            &self.store.snapshot(),
            &call.scope,
            &input.namespace_name.unwrap_or_default(),
            &input.service_name.unwrap_or_default(),
            input.owner_account.as_deref(),
        )?;

        Ok(DiscoverInstancesRevisionResponse {
            instances_revision: i64::try_from(found.instances_revision).ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn the_revision_grows_with_every_change() {
        let world = World::new();
        let service = world.backend(&[("a", "10.0.0.1", "HEALTHY")]).await;
        let names = json!({"NamespaceName": "insurance.local", "ServiceName": "backend"});
        let revision =
            world.ok("DiscoverInstancesRevision", names.clone()).await["InstancesRevision"].clone();
        let ill = json!({"ServiceId": service, "InstanceId": "a", "Status": "UNHEALTHY"});
        world.ok("UpdateInstanceCustomHealthStatus", ill.clone()).await;
        let next = world.ok("DiscoverInstancesRevision", names.clone()).await["InstancesRevision"].clone();
        assert!(next.as_i64() > revision.as_i64(), "{next} {revision}");
        world.ok("UpdateInstanceCustomHealthStatus", ill).await;
        assert_eq!(world.ok("DiscoverInstancesRevision", names).await["InstancesRevision"], next);
        let bad = json!({"NamespaceName": "x", "ServiceName": "backend"});
        assert!(world.refused("DiscoverInstancesRevision", bad).await.starts_with("NamespaceNotFound: "));
        let bad = json!({"NamespaceName": "insurance.local", "ServiceName": "x"});
        assert!(world.refused("DiscoverInstancesRevision", bad).await.starts_with("ServiceNotFound: "));
    }
}
