//! Published ports at the host's IPv6 addresses. Containers have no such address, and the kernel does not translate one kind
//! to the other: so what comes by `[::]:port` is passed on by this process, as Docker's proxy does, and the container sees its
//! gateway. It is there as long as this process is; what comes by IPv4 is the kernel's (see `port_rules`).

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::host_ports::Protocol;

/// Connections of one port at a time. Ours.
const CONNECTIONS_MAXIMUM: usize = 1024;
/// Clients of one UDP port at a time; those of more are not heard. Ours.
const CLIENTS_MAXIMUM: usize = 1024;
/// How long a UDP client's way back stays without an answer. Docker's.
const CLIENT_IDLE: Duration = Duration::from_secs(90);
/// How long a container may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the largest datagram.
const DATAGRAM_BYTES: usize = 65_536;
/// How long to wait after a socket failed, so that a failing one does not spin.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// A port that is passed on. Dropped, it and its connections are gone.
#[derive(Debug)]
pub(crate) struct PassedOn {
    _running: JoinSet<()>,
}

/// Passes on what comes to `socket`, which is bound and not yet listening, to a container.
pub(crate) fn pass_on(socket: OwnedFd, protocol: Protocol, to: SocketAddrV4) -> io::Result<PassedOn> {
    let mut running = JoinSet::new();
    match protocol {
        Protocol::Tcp => {
            nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::MAXCONN)?;
            let listener = TcpListener::from_std(socket.into())?;
            running.spawn(connections(listener, to));
        }
        Protocol::Udp => {
            let socket = UdpSocket::from_std(socket.into())?;
            running.spawn(datagrams(Arc::new(socket), to));
        }
    }
    Ok(PassedOn { _running: running })
}

async fn connections(listener: TcpListener, to: SocketAddrV4) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAXIMUM));
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((mut client, _)) => {
                running.spawn(async move {
                    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to));
                    if let Ok(Ok(mut container)) = connecting.await {
                        let (_, _) = (client.set_nodelay(true), container.set_nodelay(true));
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut container).await;
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a published port's IPv6 listener failed");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// Each client has a socket of its own towards the container, by which the answers find back.
async fn datagrams(socket: Arc<UdpSocket>, to: SocketAddrV4) {
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, JoinSet<()>)> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "a published port's IPv6 socket failed");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        clients.retain(|_, (_, answers)| answers.try_join_next().is_none());
        if !clients.contains_key(&client) && clients.len() < CLIENTS_MAXIMUM {
            let Ok(towards) = towards(to).await else { continue };
            let mut answers = JoinSet::new();
            answers.spawn(answer(Arc::clone(&towards), Arc::clone(&socket), client));
            clients.insert(client, (towards, answers));
        }
        if let Some((towards, _)) = clients.get(&client) {
            // Who gets no answer asks again.
            let _ = towards.send(&buffer[..length]).await;
        }
    }
}

async fn towards(to: SocketAddrV4) -> io::Result<Arc<UdpSocket>> {
    let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(to).await?;
    Ok(Arc::new(socket))
}

async fn answer(from: Arc<UdpSocket>, back: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    while let Ok(Ok(length)) = tokio::time::timeout(CLIENT_IDLE, from.recv(&mut buffer)).await {
        let _ = back.send_to(&buffer[..length], client).await;
    }
}
