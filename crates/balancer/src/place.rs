//! Where a load balancer stands: an address, in the network namespace that has it.
//!
//! A socket belongs to the namespace that its maker's thread is in, whoever uses it later. So a thread goes into the
//! namespace for as long as it takes to make a socket, without waiting for anything there, and comes back.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sched::{CloneFlags, setns};
use tokio::net::{TcpSocket, TcpStream};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    path: PathBuf,
    file: File,
}

impl Namespace {
    /// The namespace that is pinned at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::open(path)? })
    }

    fn within<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let back = Back(File::open("/proc/thread-self/ns/net")?);
        setns(&self.file, CloneFlags::CLONE_NEWNET)?;
        let done = work();
        drop(back);
        done
    }
}

/// Brings the thread back, also when the work panics.
struct Back(File);

impl Drop for Back {
    fn drop(&mut self) {
        if let Err(error) = setns(&self.0, CloneFlags::CLONE_NEWNET) {
            // What this thread did next would be done in the wrong network.
            tracing::error!(%error, "a thread cannot leave a network namespace");
            std::process::abort();
        }
    }
}

/// An address of a load balancer.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address.
    pub address: IpAddr,
    /// The namespace that has it; `None` is that of this process.
    pub namespace: Option<Arc<Namespace>>,
    /// The availability zone, where it is in one.
    pub zone: Option<Arc<str>>,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        let path = |place: &Self| place.namespace.as_ref().map(|namespace| namespace.path.clone());
        self.address == other.address && self.zone == other.zone && path(self) == path(other)
    }
}

impl Place {
    /// An address of this process's own namespace.
    pub const fn here(address: IpAddr) -> Self {
        Self { address, namespace: None, zone: None }
    }

    /// Makes sockets at this place.
    pub fn within<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match &self.namespace {
            Some(namespace) => namespace.within(work),
            None => work(),
        }
    }

    /// What tells this place's listeners from others'.
    pub(crate) fn key(&self, port: u16) -> (SocketAddr, Option<PathBuf>) {
        let path = self.namespace.as_ref().map(|namespace| namespace.path.clone());
        (SocketAddr::new(self.address, port), path)
    }
}

/// A socket that is to speak to `address` from `origin`.
pub(crate) fn tcp_socket(origin: Option<&Place>, address: SocketAddr) -> io::Result<TcpSocket> {
    let make = || if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    match origin {
        Some(place) => place.within(make),
        None => make(),
    }
}

/// Connects to `address` from `origin`.
pub(crate) async fn connect(origin: Option<&Place>, address: SocketAddr) -> io::Result<TcpStream> {
    tcp_socket(origin, address)?.connect(address).await
}
