//! Registers a revision of a task definition. AWS: RegisterTaskDefinition.
//!
//! Differs from AWS: see [`crate::task_definition_validation`].

use api::ecs::operations::RegisterTaskDefinition;
use api::ecs::{RegisterTaskDefinitionRequest, RegisterTaskDefinitionResponse};
use base::Arn;
use domain::{TaskDefinition, TaskDefinitionFamily, TaskDefinitionStatus};
use store::{Key, Transaction};
use wire::{Call, Fault, Operation, Permission};

use super::delete_task_definitions::clear_deleted;
use crate::resources::{tag, task_definition};
use crate::{Ecs, faults, task_definition_validation};

/// Revisions of one family. Source: "Amazon ECS service quotas".
const REVISIONS_PER_FAMILY: i32 = 1_000_000;

impl Operation<RegisterTaskDefinition> for Ecs {
    fn permissions(&self, call: &Call, input: &RegisterTaskDefinitionRequest) -> Vec<Permission> {
        let family = input.family.as_deref().unwrap_or("*");
        let resource = Arn::new("ecs", &call.scope, format!("task-definition/{family}:*"));
        let mut permissions = vec![Permission::new("ecs:RegisterTaskDefinition", resource.to_string())];
        let roles = [&input.task_role_arn, &input.execution_role_arn];
        permissions.extend(roles.into_iter().flatten().map(|role| Permission::new("iam:PassRole", role)));
        permissions
    }

    async fn handle(
        &self,
        call: &Call,
        input: RegisterTaskDefinitionRequest,
    ) -> Result<RegisterTaskDefinitionResponse, Fault> {
        let tags = tag::parse_with_wishes(input.tags.clone(), crate::launch::On::TaskDefinition)?;
        let validated = task_definition_validation::validate(&input)?;
        let document = wire::json::to_string(&validated.document);
        let family = validated.document.family.clone().unwrap_or_default();

        let update = self.store.update(|snapshot| {
            let there = snapshot.get::<TaskDefinitionFamily>(&Key::new(&call.scope, &[&family]));
            let revision = there.as_ref().map_or(0, |there| there.last_revision) + 1;
            if revision > REVISIONS_PER_FAMILY {
                return Err(api::ecs::faults::limit_exceeded_exception(
                    "The limit of task definition revisions per family was reached.",
                ));
            }
            let definition = TaskDefinition {
                scope: call.scope.clone(),
                family: family.clone(),
                revision,
                status: TaskDefinitionStatus::Active,
                document: document.clone(),
                projection: validated.projection.clone(),
                tags: tags.clone(),
                registered_at: call.now,
                registered_by: call.principal.arn.to_string(),
                deregistered_at: None,
                delete_requested_at: None,
            };
            let mut transaction = Transaction::new();
            let next = TaskDefinitionFamily {
                scope: call.scope.clone(),
                family: family.clone(),
                last_revision: revision,
            };
            match &there {
                Some(there) => transaction.replace(there, next),
                None => transaction.insert(next),
            };
            transaction.insert(definition.clone());
            clear_deleted(snapshot, &mut transaction, call.now);
            Ok((transaction, definition))
        });
        let definition = update.await.map_err(faults::of_update)?;

        Ok(RegisterTaskDefinitionResponse {
            task_definition: Some(task_definition::describe(&definition)?),
            tags: (!definition.tags.is_empty()).then(|| tag::describe(&definition.tags)),
        })
    }
}
