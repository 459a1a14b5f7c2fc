//! Sets a cluster's capacity providers and default strategy. AWS: PutClusterCapacityProviders.
//!
//! Differs from AWS: the providers are FARGATE and FARGATE_SPOT; providers of one's own are a later release's.

use api::ecs::operations::PutClusterCapacityProviders;
use api::ecs::{PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse, faults as modelled};
use domain::{Cluster, Task};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{capacity_provider, cluster};
use crate::{Ecs, faults};

impl Operation<PutClusterCapacityProviders> for Ecs {
    fn permissions(&self, call: &Call, input: &PutClusterCapacityProvidersRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        vec![Permission::new("ecs:PutClusterCapacityProviders", cluster)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: PutClusterCapacityProvidersRequest,
    ) -> Result<PutClusterCapacityProvidersResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let providers = capacity_provider::parse_names(input.capacity_providers.unwrap_or_default())?;
        let strategy = capacity_provider::parse_strategy(
            input.default_capacity_provider_strategy.unwrap_or_default(),
            &providers,
        )?;

        let update = self.store.update(|snapshot| {
            let there = cluster::get(snapshot, &call.scope, &name)?;
            let is_removed = |task: &Task| {
                let provider = task.capacity_provider.as_ref();
                provider.is_some_and(|name| !providers.contains(name))
            };
            if cluster::unfinished_tasks(snapshot, &there).any(|task| is_removed(&task)) {
                return Err(modelled::resource_in_use_exception(
                    "The specified capacity provider is in use and cannot be removed.",
                ));
            }
            let next = Cluster {
                capacity_providers: providers.clone(),
                default_capacity_provider_strategy: strategy.clone(),
                ..Cluster::clone(&there)
            };
            let mut transaction = Transaction::new();
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let cluster = update.await.map_err(faults::of_update)?;

        let described = cluster::describe(&self.store.snapshot(), &cluster, cluster::Include::ON_CHANGE)?;
        Ok(PutClusterCapacityProvidersResponse { cluster: Some(described) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn the_default_strategy_places_tasks() {
        let world = World::with_fargate().await;
        let strategy = json!([
            {"capacityProvider": "FARGATE", "base": 1, "weight": 1},
            {"capacityProvider": "FARGATE_SPOT", "base": 0, "weight": 1},
        ]);
        let put = json!({
            "cluster": "default",
            "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "defaultCapacityProviderStrategy": strategy,
        });
        let answer = world.ok("PutClusterCapacityProviders", put).await;
        assert_eq!(answer["cluster"]["defaultCapacityProviderStrategy"], strategy);
        let run = world.run_on_fargate(json!({"launchType": null, "count": 3})).await;
        let providers: Vec<&str> = run["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["capacityProviderName"].as_str().unwrap())
            .collect();
        assert_eq!(providers, ["FARGATE", "FARGATE", "FARGATE_SPOT"]);
        let without =
            json!({"cluster": "default", "capacityProviders": [], "defaultCapacityProviderStrategy": []});
        assert_eq!(
            world.refused("PutClusterCapacityProviders", without).await,
            "ResourceInUseException: The specified capacity provider is in use and cannot be removed."
        );
        let described =
            world.ok("DescribeCapacityProviders", json!({"capacityProviders": ["FARGATE", "mine"]})).await;
        assert_eq!(text(&described, "/capacityProviders/0/status"), "ACTIVE");
        assert_eq!(text(&described, "/failures/0/reason"), "MISSING");
        let all = world.ok("DescribeCapacityProviders", json!({})).await;
        assert_eq!(all["capacityProviders"].as_array().unwrap().len(), 2);
    }
}
