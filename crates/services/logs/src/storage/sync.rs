//! Brings written events to the disk, a bounded time after they were acknowledged.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What was written to and is not known to be on disk.
#[derive(Debug, Default)]
struct Dirty {
    /// By descriptor, so that a file stands here once.
    files: HashMap<i32, Arc<File>>,
    /// Directories in which files were made.
    directories: BTreeSet<PathBuf>,
    stop: bool,
}

#[derive(Debug, Default)]
struct Shared {
    dirty: Mutex<Dirty>,
    changed: Condvar,
}

/// A thread that syncs what is dirty, at intervals, and sleeps while nothing is.
#[derive(Debug)]
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// One that syncs within `interval`.
    pub(crate) fn start(interval: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let work = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("logs-sync".to_owned()).spawn(move || work.run(interval))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// One that does nothing by itself: files are synced before the acknowledgement.
    pub(crate) fn none() -> Self {
        Self { shared: Arc::default(), thread: None }
    }

    /// `file` was written to.
    pub(crate) fn file(&self, file: &Arc<File>) {
        let mut dirty = self.shared.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let wake = dirty.files.is_empty();
        dirty.files.entry(file.as_raw_fd()).or_insert_with(|| Arc::clone(file));
        drop(dirty);
        if wake {
            self.shared.changed.notify_one();
        }
    }

    /// Files were made or removed in `directory`.
    pub(crate) fn directory(&self, directory: PathBuf) {
        self.shared.dirty.lock().unwrap_or_else(PoisonError::into_inner).directories.insert(directory);
    }

    /// Syncs what is dirty now.
    pub(crate) fn sync_now(&self) -> io::Result<()> {
        self.shared.sync_all()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.dirty.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.changed.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that syncs log events panicked");
        }
    }
}

impl Shared {
    fn run(&self, interval: Duration) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while dirty.files.is_empty() && !dirty.stop {
                dirty = self.changed.wait(dirty).unwrap_or_else(PoisonError::into_inner);
            }
            // Half of the time to gather, the other half to sync.
            dirty = self
                .changed
                .wait_timeout_while(dirty, interval / 2, |dirty| !dirty.stop)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            let stop = dirty.stop;
            drop(dirty);
            if let Err(error) = self.sync_all() {
                tracing::error!(%error, "log events cannot be brought to the disk");
            }
            if stop {
                return;
            }
            dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        let (files, directories) = {
            let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut dirty.files), std::mem::take(&mut dirty.directories))
        };
        let mut outcome = Ok(());
        for file in files.values() {
            outcome = outcome.and(file.sync_data());
        }
        for directory in directories {
            match File::open(directory).and_then(|directory| directory.sync_all()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => outcome = outcome.and(Err(error)),
                _ => {}
            }
        }
        outcome
    }
}
