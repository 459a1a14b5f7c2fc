//! The control plane: store, AWS services, sessions with agents, and the listener in front of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::{AccountId, Clock, Ids, Ipv4Cidr, RandomIds, Region, Scope, SystemClock, Timestamp};
use control::seams::{MappedHookTargets, Seams};
use control::{Control, ControlConfig};
use domain::{Cluster, ClusterStatus, PublicAddressPool};
use store::rows::cluster_key;
use store::{Options, Store, Transaction};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wire::{Authentication, Gateway, GatewaySettings};

use crate::cli::{AuthMode, ServerArguments};
use crate::commands::{Failure, with_causes};
use crate::data_dir::{DataDir, RootKey, Running};
use crate::front::{self, Believed, Front};
use crate::keys::KeyRing;
use crate::load_balancing::LoadBalancerMachine;

/// A control plane that listens.
pub struct ControlPlane {
    /// All rows.
    pub store: Store,
    /// The main account and region.
    pub scope: Scope,
    /// Such as `http://127.0.0.1:4566`.
    pub endpoint: String,
    /// The key of this process's own agent.
    pub node_key: RootKey,
    logs: Arc<logs::Logs>,
    front: Arc<Front>,
    stop: watch::Sender<bool>,
    listening: JoinHandle<()>,
    looping: JoinHandle<()>,
    maintaining: JoinHandle<()>,
}

impl ControlPlane {
    /// Opens the state and listens. Not yet ready: see [`ControlPlane::ready`]. Load balancers are served by `machine`.
    pub async fn start(
        arguments: &ServerArguments,
        dir: &DataDir,
        machine: Option<LoadBalancerMachine>,
    ) -> Result<Self, Failure> {
        if arguments.auth == AuthMode::Any && !arguments.listen.ip().is_loopback() {
            return Err(format!(
                "--auth any takes every key as the account's root, so it listens on loopback only: \
                 {} is not a loopback address (use 127.0.0.1:{} or --auth sigv4)",
                arguments.listen.ip(),
                arguments.listen.port()
            ));
        }
        let ids: Arc<dyn Ids> = Arc::new(RandomIds);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let scope = Scope::new(arguments.account.clone(), arguments.region.clone());
        let store = open_store(dir, arguments.ephemeral)?;
        ensure_default_cluster(&store, &scope, clock.now()).await?;
        let logs = open_logs(dir, &store)?;
        let root_key = dir.root_key(&*ids).map_err(|error| error.to_string())?;
        let node_key = RootKey {
            access_key_id: format!("AKIA{}", ids.hex(16).to_ascii_uppercase()),
            secret_access_key: ids.hex(40),
        };
        let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
            format!(
                "cannot listen on {}: {error} (another program may: choose --listen ADDRESS:PORT)",
                arguments.listen
            )
        })?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let endpoint = endpoint_of(address);
        let networks = vpc_networks(dir, &*ids, &store).await;
        let claims =
            Arc::new(ClaimedNetworks { name: dir.instance_name(&*ids).ok(), pool: networks.clone() });
        set_public_addresses(&store, arguments.public_addresses, dir, &*ids).await?;
        let (authentication, believed) = trust(arguments.auth, &arguments.account, &root_key, &node_key);
        let tables = vec![
            ecs::service(Arc::new(ecs::Ecs {
                store: store.clone(),
                ids: Arc::clone(&ids),
                config: ecs::EcsConfig {
                    agent_endpoint_path: front::ACS_PATH.to_owned(),
                    telemetry_endpoint_path: front::TCS_PATH.to_owned(),
                    vpc_networks: networks.clone(),
                },
            })),
            api::ec2::service(Arc::new(ec2::Ec2::new(
                store.clone(),
                Arc::clone(&ids),
                networks.into(),
                claims,
            ))),
            logs.table(),
            api::sts::service(Arc::new(sts::Sts)),
            api::elasticloadbalancing::service(Arc::new(elasticloadbalancing::Elasticloadbalancing {
                store: store.clone(),
                ids: Arc::clone(&ids),
            })),
            api::acm::service(Arc::new(acm::Acm { store: store.clone(), ids: Arc::clone(&ids) })),
            api::servicediscovery::service(Arc::new(servicediscovery::Servicediscovery {
                store: store.clone(),
                ids: Arc::clone(&ids),
            })),
            api::route53::service(Arc::new(route53::Route53 { store: store.clone(), ids: Arc::clone(&ids) })),
        ];
        let gateway = Gateway::new(GatewaySettings {
            tables,
            authentication,
            authorizer: Arc::new(wire::RootAndNodes),
            clock: Arc::clone(&clock),
            ids: Arc::clone(&ids),
            default_scope: scope.clone(),
            endpoint: endpoint.clone(),
        });
        let config = ControlConfig {
            task_history: Duration::from_secs(u64::from(arguments.task_history_hours) * 3600),
        };
        let hook_targets = arguments.hook_targets.iter().cloned().collect();
        let mut seams =
            Seams { hook_targets: Arc::new(MappedHookTargets::new(hook_targets)), ..Seams::default() };
        if let Some(machine) = machine {
            seams.load_balancing = Arc::new(machine.open(dir, Arc::clone(&clock), Arc::clone(&ids))?);
        }
        let control = Control::new(store.clone(), Arc::clone(&clock), ids, config).with_seams(seams);
        let front = Arc::new(Front {
            gateway,
            control: control.clone(),
            store: store.clone(),
            scope: scope.clone(),
            believed,
            clock,
            ready: AtomicBool::new(false),
            reset: OnceLock::new(),
        });
        let (stop, stopped) = watch::channel(false);
        let looping = tokio::spawn(control.run(stopped.clone()));
        let maintaining = tokio::spawn(Arc::clone(&logs).maintain(Arc::new(SystemClock)));
        let listening = tokio::spawn(crate::http::serve(listener, Arc::clone(&front), stopped));
        let plane =
            Self { store, scope, endpoint, node_key, logs, front, stop, listening, looping, maintaining };
        plane.announce(dir, &arguments.region)?;
        Ok(plane)
    }

    fn announce(&self, dir: &DataDir, region: &Region) -> Result<(), Failure> {
        let running = Running {
            endpoint: self.endpoint.clone(),
            region: region.to_string(),
            pid: std::process::id(),
            dns: Vec::new(),
        };
        dir.announce(&running).map_err(|error| error.to_string())
    }

    /// From now on health answers 200.
    pub fn ready(&self) {
        self.front.ready.store(true, Ordering::Release);
    }

    /// Allows `POST /_roadstead/reset` to do `reset`.
    pub fn allow_reset(&self, reset: front::Reset) {
        let _ = self.front.reset.set(reset);
    }

    /// The log service, for reset.
    pub fn logs(&self) -> Arc<logs::Logs> {
        Arc::clone(&self.logs)
    }

    /// Stops listening, and waits until what was under way is done.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.listening.await;
        let _ = self.looping.await;
        self.maintaining.abort();
    }
}

