//! The shim's program, opened so that no container can write to it.
//!
//! A container's first process runs our own binary for a moment, and `/proc/PID/exe` is a way back to it (CVE-2019-5736). The shims are
//! executed from a read-only overlay without an upper layer, which costs no copy; where the kernel cannot do that, from a sealed copy
//! in memory.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MemFdCreateFlag, memfd_create};

use crate::overlay;

/// A program that can be executed and not written.
#[derive(Debug)]
pub(crate) struct Program(OwnedFd);

impl Program {
    /// Protects `program`; `empty` is an empty directory of ours.
    pub(crate) fn protect(program: &Path, empty: &Path) -> io::Result<Self> {
        let original = File::open(program)?;
        match on_readonly_overlay(program, empty, &original) {
            Ok(protected) => Ok(Self(protected)),
            Err(error) => {
                tracing::debug!(%error, "no read-only overlay of the shim's program; it is copied to memory");
                sealed_copy(original).map(Self)
            }
        }
    }

    /// A path that the engine's children can execute.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

fn on_readonly_overlay(program: &Path, empty: &Path, original: &File) -> io::Result<OwnedFd> {
    let path = std::fs::canonicalize(program)?;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let root = overlay::detached_readonly(directory, empty)?;
    let name = CString::new(name.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `root` is open, `name` a C string.
    let file = unsafe { libc::openat(root.as_raw_fd(), name.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    let file = unsafe { File::from_raw_fd(file) };
    // The program may have been replaced on disk while it runs: then its name means another.
    let (seen, meant) = (file.metadata()?, original.metadata()?);
    if (seen.len(), seen.mtime(), seen.mtime_nsec()) != (meant.len(), meant.mtime(), meant.mtime_nsec()) {
        return Err(io::Error::other("the program was replaced"));
    }
    Ok(file.into())
}

fn sealed_copy(mut original: File) -> io::Result<OwnedFd> {
    let memory =
        memfd_create(c"roadstead-shim", MemFdCreateFlag::MFD_CLOEXEC | MemFdCreateFlag::MFD_ALLOW_SEALING)?;
    let mut memory = File::from(memory);
    io::copy(&mut original, &mut memory)?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: no pointers.
    if unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Executing a file that somebody has open for writing fails (ETXTBSY): open it again for reading only.
    Ok(File::open(format!("/proc/self/fd/{}", memory.as_raw_fd()))?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_protected_program_runs_and_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        std::fs::copy("/bin/busybox", &program).unwrap();
        let empty = directory.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let both = [
            Program::protect(&program, &empty).unwrap(),
            Program(sealed_copy(File::open(&program).unwrap()).unwrap()),
        ];
        for protected in both {
            let output =
                Command::new(protected.path()).arg0("busybox").args(["echo", "hello"]).output().unwrap();
            assert_eq!(output.stdout, b"hello\n");
            let written =
                File::options().write(true).open(protected.path()).and_then(|mut file| file.write(b"x"));
            let error = written.unwrap_err();
            assert!(matches!(error.raw_os_error(), Some(libc::EROFS | libc::EPERM)), "{error}");
        }
    }
}
