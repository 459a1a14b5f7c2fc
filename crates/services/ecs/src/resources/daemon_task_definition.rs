//! Daemon task definitions.

use api::ecs as shape;
use base::{Arn, Scope};
use domain::{DaemonTaskDefinition, DaemonTaskDefinitionFamily, DaemonTaskDefinitionStatus};
use store::rows_daemon::daemon_task_definition_key;
use store::{Key, Snapshot, Versioned};
use wire::{Call, Fault};

use super::identifier;
use super::task_definition::Reference;
use crate::faults::{client, invalid};

/// Reads `family`, `family:revision` or an ARN.
pub fn parse(call: &Call, text: &str) -> Result<Reference, Fault> {
    let rest = if text.starts_with("arn:") {
        identifier::own_arn(call, text, "daemon-task-definition")?
    } else {
        text.to_owned()
    };
    let (family, revision) = match rest.split_once(':') {
        None => (rest.as_str(), None),
        Some((family, revision)) => {
            let number = revision.parse::<i32>().ok().filter(|number| *number > 0);
            let bad = || invalid(format!("Invalid revision number. Number: {revision}"));
            (family, Some(number.ok_or_else(bad)?))
        }
    };
    if family.is_empty() {
        return Err(client("DaemonTaskDefinition can not be blank."));
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
    let revision = reference
        .revision
        .or_else(|| latest_active(snapshot, &call.scope, &reference.family).map(|row| row.value.revision));
    match revision {
        Some(revision) => DaemonTaskDefinition::arn_of(&call.scope, &reference.family, revision).to_string(),
        None => {
            Arn::new("ecs", &call.scope, format!("daemon-task-definition/{}:*", reference.family)).to_string()
        }
    }
}

/// The definition that is meant, if there is one.
pub fn find(
    snapshot: &Snapshot,
    scope: &Scope,
    reference: &Reference,
) -> Option<Versioned<DaemonTaskDefinition>> {
    match reference.revision {
        Some(revision) => snapshot.get(&daemon_task_definition_key(scope, &reference.family, revision)),
        None => latest_active(snapshot, scope, &reference.family),
    }
}

/// The definition with this ARN.
pub fn by_arn(snapshot: &Snapshot, arn: &Arn) -> Option<Versioned<DaemonTaskDefinition>> {
    let (family, revision) = DaemonTaskDefinition::parse_arn(arn)?;
    snapshot.get(&daemon_task_definition_key(&arn.scope()?, &family, revision))
}

/// The ACTIVE definition that a daemon can be made of.
pub fn usable(
    snapshot: &Snapshot,
    scope: &Scope,
    reference: &Reference,
) -> Result<Versioned<DaemonTaskDefinition>, Fault> {
    match find(snapshot, scope, reference) {
        None => Err(client("DaemonTaskDefinition not found.")),
        Some(definition) if definition.status != DaemonTaskDefinitionStatus::Active => {
            Err(client("DaemonTaskDefinition is inactive"))
        }
        Some(definition) => Ok(definition),
    }
}

fn latest_active(
    snapshot: &Snapshot,
    scope: &Scope,
    family: &str,
) -> Option<Versioned<DaemonTaskDefinition>> {
    let newest = snapshot.get::<DaemonTaskDefinitionFamily>(&Key::new(scope, &[family]))?.last_revision;
    let is_active = |row: &Versioned<DaemonTaskDefinition>| row.status == DaemonTaskDefinitionStatus::Active;
    let newest = snapshot.get(&daemon_task_definition_key(scope, family, newest));
    newest.filter(is_active).or_else(|| {
        snapshot.scan::<DaemonTaskDefinition>(Key::prefix(scope, &[family]), None).filter(is_active).last()
    })
}

/// The definition as the API shows it.
pub fn describe(definition: &DaemonTaskDefinition) -> Result<shape::DaemonTaskDefinition, Fault> {
    let mut described: shape::DaemonTaskDefinition =
        wire::json::from_str(&definition.document).map_err(Fault::server)?;
    described.daemon_task_definition_arn = Some(definition.arn().to_string());
    described.revision = Some(definition.revision);
    described.status = Some(definition.status.to_string());
    described.registered_at = Some(definition.registered_at);
    described.registered_by = Some(definition.registered_by.clone());
    described.delete_requested_at = definition.delete_requested_at;
    Ok(described)
}

/// The definition in a listing.
pub fn summarize(definition: &DaemonTaskDefinition) -> shape::DaemonTaskDefinitionSummary {
    shape::DaemonTaskDefinitionSummary {
        arn: Some(definition.arn().to_string()),
        delete_requested_at: definition.delete_requested_at,
        registered_at: Some(definition.registered_at),
        registered_by: Some(definition.registered_by.clone()),
        status: Some(definition.status.to_string()),
    }
}
