//! TCP: each connection of the task to an endpoint of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use balancer::Place;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::endpoints::Endpoints;
use crate::http::TRIES_MAXIMUM;
use crate::pool;

/// Bytes that are copied at a time, each way.
const BUFFER_BYTES: usize = 16 * 1024;

/// Serves a connection until either side ends it, or nothing has moved for too long.
pub(crate) async fn serve(endpoints: Arc<Endpoints>, place: Place, mut client: TcpStream) {
    let _connection = endpoints.counters().connection();
    let mut tried = Vec::new();
    let mut server = loop {
        let Some(target) = endpoints.choose(&tried).filter(|_| tried.len() < TRIES_MAXIMUM) else { return };
        match pool::connect(&place, target.endpoint.address).await {
            Ok(stream) => {
                target.succeeded();
                break stream;
            }
            Err(error) => {
                tracing::debug!(%error, address = %target.endpoint.address, "an endpoint cannot be connected to");
                endpoints.counters().connection_error();
                endpoints.failed(&target);
                endpoints.counters().retried();
                tried.push(target);
            }
        }
    };
    join(&endpoints, &mut client, &mut server).await;
}

/// Joins a client's connection and an endpoint's until both have ended, or nothing has moved for too long.
pub(crate) async fn join<C, S>(endpoints: &Endpoints, client: C, server: S)
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let moved = Moved { endpoints, count: AtomicU64::new(0) };
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let both = async {
        tokio::join!(copy(from_client, to_server, &moved), copy(from_server, to_client, &moved));
    };
    tokio::select! {
        () = both => {}
        () = still(&moved.count, endpoints.service().idle_timeout) => {}
    }
}

/// Bytes that went through.
struct Moved<'a> {
    endpoints: &'a Endpoints,
    count: AtomicU64,
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, moved: &Moved<'_>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
        moved.count.fetch_add(count as u64, Ordering::Relaxed);
        moved.endpoints.counters().bytes(count as u64);
    }
    let _ = to.shutdown().await;
}

/// Ends when nothing has moved for `idle`.
async fn still(moved: &AtomicU64, idle: Duration) {
    if idle.is_zero() {
        std::future::pending::<()>().await;
    }
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(idle).await;
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}
