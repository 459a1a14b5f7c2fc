//! The balancer as a whole: takes load balancers and target groups over, listens, and takes changes without dropping a
//! connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use base::{Clock, Ids};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::application;
use crate::application::exchange::AccessLog;
use crate::application::stickiness::Cookies;
use crate::chance::Chance;
use crate::configuration::{
    Action, Admission, Configuration, Listener, LoadBalancer, LoadBalancerAttributes, Protocol, Target,
    TargetGroup,
};
use crate::group::{Changes, Group, TargetHealth, TargetState};
use crate::place::Place;
use crate::{network, tls};

/// Connections that are served at a time, over all listeners, however many files may be open; more wait to be accepted.
pub const CONNECTIONS_MAXIMUM: usize = 100_000;
/// Of all connections, the share that one listener may have, in percent: one that is flooded leaves room to the others.
const LISTENER_SHARE: usize = 60;
/// Wait before accepting goes on when the machine has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a balancer works with.
pub struct Settings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub ids: Arc<dyn Ids>,
    /// Seals cookies: keep it, so that clients stay with their targets over a restart.
    pub cookie_key: [u8; 32],
    /// What is told of finished requests.
    pub access_log: Option<Arc<dyn AccessLog>>,
    /// Connections of clients that are served at a time: each takes two files. At most [`CONNECTIONS_MAXIMUM`].
    pub connections_maximum: usize,
}

/// What all connections share.
pub struct Shared {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance for identifiers.
    pub ids: Arc<dyn Ids>,
    /// Chance for balancing.
    pub chance: Chance,
    /// Sealed cookies.
    pub cookies: Cookies,
    /// What is told of finished requests.
    pub access_log: Option<Arc<dyn AccessLog>>,
    groups: RwLock<BTreeMap<Arc<str>, Arc<Group>>>,
    connections: Arc<Semaphore>,
    /// What one listener may have of them.
    of_listener: usize,
    changes: Arc<Changes>,
}

impl Shared {
    /// The target group of this ARN.
    pub fn group(&self, arn: &str) -> Option<Arc<Group>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(arn).cloned()
    }
}

/// What a listener serves by now; requests look at it anew each time.
pub struct State {
    /// Its load balancer's ARN.
    pub load_balancer: Arc<str>,
    /// The listener.
    pub listener: Listener,
    /// Its load balancer's attributes.
    pub attributes: LoadBalancerAttributes,
    /// Where it listens.
    pub place: Place,
    /// Who may connect here; `None` is everybody that gets here.
    pub admission: Option<Arc<Admission>>,
    /// For HTTPS and TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// A listener at work.
pub struct Running {
    state: RwLock<Arc<State>>,
    stop: watch::Sender<bool>,
}

impl State {
    /// Whether a client may connect.
    pub fn admits(&self, client: SocketAddr, is_tcp: bool) -> bool {
        self.admission
            .as_ref()
            .is_none_or(|admission| admission.admits(client.ip(), is_tcp, self.listener.port))
    }
}

impl Running {
    /// What it serves by now.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Bound {
    running: Arc<Running>,
    protocol: Protocol,
    tasks: Vec<JoinHandle<()>>,
}

/// Tells listeners apart: address and port, and the namespace.
type ListenerKey = (SocketAddr, Option<PathBuf>);

/// A load balancer at work.
#[derive(Default)]
struct Served {
    bound: BTreeMap<ListenerKey, Bound>,
    /// The groups that its rules name.
    groups: BTreeSet<Arc<str>>,
}

/// Load balancers by ARN, and where they stand.
type Users = BTreeMap<Arc<str>, Arc<[Place]>>;

/// A balancer.
pub struct Balancer {
    shared: Arc<Shared>,
    /// By ARN. Each has a lock of its own, so that one whose sockets are being opened holds up no other.
    served: Mutex<BTreeMap<Arc<str>, Arc<tokio::sync::Mutex<Served>>>>,
    /// Who speaks to each group, and from where.
    users: Mutex<BTreeMap<Arc<str>, Users>>,
}

/// Why a listener could not be opened; the others are.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

impl Balancer {
    /// A balancer that serves nothing yet.
    pub fn new(settings: Settings) -> Self {
        let connections = settings.connections_maximum.clamp(1, CONNECTIONS_MAXIMUM);
        let mut seed = [0; 8];
        settings.ids.fill(&mut seed);
        Self {
            shared: Arc::new(Shared {
                clock: settings.clock,
                ids: settings.ids,
                chance: Chance::new(u64::from_le_bytes(seed)),
                cookies: Cookies::new(&settings.cookie_key),
                access_log: settings.access_log,
                groups: RwLock::default(),
                connections: Arc::new(Semaphore::new(connections)),
                of_listener: (connections * LISTENER_SHARE / 100).max(1),
                changes: Arc::default(),
            }),
            served: Mutex::default(),
            users: Mutex::default(),
        }
    }

