//! Control groups, version 1 and 2 (cgroups(7)), done by ourselves: the runtime library is handed a process that is in its
//! cgroup already. Reasons in the decision on the engine.
//!
//! The tree: `<engine>/shims`, `<engine>/containers/<id>`, `<engine>/groups/<task group>/<id>`. Whatever lives below
//! `<engine>` is ours, so that a clean-up needs no other record.

mod device_filter;
mod devices;
mod limits;
mod stats;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use devices::{DeviceKind, DeviceRule};
use serde::{Deserialize, Serialize};

/// The v1 controllers in which every container has a cgroup of its own: those that limit or count something, and cpuset and
/// freezer, in which libcontainer makes one anyway.
const OWN_CONTROLLERS: [&str; 8] =
    ["cpu", "cpuacct", "memory", "pids", "devices", "blkio", "freezer", "cpuset"];
/// Those without which no container is made.
const NEEDED_CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "devices"];
/// The v2 controllers switched on along our path.
const V2_CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "io", "cpuset"];

/// Which cgroup file systems the machine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hierarchy {
    /// One mount per controller (or group of them): (controller, mount point). Hybrid machines, whose v2 tree has no
    /// controllers, are this too.
    V1(Vec<(String, PathBuf)>),
    /// The unified tree's mount point.
    V2(PathBuf),
}

impl Hierarchy {
    /// What `/proc/self/mountinfo` shows.
    pub(crate) fn detect() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        Self::parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup file system is mounted"))
    }

    fn parse(mountinfo: &str) -> Option<Self> {
        let mut v1 = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            // proc_pid_mountinfo(5): `id parent major:minor root mount-point options... - type source super-options`.
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(mount_point) = left.split(' ').nth(4) else { continue };
            let mut right = right.split(' ');
            match right.next() {
                Some("cgroup2") => v2 = v2.or(Some(PathBuf::from(mount_point))),
                Some("cgroup") => {
                    let options = right.nth(1).unwrap_or_default();
                    for controller in options.split(',').filter(|name| OWN_CONTROLLERS.contains(name)) {
                        if !v1.iter().any(|(known, _)| known == controller) {
                            v1.push((controller.to_owned(), PathBuf::from(mount_point)));
                        }
                    }
                }
                _ => {}
            }
        }
        // A machine with both has its controllers in v1 (hybrid): a controller can be in one of them only.
        if v1.iter().any(|(name, _)| name == "memory" || name == "pids") {
            return Some(Self::V1(v1));
        }
        v2.map(Self::V2)
    }
}

/// One cgroup, in every hierarchy that matters.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    hierarchy: Hierarchy,
    /// Relative to the hierarchies' roots, without a leading slash.
    path: String,
}

impl Cgroup {
    /// The cgroup at `path` (relative); nothing is made yet.
    pub(crate) fn new(hierarchy: Hierarchy, path: impl Into<String>) -> Self {
        Self { hierarchy, path: path.into() }
    }

