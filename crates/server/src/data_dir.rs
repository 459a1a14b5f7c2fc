//! The data directory: who uses it, under which name its Roadstead makes things on the machine, and its root key.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base::Ids;
use serde::{Deserialize, Serialize};
use wire::sigv4::{SecretKey, SigningKey};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A file operation failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `--ephemeral` was asked for where durable state lives.
    #[error(
        "{} holds the state of an earlier start without --ephemeral, which --ephemeral would remove: \
         name another --data-dir, or leave --ephemeral out", .0.display()
    )]
    Durable(PathBuf),
    /// A file of ours does not have its form.
    #[error("{} is damaged: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Another process has it.
    #[error("{} is in use by the process {pid}: stop it, or name another --data-dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, as far as the lock file tells.
        pid: String,
    },
    /// Nothing runs on this directory.
    #[error("no Roadstead runs on {}: start it with `roadstead up --data-dir {}`", .0.display(), .0.display())]
    NotRunning(PathBuf),
}

/// Where things are in a data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// What a running Roadstead says of itself to the other subcommands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// Such as `http://127.0.0.1:4566`.
    pub endpoint: String,
    /// The main region.
    pub region: String,
    /// The process.
    pub pid: u32,
    /// Where names are answered.
    #[serde(default)]
    pub dns: Vec<SocketAddr>,
}

/// An access key id and its secret.
#[derive(Clone)]
pub struct RootKey {
    /// The id.
    pub access_key_id: String,
    /// The secret; never printed but by `roadstead env`.
    pub secret_access_key: String,
}

impl RootKey {
    /// The key as requests are signed with it.
    pub fn signing_key(&self) -> SigningKey {
        SigningKey {
            access_key_id: self.access_key_id.clone(),
            secret_access_key: SecretKey::new(self.secret_access_key.as_str()),
            session_token: None,
        }
    }
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 2 * key.len() {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(key)
}

/// Marks a directory whose content goes away at the end.
const EPHEMERAL_MARK: &str = "EPHEMERAL";
/// The name under which things are made on the machine.
const INSTANCE_NAME: &str = "instance-name";
/// The root key, as an AWS shared credentials file.
const ROOT_KEY: &str = "root-credentials";
/// What seals the cookies of load balancers.
const COOKIE_KEY: &str = "cookie-key";
/// The file of [`Running`].
const RUNNING: &str = "running.json";

impl DataDir {
    /// The directory at `root`, made where it is missing, readable by its owner only.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        fs::create_dir_all(root).map_err(|source| io_error("make", root, source))?;
        fs::set_permissions(root, Permissions::from_mode(0o700))
            .map_err(|source| io_error("set the permissions of", root, source))?;
        let root = root.canonicalize().map_err(|source| io_error("resolve", root, source))?;
        Ok(Self { root })
    }

    /// As [`DataDir::open`], for `--ephemeral`: refused where durable state lives.
    pub fn open_ephemeral(root: &Path) -> Result<Self, DataDirError> {
        let dir = Self::open(root)?;
        let mark = dir.root.join(EPHEMERAL_MARK);
        let used = dir.store().exists() || dir.root.join(INSTANCE_NAME).exists();
        if used && !mark.exists() {
            return Err(DataDirError::Durable(dir.root));
        }
        write_file(
            &mark,
            b"This directory's content is removed when its `roadstead up --ephemeral` ends.\n",
            0o600,
        )?;
        Ok(dir)
    }

