//! Lists the ACTIVE clusters. AWS: ListClusters. Differs from AWS: nothing known.

use api::ecs::operations::ListClusters;
use api::ecs::{ListClustersRequest, ListClustersResponse};
use domain::{Cluster, ClusterStatus};
use store::Key;
use store::rows::cluster_key;
use wire::{Call, Fault, Operation, Permission};

use crate::Ecs;
use crate::resources::page::PageRequest;

impl Operation<ListClusters> for Ecs {
    fn permissions(&self, _call: &Call, _input: &ListClustersRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:ListClusters", "*")]
    }

    async fn handle(&self, call: &Call, input: ListClustersRequest) -> Result<ListClustersResponse, Fault> {
        let page =
            PageRequest::parse("ListClusters".to_owned(), input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        let after = page.after.as_deref().map(|name| cluster_key(&call.scope, name));
        let clusters = snapshot
            .scan::<Cluster>(Key::prefix(&call.scope, &[]), after.as_ref())
            .filter(|cluster| cluster.status == ClusterStatus::Active)
            .map(|cluster| (cluster.name.clone(), cluster.arn().to_string()));
        let (arns, next_token) = page.take(clusters);
        Ok(ListClustersResponse { cluster_arns: Some(arns), next_token })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn page_by_page() {
        let world = World::new();
        for name in ["a", "b", "c"] {
            world.ok("CreateCluster", json!({"clusterName": name})).await;
        }
        let first = world.ok("ListClusters", json!({"maxResults": 2})).await;
        assert_eq!(first["clusterArns"].as_array().unwrap().len(), 2);
        let second =
            world.ok("ListClusters", json!({"maxResults": 2, "nextToken": first["nextToken"]})).await;
        assert_eq!(second["clusterArns"], json!(["arn:aws:ecs:us-east-1:000000000000:cluster/c"]));
        assert!(second.get("nextToken").is_none());
        assert_eq!(
            world.refused("ListClusters", json!({"nextToken": "x"})).await,
            "InvalidParameterException: Invalid token."
        );
        world.refused("ListClusters", json!({"maxResults": 101})).await;
    }
}
