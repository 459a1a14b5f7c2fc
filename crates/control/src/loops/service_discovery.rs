//! Registers services' tasks in AWS Cloud Map, tells it of their health, and takes them out before they are stopped. What
//! Service Connect made there goes with the ECS service, or when its newest revisions have another name.
//!
//! Work is in proportion to what changed: the feed says which services have tasks that come, go, or have another health. What
//! is to be done is read off rows, so that a lost wake-up, a crash or a second run does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use base::{Arn, Timestamp};
use domain::{
    ContainerInstance, DiscoveryInstance, DiscoveryNamespace, DiscoveryRecordType, DiscoveryService,
    OutboxMessage, Service, ServiceRevision, ServiceStatus, Subnet, Task,
};
use futures_util::StreamExt as _;
use scheduler::service_discovery::{Action, Decision, Observed, RegistrySeen, TaskSeen, decide};
use scheduler::task_lifecycle;
use store::rows::{TASKS_DISCOVERED_ANEW, container_instance_key};
use store::rows_service::{service_key, service_revision_key};
use store::rows_service_discovery::{
    DISCOVERY_SERVICES_BY_MANAGER, change_instances, discovery_instance_key, discovery_namespace_key,
    discovery_service_by_arn,
};
use store::rows_vpc::find_default_vpc;
use store::{Change, Key, Snapshot, Transaction, Versioned};

use super::services::events::Messages;
use super::slow_scan::SlowScan;
use crate::Control;

/// Services that are worked on at once: their transactions share disk writes.
const AT_ONCE: usize = 32;
/// Tasks of a service that are moved in one transaction; the rest follows in the next.
const TASKS_AT_ONCE: usize = 500;
/// A pause after something that could not be written.
const FAILED: Duration = Duration::from_secs(1);
/// Services with tasks that wait are looked at this often though nothing changes.
const SLOW_SCAN: Duration = Duration::from_secs(60);

/// Which ECS service: account, region, cluster and task group.
type Moving = [String; 4];

/// Follows the store.
pub async fn run(control: Control) {
    loop {
        let snapshot = control.store.snapshot();
        let mut feed = control.store.changes(snapshot.version());
        let mut services: BTreeSet<Moving> = waiting(&snapshot);
        let mut made: BTreeSet<Arn> = made_by_services(&snapshot);
        drop(snapshot);
        let mut scan = SlowScan::new(SLOW_SCAN);
        loop {
            services = work(&control, std::mem::take(&mut services)).await;
            tidy(&control, std::mem::take(&mut made)).await;
            if !services.is_empty() {
                scan.within(FAILED);
            }
            tokio::select! {
                biased;
                change = feed.next() => match change {
                    Ok(batch) => take(&control.store.snapshot(), &batch.changes, &mut services, &mut made),
                    Err(lagged) => {
                        tracing::debug!(%lagged, "service discovery starts again from a snapshot");
                        break;
                    }
                },
                () = tokio::time::sleep_until(scan.at()) => {}
            }
            // All that has come in the meantime goes together.
            let snapshot = control.store.snapshot();
            while let Ok(Some(batch)) = feed.try_next() {
                take(&snapshot, &batch.changes, &mut services, &mut made);
            }
            if scan.is_due() {
                services.extend(waiting(&snapshot));
            }
        }
    }
}

fn moving(task: &Task) -> Moving {
    let (account, region) = (task.scope.account.as_str(), task.scope.region.as_str());
    [account.to_owned(), region.to_owned(), task.cluster.clone(), task.group.clone()]
}

fn waiting(snapshot: &Snapshot) -> BTreeSet<Moving> {
    snapshot.index::<Task>(TASKS_DISCOVERED_ANEW, &[], None).map(|task| moving(&task)).collect()
}

