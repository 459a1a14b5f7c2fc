//! The few file operations that the log needs, in one place, so that tests can trace them and make them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file operation that changes something, as a [`Hook`] sees it before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Makes an empty file in place of any that is there.
    Create(PathBuf),
    /// Writes bytes at an offset.
    Write { file: PathBuf, offset: u64, bytes: Vec<u8> },
    /// Cuts or extends a file.
    SetLength { file: PathBuf, length: u64 },
    /// Brings a file's bytes to disk.
    Sync(PathBuf),
    /// Renames a file.
    Rename { from: PathBuf, to: PathBuf },
    /// Removes a file.
    Remove(PathBuf),
    /// Brings a directory's names to disk.
    SyncDirectory(PathBuf),
}

/// Sees every operation first, and may refuse it. Tests only.
pub(crate) type Hook = Arc<dyn Fn(&Op) -> io::Result<()> + Send + Sync>;

/// One directory, through the hook if there is one.
#[derive(Clone)]
pub(crate) struct Disk {
    pub directory: PathBuf,
    /// Held open, so that a lack of file descriptors cannot keep names from reaching the disk.
    handle: Arc<File>,
    hook: Option<Hook>,
}

/// An open file of a [`Disk`].
pub(crate) struct DiskFile {
    pub path: PathBuf,
    file: File,
    hook: Option<Hook>,
}

impl Disk {
    pub fn new(directory: &Path, hook: Option<Hook>) -> io::Result<Self> {
        Ok(Self { directory: directory.to_owned(), handle: Arc::new(File::open(directory)?), hook })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The names of the files in the directory, sorted.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    pub fn create(&self, name: &str) -> io::Result<DiskFile> {
        let path = self.path(name);
        ask(self.hook.as_ref(), || Op::Create(path.clone()))?;
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(DiskFile { path, file, hook: self.hook.clone() })
    }

    pub fn open(&self, name: &str) -> io::Result<DiskFile> {
        let path = self.path(name);
        let file = File::options().read(true).write(true).open(&path)?;
        Ok(DiskFile { path, file, hook: self.hook.clone() })
    }

    /// Gives a finished file its name, durably.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        ask(self.hook.as_ref(), || Op::Rename { from: from.clone(), to: to.clone() })?;
        std::fs::rename(from, to)?;
        self.sync_directory()
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        ask(self.hook.as_ref(), || Op::Remove(path.clone()))?;
        std::fs::remove_file(path)
    }

    pub fn sync_directory(&self) -> io::Result<()> {
        ask(self.hook.as_ref(), || Op::SyncDirectory(self.directory.clone()))?;
        self.handle.sync_all()
    }
}

impl DiskFile {
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Reads up to `bytes.len()` bytes; fewer only at the end of the file.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let hook = self.hook.as_ref();
        ask(hook, || Op::Write { file: self.path.clone(), offset, bytes: bytes.to_vec() })?;
        self.file.write_all_at(bytes, offset)
    }

    pub fn set_length(&self, length: u64) -> io::Result<()> {
        ask(self.hook.as_ref(), || Op::SetLength { file: self.path.clone(), length })?;
        self.file.set_len(length)
    }

    /// fdatasync: the bytes, and the length if it changed.
    pub fn sync(&self) -> io::Result<()> {
        ask(self.hook.as_ref(), || Op::Sync(self.path.clone()))?;
        self.file.sync_data()
    }
}

fn ask(hook: Option<&Hook>, op: impl FnOnce() -> Op) -> io::Result<()> {
    match hook {
        None => Ok(()),
        Some(hook) => hook(&op()),
    }
}
