//! The steps that an executor takes: everything that touches the machine, one function each. They choose nothing and change no
//! record; what came out goes back to the executor as a [`Step`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::{ContainerId, Created, EngineError, ExecSpec, Exit, Started, TaskGroupHandle};
use log_driver::ContainerLog;
use network::{ContainerNetwork, PublishedPorts};

use super::bridge::Linked;
use super::container_spec::{self, Ingredients};
use super::health::Outcome;
use super::plan::TaskPlan;
use super::record::ContainerRecord;
use super::{Shared, connect, networks};
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
    let published = networks::publish(shared, plan, index, id).map_err(|error| refused(&error))?;
    let started = shared.engine.start(id).await.map_err(|error| refused(&error))?;
    Ok(Up { started, published })
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
    for log in logs.into_iter().chain(shared.service_connect.take_shipping(&plan.id)) {
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
        logs.remove(&connect::log_id(&task_id))?;
        volumes.remove_task(&task_id)
    });
    if let Ok(Err(error)) = removed.await {
        tracing::error!(task = %plan.arn, %error, "the task's files could not all be removed");
    }
    Step::Cleaned
}
