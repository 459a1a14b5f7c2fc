//! Ports of the host that containers of network mode `bridge` are published at: who has which, and which are free.
//!
//! A port is held by a socket that is bound to it on loopback and never listens: other programs of the host find it in use, and
//! it finds theirs. Ports of ranges are looked at alike when they are taken, and not held: a range may have thousands.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind, setsockopt, socket,
    sockopt,
};
use serde::{Deserialize, Serialize};

use crate::error::NetworkError;
use crate::ipv6_ports::{self, PassedOn};
use crate::sysctl;

/// First and last port that are given where none is asked for, if the kernel's range cannot be read. Source: AWS, PortMapping
/// data type, `hostPort`.
const EPHEMERAL_DEFAULT: (u16, u16) = (49_153, 65_535);

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host.
pub type HostPort = (Protocol, u16);

/// Ports that a container is to be reached at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortWish {
    /// Of all of them.
    pub protocol: Protocol,
    /// First and last port in the container.
    pub container: (u16, u16),
    /// First port on the host; `None` is any.
    pub host: Option<u16>,
}

/// Ports that a container is reached at: as many on the host as in it, in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPorts {
    /// Of all of them.
    pub protocol: Protocol,
    /// First and last port in the container.
    pub container: (u16, u16),
    /// First and last port on the host.
    pub host: (u16, u16),
    /// Whether the port on the host was asked for by number.
    pub fixed: bool,
}

impl PublishedPorts {
    /// Each port in the container, with its port on the host.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u16)> + use<> {
        (self.container.0..=self.container.1).zip(self.host.0..=self.host.1)
    }

    fn on_host(&self) -> impl Iterator<Item = HostPort> + use<> {
        let protocol = self.protocol;
        (self.host.0..=self.host.1).map(move |port| (protocol, port))
    }
}

/// What holds a port.
#[derive(Debug)]
#[allow(dead_code)] // two of them are only kept
struct Held {
    loopback: OwnedFd,
    /// At all IPv6 addresses, where the machine has any: first bound alone, then passed on to the container.
    ipv6: Option<OwnedFd>,
    passed_on: Option<PassedOn>,
}

/// Who has which port.
#[derive(Debug, Default)]
pub(crate) struct HostPorts {
    /// Each published port, with what holds it.
    taken: BTreeMap<HostPort, Option<Held>>,
    /// Where the last search ended: a port is not given again at once.
    last: u16,
}

impl HostPorts {
    /// Finds ports for all wishes, none of them in `avoid` unless it is asked for by number. On an error nothing is taken.
    pub(crate) fn take(
        &mut self,
        wishes: &[PortWish],
        avoid: &BTreeSet<HostPort>,
    ) -> Result<Vec<PublishedPorts>, NetworkError> {
        let mut found = Vec::with_capacity(wishes.len());
        // Those that are asked for by number first: what is found for the others must leave them free.
        let (fixed, any): (Vec<_>, Vec<_>) = wishes.iter().partition(|wish| wish.host.is_some());
        for wish in fixed.iter().chain(&any) {
            match self.take_one(wish, avoid) {
                Ok(ports) => found.push(ports),
                Err(error) => {
                    self.give_back(&found);
                    return Err(error);
                }
            }
        }
        let place = |ports: &PublishedPorts| {
            wishes
                .iter()
                .position(|wish| (wish.protocol, wish.container) == (ports.protocol, ports.container))
        };
        found.sort_by_key(place);
        Ok(found)
    }

    /// Notes ports as taken that an earlier process has published.
    pub(crate) fn take_again(&mut self, ports: &PublishedPorts) {
        let is_range = ports.container.0 != ports.container.1;
        for (protocol, port) in ports.on_host() {
            let held = if is_range { Ok(None) } else { hold(protocol, port).map(Some) };
            let held = held.unwrap_or_else(|error| {
                tracing::warn!(port, %error, "a published port was taken by another program meanwhile");
                None
            });
            self.taken.insert((protocol, port), held);
        }
    }

    /// Passes on to a container what comes to its ports by IPv6.
    pub(crate) fn pass_on(&mut self, ports: &PublishedPorts, address: Ipv4Addr) {
        for (container, host) in ports.pairs() {
            let Some(Some(held)) = self.taken.get_mut(&(ports.protocol, host)) else { continue };
            let Some(socket) = held.ipv6.take() else { continue };
            match ipv6_ports::pass_on(socket, ports.protocol, SocketAddrV4::new(address, container)) {
                Ok(passed_on) => held.passed_on = Some(passed_on),
                Err(error) => tracing::warn!(port = host, %error, "a port is not published by IPv6"),
            }
        }
    }

