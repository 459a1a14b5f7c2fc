//! The steps that an executor takes: everything that touches the machine, one function each. They choose nothing and change no
//! record; what came out goes back to the executor as a [`Step`].

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::Ipv4Cidr;
use engine::{ContainerId, Created, EngineError, ExecSpec, Exit, Started, TaskGroupHandle};
use log_driver::ContainerLog;
use network::{Attachment, ContainerNetwork, NetworkError, PublishedPorts};

use super::Shared;
use super::bridge::{self, Linked};
use super::container_spec::{self, Ingredients};
use super::health::Outcome;
use super::plan::{ContainerPlan, NetworkPlan, TaskPlan};
use super::record::ContainerRecord;
use crate::images::{LocalImage, PullFailure};
use crate::words;

/// How a step ended. The number is the container's place in the plan.
pub enum Step {
    /// Cgroup and network are there, or why not.
    Prepared(Result<Prepared, String>),
    /// The image is there, or why not.
    Pulled(usize, Result<Box<LocalImage>, PullFailure>),
    /// The container was made, or the whole reason why not.
    Created(usize, Result<Box<Made>, String>),
    /// The container was started, or the whole reason why not.
    Started(usize, Result<Up, String>),
    /// The container ended.
    Exited(usize, Result<Exit, EngineError>),
    /// The stop signal was sent and, maybe, SIGKILL.
    StopSent(usize, Result<Exit, EngineError>),
    /// A health check ended.
    Checked(usize, Outcome),
    /// The front report was taken, or refused for good.
    Reported,
    /// A container's address and ports were given back.
    ContainerReleased,
    /// The network interface was given back.
    Released,
    /// Containers, cgroup, leases and logs are gone.
    Cleaned,
}

/// What the containers of a task share.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Cgroup and shared namespaces.
    pub group: TaskGroupHandle,
    /// Network namespace, in mode awsvpc.
    pub namespace: Option<PathBuf>,
    /// What each container has of the network, in mode bridge.
    pub containers: BTreeMap<usize, ContainerNetwork>,
}

/// A container that was started.
pub struct Up {
    /// By the engine.
    pub started: Started,
    /// Ports of the host that lead to it.
    pub published: Vec<PublishedPorts>,
}

/// A container that was made.
pub struct Made {
    /// By the engine.
    pub created: Created,
    /// To be shipped.
    pub log: Option<ContainerLog>,
}

/// How long a container that is started again waits for the delivery of its last life's lines; the next shipping delivers the rest.
const RESTART_DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Makes what the containers share, and the networks of `containers` (mode bridge): their places and ids.
/// `runs` says that some of them run already: the task is taken up again.
pub async fn prepare(
    shared: Arc<Shared>,
    plan: Arc<TaskPlan>,
    containers: Vec<(usize, String)>,
    runs: bool,
) -> Step {
    Step::Prepared(
        try_prepare(&shared, &plan, &containers, runs)
            .await
            .map_err(|error| format!("ResourceInitializationError: {error}")),
    )
}

async fn try_prepare(
    shared: &Shared,
    plan: &TaskPlan,
    containers: &[(usize, String)],
    runs: bool,
) -> Result<Prepared, String> {
    let id = ContainerId::new(plan.id.clone()).map_err(|error| error.to_string())?;
    let group = async {
        let group = container_spec::task_group(plan, id);
        shared.engine.create_task_group(group).await.map_err(|error| words(&error))
    };
    let namespace = async {
        let NetworkPlan::AwsVpc(_) = &plan.network else { return Ok(None) };
        if let Some(vpc) = &plan.vpc {
            shared.network.ensure_vpc(vpc.clone()).await.map_err(|error| words(&error))?;
        }
        let attachment = attachment(plan)?;
        // What runs is behind the rules of before, and must not end because the control plane is slow to tell them again.
        if !runs && !shared.network.has_security_groups(attachment.address.into()) {
            return Err(format!("the security groups of {} are not in force here", attachment.address));
        }
        let attached = shared.network.attach(attachment).await.map_err(|error| words(&error))?;
        // Before the first container: what it calls is there when it looks.
        shared
            .service_connect
            .open(&plan.id, &attached.namespace, &plan.connect)
            .map_err(|error| words(&error))?;
        Ok::<_, String>(Some(attached.namespace))
    };
    let containers = futures_util::future::join_all(containers.iter().map(|(index, id)| async move {
        let network = shared.network.attach_container(id).await.map_err(|error| words(&error))?;
        Ok::<_, String>((*index, network))
    }));
    let (group, namespace, containers) = tokio::join!(group, namespace, containers);
    let containers = containers.into_iter().collect::<Result<_, _>>()?;
    Ok(Prepared { group: group?, namespace: namespace?, containers })
}

