//! Resources that have tags, by ARN.

use api::ecs::faults as modelled;
use base::Tag;
use domain::{Cluster, ContainerInstance, Task, TaskDefinition};
use store::{Row, Snapshot, Transaction, Versioned};
use wire::{Call, Fault};

use super::{cluster, container_instance, identifier, node, task, task_definition};
use crate::faults::invalid;

/// A resource with tags.
#[derive(Clone, Debug)]
pub enum Tagged {
    /// A cluster, by name.
    Cluster(String),
    /// A task definition.
    TaskDefinition(task_definition::Reference),
    /// A task: its cluster and id.
    Task(String, String),
    /// A container instance: its cluster and id.
    ContainerInstance(String, String),
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
        "service" | "task-set" | "capacity-provider" => {
            Err(modelled::resource_not_found_exception(format!("The specified {kind} could not be found.")))
        }
        _ => Err(invalid(format!("Unsupported resource type: {kind}"))),
    }
}

enum Found {
    Cluster(Versioned<Cluster>),
    TaskDefinition(Versioned<TaskDefinition>),
    Task(Versioned<Task>),
    ContainerInstance(Versioned<ContainerInstance>),
}

fn find(snapshot: &Snapshot, call: &Call, resource: &Tagged) -> Result<Found, Fault> {
    let missing = |noun: &str| {
        modelled::resource_not_found_exception(format!("The specified {noun} could not be found."))
    };
    match resource {
        Tagged::Cluster(name) => Ok(Found::Cluster(cluster::get(snapshot, &call.scope, name)?)),
        Tagged::TaskDefinition(reference) => task_definition::find(snapshot, &call.scope, reference)
            .map(Found::TaskDefinition)
            .ok_or_else(|| missing("task definition")),
        Tagged::Task(cluster, id) => {
            task::get(snapshot, call, cluster, id).map(Found::Task).ok_or_else(|| missing("task"))
        }
        Tagged::ContainerInstance(cluster, id) => container_instance::get(snapshot, call, cluster, id)
            .filter(|instance| container_instance::is_registered(instance))
            .map(Found::ContainerInstance)
            .ok_or_else(|| missing("container instance")),
    }
}

/// The tags of a resource.
pub fn tags(snapshot: &Snapshot, call: &Call, resource: &Tagged) -> Result<Vec<Tag>, Fault> {
    Ok(match find(snapshot, call, resource)? {
        Found::Cluster(row) => row.tags.clone(),
        Found::TaskDefinition(row) => row.tags.clone(),
        Found::Task(row) => row.tags.clone(),
        Found::ContainerInstance(row) => row.tags.clone(),
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
        Found::TaskDefinition(row) => node::check_no_node(call, &row.arn())?,
    }
    match found {
        Found::Cluster(row) => edit(&mut transaction, &row, |next: &mut Cluster| change(&mut next.tags))?,
        Found::TaskDefinition(row) => {
            edit(&mut transaction, &row, |next: &mut TaskDefinition| change(&mut next.tags))?;
        }
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
