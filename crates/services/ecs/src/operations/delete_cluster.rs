//! Deletes a cluster that has nothing in it. AWS: DeleteCluster. Differs from AWS: nothing known.
//!
//! As at AWS the cluster is INACTIVE from then on: it can be described, is not listed, and its name can be taken again.

use api::ecs::operations::DeleteCluster;
use api::ecs::{DeleteClusterRequest, DeleteClusterResponse, faults as modelled};
use domain::{
    Allocation, Cluster, ClusterStatus, ContainerInstance, ContainerInstanceStatus, Daemon,
    GatewayClusterAssociation,
};
use store::rows::{CONTAINER_INSTANCES_FARGATE, container_instance_key};
use store::rows_gateway::GATEWAY_ASSOCIATIONS_BY_CLUSTER;
use store::{Key, Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::faults::client;
use crate::resources::{capacity_provider, cluster, service};
use crate::{Ecs, faults};

impl Operation<DeleteCluster> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteClusterRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ecs:DeleteCluster",
            cluster::arn_for_permission(call, input.cluster.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: DeleteClusterRequest) -> Result<DeleteClusterResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;

        let update = self.store.update(|snapshot| {
            let there = cluster::get(snapshot, &call.scope, &name)?;
            must_be_empty(snapshot, &there)?;
            let mut transaction = Transaction::new();
            let next = Cluster { status: ClusterStatus::Inactive, ..Cluster::clone(&there) };
            transaction.replace(&there, next.clone());
            let place = (&call.scope, name.as_str(), call.now);
            let providers = (there.capacity_providers.as_slice(), &[][..]);
            capacity_provider::associate(snapshot, &mut transaction, self.ids.as_ref(), place, providers);
            no_placements_since(snapshot, &mut transaction);
            Ok((transaction, next))
        });
        let cluster = update.await.map_err(faults::of_update)?;

        let described = cluster::describe(&self.store.snapshot(), &cluster, cluster::Include::ON_CHANGE)?;
        Ok(DeleteClusterResponse { cluster: Some(described) })
    }
}

fn must_be_empty(snapshot: &Snapshot, cluster: &Cluster) -> Result<(), Fault> {
    let of_cluster = Key::prefix(&cluster.scope, &[&cluster.name]);
    let registered = |instance: &ContainerInstance| {
        matches!(
            instance.status,
            ContainerInstanceStatus::Active
                | ContainerInstanceStatus::Draining
                | ContainerInstanceStatus::Registering
        )
    };
    if snapshot.scan::<ContainerInstance>(of_cluster, None).any(|instance| registered(&instance)) {
        return Err(modelled::cluster_contains_container_instances_exception(
            "The Cluster cannot be deleted while Container Instances are active or draining.",
        ));
    }
    if service::of_cluster(snapshot, &cluster.scope, &cluster.name).next().is_some() {
        return Err(modelled::cluster_contains_services_exception(
            "The Cluster cannot be deleted while Services are active.",
        ));
    }
    // The model has no fault of its own for these two.
    if snapshot.scan::<Daemon>(Key::prefix(&cluster.scope, &[&cluster.name]), None).next().is_some() {
        return Err(client("The Cluster cannot be deleted while Daemons are active."));
    }
    let parts = [cluster.scope.account.as_str(), cluster.scope.region.as_str(), cluster.name.as_str()];
    let mut gateways =
        snapshot.index::<GatewayClusterAssociation>(GATEWAY_ASSOCIATIONS_BY_CLUSTER, &parts, None);
    if gateways.next().is_some() {
        return Err(client("The Cluster cannot be deleted while Gateways are associated."));
    }
    if cluster::unfinished_tasks(snapshot, cluster).next().is_some() {
        return Err(modelled::cluster_contains_tasks_exception(
            "The Cluster cannot be deleted while Tasks are active.",
        ));
    }
    Ok(())
}

/// A Fargate task that is placed while the cluster goes raises its machine's counter: then the deletion starts over.
/// (A container instance that registers meanwhile writes the cluster's row, with the same effect.)
fn no_placements_since(snapshot: &Snapshot, transaction: &mut Transaction) {
    for machine in snapshot.index::<ContainerInstance>(CONTAINER_INSTANCES_FARGATE, &[], None) {
        let key = container_instance_key(&machine.scope, &machine.cluster, &machine.id);
        let allocation = snapshot.get::<Allocation>(&key).map(|row| row.revision);
        transaction.require_revision::<Allocation>(&key, allocation);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn only_an_empty_cluster_goes() {
        let (world, instance) = World::with_instance(4096, 4096, &[]).await;
        assert_eq!(
            world.refused("DeleteCluster", json!({"cluster": "default"})).await,
            "ClusterContainsContainerInstancesException: The Cluster cannot be deleted while Container Instances are \
             active or draining."
        );
        world.ok("DeregisterContainerInstance", json!({"containerInstance": instance})).await;
        let gone = world.ok("DeleteCluster", json!({"cluster": "default"})).await;
        assert_eq!(text(&gone, "/cluster/status"), "INACTIVE");
        assert_eq!(world.ok("ListClusters", json!({})).await["clusterArns"], json!([]));
        let described = world.ok("DescribeClusters", json!({})).await;
        assert_eq!(text(&described, "/clusters/0/status"), "INACTIVE");
        assert_eq!(
            world.refused("DeleteCluster", json!({"cluster": "default"})).await,
            "ClusterNotFoundException: Cluster not found."
        );
        assert_eq!(text(&world.ok("CreateCluster", json!({})).await, "/cluster/status"), "ACTIVE");
    }

    #[tokio::test]
    async fn a_service_keeps_its_cluster() {
        let world = World::with_cluster().await;
        let body = json!({"serviceName": "s", "deploymentController": {"type": "EXTERNAL"}});
        world.ok("CreateService", body).await;
        let described = world.ok("DescribeClusters", json!({"include": ["STATISTICS"]})).await;
        assert_eq!(described["clusters"][0]["activeServicesCount"], json!(1));
        let refusal =
            "ClusterContainsServicesException: The Cluster cannot be deleted while Services are active.";
        assert_eq!(world.refused("DeleteCluster", json!({"cluster": "default"})).await, refusal);
        world.ok("DeleteService", json!({"service": "s"})).await;
        assert_eq!(world.refused("DeleteCluster", json!({"cluster": "default"})).await, refusal);
        let described = world.ok("DescribeClusters", json!({"include": ["STATISTICS"]})).await;
        let statistics = described["clusters"][0]["statistics"].as_array().unwrap();
        assert!(
            statistics.contains(&json!({"name": "drainingEC2ServiceCount", "value": "1"})),
            "{statistics:?}"
        );
        assert_eq!(described["clusters"][0]["activeServicesCount"], json!(0));
        world.finish_services().await;
        world.ok("DeleteCluster", json!({"cluster": "default"})).await;
    }

    #[tokio::test]
    async fn a_fargate_task_keeps_its_cluster() {
        let world = World::with_fargate().await;
        world.ok("CreateCluster", json!({"clusterName": "apart"})).await;
        world.run_on_fargate(json!({"cluster": "apart"})).await;
        assert_eq!(
            world.refused("DeleteCluster", json!({"cluster": "apart"})).await,
            "ClusterContainsTasksException: The Cluster cannot be deleted while Tasks are active."
        );
    }
}