/// The interface of a task in mode awsvpc, in the network's own terms.
fn attachment(plan: &TaskPlan) -> Result<Attachment, String> {
    let NetworkPlan::AwsVpc(interface) = &plan.network else { return Err("no network interface".to_owned()) };
    let primary = interface
        .ipv4_addresses
        .iter()
        .find(|address| address.primary)
        .or_else(|| interface.ipv4_addresses.first())
        .ok_or("the network interface has no IPv4 address")?;
    let (gateway, prefix) = interface
        .subnet_gateway_ipv4_address
        .split_once('/')
        .ok_or("the subnet's gateway has no prefix length")?;
    let gateway = gateway.parse().map_err(|_| "the subnet's gateway is not an address")?;
    let prefix_length: u8 = prefix.parse().map_err(|_| "the subnet's prefix length is not one")?;
    Ipv4Cidr::containing(gateway, prefix_length).ok_or("the subnet's prefix length is not one")?;
    Ok(Attachment {
        id: plan.id.clone(),
        mac: interface.mac_address.parse().map_err(|_| "the hardware address is not one")?,
        address: primary.private_address.parse().map_err(|_| "the private address is not one")?,
        ipv6_addresses: interface
            .ipv6_addresses
            .iter()
            .map(|address| address.address.parse().map_err(|_| "the IPv6 address is not one"))
            .collect::<Result<_, _>>()?,
        prefix_length,
        gateway,
    })
}

/// Fetches the image.
pub async fn pull(shared: Arc<Shared>, index: usize, reference: String, holder: String) -> Step {
    Step::Pulled(index, shared.images.fetch(&reference, &holder).await.map(Box::new))
}

/// Everything that [`create`] and [`restart`] need.
#[derive(Clone)]
pub struct Making {
    /// The task.
    pub plan: Arc<TaskPlan>,
    /// The container's place in it.
    pub index: usize,
    /// Its ids.
    pub record: ContainerRecord,
    /// Its image.
    pub image: LocalImage,
    /// What it shares with the others.
    pub prepared: Prepared,
    /// The containers that it knows by name.
    pub links: Vec<Linked>,
    /// The id of the task role's credentials.
    pub credentials_id: Option<String>,
}

/// A container as those see it that link to it.
pub fn linked(
    alias: &str,
    plan: &ContainerPlan,
    record: &ContainerRecord,
    address: Ipv4Addr,
    image: Option<&LocalImage>,
) -> Linked {
    let config = image.map(|image| &image.image.config);
    let of_image = config.into_iter().flat_map(|config| &config.exposed_ports);
    let mut ports: Vec<_> = of_image.filter_map(|text| bridge::exposed(text)).collect();
    for wish in &plan.ports {
        ports.extend((wish.container.0..=wish.container.1).map(|port| (wish.protocol, port)));
    }
    let mut environment: BTreeMap<String, String> = config
        .into_iter()
        .flat_map(|config| &config.env)
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let ordered = plan.message.environment.iter();
    environment.extend(ordered.map(|(name, value)| (name.clone(), value.clone())));
    // As the engine names a container whose definition does not.
    let own = || record.runtime_id.chars().take(12).collect();
    Linked {
        alias: alias.to_owned(),
        docker_name: record.docker_name.clone(),
        hostname: plan.config.hostname.clone().filter(|name| !name.is_empty()).unwrap_or_else(own),
        address,
        ports,
        environment: environment.into_iter().collect(),
    }
}

/// Makes the container, its volumes and its log stream.
pub async fn create(shared: Arc<Shared>, making: Making) -> Step {
    Step::Created(making.index, try_create(&shared, &making, false).await.map(Box::new))
}

