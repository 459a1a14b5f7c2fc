//! The files of a spool: names, the acknowledgement, the writer's lock.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The folder of the segments and of the writer's lock; what the reader watches.
pub(crate) fn records_directory(directory: &Path) -> PathBuf {
    directory.join("records")
}

/// The file with the acknowledged position.
pub(crate) fn acknowledgement_path(directory: &Path) -> PathBuf {
    directory.join("acknowledged")
}

/// The segment that starts at `start`.
pub(crate) fn segment_path(records: &Path, start: u64) -> PathBuf {
    records.join(format!("segment-{start:016x}"))
}

/// Makes the spool's directories where they are missing, for the owner only.
pub(crate) fn create_directories(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(records_directory(directory))
}

/// The starts of all segments, ascending.
pub(crate) fn segments(records: &Path) -> io::Result<Vec<u64>> {
    let mut starts = Vec::new();
    for entry in fs::read_dir(records)? {
        let name = entry?.file_name();
        let start = name.to_str().and_then(|name| name.strip_prefix("segment-"));
        if let Some(start) = start.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            starts.push(start);
        }
    }
    starts.sort_unstable();
    Ok(starts)
}

/// The position that the reader has acknowledged, as both sides see it.
#[derive(Debug)]
pub(crate) struct Acknowledgement(File);

impl Acknowledgement {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let path = acknowledgement_path(directory);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_CLOEXEC)
            .open(path)?;
        Ok(Self(file))
    }

    /// The position; `None` where none was ever written, or where it is damaged: then the work starts at the oldest
    /// segment, and a record may be seen twice but none is lost.
    pub(crate) fn read(&self) -> io::Result<Option<u64>> {
        let mut bytes = [0; 12];
        match self.0.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (position, checksum) = bytes.split_at(8);
        let intact = crc32fast::hash(position).to_le_bytes() == checksum;
        Ok(position.first_chunk::<8>().filter(|_| intact).map(|bytes| u64::from_le_bytes(*bytes)))
    }

    pub(crate) fn write(&self, position: u64) -> io::Result<()> {
        let position = position.to_le_bytes();
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&position);
        bytes[8..].copy_from_slice(&crc32fast::hash(&position).to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}

/// Takes the writer's lock. Fails where another writer lives.
///
/// The file gets its name only once it is locked, so that no reader ever sees it there and free before the writer began.
pub(crate) fn lock_for_writing(records: &Path) -> io::Result<Flock<File>> {
    let path = records.join("writer");
    let busy = |(_, errno): (File, Errno)| match errno {
        Errno::EWOULDBLOCK => {
            io::Error::new(io::ErrorKind::AlreadyExists, "the log spool has a writer already")
        }
        other => other.into(),
    };
    match OpenOptions::new().write(true).open(&path) {
        Ok(file) => return Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(busy),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let unnamed = records.join(format!("writer.{}", std::process::id()));
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&unnamed)?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(busy)?;
    fs::rename(&unnamed, &path)?;
    Ok(lock)
}

/// Whether there was a writer and it lives no more.
pub(crate) fn writer_has_gone(records: &Path) -> io::Result<bool> {
    let file = match File::open(records.join("writer")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(true),
        Err((_, Errno::EWOULDBLOCK)) => Ok(false),
        Err((_, errno)) => Err(errno.into()),
    }
}
