//! Paths inside a container's root that the image's symbolic links cannot lead out of: openat2(2) with RESOLVE_IN_ROOT.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Links followed in one path before it counts as a loop (the kernel's own bound is 40).
const LINKS_MAXIMUM: usize = 40;

/// A directory that paths are resolved beneath: absolute links and `..` stop at it.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// The root at `path`, which itself is trusted.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = nix::fcntl::open(
            path,
            nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC,
            nix::sys::stat::Mode::empty(),
        )?;
        // SAFETY: `open` has just given us this descriptor, and nobody else holds it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(file) }))
    }

    /// Opens `path` with `flags` (O_CLOEXEC is added); `mode` counts with O_CREAT.
    pub(crate) fn open_at(&self, path: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
        open_in_root(self.0.as_fd(), path, flags, mode)
    }

    /// Reads a file of at most `limit` bytes. None: there is no such file. Larger ones, and what is no plain file, are errors.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        // O_NONBLOCK: an image may have a named pipe here.
        let file = match self.open_at(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0) {
            Ok(file) => File::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
        }
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large"));
        }
        Ok(Some(content))
    }

    /// Makes the directory `path` and those above it where they are missing (mode 0755, root's), following links inside
    /// the root, dangling ones too. Gives the directory.
    pub(crate) fn make_directories(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut links = 0;
        let mut done = PathBuf::from("/");
        let mut todo: Vec<Component<'_>> = Vec::new();
        let owned = path.to_owned();
        todo.extend(owned.components().rev());
        let mut pending: Vec<PathBuf> = todo.iter().map(|part| PathBuf::from(part.as_os_str())).collect();
        while let Some(part) = pending.pop() {
            match part.components().next() {
                None | Some(Component::CurDir | Component::Prefix(_)) => continue,
                Some(Component::RootDir) => {
                    done = PathBuf::from("/");
                    continue;
                }
                Some(Component::ParentDir) => {
                    done.pop();
                    continue;
                }
                Some(Component::Normal(_)) => {}
            }
            let parent = self.open_at(&done, libc::O_PATH | libc::O_DIRECTORY, 0)?;
            let name = c_string(&part)?;
            // SAFETY: `parent` is open and `name` is a C string; the call touches no other memory.
            let made = unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), 0o755) };
            if made == 0 {
                done.push(&part);
                continue;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            // Something is there: a link is taken apart here, because its end may be missing.
            match nix::fcntl::readlinkat(Some(parent.as_raw_fd()), part.as_os_str()) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS_MAXIMUM {
                        return Err(io::Error::from_raw_os_error(libc::ELOOP));
                    }
                    let target = PathBuf::from(target);
                    pending.extend(target.components().rev().map(|part| PathBuf::from(part.as_os_str())));
                }
                Err(_) => done.push(&part),
            }
        }
        self.open_at(&done, libc::O_PATH | libc::O_DIRECTORY, 0)
    }

    /// Makes sure that something is at `path` on which a file can be mounted: an empty file, where there is nothing.
    pub(crate) fn make_file(&self, path: &Path) -> io::Result<()> {
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAXIMUM {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                let directory = self.make_directories(parent)?;
                // A link in the last place, dangling or not, is followed by hand, so that its parents are made too.
                if let Ok(target) = nix::fcntl::readlinkat(Some(directory.as_raw_fd()), name) {
                    path = parent.join(PathBuf::from(target));
                    continue;
                }
            }
            return match self.open_at(&path, libc::O_PATH, 0) {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.open_at(&path, libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY, 0o644).map(drop)
                }
                Err(error) => Err(error),
            };
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a path with a NUL byte"))
}

fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: an all-zero open_how is valid; it is the documented start (openat2(2)).
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = u64::from(mode);
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // A rename elsewhere in the tree while `..` is resolved makes the kernel answer EAGAIN; it asks to be tried again.
    for _ in 0..128 {
        // SAFETY: the pointers are to a C string and to an open_how of the size given, both alive for the call.
        let file = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                root.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        if file >= 0 {
            // SAFETY: the kernel has just given us this descriptor.
            return Ok(unsafe { OwnedFd::from_raw_fd(file as i32) });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EAGAIN) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let root_directory = tempfile::tempdir().unwrap();
        let inside = root_directory.path();
        symlink(outside.path(), inside.join("etc")).unwrap();
        symlink("../../../../../../tmp", inside.join("up")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        let root = Root::open(inside).unwrap();
        assert!(root.read(Path::new("/etc/secret"), 10).unwrap().is_none());
        // The dangling link's target is made inside the root, never outside.
        root.make_directories(Path::new("/etc/new")).unwrap();
        assert!(!outside.path().join("new").exists());
        assert!(inside.join(outside.path().strip_prefix("/").unwrap()).join("new").is_dir());
        root.make_directories(Path::new("up/a/../b")).unwrap();
        assert!(inside.join("tmp/b").is_dir());
        root.make_directories(Path::new("/magic/x")).unwrap();
        assert!(inside.join("proc/self/root/x").is_dir());
        assert!(root.make_directories(Path::new("/loop/x")).is_err());
        symlink("../run/missing/resolv.conf", inside.join("resolv.conf")).unwrap();
        root.make_file(Path::new("/resolv.conf")).unwrap();
        assert!(inside.join("run/missing/resolv.conf").is_file());
        root.make_file(Path::new("/resolv.conf")).unwrap();
    }

    #[test]
    fn reading_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("passwd"), "12345").unwrap();
        nix::unistd::mkfifo(&directory.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let root = Root::open(directory.path()).unwrap();
        assert_eq!(root.read(Path::new("passwd"), 5).unwrap().unwrap(), b"12345");
        assert!(root.read(Path::new("passwd"), 4).is_err());
        assert!(root.read(Path::new("pipe"), 4).is_err());
    }
}
