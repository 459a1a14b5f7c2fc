//! Waiting for many spools at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::layout;

/// One watched spool. Ids are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(WatchDescriptor);

/// One inotify(7) instance for the spools of all containers: a user has 128 instances by default, but many watches.
#[derive(Debug)]
pub struct Watcher(Inotify);

impl Watcher {
    /// A watcher of nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?))
    }

    /// Watches the spool in `directory` for new records and for the end of its writer. The directory is made where it is
    /// missing. What came before is not told: look at the spool once after this.
    pub fn add(&self, directory: &Path) -> io::Result<WatchId> {
        layout::create_directories(directory)?;
        let flags = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        Ok(WatchId(self.0.add_watch(&layout::records_directory(directory), flags)?))
    }

    /// Watches no longer. A directory that is gone already is no error.
    pub fn remove(&self, id: WatchId) {
        let _ = self.0.rm_watch(id.0);
    }

    /// The spools where something happened, each once; empty where nothing did. `None` stands for "any": events were lost.
    pub fn changed(&self) -> io::Result<Option<Vec<WatchId>>> {
        let mut ids = Vec::new();
        loop {
            match self.0.read_events() {
                Ok(events) => {
                    for event in events {
                        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                            return Ok(None);
                        }
                        ids.push(WatchId(event.wd));
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }
}

impl AsFd for Watcher {
    /// Readable when [`Watcher::changed`] has something to tell.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::os::fd::AsRawFd for Watcher {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.as_fd())
    }
}
