//! The subnets of a load balancer, and the interfaces that it gets in them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use api::elasticloadbalancing::{SubnetMapping, faults};
use base::{Ids, Scope, Timestamp};
use domain::{
    ElasticAddress, InternetGateway, LoadBalancer, LoadBalancerSubnet, LoadBalancerType, NetworkInterface,
    NetworkInterfaceType, PublicAddress, SecurityGroup, Subnet, TaskNetworkInterface,
};
use store::rows_addresses::{is_address_taken, release_addresses};
use store::{Key, Snapshot, Transaction, Versioned, rows_vpc};
use wire::Fault;

use crate::faults::{unsupported, validation};

/// Who is named as the maker of the interfaces.
const REQUESTER: &str = "amazon-elb";

/// A subnet that a call names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubnetWish {
    pub(crate) subnet: String,
    pub(crate) private_address: Option<Ipv4Addr>,
    pub(crate) allocation: Option<String>,
}

/// The subnets of a call, which names them plainly or with mappings.
pub(crate) fn parse(
    subnets: Option<Vec<String>>,
    mappings: Option<Vec<SubnetMapping>>,
    kind: LoadBalancerType,
    scheme: &str,
) -> Result<Vec<SubnetWish>, Fault> {
    let wishes = match (subnets, mappings) {
        (Some(_), Some(_)) => {
            return Err(validation("You cannot specify both subnets and subnet mappings"));
        }
        (None, None) => return Err(validation("Either subnets or subnet mappings must be specified")),
        (Some(subnets), None) => {
            let plain = |subnet| SubnetWish { subnet, private_address: None, allocation: None };
            subnets.into_iter().map(plain).collect::<Vec<_>>()
        }
        (None, Some(mappings)) => mappings
            .into_iter()
            .map(|mapping| parse_mapping(mapping, kind, scheme))
            .collect::<Result<_, _>>()?,
    };
    let mut seen = BTreeSet::new();
    if let Some(wish) = wishes.iter().find(|wish| !seen.insert(wish.subnet.as_str())) {
        return Err(validation(format!("Subnet '{}' is specified more than once", wish.subnet)));
    }
    Ok(wishes)
}

fn parse_mapping(mapping: SubnetMapping, kind: LoadBalancerType, scheme: &str) -> Result<SubnetWish, Fault> {
    let subnet = mapping.subnet_id.ok_or_else(|| validation("A subnet ID must be specified"))?;
    if mapping.ipv6_address.is_some() {
        return Err(unsupported("IPv6Address of a subnet mapping"));
    }
    if mapping.source_nat_ipv6_prefix.is_some() {
        return Err(unsupported("SourceNatIpv6Prefix of a subnet mapping"));
    }
    let is_static = mapping.allocation_id.is_some() || mapping.private_ipv4_address.is_some();
    if is_static && kind != LoadBalancerType::Network {
        return Err(faults::invalid_configuration_request_exception(
            "Static addresses are supported for load balancers of type 'network' only",
        ));
    }
    if mapping.allocation_id.is_some() && scheme != "internet-facing" {
        return Err(faults::invalid_configuration_request_exception(
            "Elastic IP addresses are supported for internet-facing load balancers only",
        ));
    }
    if mapping.private_ipv4_address.is_some() && scheme != "internal" {
        return Err(faults::invalid_configuration_request_exception(
            "Private IPv4 addresses are supported for internal load balancers only",
        ));
    }
    let read = |text: String| {
        text.parse::<Ipv4Addr>().map_err(|_| validation(format!("'{text}' is not a valid IPv4 address")))
    };
    let private_address = mapping.private_ipv4_address.map(read).transpose()?;
    Ok(SubnetWish { subnet, private_address, allocation: mapping.allocation_id })
}

