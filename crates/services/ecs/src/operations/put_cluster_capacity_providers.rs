//! Sets a cluster's capacity providers and default strategy. AWS: PutClusterCapacityProviders.
//!
//! Differs from AWS: nothing known. A change is in force as soon as the control plane has taken it up, in milliseconds.

use api::ecs::operations::PutClusterCapacityProviders;
use api::ecs::{PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse, faults as modelled};
use domain::{Cluster, Task};
use store::{Snapshot, Transaction};
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
        let providers = capacity_provider::parse_names(call, input.capacity_providers.unwrap_or_default())?;
        let strategy = capacity_provider::parse_strategy(
            input.default_capacity_provider_strategy.unwrap_or_default(),
            &providers,
        )?;

        let update = self.store.update(|snapshot| {
            let there = cluster::get(snapshot, &call.scope, &name)?;
            capacity_provider::check_there(snapshot, &call.scope, &providers)?;
            must_not_use_removed(snapshot, &there, &providers)?;
            if providers != there.capacity_providers {
                capacity_provider::must_not_be_changing(snapshot, &call.scope, &name)?;
            }
            let next = Cluster {
                capacity_providers: providers.clone(),
                default_capacity_provider_strategy: strategy.clone(),
                ..Cluster::clone(&there)
            };
            let mut transaction = Transaction::new();
            transaction.replace(&there, next.clone());
            let place = (&call.scope, name.as_str(), call.now);
            let change = (there.capacity_providers.as_slice(), providers.as_slice());
            capacity_provider::associate(snapshot, &mut transaction, self.ids.as_ref(), place, change);
            Ok((transaction, next))
        });
        let cluster = update.await.map_err(faults::of_update)?;

        let described = cluster::describe(&self.store.snapshot(), &cluster, cluster::Include::ON_CHANGE)?;
        Ok(PutClusterCapacityProvidersResponse { cluster: Some(described) })
    }
}

