//! Kernel settings: those of our own interfaces, and the one of the whole machine that has to be given back by the last
//! instance to leave it.

use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::error::NetworkError;

/// The setting that every instance on the machine needs and that the last one gives back.
pub(crate) const FORWARDING: &str = "net/ipv4/ip_forward";
/// The same of IPv6, where VPCs have such addresses.
const IPV6_FORWARDING: &str = "net/ipv6/conf/all/forwarding";
/// How the files of instances that route IPv6 are called.
const IPV6_USER: &str = "ipv6-user-";
/// The file of links that listened to routers.
const IPV6_NOTED: &str = "ipv6-links";
/// Cleared at boot, as the settings themselves are.
const SHARED_DIRECTORY: &str = "/run/roadstead";

/// Writes a setting of the calling thread's network namespace; `key` is the path under `/proc/sys`.
pub(crate) fn set(key: &str, value: &str) -> Result<(), NetworkError> {
    let path = Path::new("/proc/sys").join(key);
    std::fs::write(&path, value).map_err(|source| NetworkError::file("cannot set", path, source))
}

/// Reads a setting.
pub(crate) fn get(key: &str) -> Result<String, NetworkError> {
    let path = Path::new("/proc/sys").join(key);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(NetworkError::file("cannot read", path, source)),
    }
}

/// What all instances in one network namespace share. Of IPv4 forwarding, the use is counted: the first one notes the old
/// value, the last one to leave restores it. A file per user, so that a crashed instance is still counted until it is
/// back or its interfaces are gone.
#[derive(Debug)]
pub(crate) struct Shared {
    directory: PathBuf,
}

impl Shared {
    /// What is shared in the calling thread's network namespace.
    pub(crate) fn of_this_namespace() -> Result<Self, NetworkError> {
        use std::os::unix::fs::MetadataExt as _;
        let path = "/proc/thread-self/ns/net";
        let inode =
            std::fs::metadata(path).map_err(|source| NetworkError::file("cannot read", path, source))?.ino();
        Ok(Self { directory: Path::new(SHARED_DIRECTORY).join(format!("network-{inode}")) })
    }

    /// Counts `user` in and turns forwarding on. `is_alive` tells whether a user's interfaces exist.
    pub(crate) fn acquire(&self, user: &str, is_alive: impl Fn(&str) -> bool) -> Result<(), NetworkError> {
        let _lock = self.lock()?;
        let has_users = self.has_users(is_alive)?;
        let old = get(FORWARDING)?;
        let noted = self.directory.join("old");
        if !has_users || !noted.exists() {
            write(&noted, &old)?;
        }
        write(&self.directory.join(format!("user-{user}")), "")?;
        if old == "1" { Ok(()) } else { set(FORWARDING, "1") }
    }

