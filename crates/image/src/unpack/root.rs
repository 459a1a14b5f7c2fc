//! File system operations that cannot leave a layer's directory.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags};
use rustix::io::Errno;

use crate::unpack::remove::remove_children;

/// Marks a directory that hides what lower layers have in it (kernel: overlayfs, "whiteouts and opaque directories").
const OPAQUE: &str = "trusted.overlay.opaque";
/// A resolution that raced with a rename elsewhere on the file system is tried again this often.
const RESOLVE_ATTEMPTS: u32 = 32;
/// Of a parent directory that the archive does not list and no lower layer has.
const IMPLIED_MODE: u32 = 0o755;

/// A layer's directory. All paths are relative to it, without `..`; the kernel resolves them with this directory
/// as the root, so that symbolic links, absolute ones too, stay inside.
pub(super) struct Root {
    descriptor: Rc<OwnedFd>,
    /// The directory that the last entry was in: archives list directories' entries together.
    last_parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Directories made because an entry below needs them: inode -> path.
    implied: BTreeMap<u64, Vec<u8>>,
    implied_bytes: usize,
}

impl Root {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
        Ok(Self {
            descriptor: Rc::new(descriptor),
            last_parent: None,
            implied: BTreeMap::new(),
            implied_bytes: 0,
        })
    }

    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Paths of directories that no entry described, parents before children.
    pub(super) fn take_implied(&mut self) -> Vec<Vec<u8>> {
        let mut paths: Vec<Vec<u8>> = std::mem::take(&mut self.implied).into_values().collect();
        paths.sort();
        paths
    }

    /// An entry describes this directory after all.
    pub(super) fn is_described(&mut self, inode: u64) {
        self.implied.remove(&inode);
    }

    /// Bytes of the paths that were ever remembered here.
    pub(super) fn implied_bytes(&self) -> usize {
        self.implied_bytes
    }

    /// Opens a path below; its last component too may be a symbolic link unless `flags` say otherwise.
    pub(super) fn open_below(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        open_in(&*self.descriptor, path, flags, ResolveFlags::IN_ROOT)
    }

    /// The directory `path`, made with its parents where it is missing.
    pub(super) fn directory(&mut self, path: &[u8]) -> io::Result<Rc<OwnedFd>> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.descriptor));
        }
        if let Some((last, descriptor)) = &self.last_parent
            && last == path
        {
            return Ok(Rc::clone(descriptor));
        }
        let descriptor = match self.open_below(path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(descriptor) => Rc::new(descriptor),
            Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::NOTDIR) => {
                self.make_directories(path)?
            }
            Err(error) => return Err(error),
        };
        self.last_parent = Some((path.to_vec(), Rc::clone(&descriptor)));
        Ok(descriptor)
    }

    fn make_directories(&mut self, path: &[u8]) -> io::Result<Rc<OwnedFd>> {
        let mut parent = Rc::clone(&self.descriptor);
        let mut start = 0;
        while start < path.len() {
            let rest = path.get(start..).unwrap_or_default();
            let end = start + rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let prefix = path.get(..end).unwrap_or(path);
            let name = path.get(start..end).unwrap_or_default();
            start = end + 1;
            parent = match self.open_below(prefix, OFlags::PATH | OFlags::DIRECTORY) {
                Ok(found) => Rc::new(found),
                Err(error) if is(&error, Errno::NOENT) => Rc::new(self.imply(&parent, name, prefix)?),
                Err(error) if is(&error, Errno::NOTDIR) && is_whiteout(&stat(&parent, name)?) => {
                    // Deleted and made anew in one layer: nothing of the lower directory shows.
                    unlink(&parent, name)?;
                    let made = self.imply(&parent, name, prefix)?;
                    set_opaque(&made)?;
                    made.into()
                }
                Err(error) => return Err(error),
            };
        }
        Ok(parent)
    }

    fn imply(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> io::Result<OwnedFd> {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(IMPLIED_MODE))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(IMPLIED_MODE))?;
        self.implied_bytes += path.len();
        self.implied.insert(rustix::fs::fstat(&made)?.st_ino, path.to_vec());
        Ok(made)
    }

    /// Removes whatever stands at `name`, a directory with all below it.
    pub(super) fn clear(&mut self, parent: &OwnedFd, name: &[u8], found: &Stat) -> io::Result<()> {
        // What was removed may have been on the way to the remembered directory.
        self.last_parent = None;
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return unlink(parent, name);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        remove_children(&directory)?;
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }
}

/// openat2(2) without magic links, which lead out of every root, and without mounts, of which a layer has none.
pub(super) fn open_in(
    directory: impl AsFd,
    path: &[u8],
    flags: OFlags,
    how: ResolveFlags,
) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = how | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let mut attempts = RESOLVE_ATTEMPTS;
    loop {
        attempts -= 1;
        match rustix::fs::openat2(&directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempts > 0 => {}
            result => return Ok(result?),
        }
    }
}

/// What stands at `name`, without following it.
pub(super) fn stat(parent: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    Ok(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// As [`stat`]; `None` for nothing.
pub(super) fn stat_if_there(parent: impl AsFd, name: &[u8]) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn unlink(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
}

/// A character device 0:0 stands for a deleted file.
pub(super) fn is_whiteout(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == 0
}

pub(super) fn is_directory(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

/// Makes a directory hide what lower layers have in it.
pub(super) fn set_opaque(directory: &OwnedFd) -> io::Result<()> {
    // Through the descriptor's name, because one opened with O_PATH takes no attributes itself.
    Ok(rustix::fs::setxattr(below(directory, b".")?, OPAQUE, b"y", XattrFlags::empty())?)
}

/// Whether a directory hides what lower layers have in it.
pub(super) fn is_opaque(directory: &OwnedFd) -> io::Result<bool> {
    let mut value = [0; 1];
    match rustix::fs::getxattr(below(directory, b".")?, OPAQUE, &mut value) {
        Ok(1) => Ok(value == *b"y"),
        Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A path that means `name` in an open directory, for the calls on extended attributes that know no `…at` form.
pub(super) fn below(directory: &OwnedFd, name: &[u8]) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    CString::new(path).map_err(|_| io::ErrorKind::InvalidInput.into())
}

pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
