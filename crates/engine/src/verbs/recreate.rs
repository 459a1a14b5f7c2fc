//! Making a container that has ended once more, over what it has written.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::create::{prepare_making, spawn_and_greet};
use super::delete::{end, remove_directory, remove_processes};
use crate::container::Container;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout;
use crate::specification::ContainerSpec;
use crate::status::Created;

impl Engine {
    /// [`Engine::create`] for a container that has ended: as with `docker restart`, its file system stays, and everything else is
    /// made anew from `spec`, which must name the same image. One that runs is killed first.
    ///
    /// What it wrote before the machine was restarted is gone: its file system was never synced (see `overlay::mount`).
    ///
    /// Errors: as `create`, and `NotFound`. After an error the container is what it was: ended.
    pub async fn recreate(&self, spec: ContainerSpec) -> Result<Created, EngineError> {
        let container = self.container(&spec.id).await?;
        let filter = prepare_making(&self.inner, &spec)?;
        end(&container).await;
        let work = Arc::clone(&container);
        let cleared = tokio::task::spawn_blocking(move || clear(&work)).await;
        match cleared {
            Ok(result) => result?,
            Err(error) => return Err(EngineError::Runtime(format!("the clearing was cut short: {error}"))),
        }
        let directory = container.directory.clone();
        let (container, created) = spawn_and_greet(&self.inner, &spec, filter.as_deref(), &directory).await?;
        self.inner.containers().insert(spec.id.clone(), container);
        Ok(created)
    }
}

/// Removes what the next life makes anew. The state file stays until the next shim replaces it: whoever looks in between finds a
/// container that has ended, and may try again.
fn clear(container: &Container) -> Result<(), EngineError> {
    remove_processes(container)?;
    let this_boot = layout::boot_id();
    if container.known().record.is_none_or(|record| record.boot_id != this_boot) {
        remove_directory(&container.writable.join(layout::UPPER))?;
    }
    remove_directory(&container.writable.join(layout::WORK))?;
    remove_directory(&container.directory.join(layout::PRIVATE))?;
    remove_file(&container.directory.join(layout::SOCKET))
}

fn remove_file(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(EngineError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
