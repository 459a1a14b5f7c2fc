//! Lets the services of a cluster use a gateway. AWS: AssociateGatewayWithCluster.
//!
//! Differs from AWS: an association that is there already is answered as it is; whether AWS does so could not be verified.
//! See [`crate::resources::gateway`] for what no service can have yet.

use api::ecs::operations::AssociateGatewayWithCluster;
use api::ecs::{AssociateGatewayWithClusterRequest, AssociateGatewayWithClusterResponse};
use domain::{Cluster, Gateway, GatewayClusterAssociation, GatewayClusterAssociationStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, gateway};
use crate::{Ecs, faults};

impl Operation<AssociateGatewayWithCluster> for Ecs {
    fn permissions(&self, call: &Call, input: &AssociateGatewayWithClusterRequest) -> Vec<Permission> {
        let resource = gateway::arn_for_permission(call, input.gateway.as_deref());
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:AssociateGatewayWithCluster", resource).when("ecs:cluster", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AssociateGatewayWithClusterRequest,
    ) -> Result<AssociateGatewayWithClusterResponse, Fault> {
        let gateway_name = gateway::name(call, input.gateway.as_deref())?;
        let cluster_name = cluster::name(call, input.cluster.as_deref())?;

        let update = self.store.update(|snapshot| {
            let gateway = gateway::get(snapshot, &call.scope, &gateway_name)?;
            let cluster = cluster::get(snapshot, &call.scope, &cluster_name)?;
            let mut transaction = Transaction::new();
            let next = GatewayClusterAssociation {
                scope: call.scope.clone(),
                gateway: gateway_name.clone(),
                cluster: cluster_name.clone(),
                status: GatewayClusterAssociationStatus::Active,
            };
            match gateway::association(snapshot, &call.scope, &gateway_name, &cluster_name) {
                Some(there) if there.status == GatewayClusterAssociationStatus::Active => {}
                Some(there) => {
                    transaction.replace(&there, next);
                }
                None => {
                    // Both rows are written so that a deletion of either under way starts over and sees the association.
                    transaction.replace(&gateway, Gateway::clone(&gateway));
                    transaction.replace(&cluster, Cluster::clone(&cluster));
                    transaction.insert(next);
                }
            }
            Ok((transaction, (gateway.arn(), cluster.arn())))
        });
        let (gateway, cluster) = update.await.map_err(faults::of_update)?;

        Ok(AssociateGatewayWithClusterResponse {
            cluster_arn: Some(cluster.to_string()),
            gateway_arn: Some(gateway.to_string()),
            status: Some(GatewayClusterAssociationStatus::Active.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_gateway::tests::request;
    use crate::testing::World;

    #[tokio::test]
    async fn once_or_twice() {
        let world = World::with_cluster().await;
        let both = json!({"gateway": "front", "cluster": "default"});
        assert_eq!(
            world.refused("AssociateGatewayWithCluster", both.clone()).await,
            "GatewayNotFoundException: Gateway not found."
        );
        world.ok("CreateGateway", request(json!({}))).await;
        assert_eq!(
            world
                .refused("AssociateGatewayWithCluster", json!({"gateway": "front", "cluster": "ghost"}))
                .await,
            "ClusterNotFoundException: Cluster not found."
        );
        for _ in 0..2 {
            let answer = world.ok("AssociateGatewayWithCluster", both.clone()).await;
            assert_eq!(
                answer,
                json!({
                    "clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/default",
                    "gatewayArn": "arn:aws:ecs:us-east-1:000000000000:gateway/front",
                    "status": "ACTIVE",
                })
            );
        }
        assert_eq!(
            world.refused("DeleteCluster", json!({"cluster": "default"})).await,
            "ClientException: The Cluster cannot be deleted while Gateways are associated."
        );
        let listed = world.ok("ListGatewayClusterAssociations", json!({})).await;
        assert_eq!(listed["gatewayClusterAssociations"].as_array().unwrap().len(), 1);
    }
}
