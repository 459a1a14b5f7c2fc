//! Deletes a daemon: its tasks are stopped by a last deployment. AWS: DeleteDaemon.
//!
//! Differs from AWS: see [`crate::resources::daemon`]. Deployments and revisions of a daemon that is gone can be described
//! for an hour.

use api::ecs::operations::DeleteDaemon;
use api::ecs::{DeleteDaemonRequest, DeleteDaemonResponse, faults as modelled};
use domain::DaemonStatus;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use super::update_daemon::begin;
use crate::resources::daemon;
use crate::{Ecs, faults};

impl Operation<DeleteDaemon> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteDaemonRequest) -> Vec<Permission> {
        let resource = daemon::arn_for_permission(call, input.daemon_arn.as_deref());
        vec![Permission::new("ecs:DeleteDaemon", resource)]
    }

    async fn handle(&self, call: &Call, input: DeleteDaemonRequest) -> Result<DeleteDaemonResponse, Fault> {
        let reference = daemon::parse(call, input.daemon_arn.as_deref().unwrap_or_default())?;

        let update = self.store.update(|snapshot| {
            let there = daemon::get(snapshot, call, &reference)?;
            if there.status != DaemonStatus::Active {
                return Err(modelled::daemon_not_active_exception("Daemon is not active."));
            }
            let mut transaction = Transaction::new();
            let id = self.ids.word(21);
            let mut next = begin(snapshot, &mut transaction, call, &there, id, None, None)?;
            next.status = DaemonStatus::DeleteInProgress;
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let daemon = update.await.map_err(faults::of_update)?;

        Ok(DeleteDaemonResponse {
            created_at: Some(daemon.created_at),
            daemon_arn: Some(daemon.arn().to_string()),
            deployment_arn: Some(daemon.deployment_arn().to_string()),
            status: Some(daemon.status.to_string()),
            updated_at: Some(daemon.updated_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::create_daemon::tests::{request, world};
    use crate::testing::text;

    #[tokio::test]
    async fn once() {
        let world = world().await;
        let made = world.ok("CreateDaemon", request(json!({}))).await;
        let body = json!({"daemonArn": made["daemonArn"]});
        assert_eq!(
            world.refused("DeleteCluster", json!({"cluster": "default"})).await,
            "ClientException: The Cluster cannot be deleted while Daemons are active."
        );
        let deleted = world.ok("DeleteDaemon", body.clone()).await;
        assert_eq!(text(&deleted, "/status"), "DELETE_IN_PROGRESS");
        assert_ne!(deleted["deploymentArn"], made["deploymentArn"]);
        assert_eq!(
            world.refused("DeleteDaemon", body.clone()).await,
            "DaemonNotActiveException: Daemon is not active."
        );
        assert_eq!(
            world.refused("CreateDaemon", request(json!({}))).await,
            "InvalidParameterException: Unable to create a daemon that is still being deleted."
        );
        let shown = world.ok("DescribeDaemon", body).await;
        assert_eq!(text(&shown, "/daemon/status"), "DELETE_IN_PROGRESS");
        let ghost = json!({"daemonArn": "arn:aws:ecs:us-east-1:000000000000:daemon/default/ghost"});
        assert_eq!(world.refused("DeleteDaemon", ghost).await, "DaemonNotFoundException: Daemon not found.");
    }
}