/// A provider that tasks, services or task sets of the cluster use stays.
fn must_not_use_removed(snapshot: &Snapshot, cluster: &Cluster, providers: &[String]) -> Result<(), Fault> {
    let is_removed = |name: &str| {
        cluster.capacity_providers.iter().any(|there| there == name)
            && !providers.iter().any(|kept| kept == name)
    };
    let uses = |task: &Task| task.capacity_provider.as_deref().is_some_and(is_removed);
    if cluster::unfinished_tasks(snapshot, cluster).any(|task| uses(&task))
        || capacity_provider::services_use(snapshot, &cluster.scope, &cluster.name, &is_removed)
    {
        return Err(modelled::resource_in_use_exception(
            "The specified capacity provider is in use and cannot be removed.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::TaskStatus;
    use serde_json::{Value, json};

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

    #[tokio::test]
    async fn providers_of_ones_own_come_and_go() {
        let group = [("roadstead.auto-scaling-group", Some("group"))];
        let (world, instance) = World::with_instance(1024, 1024, &group).await;
        let name_of_instance = || async {
            let body = json!({"containerInstances": [instance]});
            let described = world.ok("DescribeContainerInstances", body).await;
            described["containerInstances"][0]["capacityProviderName"].clone()
        };
        let scaling = json!({"status": "ENABLED"});
        let provider = json!({"autoScalingGroupArn": "group", "managedScaling": scaling});
        world
            .ok("CreateCapacityProvider", json!({"name": "mine", "autoScalingGroupProvider": provider}))
            .await;
        assert_eq!(name_of_instance().await, json!(null), "no cluster has the provider yet");
        let put = |providers: &[&str], strategy: Value| {
            let body = json!({
                "cluster": "default",
                "capacityProviders": providers,
                "defaultCapacityProviderStrategy": strategy,
            });
            body
        };
        let strategy = json!([{"capacityProvider": "mine", "weight": 1}]);
        let set = world.ok("PutClusterCapacityProviders", put(&["mine", "FARGATE"], strategy)).await;
        assert_eq!(name_of_instance().await, json!("mine"));
        assert_eq!(text(&set, "/cluster/attachmentsStatus"), "UPDATE_IN_PROGRESS");
        assert_eq!(text(&set, "/cluster/attachments/0/type"), "as_policy");
        assert_eq!(text(&set, "/cluster/attachments/0/status"), "PRECREATED");
        assert_eq!(text(&set, "/cluster/attachments/1/type"), "managed_draining");
        assert_eq!(
            set["cluster"]["attachments"][1]["details"],
            json!([
                {"name": "capacityProviderName", "value": "mine"},
                {"name": "autoScalingLifecycleHookName", "value": "ecs-managed-draining-termination-hook"},
            ])
        );
        // An instance that joins later belongs to it from the start.
        let later = world.add_instance(1024, 1024, &group).await;
        let described = world.ok("DescribeContainerInstances", json!({"containerInstances": [later]})).await;
        assert_eq!(text(&described, "/containerInstances/0/capacityProviderName"), "mine");

        assert_eq!(
            world.refused("PutClusterCapacityProviders", put(&[], json!([]))).await,
            "UpdateInProgressException: The specified cluster is in a busy state. Cluster attachments must be in \
             UPDATE_COMPLETE or UPDATE_FAILED state before they can be updated. Wait and try again."
        );
        world.attachments_are_created().await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web"})).await;
        assert_eq!(text(&run, "/tasks/0/capacityProviderName"), "mine");
        assert_eq!(text(&run, "/tasks/0/launchType"), "EC2");
        let task = text(&run, "/tasks/0/taskArn");
        assert_eq!(
            world.refused("PutClusterCapacityProviders", put(&["FARGATE"], json!([]))).await,
            "ResourceInUseException: The specified capacity provider is in use and cannot be removed."
        );
        world.ok("StopTask", json!({"task": task})).await;
        world.report(&task, TaskStatus::Stopped, json!([])).await;
        let set = world.ok("PutClusterCapacityProviders", put(&["FARGATE"], json!([]))).await;
        assert_eq!(set["cluster"]["attachments"], json!([]));
        assert_eq!(name_of_instance().await, json!(null));
    }

    #[tokio::test]
    async fn strategies_and_lists_that_are_refused() {
        let world = World::with_cluster().await;
        for name in ["a", "b"] {
            let provider = json!({"autoScalingGroupArn": format!("group-{name}")});
            world
                .ok("CreateCapacityProvider", json!({"name": name, "autoScalingGroupProvider": provider}))
                .await;
        }
        let item = |name: &str, base: i32, weight: i32| json!({"capacityProvider": name, "base": base, "weight": weight});
        let all = json!(["a", "b", "FARGATE"]);
        let many: Vec<String> = (0..21).map(|number| format!("p{number}")).collect();
        for (providers, strategy, refusal) in [
            (
                all.clone(),
                json!([item("a", 0, 1), item("FARGATE", 0, 1)]),
                "A capacity provider strategy cannot contain a mix of capacity providers using Auto Scaling groups and Fargate providers. Specify one or the other and try again.",
            ),
            (
                all.clone(),
                json!([item("a", 1, 1), item("b", 1, 1)]),
                "Only one capacity provider in a capacity provider strategy can have a base defined.",
            ),
            (
                all.clone(),
                json!([item("a", 0, 0)]),
                "A capacity provider strategy should contain at least one capacity provider with a weight greater than 0.",
            ),
            (
                all.clone(),
                json!([item("a", 0, 1), item("a", 0, 1)]),
                "A capacity provider can only be specified once in a strategy.",
            ),
            (json!(["a", "a"]), json!([]), "A capacity provider can only be specified once."),
            (
                json!(["ghost"]),
                json!([]),
                "The specified capacity provider was not found. Specify a valid name or ARN and try again.",
            ),
            (
                json!(many),
                json!([]),
                "The maximum number of capacity providers per cluster has been exceeded.",
            ),
        ] {
            let body = json!({"cluster": "default", "capacityProviders": providers, "defaultCapacityProviderStrategy": strategy});
            let answer = world.refused("PutClusterCapacityProviders", body).await;
            assert_eq!(answer, format!("InvalidParameterException: {refusal}"));
        }
        // By ARN, too.
        let arn = "arn:aws:ecs:us-east-1:000000000000:capacity-provider/a";
        let body = json!({
            "cluster": "default",
            "capacityProviders": [arn, "b"],
            "defaultCapacityProviderStrategy": [item(arn, 2, 1), item("b", 0, 3)],
        });
        let set = world.ok("PutClusterCapacityProviders", body).await;
        assert_eq!(set["cluster"]["capacityProviders"], json!(["a", "b"]));
        assert_eq!(set["cluster"]["defaultCapacityProviderStrategy"][0], item("a", 2, 1));
    }
}
