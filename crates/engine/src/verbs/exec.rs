//! Running a command in a container.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::shim::protocol::{Command, Reply};
use crate::specification::ContainerId;
use crate::status::{ExecResult, ExecSpec};

impl Engine {
    /// Runs a command in a running container and waits for its end (health checks). It has the container's user, limits,
    /// capabilities and seccomp filter. A command that cannot be executed is no error: its exit code is 127 or 126, and the reason is its
    /// output. Errors: `WrongState`; `Runtime` when the container cannot be entered or ends.
    pub async fn exec(&self, id: &ContainerId, spec: ExecSpec) -> Result<ExecResult, EngineError> {
        match self.container(id).await?.ask(Command::Exec(spec)).await? {
            Reply::Executed(result) => Ok(result),
            other => Err(EngineError::Runtime(format!("unexpected answer of the shim: {other:?}"))),
        }
    }
}
