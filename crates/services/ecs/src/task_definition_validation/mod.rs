//! What RegisterTaskDefinition checks and fills in: every member of the model, in the order in which it stands there.

mod defaults;
mod projection;
pub mod size;

use api::ecs::{RegisterTaskDefinitionRequest, TaskDefinition};
use domain::TaskDefinitionProjection;
use wire::Fault;

use crate::faults::client;
use crate::resources::identifier;

/// A definition that passed.
#[derive(Debug)]
pub struct Validated {
    /// As it is stored and shown.
    pub document: TaskDefinition,
    /// What the scheduler reads.
    pub projection: TaskDefinitionProjection,
}

/// Checks a definition and fills in what AWS fills in.
pub fn validate(request: &RegisterTaskDefinitionRequest) -> Result<Validated, Fault> {
    let family = request.family.as_deref().unwrap_or_default();
    if !identifier::is_name(family) {
        return Err(client(
            "Family contains invalid characters. Allowed characters are letters, numbers, hyphens, and underscores.",
        ));
    }
    let mut document = defaults::document(request);
    let projection = projection::project(&mut document)?;
    Ok(Validated { document, projection })
}
