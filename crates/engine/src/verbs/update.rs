//! Changing a living container's limits.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::specification::{ContainerId, Resources};

impl Engine {
    /// Changes the limits of a container; absent ones stay as they are.
    pub async fn update(&self, id: &ContainerId, resources: Resources) -> Result<(), EngineError> {
        let container = self.container(id).await?;
        container.cgroup.apply(&resources).map_err(|error| EngineError::Runtime(error.to_string()))
    }
}
