//! Sending a signal.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::shim::protocol::Command;
use crate::specification::{ContainerId, Signal};

impl Engine {
    /// Sends a signal to the container's first process. Errors: `NotFound`; `WrongState` when it has ended.
    pub async fn signal(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError> {
        self.container(id).await?.ask(Command::Signal(signal.number())).await.map(drop)
    }
}