fn take(snapshot: &Snapshot, changes: &[Change], services: &mut BTreeSet<Moving>, made: &mut BTreeSet<Arn>) {
    for change in changes {
        if let Some(task) = change.of::<Task>() {
            if let Some(after) = task.after.filter(|after| after.is_discovered_anew()) {
                services.insert(moving(&after));
            }
        } else if let Some(row) = change.of::<DiscoveryService>() {
            if row.before.is_none() {
                // Tasks may have waited for it.
                services.extend(waiting(snapshot));
            }
            // The last instance has gone: maybe of an older revision.
            let is_idle = |row: &DiscoveryService| row.managed_by.is_some() && row.instance_count == 0;
            made.extend(row.after.filter(|after| is_idle(after)).map(|after| after.arn()));
        } else if let Some(row) = change.of::<Service>() {
            let before = row.before.as_ref().map(|before| (before.status, &before.revisions));
            if let Some(after) = &row.after
                && before != Some((after.status, &after.revisions))
            {
                let of = after.arn().to_string();
                let idle = snapshot.index::<DiscoveryService>(DISCOVERY_SERVICES_BY_MANAGER, &[&of], None);
                made.extend(idle.filter(|made| made.instance_count == 0).map(|made| made.arn()));
            }
        }
    }
}

/// Services of AWS Cloud Map that ECS services made and that have no instance.
fn made_by_services(snapshot: &Snapshot) -> BTreeSet<Arn> {
    let all = snapshot.index::<DiscoveryService>(DISCOVERY_SERVICES_BY_MANAGER, &[], None);
    all.filter(|made| made.instance_count == 0).map(|made| made.arn()).collect()
}

/// Removes those of them that no revision in use serves any more.
async fn tidy(control: &Control, made: BTreeSet<Arn>) {
    for arn in made {
        let done = control.store.update(|snapshot| {
            let mut transaction = Transaction::new();
            if let Some(row) = discovery_service_by_arn(snapshot, &arn)
                && row.instance_count == 0
                && !is_served(snapshot, &row)
            {
                let key = discovery_namespace_key(&row.scope, &row.namespace);
                if let Some(namespace) = snapshot.get::<DiscoveryNamespace>(&key) {
                    let mut next = DiscoveryNamespace::clone(&namespace);
                    next.service_count = next.service_count.saturating_sub(1);
                    transaction.replace(&namespace, next);
                }
                transaction.remove(&row);
            }
            Ok::<_, Infallible>((transaction, ()))
        });
        if let Err(error) = done.await {
            tracing::warn!(%error, %arn, "a service of AWS Cloud Map stays for now");
        }
    }
}

/// Whether a revision in use of the ECS service that made it has tasks registered in it, or may.
fn is_served(snapshot: &Snapshot, row: &DiscoveryService) -> bool {
    let manager = row.managed_by.as_deref().and_then(|manager| manager.parse::<Arn>().ok());
    let Some((scope, path)) =
        manager.as_ref().and_then(|arn| Some((arn.scope()?, arn.resource().strip_prefix("service/")?)))
    else {
        return true;
    };
    let Some((cluster, name)) = path.split_once('/') else { return true };
    let service = snapshot.get::<Service>(&service_key(&scope, cluster, name));
    let Some(service) = service.filter(|service| service.status != ServiceStatus::Inactive) else {
        return false;
    };
    let arn = row.arn();
    service.revisions.iter().any(|there| {
        let key = service_revision_key(&scope, cluster, name, &there.id);
        snapshot.get::<ServiceRevision>(&key).is_some_and(|revision| {
            let serves = revision.connect.iter().flat_map(|connect| &connect.serves);
            serves.into_iter().any(|(_, registry)| registry.service == arn)
        })
    })
}

