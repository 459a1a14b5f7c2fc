//! A control plane, an engine, a network and images that exist only in this process.

#![allow(dead_code)]

pub mod control_plane;
pub mod machine;

use std::sync::Arc;
use std::time::Duration;

use agent::{Agent, AgentConfig, AgentHandle};
use base::{RandomIds, SystemClock};
use client::{SecretKey, SigningKey};
use control_plane::ControlPlane;
use machine::{Images, Machine};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const CLUSTER: &str = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
pub const INSTANCE: &str =
    "arn:aws:ecs:us-east-1:000000000000:container-instance/default/0123456789abcdef0123456789abcdef";

/// A control plane with one agent.
pub struct World {
    pub control_plane: ControlPlane,
    pub machine: Arc<Machine>,
    pub images: Arc<Images>,
    pub data_dir: TempDir,
    pub agent: AgentHandle,
}

pub fn config(control_plane: &ControlPlane, data_dir: &TempDir) -> AgentConfig {
    let key = SigningKey {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: SecretKey::new("secret"),
        session_token: None,
    };
    let mut config = AgentConfig::new(
        control_plane.endpoint().parse().unwrap(),
        "us-east-1",
        Arc::new(key),
        data_dir.path().to_owned(),
        Arc::new(SystemClock),
        Arc::new(RandomIds),
    );
    config.metadata_listen = Some(([127, 0, 0, 1], 0).into());
    config.stats_interval = Duration::from_millis(100);
    config
}

impl World {
    pub async fn new() -> Self {
        let control_plane = ControlPlane::start().await;
        let (machine, images) = (Arc::new(Machine::default()), Arc::new(Images::default()));
        let data_dir = tempfile::tempdir().unwrap();
        let agent = start(&control_plane, &machine, &images, &data_dir).await;
        Self { control_plane, machine, images, data_dir, agent }
    }

    /// Starts another agent in the place of the one that was shut down.
    pub async fn restart(&mut self) {
        self.agent = start(&self.control_plane, &self.machine, &self.images, &self.data_dir).await;
    }
}

async fn start(
    control_plane: &ControlPlane,
    machine: &Arc<Machine>,
    images: &Arc<Images>,
    data_dir: &TempDir,
) -> AgentHandle {
    let config = config(control_plane, data_dir);
    let (engine, network) = (Arc::clone(machine), Arc::clone(machine));
    let agent = Agent::start_with(config, engine, network, Arc::clone(images) as _).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), agent.connected()).await.expect("the agent connects");
    agent
}

pub fn task_arn(id: &str) -> String {
    format!("arn:aws:ecs:us-east-1:000000000000:task/default/{id}")
}

/// A container that runs `command` (see [`machine`]).
pub fn container(name: &str, command: &[&str]) -> Value {
    json!({"name": name, "image": "app", "essential": true, "command": command, "cpu": 10, "memory": 64,
           "dockerConfig": {"hostConfig": "{\"LogConfig\":{\"Type\":\"none\"}}"}})
}

/// `base` with members added or replaced.
pub fn with(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

/// An order to run a task.
pub fn task(id: &str, containers: Vec<Value>) -> Value {
    json!({"arn": task_arn(id), "family": "web", "version": "1", "desiredStatus": "RUNNING", "networkMode": "none",
           "containers": containers, "roadstead": {"generation": 1}})
}

/// An order to stop a task.
pub fn stop(id: &str, generation: u64) -> Value {
    json!({"arn": task_arn(id), "desiredStatus": "STOPPED", "roadstead": {"generation": generation}})
}
