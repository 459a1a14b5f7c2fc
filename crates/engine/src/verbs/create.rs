//! Making a container.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::process::Command;

use super::validate;
use crate::cgroup::{Cgroup, Hierarchy};
use crate::container::{Container, Conversation, Identity};
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::layout;
use crate::shim::protocol::Event;
use crate::specification::ContainerSpec;
use crate::status::Created;

impl Engine {
    /// Makes the container: root file system, namespaces, cgroup, limits; everything but the program runs.
    ///
    /// Errors: `AlreadyExists`, `InvalidSpec`, and `Runtime` with the reason in words. Nothing is left behind then.
    pub async fn create(&self, spec: ContainerSpec) -> Result<Created, EngineError> {
        self.adopt().await;
        let filter = prepare_making(&self.inner, &spec)?;
        let directory = self.inner.container_directory(&spec.id);
        match layout::make_private_directory(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(EngineError::AlreadyExists(spec.id));
            }
            Err(error) => return Err(EngineError::io("make", directory)(error)),
        }
        match spawn_and_greet(&self.inner, &spec, filter.as_deref(), &directory).await {
            Ok((container, created)) => {
                self.inner.containers().insert(spec.id.clone(), container);
                Ok(created)
            }
            Err(error) => {
                clean_up(&directory, &layout::writable_directory(&directory, &spec)).await;
                Err(error)
            }
        }
    }
}

/// Refuses what cannot be made, and gives the seccomp filter.
pub(super) fn prepare_making(
    engine: &Arc<Inner>,
    spec: &ContainerSpec,
) -> Result<Option<Arc<[u8]>>, EngineError> {
    validate::validate(spec)?;
    let filter = engine.filter(spec)?;
    warn_of_what_the_kernel_lacks(engine, spec);
    // Beside the shim's start, not before it.
    let hierarchy = engine.cgroup.hierarchy().clone();
    tokio::task::spawn_blocking(move || Cgroup::warm_up(&hierarchy));
    Ok(filter)
}

/// What Docker leaves out with a warning too: task definitions are written for machines that differ in it.
fn warn_of_what_the_kernel_lacks(engine: &Inner, spec: &ContainerSpec) {
    if matches!(engine.cgroup.hierarchy(), Hierarchy::V2(_)) && spec.resources.memory_swappiness.is_some() {
        tracing::warn!(container = %spec.id, "cgroup v2 has no swappiness; it is left out");
    }
    if spec.resources.memory_swap_bytes.is_some_and(|bytes| bytes > 0) && !engine.cgroup.counts_swap() {
        tracing::warn!(container = %spec.id, "the kernel does not count swap; its limit is left out");
    }
}

pub(super) async fn spawn_and_greet(
    engine: &Arc<Inner>,
    spec: &ContainerSpec,
    filter: Option<&[u8]>,
    directory: &Path,
) -> Result<(Arc<Container>, Created), EngineError> {
    if let Some(filter) = filter {
        let path = directory.join(layout::FILTER);
        std::fs::write(&path, filter).map_err(EngineError::io("write", path))?;
    }
    layout::write_json(&directory.join(layout::SPEC), spec, false)
        .map_err(EngineError::io("write", directory.join(layout::SPEC)))?;
    let gone = |detail: String| EngineError::ShimGone { id: spec.id.clone(), detail };
    let stream = spawn_shim(engine, "run", directory).map_err(|error| gone(error.to_string()))?;
    let mut conversation = Conversation::new(stream);
    match conversation.next().await {
        Ok(Some(Event::Hello(record))) => {
            let created = Created { pid: record.pid, created_at: record.created_at };
            let identity = identity(engine, spec, directory);
            Ok((Container::attach(identity, record, conversation), created))
        }
        Ok(Some(Event::Failed(error))) => Err(EngineError::Runtime(error)),
        Ok(other) => Err(gone(match other {
            None => last_words(directory),
            Some(_) => "it spoke out of turn".to_owned(),
        })),
        Err(error) => Err(gone(error.to_string())),
    }
}

/// Starts a shim, with one end of a socket as its stdin. Gives the other.
pub(super) fn spawn_shim(engine: &Arc<Inner>, verb: &str, directory: &Path) -> std::io::Result<UnixStream> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let log = File::create(directory.join(layout::LOG))?;
    // Known here; to find it out the shim would read the whole table of mounts.
    let hierarchy = serde_json::to_string(engine.cgroup.hierarchy())?;
    let mut child = Command::new(engine.program.path())
        .args(&engine.config.shim.arguments)
        .arg(verb)
        .arg(directory)
        .arg(&engine.config.cgroup_root)
        .arg(hierarchy)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .kill_on_drop(false)
        .spawn()?;
    // It is reaped whenever it ends; its end is noticed by its socket.
    tokio::spawn(async move { child.wait().await });
    UnixStream::from_std(ours)
}

pub(super) fn identity(engine: &Inner, spec: &ContainerSpec, directory: &Path) -> Identity {
    let path = layout::container_cgroup(&engine.config.cgroup_root, &spec.id, spec.task_group.as_ref());
    Identity {
        id: spec.id.clone(),
        directory: directory.to_owned(),
        writable: layout::writable_directory(directory, spec),
        labels: spec.labels.clone(),
        stop_signal: spec.stop_signal,
        cgroup: Cgroup::new(engine.cgroup.hierarchy().clone(), path),
    }
}

/// What a shim wrote into its own log before it died.
pub(super) fn last_words(directory: &Path) -> String {
    let text = std::fs::read_to_string(directory.join(layout::LOG)).unwrap_or_default();
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    if last.is_empty() {
        "it ended without a word".to_owned()
    } else {
        last.into_iter().rev().collect::<Vec<_>>().join("; ")
    }
}

/// The failed shim has removed its cgroup; its mounts went with it.
async fn clean_up(directory: &Path, writable: &Path) {
    for directory in [writable, directory] {
        match tokio::fs::remove_dir_all(directory).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(directory = %directory.display(), %error, "cannot remove a failed container's directory");
            }
            _ => {}
        }
    }
}
