//! A node: container engine, network, images and agent on this machine.

use std::sync::Arc;

use agent::{Agent, AgentConfig, AgentHandle, ShutdownMode};
use base::RandomIds;
use engine::{Engine, EngineConfig, ShimCommand};
use image::ImageStore;
use network::{Network, NetworkConfig};

use crate::commands::{Failure, with_causes};
use crate::data_dir::DataDir;
use crate::names;

/// The parts of a node that make things on the machine.
pub struct Machine {
    /// Containers.
    pub engine: Arc<Engine>,
    /// Task networks.
    pub network: Arc<Network>,
}

impl Machine {
    /// Opens the engine and the network of a data directory; adopts what an earlier process left running.
    pub async fn open(dir: &DataDir) -> Result<Self, Failure> {
        let name = dir.instance_name(&RandomIds).map_err(|error| error.to_string())?;
        let engine = Engine::open(EngineConfig {
            root: dir.containers(),
            shim: ShimCommand::current_executable(),
            cgroup_root: format!("roadstead-{name}"),
        })
        .map_err(|error| with_causes(&error))?;
        let config = NetworkConfig { name, data_dir: dir.network(), mtu: None };
        let network = Network::start(config).await.map_err(|error| with_causes(&error))?;
        Ok(Self { engine: Arc::new(engine), network: Arc::new(network) })
    }

    /// Removes every container, mount, namespace, cgroup, link and rule.
    pub async fn destroy(&self) -> Result<(), Failure> {
        let engine = self.engine.dismantle().await.map_err(|error| with_causes(&error));
        let network = self.network.shutdown().await.map_err(|error| with_causes(&error));
        engine.and(network)
    }
}

/// A machine with an agent on it.
pub struct Node {
    machine: Machine,
    agent: AgentHandle,
}

impl Node {
    /// Starts the agent; it registers and connects on its own.
    pub async fn start(dir: &DataDir, machine: Machine, config: AgentConfig) -> Result<Self, Failure> {
        let images = ImageStore::open(&dir.images()).map_err(|error| with_causes(&error))?;
        let agent =
            Agent::start(config, Arc::clone(&machine.engine), Arc::clone(&machine.network), Arc::new(images))
                .await
                .map_err(|error| with_causes(&error))?;
        Ok(Self { machine, agent })
    }

    /// The agent.
    pub const fn agent(&self) -> &AgentHandle {
        &self.agent
    }

    /// Ends the agent; tasks run on, and ask the host's name server from now on.
    pub async fn leave(&self) {
        self.agent.shutdown(ShutdownMode::LeaveTasksRunning).await;
        names::leave_to_host(&self.machine.network);
    }

    /// Stops every task, ends the agent and removes everything from the machine.
    pub async fn destroy(&self) -> Result<(), Failure> {
        self.agent.shutdown(ShutdownMode::StopAndCleanEverything).await;
        self.machine.destroy().await
    }
}
