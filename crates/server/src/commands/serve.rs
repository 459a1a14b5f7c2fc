//! `roadstead up` and `roadstead server`.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agent::AgentConfig;
use base::{RandomIds, SystemClock};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{NodeArguments, ServerArguments, UpArguments};
use crate::commands::{Failure, doctor, start_logging};
use crate::control_plane::ControlPlane;
use crate::data_dir::DataDir;
use crate::load_balancing::LoadBalancerMachine;
use crate::names::Names;
use crate::node::{Machine, Node};
use crate::terminal::note;

/// How long a start waits for its own agent before it says what it waits for.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// The asynchronous runtime that every long-running subcommand uses.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("roadstead")
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))
}

/// Opens the data directory as the arguments say.
fn open_dir(arguments: &ServerArguments) -> Result<DataDir, Failure> {
    let root = &arguments.data.data_dir;
    let dir = if arguments.ephemeral { DataDir::open_ephemeral(root) } else { DataDir::open(root) };
    dir.map_err(|error| error.to_string())
}

/// Lets this process have as many open files as it may: each connection of a load balancer is two.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, "the limit of open files stays low");
    }
}

/// Runs a control plane and a node until a signal comes.
pub fn up(arguments: UpArguments) -> Result<(), Failure> {
    start_logging();
    if let Some(obstacles) = doctor::obstacles(&arguments.server.data.data_dir) {
        return Err(obstacles);
    }
    raise_open_files();
    let dir = open_dir(&arguments.server)?;
    let _lock = dir.lock().map_err(|error| error.to_string())?;
    runtime()?.block_on(async {
        let ephemeral = arguments.server.ephemeral;
        let machine = Machine::open(&dir).await?;
        if ephemeral {
            // What an earlier ephemeral run left when it was killed is nobody's any more.
            machine.engine.destroy_all().await.map_err(|error| error.to_string())?;
        }
        let balancing = LoadBalancerMachine {
            network: Arc::clone(&machine.network),
            published: arguments.published.clone(),
        };
        let plane = ControlPlane::start(&arguments.server, &dir, Some(balancing)).await?;
        let names = names(&plane, &dir, Some(&machine), arguments.server.dns_listen).await?;
        let mut config = agent_config(&plane, &dir, &arguments)?;
        config.resolver = names.resolver();
        let node = Node::start(&dir, machine, config).await?;
        if tokio::time::timeout(CONNECT_PATIENCE, node.agent().connected()).await.is_err() {
            note("roadstead: the agent of this machine is not yet connected; see the log above");
            node.agent().connected().await;
        }
        let node = Arc::new(node);
        if arguments.server.allow_reset {
            plane.allow_reset(reset(&plane, &node));
        }
        plane.ready();
        say_ready(&plane, &dir);
        let ended = wait_for_end(&plane).await;
        dir.retract();
        finish(plane, node, ephemeral).await?;
        drop(names);
        if ephemeral {
            dir.remove().map_err(|error| error.to_string())?;
        }
        ended
    })
}

/// Ends node and control plane: with `ephemeral` nothing stays, else tasks run on.
async fn finish(plane: ControlPlane, node: Arc<Node>, ephemeral: bool) -> Result<(), Failure> {
    let stopping = async move {
        // The reset handler holds the other reference; it goes with the control plane's listener.
        if ephemeral {
            let done = node.destroy().await;
            plane.stop().await;
            done
        } else {
            node.leave().await;
            plane.stop().await;
            Ok(())
        }
    };
    tokio::select! {
        done = stopping => done,
        () = ended_by_signal() => Err("a second signal: ended before everything was stopped; `roadstead down` cleans up".to_owned()),
    }
}

/// Runs a control plane alone until a signal comes.
pub fn server(arguments: ServerArguments) -> Result<(), Failure> {
    start_logging();
    let dir = open_dir(&arguments)?;
    let _lock = dir.lock().map_err(|error| error.to_string())?;
    runtime()?.block_on(async {
        let plane = ControlPlane::start(&arguments, &dir, None).await?;
        let names = names(&plane, &dir, None, arguments.dns_listen).await?;
        plane.ready();
        say_ready(&plane, &dir);
        let ended = wait_for_end(&plane).await;
        dir.retract();
        plane.stop().await;
        drop(names);
        if arguments.ephemeral {
            dir.remove().map_err(|error| error.to_string())?;
        }
        ended
    })
}

fn say_ready(plane: &ControlPlane, dir: &DataDir) {
    tracing::info!(endpoint = plane.endpoint, region = %plane.scope.region, "ready");
    note(&format!("Ready at {}. In another terminal:", plane.endpoint));
    note(&format!("  eval \"$(roadstead env --data-dir {})\"", dir.root().display()));
    note("  aws ecs list-clusters");
}

/// Starts to answer names, and says where.
async fn names(
    plane: &ControlPlane,
    dir: &DataDir,
    machine: Option<&Machine>,
    listen: Option<SocketAddr>,
) -> Result<Names, Failure> {
    let network = machine.map(|machine| &*machine.network);
    let names = Names::start(&plane.store, &plane.scope, network, listen).await?;
    dir.announce_names(names.addresses()).map_err(|error| error.to_string())?;
    Ok(names)
}

/// What the agent of this process is told.
fn agent_config(
    plane: &ControlPlane,
    dir: &DataDir,
    arguments: &UpArguments,
) -> Result<AgentConfig, Failure> {
    let endpoint = plane.endpoint.parse().map_err(|_| format!("{} is no URL", plane.endpoint))?;
    let key = plane.node_key.signing_key();
    let mut config = AgentConfig::new(
        endpoint,
        plane.scope.region.to_string(),
        Arc::new(key),
        dir.agent(),
        Arc::new(SystemClock),
        Arc::new(RandomIds),
    );
    config.fargate_capacity = true;
    config.cluster.clone_from(&arguments.cluster);
    config.create_cluster = true;
    apply(&mut config, &arguments.node);
    Ok(config)
}

/// Takes the node's settings over.
pub fn apply(config: &mut AgentConfig, node: &NodeArguments) {
    config.cpu_units = node.cpu.and_then(|units| i32::try_from(units).ok());
    config.memory_mib = node.memory.and_then(|mib| i32::try_from(mib).ok());
    config.over_commit_percent = node.over_commit;
    config.auto_scaling_group.clone_from(&node.auto_scaling_group);
    config.registry_credentials_file.clone_from(&node.registry_auth);
}

/// What `POST /_roadstead/reset` does: stops every task at once, and empties the state but for keys and this machine.
fn reset(plane: &ControlPlane, node: &Arc<Node>) -> crate::front::Reset {
    let (store, logs, node) = (plane.store.clone(), plane.logs(), Arc::downgrade(node));
    Box::new(move || {
        let (store, logs, node) = (store.clone(), Arc::clone(&logs), node.clone());
        Box::pin(async move {
            let node = node.upgrade().ok_or_else(|| "the process is ending".to_owned())?;
            crate::reset::run(&store, &logs, node.agent()).await
        }) as Pin<Box<dyn Future<Output = Result<(), String>> + Send>>
    })
}

/// Waits for SIGINT or SIGTERM, or until the store has failed for good.
async fn wait_for_end(plane: &ControlPlane) -> Result<(), Failure> {
    tokio::select! {
        () = ended_by_signal() => Ok(()),
        reason = plane.store.failed() => Err(format!("the store has failed, and nothing more is acknowledged: {reason}")),
    }
}

/// Waits for SIGINT or SIGTERM.
pub async fn ended_by_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
