//! The resolver: on the machine's own address for tasks and host, and where `--dns-listen` says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use agent::NameQuestions;
use base::{RandomIds, Scope, SystemClock};
use dns::{ControlPlaneNames, HealthChecker, NodeAnswer, Resolver, ResolverConfig, Server, UpstreamServers};
use network::{Network, VpcNetwork};
use store::Store;
use tokio::task::JoinSet;

use crate::commands::{Failure, with_causes};

/// Who is asked for what is not ours.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The port of DNS, the only one that a resolv.conf knows.
const DNS_PORT: u16 = 53;

/// Where systemd-resolved says whom it asks itself.
const RESOLV_CONF_BEHIND: &str = "/run/systemd/resolve/resolv.conf";

/// Leads tasks that run on to the host's own name server, as this process ends: names outside go on resolving. Where the host has
/// none that tasks can be led to, they are left without.
pub fn leave_to_host(network: &Network) {
    let read = |path| std::fs::read_to_string(path).ok().and_then(|text| dns::server_outside(&text));
    let Some(server) = [RESOLV_CONF, RESOLV_CONF_BEHIND].into_iter().find_map(read) else { return };
    if let Err(error) = network.serve_resolver(Some(server)) {
        tracing::warn!(error = with_causes(&error), "tasks that run on resolve nothing");
    }
}

/// The resolver's sockets. Dropped, they are gone.
pub struct Names {
    /// Where tasks and the host reach it.
    resolver: Option<SocketAddrV4>,
    servers: Vec<Server>,
    /// For tasks alone: the host has the same by IPv4.
    ipv6: Option<Server>,
    /// What looks at the endpoints of health checks.
    _checking: JoinSet<()>,
}

/// The control plane of a node that joined one, and the node's VPCs.
struct ControlPlane {
    questions: NameQuestions,
    network: Network,
}

impl ControlPlaneNames for ControlPlane {
    fn represented_by(&self, source: IpAddr) -> IpAddr {
        let contains = |vpc: &VpcNetwork| match source.to_canonical() {
            IpAddr::V4(source) => vpc.cidr.contains(source),
            IpAddr::V6(source) => vpc.ipv6_cidr.is_some_and(|cidr| cidr.contains(source)),
        };
        let vpc = self.network.vpcs().into_iter().find(contains);
        vpc.map_or(Ipv4Addr::LOCALHOST, |vpc| vpc.cidr.base()).into()
    }

    fn ask(
        &self,
        asker: IpAddr,
        question: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Option<NodeAnswer>> + Send + '_>> {
        Box::pin(async move {
            let answer = self.questions.ask(asker, question).await?;
            Some(NodeAnswer { message: answer.message?.0, elsewhere: answer.elsewhere })
        })
    }
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
        let mut names = Self { resolver: None, servers: Vec::new(), ipv6: None, _checking: checking };
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

    /// Answers on a node that joined a control plane, which is asked by `questions` what our own names lead to.
    pub async fn start_on_node(questions: NameQuestions, network: &Network) -> Result<Self, Failure> {
        let resolver = Resolver::of_node(
            Arc::new(ControlPlane { questions, network: network.clone() }),
            UpstreamServers::File(PathBuf::from(RESOLV_CONF)),
            Arc::new(RandomIds),
            Arc::new(SystemClock),
        );
        let mut names = Self { resolver: None, servers: Vec::new(), ipv6: None, _checking: JoinSet::new() };
        names.serve_tasks(resolver, network).await?;
        Ok(names)
    }

    async fn serve_tasks(&mut self, resolver: Resolver, network: &Network) -> Result<(), Failure> {
        let address = network.metadata_address();
        let server = match Server::start(resolver.clone(), (address, DNS_PORT).into()).await {
            Ok(server) => server,
            Err(error) => {
                // A name server of the host that listens on all addresses: tasks are led to any port, the host is not.
                tracing::warn!(error = with_causes(&error), "DNS is answered on another port");
                Server::start(resolver.clone(), (address, 0).into())
                    .await
                    .map_err(|error| with_causes(&error))?
            }
        };
        self.serve_tasks_ipv6(&resolver, network).await;
        if let SocketAddr::V4(address) = server.address() {
            network.serve_resolver(Some(address)).map_err(|error| with_causes(&error))?;
            self.resolver = Some(address);
        }
        self.servers.push(server);
        Ok(())
    }

    /// By IPv6 too, where the machine has it: names lead to addresses of both kinds either way, so a failure is only told.
    async fn serve_tasks_ipv6(&mut self, resolver: &Resolver, network: &Network) {
        let Some(address) = network.resolver_address_ipv6() else { return };
        let server = match Server::start(resolver.clone(), (address, DNS_PORT).into()).await {
            Ok(server) => Ok(server),
            Err(_) => Server::start(resolver.clone(), (address, 0).into()).await,
        };
        let served = server.map_err(|error| with_causes(&error)).and_then(|server| {
            if let SocketAddr::V6(address) = server.address() {
                network.serve_resolver_ipv6(Some(address)).map_err(|error| with_causes(&error))?;
            }
            self.ipv6 = Some(server);
            Ok(())
        });
        if let Err(error) = served {
            tracing::warn!(error, "DNS is answered by IPv4 alone");
        }
    }

    /// Where tasks and the host reach it.
    pub const fn resolver(&self) -> Option<SocketAddrV4> {
        self.resolver
    }

    /// Every address that the host is answered on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::address).collect()
    }
}