    /// Frees ports.
    pub(crate) fn give_back(&mut self, ports: &[PublishedPorts]) {
        for port in ports.iter().flat_map(PublishedPorts::on_host) {
            self.taken.remove(&port);
        }
    }

    fn take_one(
        &mut self,
        wish: &PortWish,
        avoid: &BTreeSet<HostPort>,
    ) -> Result<PublishedPorts, NetworkError> {
        let more = wish.container.1.saturating_sub(wish.container.0);
        let ports = |first: u16| PublishedPorts {
            protocol: wish.protocol,
            container: wish.container,
            host: (first, first.saturating_add(more)),
            fixed: wish.host.is_some(),
        };
        if let Some(first) = wish.host {
            let ports = ports(first);
            if let Some((_, port)) = ports.on_host().find(|port| self.taken.contains_key(port)) {
                return Err(NetworkError::PortAllocated(port));
            }
            self.hold_all(&ports)?;
            return Ok(ports);
        }
        let (least, most) = ephemeral_ports();
        let Some(top) = most.checked_sub(more).filter(|top| *top >= least) else {
            return Err(NetworkError::NoFreePort);
        };
        let count = u32::from(top - least) + 1;
        let start = u32::from(self.last.saturating_add(1).clamp(least, top) - least);
        let mut skip = 0;
        while skip < count {
            let first = least + ((start + skip) % count) as u16;
            let ports = ports(first);
            let blocked =
                ports.on_host().filter(|port| avoid.contains(port) || self.taken.contains_key(port)).last();
            let blocked = match blocked {
                Some((_, port)) => Some(port),
                None => match self.hold_all(&ports) {
                    Ok(()) => {
                        self.last = ports.host.1;
                        return Ok(ports);
                    }
                    Err(NetworkError::PortInUse { port, .. }) => Some(port),
                    Err(error) => return Err(error),
                },
            };
            // On behind the port that is in the way.
            skip += blocked.map_or(1, |port| u32::from(port.saturating_sub(first)) + 1);
        }
        Err(NetworkError::NoFreePort)
    }

    fn hold_all(&mut self, ports: &PublishedPorts) -> Result<(), NetworkError> {
        let is_range = ports.container.0 != ports.container.1;
        let mut held = Vec::new();
        for (protocol, port) in ports.on_host() {
            let socket = hold(protocol, port).map_err(|error| match error {
                Errno::EADDRINUSE => NetworkError::PortInUse { protocol, port },
                error => NetworkError::Port { port, source: error.into() },
            })?;
            held.push(((protocol, port), (!is_range).then_some(socket)));
        }
        self.taken.extend(held);
        Ok(())
    }
}

/// First and last port for those who ask for none.
fn ephemeral_ports() -> (u16, u16) {
    let read = || {
        let text = sysctl::get("net/ipv4/ip_local_port_range").ok()?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u16>);
        let (least, most) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (least > 0 && least <= most).then_some((least, most))
    };
    read().unwrap_or(EPHEMERAL_DEFAULT)
}

/// Binds a port of loopback, and of all IPv6 addresses. Whoever listens at all addresses has it too; a load balancer at an address of
/// its own has not.
fn hold(protocol: Protocol, port: u16) -> nix::Result<Held> {
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let loopback = match bound(protocol, AddressFamily::Inet, &address, false) {
        // Connections that are over keep a port for a minute, unless it is taken in this way.
        Err(Errno::EADDRINUSE) if protocol == Protocol::Tcp => {
            bound(protocol, AddressFamily::Inet, &address, true)?
        }
        bound => bound?,
    };
    let address = SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0));
    // A socket that listens is found out all the same.
    let ipv6 = match bound(protocol, AddressFamily::Inet6, &address, protocol == Protocol::Tcp) {
        Ok(socket) => Some(socket),
        Err(Errno::EADDRINUSE) => return Err(Errno::EADDRINUSE),
        Err(_) => None,
    };
    Ok(Held { loopback, ipv6, passed_on: None })
}

fn bound(
    protocol: Protocol,
    family: AddressFamily,
    address: &dyn SockaddrLike,
    reuse: bool,
) -> nix::Result<OwnedFd> {
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &reuse)?;
    if family == AddressFamily::Inet6 {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), address)?;
    Ok(socket)
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
