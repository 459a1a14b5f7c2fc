//! Removing everything.

use std::time::Duration;

use super::task_group;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout;

/// How long everything that is left is killed.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Removes everything that this engine (or an earlier one with the same directory and cgroup) ever made: processes,
    /// mounts, cgroups, state. What lives is found by the engine's cgroup, so that no record is needed. The engine can be used
    /// further.
    pub async fn destroy_all(&self) -> Result<(), EngineError> {
        self.adopt().await;
        let ids: Vec<_> = self.inner.containers().keys().cloned().collect();
        for id in ids {
            if let Err(error) = self.delete(&id).await {
                tracing::warn!(container = %id, %error, "it is removed by force");
            }
        }
        let inner = std::sync::Arc::clone(&self.inner);
        let work = move || -> Result<(), EngineError> {
            inner.cgroup.kill_all(KILL_PATIENCE);
            task_group::unmount_below(&inner.config.root.join(layout::GROUPS));
            for name in [layout::CONTAINERS, layout::GROUPS] {
                let directory = inner.config.root.join(name);
                let entries = std::fs::read_dir(&directory).map_err(EngineError::io("list", &directory))?;
                for entry in entries.flatten() {
                    super::delete::remove_directory(&entry.path())?;
                }
            }
            inner.cgroup.remove().map_err(EngineError::io("remove the cgroup", inner.cgroup.path()))?;
            inner.containers().clear();
            Ok(())
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::Runtime(format!("the removal was cut short: {error}"))),
        }
    }

    /// [`Engine::destroy_all`], for the end.
    pub async fn dismantle(&self) -> Result<(), EngineError> {
        self.destroy_all().await
    }
}
