//! Changes a daemon by a new deployment. AWS: UpdateDaemon.
//!
//! What the call leaves out stays as it was. A revision that would be the same as the daemon's newest is not made anew, so
//! that a changed list of capacity providers leaves running tasks alone. Differs from AWS: see
//! [`crate::resources::daemon`]; that the same revision is used again could not be verified.

use api::ecs::operations::UpdateDaemon;
use api::ecs::{UpdateDaemonRequest, UpdateDaemonResponse, faults as modelled};
use domain::{Daemon, DaemonDeployment, DaemonDeploymentStatus, DaemonGoal, DaemonRevision, DaemonStatus};
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault, Operation, Permission};

use super::create_daemon::{
    self, Configuration, RevisionWish, forget_old, parse_configuration, parse_propagate_tags,
    refuse_execute_command,
};
use crate::resources::{cluster, daemon, daemon_task_definition};
use crate::{Ecs, faults};

impl Operation<UpdateDaemon> for Ecs {
    fn permissions(&self, call: &Call, input: &UpdateDaemonRequest) -> Vec<Permission> {
        let resource = daemon::arn_for_permission(call, input.daemon_arn.as_deref());
        vec![Permission::new("ecs:UpdateDaemon", resource)]
    }

    async fn handle(&self, call: &Call, input: UpdateDaemonRequest) -> Result<UpdateDaemonResponse, Fault> {
        let reference = daemon::parse(call, input.daemon_arn.as_deref().unwrap_or_default())?;
        let definition = daemon_task_definition::parse(
            call,
            input.daemon_task_definition_arn.as_deref().unwrap_or_default(),
        )?;
        let configuration = parse_configuration(input.deployment_configuration.as_ref())?;
        let propagate_tags = parse_propagate_tags(input.propagate_tags.as_deref())?;
        refuse_execute_command(input.enable_execute_command)?;
        let given = input.capacity_provider_arns.unwrap_or_default();

        let update = self.store.update(|snapshot| {
            let there = daemon::get(snapshot, call, &reference)?;
            if there.status != DaemonStatus::Active {
                return Err(modelled::daemon_not_active_exception("Daemon is not active."));
            }
            let cluster = cluster::get(snapshot, &call.scope, &reference.cluster)?;
            let capacity_providers =
                daemon::parse_capacity_providers(snapshot, call, &given, &cluster.capacity_providers)?;
            let current = daemon::revision(snapshot, &there, &there.goal.revision)
                .ok_or_else(|| Fault::server("a daemon without its revision"))?;
            let wish = RevisionWish {
                definition: definition.clone(),
                critical: input.critical.unwrap_or(current.critical),
                propagate_tags: propagate_tags.clone().unwrap_or_else(|| current.propagate_tags.clone()),
                enable_ecs_managed_tags: input
                    .enable_ecs_managed_tags
                    .unwrap_or(current.enable_ecs_managed_tags),
            };
            let made = wish.make(snapshot, call, self.ids.as_ref(), &there)?;
            let mut transaction = Transaction::new();
            transaction.require_unchanged(&cluster);
            let revision = if is_same(&current, &made) {
                current.id.clone()
            } else {
                let id = made.id.clone();
                transaction.insert(made);
                id
            };
            let goal = DaemonGoal { revision, capacity_providers, critical: wish.critical };
            let id = self.ids.word(21);
            let next =
                begin(snapshot, &mut transaction, call, &there, id, Some(goal), configuration.as_ref())?;
            transaction.replace(&there, next.clone());
            Ok((transaction, next))
        });
        let daemon = update.await.map_err(faults::of_update)?;

        Ok(UpdateDaemonResponse {
            created_at: Some(daemon.created_at),
            daemon_arn: Some(daemon.arn().to_string()),
            deployment_arn: Some(daemon.deployment_arn().to_string()),
            status: Some(daemon.status.to_string()),
            updated_at: Some(daemon.updated_at),
        })
    }
}

fn is_same(there: &DaemonRevision, made: &DaemonRevision) -> bool {
    (&there.task_definition, there.critical, &there.propagate_tags, there.enable_ecs_managed_tags)
        == (&made.task_definition, made.critical, &made.propagate_tags, made.enable_ecs_managed_tags)
}