/// The rows of the wished subnets, if a load balancer can stand in them together.
pub(crate) fn resolve(
    snapshot: &Snapshot,
    scope: &Scope,
    wishes: &[SubnetWish],
    kind: LoadBalancerType,
) -> Result<Vec<Subnet>, Fault> {
    let mut subnets: Vec<Subnet> = Vec::new();
    for wish in wishes {
        let found = snapshot.get::<Subnet>(&rows_vpc::subnet_key(scope, &wish.subnet));
        let not_found =
            || faults::subnet_not_found_exception(format!("The subnet ID '{}' does not exist", wish.subnet));
        let found = found.ok_or_else(not_found)?;
        let subnet = Subnet::clone(&found);
        if subnets.iter().any(|other| other.vpc != subnet.vpc) {
            return Err(faults::invalid_subnet_exception("All subnets must belong to the same VPC"));
        }
        if subnets.iter().any(|other| other.availability_zone == subnet.availability_zone) {
            return Err(faults::invalid_configuration_request_exception(
                "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
            ));
        }
        if let Some(address) = wish.private_address
            && !subnet.cidr.contains(address)
        {
            let message = format!("The address '{address}' is not in the range of subnet '{}'", subnet.id);
            return Err(faults::invalid_configuration_request_exception(message));
        }
        subnets.push(subnet);
    }
    let minimum = match kind {
        LoadBalancerType::Application => 2,
        LoadBalancerType::Network => 1,
    };
    if subnets.len() < minimum {
        let message = match kind {
            LoadBalancerType::Application => {
                "At least two subnets in two different Availability Zones must be specified"
            }
            LoadBalancerType::Network => "At least one subnet must be specified",
        };
        return Err(validation(message));
    }
    Ok(subnets)
}

/// The security groups of a load balancer in `vpc`, each once.
pub(crate) fn security_groups(
    snapshot: &Snapshot,
    scope: &Scope,
    vpc: &str,
    ids: &[String],
) -> Result<Vec<String>, Fault> {
    let mut groups: Vec<String> = Vec::new();
    for id in ids {
        let found = snapshot.get::<SecurityGroup>(&rows_vpc::security_group_key(scope, id));
        let Some(group) = found else {
            let message = format!("Security group '{id}' does not exist");
            return Err(faults::invalid_security_group_exception(message));
        };
        if group.vpc != vpc {
            return Err(faults::invalid_configuration_request_exception(
                "One or more security groups are invalid: they are not in the VPC of the load balancer",
            ));
        }
        if !groups.contains(id) {
            groups.push(id.clone());
        }
    }
    Ok(groups)
}

/// The group `default` of a VPC: what an application load balancer has that is made without groups.
pub(crate) fn default_security_group(snapshot: &Snapshot, scope: &Scope, vpc: &str) -> Vec<String> {
    let groups = snapshot.scan::<SecurityGroup>(Key::prefix(scope, &[]), None);
    let default = groups.filter(|group| group.vpc == vpc && group.name == "default");
    default.map(|group| group.id.clone()).take(1).collect()
}

/// What an interface of a load balancer is made from.
pub(crate) struct InterfaceWish<'a> {
    /// Of which name, id, security groups and VPC are told.
    pub(crate) load_balancer: &'a LoadBalancer,
    pub(crate) subnet: &'a Subnet,
    pub(crate) wish: &'a SubnetWish,
    pub(crate) now: Timestamp,
}

