//! Where AWS Cloud Map's namespaces, services, instances and operations live.

use base::{Arn, Scope};
use domain::{
    DiscoveryInstance, DiscoveryNamespace, DiscoveryNamespaceType, DiscoveryOperation, DiscoveryService,
};

use crate::key::number_part;
use crate::{IndexSink, Key, Options, Row, Snapshot, Table, Transaction, Versioned};

/// Index of namespaces by account, region and name, in lower case.
pub const NAMESPACES_BY_NAME: &str = "name";
/// Index of private DNS namespaces by account, region and VPC.
pub const NAMESPACES_BY_VPC: &str = "vpc";
/// Index of public DNS namespaces: no parts.
pub const NAMESPACES_PUBLIC: &str = "public";
/// Index of namespaces by the id of their hosted zone.
pub const NAMESPACES_BY_HOSTED_ZONE: &str = "hosted_zone";
/// Index of services by account, region, namespace and name, in lower case.
pub const DISCOVERY_SERVICES_BY_NAME: &str = "name";
/// Index of services that an ECS service made, by its ARN.
pub const DISCOVERY_SERVICES_BY_MANAGER: &str = "managed_by";
/// Index of operations by the moment they were asked for (milliseconds, [`number_part`]).
pub const DISCOVERY_OPERATIONS_BY_TIME: &str = "created_at";

impl Row for DiscoveryNamespace {
    const TABLE: Table = Table::new("discovery_namespaces");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        discovery_namespace_key(&self.scope, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        sink.add(NAMESPACES_BY_NAME, &[account, region, &self.name.to_ascii_lowercase()]);
        if let Some(vpc) = &self.vpc {
            sink.add(NAMESPACES_BY_VPC, &[account, region, vpc]);
        }
        if let Some(hosted_zone) = &self.hosted_zone {
            sink.add(NAMESPACES_BY_HOSTED_ZONE, &[hosted_zone]);
        }
        if self.namespace_type == DiscoveryNamespaceType::DnsPublic {
            sink.add(NAMESPACES_PUBLIC, &[]);
        }
    }
}

/// The key of a namespace.
pub fn discovery_namespace_key(scope: &Scope, id: &str) -> Key {
    Key::new(scope, &[id])
}

impl Row for DiscoveryService {
    const TABLE: Table = Table::new("discovery_services");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        discovery_service_key(&self.scope, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        let name = self.name.to_ascii_lowercase();
        sink.add(DISCOVERY_SERVICES_BY_NAME, &[account, region, &self.namespace, &name]);
        if let Some(managed_by) = &self.managed_by {
            sink.add(DISCOVERY_SERVICES_BY_MANAGER, &[managed_by]);
        }
    }
}

/// The key of a service.
pub fn discovery_service_key(scope: &Scope, id: &str) -> Key {
    Key::new(scope, &[id])
}

/// The service with this ARN.
pub fn discovery_service_by_arn(snapshot: &Snapshot, arn: &Arn) -> Option<Versioned<DiscoveryService>> {
    let (kind, id) = arn.resource_type_and_id()?;
    let is_service = arn.aws_service() == "servicediscovery" && kind == "service";
    snapshot.get(&discovery_service_key(&arn.scope()?, id)).filter(|_| is_service)
}

impl Row for DiscoveryInstance {
    const TABLE: Table = Table::new("discovery_instances");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        discovery_instance_key(&self.scope, &self.service, &self.id)
    }
}

/// The key of an instance; those of one service stand together.
pub fn discovery_instance_key(scope: &Scope, service: &str, id: &str) -> Key {
    Key::new(scope, &[service, id])
}

impl Row for DiscoveryOperation {
    const TABLE: Table = Table::new("discovery_operations");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        discovery_operation_key(&self.scope, &self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let milliseconds = u64::try_from(self.created_at.as_millis()).unwrap_or_default();
        sink.add(DISCOVERY_OPERATIONS_BY_TIME, &[&number_part(milliseconds)]);
    }
}

/// The key of an operation.
pub fn discovery_operation_key(scope: &Scope, id: &str) -> Key {
    Key::new(scope, &[id])
}

/// `options` with the rows of this file.
pub fn register(options: Options) -> Options {
    options
        .row::<DiscoveryNamespace>()
        .row::<DiscoveryService>()
        .row::<DiscoveryInstance>()
        .row::<DiscoveryOperation>()
}

/// Puts and removes instances of one service, which takes note of it: count and revision stand in its row, so that a
/// service that is being deleted gets no new instance. At least one change is to be given.
pub fn change_instances(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    service: &Versioned<DiscoveryService>,
    put: Vec<DiscoveryInstance>,
    removed: &[String],
) {
    let mut next = DiscoveryService::clone(service);
    let key = |id: &str| discovery_instance_key(&service.scope, &service.id, id);
    for id in removed {
        if let Some(there) = snapshot.get::<DiscoveryInstance>(&key(id)) {
            transaction.remove(&there);
            next.instance_count = next.instance_count.saturating_sub(1);
        }
    }
    for instance in put {
        match snapshot.get::<DiscoveryInstance>(&key(&instance.id)) {
            Some(there) => transaction.replace(&there, instance),
            None => {
                next.instance_count += 1;
                transaction.insert(instance)
            }
        };
    }
    next.instances_revision += 1;
    transaction.replace(service, next);
}