fn open_store(dir: &DataDir, ephemeral: bool) -> Result<Store, Failure> {
    let options = if ephemeral { Options::ephemeral() } else { Options::durable() };
    let options = store::rows_logs::register(store::rows_vpc::register(store::rows::register(options)));
    let options = store::rows_load_balancing::register(options);
    let store = Store::open(&dir.store(), options).map_err(|error| with_causes(&error))?;
    // The rows as they stood on disk are no longer needed.
    engine::memory::give_back();
    Ok(store)
}

fn open_logs(dir: &DataDir, store: &Store) -> Result<Arc<logs::Logs>, Failure> {
    let directory = dir.logs();
    logs::Logs::open(store.clone(), &directory, logs::storage::Sync::default(), Arc::new(RandomIds))
        .map_err(|error| format!("cannot open the log events in {}: {error}", directory.display()))
}

fn trust(
    auth: AuthMode,
    account: &AccountId,
    root_key: &RootKey,
    node_key: &RootKey,
) -> (Authentication, Believed) {
    match auth {
        AuthMode::Any => (Authentication::Any, Believed::Anyone(account.clone())),
        AuthMode::Sigv4 => {
            let ring = Arc::new(KeyRing::new(
                account,
                (&root_key.access_key_id, &root_key.secret_access_key),
                (&node_key.access_key_id, &node_key.secret_access_key),
            ));
            (Authentication::Keys(Arc::clone(&ring) as Arc<_>), Believed::Keys(ring))
        }
    }
}

