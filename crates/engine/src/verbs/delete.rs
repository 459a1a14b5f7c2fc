//! Removing a container.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::container::Container;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::shim::protocol::Command;
use crate::specification::{ContainerId, Signal};
use crate::status::State;

/// How long a killed container and its shim may take to be gone before we go on by force.
const END_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Removes every trace of the container, killing it first if it runs. A container that does not exist is no error.
    pub async fn delete(&self, id: &ContainerId) -> Result<(), EngineError> {
        let container = match self.container(id).await {
            Ok(container) => container,
            Err(EngineError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        end(&container).await;
        let work = Arc::clone(&container);
        let removed = tokio::task::spawn_blocking(move || {
            remove_processes(&work)?;
            if work.writable != work.directory {
                remove_directory(&work.writable)?;
            }
            remove_directory(&work.directory)
        })
        .await;
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(error) => return Err(EngineError::Runtime(format!("the removal was cut short: {error}"))),
        }
        self.inner.containers().remove(id);
        Ok(())
    }
}

/// Kills whatever is left of a container that has ended, and removes its cgroup.
pub(super) fn remove_processes(container: &Container) -> Result<(), EngineError> {
    let cgroup = &container.cgroup;
    cgroup.kill_all(END_PATIENCE);
    cgroup.remove().map_err(EngineError::io("remove the cgroup", cgroup.path()))
}

/// Kills the container if it lives, and waits until its shim, and with it its mounts, is gone.
pub(super) async fn end(container: &Arc<Container>) {
    if matches!(container.known().state(), State::Created | State::Running) {
        let _ = container.ask(Command::Signal(Signal::KILL.number())).await;
    }
    if tokio::time::timeout(END_PATIENCE, container.over()).await.is_err()
        && let Some(record) = container.known().record
    {
        tracing::error!(container = %container.id, "the shim does not end; it is killed");
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(record.shim_pid),
            nix::sys::signal::Signal::SIGKILL,
        );
        let _ = tokio::time::timeout(END_PATIENCE, container.over()).await;
    }
}

pub(super) fn remove_directory(directory: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(EngineError::io("remove", directory)(error)),
        _ => Ok(()),
    }
}
