//! From a [`ContainerSpec`] to what libcontainer reads: the OCI runtime configuration (config.json).

pub(crate) mod capabilities;
pub(crate) mod devices;
pub(crate) mod files;
pub(crate) mod mounts;
pub(crate) mod seccomp;
pub(crate) mod user;

use std::path::Path;

use base::kernel::ULIMITS;
use serde_json::{Map, Value, json};

use self::user::ResolvedUser;
use crate::cgroup::{Cgroup, Hierarchy};
use crate::specification::{
    ContainerSpec, IpcNamespace, NetworkNamespace, Propagation, SharedNamespace, Ulimit,
};

/// Docker's default PATH.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What Docker hides from a container that is not privileged.
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// What it may read only.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where a container finds its cgroup.
const CGROUP_PATH: &str = "/sys/fs/cgroup";

/// What was found out about a container on the way to its configuration.
pub(crate) struct Resolved<'a> {
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) user: &'a ResolvedUser,
    pub(crate) nodes: &'a [devices::Node],
    pub(crate) hostname: &'a str,
    pub(crate) cgroup: &'a Cgroup,
    /// The shim's memory file system, with the mounted root and the files to mount.
    pub(crate) directory: &'a Path,
}

/// Beside the usual ones, on cgroup v1 the memory file system that holds the controllers' mounts: it is made writable,
/// since the mount points have to be made in it.
fn readonly_paths(resolved: &Resolved<'_>) -> Vec<&'static str> {
    let mut paths = READONLY_PATHS.to_vec();
    let theirs = Path::new(CGROUP_PATH);
    let own = resolved.spec.mounts.iter().any(|mount| mount.destination == theirs)
        || resolved.spec.tmpfs.iter().any(|tmpfs| Path::new(&tmpfs.path) == theirs);
    if matches!(resolved.cgroup.hierarchy(), Hierarchy::V1(_)) && !own {
        paths.push(CGROUP_PATH);
    }
    paths
}

/// The configuration. Errors are about values that cannot be honoured.
pub(crate) fn configuration(resolved: &Resolved<'_>) -> Result<Value, String> {
    let spec = resolved.spec;
    let mut linux = json!({
        "namespaces": namespaces(spec),
        "devices": resolved.nodes.iter().map(devices::Node::to_json).collect::<Vec<_>>(),
        "sysctl": sysctls(spec),
        // Binds must not see the host's later mounts, unless a volume asks for it.
        "rootfsPropagation": if spec.mounts.iter().any(|mount| mount.propagation == Propagation::Slave) { "slave" } else { "private" },
        // Never empty: on a failure libcontainer kills all processes of this cgroup, and an empty path means the current one, in
        // some hierarchies the root: the whole machine.
        "cgroupsPath": format!("/{}", resolved.cgroup.path()),
    });
    let mut process = json!({
        "terminal": spec.terminal,
        "user": {"uid": resolved.user.uid, "gid": resolved.user.gid, "additionalGids": resolved.user.groups},
        "args": spec.arguments,
        "env": environment(spec, resolved.user, resolved.hostname).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        "cwd": working_directory(spec),
        "rlimits": rlimits(&spec.ulimits)?,
        "oomScoreAdj": 0,
    });
    let (linux_fields, process_fields) = (object(&mut linux), object(&mut process));
    if !spec.privileged {
        linux_fields.insert("maskedPaths".to_owned(), json!(MASKED_PATHS));
        linux_fields.insert("readonlyPaths".to_owned(), json!(readonly_paths(resolved)));
    }
    // No capabilities and no seccomp here: shim/confine.rs does both, as libcontainer's last step.
    if spec.no_new_privileges {
        process_fields.insert("noNewPrivileges".to_owned(), json!(true));
    }
    if let Some(profile) = &spec.apparmor_profile {
        process_fields.insert("apparmorProfile".to_owned(), json!(profile));
    }
    let mut configuration = json!({
        "ociVersion": "1.0.2",
        "root": {"path": resolved.directory.join("root"), "readonly": spec.root.readonly},
        "hostname": resolved.hostname,
        "mounts": mounts::all(spec, resolved.cgroup, resolved.directory)?,
        "process": process,
        "linux": linux,
    });
    if let Some(domainname) = &spec.domainname {
        object(&mut configuration).insert("domainname".to_owned(), json!(domainname));
    }
    Ok(configuration)
}

/// The members of a value that was written as an object above.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => unreachable!("it is written as an object literal"),
    }
}

