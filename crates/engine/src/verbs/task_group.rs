//! What the containers of a task share: a cgroup with the task's limits, and perhaps namespaces.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;

use super::create::{last_words, spawn_shim};
use crate::cgroup::Cgroup;
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::holder::Holder;
use crate::layout;
use crate::oci::mounts::DEFAULT_SHARED_MEMORY_BYTES;
use crate::specification::ContainerId;
use crate::status::{TaskGroup, TaskGroupHandle, TaskStorage};
use crate::storage;

/// A holder answers at once unless the machine is on its knees.
const HOLDER_TIMEOUT: Duration = Duration::from_secs(10);

impl Engine {
    /// Makes the cgroup (and namespaces) that the containers of one task share. Made again with the same parameters, as
    /// after the agent's restart, it gives what is there. Errors: `AlreadyExists` when its parameters differ.
    pub async fn create_task_group(&self, group: TaskGroup) -> Result<TaskGroupHandle, EngineError> {
        self.adopt().await;
        let inner = &self.inner;
        let directory = inner.group_directory(&group.id);
        match layout::make_private_directory(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(EngineError::io("make", directory)(error));
            }
            _ => {}
        }
        let record = directory.join(layout::GROUP);
        match layout::read_json::<TaskGroup>(&record) {
            Ok(known) if known != group => return Err(EngineError::AlreadyExists(group.id)),
            Ok(_) => {}
            Err(_) => layout::write_json(&record, &group, false).map_err(EngineError::io("write", record))?,
        }
        let cgroup = group_cgroup(inner, &group.id);
        cgroup
            .create()
            .and_then(|()| cgroup.apply(&group.resources))
            .map_err(|error| EngineError::Runtime(format!("cannot make the task's cgroup: {error}")))?;
        let storage = make_storage(inner, &directory, &group).await?;
        let shared_memory =
            group.share_ipc_namespace.then(|| mount_shared_memory(&directory, &group)).transpose()?;
        let holder = if group.share_pid_namespace || group.share_ipc_namespace {
            Some(living_or_new_holder(inner, &directory, &group.id).await?)
        } else {
            None
        };
        let namespace = |wanted: bool, name: &str| {
            let holder = holder.as_ref().filter(|_| wanted)?;
            Some(PathBuf::from(format!("/proc/{}/ns/{name}", holder.pid)))
        };
        Ok(TaskGroupHandle {
            cgroup: cgroup.path().to_owned(),
            pid_namespace: namespace(group.share_pid_namespace, "pid"),
            ipc_namespace: namespace(group.share_ipc_namespace, "ipc"),
            shared_memory,
            storage,
            id: group.id,
        })
    }

    /// Removes a task group, and kills what is left in it; its containers should have been deleted. One that does not exist
    /// is no error.
    pub async fn delete_task_group(&self, id: &ContainerId) -> Result<(), EngineError> {
        let inner = Arc::clone(&self.inner);
        let id = id.clone();
        let work = move || {
            let directory = inner.group_directory(&id);
            if let Some(holder) = living_holder(&inner, &directory) {
                let _ = kill(Pid::from_raw(holder.pid), Signal::SIGKILL);
                // It is nobody's child here: nothing tells us its end but a look. It takes a millisecond.
                let deadline = Instant::now() + HOLDER_TIMEOUT;
                while living_holder(&inner, &directory).is_some() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            let cgroup = group_cgroup(&inner, &id);
            cgroup.kill_all(HOLDER_TIMEOUT);
            cgroup.remove().map_err(EngineError::io("remove the cgroup", cgroup.path()))?;
            unmount_below(&directory);
            super::delete::remove_directory(&directory)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::Runtime(format!("the removal was cut short: {error}"))),
        }
    }

    /// The task groups that there are.
    pub async fn list_task_groups(&self) -> Result<Vec<ContainerId>, EngineError> {
        self.adopt().await;
        let directory = self.inner.config.root.join(layout::GROUPS);
        let entries = std::fs::read_dir(&directory).map_err(EngineError::io("list", &directory))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<ContainerId> = names.filter_map(|name| ContainerId::new(name).ok()).collect();
        ids.sort();
        Ok(ids)
    }
}