/// `again`: over what the container's last life has written.
async fn try_create(shared: &Shared, making: &Making, again: bool) -> Result<Made, String> {
    let refused = |error: String| format!("CannotCreateContainerError: {error}");
    let plan =
        making.plan.containers.get(making.index).ok_or_else(|| refused("no such container".to_owned()))?;
    let mounts = mounts(shared, making).await.map_err(refused)?;
    let logging = shared.logs.configure(&making.plan, plan, &making.record).map_err(refused)?;
    shared.logs.make_directory(&making.record.runtime_id).map_err(|error| refused(error.to_string()))?;
    let region = region_of(shared, &making.plan);
    let spec = container_spec::container_spec(&Ingredients {
        task: &making.plan,
        plan,
        record: &making.record,
        image: &making.image,
        group: &making.prepared.group,
        network_namespace: making.prepared.namespace.clone(),
        container_network: making.prepared.containers.get(&making.index),
        links: &making.links,
        mounts,
        log: logging.output,
        credentials_id: making.credentials_id.as_deref(),
        region: &region,
        metadata_port: shared.metadata_port,
        cluster: &shared.config.cluster,
        resolver: shared.config.resolver,
    })
    .map_err(refused)?;
    let stream = async {
        match &logging.shipped {
            Some(log) => shared.logs.prepare(log).await,
            None => Ok(()),
        }
    };
    let created = async {
        if again {
            match shared.engine.recreate(spec.clone()).await {
                // A restart that was cut short may have left nothing: then it is made from its image.
                Err(EngineError::NotFound(_)) => {}
                done => return done,
            }
        }
        shared.engine.create(spec).await
    };
    let (created, stream) = tokio::join!(created, stream);
    let created = created.map_err(|error| refused(words(&error)))?;
    stream.map_err(|error| format!("CannotStartContainerError: {error}"))?;
    Ok(Made { created, log: logging.shipped })
}

/// The region of the task, which need not be the agent's: a machine is Fargate capacity for every region.
fn region_of(shared: &Shared, plan: &TaskPlan) -> String {
    plan.arn.region().map_or_else(|| shared.config.region.clone(), |region| region.to_string())
}

async fn mounts(shared: &Shared, making: &Making) -> Result<Vec<engine::Mount>, String> {
    let (volumes, task) = (shared.volumes.clone(), Arc::clone(&making.plan));
    let (index, image, storage) = (making.index, making.image.clone(), making.prepared.group.storage.clone());
    let mounts =
        tokio::task::spawn_blocking(move || volumes.mounts(&task, index, &image, storage.as_deref()))
            .await
            .unwrap_or_else(|_| Err("the volumes could not be made".to_owned()))?;
    for volume in mounts.iter().filter(|volume| volume.copies_from_image) {
        let (source, destination) = (volume.mount.source.clone(), volume.mount.destination.clone());
        shared
            .engine
            .prepare_volume(source, making.image.lower_directories.clone(), destination)
            .await
            .map_err(|error| words(&error))?;
    }
    Ok(mounts.into_iter().map(|volume| volume.mount).collect())
}

/// Starts the container.
pub async fn start(shared: Arc<Shared>, plan: Arc<TaskPlan>, index: usize, id: ContainerId) -> Step {
    Step::Started(index, try_start(&shared, &plan, index, &id).await)
}

