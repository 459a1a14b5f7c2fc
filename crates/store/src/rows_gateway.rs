//! Where gateways, their associations with clusters, and Express services live.

use base::Scope;
use domain::{ExpressService, Gateway, GatewayClusterAssociation};

use crate::{IndexSink, Key, Options, Row, Table};

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

/// `options` with the rows of this file.
pub fn register(options: Options) -> Options {
    options.row::<Gateway>().row::<GatewayClusterAssociation>().row::<ExpressService>()
}