/// The cluster `default` of the main account and region, which AWS makes on first use.
async fn ensure_default_cluster(store: &Store, scope: &Scope, now: Timestamp) -> Result<(), Failure> {
    let done = store.update(|snapshot| {
        let mut transaction = Transaction::new();
        let known = snapshot.get::<Cluster>(&cluster_key(scope, "default"));
        if known.is_none_or(|cluster| cluster.status != ClusterStatus::Active) {
            transaction.put(Cluster {
                scope: scope.clone(),
                name: "default".to_owned(),
                status: ClusterStatus::Active,
                settings: Vec::new(),
                configuration_document: None,
                service_connect_defaults_document: None,
                capacity_providers: Vec::new(),
                default_capacity_provider_strategy: Vec::new(),
                tags: Vec::new(),
                created_at: now,
            });
        }
        Ok::<_, std::convert::Infallible>((transaction, ()))
    });
    done.await.map_err(|error| with_causes(&error))
}

/// The URL that clients on this machine use.
fn endpoint_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("http://127.0.0.1:{}", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{}", v6.port()),
        other => format!("http://{other}"),
    }
}

/// The networks for the VPCs of all accounts and regions: claimed, so that no other Roadstead on this machine takes them,
/// and those that the store has VPCs in already. A control plane alone, which has no network of its own and maybe not the
/// right to claim any, goes by the routes.
async fn vpc_networks(dir: &DataDir, ids: &dyn Ids, store: &Store) -> Vec<Ipv4Cidr> {
    let used: Vec<Ipv4Cidr> = store
        .snapshot()
        .scan::<store::rows_vpc::VpcCidrUse>(store::Prefix::everything(), None)
        .map(|used| used.cidr)
        .collect();
    if let Ok(name) = dir.instance_name(ids)
        && let Ok(claimed) = network::claim_vpc_cidrs(&name, &used).await
    {
        return claimed;
    }
    network::usable_vpc_cidrs(&host_routes())
}

/// What this Roadstead claims of the machine's networks.
struct ClaimedNetworks {
    /// Its name on the machine, where it has one.
    name: Option<String>,
    /// What it claimed at its start.
    pool: Vec<Ipv4Cidr>,
}

impl ec2::MachineNetworks for ClaimedNetworks {
    fn claim<'a>(
        &'a self,
        kept: &'a [Ipv4Cidr],
        new: Option<Ipv4Cidr>,
    ) -> Pin<Box<dyn Future<Output = Option<Ipv4Cidr>> + Send + 'a>> {
        Box::pin(async move {
            let kept = [&self.pool[..], kept].concat();
            if let Some(name) = &self.name
                && let Ok(taken) = network::change_vpc_claims(name, &kept, new).await
            {
                return taken;
            }
            let is_taken =
                |taken: &Ipv4Cidr| taken.prefix_length() > 0 && new.is_some_and(|new| new.overlaps(taken));
            host_routes().into_iter().find(is_taken)
        })
    }
}

/// Where public addresses come from: what the operator gave, or a network that no other Roadstead on this machine claims.
async fn set_public_addresses(
    store: &Store,
    given: Option<Ipv4Cidr>,
    dir: &DataDir,
    ids: &dyn Ids,
) -> Result<(), Failure> {
    let snapshot = store.snapshot();
    let mut pool = store::rows_addresses::public_address_pool(&snapshot);
    match given {
        Some(cidr) => pool = PublicAddressPool { cidr, is_routed: true },
        None => {
            if pool.is_routed {
                pool = PublicAddressPool::default();
            }
            if let Ok(name) = dir.instance_name(ids)
                && let Ok(cidr) = network::claim_public_addresses(&name, pool.cidr).await
            {
                pool.cidr = cidr;
            }
        }
    }
    let mut transaction = Transaction::new();
    transaction.put(pool);
    store.transact(transaction).await.map(drop).map_err(|error| with_causes(&error))
}

/// The networks that this machine routes somewhere already, from `/proc/net/route` (proc_net(5)): addresses there are
/// 32-bit words in hexadecimal, in the byte order of the machine.
fn host_routes() -> Vec<Ipv4Cidr> {
    let text = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    parse_routes(&text)
}

fn parse_routes(text: &str) -> Vec<Ipv4Cidr> {
    let word = |field: Option<&&str>| Some(u32::from_str_radix(field?, 16).ok()?.to_ne_bytes());
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let destination = Ipv4Addr::from(word(fields.get(1))?);
            let mask = u32::from_be_bytes(word(fields.get(7))?);
            Ipv4Cidr::containing(destination, u8::try_from(mask.leading_ones()).ok()?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_from_the_kernels_table() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            broken\n";
        let routes: Vec<String> = parse_routes(text).iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["0.0.0.0/0", "172.17.0.0/16"]);
    }
}
