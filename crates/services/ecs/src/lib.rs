//! Amazon ECS: the operations of the API, one file each in `operations/`; nouns on the wire in `resources/`; what
//! RunTask and StartTask share in `launch/`; what RegisterTaskDefinition checks in `task_definition_validation/`.
//!
//! Operations write wishes and start nothing: `control` makes them true.

use std::sync::Arc;

use base::Ids;
use store::Store;

mod faults;
#[cfg(test)]
mod hostile;
mod launch;
mod operations;
mod resources;
mod table;
mod task_definition_validation;
#[cfg(test)]
mod testing;

pub use resources::container_instance::{
    AVAILABILITY_ZONE_ATTRIBUTE, FARGATE_CAPACITY_ATTRIBUTE, OVER_COMMIT_ATTRIBUTE,
};
pub use table::service;

/// What can be set.
#[derive(Clone, Debug)]
pub struct EcsConfig {
    /// Path below the endpoint of the control plane's web socket for agents, such as `/_roadstead/acs`.
    pub agent_endpoint_path: String,
    /// Path below the endpoint of the telemetry web socket, such as `/_roadstead/tcs`.
    pub telemetry_endpoint_path: String,
}

impl Default for EcsConfig {
    fn default() -> Self {
        Self {
            agent_endpoint_path: "/_roadstead/acs".to_owned(),
            telemetry_endpoint_path: "/_roadstead/tcs".to_owned(),
        }
    }
}

/// The service.
pub struct Ecs {
    /// All state.
    pub store: Store,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
    /// What can be set.
    pub config: EcsConfig,
}
