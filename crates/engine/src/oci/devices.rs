//! Host devices for a container: the nodes that are made in its /dev, and the cgroup rules that let it open them.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cgroup::{DeviceKind, DeviceRule};
use crate::specification::Device;

/// Most device nodes of one container; a privileged one gets all of the host's.
const NODES_MAXIMUM: usize = 2000;
/// What a privileged container gets of its own and not from the host.
const OWN: [&str; 6] = ["pts", "shm", "mqueue", "fd", "console", "ptmx"];

/// A node to make.
#[derive(Debug)]
pub(crate) struct Node {
    path: PathBuf,
    kind: DeviceKind,
    major: u32,
    minor: u32,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Node {
    fn of(host: &Path, container: PathBuf) -> io::Result<Option<Self>> {
        let metadata = fs::metadata(host)?;
        let kind = if metadata.file_type().is_char_device() {
            DeviceKind::Character
        } else if metadata.file_type().is_block_device() {
            DeviceKind::Block
        } else {
            return Ok(None);
        };
        Ok(Some(Self {
            path: container,
            kind,
            major: libc::major(metadata.rdev()),
            minor: libc::minor(metadata.rdev()),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
        }))
    }

    /// As an OCI `linux.devices` object.
    pub(crate) fn to_json(&self) -> Value {
        let kind = match self.kind {
            DeviceKind::Character => "c",
            DeviceKind::Block => "b",
        };
        json!({"path": self.path, "type": kind, "major": self.major, "minor": self.minor,
            "fileMode": self.mode, "uid": self.uid, "gid": self.gid})
    }
}

/// The nodes and rules of a container that asks for `devices`.
pub(crate) fn resolve(devices: &[Device], privileged: bool) -> Result<(Vec<Node>, Vec<DeviceRule>), String> {
    let mut nodes = Vec::new();
    let mut rules = DeviceRule::defaults();
    if privileged {
        collect(Path::new("/dev"), Path::new("/dev"), &OWN, &mut nodes)
            .map_err(|error| format!("/dev: {error}"))?;
        for kind in [DeviceKind::Character, DeviceKind::Block] {
            rules.push(DeviceRule { kind, major: None, minor: None, read: true, write: true, make: true });
        }
    }
    for device in devices {
        let describe = |what: &str| format!("device {}: {what}", device.host.display());
        if !device.container.starts_with("/dev") || device.container == Path::new("/dev") {
            return Err(describe("its path in the container must be below /dev"));
        }
        let letters = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
        if !letters.chars().all(|letter| "rwm".contains(letter)) {
            return Err(describe("permissions are some of r, w and m"));
        }
        let first = nodes.len();
        match Node::of(&device.host, device.container.clone()) {
            Ok(Some(node)) => nodes.push(node),
            // A directory (/dev/snd) stands for the devices in it.
            Ok(None) if device.host.is_dir() => collect(&device.host, &device.container, &[], &mut nodes)
                .map_err(|error| describe(&error.to_string()))?,
            Ok(None) => return Err(describe("not a device")),
            Err(error) => return Err(describe(&error.to_string())),
        }
        for node in nodes.get(first..).unwrap_or_default() {
            rules.push(DeviceRule {
                kind: node.kind,
                major: Some(node.major),
                minor: Some(node.minor),
                read: letters.contains('r'),
                write: letters.contains('w'),
                make: letters.contains('m'),
            });
        }
    }
    // The last of two nodes for one path counts, as with Docker.
    let mut seen = std::collections::HashSet::new();
    nodes.reverse();
    nodes.retain(|node| seen.insert(node.path.clone()));
    nodes.reverse();
    Ok((nodes, rules))
}

fn collect(host: &Path, container: &Path, except: &[&str], nodes: &mut Vec<Node>) -> io::Result<()> {
    for entry in fs::read_dir(host)?.flatten() {
        let name = entry.file_name();
        if except.iter().any(|except| name == *except) || nodes.len() >= NODES_MAXIMUM {
            continue;
        }
        let target = container.join(&name);
        // Links (/dev/fd, /dev/disk/by-id) are not followed: they would name devices twice or lead out.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            collect(&entry.path(), &target, except, nodes)?;
        } else if let Ok(Some(node)) = Node::of(&entry.path(), target)
            && !kind.is_symlink()
        {
            nodes.push(node);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(host: &str, container: &str, permissions: &str) -> Device {
        Device { host: host.into(), container: container.into(), permissions: permissions.into() }
    }

    #[test]
    fn devices_become_nodes_and_rules() {
        let (nodes, rules) = resolve(&[device("/dev/zero", "/dev/other", "r")], false).unwrap();
        assert_eq!(nodes[0].to_json()["path"], "/dev/other");
        let rule = rules.last().unwrap();
        assert_eq!((rule.major, rule.minor, rule.read, rule.write), (Some(1), Some(5), true, false));
        for (host, container, permissions) in [
            ("/dev/zero", "/etc/x", ""),
            ("/dev/none", "/dev/x", ""),
            ("/etc/passwd", "/dev/x", ""),
            ("/dev/zero", "/dev/x", "q"),
        ] {
            assert!(resolve(&[device(host, container, permissions)], false).is_err(), "{host} {container}");
        }
    }
}
