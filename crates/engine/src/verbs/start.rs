//! Running a container's program.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::shim::protocol::{Command, Reply};
use crate::specification::ContainerId;
use crate::status::Started;

impl Engine {
    /// Runs the container's program: when this returns, the program has been executed.
    ///
    /// Errors: `WrongState` if it was started before; `Runtime` if the program cannot be executed (not found, no permission):
    /// the container has ended then, with exit code 127 or 126.
    pub async fn start(&self, id: &ContainerId) -> Result<Started, EngineError> {
        let container = self.container(id).await?;
        match container.ask(Command::Start).await? {
            Reply::Started { pid, started_at } => Ok(Started { pid, started_at }),
            other => Err(EngineError::Runtime(format!("unexpected answer of the shim: {other:?}"))),
        }
    }
}
