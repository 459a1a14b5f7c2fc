//! [`Agent`]: everything put together, started and stopped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{Client, ClientConfig};
use engine::Engine;
use image::ImageStore;
use network::Network;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::config::AgentConfig;
use crate::images::Images;
use crate::logs::Logs;
use crate::metadata::{Listeners, MetadataServer};
use crate::registration::{self, RegistrationError};
use crate::registry_credentials::RegistryCredentials;
use crate::reporting::SUBMISSIONS_AT_ONCE;
use crate::seams::{ContainerEngine, ImageSource, TaskNetworking};
use crate::session::acs::{AcsSession, SessionEnd};
use crate::session::tcs::TcsSession;
use crate::state::{StateDirectory, StateError};
use crate::task_engine::bridge::PromisedPorts;
use crate::task_engine::connect::Connect;
use crate::task_engine::volumes::Volumes;
use crate::task_engine::{Shared, TaskEngine};
use crate::telemetry::Telemetry;

/// At the end of the agent and its tasks, each container has this long after its stop signal, or its own stop timeout if that is shorter.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Log spools cannot be watched.
    #[error("the log driver cannot be started")]
    Logs(#[source] std::io::Error),
    /// The metadata endpoint cannot be served.
    #[error("the metadata endpoint cannot be served")]
    Metadata(#[source] std::io::Error),
    /// Tasks cannot be led to the metadata endpoint.
    #[error("tasks cannot be led to the metadata endpoint")]
    Network(#[from] network::NetworkError),
    /// The node cannot join.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}

/// What happens to tasks when the agent is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownMode {
    /// They run on, and are taken up by the next agent with the same data directory.
    LeaveTasksRunning,
    /// They are stopped, and nothing of them is left.
    StopAndCleanEverything,
}

/// A node.
pub struct Agent;

impl Agent {
    /// Takes up the tasks of an earlier agent with this data directory, joins the cluster and stays connected. Returns once the node is
    /// registered; the connection comes a moment later (see [`AgentHandle::connected`]).
    pub async fn start(
        config: AgentConfig,
        engine: Arc<Engine>,
        network: Arc<Network>,
        images: Arc<ImageStore>,
    ) -> Result<AgentHandle, AgentError> {
        Self::start_with(config, engine, network, images).await
    }

    /// [`Agent::start`] with anything that can stand for engine, network and images.
    pub async fn start_with(
        config: AgentConfig,
        engine: Arc<dyn ContainerEngine>,
        network: Arc<dyn TaskNetworking>,
        images: Arc<dyn ImageSource>,
    ) -> Result<AgentHandle, AgentError> {
        let state = StateDirectory::open(&config.data_dir)?;
        let client = Client::new(ClientConfig {
            endpoint: config.endpoint.clone(),
            region: config.region.clone(),
            credentials: Arc::clone(&config.credentials),
            clock: Arc::clone(&config.clock),
            ids: Arc::clone(&config.ids),
        });
        let listeners = serve_metadata(&config, &*network, &state).await?;
        let metadata_port = listeners.host_port().map_err(AgentError::Metadata)?;
        let logs = Logs::new(&config.data_dir, client.clone()).map_err(AgentError::Logs)?;
        let shared = Arc::new(Shared {
            metadata_port,
            images: Images::new(
                images,
                config.image_pull_behavior,
                config.image_pull_timeout,
                RegistryCredentials::from_file(config.registry_credentials_file.clone()),
                config.data_dir.join("agent").join("pulled-images.json"),
            ),
            logs: logs.clone(),
            volumes: Volumes::new(&config.data_dir),
            promised_ports: PromisedPorts::default(),
            engine,
            network,
            state,
            client,
            submissions: Semaphore::new(SUBMISSIONS_AT_ONCE),
            service_connect: Connect::new(logs, Arc::clone(&config.clock)),
            health_changed: Notify::new(),
            config,
        });
        let tasks = TaskEngine::new(Arc::clone(&shared));
        tasks.adopt().await?;
        let telemetry = Telemetry::default();
        let metadata = MetadataServer::new(tasks.clone(), telemetry.clone());
        let mut background = JoinSet::new();
        background.spawn(metadata.serve(listeners));
        let images = shared.images.clone();
        background.spawn(images.collect_forever(shared.config.image_cleanup_interval));
        background.spawn(telemetry.clone().sample_forever(tasks.clone()));
        let instance = registration::register(&shared.config, &shared.client, &shared.state).await?;
        let connected = watch::Sender::new(false);
        background.spawn(stay_connected(tasks.clone(), telemetry, instance, connected.clone()));
        Ok(AgentHandle { tasks, connected, background: Arc::new(Mutex::new(Some(background))) })
    }
}

/// Binds the metadata endpoint and leads tasks to it.
async fn serve_metadata(
    config: &AgentConfig,
    network: &dyn TaskNetworking,
    state: &StateDirectory,
) -> Result<Listeners, AgentError> {
    let address = config.metadata_listen.unwrap_or_else(|| SocketAddr::from((network.metadata_address(), 0)));
    let listeners =
        Listeners::bind(address, state.identity().metadata_port).await.map_err(AgentError::Metadata)?;
    let port = listeners.host_port().map_err(AgentError::Metadata)?;
    state.change_identity(|identity| identity.metadata_port = Some(port))?;
    if let SocketAddr::V4(address) = listeners.tasks_address().map_err(AgentError::Metadata)? {
        network.serve_metadata(Some(address))?;
    }
    Ok(listeners)
}

/// Keeps the sessions, and registers again whenever the control plane has forgotten this node.
async fn stay_connected(
    tasks: TaskEngine,
    telemetry: Telemetry,
    mut instance: String,
    connected: watch::Sender<bool>,
) {
    loop {
        let orders = AcsSession::new(tasks.clone(), instance.clone(), connected.clone());
        let reports = TcsSession::new(tasks.clone(), telemetry.clone(), instance.clone());
        tokio::select! {
            SessionEnd::Deregistered = orders.run() => {}
            () = reports.run() => {}
        }
        let shared = tasks.shared();
        instance = loop {
            match registration::register(&shared.config, &shared.client, &shared.state).await {
                Ok(instance) => break instance,
                Err(error) => {
                    tracing::error!(error = crate::words(&error), "joining again failed");
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            }
        };
    }
}

/// A started agent. Cheap to clone. Dropping it stops nothing.
#[derive(Clone)]
pub struct AgentHandle {
    tasks: TaskEngine,
    connected: watch::Sender<bool>,
    background: Arc<Mutex<Option<JoinSet<()>>>>,
}

impl AgentHandle {
    /// Waits until the agent is connected to its control plane.
    pub async fn connected(&self) {
        let mut connected = self.connected.subscribe();
        let _ = connected.wait_for(|connected| *connected).await;
    }

    /// ARN of this node.
    pub fn container_instance_arn(&self) -> Option<String> {
        self.tasks.shared().state.identity().container_instance_arn
    }

    /// Kills every task, volumes and all, without telling the control plane: for a reset, which forgets them there too.
    pub async fn stop_all_tasks(&self) {
        self.tasks.destroy_all(Duration::ZERO).await;
    }

    /// Ends the agent.
    pub async fn shutdown(&self, mode: ShutdownMode) {
        let background = self.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut background) = background {
            background.shutdown().await;
        }
        self.connected.send_replace(false);
        match mode {
            ShutdownMode::LeaveTasksRunning => self.tasks.let_go().await,
            ShutdownMode::StopAndCleanEverything => {
                self.tasks.destroy_all(SHUTDOWN_GRACE).await;
                self.tasks.let_go().await;
            }
        }
    }
}
