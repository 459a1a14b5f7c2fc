//! `roadstead agent`: joins this machine to a control plane.

use std::sync::Arc;

use agent::AgentConfig;
use base::{RandomIds, SystemClock};

use crate::cli::AgentArguments;
use crate::commands::{Failure, doctor, serve, start_logging};
use crate::data_dir::{DataDir, RootKey};
use crate::names::Names;
use crate::node::{Machine, Node};
use crate::terminal::note;

/// Runs a node until a signal comes; its tasks run on after it.
pub fn run(arguments: AgentArguments) -> Result<(), Failure> {
    start_logging();
    if let Some(obstacles) = doctor::obstacles(&arguments.data.data_dir) {
        return Err(obstacles);
    }
    let variable = |name: &str| {
        std::env::var(name).map_err(|_| {
            format!(
                "{name} is not set: take the lines that `roadstead env` prints on the control plane's machine"
            )
        })
    };
    let key = RootKey {
        access_key_id: variable("AWS_ACCESS_KEY_ID")?,
        secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
    }
    .signing_key();
    let dir = DataDir::open(&arguments.data.data_dir).map_err(|error| error.to_string())?;
    let _lock = dir.lock().map_err(|error| error.to_string())?;
    let endpoint = arguments
        .server
        .parse()
        .map_err(|_| format!("{} is no URL such as http://10.0.0.1:4566", arguments.server))?;
    let mut config = AgentConfig::new(
        endpoint,
        arguments.region.to_string(),
        Arc::new(key),
        dir.agent(),
        Arc::new(SystemClock),
        Arc::new(RandomIds),
    );
    config.cluster = arguments.cluster;
    config.fargate_capacity = arguments.fargate;
    serve::apply(&mut config, &arguments.node);
    serve::runtime()?.block_on(async {
        let machine = Machine::open(&dir).await?;
        let names = Names::start_on_node(config.names.clone(), &machine.network).await?;
        config.resolver = names.resolver();
        let node = Node::start(&dir, machine, config).await?;
        node.agent().connected().await;
        note("Joined. Ctrl-C ends the agent; its tasks run on.");
        serve::ended_by_signal().await;
        node.leave().await;
        drop(names);
        Ok(())
    })
}
