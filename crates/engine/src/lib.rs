//! Floor 5: containers on Linux.
//!
//! [`Engine`] is what the agent holds. Each container has a *shim*: a small single-threaded process of our own binary
//! ([`shim_main`]) which makes the container through libcontainer, is its parent, writes its output to the log, and puts its exit
//! code on disk. Shims outlive the agent; a restarted agent adopts them.

pub mod doctor;
mod engine;
mod error;
mod specification;
mod status;

pub use engine::{Engine, EngineConfig, ShimCommand};
pub use error::EngineError;
pub use specification::{
    ContainerId, ContainerIdError, ContainerSpec, Device, DnsConfig, IpcNamespace, LogOutput, Mount,
    Namespaces, NetworkNamespace, Propagation, Resources, RootFilesystem, SeccompProfile, SharedNamespace,
    Signal, SignalError, SpoolMode, Tmpfs, Ulimit,
};
pub use status::{
    ContainerStatus, Created, ExecResult, ExecSpec, Exit, Started, State, Stats, TaskGroup, TaskGroupHandle,
};

/// The shim: what a program does when it is run as an [`EngineConfig::shim`]. `arguments` are those after
/// [`ShimCommand::arguments`]. Call it first thing in `main`, before any thread exists.
pub fn shim_main(arguments: impl Iterator<Item = std::ffi::OsString>) -> std::process::ExitCode {
    drop(arguments);
    std::process::ExitCode::FAILURE
}
