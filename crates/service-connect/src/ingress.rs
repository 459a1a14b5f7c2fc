//! What comes to a task at another port than its container's: handed on, byte by byte. The callers' proxies have balanced it
//! already.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use balancer::Place;
use tokio::net::{TcpListener, TcpStream};

use crate::configuration::Ingress;
use crate::{pool, proxy, tcp};

/// Opens the listener in the task's namespace: at all of its addresses, or those of IPv4 where it has no others.
pub(crate) fn bind(place: &Place, ingress: Ingress) -> std::io::Result<TcpListener> {
    let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, ingress.port));
    place.within(|| {
        // Takes callers of IPv4 too, as `net.ipv6.bindv6only` is off by default.
        proxy::bind(all).or_else(|_| proxy::bind((Ipv4Addr::UNSPECIFIED, ingress.port).into()))
    })
}

/// Serves a connection until it has ended both ways.
pub(crate) async fn serve(place: Place, mut client: TcpStream, container_port: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, container_port));
    let Ok(mut server) = pool::connect(&place, address).await else { return };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::join!(tcp::copy(from_client, to_server, |_| ()), tcp::copy(from_server, to_client, |_| ()));
}