/// The working directory, `/` where the image has none.
pub(crate) fn working_directory(spec: &ContainerSpec) -> &Path {
    if spec.working_directory.as_os_str().is_empty() { Path::new("/") } else { &spec.working_directory }
}

/// The environment: Docker's additions first, so that the container's own values win.
pub(crate) fn environment(
    spec: &ContainerSpec,
    user: &ResolvedUser,
    hostname: &str,
) -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> =
        vec![("PATH".to_owned(), DEFAULT_PATH.to_owned()), ("HOSTNAME".to_owned(), hostname.to_owned())];
    if spec.terminal {
        environment.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    merge(&mut environment, &spec.environment);
    // Never left to the C library: inside the container it would load the image's name service modules to find it out.
    if !environment.iter().any(|(name, value)| name == "HOME" && !value.is_empty()) {
        merge(&mut environment, &[("HOME".to_owned(), user.home.clone())]);
    }
    environment
}

/// Sets the values of `more` in `environment`; later ones win.
pub(crate) fn merge(environment: &mut Vec<(String, String)>, more: &[(String, String)]) {
    for (name, value) in more {
        match environment.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1.clone_from(value),
            None => environment.push((name.clone(), value.clone())),
        }
    }
}

fn namespaces(spec: &ContainerSpec) -> Vec<Value> {
    let mut list = vec![json!({"type": "mount"}), json!({"type": "uts"}), json!({"type": "cgroup"})];
    match &spec.namespaces.network {
        NetworkNamespace::None => list.push(json!({"type": "network"})),
        NetworkNamespace::Path(path) => list.push(json!({"type": "network", "path": path})),
        NetworkNamespace::Host => {}
    }
    match &spec.namespaces.pid {
        SharedNamespace::Private => list.push(json!({"type": "pid"})),
        SharedNamespace::Path(path) => list.push(json!({"type": "pid", "path": path})),
        SharedNamespace::Host => {}
    }
    match &spec.namespaces.ipc {
        IpcNamespace::Private | IpcNamespace::WithoutSharedMemory => list.push(json!({"type": "ipc"})),
        IpcNamespace::Path { namespace, .. } => list.push(json!({"type": "ipc", "path": namespace})),
        IpcNamespace::Host => {}
    }
    list
}

/// Docker lets every user bind low ports and send pings in a network namespace that is not the host's.
fn sysctls(spec: &ContainerSpec) -> Value {
    let mut sysctls = spec.sysctls.clone();
    if spec.namespaces.network != NetworkNamespace::Host {
        sysctls.entry("net.ipv4.ip_unprivileged_port_start".to_owned()).or_insert_with(|| "0".to_owned());
        sysctls.entry("net.ipv4.ping_group_range".to_owned()).or_insert_with(|| "0 2147483647".to_owned());
    }
    json!(sysctls)
}

pub(crate) fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<Value>, String> {
    let value = |limit: i64| if limit < 0 { u64::MAX } else { limit as u64 };
    ulimits
        .iter()
        .map(|ulimit| {
            if !ULIMITS.contains(&ulimit.name.as_str()) {
                return Err(format!("unknown ulimit: {:?}", ulimit.name));
            }
            let (soft, hard) = (value(ulimit.soft), value(ulimit.hard));
            if soft > hard {
                return Err(format!("ulimit {}: the soft limit is above the hard one", ulimit.name));
            }
            Ok(json!({"type": format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase()), "soft": soft, "hard": hard}))
        })
        .collect()
}