    /// Relative to the hierarchies' roots.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// A cgroup below this one.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self { hierarchy: self.hierarchy.clone(), path: format!("{}/{name}", self.path) }
    }

    /// The first of the controllers that containers cannot do without and that the machine lacks.
    pub(crate) fn missing_controller(&self) -> Option<&'static str> {
        let available = match &self.hierarchy {
            Hierarchy::V1(_) => String::new(),
            Hierarchy::V2(mount_point) => {
                fs::read_to_string(mount_point.join("cgroup.controllers")).unwrap_or_default()
            }
        };
        NEEDED_CONTROLLERS.into_iter().find(|needed| match &self.hierarchy {
            Hierarchy::V1(controllers) => !controllers.iter().any(|(name, _)| name == needed),
            // Devices are decided by a BPF program there.
            Hierarchy::V2(_) => {
                *needed != "devices" && !available.split_ascii_whitespace().any(|name| name == *needed)
            }
        })
    }

    /// Its directory for a controller. None: the machine does not have the controller.
    pub(crate) fn directory(&self, controller: &str) -> Option<PathBuf> {
        match &self.hierarchy {
            Hierarchy::V1(controllers) => controllers
                .iter()
                .find(|(name, _)| name == controller)
                .map(|(_, mount_point)| mount_point.join(&self.path)),
            Hierarchy::V2(mount_point) => Some(mount_point.join(&self.path)),
        }
    }

    /// Its directories, each once (v1 controllers may share a mount).
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        match &self.hierarchy {
            Hierarchy::V1(controllers) => {
                let mut directories: Vec<PathBuf> = Vec::new();
                for (name, mount_point) in controllers {
                    let directory = mount_point.join(&self.path);
                    if OWN_CONTROLLERS.contains(&name.as_str()) && !directories.contains(&directory) {
                        directories.push(directory);
                    }
                }
                directories
            }
            Hierarchy::V2(mount_point) => vec![mount_point.join(&self.path)],
        }
    }

    /// Makes the directories, parents included; on v2 switches the controllers on down to this one's parent.
    pub(crate) fn create(&self) -> io::Result<()> {
        match &self.hierarchy {
            Hierarchy::V1(_) => {
                for directory in self.directories() {
                    named(&directory, fs::create_dir_all(&directory))?;
                }
                if let Some(directory) = self.directory("cpuset") {
                    fill_cpuset(&directory, Path::new(&self.path).components().count())?;
                }
            }
            Hierarchy::V2(mount_point) => {
                let mut directory = mount_point.clone();
                for part in Path::new(&self.path) {
                    enable_controllers(&directory)?;
                    directory.push(part);
                    match fs::create_dir(&directory) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                            return named(&directory, Err(error));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves a process in (0: the caller).
    pub(crate) fn join(&self, pid: i32) -> io::Result<()> {
        for directory in self.directories() {
            let file = directory.join("cgroup.procs");
            named(&file, fs::write(&file, pid.to_string()))?;
        }
        Ok(())
    }

    /// Moves a process in for book-keeping only: on v1 in one hierarchy, which costs a tenth of joining all.
    pub(crate) fn join_one(&self, pid: i32) -> io::Result<()> {
        let directory = self.directory("pids").unwrap_or_default();
        let file = directory.join("cgroup.procs");
        named(&file, fs::write(&file, pid.to_string()))
    }

    /// Begins the RCU grace period that the first of a burst of joins waits for, by moving the caller to where it is. A hint only.
    pub(crate) fn warm_up(hierarchy: &Hierarchy) {
        let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        // cgroups(7): `number:controllers:path`.
        let path = memberships.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            let mine = match hierarchy {
                Hierarchy::V1(_) => controllers.split(',').any(|name| name == "pids"),
                Hierarchy::V2(_) => controllers.is_empty(),
            };
            mine.then(|| fields.next())?
        });
        if let Some(path) = path {
            let own = Self::new(hierarchy.clone(), path.trim_start_matches('/'));
            let _ = own.join_one(std::process::id() as i32);
        }
    }

    /// All processes in it and below. A cgroup that does not exist has none.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        if let Some(directory) = self.directory("pids").or_else(|| self.directories().into_iter().next()) {
            collect_pids(&directory, &mut pids);
        }
        pids
    }

    /// Sends SIGKILL to everything in it and below until nothing is left, for at most `patience`. Gives whether it is empty.
    pub(crate) fn kill_all(&self, patience: Duration) -> bool {
        let deadline = std::time::Instant::now() + patience;
        let mut pause = Duration::from_micros(200);
        loop {
            if let Hierarchy::V2(mount_point) = &self.hierarchy {
                // Linux 5.14; kills the whole subtree without a race against forks.
                let _ = fs::write(mount_point.join(&self.path).join("cgroup.kill"), "1");
            }
            let pids = self.pids();
            if pids.is_empty() {
                return true;
            }
            for pid in pids {
                // ESRCH: it ended by itself.
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            if std::time::Instant::now() >= deadline {
                return false;
            }
            // Nothing wakes us when a v1 cgroup empties; the pause doubles so that the common case costs a fraction of a ms.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Removes the directories and those below them. EBUSY (a process that is just ending) is tried again for a second.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for directory in self.directories() {
            let mut pause = Duration::from_millis(1);
            loop {
                match remove_tree(&directory) {
                    Ok(()) => break,
                    Err(error)
                        if error.raw_os_error() == Some(libc::EBUSY) && pause < Duration::from_secs(1) =>
                    {
                        std::thread::sleep(pause);
                        pause *= 2;
                    }
                    Err(error) => return named(&directory, Err(error)),
                }
            }
        }
        Ok(())
    }
}

/// An I/O error with the file that it is about: the kernel's words alone do not say which of thirty files it was.
fn named<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn enable_controllers(directory: &Path) -> io::Result<()> {
    let available = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    let enabled = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
    let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|word| word == name);
    let file = directory.join("cgroup.subtree_control");
    for controller in V2_CONTROLLERS {
        if has(&available, controller) && !has(&enabled, controller) {
            named(&file, fs::write(&file, format!("+{controller}")))?;
        }
    }
    Ok(())
}

/// A v1 cpuset begins empty, and no process can join it until it is filled from its parent. The `levels` lowest directories are ours.
fn fill_cpuset(directory: &Path, levels: usize) -> io::Result<()> {
    let mut chain: Vec<&Path> = directory.ancestors().take(levels).collect();
    chain.reverse();
    for level in chain {
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let file = level.join(name);
            if named(&file, fs::read_to_string(&file))?.trim().is_empty() {
                let parent = level.parent().unwrap_or(level).join(name);
                let value = named(&parent, fs::read_to_string(&parent))?;
                named(&file, fs::write(&file, value.trim()))?;
            }
        }
    }
    Ok(())
}

fn collect_pids(directory: &Path, pids: &mut Vec<i32>) {
    if let Ok(text) = fs::read_to_string(directory.join("cgroup.procs")) {
        // 0 stands for a process of another pid namespace; killing "0" would kill our own group.
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    }
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        collect_pids(&entry.path(), pids);
    }
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                remove_tree(&entry.path())?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_layouts_are_told_apart() {
        let v1 = "30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                  31 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                  32 29 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n";
        let expected = Hierarchy::V1(vec![
            ("cpu".into(), "/sys/fs/cgroup/cpu,cpuacct".into()),
            ("cpuacct".into(), "/sys/fs/cgroup/cpu,cpuacct".into()),
            ("memory".into(), "/sys/fs/cgroup/memory".into()),
        ]);
        assert_eq!(Hierarchy::parse(v1), Some(expected.clone()));
        let hybrid = format!("33 29 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n{v1}");
        assert_eq!(Hierarchy::parse(&hybrid), Some(expected));
        let v2 = "33 29 0:29 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(Hierarchy::parse(v2), Some(Hierarchy::V2("/sys/fs/cgroup".into())));
        assert_eq!(Hierarchy::parse("1 0 8:1 / / rw - ext4 /dev/sda rw\n"), None);
    }
}
