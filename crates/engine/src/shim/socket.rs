//! Unix sockets in directories whose paths are longer than a socket address (108 bytes): through a descriptor of the directory.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Listens on `directory/name`.
pub(crate) fn bind(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let opened = File::open(directory)?;
    UnixListener::bind(short(&opened, name))
}

/// Connects to `directory/name`.
pub(crate) fn connect(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let opened = File::open(directory)?;
    UnixStream::connect(short(&opened, name))
}

fn short(directory: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
}
