//! Network interfaces.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use base::{Ids, Scope, Tag};
use domain::{
    NetworkInterface, NetworkInterfaceStatus, NetworkInterfaceType, PublicAddress, SecurityGroup, Subnet,
    mac_address, next_free_address, next_free_ipv6_address,
};
use store::{Key, Snapshot, Versioned, rows_addresses, rows_vpc};
use wire::{Call, Fault};

use super::{security_group, tag, value};
use crate::faults;
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

/// Security groups of an interface. Source: "Amazon VPC quotas".
const GROUPS_PER_INTERFACE: usize = 5;
/// IPv6 addresses that one call asks for. Ours; on AWS it depends on the type of the instance.
const IPV6_ADDRESSES_MAXIMUM: usize = 50;

/// An interface, and the names of security groups by id.
pub(crate) struct DescribedInterface {
    row: Arc<NetworkInterface>,
    group_names: Arc<[(String, String)]>,
}

/// All interfaces of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedInterface> {
    let group_names = security_group::names(snapshot, scope);
    let rows = snapshot.scan::<NetworkInterface>(Key::prefix(scope, &[]), None);
    rows.map(|row| DescribedInterface { row: row.value, group_names: Arc::clone(&group_names) }).collect()
}

impl DescribedInterface {
    pub(crate) fn of(snapshot: &Snapshot, row: Arc<NetworkInterface>) -> Self {
        Self { group_names: security_group::names(snapshot, &row.scope), row }
    }

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
            "instance-owner-id" => value(instance_owner(&self.row)),
            "status" => value(attachment_status(self.row.status)),
            // Its instance is not one of the account's.
            _ => Vec::new(),
        }
    }
}

/// Who made an interface that a service manages.
fn requester(row: &NetworkInterface) -> &str {
    row.requester.as_deref().unwrap_or(REQUESTER)
}

/// Whose what an interface is attached to is: a load balancer's is not the account's.
fn instance_owner(row: &NetworkInterface) -> &str {
    const LOAD_BALANCING: &str = "amazon-elb";
    match row.requester.as_deref() {
        Some(LOAD_BALANCING) => LOAD_BALANCING,
        _ => row.scope.account.as_str(),
    }
}

/// Whose a public address is: the account's, if it keeps it.
fn owner_of(row: &NetworkInterface, public: &PublicAddress) -> String {
    match public.allocation_id {
        Some(_) => row.scope.account.to_string(),
        None => "amazon".to_owned(),
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
            "association.ip-owner-id" | "addresses.association.owner-id" => {
                row.public_address.iter().map(|public| owner_of(row, public)).collect()
            }
            "association.public-ip" | "addresses.association.public-ip" => {
                row.public_address.iter().map(|public| public.address.to_string()).collect()
            }
            "association.allocation-id" => {
                row.public_address.iter().filter_map(|public| public.allocation_id.clone()).collect()
            }
            "association.association-id" => {
                row.public_address.iter().filter_map(|public| public.association_id.clone()).collect()
            }
            "interface-type" => value(row.interface_type),
            "ipv6-addresses.ipv6-address" => row.ipv6_addresses.iter().map(ToString::to_string).collect(),
            "mac-address" => value(row.mac),
            "network-interface-id" => value(&row.id),
            "operator.managed" => value(false),
            "owner-id" => value(&row.scope.account),
            "private-dns-name" => value(row.private_dns_name()),
            "requester-id" if row.requester_managed => value(requester(row)),
            "requester-managed" => value(row.requester_managed),
            "status" => value(row.status),
            "subnet-id" => value(&row.subnet),
            "vpc-id" => value(&row.vpc),
            // Public addresses have no names.
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
        instance_owner_id: Some(instance_owner(row).to_owned()),
        network_card_index: Some(0),
        status: Some(attachment_status(row.status).to_owned()),
        ..Default::default()
    });
    let group = |id: &String| api::ec2::GroupIdentifier {
        group_id: Some(id.clone()),
        group_name: described.group_name(id),
    };
    let association = row.public_address.as_ref().map(|public| api::ec2::NetworkInterfaceAssociation {
        allocation_id: public.allocation_id.clone(),
        association_id: public.association_id.clone(),
        ip_owner_id: Some(owner_of(row, public)),
        public_dns_name: Some(String::new()),
        public_ip: Some(public.address.to_string()),
        ..Default::default()
    });
    let ipv6_address = |address: &Ipv6Addr| api::ec2::NetworkInterfaceIpv6Address {
        ipv6_address: Some(address.to_string()),
        is_primary_ipv6: Some(false),
        ..Default::default()
    };
    let address = api::ec2::NetworkInterfacePrivateIpAddress {
        association: association.clone(),
        primary: Some(true),
        private_dns_name: Some(row.private_dns_name()),
        private_ip_address: Some(row.private_address.to_string()),
    };
    api::ec2::NetworkInterface {
        association,
        attachment,
        availability_zone: Some(row.availability_zone.clone()),
        availability_zone_id: Some(row.availability_zone_id.clone()),
        description: Some(row.description.clone()),
        groups: Some(row.security_groups.iter().map(group).collect()),
        interface_type: Some(match row.interface_type {
            // The words of answers and of the filter differ.
            NetworkInterfaceType::NatGateway => "natGateway".to_owned(),
            other => other.to_string(),
        }),
        ipv6_address: row.ipv6_addresses.first().map(ToString::to_string),
        ipv6_addresses: Some(row.ipv6_addresses.iter().map(ipv6_address).collect()),
        mac_address: Some(row.mac.to_string()),
        network_interface_id: Some(row.id.clone()),
        operator: Some(api::ec2::OperatorResponse { managed: Some(false), ..Default::default() }),
        owner_id: Some(row.scope.account.to_string()),
        private_dns_name: Some(row.private_dns_name()),
        private_ip_address: Some(row.private_address.to_string()),
        private_ip_addresses: Some(vec![address]),
        requester_id: row.requester_managed.then(|| requester(row).to_owned()),
        requester_managed: Some(row.requester_managed),
        source_dest_check: Some(true),
        status: Some(row.status.to_string()),
        subnet_id: Some(row.subnet.clone()),
        tag_set: Some(tag::describe(&row.tags).unwrap_or_default()),
        vpc_id: Some(row.vpc.clone()),
        ..Default::default()
    }
}

