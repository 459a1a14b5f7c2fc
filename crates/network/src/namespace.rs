//! Network namespaces, pinned by a mount on a file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::statfs;
use tokio::sync::oneshot;

use crate::error::NetworkError;
use crate::links::Links;
use crate::sysctl;

/// The file system type of namespace files, NSFS_MAGIC of linux/magic.h.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// A new namespace, open for being set up.
pub(crate) struct NewNamespace {
    /// The namespace itself.
    pub(crate) file: File,
    /// A socket inside.
    pub(crate) links: Links,
}

/// Makes a namespace and pins it to `path`.
///
/// The work is done by a thread that lives only for it: unshare(2) moves the calling thread, and a thread of the runtime
/// would take its next job along into the namespace.
pub(crate) async fn create(path: PathBuf) -> Result<NewNamespace, NetworkError> {
    in_a_thread_of_its_own(move || {
        let failed = |doing| move |error: nix::Error| NetworkError::Namespace { doing, source: error.into() };
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(failed("cannot make a network namespace (are you root?)"))?;
        prepare()?;
        File::create(&path).map_err(|source| NetworkError::file("cannot make", &path, source))?;
        let ours = "/proc/thread-self/ns/net";
        if let Err(error) = mount(Some(ours), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
            let _ = std::fs::remove_file(&path);
            return Err(NetworkError::file("cannot mount a network namespace on", path, error));
        }
        let file = File::open(&path).map_err(|source| NetworkError::file("cannot open", &path, source))?;
        Ok(NewNamespace { file, links: Links::open()? })
    })
    .await
}

/// What a container expects of its namespace: ports below 1024 and ICMP echo without privileges, as Docker gives it.
fn prepare() -> Result<(), NetworkError> {
    sysctl::set("net/ipv4/ip_unprivileged_port_start", "0")?;
    sysctl::set("net/ipv4/ping_group_range", "0 2147483647")
}

/// Runs `work` in a namespace that is gone afterwards.
pub(crate) fn inside_a_scratch_namespace<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let thread = std::thread::Builder::new().name("network-check".to_owned()).spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    })?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

async fn in_a_thread_of_its_own<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let failed = |source| NetworkError::Namespace { doing: "cannot start a thread", source };
    let (answer, answered) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            let _entered = runtime.enter();
            let _ = answer.send(work());
        })
        .map_err(failed)?;
    answered.await.map_err(|error| failed(io::Error::other(error)))?
}

/// Whether `path` pins a namespace.
pub(crate) fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type().0 == NSFS_MAGIC)
}

/// Lets go of the namespace at `path`; it is gone once no process is in it any more.
pub(crate) fn remove(path: &Path) -> Result<(), NetworkError> {
    while is_pinned(path) {
        umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .map_err(|error| NetworkError::file("cannot unmount", path, error))?;
    }
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::file("cannot remove", path, source))
        }
        _ => Ok(()),
    }
}
