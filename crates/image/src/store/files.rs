//! Small files written whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::error::ImageError;

/// No record of ours is larger; a larger file is not ours.
const MAXIMUM_RECORD_BYTES: u64 = 1 << 20;
/// End of the names of files that are being written.
const PART: &str = ".part";

/// What a write survives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The end of this process.
    Renamed,
    /// The end of power too.
    Synced,
}

/// Makes the directory for its owner only, and its parents; one that is there is fine.
pub(super) fn create_private_directory(path: &Path) -> Result<(), ImageError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| ImageError::io(path, error))
}

/// The file's bytes; `None` when there is no such file.
pub(super) fn read(path: &Path, maximum: u64) -> Result<Option<Vec<u8>>, ImageError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ImageError::io(path, error)),
    };
    let mut bytes = Vec::new();
    file.take(maximum + 1).read_to_end(&mut bytes).map_err(|error| ImageError::io(path, error))?;
    if bytes.len() as u64 > maximum {
        return Err(ImageError::Damaged {
            path: path.to_owned(),
            reason: format!("larger than {maximum} bytes"),
        });
    }
    Ok(Some(bytes))
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ImageError> {
    let Some(bytes) = read(path, MAXIMUM_RECORD_BYTES)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(ImageError::Damaged { path: path.to_owned(), reason: error.to_string() }),
    }
}

/// Whether a file of ours is a record in whole, not one that is being written.
pub(super) fn is_record(name: &str) -> bool {
    name.strip_suffix(".json").is_some()
}

/// Every record of a directory. Files that vanish meanwhile are skipped.
pub(super) fn read_all_json<T: DeserializeOwned>(directory: &Path) -> Result<Vec<T>, ImageError> {
    let mut records = Vec::new();
    for name in names_in(directory)? {
        if is_record(&name) {
            records.extend(read_json(&directory.join(name))?);
        }
    }
    Ok(records)
}

/// Names of a directory that are UTF-8, sorted; all of ours are. A directory that is gone has none.
pub(super) fn names_in(directory: &Path) -> Result<Vec<String>, ImageError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ImageError::io(directory, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| ImageError::io(directory, error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The digests that files named `<hex><suffix>` stand for.
pub(super) fn digests_in(directory: &Path, suffix: &str) -> Result<Vec<Digest>, ImageError> {
    let names = names_in(directory)?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(suffix)).filter_map(Digest::from_hex).collect())
}

pub(super) fn write_json<T: Serialize>(
    path: &Path,
    value: &T,
    durability: Durability,
) -> Result<(), ImageError> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| ImageError::Damaged { path: path.to_owned(), reason: error.to_string() })?;
    write(path, &bytes, durability)
}

/// Removes what a crash left of writes. Under the store's lock, which every write is under.
pub(super) fn remove_unfinished(directory: &Path) -> Result<(), ImageError> {
    for name in names_in(directory)? {
        if name.ends_with(PART) {
            remove_file(&directory.join(name))?;
        }
    }
    Ok(())
}

/// Writes beside the place and renames into it.
pub(super) fn write(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), ImageError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}-{}{PART}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let temporary = Path::new(&temporary);
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
        file.write_all(bytes)?;
        if durability == Durability::Synced {
            file.sync_all()?;
        }
        fs::rename(temporary, path)?;
        if durability == Durability::Synced { sync_parent(path) } else { Ok(()) }
    };
    write().map_err(|error| {
        let _ = fs::remove_file(temporary);
        ImageError::io(path, error)
    })
}

/// Makes a rename or removal in the file's directory durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// A file that is not there is removed already.
pub(super) fn remove_file(path: &Path) -> Result<(), ImageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ImageError::io(path, error)),
        _ => Ok(()),
    }
}
