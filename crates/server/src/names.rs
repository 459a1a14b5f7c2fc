//! The resolver: on the machine's own address for tasks and host, and where `--dns-listen` says.

use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;

use base::{RandomIds, Scope, SystemClock};
use dns::{HealthChecker, Resolver, ResolverConfig, Server, UpstreamServers};
use network::Network;
use store::Store;
use tokio::task::JoinSet;

use crate::commands::{Failure, with_causes};

/// Who is asked for what is not ours.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The port of DNS, the only one that a resolv.conf knows.
const DNS_PORT: u16 = 53;

/// The resolver's sockets. Dropped, they are gone.
pub struct Names {
    /// Where tasks and the host reach it.
    resolver: Option<SocketAddrV4>,
    servers: Vec<Server>,
    /// What looks at the endpoints of health checks.
    _checking: JoinSet<()>,
}

impl Names {
    /// Answers on the address that tasks and host share, where there is a network, and on `listen`.
    pub async fn start(
        store: &Store,
        scope: &Scope,
        network: Option<&Network>,
        listen: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let resolver = Resolver::new(ResolverConfig {
            store: store.clone(),
            scope: scope.clone(),
            upstream: UpstreamServers::File(PathBuf::from(RESOLV_CONF)),
            ids: Arc::new(RandomIds),
            clock: Arc::new(SystemClock),
        });
        let checker =
            HealthChecker { store: store.clone(), resolver: resolver.clone(), clock: Arc::new(SystemClock) };
        let mut checking = JoinSet::new();
        checking.spawn(checker.run());
        let mut names = Self { resolver: None, servers: Vec::new(), _checking: checking };
        if let Some(listen) = listen {
            let server = Server::start(resolver.clone(), listen).await;
            names.servers.push(server.map_err(|error| {
                format!("{} (another program may: choose --dns-listen ADDRESS:PORT)", with_causes(&error))
            })?);
        }
        if let Some(network) = network {
            names.serve_tasks(resolver, network).await?;
        }
        Ok(names)
    }

    async fn serve_tasks(&mut self, resolver: Resolver, network: &Network) -> Result<(), Failure> {
        let address = network.metadata_address();
        let server = match Server::start(resolver.clone(), (address, DNS_PORT).into()).await {
            Ok(server) => server,
            Err(error) => {
                // A name server of the host that listens on all addresses: tasks are led to any port, the host is not.
                tracing::warn!(error = with_causes(&error), "DNS is answered on another port");
                Server::start(resolver, (address, 0).into()).await.map_err(|error| with_causes(&error))?
            }
        };
        if let SocketAddr::V4(address) = server.address() {
            network.serve_resolver(Some(address)).map_err(|error| with_causes(&error))?;
            self.resolver = Some(address);
        }
        self.servers.push(server);
        Ok(())
    }

    /// Where tasks and the host reach it.
    pub const fn resolver(&self) -> Option<SocketAddrV4> {
        self.resolver
    }

    /// Every address that is answered on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::address).collect()
    }
}