fn group_cgroup(inner: &Inner, id: &ContainerId) -> Cgroup {
    let path = layout::group_cgroup(&inner.config.cgroup_root, id);
    Cgroup::new(inner.cgroup.hierarchy().clone(), path)
}

/// The task's /dev/shm. It is mounted on the host, because a container can only be given what its shim can see.
fn mount_shared_memory(directory: &Path, group: &TaskGroup) -> Result<PathBuf, EngineError> {
    let path = directory.join("shm");
    match std::fs::create_dir(&path) {
        Ok(()) => {}
        // Mounted already, by this engine or an earlier one of this boot.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_mounted(&path) => return Ok(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(EngineError::io("make", path)(error)),
    }
    let options =
        format!("mode=1777,size={}", group.shared_memory_bytes.unwrap_or(DEFAULT_SHARED_MEMORY_BYTES));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("shm"), &path, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|error| EngineError::io("mount", &path)(error.into()))?;
    Ok(path)
}

/// The task's own file system, if it has one. Mounted on the host for the same reason.
async fn make_storage(
    inner: &Arc<Inner>,
    directory: &Path,
    group: &TaskGroup,
) -> Result<Option<PathBuf>, EngineError> {
    let Some(TaskStorage { bytes, required }) = group.storage.clone() else { return Ok(None) };
    let path = directory.join(layout::STORAGE);
    let (target, templates) = (path.clone(), inner.config.root.join(layout::TEMPLATES));
    let work = move || {
        match layout::make_private_directory(&target) {
            // Mounted already, by this engine or an earlier one of this boot.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && is_mounted(&target) => return Ok(()),
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        storage::mount(&templates, bytes, &target)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => Ok(Some(path)),
        Ok(Err(error)) if !required => {
            tracing::warn!(group = %group.id, %error, "the task's storage is not bounded; see `doctor`");
            Ok(None)
        }
        Ok(Err(error)) => {
            let gib = bytes >> 30;
            Err(EngineError::Runtime(format!("cannot make the task's storage of {gib} GiB: {error}")))
        }
        Err(error) => Err(EngineError::Runtime(format!("the making of the storage was cut short: {error}"))),
    }
}

async fn living_or_new_holder(
    inner: &Arc<Inner>,
    directory: &Path,
    id: &ContainerId,
) -> Result<Holder, EngineError> {
    if let Some(holder) = living_holder(inner, directory) {
        return Ok(holder);
    }
    let gone = |detail: String| EngineError::ShimGone { id: id.clone(), detail };
    let mut stream = spawn_shim(inner, "hold", directory).map_err(|error| gone(error.to_string()))?;
    let mut answer = String::new();
    let read = tokio::time::timeout(HOLDER_TIMEOUT, stream.read_to_string(&mut answer)).await;
    if !matches!(read, Ok(Ok(_))) || answer.is_empty() {
        return Err(gone(last_words(directory)));
    }
    let pid = answer.trim().parse().map_err(|_| {
        let reason = answer.trim().trim_start_matches("error ");
        EngineError::Runtime(format!("cannot make the task's namespaces: {reason}"))
    })?;
    let holder = Holder { boot_id: layout::boot_id(), pid };
    let path = directory.join(layout::HOLDER);
    layout::write_json(&path, &holder, false).map_err(EngineError::io("write", path))?;
    Ok(holder)
}

/// The recorded holder, if it is that process still: one of ours, by its cgroup.
fn living_holder(inner: &Inner, directory: &Path) -> Option<Holder> {
    let holder: Holder = layout::read_json(&directory.join(layout::HOLDER)).ok()?;
    let ours = inner.cgroup.child(layout::SHIMS).pids();
    (holder.boot_id == layout::boot_id() && ours.contains(&holder.pid)).then_some(holder)
}

fn mount_points() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Octal escapes (a space in a path) stay as they are: such a path is then not found, and not unmounted.
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect()
}

fn is_mounted(path: &Path) -> bool {
    mount_points().iter().any(|point| point == path)
}

/// Unmounts whatever is mounted below `root` in our own mount namespace, the latest first.
pub(super) fn unmount_below(root: &Path) {
    for point in mount_points().iter().rev().filter(|point| point.starts_with(root)) {
        let _ = nix::mount::umount2(point, MntFlags::MNT_DETACH);
    }
}
