//! Deletes task definitions that were deregistered. AWS: DeleteTaskDefinitions.
//!
//! Differs from AWS: nothing known. As there, a deleted one is DELETE_IN_PROGRESS at first. It goes for good when no task that is not stopped refers to
//! it and [`LINGER_SECONDS`] have passed; registrations and deletions clear such ones away.

use api::ecs::operations::DeleteTaskDefinitions;
use api::ecs::{DeleteTaskDefinitionsRequest, DeleteTaskDefinitionsResponse, Failure};
use base::{Arn, Timestamp};
use domain::{Task, TaskDefinition, TaskDefinitionStatus};
use store::rows::{TASK_DEFINITIONS_DELETING, TASKS_BY_TASK_DEFINITION};
use store::{Row, Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::task_definition::{self, Reference};
use crate::{Ecs, faults};

/// Task definitions in one call. Source: DeleteTaskDefinitions.
const DEFINITIONS: usize = 10;
/// Seconds for which a deleted definition can still be described. Ours.
const LINGER_SECONDS: i64 = 3600;
/// Deleted definitions that one call clears away.
const CLEARED: usize = 16;

impl Operation<DeleteTaskDefinitions> for Ecs {
    fn permissions(&self, call: &Call, input: &DeleteTaskDefinitionsRequest) -> Vec<Permission> {
        let snapshot = self.store.snapshot();
        let arn = |text: &String| task_definition::arn_for_permission(&snapshot, call, Some(text));
        input
            .task_definitions
            .iter()
            .flatten()
            .map(|text| Permission::new("ecs:DeleteTaskDefinitions", arn(text)))
            .collect()
    }

    async fn handle(
        &self,
        call: &Call,
        input: DeleteTaskDefinitionsRequest,
    ) -> Result<DeleteTaskDefinitionsResponse, Fault> {
        let given = input.task_definitions.unwrap_or_default();
        if given.is_empty() {
            return Err(faults::invalid("Task definitions cannot be empty."));
        }
        if given.len() > DEFINITIONS {
            return Err(faults::invalid(format!(
                "Task definitions cannot have more than {DEFINITIONS} elements."
            )));
        }
        let mut references: Vec<Reference> = Vec::new();
        for text in &given {
            let reference = task_definition::parse(call, text)?;
            if reference.revision.is_none() {
                return Err(faults::client("Revision is missing."));
            }
            if !references.contains(&reference) {
                references.push(reference);
            }
        }

        let update = self.store.update(|snapshot| {
            let (mut deleted, mut failures) = (Vec::new(), Vec::new());
            let mut transaction = Transaction::new();
            for reference in &references {
                match delete(snapshot, &mut transaction, call, reference) {
                    Ok(definition) => deleted.push(definition),
                    Err(failure) => failures.push(failure),
                }
            }
            clear_deleted(snapshot, &mut transaction, call.now);
            Ok::<_, Fault>((transaction, (deleted, failures)))
        });
        let (deleted, failures) = update.await.map_err(faults::of_update)?;

        Ok(DeleteTaskDefinitionsResponse {
            task_definitions: Some(deleted.iter().map(task_definition::describe).collect::<Result<_, _>>()?),
            failures: Some(failures),
        })
    }
}

fn delete(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    call: &Call,
    reference: &Reference,
) -> Result<TaskDefinition, Failure> {
    let revision = reference.revision.unwrap_or_default();
    let arn = Arn::new("ecs", &call.scope, format!("task-definition/{}:{revision}", reference.family));
    let failed =
        |reason: &str| Failure { arn: Some(arn.to_string()), reason: Some(reason.to_owned()), detail: None };
    let there = task_definition::find(snapshot, &call.scope, reference).ok_or_else(|| {
        failed("The specified task definition does not exist. Specify a valid account, family, revision and try again.")
    })?;
    match there.status {
        TaskDefinitionStatus::Active => Err(failed(
            "The specified task definition is still in ACTIVE status. Please deregister the target and try again.",
        )),
        TaskDefinitionStatus::DeleteInProgress => Ok(TaskDefinition::clone(&there)),
        TaskDefinitionStatus::Inactive => {
            let mut next = TaskDefinition::clone(&there);
            next.status = TaskDefinitionStatus::DeleteInProgress;
            next.delete_requested_at = Some(call.now);
            transaction.replace(&there, next.clone());
            Ok(next)
        }
    }
}

/// Removes definitions whose deletion is complete, a bounded number at a time.
pub(super) fn clear_deleted(snapshot: &Snapshot, transaction: &mut Transaction, now: Timestamp) {
    for definition in snapshot.index::<TaskDefinition>(TASK_DEFINITIONS_DELETING, &[], None).take(CLEARED) {
        let lingers = definition.delete_requested_at.is_some_and(|at| now < at.plus_seconds(LINGER_SECONDS));
        let arn = definition.arn().to_string();
        let used = snapshot.index::<Task>(TASKS_BY_TASK_DEFINITION, &[&arn], None).next().is_some();
        if !lingers && !used {
            transaction.delete::<TaskDefinition>(&definition.key());
        }
    }
}
