//! Resources that have tags, by ARN.

use api::ecs::faults as modelled;
use base::Tag;
use domain::{
    CapacityProvider, Cluster, ContainerInstance, Daemon, DaemonTaskDefinition, Gateway, Service,
    ServiceStatus, Task, TaskDefinition, TaskSet,
};
use store::rows_service::task_set_key;
use store::{Row, Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::{
    capacity_provider, cluster, container_instance, daemon, daemon_task_definition, gateway, identifier,
    node, service, task, task_definition,
};
use crate::faults::invalid;
use crate::launch::On;

/// A resource with tags.
#[derive(Clone, Debug)]
pub enum Tagged {
    /// A cluster, by name.
    Cluster(String),
    /// A capacity provider, by name.
    CapacityProvider(String),
    /// A task definition.
    TaskDefinition(task_definition::Reference),
    /// A service: its cluster and name.
    Service((String, String)),
    /// A task set: its cluster, service and id.
    TaskSet(String, String, String),
    /// A task: its cluster and id.
    Task(String, String),
    /// A container instance: its cluster and id.
    ContainerInstance(String, String),
    /// A daemon.
    Daemon(daemon::Reference),
    /// A daemon task definition.
    DaemonTaskDefinition(task_definition::Reference),
    /// A gateway, by name.
    Gateway(String),
}

/// Reads the ARN of a resource.
pub fn parse(call: &Call, text: &str) -> Result<Tagged, Fault> {
    let arn: base::Arn = text.parse().map_err(|_| invalid("Invalid arn syntax."))?;
    let kind = arn.resource_type_and_id().map(|(kind, _)| kind.to_owned()).unwrap_or_default();
    let rest = identifier::own_arn(call, text, &kind)?;
    let of_cluster = || {
        let (cluster, id) = rest
            .split_once('/')
            .ok_or_else(|| invalid("Long arn format must be used for tagging operations"))?;
        Ok::<_, Fault>((cluster.to_owned(), id.to_owned()))
    };
    match kind.as_str() {
        "cluster" => Ok(Tagged::Cluster(cluster::name(call, Some(text))?)),
        "task-definition" => {
            let reference = task_definition::parse(call, text)?;
            if reference.revision.is_none() {
                return Err(invalid("Invalid arn syntax."));
            }
            Ok(Tagged::TaskDefinition(reference))
        }
        "task" => {
            let (cluster, id) = of_cluster()?;
            let id = task::id(call, &cluster, &id)?;
            Ok(Tagged::Task(cluster, id))
        }
        "container-instance" => {
            let (cluster, id) = of_cluster()?;
            let id = container_instance::id(call, &cluster, &id)?;
            Ok(Tagged::ContainerInstance(cluster, id))
        }
        "daemon" => Ok(Tagged::Daemon(daemon::parse(call, text)?)),
        "daemon-task-definition" => {
            let reference = daemon_task_definition::parse(call, text)?;
            if reference.revision.is_none() {
                return Err(invalid("Invalid arn syntax."));
            }
            Ok(Tagged::DaemonTaskDefinition(reference))
        }
        "gateway" => Ok(Tagged::Gateway(gateway::name(call, Some(text))?)),
        "capacity-provider" => Ok(Tagged::CapacityProvider(capacity_provider::name(call, text)?)),
        "service" => {
            let (cluster, name) = of_cluster()?;
            Ok(Tagged::Service(service::name(call, &cluster, &name).map(|name| (cluster, name))?))
        }
        "task-set" => {
            let parts: Vec<&str> = rest.split('/').collect();
            match parts.as_slice() {
                [cluster, of_service, "ecs-svc", id] => {
                    Ok(Tagged::TaskSet((*cluster).to_owned(), (*of_service).to_owned(), (*id).to_owned()))
                }
                _ => Err(invalid("Long arn format must be used for tagging operations")),
            }
        }
        _ => Err(invalid(format!("Unsupported resource type: {kind}"))),
    }
}

/// What reserved tags may mean on the resource. A task was made with its wishes and keeps them.
pub fn on(resource: &Tagged) -> On {
    match resource {
        Tagged::Cluster(_) => On::Cluster,
        Tagged::TaskDefinition(_) => On::TaskDefinition,
        Tagged::Service(_) => On::Service,
        _ => On::Other,
    }
}

enum Found {
    Cluster(Versioned<Cluster>),
    CapacityProvider(Versioned<CapacityProvider>),
    TaskDefinition(Versioned<TaskDefinition>),
    Service(Versioned<Service>),
    TaskSet(Versioned<TaskSet>),
    Task(Versioned<Task>),
    ContainerInstance(Versioned<ContainerInstance>),
    Daemon(Versioned<Daemon>),
    DaemonTaskDefinition(Versioned<DaemonTaskDefinition>),
    Gateway(Versioned<Gateway>),
}

fn find(snapshot: &Snapshot, call: &Call, resource: &Tagged) -> Result<Found, Fault> {
    let missing = |noun: &str| {
        modelled::resource_not_found_exception(format!("The specified {noun} could not be found."))
    };
    match resource {
        Tagged::Cluster(name) => Ok(Found::Cluster(cluster::get(snapshot, &call.scope, name)?)),
        Tagged::CapacityProvider(name) => capacity_provider::get(snapshot, &call.scope, name)
            .map(Found::CapacityProvider)
            .ok_or_else(|| missing("capacity provider")),
        Tagged::TaskDefinition(reference) => task_definition::find(snapshot, &call.scope, reference)
            .map(Found::TaskDefinition)
            .ok_or_else(|| missing("task definition")),
        Tagged::Service((cluster, name)) => service::find(snapshot, &call.scope, cluster, name)
            .filter(|service| service.status != ServiceStatus::Inactive)
            .map(Found::Service)
            .ok_or_else(|| missing("service")),
        Tagged::TaskSet(cluster, of_service, id) => snapshot
            .get(&task_set_key(&call.scope, cluster, of_service, id))
            .map(Found::TaskSet)
            .ok_or_else(|| missing("task set")),
        Tagged::Task(cluster, id) => {
            task::get(snapshot, call, cluster, id).map(Found::Task).ok_or_else(|| missing("task"))
        }
        Tagged::ContainerInstance(cluster, id) => container_instance::get(snapshot, call, cluster, id)
            .filter(|instance| container_instance::is_registered(instance))
            .map(Found::ContainerInstance)
            .ok_or_else(|| missing("container instance")),
        Tagged::Daemon(reference) => {
            daemon::find(snapshot, &call.scope, reference).map(Found::Daemon).ok_or_else(|| missing("daemon"))
        }
        Tagged::DaemonTaskDefinition(reference) => {
            daemon_task_definition::find(snapshot, &call.scope, reference)
                .map(Found::DaemonTaskDefinition)
                .ok_or_else(|| missing("daemon task definition"))
        }
        Tagged::Gateway(name) => {
            gateway::get(snapshot, &call.scope, name).map(Found::Gateway).map_err(|_| missing("gateway"))
        }
    }
}

/// The tags of a resource.
pub fn tags(snapshot: &Snapshot, call: &Call, resource: &Tagged) -> Result<Vec<Tag>, Fault> {
    Ok(match find(snapshot, call, resource)? {
        Found::Cluster(row) => row.tags.clone(),
        Found::CapacityProvider(row) => row.tags.clone(),
        Found::TaskDefinition(row) => row.tags.clone(),
        Found::Service(row) => row.tags.clone(),
        Found::TaskSet(row) => row.tags.clone(),
        Found::Task(row) => row.tags.clone(),
        Found::ContainerInstance(row) => row.tags.clone(),
        Found::Daemon(row) => row.tags.clone(),
        Found::DaemonTaskDefinition(row) => row.tags.clone(),
        Found::Gateway(row) => row.tags.clone(),
    })
}

/// The transaction that changes a resource's tags.
pub fn change(
    snapshot: &Snapshot,
    call: &Call,
    resource: &Tagged,
    change: impl FnOnce(&mut Vec<Tag>) -> Result<(), Fault>,
) -> Result<(Transaction, ()), Fault> {
    let mut transaction = Transaction::new();
    let found = find(snapshot, call, resource)?;
    match &found {
        Found::ContainerInstance(row) => node::check_instance(call, row)?,
        Found::Task(row) => node::check_task(snapshot, call, row)?,
        Found::Cluster(row) => node::check_no_node(call, &row.arn())?,
        Found::Service(row) => node::check_no_node(call, &row.arn())?,
        Found::TaskSet(row) => node::check_no_node(call, &row.arn())?,
        Found::CapacityProvider(row) => node::check_no_node(call, &row.arn())?,
        Found::TaskDefinition(row) => node::check_no_node(call, &row.arn())?,
        Found::Daemon(row) => node::check_no_node(call, &row.arn())?,
        Found::DaemonTaskDefinition(row) => node::check_no_node(call, &row.arn())?,
        Found::Gateway(row) => node::check_no_node(call, &row.arn())?,
    }
    match found {
        Found::Cluster(row) => edit(&mut transaction, &row, |next: &mut Cluster| change(&mut next.tags))?,
        Found::Service(row) => edit(&mut transaction, &row, |next: &mut Service| change(&mut next.tags))?,
        Found::TaskSet(row) => edit(&mut transaction, &row, |next: &mut TaskSet| change(&mut next.tags))?,
        Found::CapacityProvider(row) => {
            edit(&mut transaction, &row, |next: &mut CapacityProvider| change(&mut next.tags))?;
        }
        Found::TaskDefinition(row) => {
            edit(&mut transaction, &row, |next: &mut TaskDefinition| change(&mut next.tags))?;
        }
        Found::Daemon(row) => edit(&mut transaction, &row, |next: &mut Daemon| change(&mut next.tags))?,
        Found::DaemonTaskDefinition(row) => {
            edit(&mut transaction, &row, |next: &mut DaemonTaskDefinition| change(&mut next.tags))?;
        }
        Found::Gateway(row) => edit(&mut transaction, &row, |next: &mut Gateway| change(&mut next.tags))?,
        Found::Task(row) => edit(&mut transaction, &row, |next: &mut Task| {
            next.version = next.version.saturating_add(1);
            change(&mut next.tags)
        })?,
        Found::ContainerInstance(row) => edit(&mut transaction, &row, |next: &mut ContainerInstance| {
            next.version = next.version.saturating_add(1);
            change(&mut next.tags)
        })?,
    }
    Ok((transaction, ()))
}

fn edit<R: Row + Clone>(
    transaction: &mut Transaction,
    row: &Versioned<R>,
    change: impl FnOnce(&mut R) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut next = R::clone(row);
    change(&mut next)?;
    transaction.replace(row, next);
    Ok(())
}
