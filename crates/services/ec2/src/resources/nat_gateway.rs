//! NAT gateways.

use std::sync::Arc;
use std::time::Duration;

use base::{Scope, Tag, Timestamp};
use domain::NatGateway;
use store::{Key, Row as _, Snapshot, Transaction};
use wire::Fault;

use super::{tag, value};
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

/// How long a deleted gateway is told. Source: "Delete a NAT gateway": about an hour.
const TOLD_AFTER_DELETION: Duration = Duration::from_secs(3600);

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeNatGateways",
    prefix: "nat-",
    malformed: "NatGatewayMalformed",
    not_found: "NatGatewayNotFound",
    noun: "NAT gateway",
    filters: &[("nat-gateway-id", &[]), ("state", &[]), ("subnet-id", &[]), ("vpc-id", &[])],
    has_tags: true,
};

impl Filterable for Arc<NatGateway> {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "nat-gateway-id" => value(&self.id),
            "state" => value(self.state),
            "subnet-id" => value(&self.subnet),
            "vpc-id" => value(&self.vpc),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.tags
    }
}

impl Listed for Arc<NatGateway> {
    fn id(&self) -> &str {
        &self.id
    }
}

/// All gateways of a scope that are still told.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope, now: Timestamp) -> Vec<Arc<NatGateway>> {
    let rows = snapshot.scan::<NatGateway>(Key::prefix(scope, &[]), None);
    rows.map(|row| row.value).filter(|gateway| !is_forgotten(gateway, now)).collect()
}

fn is_forgotten(gateway: &NatGateway, now: Timestamp) -> bool {
    let told = i64::try_from(TOLD_AFTER_DELETION.as_millis()).unwrap_or(i64::MAX);
    gateway.deleted_at.is_some_and(|deleted| now.as_millis() - deleted.as_millis() >= told)
}

/// Removes the rows of gateways that are no longer told.
pub(crate) fn forget(snapshot: &Snapshot, transaction: &mut Transaction, scope: &Scope, now: Timestamp) {
    for gateway in snapshot.scan::<NatGateway>(Key::prefix(scope, &[]), None) {
        if is_forgotten(&gateway, now) {
            transaction.delete::<NatGateway>(&gateway.key());
        }
    }
}

/// The fault for a gateway that is not there.
pub(crate) fn not_found(id: &str) -> Fault {
    Fault::new(KIND.not_found, format!("The Nat Gateway {id} was not found"), 400)
}

/// The wire form.
pub(crate) fn describe(gateway: &NatGateway) -> api::ec2::NatGateway {
    let address = api::ec2::NatGatewayAddress {
        allocation_id: gateway.allocation_id.clone(),
        association_id: gateway.association_id.clone(),
        is_primary: Some(true),
        network_interface_id: Some(gateway.network_interface.clone()),
        private_ip: Some(gateway.private_address.to_string()),
        public_ip: gateway.public_address.map(|address| address.to_string()),
        status: Some("succeeded".to_owned()),
        ..Default::default()
    };
    api::ec2::NatGateway {
        availability_mode: Some("zonal".to_owned()),
        connectivity_type: Some(if gateway.is_private { "private" } else { "public" }.to_owned()),
        create_time: Some(gateway.created_at),
        delete_time: gateway.deleted_at,
        nat_gateway_addresses: Some(vec![address]),
        nat_gateway_id: Some(gateway.id.clone()),
        state: Some(gateway.state.to_string()),
        subnet_id: Some(gateway.subnet.clone()),
        tags: tag::describe(&gateway.tags),
        vpc_id: Some(gateway.vpc.clone()),
        ..Default::default()
    }
}