    /// Rings at every change of a target's state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The targets whose state has changed since the last call, with their groups' ARNs.
    pub fn take_changed(&self) -> BTreeSet<(Arc<str>, Target)> {
        self.shared.changes.take()
    }

    /// What is known of the targets of a group; `None` where it is not configured.
    pub fn target_health(&self, target_group: &str) -> Option<Vec<TargetHealth>> {
        Some(self.shared.group(target_group)?.health())
    }

    /// What is known of one target: of its registration where it has one, else of what drains of it.
    pub fn health_of(&self, target_group: &str, target: &Target) -> Option<TargetHealth> {
        self.shared.group(target_group)?.health_of(target)
    }

    /// Takes over a target group. Members that stay keep their health and connections; new ones start with the state that
    /// `seen` has of them, so that a restart does not forget what was known.
    pub fn set_target_group(&self, wanted: Arc<TargetGroup>, seen: &[(Target, TargetState)]) {
        let mut groups = self.shared.groups.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(&wanted.arn).cloned() {
            drop(groups);
            if *group.configuration() != *wanted {
                group.update(wanted, seen);
            }
            return;
        }
        let arn = Arc::clone(&wanted.arn);
        let group = Group::new(wanted, Arc::clone(&self.shared.changes), seen);
        groups.insert(Arc::clone(&arn), Arc::clone(&group));
        drop(groups);
        // Looked up once it can be found: whoever begins to use it meanwhile tells it too.
        let users = lock(&self.users);
        group.set_origin(users.get(&arn).and_then(|users| users.values().next().cloned()));
    }

    /// Forgets a target group. Requests under way end as they will.
    pub fn remove_target_group(&self, arn: &str) {
        let gone = self.shared.groups.write().unwrap_or_else(PoisonError::into_inner).remove(arn);
        if let Some(group) = gone {
            group.close();
        }
    }

    /// Takes over a load balancer. What stays as it was keeps its sockets and connections. The errors are of listeners that
    /// could not be opened.
    pub async fn set_load_balancer(&self, wanted: &LoadBalancer) -> Vec<ListenError> {
        let served = Arc::clone(lock(&self.served).entry(Arc::clone(&wanted.arn)).or_default());
        let mut served = served.lock().await;
        let groups = groups_of(wanted);
        // Groups first, so that the first request finds their targets.
        self.use_groups(&wanted.arn, &served.groups, &groups, &wanted.places);
        served.groups = groups;
        listen(&self.shared, &mut served.bound, wanted).await
    }

    /// Stops serving a load balancer; requests under way end as they will.
    pub async fn remove_load_balancer(&self, arn: &str) {
        let Some(served) = lock(&self.served).remove(arn) else { return };
        let mut served = served.lock().await;
        for (_, there) in std::mem::take(&mut served.bound) {
            there.close().await;
        }
        self.use_groups(arn, &std::mem::take(&mut served.groups), &BTreeSet::new(), &[]);
    }

