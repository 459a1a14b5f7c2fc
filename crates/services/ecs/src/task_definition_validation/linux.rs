//! Linux parameters, limits, kernel parameters and security options of one container.
//!
//! A system control of a namespace that the task shares with the host (`net.*` with network mode `host`) is not supported, as AWS
//! says; whether its RegisterTaskDefinition refuses it could not be verified. Here the container's making does, with the reason.

use std::collections::BTreeSet;

use api::ecs::{ContainerDefinition, LinuxParameters, Tmpfs, Ulimit};
use base::kernel::{ULIMITS, is_ipc_system_control};
use wire::Fault;

use super::containers::setting;
use super::one_of;
use crate::faults::client;

/// Source: KernelCapabilities.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// Source: Tmpfs, `mountOptions`; those behind the break take a value.
const TMPFS_OPTIONS: &[&str] = &[
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
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
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
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
];

/// Checks what speaks to the kernel.
pub fn check(container: &ContainerDefinition, name: &str) -> Result<(), Fault> {
    if let Some(parameters) = &container.linux_parameters {
        check_parameters(parameters, name)?;
    }
    check_ulimits(container.ulimits.as_deref().unwrap_or_default(), name)?;
    for control in container.system_controls.iter().flatten() {
        let namespace = control.namespace.as_deref().unwrap_or_default();
        let value = control.value.as_deref().unwrap_or_default();
        let plain = namespace.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
        let known = is_ipc_system_control(namespace) || namespace.starts_with("net.");
        if !known || !plain || namespace.contains("..") {
            return Err(setting(name, &format!("The system control '{namespace}' is not supported.")));
        }
        if value.is_empty() || value.contains(['\0', '\n']) {
            return Err(setting(name, &format!("The value of the system control '{namespace}' is invalid.")));
        }
    }
    for option in container.docker_security_options.iter().flatten() {
        let known = matches!(
            option.as_str(),
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges:false"
        ) || ["apparmor:", "apparmor=", "label:", "label="]
            .iter()
            .any(|prefix| option.starts_with(prefix));
        if !known {
            return Err(setting(name, &format!("The docker security option '{option}' is not supported.")));
        }
    }
    Ok(())
}

fn check_parameters(parameters: &LinuxParameters, name: &str) -> Result<(), Fault> {
    if let Some(capabilities) = &parameters.capabilities {
        let all = capabilities.add.iter().flatten().chain(capabilities.drop.iter().flatten());
        for capability in all {
            if !CAPABILITIES.contains(&capability.as_str()) {
                return Err(setting(name, &format!("The kernel capability '{capability}' is unknown.")));
            }
        }
    }
    for device in parameters.devices.iter().flatten() {
        let paths = [device.host_path.as_deref(), device.container_path.as_deref()];
        if device.host_path.is_none() || !paths.into_iter().flatten().all(is_absolute) {
            return Err(setting(name, "A device must have an absolute path."));
        }
        for permission in device.permissions.iter().flatten() {
            one_of("linuxParameters.devices.permissions", Some(permission), &["read", "write", "mknod"])?;
        }
    }
    if parameters.shared_memory_size.is_some_and(|size| size < 1) {
        return Err(setting(name, "'sharedMemorySize' must be at least 1."));
    }
    if parameters.max_swap.is_some_and(|swap| swap < 0) {
        return Err(setting(name, "'maxSwap' must not be negative."));
    }
    if parameters.swappiness.is_some_and(|swappiness| !(0..=100).contains(&swappiness)) {
        return Err(setting(name, "'swappiness' must be between 0 and 100."));
    }
    parameters.tmpfs.iter().flatten().try_for_each(|tmpfs| check_tmpfs(tmpfs, name))
}

fn check_tmpfs(tmpfs: &Tmpfs, name: &str) -> Result<(), Fault> {
    if !tmpfs.container_path.as_deref().is_some_and(is_absolute) {
        return Err(setting(name, "A tmpfs must have an absolute 'containerPath'."));
    }
    if tmpfs.size.is_none_or(|size| size < 1) {
        return Err(setting(name, "The 'size' of a tmpfs must be at least 1."));
    }
    for option in tmpfs.mount_options.iter().flatten() {
        let (word, value) =
            option.split_once('=').map_or((option.as_str(), ""), |(word, value)| (word, value));
        if !TMPFS_OPTIONS.contains(&word) || value.contains([',', '\0']) {
            return Err(setting(name, &format!("The tmpfs mount option '{option}' is not supported.")));
        }
    }
    Ok(())
}

fn check_ulimits(ulimits: &[Ulimit], name: &str) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for ulimit in ulimits {
        let kind = ulimit.name.as_deref().unwrap_or_default();
        if !ULIMITS.contains(&kind) {
            return Err(client(format!("Unrecognized ulimit name {kind}")));
        }
        if !seen.insert(kind) {
            return Err(setting(name, &format!("The ulimit '{kind}' is set more than once.")));
        }
        let (Some(soft), Some(hard)) = (ulimit.soft_limit, ulimit.hard_limit) else {
            return Err(setting(name, &format!("The ulimit '{kind}' must have a soft and a hard limit.")));
        };
        // -1 is no limit, on either side.
        let within = hard == -1 || (soft != -1 && soft <= hard);
        if soft < -1 || hard < -1 || !within {
            return Err(setting(
                name,
                &format!("The soft limit of the ulimit '{kind}' must not exceed its hard limit."),
            ));
        }
    }
    Ok(())
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0') && path.len() <= 4096
}
