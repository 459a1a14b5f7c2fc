//! Connections to an endpoint: made in the task's namespace, kept, lent.
//!
//! An HTTP/1.1 connection is lent to one request at a time; an HTTP/2 connection is shared. A request that goes to a kept
//! connection which its endpoint has closed meanwhile comes back whole.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use balancer::Place;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::configuration::AppProtocol;
use crate::http::RequestBody;

/// Time for a connection. Source: Envoy, `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/1.1 connections kept for one endpoint by one task.
const IDLE_MAXIMUM: usize = 64;
/// How long one is kept unused: less than what common servers keep theirs for.
const IDLE_LIFE: Duration = Duration::from_secs(55);

pub(crate) type Http1 = http1::SendRequest<RequestBody>;
type Http2 = http2::SendRequest<RequestBody>;

/// Connections to one endpoint that wait for use.
#[derive(Default)]
pub(crate) struct Pool {
    http1: Mutex<Vec<(Http1, Instant)>>,
    http2: Mutex<Option<Http2>>,
}

/// A connection to send a request over.
pub(crate) enum Lent {
    /// And whether it was kept, so that its endpoint may have closed it.
    Http1(Http1, bool),
    Http2(Http2, bool),
}

impl Pool {
    /// Closes what waits.
    pub(crate) fn clear(&self) {
        self.http1.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.http2.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A kept connection, or a new one.
    pub(crate) async fn lend(
        &self,
        place: &Place,
        address: SocketAddr,
        protocol: AppProtocol,
    ) -> std::io::Result<Lent> {
        if protocol == AppProtocol::Http {
            return match self.take() {
                Some(kept) => Ok(Lent::Http1(kept, true)),
                None => Ok(Lent::Http1(http1(place, address).await?, false)),
            };
        }
        let kept = self.http2.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| !kept.is_closed()) {
            return Ok(Lent::Http2(kept, true));
        }
        let made = http2(place, address).await?;
        *self.http2.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(Lent::Http2(made, false))
    }

    fn take(&self) -> Option<Http1> {
        let mut idle = self.http1.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((sender, since)) = idle.pop() {
            if since.elapsed() < IDLE_LIFE && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end.
    pub(crate) fn give_back(&self, sender: Http1) {
        let mut idle = self.http1.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < IDLE_MAXIMUM {
            idle.push((sender, Instant::now()));
        }
    }
}

/// Connects from the task's own network.
pub(crate) async fn connect(place: &Place, address: SocketAddr) -> std::io::Result<TcpStream> {
    let make = || if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = place.within(make)?;
    let timed_out = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let stream =
        tokio::time::timeout(CONNECT_TIMEOUT, socket.connect(address)).await.map_err(timed_out)??;
    // Small writes must not wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn http1(place: &Place, address: SocketAddr) -> std::io::Result<Http1> {
    let io = TokioIo::new(connect(place, address).await?);
    let (sender, connection) = http1::Builder::new().handshake(io).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

async fn http2(place: &Place, address: SocketAddr) -> std::io::Result<Http2> {
    let io = TokioIo::new(connect(place, address).await?);
    let builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(io).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
