//! All listeners of a node's tasks, and the services that they lead to.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use balancer::{Namespace, Place};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::configuration::{AppProtocol, Ingress, Listener, Service};
use crate::endpoints::Endpoints;
use crate::log::Log;
use crate::metrics::Counters;
use crate::{http, ingress, tcp};

/// Connections of one task that are served at a time; more wait to be accepted.
const CONNECTIONS_MAXIMUM: usize = 10_000;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Wait before accepting goes on when the machine has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The proxy of a node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Proxy(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What was told last, by the service's id.
    services: BTreeMap<String, Arc<Service>>,
    /// By task and place.
    tasks: BTreeMap<String, BTreeMap<String, Opened>>,
}

/// What is open in one namespace.
struct Opened {
    listeners: Vec<Running>,
    ingress: Vec<JoinHandle<()>>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let accepting = self.listeners.iter().map(|there| &there.accepting).chain(&self.ingress);
        accepting.for_each(JoinHandle::abort);
    }
}

/// What is to be opened.
pub struct Opening<'a> {
    /// The task's id.
    pub task: &'a str,
    /// Which of its namespaces, where it has several (network mode bridge): the container's id.
    pub place: &'a str,
    /// The namespace.
    pub namespace: &'a Path,
    /// What is called from there.
    pub listeners: &'a [Listener],
    /// What is called there.
    pub ingress: &'a [Ingress],
    /// What is said of all that goes there.
    pub log: Option<Log>,
}

struct Running {
    service: String,
    host_name: String,
    port: u16,
    endpoints: Arc<Endpoints>,
    accepting: JoinHandle<()>,
}

/// Why a task's listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("Service Connect cannot listen on {address}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

impl Proxy {
    /// Opens a task's listeners in its network namespace; those of a place that has them stay as they are.
    pub fn open(&self, opening: Opening<'_>) -> Result<(), ListenError> {
        let is_open = |state: &State| {
            state.tasks.get(opening.task).is_some_and(|places| places.contains_key(opening.place))
        };
        let first = opening.listeners.first().map(address_of);
        let first = first.or(opening.ingress.first().map(|there| (Ipv4Addr::UNSPECIFIED, there.port).into()));
        let Some(first) = first.filter(|_| !is_open(&self.lock())) else { return Ok(()) };
        let failed = |address| move |source| ListenError { address, source };
        let namespace = Arc::new(Namespace::open(opening.namespace).map_err(failed(first))?);
        let place = |address| {
            let mut place = Place::here(address);
            place.namespace = Some(Arc::clone(&namespace));
            place
        };
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAXIMUM));
        let mut bound = Vec::new();
        for listener in opening.listeners {
            let address = address_of(listener);
            let place = place(listener.address);
            let socket = place.within(|| bind(address)).map_err(failed(address))?;
            bound.push((listener, place, socket));
        }
        let mut ingress = Vec::new();
        for wish in opening.ingress {
            let place = place(Ipv4Addr::LOCALHOST.into());
            let address = (Ipv4Addr::UNSPECIFIED, wish.port).into();
            let socket = ingress::bind(&place, *wish).map_err(failed(address))?;
            ingress.push((*wish, place, socket));
        }
        let mut state = self.lock();
        let listeners = bound
            .into_iter()
            .map(|(listener, place, socket)| {
                run(&state, listener, place, socket, opening.log.clone(), Arc::clone(&connections))
            })
            .collect();
        let ingress = ingress.into_iter().map(|(wish, place, socket)| {
            let serve = move |stream| ingress::serve(place.clone(), stream, wish.container_port);
            tokio::spawn(accept(socket, Arc::clone(&connections), serve))
        });
        let opened = Opened { listeners, ingress: ingress.collect() };
        state.tasks.entry(opening.task.to_owned()).or_default().insert(opening.place.to_owned(), opened);
        Ok(())
    }

    /// Closes a task's listeners. Connections under way end with the task's containers.
    pub fn close(&self, task: &str) {
        self.lock().tasks.remove(task);
    }

    /// Closes those of one place.
    pub fn close_place(&self, task: &str, place: &str) {
        if let Some(places) = self.lock().tasks.get_mut(task) {
            places.remove(place);
        }
    }

    /// Takes over a service; `None`: it is gone.
    pub fn set_service(&self, id: &str, service: Option<Service>) {
        let mut state = self.lock();
        let service = match service {
            Some(service) => {
                let service = Arc::new(service);
                state.services.insert(id.to_owned(), Arc::clone(&service));
                service
            }
            None => {
                state.services.remove(id);
                nowhere()
            }
        };
        for listener in
            listeners(state.tasks.values().flat_map(BTreeMap::values)).filter(|there| there.service == id)
        {
            listener.endpoints.update(Arc::clone(&service));
        }
    }

    /// Forgets the services that `stays` does not name.
    pub fn retain_services(&self, stays: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.lock().services.keys().filter(|id| !stays(id)).cloned().collect();
        for id in gone {
            self.set_service(&id, None);
        }
    }

    /// What is counted of a task's traffic: name and port that it calls, and the counters.
    pub fn counters(&self, task: &str) -> Vec<(String, u16, Arc<Counters>)> {
        let state = self.lock();
        listeners(state.tasks.get(task).into_iter().flat_map(BTreeMap::values))
            .map(|there| (there.host_name.clone(), there.port, Arc::clone(there.endpoints.counters())))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listeners<'a>(opened: impl Iterator<Item = &'a Opened>) -> impl Iterator<Item = &'a Running> {
    opened.flat_map(|opened| &opened.listeners)
}

const fn address_of(listener: &Listener) -> SocketAddr {
    SocketAddr::new(listener.address, listener.port)
}

/// Serves a listener.
fn run(
    state: &State,
    listener: &Listener,
    place: Place,
    socket: TcpListener,
    log: Option<Log>,
    connections: Arc<Semaphore>,
) -> Running {
    let service = state.services.get(&listener.service).cloned().unwrap_or_else(nowhere);
    let name = format!("{}:{}", listener.host_name, listener.port);
    let endpoints = Arc::new(Endpoints::new(service, Arc::default(), log, name));
    let serve = {
        let endpoints = Arc::clone(&endpoints);
        move |stream| {
            let (endpoints, place) = (Arc::clone(&endpoints), place.clone());
            async move {
                if endpoints.service().protocol == AppProtocol::Tcp {
                    tcp::serve(endpoints, place, stream).await;
                } else {
                    http::serve(endpoints, place, stream).await;
                }
            }
        }
    };
    Running {
        service: listener.service.clone(),
        host_name: listener.host_name.clone(),
        port: listener.port,
        endpoints,
        accepting: tokio::spawn(accept(socket, connections, serve)),
    }
}

/// A service of which nothing was told yet: connections are accepted and end.
fn nowhere() -> Arc<Service> {
    Arc::new(Service {
        protocol: AppProtocol::Tcp,
        idle_timeout: Duration::ZERO,
        request_timeout: Duration::ZERO,
        endpoints: Vec::new(),
        split: None,
    })
}

pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept<S, F>(listener: TcpListener, connections: Arc<Semaphore>, serve: S)
where
    S: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "Service Connect cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let serving = serve(stream);
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
    }
}
