//! What a container uses.

use crate::cgroup::Cgroup;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout;
use crate::specification::ContainerId;
use crate::status::Stats;

impl Engine {
    /// What the container uses now; after its end (until it is deleted) what it used in all.
    pub async fn stats(&self, id: &ContainerId) -> Result<Stats, EngineError> {
        Ok(self.container(id).await?.cgroup.stats())
    }

    /// What the whole task uses now: all containers of the group together.
    pub async fn task_group_stats(&self, id: &ContainerId) -> Result<Stats, EngineError> {
        self.adopt().await;
        if !self.inner.group_directory(id).exists() {
            return Err(EngineError::NotFound(id.clone()));
        }
        let path = layout::group_cgroup(&self.inner.config.cgroup_root, id);
        Ok(Cgroup::new(self.inner.cgroup.hierarchy().clone(), path).stats())
    }
}
