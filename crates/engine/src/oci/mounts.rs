//! The list of a container's mounts, in the order in which they are made.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use crate::cgroup::{Cgroup, Hierarchy};
use crate::specification::{ContainerSpec, IpcNamespace, Tmpfs};

/// Docker's size of /dev/shm.
pub(crate) const DEFAULT_SHARED_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// The v1 controllers that a container sees its own cgroup of.
const SHOWN_CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "pids", "blkio"];

/// Options of a temporary file system that a task definition may name (AWS: Tmpfs.mountOptions, less those of bind mounts).
const TMPFS_FLAGS: [&str; 23] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "remount",
];
/// Those that are about propagation: a container's mounts are its own, so that they say nothing new.
const PROPAGATION_FLAGS: [&str; 10] = [
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
];
const TMPFS_KEYS: [&str; 7] = ["mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "size"];

/// All mounts of the container as OCI `mounts` objects.
pub(crate) fn all(spec: &ContainerSpec, cgroup: &Cgroup, directory: &Path) -> Result<Vec<Value>, String> {
    let access = if spec.privileged { "rw" } else { "ro" };
    let mut list = vec![
        mount("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "devpts",
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", access]),
    ];
    list.extend(cgroup_mounts(cgroup, access));
    list.push(mount("mqueue", "mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]));
    list.extend(shared_memory(spec));
    for name in ["resolv.conf", "hostname", "hosts"] {
        list.push(bind(&directory.join("files").join(name), &Path::new("/etc").join(name), false));
    }
    // A mount inside another's directory must come after it: by depth, otherwise in the caller's order.
    let mut own: Vec<(PathBuf, Value)> = Vec::new();
    for tmpfs in &spec.tmpfs {
        own.push((destination(&tmpfs.path)?, tmpfs_mount(tmpfs)?));
    }
    for volume in &spec.mounts {
        own.push((
            destination(&volume.destination)?,
            bind(&volume.source, &volume.destination, volume.readonly),
        ));
    }
    for (path, _) in &own {
        // The default file of the same path would come first and be hidden for nothing; one mount per path.
        list.retain(|mount| mount["destination"].as_str() != path.to_str());
    }
    own.sort_by_key(|(path, _)| path.components().count());
    list.extend(own.into_iter().map(|(_, mount)| mount));
    Ok(list)
}

fn mount(kind: &str, source: &str, destination: &str, options: &[&str]) -> Value {
    json!({"type": kind, "source": source, "destination": destination, "options": options})
}

fn bind(source: &Path, destination: &Path, readonly: bool) -> Value {
    // `rro` makes the mounts below the source read-only too, `ro` only the uppermost.
    let options: &[&str] = if readonly { &["rbind", "ro", "rro"] } else { &["rbind"] };
    json!({"type": "bind", "source": source, "destination": destination, "options": options})
}

/// v1: the container's own directories bound one by one: what libcontainer's `cgroup` type mounts would show, in the hierarchies
/// where the container has no cgroup of its own, those of everyone.
fn cgroup_mounts(cgroup: &Cgroup, access: &str) -> Vec<Value> {
    match cgroup.hierarchy() {
        Hierarchy::V2(_) => {
            vec![mount(
                "cgroup",
                "cgroup",
                "/sys/fs/cgroup",
                &["nosuid", "noexec", "nodev", "relatime", access],
            )]
        }
        Hierarchy::V1(_) => {
            let mut list =
                vec![mount("tmpfs", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "mode=755"])];
            for controller in SHOWN_CONTROLLERS {
                if let Some(directory) = cgroup.directory(controller) {
                    let options = ["bind", "nosuid", "noexec", "nodev", access];
                    let destination = format!("/sys/fs/cgroup/{controller}");
                    list.push(json!({"type": "bind", "source": directory, "destination": destination, "options": options}));
                }
            }
            list
        }
    }
}

fn shared_memory(spec: &ContainerSpec) -> Option<Value> {
    let target = Path::new("/dev/shm");
    match &spec.namespaces.ipc {
        IpcNamespace::WithoutSharedMemory => None,
        IpcNamespace::Host => Some(bind(target, target, false)),
        IpcNamespace::Path { shared_memory: Some(source), .. } => Some(bind(source, target, false)),
        IpcNamespace::Private | IpcNamespace::Path { shared_memory: None, .. } => {
            let size = format!("size={}", spec.shared_memory_bytes.unwrap_or(DEFAULT_SHARED_MEMORY_BYTES));
            Some(mount("tmpfs", "shm", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]))
        }
    }
}

fn tmpfs_mount(tmpfs: &Tmpfs) -> Result<Value, String> {
    // Docker's defaults; what the container says comes later and wins.
    let mut options = vec!["nosuid".to_owned(), "nodev".to_owned(), "noexec".to_owned()];
    for option in &tmpfs.options {
        let known = TMPFS_FLAGS.contains(&option.as_str())
            || PROPAGATION_FLAGS.contains(&option.as_str())
            || option.split_once('=').is_some_and(|(key, _)| TMPFS_KEYS.contains(&key));
        if !known || option == "remount" {
            return Err(format!("tmpfs {}: option {option:?} is not supported", tmpfs.path.display()));
        }
        if !PROPAGATION_FLAGS.contains(&option.as_str()) {
            options.push(option.clone());
        }
    }
    if let Some(size) = tmpfs.size_bytes {
        options.push(format!("size={size}"));
    }
    Ok(json!({"type": "tmpfs", "source": "tmpfs", "destination": tmpfs.path, "options": options}))
}

/// Absolute and without `..`: the rest is up to the resolution inside the root.
pub(crate) fn destination(path: &Path) -> Result<PathBuf, String> {
    let plain = path.is_absolute()
        && path != Path::new("/")
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !plain {
        return Err(format!("the mount path {} must be absolute, without \"..\", and not /", path.display()));
    }
    let path: PathBuf = path.components().collect();
    // Over /proc a container could be shown false files by its own runtime; /dev is where its devices are made.
    if path.starts_with("/proc") || path == Path::new("/dev") {
        return Err(format!("nothing can be mounted at {}", path.display()));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specification::{ContainerId, Mount, Propagation, RootFilesystem};

    fn spec() -> ContainerSpec {
        let root =
            RootFilesystem { lower_directories: vec!["/layer".into()], readonly: false, writable: None };
        ContainerSpec::new(ContainerId::new("x").unwrap(), root, vec!["true".to_owned()])
    }

    fn list(spec: &ContainerSpec) -> Result<Vec<String>, String> {
        let cgroup = Cgroup::new(Hierarchy::V2("/sys/fs/cgroup".into()), "a/b");
        let mounts = all(spec, &cgroup, Path::new("/state/x"))?;
        Ok(mounts.iter().map(|mount| mount["destination"].as_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn deeper_mounts_come_later_and_replace_the_defaults() {
        let mut spec = spec();
        for path in ["/data/inner", "/data", "/etc/hosts"] {
            spec.mounts.push(Mount {
                source: "/srv".into(),
                destination: path.into(),
                readonly: true,
                propagation: Propagation::Private,
            });
        }
        let list = list(&spec).unwrap();
        assert_eq!(list[list.len() - 3..], ["/data", "/data/inner", "/etc/hosts"]);
        assert_eq!(list.iter().filter(|path| *path == "/etc/hosts").count(), 1);
    }

    #[test]
    fn hostile_paths_and_options_are_refused() {
        for path in ["relative", "/", "/a/../../etc", "/..", "/proc", "/proc/self", "/dev", "/dev/"] {
            let mut spec = spec();
            spec.tmpfs.push(Tmpfs { path: path.into(), size_bytes: None, options: Vec::new() });
            assert!(list(&spec).is_err(), "{path}");
        }
        for option in ["lowerdir=/", "remount", "source=/dev/sda", "what"] {
            let mut spec = spec();
            spec.tmpfs.push(Tmpfs { path: "/t".into(), size_bytes: Some(1), options: vec![option.into()] });
            assert!(list(&spec).is_err(), "{option}");
        }
    }
}
