//! Sets a cluster's capacity providers and default strategy. AWS: PutClusterCapacityProviders.
//!
//! Differs from AWS: the providers are FARGATE and FARGATE_SPOT; providers of one's own are a later release's.

use api::ecs::operations::PutClusterCapacityProviders;
use api::ecs::{PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse, faults as modelled};
use domain::{Cluster, Task};
use store::{Key, Transaction};
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
                task.last_status.holds_resources() && provider.is_some_and(|name| !providers.contains(name))
            };
            if snapshot.scan::<Task>(Key::prefix(&call.scope, &[&name]), None).any(|task| is_removed(&task)) {
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