impl InterfaceWish<'_> {
    /// Makes the interface in `transaction`, with the wished address or a free one.
    pub(crate) fn make(
        self,
        snapshot: &Snapshot,
        transaction: &mut Transaction,
        ids: &dyn Ids,
    ) -> Result<LoadBalancerSubnet, Fault> {
        let elastic = self.wish.allocation.as_deref();
        let elastic = elastic.map(|id| elastic_address(snapshot, self.load_balancer, id)).transpose()?;
        let wished = self.wish.private_address;
        let is_taken = |address: Ipv4Addr| {
            wished.is_some_and(|wished| wished != address)
                || is_address_taken(snapshot, self.subnet, address, self.now)
        };
        let load_balancer = self.load_balancer;
        let kind = load_balancer.load_balancer_type.arn_word();
        let made = TaskNetworkInterface {
            subnet: self.subnet,
            security_groups: load_balancer.security_groups.clone(),
            task: load_balancer.arn(),
            attachment: format!("ELB {kind}/{}/{}", load_balancer.name, load_balancer.id),
            now: self.now,
        }
        .make(ids, is_taken);
        let no_address = || match wished {
            Some(address) => {
                let message = format!("The address '{address}' is in use or reserved");
                faults::invalid_configuration_request_exception(message)
            }
            None => faults::invalid_subnet_exception(format!(
                "Not enough IP space available in {}. ELB requires at least 8 free IP addresses in each subnet.",
                self.subnet.id
            )),
        };
        let interface_type = match load_balancer.load_balancer_type {
            LoadBalancerType::Application => NetworkInterfaceType::Interface,
            LoadBalancerType::Network => NetworkInterfaceType::NetworkLoadBalancer,
        };
        let public_address = elastic.map(|elastic| {
            transaction.require_unchanged(&elastic);
            PublicAddress {
                address: elastic.address,
                allocation_id: Some(elastic.allocation_id.clone()),
                association_id: Some(format!("eipassoc-{}", ids.hex(17))),
            }
        });
        let interface = NetworkInterface {
            owner_task: None,
            requester: Some(REQUESTER.to_owned()),
            interface_type,
            public_address,
            ..made.ok_or_else(no_address)?
        };
        let placed = LoadBalancerSubnet {
            subnet: self.subnet.id.clone(),
            zone: self.subnet.availability_zone.clone(),
            network_interface: Some(interface.id.clone()),
            address: Some(interface.private_address),
            is_address_chosen: wished.is_some(),
            allocation: self.wish.allocation.clone(),
        };
        transaction.insert(interface);
        Ok(placed)
    }
}

/// The elastic address of an allocation, if it is free for the load balancer.
fn elastic_address(
    snapshot: &Snapshot,
    load_balancer: &LoadBalancer,
    allocation: &str,
) -> Result<Versioned<ElasticAddress>, Fault> {
    let scope = &load_balancer.scope;
    let found = snapshot.get::<ElasticAddress>(&Key::new(scope, &[allocation]));
    let not_found = || {
        let message = format!("The allocation ID '{allocation}' does not exist");
        faults::allocation_id_not_found_exception(message)
    };
    let found = found.ok_or_else(not_found)?;
    let parts = [scope.account.as_str(), scope.region.as_str(), allocation];
    let by_allocation = rows_vpc::NETWORK_INTERFACES_BY_ALLOCATION;
    if snapshot.index::<NetworkInterface>(by_allocation, &parts, None).next().is_some() {
        let message = format!("The allocation ID '{allocation}' is already associated");
        return Err(faults::resource_in_use_exception(message));
    }
    Ok(found)
}

/// Checks that what is to face the internet can.
pub(crate) fn check_gateway(snapshot: &Snapshot, scope: &Scope, vpc: &str) -> Result<(), Fault> {
    let gateways = snapshot.scan::<InternetGateway>(Key::prefix(scope, &[]), None);
    if gateways.into_iter().any(|gateway| gateway.vpc.as_deref() == Some(vpc)) {
        return Ok(());
    }
    Err(faults::invalid_subnet_exception(format!("VPC {vpc} has no internet gateway")))
}

/// Gives the address of a load balancer in a subnet back.
pub(crate) fn release(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    scope: &Scope,
    subnet: &LoadBalancerSubnet,
    now: Timestamp,
) {
    let Some(id) = &subnet.network_interface else { return };
    if let Some(interface) = rows_vpc::network_interface(snapshot, scope, id) {
        release_addresses(snapshot, transaction, &interface, now);
        transaction.remove(&interface);
    }
}
