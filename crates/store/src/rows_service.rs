//! Where services, their revisions, deployments, events and task sets live.

use base::Scope;
use domain::{Service, ServiceDeployment, ServiceEvent, ServiceRevision, ServiceStatus, TaskSet};

use crate::key::number_part;
use crate::{IndexSink, Key, Options, Prefix, Row, Table};

/// Index of services that are not INACTIVE: no parts.
pub const SERVICES_LIVE: &str = "live";
/// Index of services that are not INACTIVE, by account, region and cluster.
pub const SERVICES_OF_CLUSTER: &str = "of_cluster";
/// Index of service revisions by account, region, cluster and id.
pub const SERVICE_REVISIONS_BY_ID: &str = "id";
/// Index of service revisions by the namespace that Service Connect joins them to: account, region, namespace.
pub const SERVICE_REVISIONS_BY_NAMESPACE: &str = "namespace";
/// Index of service deployments that are not ended: no parts.
pub const SERVICE_DEPLOYMENTS_OPEN: &str = "open";

impl Row for Service {
    const TABLE: Table = Table::new("services");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        service_key(&self.scope, &self.cluster, &self.name)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        if self.status != ServiceStatus::Inactive {
            sink.add(SERVICES_LIVE, &[]);
            let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
            sink.add(SERVICES_OF_CLUSTER, &[account, region, &self.cluster]);
        }
    }
}

/// The key of a service.
pub fn service_key(scope: &Scope, cluster: &str, name: &str) -> Key {
    Key::new(scope, &[cluster, name])
}

/// All services of a cluster, or all revisions, deployments, events, task sets of it.
pub fn of_cluster(scope: &Scope, cluster: &str) -> Prefix {
    Key::prefix(scope, &[cluster])
}

/// All revisions, deployments, events or task sets of a service.
pub fn of_service(scope: &Scope, cluster: &str, service: &str) -> Prefix {
    Key::prefix(scope, &[cluster, service])
}

impl Row for ServiceRevision {
    const TABLE: Table = Table::new("service_revisions");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        service_revision_key(&self.scope, &self.cluster, &self.service, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        sink.add(SERVICE_REVISIONS_BY_ID, &[account, region, &self.cluster, &self.id]);
        if let Some(connect) = &self.connect {
            sink.add(SERVICE_REVISIONS_BY_NAMESPACE, &[account, region, &connect.namespace]);
        }
    }
}

/// The key of a service revision.
pub fn service_revision_key(scope: &Scope, cluster: &str, service: &str, id: &str) -> Key {
    Key::new(scope, &[cluster, service, id])
}

impl Row for ServiceDeployment {
    const TABLE: Table = Table::new("service_deployments");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        service_deployment_key(&self.scope, &self.cluster, &self.service, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        if !self.status.is_final() {
            sink.add(SERVICE_DEPLOYMENTS_OPEN, &[]);
        }
    }
}

/// The key of a service deployment.
pub fn service_deployment_key(scope: &Scope, cluster: &str, service: &str, id: &str) -> Key {
    Key::new(scope, &[cluster, service, id])
}

impl Row for ServiceEvent {
    const TABLE: Table = Table::new("service_events");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        service_event_key(&self.scope, &self.cluster, &self.service, self.number)
    }
}

/// The key of an event. A service's events are ordered by number.
pub fn service_event_key(scope: &Scope, cluster: &str, service: &str, number: u64) -> Key {
    Key::new(scope, &[cluster, service, &number_part(number)])
}

impl Row for TaskSet {
    const TABLE: Table = Table::new("task_sets");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        task_set_key(&self.scope, &self.cluster, &self.service, &self.id)
    }
}

/// The key of a task set.
pub fn task_set_key(scope: &Scope, cluster: &str, service: &str, id: &str) -> Key {
    Key::new(scope, &[cluster, service, id])
}

/// `options` with the rows of this file.
pub fn register(options: Options) -> Options {
    options
        .row::<Service>()
        .row::<ServiceRevision>()
        .row::<ServiceDeployment>()
        .row::<ServiceEvent>()
        .row::<TaskSet>()
}