/// Its ports are there before it is: it may tell others of them at once.
async fn try_start(shared: &Shared, plan: &TaskPlan, index: usize, id: &ContainerId) -> Result<Up, String> {
    let refused =
        |error: &(dyn std::error::Error + 'static)| format!("CannotStartContainerError: {}", words(error));
    let published = publish(shared, plan, index, id).map_err(|error| refused(&error))?;
    let started = shared.engine.start(id).await.map_err(|error| refused(&error))?;
    Ok(Up { started, published })
}

fn publish(
    shared: &Shared,
    plan: &TaskPlan,
    index: usize,
    id: &ContainerId,
) -> Result<Vec<PublishedPorts>, NetworkError> {
    match plan.containers.get(index).filter(|container| container.is_on_bridge(plan)) {
        Some(container) if !container.ports.is_empty() => {
            shared.network.publish(id.as_str(), &container.ports, &shared.promised_ports.all())
        }
        _ => Ok(Vec::new()),
    }
}

/// Starts a container again that has ended; what it wrote stays.
///
/// `log` is the shipping of the last life: it goes on where that one ended, so there may be only one at a time.
pub async fn restart(
    shared: Arc<Shared>,
    making: Making,
    id: ContainerId,
    log: Option<log_driver::Handle>,
) -> Step {
    let index = making.index;
    if let Some(log) = log {
        log.drained(RESTART_DRAIN_LIMIT).await;
        log.stop();
    }
    match try_create(&shared, &making, true).await {
        Ok(_) => Step::Started(index, try_start(&shared, &making.plan, index, &id).await),
        Err(error) => Step::Started(index, Err(error)),
    }
}

/// Waits for the container's end.
pub async fn wait(shared: Arc<Shared>, index: usize, id: ContainerId) -> Step {
    Step::Exited(index, shared.engine.wait(&id).await)
}

/// Stops the container.
pub async fn stop(
    shared: Arc<Shared>,
    index: usize,
    id: ContainerId,
    signal: Option<engine::Signal>,
    timeout: Duration,
) -> Step {
    Step::StopSent(index, shared.engine.stop(&id, signal, timeout).await)
}

/// Waits for the interval, then checks the container's health once.
pub async fn check(
    shared: Arc<Shared>,
    index: usize,
    id: ContainerId,
    interval: Duration,
    spec: ExecSpec,
) -> Step {
    tokio::time::sleep(interval).await;
    Step::Checked(
        index,
        match shared.engine.exec(&id, spec).await {
            Ok(result) => Outcome::Ran(result),
            Err(error) => Outcome::Failed(words(&error)),
        },
    )
}

/// Gives a container's address and ports back.
pub async fn release_container(shared: Arc<Shared>, plan: Arc<TaskPlan>, runtime_id: String) -> Step {
    detach(&shared, &plan, &runtime_id).await;
    Step::ContainerReleased
}

/// Gives the network interface back, or those of the containers.
pub async fn release(shared: Arc<Shared>, plan: Arc<TaskPlan>, runtime_ids: Vec<String>) -> Step {
    shared.service_connect.close(&plan.id);
    match plan.network {
        NetworkPlan::AwsVpc(_) => detach(&shared, &plan, &plan.id).await,
        NetworkPlan::Bridge => {
            for id in &runtime_ids {
                detach(&shared, &plan, id).await;
            }
        }
        NetworkPlan::None | NetworkPlan::Host => {}
    }
    Step::Released
}

async fn detach(shared: &Shared, plan: &TaskPlan, id: &str) {
    if let Err(error) = shared.network.detach(id).await {
        // The next start's sweep tries again; holding STOPPED back would keep the task for ever.
        tracing::error!(task = %plan.arn, error = words(&error), "the network interface could not be given back");
    }
}

/// Removes containers, cgroup, leases, logs and volumes, after all logs were shipped and the wait is over.
pub async fn clean(
    shared: Arc<Shared>,
    plan: Arc<TaskPlan>,
    runtime_ids: Vec<String>,
    logs: Vec<log_driver::Handle>,
    mut hurry: tokio::sync::watch::Receiver<bool>,
) -> Step {
    let _ = tokio::time::timeout(shared.config.task_cleanup_wait, hurry.wait_for(|hurry| *hurry)).await;
    for id in runtime_ids.iter().filter_map(|id| ContainerId::new(id.clone()).ok()) {
        if let Err(error) = shared.engine.delete(&id).await {
            tracing::error!(container = %id, error = words(&error), "the container could not be removed");
        }
        shared.images.release(id.as_str()).await;
    }
    if let Ok(id) = ContainerId::new(plan.id.clone())
        && let Err(error) = shared.engine.delete_task_group(&id).await
    {
        tracing::error!(task = %plan.arn, error = words(&error), "the task's cgroup could not be removed");
    }
    for log in logs {
        tokio::select! {
            _ = log.drained(super::LOG_DRAIN_LIMIT) => {}
            _ = hurry.wait_for(|hurry| *hurry) => {}
        }
        log.stop();
    }
    let (logs, volumes) = (shared.logs.clone(), shared.volumes.clone());
    let task_id = plan.id.clone();
    let removed = tokio::task::spawn_blocking(move || {
        runtime_ids.iter().try_for_each(|id| logs.remove(id))?;
        volumes.remove_task(&task_id)
    });
    if let Ok(Err(error)) = removed.await {
        tracing::error!(task = %plan.arn, %error, "the task's files could not all be removed");
    }
    Step::Cleaned
}
