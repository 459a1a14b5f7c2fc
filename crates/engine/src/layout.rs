//! Where the engine keeps what, below its state directory, and reading and writing it.
//!
//! ```text
//! lock                        held by the living engine
//! containers/<id>/spec.json   what was asked for (secrets in it: readable by root only)
//!                 state.json  what became of it (shim/protocol.rs: Record)
//!                 shim.sock   the shim's socket
//!                 shim.log    the shim's own complaints
//!                 seccomp.bpf the compiled seccomp filter, if it has one
//!                 upper/ work/    the writable layer, unless the task has storage of its own
//!                 private/    empty here; the shim's memory file system: root/ (the mounted root), bundle/, runtime/ (libcontainer's),
//!                             files/ (hosts, hostname, resolv.conf)
//! groups/<id>/group.json, holder.json, shm/
//!             storage/    the task's own file system, if it has one: <container>/upper/ work/ and volumes
//! templates/              empty file systems, copied for storage
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::specification::{ContainerId, ContainerSpec};

pub(crate) const CONTAINERS: &str = "containers";
pub(crate) const GROUPS: &str = "groups";
pub(crate) const GROUP: &str = "group.json";
pub(crate) const HOLDER: &str = "holder.json";
pub(crate) const SPEC: &str = "spec.json";
pub(crate) const STATE: &str = "state.json";
pub(crate) const SOCKET: &str = "shim.sock";
pub(crate) const PRIVATE: &str = "private";
pub(crate) const LOG: &str = "shim.log";
pub(crate) const STORAGE: &str = "storage";
pub(crate) const TEMPLATES: &str = "templates";
pub(crate) const UPPER: &str = "upper";
pub(crate) const WORK: &str = "work";
pub(crate) const FILTER: &str = "seccomp.bpf";
/// The cgroup of the shims and holders, beside [`CONTAINERS`] and [`GROUPS`] in the engine's cgroup.
pub(crate) const SHIMS: &str = "shims";

/// A container's cgroup, relative to the hierarchies' roots.
pub(crate) fn container_cgroup(engine: &str, id: &ContainerId, group: Option<&ContainerId>) -> String {
    match group {
        Some(group) => format!("{}/{id}", group_cgroup(engine, group)),
        None => format!("{engine}/{CONTAINERS}/{id}"),
    }
}

/// Where a container's writable layer is.
pub(crate) fn writable_directory(directory: &Path, spec: &ContainerSpec) -> PathBuf {
    spec.root.writable.as_ref().map_or_else(|| directory.to_owned(), |layers| layers.join(spec.id.as_str()))
}

/// A task group's cgroup.
pub(crate) fn group_cgroup(engine: &str, group: &ContainerId) -> String {
    format!("{engine}/{GROUPS}/{group}")
}

/// Makes a directory that only root can look into.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Replaces a JSON file in one step. `durable`: it is on disk when this returns; without, it survives the process but not
/// the machine.
pub(crate) fn write_json(path: &Path, value: &impl Serialize, durable: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if durable {
        file.sync_data()?;
    }
    fs::rename(&temporary, path)?;
    if durable && let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// This boot of the machine.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
