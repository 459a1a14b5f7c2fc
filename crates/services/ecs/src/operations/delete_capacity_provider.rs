//! Deletes a capacity provider that no cluster has. AWS: DeleteCapacityProvider.
//!
//! As on AWS, a provider that a cluster still has is answered with `DELETE_FAILED` and the reason, not with a fault.

use api::ecs::operations::DeleteCapacityProvider;
use api::ecs::{DeleteCapacityProviderRequest, DeleteCapacityProviderResponse};
use domain::{CapacityProvider, CapacityProviderStatus, CapacityProviderUpdateStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{capacity_provider, cluster};
use crate::{Ecs, faults};

impl Operation<DeleteCapacityProvider> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteCapacityProviderRequest) -> Vec<Permission> {
        let name = input.capacity_provider.as_deref().unwrap_or_default();
        vec![Permission::new("ecs:DeleteCapacityProvider", capacity_provider::arn_for_permission(call, name))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteCapacityProviderRequest,
    ) -> Result<DeleteCapacityProviderResponse, Fault> {
        let name = capacity_provider::name(call, input.capacity_provider.as_deref().unwrap_or_default())?;
        if capacity_provider::is_fargate(&name) {
            return Err(faults::client(format!(
                "The capacity provider {name} cannot be changed or deleted."
            )));
        }
        let cluster = input.cluster.map(|text| cluster::name(call, Some(&text))).transpose()?;

        let update = self.store.update(|snapshot| {
            if let Some(cluster) = &cluster {
                cluster::get(snapshot, &call.scope, cluster)?;
            }
            let there = capacity_provider::get(snapshot, &call.scope, &name)
                .ok_or_else(capacity_provider::not_found)?;
            let mut next = CapacityProvider::clone(&there);
            let mut answer = next.clone();
            match capacity_provider::clusters_of(snapshot, &call.scope, &name).first() {
                Some(cluster) => {
                    next.update_status = Some(CapacityProviderUpdateStatus::DeleteFailed);
                    next.update_status_reason = Some(format!(
                        "The capacity provider cannot be deleted because it is associated with cluster: {cluster}. Remove \
                         the capacity provider from the cluster and try again."
                    ));
                    answer = next.clone();
                }
                None => {
                    next.status = CapacityProviderStatus::Inactive;
                    next.update_status = Some(CapacityProviderUpdateStatus::DeleteComplete);
                    next.update_status_reason = None;
                    next.deleted_at = Some(call.now);
                    answer.update_status = Some(CapacityProviderUpdateStatus::DeleteInProgress);
                    answer.update_status_reason = None;
                }
            }
            let mut transaction = Transaction::new();
            transaction.replace(&there, next);
            Ok((transaction, answer))
        });
        let provider = update.await.map_err(faults::of_update)?;

        Ok(DeleteCapacityProviderResponse {
            capacity_provider: Some(capacity_provider::describe(&provider, true)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn only_a_provider_without_a_cluster_goes() {
        let world = World::new();
        let group = json!({"autoScalingGroupArn": "group"});
        let make = json!({"name": "mine", "autoScalingGroupProvider": group});
        world.ok("CreateCapacityProvider", make.clone()).await;
        world.ok("CreateCluster", json!({"clusterName": "web", "capacityProviders": ["mine"]})).await;
        let delete = json!({"capacityProvider": "mine"});
        let kept = world.ok("DeleteCapacityProvider", delete.clone()).await;
        assert_eq!(text(&kept, "/capacityProvider/status"), "ACTIVE");
        assert_eq!(text(&kept, "/capacityProvider/updateStatus"), "DELETE_FAILED");
        assert!(
            text(&kept, "/capacityProvider/updateStatusReason").contains("associated with cluster: web.")
        );
        world.ok("DeleteCluster", json!({"cluster": "web"})).await;
        let gone = world.ok("DeleteCapacityProvider", delete.clone()).await;
        assert_eq!(text(&gone, "/capacityProvider/updateStatus"), "DELETE_IN_PROGRESS");
        let described = world.ok("DescribeCapacityProviders", json!({"capacityProviders": ["mine"]})).await;
        assert_eq!(text(&described, "/capacityProviders/0/status"), "INACTIVE");
        assert_eq!(text(&described, "/capacityProviders/0/updateStatus"), "DELETE_COMPLETE");
        let refusal = world.refused("DeleteCapacityProvider", delete).await;
        assert!(refusal.contains("was not found"), "{refusal}");
        // Name and group are free again.
        world.ok("CreateCapacityProvider", make).await;
        for bad in [
            json!({"capacityProvider": "FARGATE_SPOT"}),
            json!({"capacityProvider": "ghost"}),
            json!({"capacityProvider": "mine", "cluster": "ghost"}),
        ] {
            world.refused("DeleteCapacityProvider", bad).await;
        }
    }
}
