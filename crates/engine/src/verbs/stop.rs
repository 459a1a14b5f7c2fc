//! Stopping with a grace period.

use std::time::Duration;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::shim::protocol::Command;
use crate::specification::{ContainerId, Signal};
use crate::status::{Exit, State};

impl Engine {
    /// Sends `signal` (none: the container's own stop signal), and SIGKILL when the container has not ended within `timeout`.
    /// Gives its end. One that has ended already is no error; one that was not started yet is killed.
    pub async fn stop(
        &self,
        id: &ContainerId,
        signal: Option<Signal>,
        timeout: Duration,
    ) -> Result<Exit, EngineError> {
        let container = self.container(id).await?;
        let signal = signal.unwrap_or(container.stop_signal);
        if container.known().state() == State::Running {
            // It may end between the look and the signal: then the wait below says so.
            match container.ask(Command::Signal(signal.number())).await {
                Ok(_) | Err(EngineError::WrongState { .. } | EngineError::Runtime(_)) => {}
                Err(error) => return Err(error),
            }
            if let Ok(end) = tokio::time::timeout(timeout, container.ended()).await {
                return end;
            }
        }
        match container.ask(Command::Signal(Signal::KILL.number())).await {
            Ok(_) | Err(EngineError::WrongState { .. } | EngineError::Runtime(_)) => {}
            Err(error) => return Err(error),
        }
        container.ended().await
    }
}
