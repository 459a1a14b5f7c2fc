//! What the tests of the proxy share: one with a single task that calls a single service.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use service_connect::{AppProtocol, Endpoint, Ingress, Listener, Log, Opening, Proxy, Service};
use tokio::net::TcpListener;

pub const ADDRESS: &str = "127.255.0.9";

/// A port that nobody has just now.
pub async fn free_port() -> u16 {
    TcpListener::bind((ADDRESS, 0)).await.unwrap().local_addr().unwrap().port()
}

/// Entering a namespace takes privileges.
pub fn may_enter_namespaces() -> bool {
    let allowed =
        std::fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line == "Uid:\t0\t0\t0\t0");
    if !allowed {
        eprintln!("skipped: needs root, to enter network namespaces");
    }
    allowed
}

/// Opens listeners in the test's own namespace.
pub fn open(proxy: &Proxy, listeners: &[Listener], ingress: &[Ingress], log: Option<Log>) {
    let namespace = Path::new("/proc/self/ns/net");
    proxy.open(Opening { task: "task", place: "", namespace, listeners, ingress, log }).unwrap();
}

/// The proxy with one task that calls one service; where to call it.
pub async fn proxy(service: Option<Service>) -> (Proxy, SocketAddr) {
    let proxy = Proxy::default();
    proxy.set_service("srv-1", service);
    let address: IpAddr = ADDRESS.parse().unwrap();
    let port = free_port().await;
    let listener = Listener { service: "srv-1".to_owned(), host_name: "backend".to_owned(), address, port };
    open(&proxy, &[listener], &[], None);
    (proxy, SocketAddr::new(address, port))
}

pub fn service(protocol: AppProtocol, endpoints: &[SocketAddr]) -> Service {
    let endpoint = |address: &SocketAddr| Endpoint {
        id: address.port().to_string(),
        address: *address,
        group: address.port().to_string(),
    };
    Service {
        protocol,
        idle_timeout: Duration::from_secs(60),
        request_timeout: Duration::from_secs(15),
        endpoints: endpoints.iter().map(endpoint).collect(),
        split: None,
    }
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

pub fn count(proxy: &Proxy, name: &str) -> u64 {
    let counters = &proxy.counters("task")[0].2;
    counters.values().into_iter().find(|(there, _)| *there == name).unwrap().1
}
