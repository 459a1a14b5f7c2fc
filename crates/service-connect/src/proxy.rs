//! All listeners of a node's tasks, and the services that they lead to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use balancer::{Namespace, Place};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::configuration::{AppProtocol, Listener, Service};
use crate::endpoints::Endpoints;
use crate::metrics::Counters;
use crate::{http, tcp};

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
    /// By task.
    tasks: BTreeMap<String, Vec<Running>>,
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
    /// Opens a task's listeners in its network namespace; those of a task that has them stay as they are.
    pub fn open(&self, task: &str, namespace: &Path, listeners: &[Listener]) -> Result<(), ListenError> {
        if listeners.is_empty() || self.lock().tasks.contains_key(task) {
            return Ok(());
        }
        let failed = |listener: &Listener| {
            let address = SocketAddr::new(listener.address, listener.port);
            move |source| ListenError { address, source }
        };
        let Some(first) = listeners.first() else { return Ok(()) };
        let namespace = Arc::new(Namespace::open(namespace).map_err(failed(first))?);
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAXIMUM));
        let mut opened = Vec::new();
        for listener in listeners {
            let mut place = Place::here(listener.address);
            place.namespace = Some(Arc::clone(&namespace));
            let address = SocketAddr::new(listener.address, listener.port);
            let bound = place.within(|| bind(address)).map_err(failed(listener))?;
            opened.push((listener, place, bound));
        }
        let mut state = self.lock();
        let running = opened.into_iter().map(|(listener, place, bound)| {
            let counters = Arc::<Counters>::default();
            let service = state.services.get(&listener.service).cloned().unwrap_or_else(nowhere);
            let endpoints = Arc::new(Endpoints::new(service, counters));
            let accepting = accept(Arc::clone(&endpoints), place, bound, Arc::clone(&connections));
            Running {
                service: listener.service.clone(),
                host_name: listener.host_name.clone(),
                port: listener.port,
                endpoints,
                accepting: tokio::spawn(accepting),
            }
        });
        let running = running.collect();
        state.tasks.insert(task.to_owned(), running);
        Ok(())
    }

    /// Closes a task's listeners. Connections under way end with the task's containers.
    pub fn close(&self, task: &str) {
        for listener in self.lock().tasks.remove(task).unwrap_or_default() {
            listener.accepting.abort();
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
        for listener in state.tasks.values().flatten().filter(|listener| listener.service == id) {
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
        let listeners = state.tasks.get(task).into_iter().flatten();
        listeners
            .map(|there| (there.host_name.clone(), there.port, Arc::clone(there.endpoints.counters())))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service of which nothing was told yet: connections are accepted and end.
fn nowhere() -> Arc<Service> {
    Arc::new(Service {
        protocol: AppProtocol::Tcp,
        idle_timeout: Duration::ZERO,
        request_timeout: Duration::ZERO,
        endpoints: Vec::new(),
    })
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(endpoints: Arc<Endpoints>, place: Place, listener: TcpListener, connections: Arc<Semaphore>) {
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
        let (endpoints, place) = (Arc::clone(&endpoints), place.clone());
        tokio::spawn(async move {
            if endpoints.service().protocol == AppProtocol::Tcp {
                tcp::serve(endpoints, place, stream).await;
            } else {
                http::serve(endpoints, place, stream).await;
            }
            drop(permit);
        });
    }
}
