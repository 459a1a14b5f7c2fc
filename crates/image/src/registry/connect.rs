//! Which hosts may be spoken to in which way, and the connections.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;

use crate::limits::Limits;

/// TCP, and TLS where the URI says https.
pub(super) type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// TLS trusts what the machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` count, as for OpenSSL).
pub(super) fn connector(limits: &Limits) -> Connector {
    let mut tcp = HttpConnector::new_with_resolver(Resolver);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(limits.connect_timeout));
    tcp.set_nodelay(true);
    let provider = rustls::crypto::ring::default_provider;
    let builder = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider()) {
        Ok(builder) => builder,
        Err(error) => {
            tracing::warn!(%error, "no certificate authorities: registries other than loopback ones will be refused (apt-get install ca-certificates)");
            HttpsConnectorBuilder::new().with_tls_config(without_roots())
        }
    };
    builder.https_or_http().enable_http1().wrap_connector(tcp)
}

fn without_roots() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore::empty();
    rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring offers TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Whether a host is this machine by its name alone: `localhost`, names below it (RFC 6761), loopback addresses.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_localhost =
        host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    is_localhost || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The system's resolver, but names under `localhost` never leave the machine, whatever a DNS server says: plain
/// http is allowed to them.
#[derive(Clone, Copy)]
pub(super) struct Resolver;

impl tower_service::Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            // The port is the connector's business.
            if is_loopback(name.as_str()) {
                let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                return Ok(both.map(|address| SocketAddr::new(address, 0)).to_vec().into_iter());
            }
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LOCALHOST", "registry.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "notlocalhost",
            "127.0.0.1.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "",
            "2130706433",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
