//! What the engine says about a container: its state, its end, its use of the machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::specification::ContainerId;

/// A container that was made and waits for `Engine::start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The process (in the host's pid namespace) that will become the container's process 1.
    pub pid: i32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A container that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The container's process 1, as the host numbers it.
    pub pid: i32,
    /// When it was started.
    pub started_at: Timestamp,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + the signal's number when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for want of memory.
    pub out_of_memory: bool,
    /// When its first process ended.
    pub finished_at: Timestamp,
    /// Why it never ran or why its end is not known, in words; absent for an ordinary end.
    pub reason: Option<String>,
}

/// The state of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, not started.
    Created,
    /// Started, and its first process lives.
    Running,
    /// Its first process ended.
    Exited(Exit),
    /// Something may be there and we do not know what: a half-made container, or one whose shim died. `Engine::delete` clears it away.
    Unknown,
}

/// One row of `Engine::list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Which container.
    pub id: ContainerId,
    /// Its state.
    pub state: State,
    /// Its first process while it lives, as the host numbers it.
    pub pid: Option<i32>,
    /// The labels it was made with.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was started.
    pub started_at: Option<Timestamp>,
}

/// What a container uses now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time used since the start.
    pub cpu_usage_nanoseconds: u64,
    /// Of it, in user mode.
    pub cpu_user_nanoseconds: u64,
    /// Of it, in kernel mode.
    pub cpu_system_nanoseconds: u64,
    /// Time during which the quota kept it from running.
    pub cpu_throttled_nanoseconds: u64,
    /// Memory charged to it, page cache included.
    pub memory_usage_bytes: u64,
    /// The most it ever was, where the kernel tells.
    pub memory_maximum_usage_bytes: Option<u64>,
    /// Of it, inactive page cache: Docker's and AWS's "memory utilized" leaves it out.
    pub memory_inactive_file_bytes: u64,
    /// Its hard limit.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes read from block devices.
    pub io_read_bytes: u64,
    /// Bytes written to block devices.
    pub io_write_bytes: u64,
    /// How often the kernel killed a process of it for want of memory.
    pub out_of_memory_kills: u64,
}

/// A command to run in a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// Added to (and winning over) the container's environment.
    pub environment: Vec<(String, String)>,
    /// None: the container's.
    pub working_directory: Option<PathBuf>,
    /// None: the container's.
    pub user: Option<String>,
    /// Gives it a pseudo terminal.
    pub terminal: bool,
    /// Killed after this long.
    pub timeout: Duration,
}

impl ExecSpec {
    /// The command with the container's own environment, directory and user.
    pub fn new(arguments: Vec<String>, timeout: Duration) -> Self {
        Self {
            arguments,
            environment: Vec::new(),
            working_directory: None,
            user: None,
            terminal: false,
            timeout,
        }
    }
}

/// How an executed command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecResult {
    /// Exit code; 128 + the signal's number when a signal ended it.
    pub exit_code: i32,
    /// The timeout ended it.
    pub timed_out: bool,
    /// The first [`ExecResult::OUTPUT_LIMIT`] bytes of its stdout and stderr, as they came.
    pub output: Vec<u8>,
}

impl ExecResult {
    /// Bytes of output kept; Docker keeps as much of a health check's.
    pub const OUTPUT_LIMIT: usize = 4096;
}

/// What the containers of a task share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskGroup {
    /// The group's name; lives in a name space of its own beside the containers'.
    pub id: ContainerId,
    /// The task's limits.
    pub resources: crate::specification::Resources,
    /// Makes a pid namespace for all of them (`pidMode: task`).
    pub share_pid_namespace: bool,
    /// Makes an IPC namespace and /dev/shm for all of them (`ipcMode: task`).
    pub share_ipc_namespace: bool,
    /// Size of the shared /dev/shm; none: 64 MiB.
    pub shared_memory_bytes: Option<u64>,
    /// A file system of the task's own for its writable layers and volumes; none: they are the host's.
    #[serde(default)]
    pub storage: Option<TaskStorage>,
}

/// The bounded storage of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStorage {
    /// Its size.
    pub bytes: u64,
    /// Whether the task may not run without: on a machine that cannot bound it, the group is refused then.
    pub required: bool,
}

/// A task group that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskGroupHandle {
    /// Its name, for `ContainerSpec::task_group`.
    pub id: ContainerId,
    /// Its cgroup, relative to the hierarchy's root.
    pub cgroup: String,
    /// For `SharedNamespace::Path`.
    pub pid_namespace: Option<PathBuf>,
    /// For `IpcNamespace::Path`.
    pub ipc_namespace: Option<PathBuf>,
    /// For `IpcNamespace::Path`.
    pub shared_memory: Option<PathBuf>,
    /// The root of the task's own file system: `layers` is for `RootFilesystem::writable`, the rest for volumes.
    #[serde(default)]
    pub storage: Option<PathBuf>,
}
