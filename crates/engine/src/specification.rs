//! What a container is asked to be: [`ContainerSpec`] and its parts, everything already resolved by the agent.
//!
//! The values travel to the shim as a JSON file in the container's directory, and are read back when a restarted
//! agent adopts the container. Field names are the task definition's or Docker's; units stand last in a name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a container on this machine: 1 to 128 of `a-z A-Z 0-9 _ . -`, beginning with a letter or digit.
/// It is used as a directory and cgroup name, hence the narrow alphabet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// A name that is not a [`ContainerId`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("not a container id (1 to 128 of a-z A-Z 0-9 _ . -, beginning with a letter or digit): {0:?}")]
pub struct ContainerIdError(String);

impl ContainerId {
    /// The longest id, in bytes.
    pub const MAX_LENGTH: usize = 128;

    /// Checks `name` and makes it an id.
    pub fn new(name: impl Into<String>) -> Result<Self, ContainerIdError> {
        let name = name.into();
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if first && rest && name.len() <= Self::MAX_LENGTH {
            return Ok(Self(name));
        }
        Err(ContainerIdError(name.chars().take(Self::MAX_LENGTH).collect()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ContainerId {
    type Error = ContainerIdError;
    fn try_from(name: String) -> Result<Self, ContainerIdError> {
        Self::new(name)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl FromStr for ContainerId {
    type Err = ContainerIdError;
    fn from_str(name: &str) -> Result<Self, ContainerIdError> {
        Self::new(name)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything a container is made from. [`ContainerSpec::new`] gives Docker's defaults; the caller changes what differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The container's name on this machine.
    pub id: ContainerId,
    /// Host name in the container's UTS namespace; none: the first 12 characters of the id. Ignored with the host's network
    /// namespace, where (as with Docker) the host's name is kept unless one is given.
    pub hostname: Option<String>,
    /// NIS domain name in the UTS namespace.
    pub domainname: Option<String>,
    /// The image's layers.
    pub root: RootFilesystem,
    /// Entry point and command, joined. The first is looked up in the environment's PATH.
    pub arguments: Vec<String>,
    /// Environment; the later of two equal names wins. `PATH` gets Docker's default when missing, `HOME` the user's home.
    pub environment: Vec<(String, String)>,
    /// Absolute working directory in the container, created when missing; empty means `/`.
    pub working_directory: PathBuf,
    /// `""` (root), `uid`, `uid:gid`, `name`, `name:group`: names are resolved in the image's /etc/passwd and /etc/group.
    pub user: String,
    /// All capabilities, all devices, no seccomp, nothing masked.
    pub privileged: bool,
    /// Capabilities added to Docker's default set: `NET_ADMIN`, `CAP_NET_ADMIN`, `ALL`.
    pub capabilities_add: Vec<String>,
    /// Capabilities taken from it. `ALL` first empties the set, then `capabilities_add` counts.
    pub capabilities_drop: Vec<String>,
    /// Sets PR_SET_NO_NEW_PRIVS: setuid files give nothing.
    pub no_new_privileges: bool,
    /// Which system calls may be made.
    pub seccomp: SeccompProfile,
    /// AppArmor profile by name; refused where the kernel has no AppArmor. None: none.
    pub apparmor_profile: Option<String>,
    /// SELinux label (`label=...` of dockerSecurityOptions); refused: this engine does not set labels.
    pub selinux_label: Option<String>,
    /// Host devices made available.
    pub devices: Vec<Device>,
    /// Runs a small init as process 1, which forwards signals and reaps orphans (`initProcessEnabled`).
    pub init: bool,
    /// Size of /dev/shm; none: 64 MiB.
    pub shared_memory_bytes: Option<u64>,
    /// Temporary file systems.
    pub tmpfs: Vec<Tmpfs>,
    /// Resource limits of the container's processes.
    pub ulimits: Vec<Ulimit>,
    /// Namespaced kernel parameters. Those of a namespace shared with the host are refused.
    pub sysctls: BTreeMap<String, String>,
    /// Bind mounts from the host, in order.
    pub mounts: Vec<Mount>,
    /// Lines for /etc/hosts: (host name, address).
    pub extra_hosts: Vec<(String, String)>,
    /// Addresses of the container itself, written to /etc/hosts with its host name.
    pub addresses: Vec<String>,
    /// What /etc/resolv.conf says.
    pub dns: DnsConfig,
    /// Gives the container a pseudo terminal; its output counts as stdout.
    pub terminal: bool,
    /// Keeps stdin open instead of /dev/null.
    pub open_stdin: bool,
    /// Which namespaces are its own.
    pub namespaces: Namespaces,
    /// Limits.
    pub resources: Resources,
    /// Task group (made by `Engine::create_task_group`) in whose cgroup the container lives; none: the engine's own.
    pub task_group: Option<ContainerId>,
    /// Where stdout and stderr go.
    pub log: LogOutput,
    /// Kept and given back by `Engine::list`; the engine reads none of them.
    pub labels: BTreeMap<String, String>,
    /// What `Engine::stop` sends when it is not told a signal (the image's STOPSIGNAL).
    pub stop_signal: Signal,
}

impl ContainerSpec {
    /// Docker's defaults: no network but loopback, own pid and ipc namespaces, default capabilities and seccomp
    /// profile, no limits, no log.
    pub fn new(id: ContainerId, root: RootFilesystem, arguments: Vec<String>) -> Self {
        Self {
            id,
            hostname: None,
            domainname: None,
            root,
            arguments,
            environment: Vec::new(),
            working_directory: PathBuf::from("/"),
            user: String::new(),
            privileged: false,
            capabilities_add: Vec::new(),
            capabilities_drop: Vec::new(),
            no_new_privileges: false,
            seccomp: SeccompProfile::Default,
            apparmor_profile: None,
            selinux_label: None,
            devices: Vec::new(),
            init: false,
            shared_memory_bytes: None,
            tmpfs: Vec::new(),
            ulimits: Vec::new(),
            sysctls: BTreeMap::new(),
            mounts: Vec::new(),
            extra_hosts: Vec::new(),
            addresses: Vec::new(),
            dns: DnsConfig::default(),
            terminal: false,
            open_stdin: false,
            namespaces: Namespaces::default(),
            resources: Resources::default(),
            task_group: None,
            log: LogOutput::Discard,
            labels: BTreeMap::new(),
            stop_signal: Signal::TERM,
        }
    }
}

/// The layers under a container's root. The engine adds the writable layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFilesystem {
    /// Unpacked layer directories, topmost first. At least one; overlayfs takes at most 500.
    pub lower_directories: Vec<PathBuf>,
    /// Mounts the root read-only (`readonlyRootFilesystem`).
    pub readonly: bool,
    /// Directory for the writable layers of several containers, each below its id; see `TaskGroupHandle::storage`. None: the
    /// engine's own directory of the container.
    #[serde(default)]
    pub writable: Option<PathBuf>,
}

/// The seccomp profile of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// Docker's default profile, with what the container's capabilities unlock.
    #[default]
    Default,
    /// None (`seccomp=unconfined`).
    Unconfined,
}

/// A device of the host in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub host: PathBuf,
    /// Path in the container.
    pub container: PathBuf,
    /// Some of `r` (read), `w` (write), `m` (make nodes); Docker's default is `rwm`.
    pub permissions: String,
}

/// A temporary file system in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Absolute path in the container.
    pub path: PathBuf,
    /// Its size; none: no bound of its own (half of the memory).
    pub size_bytes: Option<u64>,
    /// Mount options as the task definition lists them (`noexec`, `mode=755` …). Unknown ones are refused.
    pub options: Vec<String>,
}

/// One resource limit (setrlimit(2)), by Docker's name: `nofile`, `nproc`, `core` …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `memlock` …
    pub name: String,
    /// Soft limit; -1 is unlimited.
    pub soft: i64,
    /// Hard limit; -1 is unlimited.
    pub hard: i64,
}

/// A bind mount of a host path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Path on the host; must exist.
    pub source: PathBuf,
    /// Absolute path in the container; created when missing, resolved inside the root.
    pub destination: PathBuf,
    /// Read-only in the container.
    pub readonly: bool,
    /// Mount propagation. The container has one for all: `Slave` if any of its mounts asks for it.
    pub propagation: Propagation,
}

/// Mount propagation of a bind mount (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Neither side sees the other's later mounts (Docker's default).
    #[default]
    Private,
    /// The container sees the host's later mounts.
    Slave,
}

