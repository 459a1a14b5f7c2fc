//! Changes settings and configuration of a cluster. AWS: UpdateCluster.
//!
//! Differs from AWS: what needs AWS KMS or ECS Exec is refused by name.

use api::ecs::operations::UpdateCluster;
use api::ecs::{UpdateClusterRequest, UpdateClusterResponse};
use domain::Cluster;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::cluster;
use crate::service_validation::service_connect;
use crate::{Ecs, faults};

impl Operation<UpdateCluster> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateClusterRequest) -> Vec<Permission> {
        vec![Permission::new(
            "ecs:UpdateCluster",
            cluster::arn_for_permission(call, input.cluster.as_deref()),
        )]
    }

    async fn handle(&self, call: &Call, input: UpdateClusterRequest) -> Result<UpdateClusterResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let settings = input.settings.map(cluster::parse_settings).transpose()?;
        let configuration = input.configuration.as_ref().map(cluster::parse_configuration).transpose()?;
        let connect = input.service_connect_defaults.and_then(|defaults| defaults.namespace);

        let update = self.store.update(|snapshot| {
            let there = cluster::get(snapshot, &call.scope, &name)?;
            let mut next = Cluster::clone(&there);
            if let Some(settings) = &settings {
                cluster::merge_settings(&mut next.settings, settings);
            }
            if configuration.is_some() {
                next.configuration_document.clone_from(&configuration);
            }
            let mut transaction = Transaction::new();
            if let Some(given) = &connect {
                next.service_connect_defaults_document =
                    service_connect::default_namespace(snapshot, call, &*self.ids, given, &mut transaction)?;
            }
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let cluster = update.await.map_err(faults::of_update)?;

        let described = cluster::describe(&self.store.snapshot(), &cluster, cluster::Include::ON_CHANGE)?;
        Ok(UpdateClusterResponse { cluster: Some(described) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn settings_and_configuration_change() {
        let world = World::with_cluster().await;
        let configuration = json!({"executeCommandConfiguration": {"logging": "NONE"}});
        let updated = world
            .ok(
                "UpdateCluster",
                json!({
                    "cluster": "default",
                    "settings": [{"name": "containerInsights", "value": "enhanced"}],
                    "configuration": configuration,
                }),
            )
            .await;
        assert_eq!(updated["cluster"]["configuration"], configuration);
        assert_eq!(updated["cluster"]["settings"][0]["value"], json!("enhanced"));
        let settings = json!([{"name": "containerInsights", "value": "enabled"}]);
        let updated =
            world.ok("UpdateClusterSettings", json!({"cluster": "default", "settings": settings})).await;
        assert_eq!(updated["cluster"]["settings"], settings);
        for operation in ["UpdateCluster", "UpdateClusterSettings"] {
            assert_eq!(
                world.refused(operation, json!({"cluster": "ghost", "settings": []})).await,
                "ClusterNotFoundException: Cluster not found."
            );
        }
    }
}
