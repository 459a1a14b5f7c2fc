//! What is refused before anything is made.

use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base::kernel::is_ipc_system_control;

use crate::error::EngineError;
use crate::oci::files::is_one_word;
use crate::overlay::LAYERS_MAXIMUM;
use crate::specification::{ContainerSpec, IpcNamespace, NetworkNamespace};

/// Most arguments, and most environment variables.
const WORDS_MAXIMUM: usize = 10_000;
/// Most bytes of arguments and environment together; execve(2) would refuse more than a quarter of the stack (2 MiB).
const WORDS_MAXIMUM_BYTES: usize = 1_500_000;
/// Most mounts, temporary file systems, devices, hosts, sysctls: of each.
const LIST_MAXIMUM: usize = 1000;

/// Refuses what cannot be honoured, and what would end the shim by surprise.
pub(super) fn validate(spec: &ContainerSpec) -> Result<(), EngineError> {
    check(spec).map_err(EngineError::InvalidSpec)
}

fn check(spec: &ContainerSpec) -> Result<(), String> {
    let layers = spec.root.lower_directories.len();
    if layers == 0 || layers > LAYERS_MAXIMUM {
        return Err(format!("an image must have 1 to {LAYERS_MAXIMUM} layers, this one has {layers}"));
    }
    words(spec)?;
    for (what, length) in [
        ("mounts", spec.mounts.len()),
        ("tmpfs", spec.tmpfs.len()),
        ("devices", spec.devices.len()),
        ("extra hosts", spec.extra_hosts.len()),
        ("sysctls", spec.sysctls.len()),
        ("ulimits", spec.ulimits.len()),
    ] {
        if length > LIST_MAXIMUM {
            return Err(format!("too many {what}: {length}"));
        }
    }
    names(spec)?;
    sysctls(spec)?;
    if let Some(label) = &spec.selinux_label {
        return Err(format!("SELinux label {label:?}: this engine does not set SELinux labels"));
    }
    if let Some(profile) = &spec.apparmor_profile
        && !Path::new("/sys/kernel/security/apparmor").exists()
    {
        return Err(format!("AppArmor profile {profile:?}: the kernel has no AppArmor"));
    }
    for mount in &spec.mounts {
        if !mount.source.is_absolute() || has_nul(&mount.source) || has_nul(&mount.destination) {
            return Err(format!("mount source {}: it must be an absolute path", mount.source.display()));
        }
    }
    Ok(())
}

fn words(spec: &ContainerSpec) -> Result<(), String> {
    if spec.arguments.is_empty() {
        return Err("no command specified".to_owned());
    }
    if spec.arguments.len() > WORDS_MAXIMUM || spec.environment.len() > WORDS_MAXIMUM {
        return Err(format!("more than {WORDS_MAXIMUM} arguments or environment variables"));
    }
    let bytes: usize = spec.arguments.iter().map(String::len).sum::<usize>()
        + spec.environment.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if bytes > WORDS_MAXIMUM_BYTES {
        return Err(format!("arguments and environment are {bytes} bytes, more than {WORDS_MAXIMUM_BYTES}"));
    }
    if spec.arguments.iter().any(|argument| argument.contains('\0')) || has_nul(&spec.working_directory) {
        return Err("a NUL character in the command or working directory".to_owned());
    }
    for (name, value) in &spec.environment {
        if !is_environment_name(name) || value.contains('\0') {
            let name: String = name.chars().take(64).collect();
            return Err(format!(
                "environment variable {name:?}: not a possible name, or a NUL character in it"
            ));
        }
    }
    Ok(())
}

/// What setenv(3) takes.
pub(crate) fn is_environment_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn names(spec: &ContainerSpec) -> Result<(), String> {
    let hosts = spec.extra_hosts.iter().map(|(name, _)| name);
    let addresses =
        spec.extra_hosts.iter().map(|(_, address)| address).chain(&spec.addresses).chain(&spec.dns.servers);
    for address in addresses {
        // resolv.conf takes an interface behind an IPv6 address: fe80::1%eth0.
        let bare = address.split('%').next().unwrap_or_default();
        if bare.parse::<IpAddr>().is_err() || !is_one_word(address) {
            return Err(format!("not an IP address: {address:?}"));
        }
    }
    for name in hosts.chain(&spec.dns.search).chain(&spec.dns.options).chain(&spec.domainname) {
        if !is_one_word(name) {
            return Err(format!("not a host or domain name: {name:?}"));
        }
    }
    Ok(())
}

/// Only parameters that are the container's own: another would be the host's (Docker's list).
fn sysctls(spec: &ContainerSpec) -> Result<(), String> {
    for (name, value) in &spec.sysctls {
        let name = name.as_str();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
        if !plain || name.contains("..") || value.contains('\n') || value.len() > 4096 {
            return Err(format!("sysctl {name:?}: not a possible name or value"));
        }
        let ipc = is_ipc_system_control(name);
        if !ipc && !name.starts_with("net.") {
            return Err(format!("sysctl {name} is not in a namespace of the container"));
        }
        if ipc && spec.namespaces.ipc == IpcNamespace::Host {
            return Err(format!("sysctl {name} is not allowed with the host's IPC namespace"));
        }
        if !ipc && spec.namespaces.network == NetworkNamespace::Host {
            return Err(format!("sysctl {name} is not allowed with the host's network"));
        }
    }
    Ok(())
}

fn has_nul(path: &Path) -> bool {
    path.as_os_str().as_bytes().contains(&0)
}
