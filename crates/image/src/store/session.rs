//! A process's own place under `tmp/`, which others can tell to be dead.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ImageError;
use crate::store::files;
use crate::unpack::remove_tree;

/// A directory whose lock file this process holds for as long as it lives: the kernel drops flock(2) locks with
/// the process, however it dies.
#[derive(Debug)]
pub(super) struct Session {
    directory: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    next: AtomicU64,
}

impl Session {
    /// To be called under the store's lock, so that nobody looks at the lock file before it is locked.
    pub(super) fn start(tmp: &Path) -> Result<Self, ImageError> {
        // Numbered by the store, never by process id: ids repeat, and a slow remover of a dead session must not
        // meet a live one of the same name.
        let counter = tmp.join("next");
        let number = files::read_json::<u64>(&counter)?.unwrap_or(0);
        files::write_json(&counter, &number.wrapping_add(1), files::Durability::Renamed)?;
        let (directory, lock_path) = (tmp.join(number.to_string()), tmp.join(format!("{number}.lock")));
        let lock = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.and_then(|file| file.try_lock().map_err(io::Error::from).map(|()| file));
        let lock = lock.map_err(|error| ImageError::io(&lock_path, error))?;
        files::create_private_directory(&directory)?;
        Ok(Self { directory, lock_path, _lock: lock, next: AtomicU64::new(0) })
    }

    /// A path in this session that nothing has used.
    pub(super) fn fresh_path(&self, prefix: &str) -> PathBuf {
        self.directory.join(format!("{prefix}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = remove_tree(&self.directory);
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Lock files of sessions whose process is gone, and directories without any lock file. Under the store's lock.
pub(super) fn dead_sessions(tmp: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let names = files::names_in(tmp)?;
    let mut dead = Vec::new();
    for name in &names {
        let path = tmp.join(name);
        if let Some(session) = name.strip_suffix(".lock") {
            let Ok(lock) = File::open(&path) else { continue };
            if lock.try_lock().is_ok() {
                dead.push(tmp.join(session));
            }
        } else if name != "next" && !names.contains(&format!("{name}.lock")) {
            dead.push(path);
        }
    }
    Ok(dead)
}

/// The directory first: as long as the lock file is there, a later open tries again. Two processes may do this
/// at once, so what is gone already is fine.
pub(super) fn remove_dead(directory: &Path) {
    if let Err(error) = remove_tree(directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(directory = %directory.display(), %error, "leftovers of a crashed process cannot be removed");
        return;
    }
    let mut lock = directory.as_os_str().to_owned();
    lock.push(".lock");
    let _ = fs::remove_file(Path::new(&lock));
}
