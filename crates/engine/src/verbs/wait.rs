//! Waiting for a container's end.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::specification::ContainerId;
use crate::status::Exit;

impl Engine {
    /// Waits until the container has ended. May be called any number of times, before and after the end; dropping it is harmless.
    /// When it returns, the container's output is in its log. Errors: `NotFound`; `WrongState` when it never was made whole.
    pub async fn wait(&self, id: &ContainerId) -> Result<Exit, EngineError> {
        self.container(id).await?.ended().await
    }
}
