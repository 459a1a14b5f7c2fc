//! Where capacity providers, their associations with clusters, and the queues of tasks that wait for capacity live.

use base::Scope;
use domain::{CapacityProvider, CapacityProviderAssociation, CapacityProviderStatus, QueuedTask};

use crate::key::number_part;
use crate::{IndexSink, Key, Options, Prefix, Row, Table};

/// Index of capacity providers that are not INACTIVE, by account, region and the name of their Auto Scaling group.
pub const CAPACITY_PROVIDERS_BY_GROUP: &str = "auto_scaling_group";
/// Index of associations by account, region and capacity provider.
pub const ASSOCIATIONS_OF_PROVIDER: &str = "capacity_provider";
/// Index of queued tasks by account, region, cluster and task id.
pub const QUEUED_BY_TASK: &str = "task";

impl Row for CapacityProvider {
    const TABLE: Table = Table::new("capacity_providers");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        capacity_provider_key(&self.scope, &self.name)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        if self.status != CapacityProviderStatus::Inactive {
            let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
            sink.add(CAPACITY_PROVIDERS_BY_GROUP, &[account, region, self.auto_scaling_group()]);
        }
    }
}

/// The key of a capacity provider.
pub fn capacity_provider_key(scope: &Scope, name: &str) -> Key {
    Key::new(scope, &[name])
}

impl Row for CapacityProviderAssociation {
    const TABLE: Table = Table::new("capacity_provider_associations");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        association_key(&self.scope, &self.cluster, &self.capacity_provider)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        sink.add(ASSOCIATIONS_OF_PROVIDER, &[account, region, &self.capacity_provider]);
    }
}

/// The key of the association of a provider with a cluster.
pub fn association_key(scope: &Scope, cluster: &str, capacity_provider: &str) -> Key {
    Key::new(scope, &[cluster, capacity_provider])
}

impl Row for QueuedTask {
    const TABLE: Table = Table::new("queued_tasks");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.cluster, &number_part(self.number)])
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        sink.add(QUEUED_BY_TASK, &[account, region, &self.cluster, &self.task_id]);
    }
}

/// The queue of a cluster, first to last; or its associations.
pub fn of_cluster(scope: &Scope, cluster: &str) -> Prefix {
    Key::prefix(scope, &[cluster])
}

/// `options` with the rows of this file.
pub fn register(options: Options) -> Options {
    options.row::<CapacityProvider>().row::<CapacityProviderAssociation>().row::<QueuedTask>()
}
