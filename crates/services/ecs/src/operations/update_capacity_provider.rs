//! Changes how a capacity provider scales, protects and drains. AWS: UpdateCapacityProvider.
//!
//! Differs from AWS: `managedInstancesProvider` is refused, as by CreateCapacityProvider.

use api::ecs::operations::UpdateCapacityProvider;
use api::ecs::{UpdateCapacityProviderRequest, UpdateCapacityProviderResponse, faults as modelled};
use domain::{CapacityProvider, CapacityProviderUpdateStatus};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::capacity_provider;
use crate::{Ecs, faults};

impl Operation<UpdateCapacityProvider> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateCapacityProviderRequest) -> Vec<Permission> {
        let name = input.name.as_deref().unwrap_or_default();
        vec![Permission::new("ecs:UpdateCapacityProvider", capacity_provider::arn_for_permission(call, name))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: UpdateCapacityProviderRequest,
    ) -> Result<UpdateCapacityProviderResponse, Fault> {
        let name = capacity_provider::name(call, input.name.as_deref().unwrap_or_default())?;
        if capacity_provider::is_fargate(&name) {
            return Err(faults::client(format!(
                "The capacity provider {name} cannot be changed or deleted."
            )));
        }
        if input.managed_instances_provider.is_some() {
            return Err(modelled::unsupported_feature_exception(
                "managedInstancesProvider is not supported by this release of Roadstead.",
            ));
        }
        let given = input.auto_scaling_group_provider.unwrap_or_default();
        let switch =
            |member: &str, word: &Option<String>| capacity_provider::parse_switch(member, word.as_deref());
        let protection = switch("managedTerminationProtection", &given.managed_termination_protection)?;
        let draining = switch("managedDraining", &given.managed_draining)?;

        let update = self.store.update(|snapshot| {
            let there = capacity_provider::get(snapshot, &call.scope, &name)
                .ok_or_else(capacity_provider::not_found)?;
            let mut next = CapacityProvider::clone(&there);
            if let Some(scaling) = &given.managed_scaling {
                capacity_provider::apply_scaling(&mut next.managed_scaling, scaling)?;
            }
            next.managed_termination_protection = protection.unwrap_or(next.managed_termination_protection);
            next.managed_draining = draining.unwrap_or(next.managed_draining);
            next.update_status = Some(CapacityProviderUpdateStatus::UpdateComplete);
            next.update_status_reason = None;
            let mut transaction = Transaction::new();
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let provider = update.await.map_err(faults::of_update)?;

        Ok(UpdateCapacityProviderResponse {
            capacity_provider: Some(capacity_provider::describe(&provider, true)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn what_is_absent_stays() {
        let world = World::with_cluster().await;
        let scaling = json!({"status": "ENABLED", "targetCapacity": 80, "maximumScalingStepSize": 7});
        let group = json!({"autoScalingGroupArn": "group", "managedScaling": scaling});
        world.ok("CreateCapacityProvider", json!({"name": "mine", "autoScalingGroupProvider": group})).await;
        let change = json!({
            "name": "arn:aws:ecs:us-east-1:000000000000:capacity-provider/mine",
            "autoScalingGroupProvider": {
                "managedScaling": {"targetCapacity": 90},
                "managedTerminationProtection": "ENABLED",
            },
        });
        let updated = world.ok("UpdateCapacityProvider", change).await;
        let provider = &updated["capacityProvider"];
        assert_eq!(provider["updateStatus"], json!("UPDATE_COMPLETE"));
        assert_eq!(provider["autoScalingGroupProvider"]["managedTerminationProtection"], json!("ENABLED"));
        assert_eq!(
            provider["autoScalingGroupProvider"]["managedScaling"],
            json!({
                "status": "ENABLED",
                "targetCapacity": 90,
                "minimumScalingStepSize": 1,
                "maximumScalingStepSize": 7,
                "instanceWarmupPeriod": 300,
            })
        );
        let described = world.ok("DescribeCapacityProviders", json!({"capacityProviders": ["mine"]})).await;
        assert_eq!(
            described["capacityProviders"][0]["autoScalingGroupProvider"],
            provider["autoScalingGroupProvider"]
        );
        assert!(
            world
                .refused("UpdateCapacityProvider", json!({"name": "ghost"}))
                .await
                .starts_with("InvalidParameterException: The specified capacity provider was not found.")
        );
        for bad in [
            json!({"name": "FARGATE"}),
            json!({"name": "mine", "managedInstancesProvider": {
                "infrastructureRoleArn": "r",
                "instanceLaunchTemplate": {},
            }}),
            json!({"name": "mine", "autoScalingGroupProvider": {"managedScaling": {"minimumScalingStepSize": 8}}}),
        ] {
            world.refused("UpdateCapacityProvider", bad).await;
        }
    }
}
