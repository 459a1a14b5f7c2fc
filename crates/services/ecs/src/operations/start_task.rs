//! Starts a task on each of the container instances named. AWS: StartTask.
//!
//! Differs from AWS: see [`crate::launch`]. An instance that is named twice is refused.

use std::collections::BTreeSet;

use api::ecs::operations::StartTask;
use api::ecs::{RunTaskRequest, StartTaskRequest, StartTaskResponse};
use base::Arn;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, container_instance, tag, task, task_definition};
use crate::{Ecs, faults, launch};

/// Container instances in one call. Source: StartTask, `containerInstances`.
const INSTANCES: usize = 10;

impl Operation<StartTask> for Ecs {
    fn permissions(&self, call: &Call, input: &StartTaskRequest) -> Vec<Permission> {
        let definition = task_definition::arn_for_permission(
            &self.store.snapshot(),
            call,
            input.task_definition.as_deref(),
        );
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        let mut permissions = vec![Permission::new("ecs:StartTask", definition).when("ecs:cluster", cluster)];
        if let Some(overrides) = &input.overrides {
            let roles = [&overrides.task_role_arn, &overrides.execution_role_arn];
            permissions.extend(roles.into_iter().flatten().map(|role| Permission::new("iam:PassRole", role)));
        }
        permissions
    }

    async fn handle(&self, call: &Call, input: StartTaskRequest) -> Result<StartTaskResponse, Fault> {
        let name = cluster::name(call, input.cluster.as_deref())?;
        let given = input.container_instances.clone().unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("Container instances cannot be empty."));
        }
        if given.len() > INSTANCES {
            return Err(faults::invalid(format!(
                "Container instances cannot have more than {INSTANCES} elements."
            )));
        }
        let ids = given
            .iter()
            .map(|text| container_instance::id(call, &name, text))
            .collect::<Result<Vec<_>, _>>()?;
        if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
            return Err(faults::invalid("Container instances cannot be named more than once."));
        }
        tag::parse_with_wishes(input.tags.clone(), launch::On::StartTask)?;
        let request = as_run_task(input);

        let _turn = launch::turn(&self.store).await;
        let update = self.store.update(|snapshot| {
            let launch = launch::check(snapshot, call, &request)?;
            let instances = ids.iter().map(|id| {
                let arn = Arn::new("ecs", &call.scope, format!("container-instance/{name}/{id}")).to_string();
                (arn, container_instance::get(snapshot, call, &name, id))
            });
            let placed =
                launch::on_instances(snapshot, call, self.ids.as_ref(), &launch, instances.collect())?;
            Ok((placed.transaction, (placed.tasks, placed.failures)))
        });
        let (tasks, failures) = update.await.map_err(faults::of_update)?;

        let tasks = tasks.iter().map(|started| task::describe(started, true)).collect::<Result<_, _>>()?;
        Ok(StartTaskResponse { tasks: Some(tasks), failures: Some(failures) })
    }
}

/// The same wish as a RunTask without placement: what is checked is alike.
fn as_run_task(input: StartTaskRequest) -> RunTaskRequest {
    RunTaskRequest {
        cluster: input.cluster,
        enable_ecs_managed_tags: input.enable_ecs_managed_tags,
        enable_execute_command: input.enable_execute_command,
        group: input.group,
        launch_type: Some("EC2".to_owned()),
        network_configuration: input.network_configuration,
        overrides: input.overrides,
        propagate_tags: input.propagate_tags,
        reference_id: input.reference_id,
        started_by: input.started_by,
        tags: input.tags,
        task_definition: input.task_definition,
        volume_configurations: input.volume_configurations,
        ..RunTaskRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn on_the_instances_named() {
        let (world, instance) = World::with_instance(1024, 100, &[]).await;
        let other = world.add_instance(1024, 1024, &[]).await;
        let ghost = "0".repeat(32);
        world.register("web").await;
        let body = json!({"taskDefinition": "web", "containerInstances": [instance, other, ghost]});
        let started = world.ok("StartTask", body).await;
        assert_eq!(text(&started, "/tasks/0/containerInstanceArn"), other);
        assert_eq!(
            started["failures"],
            json!([
                {"arn": instance, "reason": "RESOURCE:MEMORY"},
                {"arn": format!("arn:aws:ecs:us-east-1:000000000000:container-instance/default/{ghost}"), "reason": "MISSING"},
            ])
        );
        world.refused("StartTask", json!({"taskDefinition": "web", "containerInstances": []})).await;
        world
            .refused("StartTask", json!({"taskDefinition": "web", "containerInstances": [other, other]}))
            .await;
        assert_eq!(
            world
                .refused(
                    "StartTask",
                    json!({"cluster": "x", "taskDefinition": "web", "containerInstances": [ghost]})
                )
                .await,
            "ClusterNotFoundException: Cluster not found."
        );
    }
}
