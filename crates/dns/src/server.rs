//! [`Server`]: the sockets. UDP and TCP on each address, with bounds on everything that others decide.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::limits::{
    CONNECTION_IDLE, CONNECTIONS_MAXIMUM, CONNECTIONS_OF_ONE, PACKETS_PER_SECOND, SOURCES_COUNTED,
    WAITING_MAXIMUM,
};
use crate::message::{Question, Reply, Unreadable, read_question};
use crate::resolver::{Resolver, Step};

/// Bytes of a datagram that is read: a question is far shorter.
const QUESTION_BYTES_MAXIMUM: usize = 4096;
/// Threads of the runtime that read one socket.
const READERS: usize = 2;
/// How long to wait after a socket failed, so that a failing one does not spin.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot answer DNS on {address}")]
pub struct ServerError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The sockets of one address. Dropped, it stops.
pub struct Server {
    address: SocketAddr,
    _running: JoinSet<()>,
}

/// What all sockets of an address share.
struct Shared {
    resolver: Resolver,
    /// Questions that wait for upstream.
    waiting: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    sources: Mutex<Sources>,
}

/// How much each asker has asked.
#[derive(Default)]
struct Sources {
    second: Option<Instant>,
    packets: HashMap<IpAddr, u32>,
    connections: HashMap<IpAddr, usize>,
}

