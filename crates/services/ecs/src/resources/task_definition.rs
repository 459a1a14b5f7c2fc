//! Task definitions.

use api::ecs as wire_shapes;
use base::{Arn, Scope};
use domain::{TaskDefinition, TaskDefinitionFamily, TaskDefinitionStatus};
use store::rows::task_definition_key;
use store::{Key, Snapshot, Versioned};
use wire::{Call, Fault};

use super::identifier;
use crate::faults::{client, invalid};

/// How a caller names a task definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The family.
    pub family: String,
    /// The revision; `None` is the latest ACTIVE one.
    pub revision: Option<i32>,
}

/// Reads `family`, `family:revision` or an ARN.
pub fn parse(call: &Call, text: &str) -> Result<Reference, Fault> {
    let rest = if text.starts_with("arn:") {
        identifier::own_arn(call, text, "task-definition")?
    } else {
        text.to_owned()
    };
    let (family, revision) = match rest.split_once(':') {
        None => (rest.as_str(), None),
        Some((family, revision)) => {
            let number = revision.parse::<i32>().ok().filter(|number| *number > 0);
            (
                family,
                Some(number.ok_or_else(|| invalid(format!("Invalid revision number. Number: {revision}")))?),
            )
        }
    };
    if family.is_empty() {
        return Err(client("TaskDefinition can not be blank."));
    }
    if !identifier::is_name(family) {
        return Err(client(
            "Family contains invalid characters. Allowed characters are letters, numbers, hyphens, and underscores.",
        ));
    }
    Ok(Reference { family: family.to_owned(), revision })
}

/// The ARN that permissions are asked for: of the revision that is meant, or of all.
pub fn arn_for_permission(snapshot: &Snapshot, call: &Call, text: Option<&str>) -> String {
    let Some(Ok(reference)) = text.map(|text| parse(call, text)) else { return "*".to_owned() };
    let revision = reference.revision.or_else(|| {
        latest_active(snapshot, &call.scope, &reference.family).map(|latest| latest.value.revision)
    });
    let revision = revision.map_or("*".to_owned(), |revision| revision.to_string());
    Arn::new("ecs", &call.scope, format!("task-definition/{}:{revision}", reference.family)).to_string()
}

/// The definition that is meant, if there is one. A definition whose deletion is under way is found by its revision.
pub fn find(snapshot: &Snapshot, scope: &Scope, reference: &Reference) -> Option<Versioned<TaskDefinition>> {
    match reference.revision {
        Some(revision) => snapshot.get(&task_definition_key(scope, &reference.family, revision)),
        None => latest_active(snapshot, scope, &reference.family),
    }
}

/// The ACTIVE definition that tasks can be started from.
pub fn runnable(
    snapshot: &Snapshot,
    scope: &Scope,
    reference: &Reference,
) -> Result<Versioned<TaskDefinition>, Fault> {
    match find(snapshot, scope, reference) {
        None => Err(client("TaskDefinition not found.")),
        Some(definition) if definition.status != TaskDefinitionStatus::Active => {
            Err(client("TaskDefinition is inactive"))
        }
        Some(definition) => Ok(definition),
    }
}

fn latest_active(snapshot: &Snapshot, scope: &Scope, family: &str) -> Option<Versioned<TaskDefinition>> {
    let newest = snapshot.get::<TaskDefinitionFamily>(&Key::new(scope, &[family]))?.last_revision;
    // Most often the newest is the one; else all have to be looked at, since the scan goes upwards.
    let newest = snapshot.get::<TaskDefinition>(&task_definition_key(scope, family, newest));
    newest.filter(|definition| definition.status == TaskDefinitionStatus::Active).or_else(|| {
        snapshot
            .scan::<TaskDefinition>(Key::prefix(scope, &[family]), None)
            .filter(|definition| definition.status == TaskDefinitionStatus::Active)
            .last()
    })
}

/// The document as registered.
pub fn document(definition: &TaskDefinition) -> Result<wire_shapes::TaskDefinition, Fault> {
    wire::json::from_str(&definition.document).map_err(Fault::server)
}

/// The definition as the API shows it.
pub fn describe(definition: &TaskDefinition) -> Result<wire_shapes::TaskDefinition, Fault> {
    let mut described = document(definition)?;
    described.task_definition_arn = Some(definition.arn().to_string());
    described.family = Some(definition.family.clone());
    described.revision = Some(definition.revision);
    described.status = Some(definition.status.to_string());
    described.registered_at = Some(definition.registered_at);
    described.registered_by = Some(definition.registered_by.clone());
    described.deregistered_at = definition.deregistered_at;
    described.delete_requested_at = definition.delete_requested_at;
    Ok(described)
}
