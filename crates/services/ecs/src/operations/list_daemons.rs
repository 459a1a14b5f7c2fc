//! Lists the daemons of a cluster. AWS: ListDaemons. Differs from AWS: nothing known.

use std::collections::BTreeSet;

use api::ecs::operations::ListDaemons;
use api::ecs::{DaemonSummary, ListDaemonsRequest, ListDaemonsResponse};
use domain::Daemon;
use store::{Key, Row};
use wire::{Call, Fault, Operation, Permission};

use crate::Ecs;
use crate::resources::page::PageRequest;
use crate::resources::{cluster, identifier};

impl Operation<ListDaemons> for Ecs {
    fn permissions(&self, call: &Call, input: &ListDaemonsRequest) -> Vec<Permission> {
        let cluster = cluster::arn_for_permission(call, input.cluster_arn.as_deref());
        vec![Permission::new("ecs:ListDaemons", "*").when("ecs:cluster", cluster)]
    }

    async fn handle(&self, call: &Call, input: ListDaemonsRequest) -> Result<ListDaemonsResponse, Fault> {
        let name = cluster::name(call, input.cluster_arn.as_deref())?;
        let mut providers = BTreeSet::new();
        for text in input.capacity_provider_arns.iter().flatten() {
            providers.insert(if text.starts_with("arn:") {
                identifier::own_arn(call, text, "capacity-provider")?
            } else {
                text.clone()
            });
        }
        let listing = format!("ListDaemons/{name}/{providers:?}");
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &name)?;
        let after = page.after.as_deref().map(Key::from_text);
        let wanted = |daemon: &Daemon| {
            providers.is_empty() || daemon.goal.capacity_providers.iter().any(|name| providers.contains(name))
        };
        let rows = snapshot.scan::<Daemon>(Key::prefix(&call.scope, &[&name]), after.as_ref());
        let (daemons, next_token) = page
            .take(rows.filter(|row| wanted(row)).map(|row| (row.key().as_str().to_owned(), summarize(&row))));
        Ok(ListDaemonsResponse { daemon_summaries_list: Some(daemons), next_token })
    }
}

fn summarize(daemon: &Daemon) -> DaemonSummary {
    DaemonSummary {
        created_at: Some(daemon.created_at),
        daemon_arn: Some(daemon.arn().to_string()),
        status: Some(daemon.status.to_string()),
        updated_at: Some(daemon.updated_at),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_daemon::tests::{request, world};

    #[tokio::test]
    async fn pages_and_filters() {
        let world = world().await;
        for name in ["a", "b", "c"] {
            world.ok("CreateDaemon", request(json!({"daemonName": name}))).await;
        }
        let first = world.ok("ListDaemons", json!({"maxResults": 2})).await;
        assert_eq!(first["daemonSummariesList"].as_array().unwrap().len(), 2);
        assert_eq!(first["daemonSummariesList"][0]["status"], "ACTIVE");
        let rest = world.ok("ListDaemons", json!({"maxResults": 2, "nextToken": first["nextToken"]})).await;
        assert_eq!(rest["daemonSummariesList"].as_array().unwrap().len(), 1);
        assert!(rest.get("nextToken").is_none());
        let none = world.ok("ListDaemons", json!({"capacityProviderArns": ["other"]})).await;
        assert_eq!(none["daemonSummariesList"], json!([]));
        let own = world.ok("ListDaemons", json!({"capacityProviderArns": ["own"]})).await;
        assert_eq!(own["daemonSummariesList"].as_array().unwrap().len(), 3);
        assert_eq!(
            world.refused("ListDaemons", json!({"clusterArn": "ghost"})).await,
            "ClusterNotFoundException: Cluster not found."
        );
        world.refused("ListDaemons", json!({"maxResults": 101})).await;
        let other = json!({"capacityProviderArns": ["own"], "nextToken": first["nextToken"]});
        world.refused("ListDaemons", other).await;
    }
}
