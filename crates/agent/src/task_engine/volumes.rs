//! The volumes of a task: where they lie on the host, and which a container mounts.
//!
//! ```text
//! <data_dir>/volumes/tasks/<task id>/<volume>             lives with the task
//! <data_dir>/volumes/tasks/<task id>/.<container>-<n>     what the image declares as a volume and nothing is mounted on
//! <data_dir>/volumes/shared/<volume>                      outlives it (scope shared)
//! ```
//! The volumes of a task with storage of its own (Fargate) are in that instead, below `volumes`.

use std::io;
use std::path::{Component, Path, PathBuf};

use engine::{Mount, Propagation};

use super::plan::{TaskPlan, VolumePlan};
use crate::files;
use crate::images::LocalImage;

/// A mount, and whether a fresh volume takes over what the image has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// The mount.
    pub mount: Mount,
    /// As Docker does for volumes, not for host paths.
    pub copies_from_image: bool,
}

/// Volumes of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Volumes {
    root: PathBuf,
}

impl Volumes {
    /// Volumes below `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self { root: data_dir.join("volumes") }
    }

    fn task_directory(&self, task_id: &str) -> PathBuf {
        self.root.join("tasks").join(task_id)
    }

    /// What the container at `index` mounts: its mount points, what it takes over from others, and the volumes that its image
    /// declares. Host directories that are missing are made, as Docker does. `storage` is the root of the task's own file system.
    pub fn mounts(
        &self,
        task: &TaskPlan,
        index: usize,
        image: &LocalImage,
        storage: Option<&Path>,
    ) -> Result<Vec<VolumeMount>, String> {
        let own = storage.map_or_else(|| self.task_directory(&task.id), |storage| storage.join("volumes"));
        let mut mounts = self.declared_mounts(task, index, &own, 0)?;
        let container = task.containers.get(index).ok_or("there is no such container")?;
        for (number, path) in image.image.config.volumes.iter().enumerate() {
            let destination = container_path(path)?;
            if mounts.iter().any(|mount| mount.mount.destination == destination) {
                continue;
            }
            let source = own.join(format!(".{}-{number}", container.name));
            mounts.push(volume(source, destination, false));
        }
        for mount in &mounts {
            if !mount.mount.source.exists() {
                let made = if mount.copies_from_image {
                    make(&mount.mount.source)
                } else {
                    std::fs::create_dir_all(&mount.mount.source)
                };
                made.map_err(|error| {
                    format!("the volume at {} cannot be made: {error}", mount.mount.source.display())
                })?;
            }
        }
        Ok(mounts)
    }

    /// Mount points and `volumesFrom`; the plan has no circles, `depth` is a second fence.
    fn declared_mounts(
        &self,
        task: &TaskPlan,
        index: usize,
        own: &Path,
        depth: usize,
    ) -> Result<Vec<VolumeMount>, String> {
        let container = task.containers.get(index).ok_or("there is no such container")?;
        if depth > task.containers.len() {
            return Err("volumesFrom goes in a circle".to_owned());
        }
        let mut mounts: Vec<VolumeMount> = Vec::new();
        for point in &container.message.mount_points {
            let plan = task.volumes.get(&point.source_volume).ok_or("there is no such volume")?;
            let destination = container_path(&point.container_path)?;
            mounts.push(match plan {
                VolumePlan::HostPath(path) => VolumeMount {
                    mount: mount(PathBuf::from(path), destination, point.read_only),
                    copies_from_image: false,
                },
                VolumePlan::Task => volume(own.join(&point.source_volume), destination, point.read_only),
                VolumePlan::Shared { name, autoprovision } => {
                    let source = self.root.join("shared").join(name);
                    if !autoprovision && !source.exists() {
                        return Err(format!("no such volume: {name}"));
                    }
                    volume(source, destination, point.read_only)
                }
            });
        }
        for from in &container.message.volumes_from {
            let source = task.position(&from.source_container).ok_or("there is no such container")?;
            for mut taken in self.declared_mounts(task, source, own, depth + 1)? {
                taken.mount.readonly |= from.read_only;
                if !mounts.iter().any(|mount| mount.mount.destination == taken.mount.destination) {
                    mounts.push(taken);
                }
            }
        }
        Ok(mounts)
    }

    /// Removes the volumes that lived with the task. Blocks.
    pub fn remove_task(&self, task_id: &str) -> io::Result<()> {
        match std::fs::remove_dir_all(self.task_directory(task_id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the volumes of tasks other than `keep`: what a crash left.
    pub fn sweep(&self, keep: impl Fn(&str) -> bool) -> io::Result<()> {
        let entries = match std::fs::read_dir(self.root.join("tasks")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name();
            if let Some(id) = name.to_str().filter(|id| !keep(id)) {
                self.remove_task(id)?;
            }
        }
        Ok(())
    }

    /// Removes everything, shared volumes included: for a reset.
    pub fn remove_all(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Volumes are world-accessible inside (the container's own users must reach them); their parent is not.
fn make(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        files::make_directory(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn volume(source: PathBuf, destination: PathBuf, readonly: bool) -> VolumeMount {
    VolumeMount { mount: mount(source, destination, readonly), copies_from_image: true }
}

fn mount(source: PathBuf, destination: PathBuf, readonly: bool) -> Mount {
    Mount { source, destination, readonly, propagation: Propagation::default() }
}

/// A path in the container: absolute, without `..` and the end's slash.
fn container_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || text.contains('\0') || path == Path::new("/") {
        return Err(format!("{text:?} is not an absolute path to mount at"));
    }
    Ok(path.components().collect())
}