impl Server {
    /// Listens on an address, over UDP and TCP on the same port (0: any that is free for both).
    pub async fn start(resolver: Resolver, address: SocketAddr) -> Result<Self, ServerError> {
        let failed = |source| ServerError { address, source };
        let (datagrams, streams) = bind(address).await.map_err(failed)?;
        let address = datagrams.local_addr().map_err(failed)?;
        resolver.is_served_at(address);
        let shared = Arc::new(Shared {
            resolver,
            waiting: Arc::new(Semaphore::new(WAITING_MAXIMUM)),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAXIMUM)),
            sources: Mutex::default(),
        });
        let mut running = JoinSet::new();
        let datagrams = Arc::new(datagrams);
        for _ in 0..READERS {
            running.spawn(read_datagrams(Arc::clone(&shared), Arc::clone(&datagrams)));
        }
        running.spawn(accept(shared, streams));
        Ok(Self { address, _running: running })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    const TRIES: usize = 16;
    let mut tried = 0;
    loop {
        let datagrams = UdpSocket::bind(address).await?;
        match TcpListener::bind(datagrams.local_addr()?).await {
            Ok(streams) => return Ok((datagrams, streams)),
            // A port that is free for UDP may be taken for TCP.
            Err(_) if address.port() == 0 && tried < TRIES => tried += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn read_datagrams(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; QUESTION_BYTES_MAXIMUM];
    loop {
        let (length, source) = match socket.recv_from(&mut buffer).await {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(%error, "a DNS socket failed");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        if !shared.admits_packet(source.ip()) {
            continue;
        }
        let question = match read_question(&buffer[..length]) {
            Ok(question) => question,
            Err(Unreadable::Ignored) => continue,
            Err(Unreadable::Refused(reply)) => {
                let _ = socket.send_to(&reply, source).await;
                continue;
            }
        };
        match shared.resolver.begin(source.ip(), &question) {
            Step::Done(reply) => send(&socket, source, &question, reply).await,
            Step::Later(pending) => {
                let Ok(permit) = Arc::clone(&shared.waiting).try_acquire_owned() else {
                    send(&socket, source, &question, Reply::of(ResponseCode::ServFail)).await;
                    continue;
                };
                let (resolver, socket) = (shared.resolver.clone(), Arc::clone(&socket));
                tokio::spawn(async move {
                    let reply = resolver.finish(pending).await;
                    send(&socket, source, &question, reply).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, to: SocketAddr, question: &Question, reply: Reply) {
    let bytes = question.write(reply, question.datagram_bytes());
    // Who does not get it asks again.
    let _ = socket.send_to(&bytes, to).await;
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&shared.connections).acquire_owned().await else { return };
        let (stream, source) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a DNS listener failed");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        if !shared.admits_connection(source.ip()) {
            continue;
        }
        let shared = Arc::clone(&shared);
        running.spawn(async move {
            let _ = converse(&shared, stream, source.ip()).await;
            shared.connection_ended(source.ip());
            drop(permit);
        });
    }
}

/// Answers the questions of one connection, one after the other. Source: RFC 7766.
async fn converse(shared: &Shared, mut stream: TcpStream, source: IpAddr) -> io::Result<()> {
    loop {
        let Ok(read) = tokio::time::timeout(CONNECTION_IDLE, read_framed(&mut stream)).await else {
            return Ok(());
        };
        let bytes = read?;
        if !shared.admits_packet(source) {
            return Ok(());
        }
        let reply = match read_question(&bytes) {
            Err(Unreadable::Ignored) => return Ok(()),
            Err(Unreadable::Refused(reply)) => reply,
            Ok(question) => {
                let reply = match shared.resolver.begin(source, &question) {
                    Step::Done(reply) => reply,
                    Step::Later(pending) => match shared.waiting.try_acquire() {
                        Ok(_permit) => shared.resolver.finish(pending).await,
                        Err(_) => Reply::of(ResponseCode::ServFail),
                    },
                };
                question.write(reply, u16::MAX)
            }
        };
        let length = u16::try_from(reply.len()).unwrap_or_default();
        let framed = [&length.to_be_bytes()[..], &reply].concat();
        match tokio::time::timeout(CONNECTION_IDLE, stream.write_all(&framed)).await {
            Ok(written) => written?,
            Err(_) => return Ok(()),
        }
    }
}

async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    if usize::from(length) > QUESTION_BYTES_MAXIMUM {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

impl Shared {
    fn sources(&self) -> std::sync::MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a packet; the host's own are not.
    fn admits_packet(&self, source: IpAddr) -> bool {
        if source.is_loopback() {
            return true;
        }
        let mut sources = self.sources();
        // Seconds of the wall are of no interest here: only how many packets came since the last beginning.
        let now = Instant::now();
        if sources.second.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            sources.second = Some(now);
            sources.packets.clear();
        }
        if sources.packets.len() >= SOURCES_COUNTED && !sources.packets.contains_key(&source) {
            return false;
        }
        let packets = sources.packets.entry(source).or_default();
        *packets += 1;
        *packets <= PACKETS_PER_SECOND
    }

    fn admits_connection(&self, source: IpAddr) -> bool {
        let mut sources = self.sources();
        let connections = sources.connections.entry(source).or_default();
        if *connections >= CONNECTIONS_OF_ONE {
            return false;
        }
        *connections += 1;
        true
    }

    fn connection_ended(&self, source: IpAddr) {
        let mut sources = self.sources();
        if let Some(connections) = sources.connections.get_mut(&source) {
            *connections -= 1;
            if *connections == 0 {
                sources.connections.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ResolverConfig, UpstreamServers};
    use base::{Scope, SeededIds, SystemClock};
    use store::{Options, Store, rows};

    #[test]
    fn one_asker_cannot_take_what_others_need() {
        let resolver = Resolver::new(ResolverConfig {
            store: Store::ephemeral(rows::register(Options::ephemeral())),
            scope: Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap()),
            upstream: UpstreamServers::Fixed(Vec::new()),
            ids: Arc::new(SeededIds::new(1)),
            clock: Arc::new(SystemClock),
        });
        let shared = Shared {
            resolver,
            waiting: Arc::new(Semaphore::new(1)),
            connections: Arc::new(Semaphore::new(1)),
            sources: Mutex::default(),
        };
        let (loud, quiet) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        // The second begins anew with the first packet, so that a slow machine counts too few, never too many.
        let admitted = (0..10 * PACKETS_PER_SECOND).filter(|_| {
            shared.sources().second = Some(Instant::now());
            shared.admits_packet(loud)
        });
        assert_eq!(admitted.count(), PACKETS_PER_SECOND as usize);
        assert!(shared.admits_packet(quiet));
        assert!(!shared.admits_packet(loud) || shared.sources().packets[&loud] == 1);
        let connections = (0..100).filter(|_| shared.admits_connection(loud)).count();
        assert_eq!(connections, CONNECTIONS_OF_ONE);
        assert!(shared.admits_connection(quiet));
        shared.connection_ended(loud);
        assert!(shared.admits_connection(loud) && !shared.admits_connection(loud));
    }
}
