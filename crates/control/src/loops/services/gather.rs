//! What there is of a service, read from one snapshot.

use std::collections::{BTreeMap, BTreeSet};

use base::Timestamp;
use domain::{
    DeploymentControllerType, ManagedResourceStatus, SchedulingStrategy, Service, ServiceDeployment,
    ServiceRevision, Task, TaskSet, TaskStatus,
};
use ecs::launch::service::Workload;
use ecs::launch::wishes::READINESS;
use scheduler::deployment::{Configuration, RevisionObserved, SETTLE_SECONDS};
use scheduler::service_scheduler::{Grace, Verdict};
use store::rows_gateway::{express_ingress_of, express_service_of};
use store::rows_service::{of_service, service_deployment_key, service_revision_key};
use store::{Key, Snapshot, Versioned};

use super::failures::{End, end};
use super::members::{Member, Members, Seen};
use crate::deployment_configuration;

/// Ends taken note of in one transaction; the rest follows in the next.
pub const ENDS_AT_ONCE: usize = 500;

/// A service and all that belongs to it.
pub struct Gathered {
    /// Its row.
    pub service: Versioned<Service>,
    /// The deployment under way.
    pub deployment: Option<Versioned<ServiceDeployment>>,
    /// The configuration that counts now.
    pub configuration: Configuration,
    /// Revisions in use, and those that live tasks are of.
    pub revisions: Vec<Versioned<ServiceRevision>>,
    /// Task sets, PRIMARY first, then newest first; empty with the ECS controller.
    pub task_sets: Vec<Versioned<TaskSet>>,
    /// Its tasks, and their machines.
    pub seen: Seen,
}

impl Gathered {
    /// Reads it; `None` where there is nothing (any more) to look after.
    pub fn of(snapshot: &Snapshot, key: &Key) -> Option<Self> {
        let service = snapshot.get::<Service>(key)?;
        if service.status == domain::ServiceStatus::Inactive || waits_for_ingress(snapshot, &service) {
            return None;
        }
        let seen = snapshot.view(|members: &mut Members| members.of_service(key));
        let deployment = service.current_deployment.as_ref().and_then(|id| {
            let key = service_deployment_key(&service.scope, &service.cluster, &service.name, id);
            snapshot.get::<ServiceDeployment>(&key)
        });
        let document = deployment.as_ref().map_or(&service.deployment_configuration_document, |deployment| {
            &deployment.deployment_configuration_document
        });
        let configuration = deployment_configuration::parse(document, service.scheduling_strategy);
        let mut gathered =
            Self { configuration, deployment, revisions: Vec::new(), task_sets: Vec::new(), seen, service };
        gathered.read_workloads(snapshot);
        Some(gathered)
    }

    fn read_workloads(&mut self, snapshot: &Snapshot) {
        let service = &self.service;
        if service.deployment_controller != DeploymentControllerType::Ecs {
            let prefix = of_service(&service.scope, &service.cluster, &service.name);
            self.task_sets = snapshot.scan::<TaskSet>(prefix, None).collect();
            self.task_sets.sort_by_key(|row| {
                (
                    row.status != domain::TaskSetStatus::Primary,
                    std::cmp::Reverse(row.created_at),
                    row.id.clone(),
                )
            });
            return;
        }
        let ids: BTreeSet<&str> = service.revisions.iter().map(|revision| revision.id.as_str()).collect();
        let key = |id: &&str| service_revision_key(&service.scope, &service.cluster, &service.name, id);
        self.revisions = ids.iter().filter_map(|id| snapshot.get::<ServiceRevision>(&key(id))).collect();
    }

    /// What the tasks of a revision or task set are.
    pub fn workload(&self, id: &str) -> Option<Workload> {
        let revision = self.revisions.iter().find(|row| row.id == id);
        let task_set = self.task_sets.iter().find(|row| row.id == id);
        match (revision, task_set) {
            (Some(revision), _) => Workload::of_revision(revision),
            (None, Some(task_set)) => Some(Workload::of_task_set(task_set)),
            (None, None) => None,
        }
    }

    /// The id of the newest revision or the first task set.
    pub fn newest(&self) -> Option<&str> {
        let revision = self.service.revisions.first().map(|revision| revision.id.as_str());
        revision.or_else(|| self.task_sets.first().map(|row| row.id.as_str()))
    }

    /// Tasks that are not STOPPED.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.seen.live().map(|(_, member)| member)
    }

    /// Tasks that ended and were not counted, as many as are taken note of at once.
    pub fn ended(&self) -> impl Iterator<Item = &Versioned<Task>> {
        self.seen.ended().take(ENDS_AT_ONCE)
    }

    /// For how long failing checks do not count: for ever, where the service's tag says that they tell readiness.
    pub fn grace(&self) -> Grace {
        let seconds = self.service.health_check_grace_period_seconds.unwrap_or(0);
        let readiness =
            self.service.tags.iter().find(|tag| tag.key == READINESS).map(|tag| tag.value.as_str());
        match readiness {
            Some("load-balancer") => {
                Grace { targets_seconds: Grace::FOR_EVER_SECONDS, ..Grace::of_all(seconds) }
            }
            Some("all") => Grace::of_all(Grace::FOR_EVER_SECONDS),
            _ => Grace::of_all(seconds),
        }
    }

    /// Whether it is one task an instance.
    pub fn is_daemon(&self) -> bool {
        self.service.scheduling_strategy == SchedulingStrategy::Daemon
    }

    /// The tasks of each revision, as the deployment decider counts; and when a healthy one will have settled.
    pub fn observed(&self, now: Timestamp) -> (Vec<RevisionObserved>, Option<Timestamp>) {
        let mut by_revision: BTreeMap<&str, RevisionObserved> = BTreeMap::new();
        let mut settles: Option<Timestamp> = None;
        let grace = self.grace();
        for member in self.members() {
            let Some(id) = member.revision.as_deref() else { continue };
            let facts = &member.facts;
            let there = by_revision.entry(id).or_default();
            if !facts.live {
                there.stopping += 1;
                continue;
            }
            if facts.last_status != TaskStatus::Running {
                there.pending += 1;
                continue;
            }
            there.running += 1;
            if facts.verdict(grace, now) == Verdict::Healthy {
                there.healthy += 1;
                let settled_at = facts.started_at.unwrap_or(now).plus_seconds(SETTLE_SECONDS);
                if now >= settled_at {
                    there.settled += 1;
                } else {
                    settles = Some(settles.map_or(settled_at, |at| at.min(settled_at)));
                }
            }
        }
        for task in self.ended() {
            let Some(id) = task.service_revision() else { continue };
            let there = by_revision.entry(id).or_default();
            match end(task) {
                End::Asked => {}
                End::NeverRan => there.failed += 1,
                End::Unhealthy => there.failed_health_checks += 1,
                End::Exited(_) => there.exited += 1,
            }
        }
        let observed =
            by_revision.into_iter().map(|(id, there)| RevisionObserved { id: id.to_owned(), ..there });
        (observed.collect(), settles)
    }
}

/// Whether the service is an Express service whose tasks have to wait: for the target groups that they are to be registered in,
/// and the security group that they are to have. It comes back when its ingress path changes.
fn waits_for_ingress(snapshot: &Snapshot, service: &Service) -> bool {
    let ingress = express_service_of(snapshot, service)
        .filter(|_| service.status == domain::ServiceStatus::Active)
        .and_then(|express| express_ingress_of(snapshot, &express));
    ingress.is_some_and(|(ingress, _)| ingress.status != ManagedResourceStatus::Active)
}
