//! Where gateways, their associations with clusters, and Express services with what is in front of them live.

use base::Scope;
use domain::{
    ExpressIngress, ExpressLoadBalancer, ExpressService, Gateway, GatewayClusterAssociation, Service,
};

use crate::{IndexSink, Key, Options, Row, Snapshot, Table, Versioned};

/// Index of associations by account, region and cluster.
pub const GATEWAY_ASSOCIATIONS_BY_CLUSTER: &str = "cluster";

impl Row for Gateway {
    const TABLE: Table = Table::new("gateways");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        gateway_key(&self.scope, &self.name)
    }
}

/// The key of a gateway.
pub fn gateway_key(scope: &Scope, name: &str) -> Key {
    Key::new(scope, &[name])
}

impl Row for GatewayClusterAssociation {
    const TABLE: Table = Table::new("gateway_cluster_associations");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        gateway_association_key(&self.scope, &self.gateway, &self.cluster)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        sink.add(GATEWAY_ASSOCIATIONS_BY_CLUSTER, &[account, region, &self.cluster]);
    }
}

/// The key of an association.
pub fn gateway_association_key(scope: &Scope, gateway: &str, cluster: &str) -> Key {
    Key::new(scope, &[gateway, cluster])
}

impl Row for ExpressService {
    const TABLE: Table = Table::new("express_services");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        express_service_key(&self.scope, &self.cluster, &self.service)
    }
}

/// The key of what an Express service is beside its service.
pub fn express_service_key(scope: &Scope, cluster: &str, service: &str) -> Key {
    Key::new(scope, &[cluster, service])
}

/// Index of ingress paths by their host name.
pub const EXPRESS_INGRESS_BY_ENDPOINT: &str = "endpoint";

impl Row for ExpressLoadBalancer {
    const TABLE: Table = Table::new("express_load_balancers");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        express_load_balancer_key(&self.scope, &self.name)
    }
}

/// The key of a load balancer that Express services share.
pub fn express_load_balancer_key(scope: &Scope, name: &str) -> Key {
    Key::new(scope, &[name])
}

impl Row for ExpressIngress {
    const TABLE: Table = Table::new("express_ingress");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        express_ingress_key(&self.scope, &self.load_balancer, &self.endpoint)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        sink.add(EXPRESS_INGRESS_BY_ENDPOINT, &[&self.endpoint]);
    }
}

/// The key of an ingress path; those of one load balancer stand together.
pub fn express_ingress_key(scope: &Scope, load_balancer: &str, endpoint: &str) -> Key {
    Key::new(scope, &[load_balancer, endpoint])
}

/// What `service` is beside a service, where it is an Express service: the two are made in the same moment.
pub fn express_service_of(snapshot: &Snapshot, service: &Service) -> Option<Versioned<ExpressService>> {
    let key = express_service_key(&service.scope, &service.cluster, &service.name);
    snapshot.get::<ExpressService>(&key).filter(|express| express.created_at == service.created_at)
}

/// The ingress path of an Express service, and the load balancer that it is on.
pub fn express_ingress_of(
    snapshot: &Snapshot,
    express: &ExpressService,
) -> Option<(Versioned<ExpressIngress>, Versioned<ExpressLoadBalancer>)> {
    let reference = express.ingress.as_ref()?;
    let key = express_ingress_key(&express.scope, &reference.load_balancer, &reference.endpoint);
    let load_balancer = express_load_balancer_key(&express.scope, &reference.load_balancer);
    Some((snapshot.get(&key)?, snapshot.get(&load_balancer)?))
}

/// `options` with the rows of this file.
pub fn register(options: Options) -> Options {
    options
        .row::<Gateway>()
        .row::<GatewayClusterAssociation>()
        .row::<ExpressService>()
        .row::<ExpressLoadBalancer>()
        .row::<ExpressIngress>()
}
