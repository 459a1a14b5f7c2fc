//! From a daemon's revision and a container instance to a task row.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{Ids, Tag};
use domain::{
    ContainerInstance, ContainerInstanceStatus, Daemon, DaemonRevision, DaemonTaskDefinition, LaunchType,
    STARTED_BY_DAEMON, Task,
};
use scheduler::placement::{Desired, refusal};
use store::rows::cluster_key;
use store::{Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::place::{self, Placed};
use super::{Launch, overrides, queue};
use crate::faults::{client, cluster_not_found};
use crate::resources::{container_instance, daemon, tag};

/// What a task of the revision comes to. The fault's message is the reason why none can be started.
pub fn prepare(
    snapshot: &Snapshot,
    daemon: &Daemon,
    revision: &DaemonRevision,
) -> Result<(Launch, Versioned<DaemonTaskDefinition>), Fault> {
    let cluster = snapshot.get::<domain::Cluster>(&cluster_key(&daemon.scope, &daemon.cluster));
    let cluster = cluster.ok_or_else(cluster_not_found)?;
    let row = daemon::definition(snapshot, revision)
        .ok_or_else(|| client("Unable to describe daemon task definition."))?;
    let definition = Versioned { revision: row.revision, value: Arc::new(row.as_task_definition()) };
    let sized = overrides::check(None, &definition, LaunchType::Ec2)?;
    let launch = Launch {
        tags: tags(daemon, revision)?,
        cluster,
        launch_type: LaunchType::Ec2,
        strategy: Vec::new(),
        capacity_provider: None,
        group: daemon.group(),
        started_by: Some(format!("{STARTED_BY_DAEMON}{}", revision.id)),
        reference_id: None,
        overrides: sized.overrides,
        resources: sized.resources,
        cpu_units: sized.cpu_units,
        memory_mib: sized.memory_mib,
        gpus: 0,
        ephemeral_storage_gib: None,
        network: None,
        constraints: Vec::new(),
        strategies: Vec::new(),
        asked: queue::Asked::of(None, None),
        queue_when_full: false,
        max_runtime_seconds: None,
        targets: Vec::new(),
        registries: Vec::new(),
        connects_to: None,
        definition,
    };
    Ok((launch, row))
}

fn tags(daemon: &Daemon, revision: &DaemonRevision) -> Result<Vec<Tag>, Fault> {
    let mut tags = Vec::new();
    if revision.propagate_tags == "DAEMON" {
        tag::merge(&mut tags, daemon.tags.clone())?;
    }
    if revision.enable_ecs_managed_tags {
        for (key, value) in [("aws:ecs:clusterName", &daemon.cluster), ("aws:ecs:daemonName", &daemon.name)] {
            tags.push(Tag { key: key.to_owned(), value: value.clone() });
        }
    }
    Ok(tags)
}

/// Why the instance has no room for the task, in the words of the API (`RESOURCE:CPU`). That other tasks may not be placed
/// on it (DRAINING, REGISTERING) does not keep a daemon away.
pub fn refusal_of(snapshot: &Snapshot, launch: &Launch, instance: &ContainerInstance) -> Option<String> {
    let open = ContainerInstance { status: ContainerInstanceStatus::Active, ..instance.clone() };
    let required = place::required_attributes(launch);
    let desired = Desired {
        count: 1,
        group: &launch.group,
        resources: &launch.resources,
        gpus: 0,
        required_attributes: &required,
        constraints: &[],
        strategies: &[],
        availability_zones: None,
        seed: 0,
    };
    let candidate = place::candidate(snapshot, &open);
    refusal(&desired, &candidate).map(|reason| reason.as_str().to_owned())
}

/// Starts the task on the instance: its row, the order to the agent and the instance's allocation go into `transaction`.
pub fn start(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    call: &Call,
    ids: &dyn Ids,
    launch: &Launch,
    definition: &DaemonTaskDefinition,
    instance: &Versioned<ContainerInstance>,
) -> Result<Task, Fault> {
    let provider = instance.capacity_provider.clone();
    let mut task = place::task(call, ids, launch, Some(instance), &BTreeSet::new(), provider)?;
    task.task_definition = definition.arn();
    let mut placed = Placed { transaction: std::mem::take(transaction), ..Placed::default() };
    place::write(&mut placed, task.clone());
    *transaction = placed.transaction;
    container_instance::touch_allocation(snapshot, transaction, instance);
    Ok(task)
}