/// The container's /etc/resolv.conf. All empty: the host's, without its loopback servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Name server addresses.
    pub servers: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Resolver options, e.g. `ndots:2`.
    pub options: Vec<String>,
}

/// Which namespaces a container has for itself. The mount, UTS and cgroup namespaces are always its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network.
    pub network: NetworkNamespace,
    /// Process ids.
    pub pid: SharedNamespace,
    /// System V IPC, POSIX message queues (and /dev/shm).
    pub ipc: IpcNamespace,
}

/// The network namespace of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkNamespace {
    /// A new one with loopback only.
    #[default]
    None,
    /// The host's.
    Host,
    /// An existing one, by path (`/run/netns/...`, `/proc/PID/ns/net`).
    Path(PathBuf),
}

/// A process id namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedNamespace {
    /// A new one.
    #[default]
    Private,
    /// The host's.
    Host,
    /// An existing one, by path; see `TaskGroupHandle::pid_namespace`.
    Path(PathBuf),
}

/// An IPC namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcNamespace {
    /// A new one.
    #[default]
    Private,
    /// A new one and no /dev/shm at all (`ipcMode: none`).
    WithoutSharedMemory,
    /// The host's, with the host's /dev/shm.
    Host,
    /// An existing one, by path, with the /dev/shm that belongs to it.
    Path {
        /// The namespace file.
        namespace: PathBuf,
        /// Directory mounted as /dev/shm; see `TaskGroupHandle::shared_memory`.
        shared_memory: Option<PathBuf>,
    },
}

