//! [`Engine`]: the handle that the agent holds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::EngineError;
use crate::specification::{ContainerId, ContainerSpec, Resources, Signal};
use crate::status::{
    ContainerStatus, Created, ExecResult, ExecSpec, Exit, Started, Stats, TaskGroup, TaskGroupHandle,
};

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The state directory; made when missing. One engine at a time.
    pub root: PathBuf,
    /// How the shim is run.
    pub shim: ShimCommand,
    /// Name of the engine's own cgroup below the hierarchies' roots, e.g. `roadstead-1f2e`: one path component.
    pub cgroup_root: String,
}

/// The program that is executed as a container's shim: it must call [`crate::shim_main`] before it starts any thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShimCommand {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the engine's own.
    pub arguments: Vec<String>,
}

impl ShimCommand {
    /// The running program itself with the hidden subcommand `internal-shim`.
    pub fn current_executable() -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), arguments: vec!["internal-shim".to_owned()] }
    }
}

/// Runs containers on this machine. Cheap to clone; all clones are one engine.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: EngineConfig,
}

impl Engine {
    /// Opens the state directory and looks at the machine; adopts the containers that an earlier engine left running
    /// on first use. Errors: not root, a cgroup controller missing, the directory in use by another engine.
    pub fn open(config: EngineConfig) -> Result<Self, EngineError> {
        std::fs::create_dir_all(&config.root).map_err(EngineError::io("make", &config.root))?;
        Ok(Self { inner: Arc::new(Inner { config }) })
    }

    /// Makes the container: root file system, namespaces, cgroup, limits; everything but the program runs.
    pub async fn create(&self, spec: ContainerSpec) -> Result<Created, EngineError> {
        Err(EngineError::NotFound(spec.id))
    }

    /// Runs the container's program.
    pub async fn start(&self, id: &ContainerId) -> Result<Started, EngineError> {
        Err(EngineError::NotFound(id.clone()))
    }

    /// Sends a signal to the container's first process.
    pub async fn signal(&self, id: &ContainerId, _signal: Signal) -> Result<(), EngineError> {
        Err(EngineError::NotFound(id.clone()))
    }

    /// Waits until the container has ended. May be called any number of times, before and after the end.
    pub async fn wait(&self, id: &ContainerId) -> Result<Exit, EngineError> {
        Err(EngineError::NotFound(id.clone()))
    }

    /// Sends `signal`, and SIGKILL when the container has not ended within `timeout`.
    pub async fn stop(
        &self,
        id: &ContainerId,
        _signal: Signal,
        _timeout: Duration,
    ) -> Result<Exit, EngineError> {
        Err(EngineError::NotFound(id.clone()))
    }

    /// Removes every trace of the container, killing it first if it runs. A container that does not exist is no error.
    pub async fn delete(&self, _id: &ContainerId) -> Result<(), EngineError> {
        Ok(())
    }

    /// All containers of this engine, those of an earlier process included.
    pub async fn list(&self) -> Result<Vec<ContainerStatus>, EngineError> {
        Ok(Vec::new())
    }

    /// Runs a command in a running container and waits for its end (health checks).
    pub async fn exec(&self, id: &ContainerId, _spec: ExecSpec) -> Result<ExecResult, EngineError> {
        Err(EngineError::NotFound(id.clone()))
    }

    /// What the container uses now.
    pub async fn stats(&self, id: &ContainerId) -> Result<Stats, EngineError> {
        Err(EngineError::NotFound(id.clone()))
    }

    /// Changes the limits of a living container; absent ones stay as they are.
    pub async fn update(&self, id: &ContainerId, _resources: Resources) -> Result<(), EngineError> {
        Err(EngineError::NotFound(id.clone()))
    }

    /// Makes the cgroup (and namespaces) that the containers of one task share. Made twice with the same content: the same.
    pub async fn create_task_group(&self, group: TaskGroup) -> Result<TaskGroupHandle, EngineError> {
        Err(EngineError::NotFound(group.id))
    }

    /// Removes a task group; its containers must have been deleted. One that does not exist is no error.
    pub async fn delete_task_group(&self, _id: &ContainerId) -> Result<(), EngineError> {
        Ok(())
    }

    /// What the whole task uses now: all containers of the group together.
    pub async fn task_group_stats(&self, id: &ContainerId) -> Result<Stats, EngineError> {
        Err(EngineError::NotFound(id.clone()))
    }

    /// Makes `directory` (if missing) and, when it is empty, copies into it what the image has at `destination`, with owners,
    /// modes and extended attributes: what Docker does when a fresh volume is mounted over a directory of the image.
    pub async fn prepare_volume(
        &self,
        _directory: PathBuf,
        _lower_directories: Vec<PathBuf>,
        _destination: PathBuf,
    ) -> Result<(), EngineError> {
        Ok(())
    }

    /// Removes everything that this engine (or an earlier one with the same directory and cgroup) ever made: processes, mounts, cgroups, state.
    pub async fn destroy_all(&self) -> Result<(), EngineError> {
        let _ = &self.inner.config;
        Ok(())
    }
}
