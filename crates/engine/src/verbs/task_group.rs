//! What the containers of a task share.

use std::path::Path;

use crate::cgroup::Cgroup;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout;
use crate::specification::ContainerId;
use crate::status::{TaskGroup, TaskGroupHandle};

impl Engine {
    /// Makes the cgroup (and namespaces) that the containers of one task share. Made twice: the same.
    pub async fn create_task_group(&self, group: TaskGroup) -> Result<TaskGroupHandle, EngineError> {
        self.adopt().await;
        let directory = self.inner.group_directory(&group.id);
        let _ = layout::make_private_directory(&directory);
        let path = layout::group_cgroup(&self.inner.config.cgroup_root, &group.id);
        let cgroup = Cgroup::new(self.inner.cgroup.hierarchy().clone(), path.clone());
        cgroup
            .create()
            .and_then(|()| cgroup.apply(&group.resources))
            .map_err(|error| EngineError::Runtime(format!("cannot make the task's cgroup: {error}")))?;
        Ok(TaskGroupHandle {
            id: group.id,
            cgroup: path,
            pid_namespace: None,
            ipc_namespace: None,
            shared_memory: None,
        })
    }

    /// Removes a task group; its containers must have been deleted. One that does not exist is no error.
    pub async fn delete_task_group(&self, id: &ContainerId) -> Result<(), EngineError> {
        let path = layout::group_cgroup(&self.inner.config.cgroup_root, id);
        let cgroup = Cgroup::new(self.inner.cgroup.hierarchy().clone(), path);
        let directory = self.inner.group_directory(id);
        let work = move || {
            cgroup.remove().map_err(EngineError::io("remove the cgroup", cgroup.path()))?;
            super::delete::remove_directory(&directory)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::Runtime(format!("the removal was cut short: {error}"))),
        }
    }
}

/// Unmounts whatever is mounted below `root` in our own mount namespace.
pub(super) fn unmount_below(root: &Path) {
    let Ok(text) = std::fs::read_to_string("/proc/self/mountinfo") else { return };
    let mut points: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    points.reverse();
    for point in points.into_iter().map(Path::new).filter(|point| point.starts_with(root)) {
        let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
    }
}
