//! Lists the deployments of a daemon, newest first. AWS: ListDaemonDeployments.
//!
//! Differs from AWS: the order and the fault for a daemon that is not there (the model has no DaemonNotFoundException here)
//! could not be verified.

use api::ecs::operations::ListDaemonDeployments;
use api::ecs::{ListDaemonDeploymentsRequest, ListDaemonDeploymentsResponse};
use domain::{DaemonDeployment, DaemonDeploymentStatus};
use store::rows_daemon::of_daemon;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::page::PageRequest;
use crate::resources::{cluster, daemon};
use crate::{Ecs, faults};

impl Operation<ListDaemonDeployments> for Ecs {
    fn permissions(&self, call: &Call, input: &ListDaemonDeploymentsRequest) -> Vec<Permission> {
        let resource = daemon::arn_for_permission(call, input.daemon_arn.as_deref());
        vec![Permission::new("ecs:ListDaemonDeployments", resource)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ListDaemonDeploymentsRequest,
    ) -> Result<ListDaemonDeploymentsResponse, Fault> {
        let reference = daemon::parse(call, input.daemon_arn.as_deref().unwrap_or_default())?;
        let statuses = input
            .status
            .iter()
            .flatten()
            .map(|word| word.parse().map_err(|_| faults::invalid(format!("Invalid status: {word}"))))
            .collect::<Result<Vec<DaemonDeploymentStatus>, _>>()?;
        let created = input.created_at.unwrap_or_default();
        if created.after.zip(created.before).is_some_and(|(after, before)| after > before) {
            return Err(faults::invalid("createdAt.after must not be later than createdAt.before."));
        }
        let listing = format!("ListDaemonDeployments/{reference:?}/{statuses:?}/{created:?}");
        let page = PageRequest::parse(listing, input.max_results, input.next_token.as_deref())?;

        let snapshot = self.store.snapshot();
        cluster::get(&snapshot, &call.scope, &reference.cluster)?;
        let there = daemon::find(&snapshot, &call.scope, &reference);
        let mut rows: Vec<_> = snapshot
            .scan::<DaemonDeployment>(of_daemon(&call.scope, &reference.cluster, &reference.name), None)
            .filter(|row| there.as_ref().is_none_or(|daemon| daemon.id == row.daemon_id))
            .collect();
        if there.is_none() && rows.is_empty() {
            return Err(faults::invalid("Daemon not found."));
        }
        rows.sort_by_key(|row| std::cmp::Reverse(position(row)));
        let entries = rows
            .iter()
            .filter(|row| statuses.is_empty() || statuses.contains(&row.status))
            .filter(|row| created.after.is_none_or(|after| row.created_at >= after))
            .filter(|row| created.before.is_none_or(|before| row.created_at <= before))
            .map(|row| (position(row), daemon::summarize_deployment(row)))
            .filter(|(position, _)| page.after.as_ref().is_none_or(|after| position < after));
        let (deployments, next_token) = page.take(entries);
        Ok(ListDaemonDeploymentsResponse { daemon_deployments: Some(deployments), next_token })
    }
}

/// Rises with time.
fn position(deployment: &DaemonDeployment) -> String {
    format!("{:020}/{}", deployment.created_at.as_millis().max(0), deployment.id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_daemon::tests::{request, world};
    use crate::testing::text;

    #[tokio::test]
    async fn newest_first() {
        let world = world().await;
        let made = world.ok("CreateDaemon", request(json!({}))).await;
        let arn = text(&made, "/daemonArn");
        let mut newest = made.clone();
        for _ in 0..2 {
            world.clock.advance_millis(1000);
            let mut body = request(json!({"daemonArn": arn}));
            body.as_object_mut().unwrap().remove("daemonName");
            newest = world.ok("UpdateDaemon", body).await;
        }
        let first = world.ok("ListDaemonDeployments", json!({"daemonArn": arn, "maxResults": 2})).await;
        assert_eq!(first["daemonDeployments"][0]["daemonDeploymentArn"], newest["deploymentArn"]);
        assert_eq!(first["daemonDeployments"][0]["status"], "PENDING");
        let body = json!({"daemonArn": arn, "maxResults": 2, "nextToken": first["nextToken"]});
        let rest = world.ok("ListDaemonDeployments", body).await;
        assert_eq!(rest["daemonDeployments"][0]["daemonDeploymentArn"], made["deploymentArn"]);
        assert!(rest.get("nextToken").is_none());
        let stopped =
            world.ok("ListDaemonDeployments", json!({"daemonArn": arn, "status": ["STOPPED"]})).await;
        assert_eq!(stopped["daemonDeployments"].as_array().unwrap().len(), 2);
        let at = made["createdAt"].as_f64().unwrap();
        let body = json!({"daemonArn": arn, "createdAt": {"after": at + 0.5, "before": at + 1.5}});
        let between = world.ok("ListDaemonDeployments", body).await;
        assert_eq!(between["daemonDeployments"].as_array().unwrap().len(), 1);
        let ghost = json!({"daemonArn": arn.replace("watch", "ghost")});
        assert_eq!(
            world.refused("ListDaemonDeployments", ghost).await,
            "InvalidParameterException: Daemon not found."
        );
        let wrong = json!({"daemonArn": arn, "createdAt": {"after": 2, "before": 1}});
        world.refused("ListDaemonDeployments", wrong).await;
    }
}
