//! Describes clusters. AWS: DescribeClusters. Differs from AWS: nothing known.

use api::ecs::operations::DescribeClusters;
use api::ecs::{DescribeClustersRequest, DescribeClustersResponse, Failure};
use base::limits::DESCRIBE_MAXIMUM;
use domain::Cluster;
use store::rows::cluster_key;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::cluster;
use crate::{Ecs, faults};

impl Operation<DescribeClusters> for Ecs {
    fn permissions(&self, call: &Call, input: &DescribeClustersRequest) -> Vec<Permission> {
        let clusters = input.clusters.clone().unwrap_or_else(|| vec![cluster::DEFAULT.to_owned()]);
        clusters
            .iter()
            .map(|text| {
                Permission::new("ecs:DescribeClusters", cluster::arn_for_permission(call, Some(text)))
            })
            .collect()
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeClustersRequest,
    ) -> Result<DescribeClustersResponse, Fault> {
        let include = cluster::Include::parse(&input.include.unwrap_or_default())?;
        let mut given = input.clusters.unwrap_or_default();
        if given.is_empty() {
            given.push(cluster::DEFAULT.to_owned());
        }
        if given.len() > DESCRIBE_MAXIMUM {
            return Err(faults::invalid(format!(
                "Clusters cannot have more than {DESCRIBE_MAXIMUM} elements."
            )));
        }
        let names =
            given.iter().map(|text| cluster::name(call, Some(text))).collect::<Result<Vec<_>, _>>()?;

        let snapshot = self.store.snapshot();
        let (mut clusters, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            match snapshot.get::<Cluster>(&cluster_key(&call.scope, &name)) {
                Some(there) => clusters.push(cluster::describe(&snapshot, &there, include)?),
                None => failures.push(Failure {
                    arn: Some(Cluster::arn_of(&call.scope, &name).to_string()),
                    reason: Some("MISSING".to_owned()),
                    detail: None,
                }),
            }
        }
        Ok(DescribeClustersResponse { clusters: Some(clusters), failures: Some(failures) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn includes_and_failures() {
        let (world, _) = World::with_instance(4096, 4096, &[]).await;
        world.register("web").await;
        world.ok("RunTask", json!({"taskDefinition": "web", "count": 2})).await;
        let all = ["ATTACHMENTS", "CONFIGURATIONS", "SETTINGS", "STATISTICS", "TAGS"];
        let described =
            world.ok("DescribeClusters", json!({"clusters": ["default", "ghost"], "include": all})).await;
        let cluster = &described["clusters"][0];
        assert_eq!(cluster["pendingTasksCount"], json!(2));
        assert_eq!(cluster["registeredContainerInstancesCount"], json!(1));
        let statistics = cluster["statistics"].as_array().unwrap();
        assert!(
            statistics.contains(&json!({"name": "pendingEC2TasksCount", "value": "2"})),
            "{statistics:?}"
        );
        assert!(statistics.contains(&json!({"name": "runningFargateTasksCount", "value": "0"})));
        assert_eq!(cluster["settings"], json!([{"name": "containerInsights", "value": "disabled"}]));
        assert_eq!(
            described["failures"],
            json!([{"arn": "arn:aws:ecs:us-east-1:000000000000:cluster/ghost", "reason": "MISSING"}])
        );
        let plain = world.ok("DescribeClusters", json!({})).await;
        assert_eq!(plain["clusters"][0]["clusterName"], json!("default"));
        assert_eq!(plain["clusters"][0]["settings"], json!([]));
        assert!(
            world
                .refused("DescribeClusters", json!({"clusters": ["a b"]}))
                .await
                .contains("Cluster must match")
        );
    }
}
