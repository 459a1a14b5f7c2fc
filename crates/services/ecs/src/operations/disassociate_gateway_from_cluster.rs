//! Ends the association of a gateway with a cluster. AWS: DisassociateGatewayFromCluster.
//!
//! There are no routes (see [`crate::resources::gateway`]), so that nothing keeps the association in DISASSOCIATING: it is
//! answered INACTIVE and is gone.

use api::ecs::operations::DisassociateGatewayFromCluster;
use api::ecs::{
    DisassociateGatewayFromClusterRequest, DisassociateGatewayFromClusterResponse, faults as modelled,
};
use domain::GatewayClusterAssociationStatus;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, gateway};
use crate::{Ecs, faults};

impl Operation<DisassociateGatewayFromCluster> for Ecs {
    fn permissions(&self, call: &Call, input: &DisassociateGatewayFromClusterRequest) -> Vec<Permission> {
        let resource = gateway::arn_for_permission(call, input.gateway.as_deref());
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:DisassociateGatewayFromCluster", resource).when("ecs:cluster", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DisassociateGatewayFromClusterRequest,
    ) -> Result<DisassociateGatewayFromClusterResponse, Fault> {
        let gateway_name = gateway::name(call, input.gateway.as_deref())?;
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;

        let update = self.store.update(|snapshot| {
            let gateway = gateway::get(snapshot, &call.scope, &gateway_name)?;
            let cluster = cluster::get(snapshot, &call.scope, &cluster_name)?;
            let there = gateway::association(snapshot, &call.scope, &gateway_name, &cluster_name)
                .ok_or_else(|| {
                    modelled::resource_not_found_exception("The gateway is not associated with the cluster.")
                })?;
            let mut transaction = Transaction::new();
            transaction.remove(&there);
            Ok((transaction, (gateway.arn(), cluster.arn())))
        });
        let (gateway, cluster) = update.await.map_err(faults::of_update)?;

        Ok(DisassociateGatewayFromClusterResponse {
            cluster_arn: Some(cluster.to_string()),
            gateway_arn: Some(gateway.to_string()),
            status: Some(GatewayClusterAssociationStatus::Inactive.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_gateway::tests::request;
    use crate::testing::{World, text};

    #[tokio::test]
    async fn once() {
        let world = World::with_cluster().await;
        world.ok("CreateGateway", request(json!({}))).await;
        let both = json!({"gateway": "front", "cluster": "default"});
        let missing = "ResourceNotFoundException: The gateway is not associated with the cluster.";
        assert_eq!(world.refused("DisassociateGatewayFromCluster", both.clone()).await, missing);
        world.ok("AssociateGatewayWithCluster", both.clone()).await;
        let answer = world.ok("DisassociateGatewayFromCluster", both.clone()).await;
        assert_eq!(text(&answer, "/status"), "INACTIVE");
        assert_eq!(world.refused("DisassociateGatewayFromCluster", both).await, missing);
        for (body, wanted) in [
            (
                json!({"gateway": "ghost", "cluster": "default"}),
                "GatewayNotFoundException: Gateway not found.",
            ),
            (json!({"gateway": "front", "cluster": "ghost"}), "ClusterNotFoundException: Cluster not found."),
        ] {
            assert_eq!(world.refused("DisassociateGatewayFromCluster", body).await, wanted);
        }
    }
}
