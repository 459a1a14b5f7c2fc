//! Shows an instance. AWS: GetInstance.

use api::servicediscovery::operations::GetInstance;
use api::servicediscovery::{GetInstanceRequest, GetInstanceResponse, Instance};
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::{instance, service};

impl Operation<GetInstance> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &GetInstanceRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:GetInstance", input.service_id.as_deref().unwrap_or("*"))]
    }

    async fn handle(&self, call: &Call, input: GetInstanceRequest) -> Result<GetInstanceResponse, Fault> {
        let snapshot = self.store.snapshot();
        let of = service::get(&snapshot, &call.scope, &input.service_id.unwrap_or_default())?;
        let found = instance::get(&snapshot, &of, &input.instance_id.unwrap_or_default())?;

        let account = call.scope.account.to_string();
        let shown = Instance {
            attributes: Some(found.attributes.clone()),
            created_by_account: Some(account.clone()),
            creator_request_id: found.creator_request_id.clone(),
            id: Some(found.id.clone()),
        };
        Ok(GetInstanceResponse { instance: Some(shown), resource_owner: Some(account) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn an_instance_is_shown() {
        let world = World::new();
        let service = world.backend(&[("a", "10.0.0.1", "HEALTHY")]).await;
        let found = world.ok("GetInstance", json!({"ServiceId": service, "InstanceId": "a"})).await;
        assert_eq!(found["Instance"]["Attributes"]["AWS_INSTANCE_IPV4"], "10.0.0.1");
        for (body, refused) in [
            (json!({"ServiceId": service, "InstanceId": "b"}), "InstanceNotFound: Instance not found: b"),
            (json!({"ServiceId": "srv-x", "InstanceId": "a"}), "ServiceNotFound: Service not found: srv-x"),
        ] {
            assert_eq!(world.refused("GetInstance", body).await, refused);
        }
    }
}