    /// Counts `user` in as one that routes IPv6, and turns that on. A host that routes no longer listens to routers around it
    /// unless it is told to: links that did are told so, and noted.
    pub(crate) fn acquire_ipv6(&self, user: &str) -> Result<(), NetworkError> {
        let _lock = self.lock()?;
        let noted = self.directory.join(IPV6_NOTED);
        write(&self.directory.join(format!("{IPV6_USER}{user}")), "")?;
        if get(IPV6_FORWARDING)? == "1" {
            return Ok(());
        }
        let mut listening = Vec::new();
        let path = Path::new("/proc/sys/net/ipv6/conf");
        let failed = |source| NetworkError::file("cannot list", path, source);
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
            let key = format!("net/ipv6/conf/{name}/accept_ra");
            if name != "all" && get(&key).is_ok_and(|value| value == "1") && set(&key, "2").is_ok() {
                listening.push(name);
            }
        }
        write(&noted, &listening.join("\n"))?;
        set(IPV6_FORWARDING, "1")
    }

    /// The last one to leave turns it off again, where it was off.
    fn release_ipv6(&self, user: &str) -> Result<(), NetworkError> {
        remove(&self.directory.join(format!("{IPV6_USER}{user}")))?;
        let noted = self.directory.join(IPV6_NOTED);
        let Ok(listening) = std::fs::read_to_string(&noted) else { return Ok(()) };
        if !self.files(IPV6_USER)?.is_empty() {
            return Ok(());
        }
        set(IPV6_FORWARDING, "0")?;
        for name in listening.lines() {
            let key = format!("net/ipv6/conf/{name}/accept_ra");
            if get(&key).is_ok_and(|value| value == "2") {
                set(&key, "1")?;
            }
        }
        remove(&noted)
    }

    /// Counts `user` out; the last one restores the value.
    pub(crate) fn release(&self, user: &str, is_alive: impl Fn(&str) -> bool) -> Result<(), NetworkError> {
        if !self.directory.exists() {
            return Ok(());
        }
        let lock = self.lock()?;
        remove(&self.directory.join(format!("user-{user}")))?;
        remove(&self.directory.join(format!("claim-{user}")))?;
        remove(&self.directory.join(format!("{}{user}", crate::claims::PUBLIC_CLAIM)))?;
        remove(&self.directory.join(format!("{}{user}", crate::container_network::CLAIM)))?;
        let has_users = self.has_users(is_alive)?;
        self.release_ipv6(user)?;
        if has_users {
            return Ok(());
        }
        let noted = self.directory.join("old");
        if let Ok(old) = std::fs::read_to_string(&noted)
            && old != get(FORWARDING)?
        {
            set(FORWARDING, &old)?;
        }
        // The lock's file goes too: an instance that waits for it makes a new one (see `lock`).
        std::fs::remove_dir_all(&self.directory)
            .map_err(|source| NetworkError::file("cannot remove", &self.directory, source))?;
        drop(lock);
        let _ = std::fs::remove_dir(SHARED_DIRECTORY);
        Ok(())
    }

    /// Whether an instance is counted in; those that are gone without a word are dropped.
    fn has_users(&self, is_alive: impl Fn(&str) -> bool) -> Result<bool, NetworkError> {
        let mut found = false;
        for (user, path) in self.files("user-")? {
            if is_alive(&user) {
                found = true;
            } else {
                remove(&path)?;
                remove(&self.directory.join(format!("{IPV6_USER}{user}")))?;
            }
        }
        Ok(found)
    }

    /// The files whose names start with `prefix`: the rest of the name, and the path.
    pub(crate) fn files(&self, prefix: &str) -> Result<Vec<(String, PathBuf)>, NetworkError> {
        let failed = |source| NetworkError::file("cannot list", &self.directory, source);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(rest) = entry.file_name().to_str().and_then(|name| name.strip_prefix(prefix)) {
                files.push((rest.to_owned(), entry.path()));
            }
        }
        Ok(files)
    }

    /// Writes a file; the caller holds the lock.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), NetworkError> {
        write(&self.directory.join(name), text)
    }

    /// Takes the lock's file, and makes it and its directory anew where the last user to leave has removed them.
    pub(crate) fn lock(&self) -> Result<Flock<std::fs::File>, NetworkError> {
        const TRIES: usize = 100;
        let path = self.directory.join("lock");
        let mut failure = io::Error::from(io::ErrorKind::ResourceBusy);
        for _ in 0..TRIES {
            std::fs::create_dir_all(&self.directory)
                .map_err(|source| NetworkError::file("cannot make", &self.directory, source))?;
            let file = match std::fs::File::options().create(true).append(true).open(&path) {
                Ok(file) => file,
                Err(source) if source.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(NetworkError::file("cannot open", path, source)),
            };
            match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(lock) if is_same_file(&lock, &path) => return Ok(lock),
                Ok(_) => {}
                Err((_, error)) => failure = error.into(),
            }
        }
        Err(NetworkError::file("cannot lock", path, failure))
    }
}

fn is_same_file(file: &std::fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(one), Ok(other)) => identity(one) == identity(other),
        _ => false,
    }
}

fn write(path: &Path, text: &str) -> Result<(), NetworkError> {
    std::fs::write(path, text).map_err(|source| NetworkError::file("cannot write", path, source))
}

fn remove(path: &Path) -> Result<(), NetworkError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::file("cannot remove", path, source))
        }
        _ => Ok(()),
    }
}
