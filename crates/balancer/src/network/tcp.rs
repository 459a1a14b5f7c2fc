//! TCP and TLS listeners of a Network Load Balancer.
//!
//! The client's address is preserved where the group asks for it and the machine allows it: the connection to the target is
//! made from the client's own address and port (IP_TRANSPARENT, `Documentation/networking/tproxy.rst`), which works where
//! the target's answers pass through this machine. Where it cannot be done, and for clients on this very machine, the
//! connection comes from the balancer's address.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::{can_be_preserved, group_of, member_of};
use crate::balancer::{Running, Shared};
use crate::configuration::{GroupProtocol, TargetGroup};
use crate::group::{Group, Member};
use crate::{place, tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Targets that are tried for one connection.
const TRIES: usize = 3;

/// Serves one accepted connection to its end.
pub async fn serve(shared: Arc<Shared>, running: Arc<Running>, stream: TcpStream, client: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let state = running.state();
    let Ok(local) = stream.local_addr() else { return };
    let Some(config) = state.tls.clone() else {
        forward(&shared, &running, stream, client, local).await;
        return;
    };
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        forward(&shared, &running, stream, client, local).await;
    }
}

async fn forward<T>(shared: &Shared, running: &Running, mut stream: T, client: SocketAddr, local: SocketAddr)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let state = running.state();
    let Some(group) = group_of(shared, &state.listener) else { return };
    let settings = group.configuration();
    for _ in 0..TRIES {
        let Some(outstanding) = member_of(&group, &state, client, local) else { return };
        let member = Arc::clone(outstanding.member());
        let Some(mut target) = connect(&group, &settings, &member, client).await else { continue };
        if settings.proxy_protocol_v2 && target.write_all(&proxy_header(client, local)).await.is_err() {
            return;
        }
        let timeout = state.listener.tcp_idle_timeout;
        tokio::select! {
            () = copy(&settings, &member, &mut stream, target, timeout) => {}
            () = member.cut_off() => {}
        }
        drop(outstanding);
        return;
    }
}

async fn copy<T>(
    settings: &TargetGroup,
    member: &Member,
    client: &mut T,
    target: TcpStream,
    timeout: Duration,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    if settings.protocol == GroupProtocol::Tls {
        let connector = tokio_rustls::TlsConnector::from(tls::target_config(&[]));
        let name = rustls::pki_types::ServerName::IpAddress(member.address.ip().into());
        if let Ok(Ok(mut target)) =
            tokio::time::timeout(HANDSHAKE_TIMEOUT, connector.connect(name, target)).await
        {
            both_ways(client, &mut target, timeout).await;
        }
    } else {
        let mut target = target;
        both_ways(client, &mut target, timeout).await;
    }
}

/// Copies in both directions until both ended, one failed, or nothing moved for `timeout`.
async fn both_ways<A, B>(client: &mut A, target: &mut B, timeout: Duration)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut watched = crate::application::idle_stream(target, timeout);
    let _ = tokio::io::copy_bidirectional(client, &mut watched).await;
}

async fn connect(
    group: &Group,
    settings: &TargetGroup,
    member: &Member,
    client: SocketAddr,
) -> Option<TcpStream> {
    let origin = group.origin();
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    if settings.preserve_client_ip
        && client.is_ipv4() == member.address.is_ipv4()
        && can_be_preserved(client.ip(), member.address.ip())
        && let Some(socket) = transparent(client)
        && let Ok(Ok(stream)) = tokio::time::timeout_at(deadline, socket.connect(member.address)).await
    {
        let _ = stream.set_nodelay(true);
        return Some(stream);
    }
    let stream = tokio::time::timeout_at(deadline, place::connect(origin.as_ref(), member.address))
        .await
        .ok()?
        .ok()?;
    let _ = stream.set_nodelay(true);
    Some(stream)
}

/// A socket that speaks from the client's address; `None` without the right to (CAP_NET_ADMIN).
fn transparent(client: SocketAddr) -> Option<TcpSocket> {
    let socket = if client.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
    setsockopt(&socket.as_fd(), sockopt::IpTransparent, &true).ok()?;
    socket.set_reuseaddr(true).ok()?;
    socket.bind(client).ok()?;
    Some(socket)
}

/// The header of the PROXY protocol, version 2, for a TCP connection.
pub fn proxy_header(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let mut header = SIGNATURE.to_vec();
    header.push(0x21);
    let mut addresses = Vec::new();
    match (client, local) {
        (SocketAddr::V4(client), SocketAddr::V4(local)) => {
            header.push(0x11);
            addresses.extend_from_slice(&client.ip().octets());
            addresses.extend_from_slice(&local.ip().octets());
        }
        (client, local) => {
            let wide = |address: SocketAddr| match address.ip() {
                std::net::IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                std::net::IpAddr::V6(address) => address.octets(),
            };
            header.push(0x21);
            addresses.extend_from_slice(&wide(client));
            addresses.extend_from_slice(&wide(local));
        }
    }
    addresses.extend_from_slice(&client.port().to_be_bytes());
    addresses.extend_from_slice(&local.port().to_be_bytes());
    header.extend_from_slice(&u16::try_from(addresses.len()).unwrap_or_default().to_be_bytes());
    header.extend_from_slice(&addresses);
    header
}
