//! What containers there are.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::specification::ContainerId;
use crate::status::{ContainerStatus, State};

impl Engine {
    /// All containers of this engine, those of an earlier process included, by id.
    pub async fn list(&self) -> Result<Vec<ContainerStatus>, EngineError> {
        self.adopt().await;
        let containers: Vec<_> = self.inner.containers().values().cloned().collect();
        let mut list: Vec<ContainerStatus> = containers.iter().map(|container| container.status()).collect();
        list.sort_by(|left, right| left.id.cmp(&right.id));
        Ok(list)
    }

    /// One container. Errors: `NotFound`.
    pub async fn status(&self, id: &ContainerId) -> Result<ContainerStatus, EngineError> {
        Ok(self.container(id).await?.status())
    }
}

impl crate::container::Container {
    fn status(&self) -> ContainerStatus {
        let known = self.known();
        let state = known.state();
        let alive = matches!(state, State::Created | State::Running);
        let record = known.record;
        ContainerStatus {
            id: self.id.clone(),
            pid: record.as_ref().filter(|_| alive).map(|record| record.pid),
            created_at: record.as_ref().map(|record| record.created_at),
            started_at: record.as_ref().and_then(|record| record.started_at),
            labels: self.labels.clone(),
            state,
        }
    }
}