    /// Takes the directory for this process, for as long as the answer lives.
    pub fn lock(&self) -> Result<File, DataDirError> {
        let path = self.root.join("lock");
        let io = |source| io_error("lock", &path, source);
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = (&mut file).take(32).read_to_string(&mut pid);
                return Err(DataDirError::InUse { path: self.root.clone(), pid: pid.trim().to_owned() });
            }
            Err(fs::TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(file)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Rows.
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// Log events.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Access logs of load balancers.
    pub fn access_logs(&self) -> PathBuf {
        self.root.join("access-logs")
    }

    /// Images and layers.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Containers.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// The network's record of what it made.
    pub fn network(&self) -> PathBuf {
        self.root.join("network")
    }

    /// The agent's state.
    pub fn agent(&self) -> PathBuf {
        self.root.join("agent")
    }

    /// Six hexadecimal digits, made once: part of the name of every bridge, table and cgroup made for this directory.
    pub fn instance_name(&self, ids: &dyn Ids) -> Result<String, DataDirError> {
        let path = self.root.join(INSTANCE_NAME);
        if let Some(text) = read_file(&path)? {
            let name = text.trim().to_owned();
            let well_formed = name.len() == 6 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            return if well_formed {
                Ok(name)
            } else {
                Err(DataDirError::Damaged { path, message: "it must hold six hexadecimal digits".to_owned() })
            };
        }
        let name = ids.hex(6);
        write_file(&path, format!("{name}\n").as_bytes(), 0o600)?;
        Ok(name)
    }

    /// What seals the cookies of load balancers, made at the first start: so clients stay with their targets over a restart.
    pub fn cookie_key(&self, ids: &dyn Ids) -> Result<[u8; 32], DataDirError> {
        let path = self.root.join(COOKIE_KEY);
        if let Some(text) = read_file(&path)? {
            return parse_key(text.trim()).ok_or_else(|| DataDirError::Damaged {
                path,
                message: "it must hold 64 hexadecimal digits".to_owned(),
            });
        }
        let text = ids.hex(64);
        write_file(&path, format!("{text}\n").as_bytes(), 0o600)?;
        Ok(parse_key(&text).unwrap_or_default())
    }

    /// The root key, made at the first start.
    pub fn root_key(&self, ids: &dyn Ids) -> Result<RootKey, DataDirError> {
        let path = self.root.join(ROOT_KEY);
        if let Some(text) = read_file(&path)? {
            return parse_credentials(&text).ok_or_else(|| DataDirError::Damaged {
                path,
                message: "it must hold aws_access_key_id and aws_secret_access_key".to_owned(),
            });
        }
        let key = RootKey {
            access_key_id: format!("AKIA{}", ids.hex(16).to_ascii_uppercase()),
            secret_access_key: ids.hex(40),
        };
        let text = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            key.access_key_id, key.secret_access_key
        );
        write_file(&path, text.as_bytes(), 0o600)?;
        Ok(key)
    }

    /// Tells the other subcommands where to find this process.
    pub fn announce(&self, running: &Running) -> Result<(), DataDirError> {
        let text = serde_json::to_vec(running).unwrap_or_default();
        write_file(&self.root.join(RUNNING), &text, 0o600)
    }

    /// Adds where names are answered.
    pub fn announce_names(&self, dns: Vec<SocketAddr>) -> Result<(), DataDirError> {
        self.announce(&Running { dns, ..self.running()? })
    }

    /// Takes back what [`DataDir::announce`] said.
    pub fn retract(&self) {
        let _ = fs::remove_file(self.root.join(RUNNING));
    }

    /// The process that runs on this directory.
    pub fn running(&self) -> Result<Running, DataDirError> {
        let path = self.root.join(RUNNING);
        let text = read_file(&path)?.ok_or_else(|| DataDirError::NotRunning(self.root.clone()))?;
        let running: Running = serde_json::from_str(&text)
            .map_err(|error| DataDirError::Damaged { path, message: error.to_string() })?;
        if Path::new(&format!("/proc/{}", running.pid)).exists() {
            Ok(running)
        } else {
            Err(DataDirError::NotRunning(self.root.clone()))
        }
    }

    /// Removes the directory's content, and the directory. Only for `--ephemeral`.
    pub fn remove(self) -> Result<(), DataDirError> {
        if self.root.join(EPHEMERAL_MARK).exists() {
            fs::remove_dir_all(&self.root).map_err(|source| io_error("remove", &self.root, source))?;
        }
        Ok(())
    }
}

fn parse_credentials(text: &str) -> Option<RootKey> {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
        })
    };
    Some(RootKey {
        access_key_id: value("aws_access_key_id")?,
        secret_access_key: value("aws_secret_access_key")?,
    })
}

fn read_file(path: &Path) -> Result<Option<String>, DataDirError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", path, source)),
    }
}

/// Writes beside, syncs, and renames into place.
fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), DataDirError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().map_err(|source| io_error("write", path, source))
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { doing, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use base::RandomIds;

    use super::*;

    #[test]
    fn the_root_key_is_made_once_and_read_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&folder.path().join("data")).unwrap();
        let key = dir.root_key(&RandomIds).unwrap();
        let again = dir.root_key(&RandomIds).unwrap();
        assert_eq!(key.secret_access_key, again.secret_access_key);
        assert_eq!(key.access_key_id.len(), 20);
        let mode = fs::metadata(dir.root().join(ROOT_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(dir.instance_name(&RandomIds).unwrap(), dir.instance_name(&RandomIds).unwrap());
    }

    #[test]
    fn durable_state_is_not_taken_for_ephemeral() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        dir.instance_name(&RandomIds).unwrap();
        assert!(matches!(DataDir::open_ephemeral(folder.path()), Err(DataDirError::Durable(_))));
        let other = folder.path().join("other");
        DataDir::open_ephemeral(&other).unwrap().instance_name(&RandomIds).unwrap();
        DataDir::open_ephemeral(&other).unwrap().remove().unwrap();
        assert!(!other.exists());
    }
}
