//! Deletes a gateway. AWS: DeleteGateway. Differs from AWS: the wording of the refusals could not be verified.

use api::ecs::operations::DeleteGateway;
use api::ecs::{DeleteGatewayRequest, DeleteGatewayResponse};
use domain::{GatewayClusterAssociation, GatewayStatus};
use store::{Key, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::gateway;
use crate::{Ecs, faults};

impl Operation<DeleteGateway> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteGatewayRequest) -> Vec<Permission> {
        let resource = gateway::arn_for_permission(call, input.gateway.as_deref());
        vec![Permission::new("ecs:DeleteGateway", resource)]
    }

    async fn handle(&self, call: &Call, input: DeleteGatewayRequest) -> Result<DeleteGatewayResponse, Fault> {
        let name = gateway::name(call, input.gateway.as_deref())?;

        let update = self.store.update(|snapshot| {
            let there = gateway::get(snapshot, &call.scope, &name)?;
            if there.deletion_protection {
                return Err(faults::invalid("The gateway cannot be deleted because deletion protection is enabled."));
            }
            if gateway::has_associations(snapshot, &call.scope, &name) {
                return Err(faults::invalid(
                    "The gateway cannot be deleted because it has cluster associations. Disassociate all clusters first.",
                ));
            }
            let mut transaction = Transaction::new();
            transaction.remove(&there);
            let prefix = Key::prefix(&call.scope, &[&name]);
            for association in snapshot.scan::<GatewayClusterAssociation>(prefix, None) {
                transaction.remove(&association);
            }
            Ok((transaction, there.arn()))
        });
        let arn = update.await.map_err(faults::of_update)?;

        Ok(DeleteGatewayResponse {
            gateway_arn: Some(arn.to_string()),
            name: Some(name),
            status: Some(GatewayStatus::Deleted.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_gateway::tests::request;
    use crate::testing::{World, text};

    #[tokio::test]
    async fn neither_protected_nor_associated() {
        let world = World::with_cluster().await;
        world.ok("CreateGateway", request(json!({"deletionProtection": true}))).await;
        let body = json!({"gateway": "front"});
        assert!(world.refused("DeleteGateway", body.clone()).await.contains("deletion protection"));
        world.ok("UpdateGateway", json!({"gateway": "front", "deletionProtection": false})).await;
        let both = json!({"gateway": "front", "cluster": "default"});
        world.ok("AssociateGatewayWithCluster", both.clone()).await;
        assert!(world.refused("DeleteGateway", body.clone()).await.contains("cluster associations"));
        world.ok("DisassociateGatewayFromCluster", both).await;
        assert_eq!(text(&world.ok("DeleteGateway", body.clone()).await, "/status"), "DELETED");
        for operation in ["DeleteGateway", "DescribeGateway"] {
            assert_eq!(
                world.refused(operation, body.clone()).await,
                "GatewayNotFoundException: Gateway not found."
            );
        }
    }
}
