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
pub mod launch;
mod operations;
mod resources;
mod service_validation;
pub mod spot;
mod table;
mod task_definition_validation;
#[cfg(test)]
mod testing;

pub use resources::container_instance;
pub use resources::container_instance::{
    AUTO_SCALING_GROUP_ATTRIBUTE, AVAILABILITY_ZONE_ATTRIBUTE, FARGATE_CAPACITY_ATTRIBUTE,
    OVER_COMMIT_ATTRIBUTE,
};
pub use resources::daemon::holds_back as daemon_holds_back;
pub use resources::service_deployment;
pub use table::service;

/// What can be set.
#[derive(Clone, Debug)]
pub struct EcsConfig {
    /// Path below the endpoint of the control plane's web socket for agents, such as `/_roadstead/acs`.
    pub agent_endpoint_path: String,
    /// Path below the endpoint of the telemetry web socket, such as `/_roadstead/tcs`.
    pub telemetry_endpoint_path: String,
    /// The networks that default VPCs are made in, best first: those that the machine does not route elsewhere.
    pub vpc_networks: Vec<base::Ipv4Cidr>,
}

impl Default for EcsConfig {
    fn default() -> Self {
        Self {
            agent_endpoint_path: "/_roadstead/acs".to_owned(),
            telemetry_endpoint_path: "/_roadstead/tcs".to_owned(),
            vpc_networks: Vec::new(),
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
