//! Makes a capacity provider over an Auto Scaling group. AWS: CreateCapacityProvider.
//!
//! Differs from AWS: `managedInstancesProvider` is refused: there is nobody here who could launch machines. A group is not
//! looked up: it is whatever machines say that they belong to it (the agent's option `--auto-scaling-group`, or
//! the attribute `roadstead.auto-scaling-group` at registration). That `cluster` goes with managed instances only is AWS's
//! rule; the wording of its refusal is ours.

use api::ecs::operations::CreateCapacityProvider;
use api::ecs::{CreateCapacityProviderRequest, CreateCapacityProviderResponse, faults as modelled};
use base::Scope;
use domain::{CapacityProvider, CapacityProviderStatus, ManagedScaling};
use store::{Key, Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{capacity_provider, tag};
use crate::{Ecs, faults};

impl Operation<CreateCapacityProvider> for Ecs {
    fn permissions(&self, call: &Call, input: &CreateCapacityProviderRequest) -> Vec<Permission> {
        let name = input.name.as_deref().unwrap_or_default();
        let arn = capacity_provider::arn_for_permission(call, name);
        vec![Permission::new("ecs:CreateCapacityProvider", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateCapacityProviderRequest,
    ) -> Result<CreateCapacityProviderResponse, Fault> {
        let name = input.name.unwrap_or_default();
        capacity_provider::check_name(&name)?;
        let tags = tag::parse(input.tags)?;
        if input.managed_instances_provider.is_some() {
            return Err(modelled::unsupported_feature_exception(
                "managedInstancesProvider is not supported by this release of Roadstead.",
            ));
        }
        let Some(given) = input.auto_scaling_group_provider else {
            return Err(faults::invalid("An Auto Scaling group provider must be specified."));
        };
        if input.cluster.is_some() {
            return Err(faults::invalid(
                "A cluster can only be specified for capacity providers that use Amazon ECS Managed Instances.",
            ));
        }
        let group = given.auto_scaling_group_arn.as_deref().unwrap_or_default();
        let auto_scaling_group_arn = capacity_provider::group_arn(call, group, &self.ids.uuid())?;
        let mut managed_scaling = ManagedScaling::default();
        if let Some(scaling) = &given.managed_scaling {
            capacity_provider::apply_scaling(&mut managed_scaling, scaling)?;
        }
        let switch =
            |member: &str, word: &Option<String>| capacity_provider::parse_switch(member, word.as_deref());
        let protection = switch("managedTerminationProtection", &given.managed_termination_protection)?;
        let draining = switch("managedDraining", &given.managed_draining)?;

        let new = CapacityProvider {
            scope: call.scope.clone(),
            name,
            status: CapacityProviderStatus::Active,
            update_status: None,
            update_status_reason: None,
            auto_scaling_group_arn,
            managed_scaling,
            managed_termination_protection: protection.unwrap_or(false),
            managed_draining: draining.unwrap_or(true),
            tags,
            created_at: call.now,
            deleted_at: None,
        };
        let update = self.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            must_be_new(snapshot, &call.scope, &new)?;
            match capacity_provider::find(snapshot, &call.scope, &new.name) {
                Some(deleted) => transaction.replace(&deleted, new.clone()),
                None => transaction.insert(new.clone()),
            };
            Ok((transaction, ()))
        });
        update.await.map_err(faults::of_update)?;

        Ok(CreateCapacityProviderResponse {
            capacity_provider: Some(capacity_provider::describe(&new, true)),
        })
    }
}

fn must_be_new(snapshot: &Snapshot, scope: &Scope, new: &CapacityProvider) -> Result<(), Fault> {
    if capacity_provider::get(snapshot, scope, &new.name).is_some() {
        return Err(faults::client(
            "The specified capacity provider already exists. To change the configuration of an existing capacity provider, \
             update the capacity provider.",
        ));
    }
    if capacity_provider::of_group(snapshot, scope, new.auto_scaling_group()).is_some() {
        return Err(faults::client(
            "The specified Auto Scaling group ARN is already being used by another capacity provider. Specify a unique Auto \
             Scaling group ARN and try again.",
        ));
    }
    let limit = capacity_provider::PER_ACCOUNT;
    if snapshot.scan::<CapacityProvider>(Key::prefix(scope, &[]), None).count() >= limit {
        return Err(modelled::limit_exceeded_exception(format!(
            "The maximum number of capacity providers has been reached: {limit}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn a_provider_is_made_with_awss_defaults() {
        let world = World::with_cluster().await;
        let arn = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:5:autoScalingGroupName/web";
        let made = world
            .ok(
                "CreateCapacityProvider",
                json!({
                    "name": "web",
                    "autoScalingGroupProvider": {"autoScalingGroupArn": arn},
                    "tags": [{"key": "a", "value": "b"}],
                }),
            )
            .await;
        assert_eq!(
            made["capacityProvider"],
            json!({
                "capacityProviderArn": "arn:aws:ecs:us-east-1:000000000000:capacity-provider/web",
                "name": "web",
                "status": "ACTIVE",
                "type": "EC2_AUTOSCALING",
                "tags": [{"key": "a", "value": "b"}],
                "autoScalingGroupProvider": {
                    "autoScalingGroupArn": arn,
                    "managedDraining": "ENABLED",
                    "managedTerminationProtection": "DISABLED",
                    "managedScaling": {
                        "status": "DISABLED",
                        "targetCapacity": 100,
                        "minimumScalingStepSize": 1,
                        "maximumScalingStepSize": 10000,
                        "instanceWarmupPeriod": 300,
                    },
                },
            })
        );
        let of = |name: &str, group: &str| json!({"name": name, "autoScalingGroupProvider": {"autoScalingGroupArn": group}});
        assert!(
            world
                .refused("CreateCapacityProvider", of("web", "other"))
                .await
                .starts_with("ClientException: The specified capacity provider already exists.")
        );
        assert!(
            world.refused("CreateCapacityProvider", of("other", arn)).await.starts_with(
                "ClientException: The specified Auto Scaling group ARN is already being used by another capacity provider."
            )
        );
        let made = world.ok("CreateCapacityProvider", of("by-name", "batch")).await;
        let arn =
            made["capacityProvider"]["autoScalingGroupProvider"]["autoScalingGroupArn"].as_str().unwrap();
        assert!(arn.starts_with("arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:"), "{arn}");
        assert!(arn.ends_with(":autoScalingGroupName/batch"), "{arn}");
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = World::with_cluster().await;
        let with = |change: serde_json::Value| {
            let mut body =
                json!({"name": "mine", "autoScalingGroupProvider": {"autoScalingGroupArn": "group"}});
            for (key, value) in change.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        for name in ["awsome", "ECS-1", "fargate", "FARGATE_SPOT", "a b", "", &"x".repeat(256)] {
            let refusal = world.refused("CreateCapacityProvider", with(json!({ "name": name }))).await;
            assert!(
                refusal.starts_with(
                    "InvalidParameterException: The specified capacity provider name is invalid. Up to 255"
                ),
                "{name}: {refusal}"
            );
        }
        let managed = json!({
            "managedInstancesProvider": {
                "infrastructureRoleArn": "arn:aws:iam::000000000000:role/r",
                "instanceLaunchTemplate": {
                    "ec2InstanceProfileArn": "arn:aws:iam::000000000000:instance-profile/p",
                    "networkConfiguration": {"subnets": ["subnet-1"]},
                },
            },
        });
        let refusal = world.refused("CreateCapacityProvider", with(managed)).await;
        assert!(refusal.starts_with("UnsupportedFeatureException"), "{refusal}");
        let group = |group: serde_json::Value| with(json!({ "autoScalingGroupProvider": group }));
        for bad in [
            with(json!({"autoScalingGroupProvider": null})),
            with(json!({"cluster": "default"})),
            group(
                json!({"autoScalingGroupArn": "arn:aws:autoscaling:us-east-1:000000000000:launchConfiguration:x"}),
            ),
            group(
                json!({"autoScalingGroupArn": "arn:aws:autoscaling:eu-west-1:000000000000:autoScalingGroup:5:autoScalingGroupName/web"}),
            ),
            group(json!({"autoScalingGroupArn": "a/b"})),
            group(json!({"autoScalingGroupArn": "g", "managedScaling": {"targetCapacity": 101}})),
            group(json!({"autoScalingGroupArn": "g", "managedScaling": {"targetCapacity": 0}})),
            group(json!({"autoScalingGroupArn": "g", "managedScaling": {"status": "MAYBE"}})),
            group(json!({"autoScalingGroupArn": "g", "managedScaling": {"instanceWarmupPeriod": 10001}})),
            group(
                json!({"autoScalingGroupArn": "g", "managedScaling": {"minimumScalingStepSize": 3, "maximumScalingStepSize": 2}}),
            ),
            group(json!({"autoScalingGroupArn": "g", "managedDraining": "YES"})),
        ] {
            world.refused("CreateCapacityProvider", bad).await;
        }
        let all = world.ok("DescribeCapacityProviders", json!({})).await;
        assert_eq!(all["capacityProviders"].as_array().unwrap().len(), 2, "nothing was made");
    }
}
