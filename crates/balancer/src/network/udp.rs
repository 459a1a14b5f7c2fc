//! UDP listeners of a Network Load Balancer: datagrams of one client port are a flow, and a flow stays with its target.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::{can_be_preserved, group_of, member_of};
use crate::balancer::{Running, Shared};
use crate::group::{Member, Outstanding};

/// A flow ends after so long without a datagram, as documented (120 seconds).
const FLOW_TIMEOUT: Duration = Duration::from_secs(120);
/// Flows of one listener; datagrams of further ones are dropped.
const FLOWS_MAXIMUM: usize = 65_536;
/// Bytes of a datagram at most.
const DATAGRAM_BYTES: usize = 65_535;

/// Serves a listener.
pub async fn serve(shared: Arc<Shared>, running: Arc<Running>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let Ok(local) = socket.local_addr() else { return };
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let (ended, mut endings) = mpsc::unbounded_channel::<SocketAddr>();
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        tokio::select! {
            biased;
            Some(client) = endings.recv() => { flows.remove(&client); }
            received = socket.recv_from(&mut datagram) => {
                let Ok((bytes, client)) = received else { continue };
                let target = match flows.get(&client) {
                    Some(target) => Arc::clone(target),
                    None if flows.len() >= FLOWS_MAXIMUM => continue,
                    None => {
                        let Some(flow) = open(&shared, &running, client, local).await else { continue };
                        flows.insert(client, Arc::clone(&flow.target));
                        let (target, answers, ended) = (Arc::clone(&flow.target), Arc::clone(&socket), ended.clone());
                        tokio::spawn(async move {
                            answer(flow, &answers, client).await;
                            let _ = ended.send(client);
                        });
                        target
                    }
                };
                let _ = target.send(&datagram[..bytes]).await;
            }
        }
    }
}

struct Flow {
    target: Arc<UdpSocket>,
    member: Arc<Member>,
    _outstanding: Outstanding,
}

async fn open(shared: &Shared, running: &Running, client: SocketAddr, local: SocketAddr) -> Option<Flow> {
    let state = running.state();
    if !state.admits(client, false) {
        return None;
    }
    let group = group_of(shared, &state.listener)?;
    let outstanding = member_of(&group, &state, client, local)?;
    let member = Arc::clone(outstanding.member());
    let preserved = group.configuration().preserve_client_ip
        && client.is_ipv4() == member.address.is_ipv4()
        && can_be_preserved(client.ip(), member.address.ip());
    let socket = match preserved.then(|| transparent(client)).flatten() {
        Some(socket) => socket,
        None => {
            let any: IpAddr =
                if client.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let make = || {
                let socket = std::net::UdpSocket::bind((any, 0))?;
                socket.set_nonblocking(true)?;
                UdpSocket::from_std(socket)
            };
            group.origin().map_or_else(make, |place| place.within(make)).ok()?
        }
    };
    socket.connect(member.address).await.ok()?;
    Some(Flow { target: Arc::new(socket), member, _outstanding: outstanding })
}

/// A socket that speaks from the client's address; `None` without the right to (CAP_NET_ADMIN).
fn transparent(client: SocketAddr) -> Option<UdpSocket> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, socket};
    let family = if client.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Datagram, flags, None).ok()?;
    setsockopt(&socket.as_fd(), sockopt::IpTransparent, &true).ok()?;
    setsockopt(&socket.as_fd(), sockopt::ReuseAddr, &true).ok()?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(client)).ok()?;
    UdpSocket::from_std(std::net::UdpSocket::from(socket)).ok()
}

/// Sends the target's datagrams to the client until the flow ends.
async fn answer(flow: Flow, socket: &UdpSocket, client: SocketAddr) {
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        tokio::select! {
            biased;
            () = flow.member.cut_off() => return,
            received = tokio::time::timeout(FLOW_TIMEOUT, flow.target.recv(&mut datagram)) => match received {
                Ok(Ok(bytes)) => { let _ = socket.send_to(&datagram[..bytes], client).await; }
                // A target that refuses says so by ICMP: the flow starts anew, maybe elsewhere.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
}