/// Gives the services that could not be worked on.
async fn work(control: &Control, services: BTreeSet<Moving>) -> BTreeSet<Moving> {
    let passes: Vec<(Moving, bool)> = futures_util::stream::iter(services)
        .map(|key| async move {
            let update = control.store.update(|snapshot| Ok::<_, Infallible>(pass(control, snapshot, &key)));
            let again = update.await.unwrap_or_else(|error| {
                tracing::warn!(%error, ?key, "a service's registries wait");
                true
            });
            (key, again)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    passes.into_iter().filter(|(_, again)| *again).map(|(key, _)| key).collect()
}

/// Gathers, decides, and makes the transaction; whether more is to be done.
fn pass(control: &Control, snapshot: &Snapshot, key: &Moving) -> (Transaction, bool) {
    let now = control.clock.now();
    let parts: Vec<&str> = key.iter().map(String::as_str).collect();
    let rows: Vec<Versioned<Task>> =
        snapshot.index::<Task>(TASKS_DISCOVERED_ANEW, &parts, None).take(TASKS_AT_ONCE).collect();
    let Some(first) = rows.first() else { return (Transaction::new(), false) };
    let name = first.group.strip_prefix("service:");
    let service =
        name.and_then(|name| snapshot.get::<Service>(&service_key(&first.scope, &first.cluster, name)));
    let registries = Registries::of(snapshot, &rows);
    let instances: Vec<Option<Versioned<ContainerInstance>>> =
        rows.iter().map(|row| container_instance(snapshot, row)).collect();
    let seen: Vec<TaskSeen<'_>> = rows
        .iter()
        .zip(&instances)
        .map(|(row, instance)| TaskSeen {
            task: row.value.as_ref(),
            ec2_instance_id: instance.as_ref().map(|instance| instance.ec2_instance_id.as_str()),
            registries: row.registries.iter().map(|there| registries.seen(&there.service)).collect(),
        })
        .collect();
    let decision = decide(&Observed { tasks: &seen });
    let more = rows.len() == TASKS_AT_ONCE && !decision.actions.is_empty();
    let mut transaction = carry_out(snapshot, &rows, &registries, &decision, now);
    if let Some(service) = service.filter(|service| service.status != ServiceStatus::Inactive) {
        report(control, snapshot, &service, &decision, &mut transaction);
    }
    (transaction, more)
}

fn container_instance(snapshot: &Snapshot, task: &Task) -> Option<Versioned<ContainerInstance>> {
    let arn = task.container_instance.as_ref()?;
    let (cluster, id) = arn.resource().strip_prefix("container-instance/")?.split_once('/')?;
    snapshot.get::<ContainerInstance>(&container_instance_key(&arn.scope()?, cluster, id))
}

/// The services of AWS Cloud Map that tasks are registered in.
struct Registries<'a> {
    snapshot: &'a Snapshot,
    services: BTreeMap<Arn, Versioned<DiscoveryService>>,
}

impl<'a> Registries<'a> {
    fn of(snapshot: &'a Snapshot, rows: &[Versioned<Task>]) -> Self {
        let arns: BTreeSet<&Arn> =
            rows.iter().flat_map(|row| &row.registries).map(|there| &there.service).collect();
        let found = |arn: &Arn| Some((arn.clone(), discovery_service_by_arn(snapshot, arn)?));
        Self { snapshot, services: arns.into_iter().filter_map(found).collect() }
    }

    fn seen(&self, arn: &Arn) -> Option<RegistrySeen> {
        let service = self.services.get(arn)?;
        let key = discovery_namespace_key(&service.scope, &service.namespace);
        let vpc = self.snapshot.get::<DiscoveryNamespace>(&key).and_then(|namespace| namespace.vpc.clone());
        Some(RegistrySeen {
            custom_health: service.custom_health,
            has_ipv6: service.ttl_seconds(DiscoveryRecordType::Aaaa).is_some(),
            host_address: host_address(self.snapshot, service, vpc.as_deref()).map(Into::into),
        })
    }
}

/// An address of this machine in the namespace's VPC (the default one, or any, where it has none): a gateway's, which tasks
/// reach it by.
fn host_address(
    snapshot: &Snapshot,
    service: &DiscoveryService,
    vpc: Option<&str>,
) -> Option<std::net::Ipv4Addr> {
    let of = |wanted: Option<&str>| {
        let mut subnets = snapshot.scan::<Subnet>(Key::prefix(&service.scope, &[]), None);
        subnets.find(|subnet| wanted.is_none_or(|vpc| subnet.vpc == vpc)).map(|subnet| subnet.gateway())
    };
    match vpc {
        Some(vpc) => of(Some(vpc)),
        None => {
            let default = find_default_vpc(snapshot, &service.scope);
            default.and_then(|default| of(Some(&default.vpc.id))).or_else(|| of(None))
        }
    }
}

fn carry_out(
    snapshot: &Snapshot,
    rows: &[Versioned<Task>],
    registries: &Registries<'_>,
    decision: &Decision,
    now: Timestamp,
) -> Transaction {
    let mut transaction = Transaction::new();
    // All instances of a service in one go: each change makes the transaction depend on the service.
    let mut put: BTreeMap<&Arn, Vec<DiscoveryInstance>> = BTreeMap::new();
    let mut removed: BTreeMap<&Arn, Vec<String>> = BTreeMap::new();
    for action in &decision.actions {
        match action {
            Action::Register { task, registrations } => {
                let row = &rows[*task];
                for registration in registrations {
                    let arn = &row.registries[registration.place].service;
                    let Some(of) = registries.services.get(arn) else { continue };
                    put.entry(arn).or_default().push(DiscoveryInstance {
                        scope: of.scope.clone(),
                        service: of.id.clone(),
                        id: row.id.clone(),
                        attributes: registration.attributes.clone(),
                        creator_request_id: None,
                        custom_health: registration.healthy,
                        registered_at: now,
                    });
                }
                let done: Vec<_> = registrations.iter().map(|there| (there.place, there.healthy)).collect();
                transaction.replace(row, task_lifecycle::registered_in_registries(row, &done, now).task);
            }
            Action::Tell { task, registries: places, healthy } => {
                let row = &rows[*task];
                for place in places {
                    let arn = &row.registries[*place].service;
                    let instance = registries.services.get(arn).and_then(|of| {
                        snapshot.get::<DiscoveryInstance>(&discovery_instance_key(&of.scope, &of.id, &row.id))
                    });
                    // An instance that somebody took out has no health.
                    if let Some(instance) = instance {
                        let next = DiscoveryInstance {
                            custom_health: Some(*healthy),
                            ..DiscoveryInstance::clone(&instance)
                        };
                        put.entry(arn).or_default().push(next);
                    }
                }
                transaction.replace(row, task_lifecycle::told_health(row, places, *healthy));
            }
            Action::Deregister { task, registries: places } => {
                let row = &rows[*task];
                for place in places {
                    removed.entry(&row.registries[*place].service).or_default().push(row.id.clone());
                }
                let next = task_lifecycle::deregistered_from_registries(row, places);
                if task_lifecycle::waits_for_its_order(&next)
                    && let Some(order) = OutboxMessage::stop(&next, now)
                {
                    transaction.put(order);
                }
                transaction.replace(row, next);
            }
        }
    }
    for (arn, of) in &registries.services {
        let (put, removed) = (put.remove(arn).unwrap_or_default(), removed.remove(arn).unwrap_or_default());
        if !put.is_empty() || !removed.is_empty() {
            change_instances(snapshot, &mut transaction, of, put, &removed);
        }
    }
    transaction
}

/// Adds what the service says of tasks that cannot be registered.
fn report(
    control: &Control,
    snapshot: &Snapshot,
    service: &Versioned<Service>,
    decision: &Decision,
    transaction: &mut Transaction,
) {
    let now = control.clock.now();
    let mut messages = Messages::default();
    for (_, reason) in &decision.report {
        let what = format!("failed to register instances in service discovery. Reason: {reason}.");
        messages.say_once(snapshot, service, None, &what, now);
    }
    if !messages.is_empty() {
        let mut next = Service::clone(service);
        messages.write(&mut next, transaction, &*control.ids, now);
        transaction.replace(service, next);
    }
}
