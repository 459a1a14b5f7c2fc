//! Names of the kernel's that a task definition may use: what the API takes, the engine does.

/// Resource limits, as Docker calls them: setrlimit(2) less `RLIMIT_`, in lower case. Source: "Ulimit" data type, `name`.
pub const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// System controls of an IPC namespace, beside all whose names begin with `fs.mqueue.`. Source: "SystemControl" data type.
const IPC_SYSTEM_CONTROLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Whether a system control belongs to an IPC namespace.
pub fn is_ipc_system_control(name: &str) -> bool {
    name.starts_with("fs.mqueue.") || IPC_SYSTEM_CONTROLS.contains(&name)
}
