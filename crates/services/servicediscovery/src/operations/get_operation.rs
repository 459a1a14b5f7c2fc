//! Shows how far a change is. AWS: GetOperation.
//!
//! Differs from AWS: operations are SUCCESS or FAIL from the start, and are kept for a day.

use api::servicediscovery::operations::GetOperation;
use api::servicediscovery::{GetOperationRequest, GetOperationResponse, faults as modelled};
use domain::DiscoveryOperation;
use store::rows_service_discovery::discovery_operation_key;
use wire::{Call, Fault, Operation, Permission};

use crate::Servicediscovery;
use crate::resources::operation;

impl Operation<GetOperation> for Servicediscovery {
    fn permissions(&self, _call: &Call, _input: &GetOperationRequest) -> Vec<Permission> {
        vec![Permission::new("servicediscovery:GetOperation", "*")]
    }

    async fn handle(&self, call: &Call, input: GetOperationRequest) -> Result<GetOperationResponse, Fault> {
        let id = input.operation_id.unwrap_or_default();
        let is_own = input.owner_account.is_none_or(|owner| owner == call.scope.account.as_str());

        let found =
            self.store.snapshot().get::<DiscoveryOperation>(&discovery_operation_key(&call.scope, &id));
        let found = found.filter(|_| is_own);
        let found =
            found.ok_or_else(|| modelled::operation_not_found(format!("Operation not found: {id}")))?;

        Ok(GetOperationResponse { operation: Some(operation::describe(&found)) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn an_operation_tells_what_it_changed() {
        let world = World::new();
        let service = world.backend(&[]).await;
        let body =
            json!({"ServiceId": service, "InstanceId": "a", "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.1"}});
        let id = world.ok("RegisterInstance", body).await["OperationId"].clone();
        let operation = world.ok("GetOperation", json!({"OperationId": id})).await["Operation"].clone();
        assert_eq!(operation["Type"], "REGISTER_INSTANCE");
        assert_eq!(operation["Targets"], json!({"INSTANCE": "a", "SERVICE": service}));
        assert_eq!(operation["CreateDate"], 1_700_000_000.0);
        assert_eq!(
            world.refused("GetOperation", json!({"OperationId": "none"})).await,
            "OperationNotFound: Operation not found: none"
        );
        let other = json!({"OperationId": id, "OwnerAccount": "999999999999"});
        assert!(world.refused("GetOperation", other).await.starts_with("OperationNotFound: "));
    }
}
