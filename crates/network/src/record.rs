//! What exists, on disk.
//!
//! The record is written before the kernel is asked for anything, and removed after all is gone, so whatever exists is in
//! it. It describes kernel objects, which a power cut removes: so it is not flushed to the disk (that would cost more
//! than the attachment itself), and one from before the last boot is thrown away.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::{Attachment, VpcNetwork};
use crate::error::NetworkError;
use crate::host_ports::PublishedPorts;
use crate::net::PublicAddress;

/// How far an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Being made: after a crash, whatever there is of it is removed.
    Making,
    /// Whole.
    Made,
    /// Being removed: after a crash, the removal goes on.
    Removing,
}

/// A namespace, and the interface in it where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachmentRecord {
    pub(crate) id: String,
    pub(crate) stage: Stage,
    /// What was asked for; `None` for a namespace without an interface.
    pub(crate) attachment: Option<Attachment>,
    /// The name of the namespace's file below `namespaces/`, and of the host's end of its veth pair. Unlike `id`, never
    /// used again while an earlier one of the same id is still being removed.
    pub(crate) namespace: String,
    /// Whether it is a container's of network mode `bridge`.
    #[serde(default)]
    pub(crate) container: bool,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub(crate) published: Vec<PublishedPorts>,
}

/// A VPC and the number of its bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VpcRecord {
    pub(crate) vpc: VpcNetwork,
    pub(crate) bridge: u16,
}

/// The file of public addresses.
const PUBLIC: &str = "public-addresses";

/// The directory of records.
#[derive(Debug)]
pub(crate) struct Records {
    root: PathBuf,
}

impl Records {
    /// Opens the directory and makes it where it is missing. Records from before the last boot are dropped.
    pub(crate) fn open(root: &Path) -> Result<Self, NetworkError> {
        // Paths of namespaces are handed to other processes.
        let root =
            &std::path::absolute(root).map_err(|source| NetworkError::file("cannot find", root, source))?;
        let records = Self { root: root.clone() };
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let noted = root.join("boot-id");
        if std::fs::read_to_string(&noted).is_ok_and(|old| old != boot) {
            for stale in ["attachments", "vpcs", "namespaces"] {
                let path = root.join(stale);
                match std::fs::remove_dir_all(&path) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(NetworkError::file("cannot remove", path, source));
                    }
                    _ => {}
                }
            }
        }
        for directory in [records.attachments(), records.vpcs(), records.namespaces()] {
            std::fs::create_dir_all(&directory)
                .map_err(|source| NetworkError::file("cannot make", directory, source))?;
        }
        write(&noted, boot.as_bytes())?;
        Ok(records)
    }

    /// Where namespaces are mounted.
    pub(crate) fn namespaces(&self) -> PathBuf {
        self.root.join("namespaces")
    }

    fn attachments(&self) -> PathBuf {
        self.root.join("attachments")
    }

    fn vpcs(&self) -> PathBuf {
        self.root.join("vpcs")
    }

    pub(crate) fn write_attachment(&self, record: &AttachmentRecord) -> Result<(), NetworkError> {
        write_json(&self.attachments().join(&record.namespace), record)
    }

    pub(crate) fn remove_attachment(&self, namespace: &str) -> Result<(), NetworkError> {
        remove(&self.attachments().join(namespace))
    }

    /// Which public address leads to which private one.
    pub(crate) fn write_public(&self, made: &BTreeMap<Ipv4Addr, PublicAddress>) -> Result<(), NetworkError> {
        write_json(&self.root.join(PUBLIC), made)
    }

    pub(crate) fn read_public(&self) -> Result<BTreeMap<Ipv4Addr, PublicAddress>, NetworkError> {
        let path = self.root.join(PUBLIC);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| NetworkError::file("damaged record", &path, io::Error::other(error))),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(source) => Err(NetworkError::file("cannot read", &path, source)),
        }
    }

    pub(crate) fn write_vpc(&self, record: &VpcRecord) -> Result<(), NetworkError> {
        write_json(&self.vpcs().join(record.bridge.to_string()), record)
    }

    pub(crate) fn remove_vpc(&self, bridge: u16) -> Result<(), NetworkError> {
        remove(&self.vpcs().join(bridge.to_string()))
    }

    pub(crate) fn read_attachments(&self) -> Result<Vec<AttachmentRecord>, NetworkError> {
        read_all(&self.attachments())
    }

    pub(crate) fn read_vpcs(&self) -> Result<Vec<VpcRecord>, NetworkError> {
        read_all(&self.vpcs())
    }

    /// Removes the whole directory, after everything in it is gone.
    pub(crate) fn remove_all(&self) -> Result<(), NetworkError> {
        for directory in [self.attachments(), self.vpcs(), self.namespaces()] {
            match std::fs::remove_dir_all(&directory) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(NetworkError::file("cannot remove", directory, source));
                }
                _ => {}
            }
        }
        remove(&self.root.join(PUBLIC))?;
        remove(&self.root.join("boot-id"))?;
        // The directory itself goes where nothing else is in it.
        let _ = std::fs::remove_dir(&self.root);
        Ok(())
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), NetworkError> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| NetworkError::file("cannot write", path, io::Error::other(error)))?;
    write(path, &bytes)
}

/// Whole or not at all: written beside, then renamed.
fn write(path: &Path, bytes: &[u8]) -> Result<(), NetworkError> {
    // Added, not put in place of an extension: names of namespaces have dots in them, and would meet in one file.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, bytes)
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|source| NetworkError::file("cannot write", path, source))
}

fn remove(path: &Path) -> Result<(), NetworkError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::file("cannot remove", path, source))
        }
        _ => Ok(()),
    }
}

/// All records of a directory. A damaged one is refused by name: guessing could leave its namespace behind for good.
fn read_all<T: DeserializeOwned>(directory: &Path) -> Result<Vec<T>, NetworkError> {
    let failed = |source| NetworkError::file("cannot read", directory, source);
    let mut records = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            remove(&path)?;
            continue;
        }
        let bytes =
            std::fs::read(&path).map_err(|source| NetworkError::file("cannot read", &path, source))?;
        let record = serde_json::from_slice(&bytes)
            .map_err(|error| NetworkError::file("damaged record", &path, io::Error::other(error)))?;
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_written_at_once_do_not_meet() {
        let directory = std::env::temp_dir().join(format!("roadstead-records-{}", std::process::id()));
        let records = Records::open(&directory).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let records = &records;
                scope.spawn(move || {
                    let record = AttachmentRecord {
                        id: format!("task-{number}"),
                        stage: Stage::Making,
                        attachment: None,
                        namespace: format!("rsabcdef.{number}"),
                        container: false,
                        published: Vec::new(),
                    };
                    for _ in 0..200 {
                        records.write_attachment(&record).unwrap();
                    }
                });
            }
        });
        let read = records.read_attachments().unwrap();
        records.remove_all().unwrap();
        assert_eq!(read.len(), 8);
        assert!(read.iter().all(|record| record.namespace.ends_with(&record.id["task-".len()..])));
    }
}