/// Limits of one container or task group. Absent means unlimited, or the kernel's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative weight, 2 to 262,144; 1024 is one CPU of ECS (cgroup v1 cpu.shares; mapped to cpu.weight on v2).
    pub cpu_shares: Option<u64>,
    /// CPU time per period, in microseconds.
    pub cpu_quota_microseconds: Option<i64>,
    /// The period; 100,000 when absent.
    pub cpu_period_microseconds: Option<u64>,
    /// CPUs the container may run on, e.g. `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Hard memory limit.
    pub memory_bytes: Option<u64>,
    /// Soft memory limit.
    pub memory_reservation_bytes: Option<u64>,
    /// Memory and swap together (Docker's MemorySwap): -1 unlimited, equal to `memory_bytes` no swap. Absent with a
    /// memory limit: twice the limit, as Docker.
    pub memory_swap_bytes: Option<i64>,
    /// 0 to 100. cgroup v1 only: v2 does not have it, and it is left out there with a warning, as Docker does.
    pub memory_swappiness: Option<u64>,
    /// Most processes and threads.
    pub pids_limit: Option<u64>,
}

/// Where a container's output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogOutput {
    /// Read and thrown away (log driver `none`).
    #[default]
    Discard,
    /// Docker's json-file: one JSON object a line, rotated as `path.1` …
    JsonFile {
        /// The file.
        path: PathBuf,
        /// Size, rotation, compression, attributes.
        options: log_spool::JsonFileOptions,
    },
    /// The crate `log_spool`'s spool, which a log driver reads.
    Spool {
        /// The spool's directory.
        directory: PathBuf,
        /// Most bytes held.
        capacity_bytes: u64,
        /// What happens when it is full.
        mode: SpoolMode,
    },
}

/// What a full spool does (the log option `mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpoolMode {
    /// The container's writes wait.
    Blocking,
    /// Records are dropped and counted.
    #[default]
    NonBlocking,
}

/// A signal by number, as Linux has it on this architecture: 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Signal(i32);

/// Text or a number that names no signal.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not a signal: {0:?}")]
pub struct SignalError(String);

impl Signal {
    /// SIGTERM.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// SIGKILL.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// SIGINT.
    pub const INT: Self = Self(libc::SIGINT);

    /// The signal of this number.
    pub fn from_number(number: i32) -> Result<Self, SignalError> {
        if (1..=64).contains(&number) { Ok(Self(number)) } else { Err(SignalError(number.to_string())) }
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl TryFrom<i32> for Signal {
    type Error = SignalError;
    fn try_from(number: i32) -> Result<Self, SignalError> {
        Self::from_number(number)
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> i32 {
        signal.0
    }
}

impl FromStr for Signal {
    type Err = SignalError;

    /// Takes `15`, `TERM`, `SIGTERM`, `RTMIN+3` and `RTMAX-1`, as an image's STOPSIGNAL may be written.
    fn from_str(text: &str) -> Result<Self, SignalError> {
        let unknown = || SignalError(text.chars().take(32).collect());
        if let Ok(number) = text.parse::<i32>() {
            return Self::from_number(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        // RTMIN is 34 and not 32: the C library keeps two for itself (signal(7)).
        let number = if let Some(offset) = name.strip_prefix("RTMIN") {
            34_i32.checked_add(if offset.is_empty() { 0 } else { offset.parse().map_err(|_| unknown())? })
        } else if let Some(offset) = name.strip_prefix("RTMAX") {
            64_i32.checked_add(if offset.is_empty() { 0 } else { offset.parse().map_err(|_| unknown())? })
        } else {
            nix::sys::signal::Signal::from_str(&format!("SIG{name}")).ok().map(|signal| signal as i32)
        };
        number.and_then(|number| Self::from_number(number).ok()).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids_are_plain_names() {
        for good in ["a", "web-1.2_x", &"x".repeat(128)] {
            assert_eq!(ContainerId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "ä", "a\0", &"x".repeat(129)] {
            assert!(ContainerId::new(bad).is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<ContainerId>("\"../x\"").is_err());
    }

    #[test]
    fn signals_are_read_as_images_write_them() {
        for (text, number) in
            [("15", 15), ("TERM", 15), ("SIGTERM", 15), ("sigquit", 3), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
        {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
        for bad in ["", "SIG", "0", "65", "-1", "RTMIN+99", "SIGFOO", "RTMIN+x"] {
            assert!(bad.parse::<Signal>().is_err(), "{bad}");
        }
    }
}
