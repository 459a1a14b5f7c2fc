//! Fresh volumes: Docker fills an empty one with what the image has at the place where it is mounted.
#![allow(unsafe_code)]

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, mknod};

use crate::beneath::Root;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::overlay;

/// Directories within directories; deeper trees are refused.
const DEPTH_MAXIMUM: usize = 200;
/// Most bytes of one extended attribute, and of a list of their names (XATTR_SIZE_MAX).
const ATTRIBUTE_MAXIMUM_BYTES: usize = 64 * 1024;

impl Engine {
    /// Makes `directory` (if missing) and, when it is empty, copies into it what the image has at `destination`, with
    /// owners, modes and extended attributes. `lower_directories` are the image's layers, topmost first.
    ///
    /// An image that has nothing there, or no directory, leaves the volume empty.
    pub async fn prepare_volume(
        &self,
        directory: PathBuf,
        lower_directories: Vec<PathBuf>,
        destination: PathBuf,
    ) -> Result<(), EngineError> {
        let empty = self.inner.config.root.join("empty");
        let work = move || {
            prepare(&directory, &lower_directories, &destination, &empty)
                .map_err(EngineError::io("fill the volume", directory))
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::Runtime(format!("the copy was cut short: {error}"))),
        }
    }
}

fn prepare(directory: &Path, layers: &[PathBuf], destination: &Path, empty: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    if fs::read_dir(directory)?.next().is_some() {
        return Ok(());
    }
    // A thread of its own, with a mount namespace of its own: the merged image is seen by nobody else, and goes with it.
    let copy = || {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        nix::mount::mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let mut stack = layers.to_vec();
        // Without an upper layer overlayfs wants two: an empty one at the bottom changes nothing. It is the mount point as well.
        stack.push(empty.to_owned());
        overlay::mount_readonly(&stack, empty)?;
        copy_from(&Root::open(empty)?, destination, directory)
    };
    std::thread::scope(|scope| {
        scope.spawn(copy).join().unwrap_or_else(|_| Err(io::Error::other("the copy ended early")))
    })
}

fn copy_from(root: &Root, destination: &Path, directory: &Path) -> io::Result<()> {
    match root.open_at(destination, libc::O_RDONLY | libc::O_DIRECTORY, 0) {
        Ok(source) => copy_directory(&source, directory, 0),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies the content of `source` and its own owner, mode and attributes. Links are copied as links, never followed: the source
/// is read-only and the target ours alone, so that nothing changes between look and use.
fn copy_directory(source: &OwnedFd, target: &Path, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAXIMUM {
        return Err(io::Error::other("the image's directories are nested too deeply"));
    }
    let here = PathBuf::from(format!("/proc/self/fd/{}", source.as_raw_fd()));
    for entry in fs::read_dir(&here)? {
        let entry = entry?;
        let (from, to) = (here.join(entry.file_name()), target.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&from)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            fs::create_dir(&to)?;
            copy_directory(&File::open(&from)?.into(), &to, depth + 1)?;
            continue;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to)?;
        } else if kind.is_fifo() {
            mknod(&to, SFlag::S_IFIFO, Mode::empty(), 0)?;
        } else {
            // Devices and sockets: Docker copies no devices either way that a container could use.
            continue;
        }
        copy_attributes(&from, &to, &metadata)?;
    }
    let metadata = fs::metadata(&here)?;
    copy_attributes(&here.join("."), target, &metadata)
}

fn copy_attributes(from: &Path, to: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    // The owner first: changing it takes the setuid bit and capabilities away.
    lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    if !metadata.file_type().is_symlink() {
        fs::set_permissions(to, metadata.permissions())?;
    }
    for name in attribute_names(from)? {
        // The overlay's own book-keeping.
        if !name.as_bytes().starts_with(b"trusted.overlay.") {
            copy_attribute(from, to, &name)?;
        }
    }
    Ok(())
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(ErrorKind::InvalidInput))
}

fn attribute_names(path: &Path) -> io::Result<Vec<OsString>> {
    let path = c_path(path)?;
    let mut names = vec![0_u8; ATTRIBUTE_MAXIMUM_BYTES];
    // SAFETY: a C string, and a buffer of the length given.
    let length = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::EOPNOTSUPP) { Ok(Vec::new()) } else { Err(error) };
    };
    names.truncate(length);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| OsString::from_vec(name.to_vec())).collect())
}

fn copy_attribute(from: &Path, to: &Path, name: &OsString) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    let name = c_path(Path::new(name))?;
    let mut value = vec![0_u8; ATTRIBUTE_MAXIMUM_BYTES];
    // SAFETY: C strings, and a buffer of the length given.
    let length =
        unsafe { libc::lgetxattr(from.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: C strings, and `length` bytes that lgetxattr has just filled in.
    let set = unsafe { libc::lsetxattr(to.as_ptr(), name.as_ptr(), value.as_ptr().cast(), length, 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
