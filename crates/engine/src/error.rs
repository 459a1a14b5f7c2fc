//! [`EngineError`]: what can go wrong with a container.

use std::path::PathBuf;

use crate::specification::ContainerId;

/// What the engine could not do, and why. The text is meant for the task's stop reason.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A container (or task group) of this id exists already.
    #[error("container {0} exists already")]
    AlreadyExists(ContainerId),
    /// No container (or task group) of this id.
    #[error("no such container: {0}")]
    NotFound(ContainerId),
    /// The container is not in a state in which this can be done.
    #[error("container {id} is {state}")]
    WrongState {
        /// Which container.
        id: ContainerId,
        /// Its state, in one word.
        state: &'static str,
    },
    /// A parameter has a value that cannot be honoured.
    #[error("{0}")]
    InvalidSpec(String),
    /// The container could not be made or started; the words are the runtime's.
    #[error("{0}")]
    Runtime(String),
    /// The shim died or does not answer.
    #[error("the shim of container {id} is gone: {detail}")]
    ShimGone {
        /// Which container.
        id: ContainerId,
        /// What was seen.
        detail: String,
    },
    /// The machine lacks something that `doctor` would name.
    #[error("{0}")]
    Machine(String),
    /// A file or kernel interface failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
}

impl EngineError {
    /// For `map_err`: an I/O error with what was done to which path.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
