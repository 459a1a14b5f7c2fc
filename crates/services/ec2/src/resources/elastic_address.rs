//! Elastic addresses, with the interface that has each.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base::{Scope, Tag};
use domain::{ElasticAddress, NetworkInterface, PublicAddress};
use store::rows_vpc::NETWORK_INTERFACES_BY_ALLOCATION;
use store::{Key, Snapshot, Versioned};
use wire::Fault;

use super::{network_interface, tag, value};
use crate::faults;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeAddresses",
    prefix: "eipalloc-",
    malformed: "InvalidAllocationID.Malformed",
    not_found: "InvalidAllocationID.NotFound",
    noun: "allocation ID",
    filters: &[
        ("allocation-id", &[]),
        ("association-id", &[]),
        ("domain", &[]),
        ("instance-id", &[]),
        ("network-border-group", &[]),
        ("network-interface-id", &[]),
        ("network-interface-owner-id", &[]),
        ("private-ip-address", &[]),
        ("public-ip", &[]),
    ],
    has_tags: true,
};

/// An address and who has it.
pub(crate) struct DescribedAddress {
    pub(crate) row: Arc<ElasticAddress>,
    pub(crate) interface: Option<Arc<NetworkInterface>>,
}

/// All addresses of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedAddress> {
    let rows = snapshot.scan::<ElasticAddress>(Key::prefix(scope, &[]), None);
    let described = |row: Arc<ElasticAddress>| DescribedAddress {
        interface: interface_of(snapshot, &row).map(|interface| interface.value),
        row,
    };
    rows.map(|row| described(row.value)).collect()
}

/// The interface that has an address.
pub(crate) fn interface_of(
    snapshot: &Snapshot,
    address: &ElasticAddress,
) -> Option<Versioned<NetworkInterface>> {
    let scope = &address.scope;
    let parts = [scope.account.as_str(), scope.region.as_str(), address.allocation_id.as_str()];
    snapshot.index::<NetworkInterface>(NETWORK_INTERFACES_BY_ALLOCATION, &parts, None).next()
}

/// The address that a call means: by allocation, or by itself.
pub(crate) fn find(
    snapshot: &Snapshot,
    scope: &Scope,
    allocation: Option<&str>,
    address: Option<&str>,
) -> Result<Versioned<ElasticAddress>, Fault> {
    match (allocation, address) {
        (Some(_), Some(_)) => Err(faults::invalid_combination(
            "You may specify public IP or allocation id, but not both in the same call",
        )),
        (Some(id), None) => KIND.find::<ElasticAddress>(snapshot, scope, id),
        (None, Some(text)) => {
            let wanted: Ipv4Addr = network_interface::ipv4_address(text)?;
            let mut all = snapshot.scan::<ElasticAddress>(Key::prefix(scope, &[]), None);
            all.find(|known| known.address == wanted).ok_or_else(|| unknown(text))
        }
        (None, None) => Err(faults::missing("allocationId")),
    }
}

/// The fault for an address that is none of the account's.
pub(crate) fn unknown(address: &str) -> Fault {
    Fault::new("InvalidAddress.NotFound", format!("Address '{address}' not found."), 400)
}

/// The fault for an address that an interface has.
pub(crate) fn already_associated(address: &ElasticAddress) -> Fault {
    let message = format!("resource {} is already associated with an instance", address.allocation_id);
    Fault::new("Resource.AlreadyAssociated", message, 400)
}

/// What an interface says of the address that it has.
pub(crate) fn of_interface(address: &ElasticAddress, association: String) -> PublicAddress {
    PublicAddress {
        address: address.address,
        allocation_id: Some(address.allocation_id.clone()),
        association_id: Some(association),
    }
}

impl DescribedAddress {
    fn association(&self) -> Option<String> {
        self.interface.as_ref()?.public_address.as_ref()?.association_id.clone()
    }

    fn of_interface<T: ToString>(&self, property: impl Fn(&NetworkInterface) -> T) -> Vec<String> {
        self.interface.iter().map(|interface| property(interface).to_string()).collect()
    }
}

impl Filterable for DescribedAddress {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "allocation-id" => value(&self.row.allocation_id),
            "association-id" => self.association().into_iter().collect(),
            "domain" => value("vpc"),
            "network-border-group" => value(&self.row.scope.region),
            "network-interface-id" => self.of_interface(|interface| interface.id.clone()),
            "network-interface-owner-id" => self.of_interface(|interface| interface.scope.account.clone()),
            "private-ip-address" => self.of_interface(|interface| interface.private_address),
            "public-ip" => value(self.row.address),
            // No instance has one.
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.row.tags
    }
}

impl Listed for DescribedAddress {
    fn id(&self) -> &str {
        &self.row.allocation_id
    }
}

/// The wire form.
pub(crate) fn describe(described: &DescribedAddress) -> api::ec2::Address {
    let (row, interface) = (&described.row, described.interface.as_ref());
    api::ec2::Address {
        allocation_id: Some(row.allocation_id.clone()),
        association_id: described.association(),
        domain: Some("vpc".to_owned()),
        network_border_group: Some(row.scope.region.to_string()),
        network_interface_id: interface.map(|interface| interface.id.clone()),
        network_interface_owner_id: interface.map(|interface| interface.scope.account.to_string()),
        private_ip_address: interface.map(|interface| interface.private_address.to_string()),
        public_ip: Some(row.address.to_string()),
        public_ipv4_pool: Some("amazon".to_owned()),
        subnet_id: interface.map(|interface| interface.subnet.clone()),
        tags: tag::describe(&row.tags),
        ..Default::default()
    }
}