    /// Enters which groups a load balancer uses, and tells those for which that changes anything.
    fn use_groups(
        &self,
        arn: &str,
        before: &BTreeSet<Arc<str>>,
        after: &BTreeSet<Arc<str>>,
        places: &[Place],
    ) {
        let mut users = lock(&self.users);
        for group in before.difference(after) {
            if let Some(of_group) = users.get_mut(group) {
                of_group.remove(arn);
                let origin = of_group.values().next().cloned();
                if of_group.is_empty() {
                    users.remove(group);
                }
                self.set_origin(group, origin);
            }
        }
        let places: Arc<[Place]> = places.into();
        for group in after {
            let of_group = users.entry(Arc::clone(group)).or_default();
            of_group.insert(arn.into(), Arc::clone(&places));
            let origin = of_group.values().next().cloned();
            self.set_origin(group, origin);
        }
    }

    fn set_origin(&self, group: &str, origin: Option<Arc<[Place]>>) {
        if let Some(group) = self.shared.group(group) {
            group.set_origin(origin);
        }
    }

    /// Makes a whole configuration so: what it does not name goes.
    pub async fn apply(&self, configuration: Configuration) -> Vec<ListenError> {
        let mut errors = Vec::new();
        for group in &configuration.target_groups {
            self.set_target_group(Arc::clone(group), &[]);
        }
        let served: Vec<Arc<str>> = lock(&self.served).keys().cloned().collect();
        for arn in served {
            if !configuration.load_balancers.iter().any(|wanted| wanted.arn == arn) {
                self.remove_load_balancer(&arn).await;
            }
        }
        for load_balancer in &configuration.load_balancers {
            errors.extend(self.set_load_balancer(load_balancer).await);
        }
        let known: Vec<Arc<str>> =
            self.shared.groups.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        for arn in known {
            if !configuration.target_groups.iter().any(|wanted| wanted.arn == arn) {
                self.remove_target_group(&arn);
            }
        }
        errors
    }

