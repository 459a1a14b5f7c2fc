//! Registers a revision of a daemon task definition. AWS: RegisterDaemonTaskDefinition.
//!
//! Differs from AWS: see [`crate::task_definition_validation::daemon`].

use api::ecs::operations::RegisterDaemonTaskDefinition;
use api::ecs::{RegisterDaemonTaskDefinitionRequest, RegisterDaemonTaskDefinitionResponse};
use base::Arn;
use domain::{DaemonTaskDefinition, DaemonTaskDefinitionFamily, DaemonTaskDefinitionStatus};
use store::{Key, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::tag;
use crate::{Ecs, faults, task_definition_validation};

/// Revisions of one family. Source: "Amazon ECS service quotas" (of task definitions).
const REVISIONS_PER_FAMILY: i32 = 1_000_000;

impl Operation<RegisterDaemonTaskDefinition> for Ecs {
    fn permissions(&self, call: &Call, input: &RegisterDaemonTaskDefinitionRequest) -> Vec<Permission> {
        let family = input.family.as_deref().unwrap_or("*");
        let resource = Arn::new("ecs", &call.scope, format!("daemon-task-definition/{family}:*"));
        let mut permissions = vec![Permission::new("ecs:RegisterDaemonTaskDefinition", resource.to_string())];
        let roles = [&input.task_role_arn, &input.execution_role_arn];
        permissions.extend(roles.into_iter().flatten().map(|role| Permission::new("iam:PassRole", role)));
        permissions
    }

    async fn handle(
        &self,
        call: &Call,
        input: RegisterDaemonTaskDefinitionRequest,
    ) -> Result<RegisterDaemonTaskDefinitionResponse, Fault> {
        let tags = tag::parse(input.tags.clone())?;
        let validated = task_definition_validation::daemon::validate(&input)?;
        let document = wire::json::to_string(&validated.document);
        let task_document = wire::json::to_string(&validated.task_document);
        let family = input.family.unwrap_or_default();

        let update = self.store.update(|snapshot| {
            let there = snapshot.get::<DaemonTaskDefinitionFamily>(&Key::new(&call.scope, &[&family]));
            let revision = there.as_ref().map_or(0, |there| there.last_revision) + 1;
            if revision > REVISIONS_PER_FAMILY {
                return Err(api::ecs::faults::limit_exceeded_exception(
                    "The limit of daemon task definition revisions per family was reached.",
                ));
            }
            let definition = DaemonTaskDefinition {
                scope: call.scope.clone(),
                family: family.clone(),
                revision,
                status: DaemonTaskDefinitionStatus::Active,
                document: document.clone(),
                task_document: task_document.clone(),
                projection: validated.projection.clone(),
                tags: tags.clone(),
                registered_at: call.now,
                registered_by: call.principal.arn.to_string(),
                delete_requested_at: None,
                deleted_at: None,
            };
            let mut transaction = Transaction::new();
            let next = DaemonTaskDefinitionFamily {
                scope: call.scope.clone(),
                family: family.clone(),
                last_revision: revision,
            };
            match &there {
                Some(there) => transaction.replace(there, next),
                None => transaction.insert(next),
            };
            transaction.insert(definition.clone());
            Ok((transaction, definition))
        });
        let definition = update.await.map_err(faults::of_update)?;

        Ok(RegisterDaemonTaskDefinitionResponse {
            daemon_task_definition_arn: Some(definition.arn().to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{World, text};

    /// The definition of AWS's example, with `change` merged into its container.
    fn definition(change: Value) -> Value {
        let mut definition = json!({
            "family": "agent",
            "containerDefinitions": [{"name": "app", "image": "busybox", "essential": true}],
        });
        for (key, value) in change.as_object().unwrap() {
            definition["containerDefinitions"][0][key] = value.clone();
        }
        definition
    }

    #[tokio::test]
    async fn revisions_count_and_are_shown() {
        let world = World::new();
        let first = world.ok("RegisterDaemonTaskDefinition", definition(json!({}))).await;
        assert_eq!(
            text(&first, "/daemonTaskDefinitionArn"),
            "arn:aws:ecs:us-east-1:000000000000:daemon-task-definition/agent:1"
        );
        let mut second = definition(json!({
            "privileged": true,
            "linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}, "initProcessEnabled": true},
            "mountPoints": [{"sourceVolume": "log", "containerPath": "/host/log", "readOnly": true}],
            "memoryReservation": 64,
        }));
        second["volumes"] = json!([{"name": "log", "host": {"sourcePath": "/var/log"}}]);
        second["pidMode"] = json!("shared");
        second["cpu"] = json!("128");
        world.ok("RegisterDaemonTaskDefinition", second).await;
        let shown = world.ok("DescribeDaemonTaskDefinition", json!({"daemonTaskDefinition": "agent"})).await;
        let shown = &shown["daemonTaskDefinition"];
        assert_eq!(shown["revision"], 2);
        assert_eq!(shown["status"], "ACTIVE");
        assert_eq!(shown["registeredBy"], "arn:aws:iam::000000000000:root");
        assert_eq!(
            (&shown["pidMode"], &shown["ipcMode"], &shown["cpu"]),
            (&json!("shared"), &json!("none"), &json!("128"))
        );
        assert_eq!(shown["volumes"], json!([{"name": "log", "host": {"sourcePath": "/var/log"}}]));
        let container = &shown["containerDefinitions"][0];
        assert_eq!((&container["essential"], &container["cpu"]), (&json!(true), &json!(0)));
        assert_eq!(container["linuxParameters"]["capabilities"], json!({"add": ["NET_ADMIN"]}));
        let bare = world.ok("DescribeDaemonTaskDefinition", json!({"daemonTaskDefinition": "agent:1"})).await;
        let container = &bare["daemonTaskDefinition"]["containerDefinitions"][0];
        assert!(container.get("memoryReservation").is_none(), "no memory was asked for: {container}");
    }

    #[tokio::test]
    async fn what_is_refused() {
        let world = World::new();
        for (change, wanted) in [
            (json!({"image": ""}), "ClientException: Container.image should not be null or empty."),
            (json!({"name": "a b"}), "ClientException: Container.name contains invalid characters."),
            (
                json!({"essential": false}),
                "ClientException: Task definition doesn't have any essential container.",
            ),
            (
                json!({"secrets": [{"name": "A", "valueFrom": "b"}]}),
                "ClientException: containerDefinitions.secrets is not supported by this release of Roadstead.",
            ),
            (
                json!({"mountPoints": [{"sourceVolume": "ghost", "containerPath": "/x"}]}),
                "ClientException: Unknown volume 'ghost'.",
            ),
            (
                json!({"memory": 4}),
                "ClientException: Invalid setting for container 'app'. 'memory' must be at least 6.",
            ),
        ] {
            assert_eq!(world.refused("RegisterDaemonTaskDefinition", definition(change)).await, wanted);
        }
        for (field, value) in [
            ("family", json!("a b")),
            ("containerDefinitions", json!([])),
            ("volumes", json!([{"name": "v"}])),
            ("volumes", json!([{"name": "v", "host": {"sourcePath": "relative"}}])),
            ("volumes", json!([{"name": "v", "logDriverVolumeConfiguration": {"driver": "awslogs"}}])),
            ("cpu", json!("nonsense")),
            ("pidMode", json!("host")),
            ("tags", json!([{"key": "aws:x", "value": "y"}])),
            ("taskRoleArn", json!("arn:aws:s3:::x")),
        ] {
            let mut body = definition(json!({}));
            body[field] = value;
            world.refused("RegisterDaemonTaskDefinition", body).await;
        }
        let listed = world.ok("ListDaemonTaskDefinitions", json!({"status": "ALL"})).await;
        assert_eq!(listed["daemonTaskDefinitions"], json!([]), "what is refused leaves nothing");
    }
}