/// The interface of an id.
pub(crate) fn find(
    snapshot: &Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<Versioned<NetworkInterface>, Fault> {
    KIND.check_id(id)?;
    rows_vpc::network_interface(snapshot, scope, id).ok_or_else(|| KIND.not_found(id))
}

/// Refuses to change what a service manages.
pub(crate) fn check_not_managed(interface: &NetworkInterface) -> Result<(), Fault> {
    if !interface.requester_managed {
        return Ok(());
    }
    Err(Fault::new("AuthFailure", "You do not have permission to access the specified resource.", 400))
}

/// Checked security groups of an interface; the VPC's default one where none are named.
pub(crate) fn groups(
    snapshot: &Snapshot,
    scope: &Scope,
    vpc: &str,
    asked: &[String],
) -> Result<Vec<String>, Fault> {
    if asked.is_empty() {
        return Ok(security_group::named(snapshot, scope, vpc, "default")
            .map(|group| group.id.clone())
            .into_iter()
            .collect());
    }
    if asked.len() > GROUPS_PER_INTERFACE {
        let message = "The maximum number of security groups per interface has been reached.";
        return Err(Fault::new("SecurityGroupsPerInterfaceLimitExceeded", message, 400));
    }
    let mut groups: Vec<String> = Vec::new();
    for id in asked {
        let group = security_group::KIND.find::<SecurityGroup>(snapshot, scope, id)?;
        if group.vpc != vpc {
            let message = "You have specified two resources that belong to different networks.";
            return Err(Fault::new("InvalidGroup.NotFound", message, 400));
        }
        if !groups.contains(id) {
            groups.push(id.clone());
        }
    }
    Ok(groups)
}

/// An address that a call names.
pub(crate) fn ipv4_address(text: &str) -> Result<Ipv4Addr, Fault> {
    text.parse().map_err(|_| {
        faults::invalid_value(format!(
            "Value ({text}) for parameter address is invalid. Invalid IPv4 address."
        ))
    })
}

/// What a new interface is to be like.
pub(crate) struct NewInterface {
    /// Its address; `None`: any free one.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) groups: Vec<String>,
    pub(crate) description: String,
    pub(crate) tags: Vec<Tag>,
}

impl NewInterface {
    /// The interface, which nothing has yet.
    pub(crate) fn make(
        self,
        snapshot: &Snapshot,
        call: &Call,
        subnet: &Subnet,
        ids: &dyn Ids,
    ) -> Result<NetworkInterface, Fault> {
        let id = ids.hex(17);
        let mut random = [0; 4];
        ids.fill(&mut random);
        let is_taken = |address| rows_addresses::is_address_taken(snapshot, subnet, address, call.now);
        let private_address = match self.address {
            Some(address) => check_address(snapshot, subnet, address)?,
            None => next_free_address(&subnet.cidr, is_taken, u32::from_ne_bytes(random)).ok_or_else(|| {
                let message = format!(
                    "There are not enough free addresses in subnet '{}' to satisfy the requested number of addresses.",
                    subnet.id
                );
                Fault::new("InsufficientFreeAddressesInSubnet", message, 400)
            })?,
        };
        Ok(NetworkInterface {
            scope: subnet.scope.clone(),
            mac: mac_address(&id),
            id: format!("eni-{id}"),
            private_address,
            ipv6_addresses: Vec::new(),
            public_address: None,
            subnet: subnet.id.clone(),
            vpc: subnet.vpc.clone(),
            availability_zone: subnet.availability_zone.clone(),
            availability_zone_id: subnet.availability_zone_id.clone(),
            security_groups: self.groups,
            description: self.description,
            status: NetworkInterfaceStatus::Available,
            requester_managed: false,
            requester: None,
            interface_type: NetworkInterfaceType::Interface,
            owner_task: None,
            attachment: None,
            created_at: call.now,
            tags: self.tags,
        })
    }
}

/// Checks that an address of a subnet can be an interface's. One that was given back a moment ago can, if it is named.
fn check_address(snapshot: &Snapshot, subnet: &Subnet, address: Ipv4Addr) -> Result<Ipv4Addr, Fault> {
    if !subnet.cidr.contains(address) {
        return Err(faults::invalid_value("Address does not fall within the subnet's address range"));
    }
    if !subnet.is_usable(address) {
        return Err(faults::invalid_value("Address is in subnet's reserved address range"));
    }
    let key = Key::new(&subnet.scope, &[&subnet.id, &address.to_string()]);
    if snapshot.get::<NetworkInterface>(&key).is_some() {
        return Err(in_use(address));
    }
    Ok(address)
}

fn in_use(address: impl std::fmt::Display) -> Fault {
    Fault::new("InvalidIPAddress.InUse", format!("Address {address} is in use."), 400)
}

/// IPv6 addresses that a call asks for: so many, or these.
#[derive(Clone)]
pub(crate) struct Ipv6Wanted {
    count: Option<usize>,
    pub(crate) addresses: Vec<Ipv6Addr>,
}

impl Ipv6Wanted {
    pub(crate) fn parse(count: Option<i32>, addresses: &[String]) -> Result<Self, Fault> {
        if count.is_some() && !addresses.is_empty() {
            return Err(faults::invalid_combination(
                "The parameters ipv6AddressCount and ipv6Addresses cannot be used together",
            ));
        }
        let count = count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        if count.unwrap_or(addresses.len()) > IPV6_ADDRESSES_MAXIMUM {
            let message = format!("An interface can have at most {IPV6_ADDRESSES_MAXIMUM} IPv6 addresses");
            return Err(faults::invalid_value(message));
        }
        let parse = |text: &String| {
            text.parse().map_err(|_| faults::invalid_value(format!("Invalid IPv6 address: {text}")))
        };
        let addresses = addresses.iter().map(parse).collect::<Result<Vec<Ipv6Addr>, Fault>>()?;
        Ok(Self { count, addresses })
    }

    /// One where nothing was asked for, if `wanted`.
    pub(crate) fn or_one(&self, wanted: bool) -> Self {
        let is_silent = self.count.is_none() && self.addresses.is_empty();
        Self {
            count: if is_silent && wanted { Some(1) } else { self.count },
            addresses: self.addresses.clone(),
        }
    }

    /// Free addresses of a subnet.
    pub(crate) fn choose(
        &self,
        snapshot: &Snapshot,
        subnet: &Subnet,
        ids: &dyn Ids,
    ) -> Result<Vec<Ipv6Addr>, Fault> {
        let is_taken = |address: Ipv6Addr| {
            let parts = [subnet.scope.account.as_str(), subnet.scope.region.as_str(), &address.to_string()];
            let index = rows_vpc::NETWORK_INTERFACES_BY_IPV6_ADDRESS;
            snapshot.index::<NetworkInterface>(index, &parts, None).next().is_some()
        };
        let count = self.count.unwrap_or_default();
        if count == 0 && self.addresses.is_empty() {
            return Ok(Vec::new());
        }
        let Some(of_subnet) = subnet.ipv6.as_ref() else {
            let message = format!("The subnet '{}' does not have an IPv6 CIDR block.", subnet.id);
            return Err(faults::invalid_value(message));
        };
        let mut chosen: Vec<Ipv6Addr> = Vec::new();
        for address in &self.addresses {
            if !of_subnet.cidr.contains(*address) {
                return Err(faults::invalid_value("Address does not fall within the subnet's address range"));
            }
            if is_taken(*address) || chosen.contains(address) {
                return Err(in_use(address));
            }
            chosen.push(*address);
        }
        for _ in 0..count {
            let is_taken = |address| is_taken(address) || chosen.contains(&address);
            let free = next_free_ipv6_address(&of_subnet.cidr, is_taken, ids);
            chosen.push(free.ok_or_else(|| {
                let message = format!("There are not enough free IPv6 addresses in subnet '{}'.", subnet.id);
                Fault::new("InsufficientFreeAddressesInSubnet", message, 400)
            })?);
        }
        Ok(chosen)
    }
}