    /// Stops listening; connections may end their requests.
    pub fn close(&self) {
        for served in std::mem::take(&mut *lock(&self.served)).into_values() {
            // One that is being changed is let go of with its tasks.
            if let Ok(mut served) = served.try_lock() {
                for there in std::mem::take(&mut served.bound).into_values() {
                    there.end();
                }
            }
        }
        for group in self.shared.groups.read().unwrap_or_else(PoisonError::into_inner).values() {
            group.close();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Bound {
    fn end(&self) {
        self.running.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }

    /// Ends it and waits until its sockets are free.
    async fn close(self) {
        self.end();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn listen(
    shared: &Arc<Shared>,
    bound: &mut BTreeMap<ListenerKey, Bound>,
    load_balancer: &LoadBalancer,
) -> Vec<ListenError> {
    let mut wanted: BTreeMap<ListenerKey, (&Listener, &Place)> = BTreeMap::new();
    for listener in &load_balancer.listeners {
        for place in &load_balancer.places {
            wanted.insert(place.key(listener.port), (listener, place));
        }
    }
    let gone: Vec<ListenerKey> = bound
        .iter()
        .filter(|(key, there)| {
            wanted.get(*key).is_none_or(|(listener, _)| listener.protocol != there.protocol)
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in gone {
        if let Some(there) = bound.remove(&key) {
            there.close().await;
        }
    }
    let mut errors = Vec::new();
    for (key, (listener, place)) in wanted {
        if let Some(there) = bound.get(&key) {
            let next = state_of(load_balancer, listener, place, Some(&there.running.state()));
            *there.running.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
            continue;
        }
        match open(shared, key.0, place, state_of(load_balancer, listener, place, None)) {
            Ok(there) => {
                bound.insert(key, there);
            }
            Err(source) => errors.push(ListenError { address: key.0, source }),
        }
    }
    errors
}

fn open(shared: &Arc<Shared>, address: SocketAddr, place: &Place, state: State) -> std::io::Result<Bound> {
    let protocol = state.listener.protocol;
    let tcp = (protocol != Protocol::Udp).then(|| place.within(|| bind(address))).transpose()?;
    let is_udp = matches!(protocol, Protocol::Udp | Protocol::TcpUdp);
    let udp = is_udp.then(|| place.within(|| bind_udp(address))).transpose()?;
    let running = Arc::new(Running { state: RwLock::new(Arc::new(state)), stop: watch::channel(false).0 });
    let mut tasks = Vec::new();
    if let Some(listener) = tcp {
        tasks.push(tokio::spawn(accept(Arc::clone(shared), Arc::clone(&running), listener)));
    }
    if let Some(socket) = udp {
        tasks.push(tokio::spawn(network::udp::serve(Arc::clone(shared), Arc::clone(&running), socket)));
    }
    Ok(Bound { running, protocol, tasks })
}

/// What a listener serves. What TLS needs is taken over where it stays as it was, with the sessions that clients resume.
fn state_of(
    load_balancer: &LoadBalancer,
    listener: &Listener,
    place: &Place,
    before: Option<&State>,
) -> State {
    let alpn: Vec<&str> = match listener.protocol {
        Protocol::Https if load_balancer.attributes.http2 => vec!["h2", "http/1.1"],
        Protocol::Https => vec!["http/1.1"],
        _ => listener.alpn.iter().map(String::as_str).collect(),
    };
    let is_tls = matches!(listener.protocol, Protocol::Https | Protocol::Tls);
    let stays = |before: &&State| {
        let certificates = before.listener.certificates.iter().zip(&listener.certificates);
        before.listener.security_policy == listener.security_policy
            && before.listener.certificates.len() == listener.certificates.len()
            && certificates.into_iter().all(|(one, other)| Arc::ptr_eq(one, other))
            && before.listener.alpn == listener.alpn
            && before.attributes.http2 == load_balancer.attributes.http2
    };
    let tls = match before.filter(stays) {
        Some(before) => before.tls.clone(),
        None if is_tls => tls::server_config(&listener.security_policy, &listener.certificates, &alpn),
        None => None,
    };
    State {
        load_balancer: Arc::clone(&load_balancer.arn),
        listener: listener.clone(),
        attributes: load_balancer.attributes.clone(),
        place: place.clone(),
        admission: load_balancer.admission.clone().filter(|_| place.namespace.is_none()),
        tls,
    }
}

fn groups_of(load_balancer: &LoadBalancer) -> BTreeSet<Arc<str>> {
    let actions =
        load_balancer.listeners.iter().flat_map(|listener| &listener.rules).map(|rule| &rule.action);
    actions
        .filter_map(|action| match action {
            Action::Forward(forward) => Some(&forward.target_groups),
            Action::Redirect(_) | Action::FixedResponse { .. } => None,
        })
        .flatten()
        .map(|(arn, _)| Arc::clone(arn))
        .collect()
}

fn bind_udp(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        IpAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A listener that was closed a moment ago may have connections left.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

async fn accept(shared: Arc<Shared>, running: Arc<Running>, listener: TcpListener) {
    let own = Arc::new(Semaphore::new(shared.of_listener));
    loop {
        let Ok(own_permit) = Arc::clone(&own).acquire_owned().await else { return };
        let Ok(permit) = Arc::clone(&shared.connections).acquire_owned().await else { return };
        let (stream, address): (TcpStream, SocketAddr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !running.state().admits(address, true) {
            continue;
        }
        let (shared, running, stop) = (Arc::clone(&shared), Arc::clone(&running), running.stop.subscribe());
        let is_http = matches!(running.state().listener.protocol, Protocol::Http | Protocol::Https);
        tokio::spawn(async move {
            let _permits = (permit, own_permit);
            if is_http {
                application::serve(shared, running, stream, address, stop).await;
            } else {
                network::tcp::serve(shared, running, stream, address).await;
            }
        });
    }
}
