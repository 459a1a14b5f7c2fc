//! Floor 5: containers on Linux.
//!
//! [`Engine`] is what the agent holds. Each container has a *shim*: a small single-threaded process of our own binary
//! ([`shim_main`]) which makes the container through libcontainer, is its parent, writes its output to the log, and puts its exit
//! code on disk. Shims outlive the agent; a restarted agent adopts them.

mod beneath;
mod cgroup;
mod container;
pub mod doctor;
mod engine;
mod error;
mod holder;
mod layout;
pub mod memory;
mod oci;
mod overlay;
mod program;
mod shim;
mod specification;
mod status;
mod storage;
mod verbs;

pub use engine::{Engine, EngineConfig, ShimCommand};
pub use error::EngineError;
pub use shim::shim_main;
pub use specification::{
    ContainerId, ContainerIdError, ContainerSpec, Device, DnsConfig, IpcNamespace, LogOutput, Mount,
    Namespaces, NetworkNamespace, Propagation, Resources, RootFilesystem, SeccompProfile, SharedNamespace,
    Signal, SignalError, SpoolMode, Tmpfs, Ulimit,
};
pub use status::{
    ContainerStatus, Created, ExecResult, ExecSpec, Exit, Started, State, Stats, TaskGroup, TaskGroupHandle,
    TaskStorage,
};
