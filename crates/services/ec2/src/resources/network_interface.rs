//! Network interfaces.

use std::sync::Arc;

use base::{Scope, Tag};
use domain::{NetworkInterface, NetworkInterfaceStatus};
use store::{Key, Snapshot};

use super::{security_group, tag, value};
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

/// Who is named as the maker of interfaces that a service made.
const REQUESTER: &str = "amazon-ecs";
/// The place of a task's interface on its instance, which has one of its own.
const DEVICE_INDEX: i32 = 1;

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeNetworkInterfaces",
    prefix: "eni-",
    malformed: "InvalidNetworkInterfaceId.Malformed",
    not_found: "InvalidNetworkInterfaceID.NotFound",
    noun: "networkInterface ID",
    filters: &[
        ("addresses.association.owner-id", &[]),
        ("addresses.association.public-ip", &[]),
        ("addresses.primary", &[]),
        ("addresses.private-ip-address", &[]),
        ("association.allocation-id", &[]),
        ("association.association-id", &[]),
        ("association.ip-owner-id", &[]),
        ("association.public-dns-name", &[]),
        ("association.public-ip", &[]),
        ("attachment.attach-time", &[]),
        ("attachment.attachment-id", &[]),
        ("attachment.delete-on-termination", &[]),
        ("attachment.device-index", &[]),
        ("attachment.instance-id", &[]),
        ("attachment.instance-owner-id", &[]),
        ("attachment.nat-gateway-id", &[]),
        ("attachment.status", &[]),
        ("availability-zone", &[]),
        ("availability-zone-id", &[]),
        ("description", &[]),
        ("group-id", &[]),
        ("group-name", &[]),
        ("interface-type", &[]),
        ("ipv6-addresses.ipv6-address", &[]),
        ("mac-address", &[]),
        ("network-interface-id", &[]),
        ("operator.managed", &[]),
        ("operator.principal", &[]),
        ("owner-id", &[]),
        ("private-dns-name", &[]),
        ("private-ip-address", &[]),
        ("requester-id", &[]),
        ("requester-managed", &[]),
        ("source-dest-check", &[]),
        ("status", &[]),
        ("subnet-id", &[]),
        ("vpc-id", &[]),
    ],
    has_tags: true,
};

/// An interface, and the names of security groups by id.
pub(crate) struct DescribedInterface {
    pub(crate) row: Arc<NetworkInterface>,
    pub(crate) group_names: Arc<[(String, String)]>,
}

/// All interfaces of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedInterface> {
    let group_names = security_group::names(snapshot, scope);
    let rows = snapshot.scan::<NetworkInterface>(Key::prefix(scope, &[]), None);
    rows.map(|row| DescribedInterface { row: row.value, group_names: Arc::clone(&group_names) }).collect()
}

impl DescribedInterface {
    fn group_name(&self, id: &str) -> Option<String> {
        self.group_names.iter().find(|(known, _)| known == id).map(|(_, name)| name.clone())
    }

    /// What is true of every attached interface, under the filter's name behind `attachment.`.
    fn attachment_value(&self, name: &str) -> Vec<String> {
        let Some(attachment) = &self.row.attachment else { return Vec::new() };
        match name {
            "attach-time" => value(attachment.attached_at.to_string()),
            "attachment-id" => value(&attachment.id),
            "delete-on-termination" => value(false),
            "device-index" => value(DEVICE_INDEX),
            "instance-owner-id" => value(&self.row.scope.account),
            "status" => value(attachment_status(self.row.status)),
            // Its instance is not one of the account's.
            _ => Vec::new(),
        }
    }
}

fn attachment_status(status: NetworkInterfaceStatus) -> &'static str {
    match status {
        NetworkInterfaceStatus::Attaching => "attaching",
        NetworkInterfaceStatus::InUse => "attached",
        NetworkInterfaceStatus::Detaching => "detaching",
        NetworkInterfaceStatus::Available => "detached",
    }
}

impl Filterable for DescribedInterface {
    fn filter_values(&self, name: &str) -> Vec<String> {
        let row = &self.row;
        match name {
            "addresses.primary" | "source-dest-check" => value(true),
            "addresses.private-ip-address" | "private-ip-address" => value(row.private_address),
            "availability-zone" => value(&row.availability_zone),
            "availability-zone-id" => value(&row.availability_zone_id),
            "description" => value(&row.description),
            "group-id" => row.security_groups.clone(),
            "group-name" => row.security_groups.iter().filter_map(|id| self.group_name(id)).collect(),
            "interface-type" => value("interface"),
            "mac-address" => value(row.mac),
            "network-interface-id" => value(&row.id),
            "operator.managed" => value(false),
            "owner-id" => value(&row.scope.account),
            "private-dns-name" => value(row.private_dns_name()),
            "requester-id" if row.requester_managed => value(REQUESTER),
            "requester-managed" => value(row.requester_managed),
            "status" => value(row.status),
            "subnet-id" => value(&row.subnet),
            "vpc-id" => value(&row.vpc),
            // No public addresses, no IPv6.
            name => {
                name.strip_prefix("attachment.").map_or_else(Vec::new, |name| self.attachment_value(name))
            }
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.row.tags
    }
}

impl Listed for DescribedInterface {
    fn id(&self) -> &str {
        &self.row.id
    }
}

/// The wire form.
pub(crate) fn describe(described: &DescribedInterface) -> api::ec2::NetworkInterface {
    let row = &described.row;
    let attachment = row.attachment.as_ref().map(|attachment| api::ec2::NetworkInterfaceAttachment {
        attach_time: Some(attachment.attached_at),
        attachment_id: Some(attachment.id.clone()),
        delete_on_termination: Some(false),
        device_index: Some(DEVICE_INDEX),
        instance_owner_id: Some(row.scope.account.to_string()),
        network_card_index: Some(0),
        status: Some(attachment_status(row.status).to_owned()),
        ..Default::default()
    });
    let group = |id: &String| api::ec2::GroupIdentifier {
        group_id: Some(id.clone()),
        group_name: described.group_name(id),
    };
    let address = api::ec2::NetworkInterfacePrivateIpAddress {
        primary: Some(true),
        private_dns_name: Some(row.private_dns_name()),
        private_ip_address: Some(row.private_address.to_string()),
        ..Default::default()
    };
    api::ec2::NetworkInterface {
        attachment,
        availability_zone: Some(row.availability_zone.clone()),
        availability_zone_id: Some(row.availability_zone_id.clone()),
        description: Some(row.description.clone()),
        groups: Some(row.security_groups.iter().map(group).collect()),
        interface_type: Some("interface".to_owned()),
        ipv6_addresses: Some(Vec::new()),
        mac_address: Some(row.mac.to_string()),
        network_interface_id: Some(row.id.clone()),
        operator: Some(api::ec2::OperatorResponse { managed: Some(false), ..Default::default() }),
        owner_id: Some(row.scope.account.to_string()),
        private_dns_name: Some(row.private_dns_name()),
        private_ip_address: Some(row.private_address.to_string()),
        private_ip_addresses: Some(vec![address]),
        requester_id: row.requester_managed.then(|| REQUESTER.to_owned()),
        requester_managed: Some(row.requester_managed),
        source_dest_check: Some(true),
        status: Some(row.status.to_string()),
        subnet_id: Some(row.subnet.clone()),
        tag_set: Some(tag::describe(&row.tags).unwrap_or_default()),
        vpc_id: Some(row.vpc.clone()),
        ..Default::default()
    }
}
