//! TCP: each connection of the task to an endpoint of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use balancer::Place;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::endpoints::{Endpoints, Lot};
use crate::http::TRIES_MAXIMUM;
use crate::log::{ConnectionStory, Outcome, flags};
use crate::metrics::Counters;
use crate::pool;

/// Bytes that are copied at a time, each way.
const BUFFER_BYTES: usize = 16 * 1024;

/// Serves a connection until either side ends it, or nothing has moved for too long.
pub(crate) async fn serve(endpoints: Arc<Endpoints>, place: Place, mut client: TcpStream) {
    let _connection = endpoints.counters().connection();
    let story = ConnectionStory::begin(endpoints.log());
    let mut outcome = Outcome::default();
    let moved = connect_and_join(&endpoints, &place, &mut client, &mut outcome).await;
    if let Some(story) = story {
        story.end(moved.0, moved.1, &outcome);
    }
}

/// Gives the bytes that came from the client, and those that went to it.
async fn connect_and_join(
    endpoints: &Endpoints,
    place: &Place,
    client: &mut TcpStream,
    outcome: &mut Outcome,
) -> (u64, u64) {
    let mut lot = Lot::default();
    let mut tried = Vec::new();
    let mut server = loop {
        let found = endpoints.choose(&tried, &mut lot, |_| false).filter(|_| tried.len() < TRIES_MAXIMUM);
        let Some(target) = found else {
            let nobody = tried.is_empty();
            outcome.flags = Some(if nobody { flags::NO_HEALTHY_UPSTREAM } else { flags::CONNECTION_FAILURE });
            return (0, 0);
        };
        outcome.upstream = Some(target.endpoint.address);
        match pool::connect(place, target.endpoint.address).await {
            Ok(stream) => {
                target.succeeded();
                break stream;
            }
            Err(error) => {
                tracing::debug!(%error, address = %target.endpoint.address, "an endpoint cannot be connected to");
                endpoints.connection_failed(&target);
                endpoints.failed(&target);
                endpoints.counters().retried();
                tried.push(target);
            }
        }
    };
    join(endpoints, client, &mut server).await
}

/// Joins a client's connection and an endpoint's until both have ended, or nothing has moved for too long. Gives the bytes from
/// the client, and those to it.
pub(crate) async fn join<C, S>(endpoints: &Endpoints, client: C, server: S) -> (u64, u64)
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (received, sent) = (AtomicU64::new(0), AtomicU64::new(0));
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let counters = endpoints.counters();
    let both = async {
        tokio::join!(
            copy(from_client, to_server, |count| add(&received, counters, count)),
            copy(from_server, to_client, |count| add(&sent, counters, count))
        );
    };
    tokio::select! {
        () = both => {}
        () = still([&received, &sent], endpoints.service().idle_timeout) => {}
    }
    (received.into_inner(), sent.into_inner())
}

fn add(moved: &AtomicU64, counters: &Counters, count: u64) {
    moved.fetch_add(count, Ordering::Relaxed);
    counters.bytes(count);
}

/// Copies until there is nothing more, and says how much there was each time.
pub(crate) async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: impl Fn(u64),
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
        moved(count as u64);
    }
    let _ = to.shutdown().await;
}

/// Ends when nothing has moved for `idle`.
async fn still(moved: [&AtomicU64; 2], idle: Duration) {
    if idle.is_zero() {
        std::future::pending::<()>().await;
    }
    let moved = || moved.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    let mut before = moved();
    loop {
        tokio::time::sleep(idle).await;
        let now = moved();
        if now == before {
            return;
        }
        before = now;
    }
}
