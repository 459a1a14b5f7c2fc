//! Where managed daemons, their task definitions, revisions, deployments and places live.

use base::Scope;
use domain::{
    Daemon, DaemonDeployment, DaemonPlace, DaemonRevision, DaemonTaskDefinition, DaemonTaskDefinitionFamily,
    DaemonTaskDefinitionStatus,
};

use crate::key::number_part;
use crate::{IndexSink, Key, Options, Prefix, Row, Table};

/// Index of daemon task definitions whose deletion was asked for: no parts.
pub const DAEMON_TASK_DEFINITIONS_DELETING: &str = "deleting";
/// Index of daemon revisions by the ARN of their task definition.
pub const DAEMON_REVISIONS_BY_TASK_DEFINITION: &str = "task_definition";
/// Index of daemon revisions that go some time, by the moment (milliseconds, [`number_part`]).
pub const DAEMON_REVISIONS_FORGET: &str = "forget_at";
/// Index of daemon deployments that go some time, by the moment (milliseconds, [`number_part`]).
pub const DAEMON_DEPLOYMENTS_FORGET: &str = "forget_at";
/// Index of daemons by account, region, cluster and the name of each capacity provider that they are or were on.
pub const DAEMONS_BY_CAPACITY_PROVIDER: &str = "capacity_provider";
/// Index of daemon places by account, region, cluster and container instance.
pub const DAEMON_PLACES_BY_CONTAINER_INSTANCE: &str = "container_instance";

impl Row for DaemonTaskDefinition {
    const TABLE: Table = Table::new("daemon_task_definitions");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        daemon_task_definition_key(&self.scope, &self.family, self.revision)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        if self.status != DaemonTaskDefinitionStatus::Active {
            sink.add(DAEMON_TASK_DEFINITIONS_DELETING, &[]);
        }
    }
}

/// The key of one revision. Revisions of a family are ordered by number.
pub fn daemon_task_definition_key(scope: &Scope, family: &str, revision: i32) -> Key {
    Key::new(scope, &[family, &number_part(u64::try_from(revision).unwrap_or_default())])
}

impl Row for DaemonTaskDefinitionFamily {
    const TABLE: Table = Table::new("daemon_task_definition_families");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.family])
    }
}

impl Row for Daemon {
    const TABLE: Table = Table::new("daemons");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        daemon_key(&self.scope, &self.cluster, &self.name)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        let steady = self.steady.iter().flat_map(|goal| &goal.capacity_providers);
        let all: std::collections::BTreeSet<&String> =
            self.goal.capacity_providers.iter().chain(steady).collect();
        for provider in all {
            sink.add(DAEMONS_BY_CAPACITY_PROVIDER, &[account, region, &self.cluster, provider]);
        }
    }
}

/// The key of a daemon.
pub fn daemon_key(scope: &Scope, cluster: &str, name: &str) -> Key {
    Key::new(scope, &[cluster, name])
}

/// All revisions, deployments or places of a daemon.
pub fn of_daemon(scope: &Scope, cluster: &str, daemon: &str) -> Prefix {
    Key::prefix(scope, &[cluster, daemon])
}

impl Row for DaemonRevision {
    const TABLE: Table = Table::new("daemon_revisions");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        of_daemon_key(&self.scope, &self.cluster, &self.daemon, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        sink.add(DAEMON_REVISIONS_BY_TASK_DEFINITION, &[&self.task_definition.to_string()]);
        if let Some(forget_at) = self.forget_at {
            let milliseconds = u64::try_from(forget_at.as_millis()).unwrap_or_default();
            sink.add(DAEMON_REVISIONS_FORGET, &[&number_part(milliseconds)]);
        }
    }
}

impl Row for DaemonDeployment {
    const TABLE: Table = Table::new("daemon_deployments");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        of_daemon_key(&self.scope, &self.cluster, &self.daemon, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        if let Some(forget_at) = self.forget_at {
            let milliseconds = u64::try_from(forget_at.as_millis()).unwrap_or_default();
            sink.add(DAEMON_DEPLOYMENTS_FORGET, &[&number_part(milliseconds)]);
        }
    }
}

impl Row for DaemonPlace {
    const TABLE: Table = Table::new("daemon_places");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        of_daemon_key(&self.scope, &self.cluster, &self.daemon, &self.container_instance)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        let parts = [account, region, &self.cluster, &self.container_instance];
        sink.add(DAEMON_PLACES_BY_CONTAINER_INSTANCE, &parts);
    }
}

/// The key of a revision, deployment (by id) or place (by container instance id) of a daemon.
pub fn of_daemon_key(scope: &Scope, cluster: &str, daemon: &str, id: &str) -> Key {
    Key::new(scope, &[cluster, daemon, id])
}

/// `options` with the rows of this file.
pub fn register(options: Options) -> Options {
    options
        .row::<DaemonTaskDefinition>()
        .row::<DaemonTaskDefinitionFamily>()
        .row::<Daemon>()
        .row::<DaemonRevision>()
        .row::<DaemonDeployment>()
        .row::<DaemonPlace>()
}