/// Adds to a transaction a new deployment of `there` with this id, in place of the one under way; the daemon from then on.
pub fn begin(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    call: &Call,
    there: &Versioned<Daemon>,
    id: String,
    target: Option<DaemonGoal>,
    configuration: Option<&Configuration>,
) -> Result<Daemon, Fault> {
    let before = daemon::deployment(snapshot, there, &there.deployment)
        .ok_or_else(|| Fault::server("a daemon without its deployment"))?;
    let mut sources: Vec<DaemonGoal> = there.steady.iter().cloned().collect();
    if there.deploying {
        sources
            .extend(before.target.iter().filter(|goal| !sources.contains(goal)).cloned().collect::<Vec<_>>());
        let next = DaemonDeployment {
            status: DaemonDeploymentStatus::Stopped,
            status_reason: Some("The deployment was replaced by a new deployment.".to_owned()),
            stopped_at: Some(call.now),
            finished_at: Some(call.now),
            ..DaemonDeployment::clone(&before)
        };
        transaction.replace(&before, next);
    }
    let mut next = Daemon { updated_at: call.now, deployment: id, deploying: true, ..Daemon::clone(there) };
    if let Some(goal) = &target {
        next.goal = goal.clone();
    }
    let configuration = configuration.cloned().unwrap_or_else(|| Configuration::of(&before));
    transaction.insert(create_daemon::deployment(call, &next, target, sources, &configuration));
    forget_old(snapshot, transaction, there);
    Ok(next)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::create_daemon::tests::{register, request, world};
    use crate::testing::text;

    #[tokio::test]
    async fn a_new_deployment_takes_the_place_of_the_one_under_way() {
        let world = world().await;
        let made = world.ok("CreateDaemon", request(json!({"propagateTags": "DAEMON"}))).await;
        let arn = text(&made, "/daemonArn");
        register(&world, "busybox:2").await;
        let update = |change: Value| {
            let mut body = request(change);
            body.as_object_mut().unwrap().remove("daemonName");
            body["daemonArn"] = json!(arn);
            body
        };
        let same = update(json!({"daemonTaskDefinitionArn": "agent:1"}));
        let first = world.ok("UpdateDaemon", same).await;
        let second = world.ok("UpdateDaemon", update(json!({"critical": false}))).await;
        let arns = json!([made["deploymentArn"], first["deploymentArn"], second["deploymentArn"]]);
        let shown = world.ok("DescribeDaemonDeployments", json!({"daemonDeploymentArns": arns})).await;
        let shown = shown["daemonDeployments"].as_array().unwrap();
        let statuses: Vec<&str> = shown.iter().map(|one| one["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["STOPPED", "STOPPED", "PENDING"]);
        assert!(shown[0]["stoppedAt"].is_number());
        let target = |index: usize| text(&shown[index], "/targetDaemonRevision/arn");
        assert_eq!(target(0), target(1), "nothing of the revision changed");
        assert_ne!(target(1), target(2));
        let revision = world.ok("DescribeDaemonRevisions", json!({"daemonRevisionArns": [target(2)]})).await;
        let revision = &revision["daemonRevisions"][0];
        assert_eq!(revision["propagateTags"], "DAEMON", "what is left out stays");
        assert_eq!(revision["critical"], false);
        assert_eq!(revision["containerImages"][0]["image"], "busybox:2");
        assert_eq!(shown[2]["sourceDaemonRevisions"][0]["arn"], json!(target(1)));
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = world().await;
        let body = |daemon: &str| json!({"daemonArn": daemon, "daemonTaskDefinitionArn": "agent", "capacityProviderArns": ["own"]});
        let ghost = "arn:aws:ecs:us-east-1:000000000000:daemon/default/ghost";
        assert_eq!(
            world.refused("UpdateDaemon", body(ghost)).await,
            "DaemonNotFoundException: Daemon not found."
        );
        let elsewhere = "arn:aws:ecs:us-east-1:000000000000:daemon/elsewhere/ghost";
        assert_eq!(
            world.refused("UpdateDaemon", body(elsewhere)).await,
            "ClusterNotFoundException: Cluster not found."
        );
        assert_eq!(
            world.refused("UpdateDaemon", body("watch")).await,
            "InvalidParameterException: Invalid arn syntax."
        );
        let made = world.ok("CreateDaemon", request(json!({}))).await;
        let arn = text(&made, "/daemonArn");
        world.ok("DeleteDaemon", json!({"daemonArn": arn})).await;
        assert_eq!(
            world.refused("UpdateDaemon", body(&arn)).await,
            "DaemonNotActiveException: Daemon is not active."
        );
    }
}
