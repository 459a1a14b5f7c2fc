//! Route tables.

use std::sync::Arc;

use base::{Scope, Tag};
use domain::{
    InternetGateway, NatGateway, NatGatewayState, NetworkInterface, PrefixList, Route, RouteDestination,
    RouteTable, RouteTarget, Vpc,
};
use store::{Key, Snapshot, Versioned, rows_vpc};
use wire::Fault;

use super::permission::{ipv4_cidr, ipv6_cidr};
use super::{internet_gateway, prefix_list, tag, value};
use crate::faults;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

/// Routes of a table that are not the local ones. Source: "Amazon VPC quotas".
const ROUTES_PER_TABLE: i64 = 500;

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeRouteTables",
    prefix: "rtb-",
    malformed: "InvalidRouteTableId.Malformed",
    not_found: "InvalidRouteTableID.NotFound",
    noun: "routeTable ID",
    filters: &[
        ("association.gateway-id", &[]),
        ("association.main", &[]),
        ("association.route-table-association-id", &[]),
        ("association.route-table-id", &[]),
        ("association.subnet-id", &[]),
        ("owner-id", &[]),
        ("route-table-id", &[]),
        ("route.destination-cidr-block", &[]),
        ("route.destination-ipv6-cidr-block", &[]),
        ("route.destination-prefix-list-id", &[]),
        ("route.egress-only-internet-gateway-id", &[]),
        ("route.gateway-id", &[]),
        ("route.instance-id", &[]),
        ("route.nat-gateway-id", &[]),
        ("route.origin", &[]),
        ("route.state", &[]),
        ("route.transit-gateway-id", &[]),
        ("route.vpc-peering-connection-id", &[]),
        ("vpc-id", &[]),
    ],
    has_tags: true,
};

/// A table, and its routes as they are shown.
pub(crate) struct DescribedTable {
    row: Arc<RouteTable>,
    routes: Vec<api::ec2::Route>,
}

/// All tables of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedTable> {
    let rows = snapshot.scan::<RouteTable>(Key::prefix(scope, &[]), None);
    rows.map(|row| DescribedTable::of(snapshot, row.value)).collect()
}

impl DescribedTable {
    pub(crate) fn of(snapshot: &Snapshot, row: Arc<RouteTable>) -> Self {
        let vpc = snapshot.get::<Vpc>(&Key::new(&row.scope, &[&row.vpc]));
        let mut routes: Vec<_> = vpc.iter().flat_map(|vpc| local_routes(vpc)).collect();
        routes.extend(row.routes.iter().map(|route| describe_route(snapshot, &row, route)));
        Self { row, routes }
    }

    fn of_routes(&self, property: impl Fn(&api::ec2::Route) -> Option<&String>) -> Vec<String> {
        self.routes.iter().filter_map(property).cloned().collect()
    }
}

impl Filterable for DescribedTable {
    fn filter_values(&self, name: &str) -> Vec<String> {
        let row = &self.row;
        match name {
            "association.main" => row.associations.iter().map(|one| one.is_main().to_string()).collect(),
            "association.route-table-association-id" => {
                row.associations.iter().map(|one| one.id.clone()).collect()
            }
            "association.route-table-id" => row.associations.iter().map(|_| row.id.clone()).collect(),
            "association.subnet-id" => row.associations.iter().filter_map(|one| one.subnet.clone()).collect(),
            "owner-id" => value(&row.scope.account),
            "route-table-id" => value(&row.id),
            "route.destination-cidr-block" => self.of_routes(|route| route.destination_cidr_block.as_ref()),
            "route.destination-ipv6-cidr-block" => {
                self.of_routes(|route| route.destination_ipv6_cidr_block.as_ref())
            }
            "route.destination-prefix-list-id" => {
                self.of_routes(|route| route.destination_prefix_list_id.as_ref())
            }
            "route.gateway-id" => self.of_routes(|route| route.gateway_id.as_ref()),
            "route.nat-gateway-id" => self.of_routes(|route| route.nat_gateway_id.as_ref()),
            "route.origin" => self.of_routes(|route| route.origin.as_ref()),
            "route.state" => self.of_routes(|route| route.state.as_ref()),
            "vpc-id" => value(&row.vpc),
            // No gateways of other kinds, no instances as routers.
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.row.tags
    }
}

impl Listed for DescribedTable {
    fn id(&self) -> &str {
        &self.row.id
    }
}

fn local_routes(vpc: &Vpc) -> Vec<api::ec2::Route> {
    let local = || api::ec2::Route {
        gateway_id: Some("local".to_owned()),
        origin: Some("CreateRouteTable".to_owned()),
        state: Some("active".to_owned()),
        ..Default::default()
    };
    let ipv4 = api::ec2::Route { destination_cidr_block: Some(vpc.cidr.to_string()), ..local() };
    let ipv6 = vpc
        .ipv6
        .as_ref()
        .map(|ipv6| api::ec2::Route { destination_ipv6_cidr_block: Some(ipv6.cidr.to_string()), ..local() });
    std::iter::once(ipv4).chain(ipv6).collect()
}

fn describe_route(snapshot: &Snapshot, table: &RouteTable, route: &Route) -> api::ec2::Route {
    let mut wire = api::ec2::Route {
        origin: Some("CreateRoute".to_owned()),
        state: Some(if leads_somewhere(snapshot, table, route) { "active" } else { "blackhole" }.to_owned()),
        ..Default::default()
    };
    match &route.destination {
        RouteDestination::Ipv4(cidr) => wire.destination_cidr_block = Some(cidr.to_string()),
        RouteDestination::Ipv6(cidr) => wire.destination_ipv6_cidr_block = Some(cidr.to_string()),
        RouteDestination::PrefixList(id) => wire.destination_prefix_list_id = Some(id.clone()),
    }
    match &route.target {
        RouteTarget::InternetGateway(id) => wire.gateway_id = Some(id.clone()),
        RouteTarget::NatGateway(id) => wire.nat_gateway_id = Some(id.clone()),
        RouteTarget::NetworkInterface(id) => wire.network_interface_id = Some(id.clone()),
    }
    wire
}

/// Whether what a route leads to is there, and attached to the VPC.
fn leads_somewhere(snapshot: &Snapshot, table: &RouteTable, route: &Route) -> bool {
    let scope = &table.scope;
    match &route.target {
        RouteTarget::InternetGateway(id) => snapshot
            .get::<InternetGateway>(&Key::new(scope, &[id]))
            .is_some_and(|gateway| gateway.vpc.as_ref() == Some(&table.vpc)),
        RouteTarget::NatGateway(id) => snapshot
            .get::<NatGateway>(&Key::new(scope, &[id]))
            .is_some_and(|gateway| gateway.state == NatGatewayState::Available),
        RouteTarget::NetworkInterface(id) => rows_vpc::network_interface(snapshot, scope, id).is_some(),
    }
}

/// The wire form.
pub(crate) fn describe(table: &DescribedTable) -> api::ec2::RouteTable {
    let row = &table.row;
    let association = |one: &domain::RouteTableAssociation| api::ec2::RouteTableAssociation {
        association_state: Some(associated()),
        main: Some(one.is_main()),
        route_table_association_id: Some(one.id.clone()),
        route_table_id: Some(row.id.clone()),
        subnet_id: one.subnet.clone(),
        ..Default::default()
    };
    api::ec2::RouteTable {
        associations: Some(row.associations.iter().map(association).collect()),
        owner_id: Some(row.scope.account.to_string()),
        propagating_vgws: Some(Vec::new()),
        route_table_id: Some(row.id.clone()),
        routes: Some(table.routes.clone()),
        tags: Some(tag::describe(&row.tags).unwrap_or_default()),
        vpc_id: Some(row.vpc.clone()),
    }
}

/// The state of every association: it is made at once.
pub(crate) fn associated() -> api::ec2::RouteTableAssociationState {
    api::ec2::RouteTableAssociationState { state: Some("associated".to_owned()), ..Default::default() }
}

/// The parameters by which a call names a destination.
pub(crate) struct AskedDestination {
    pub(crate) ipv4: Option<String>,
    pub(crate) ipv6: Option<String>,
    pub(crate) prefix_list: Option<String>,
}

impl AskedDestination {
    /// The destination, and its text as in faults.
    pub(crate) fn parse(self) -> Result<(RouteDestination, String), Fault> {
        match (self.ipv4, self.ipv6, self.prefix_list) {
            (Some(text), None, None) => {
                let cidr = ipv4_cidr(&text).map_err(|_| not_a_cidr(&text, "destinationCidrBlock"))?;
                Ok((RouteDestination::Ipv4(cidr), cidr.to_string()))
            }
            (None, Some(text), None) => {
                let cidr = ipv6_cidr(&text).map_err(|_| not_a_cidr(&text, "destinationIpv6CidrBlock"))?;
                Ok((RouteDestination::Ipv6(cidr), cidr.to_string()))
            }
            (None, None, Some(id)) => Ok((RouteDestination::PrefixList(id.clone()), id)),
            (None, None, None) => Err(faults::missing("destinationCidrBlock")),
            _ => Err(faults::invalid_combination("Only one destination can be specified for a route.")),
        }
    }
}

fn not_a_cidr(text: &str, parameter: &str) -> Fault {
    faults::invalid_value(format!(
        "Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block."
    ))
}

/// The parameters by which a call names a target.
#[derive(Default)]
pub(crate) struct AskedTarget {
    pub(crate) gateway: Option<String>,
    pub(crate) nat_gateway: Option<String>,
    pub(crate) network_interface: Option<String>,
    /// Kinds of which there are none: parameter, code of the fault, id.
    pub(crate) others: Vec<(&'static str, &'static str, Option<String>)>,
}

impl AskedTarget {
    /// The target, which must be there and in the table's VPC.
    pub(crate) fn parse(&self, snapshot: &Snapshot, table: &RouteTable) -> Result<RouteTarget, Fault> {
        for (parameter, code, id) in &self.others {
            if let Some(id) = id {
                return Err(Fault::new(*code, format!("The {parameter} '{id}' does not exist"), 400));
            }
        }
        let scope = &table.scope;
        match (&self.gateway, &self.nat_gateway, &self.network_interface) {
            (Some(id), None, None) => {
                if !id.starts_with(internet_gateway::KIND.prefix) {
                    let message = format!("The gateway ID '{id}' does not exist");
                    return Err(Fault::new("InvalidGatewayID.NotFound", message, 400));
                }
                let gateway = internet_gateway::KIND.find::<InternetGateway>(snapshot, scope, id)?;
                if gateway.vpc.as_ref() != Some(&table.vpc) {
                    return Err(different_networks("network gateway", id, table));
                }
                Ok(RouteTarget::InternetGateway(id.clone()))
            }
            (None, Some(id), None) => {
                let gateway = snapshot.get::<NatGateway>(&Key::new(scope, &[id]));
                let gateway = gateway.filter(|gateway| gateway.state == NatGatewayState::Available);
                let Some(gateway) = gateway else {
                    let message = format!("The natGateway ID '{id}' does not exist");
                    return Err(Fault::new("InvalidNatGatewayID.NotFound", message, 400));
                };
                if gateway.vpc != table.vpc {
                    return Err(different_networks("nat gateway", id, table));
                }
                Ok(RouteTarget::NatGateway(id.clone()))
            }
            (None, None, Some(_)) => Err(faults::unsupported(
                "Routes to a network interface are not supported: no instance routes here.",
            )),
            (None, None, None) => Err(faults::missing("gatewayId")),
            _ => Err(faults::invalid_combination("Only one target can be specified for a route.")),
        }
    }
}

fn different_networks(noun: &str, id: &str, table: &RouteTable) -> Fault {
    faults::invalid_value(format!("route table {} and {noun} {id} belong to different networks", table.id))
}

/// Checks a destination against the VPC's own networks, and the prefix list that it names.
pub(crate) fn check_destination(
    snapshot: &Snapshot,
    table: &RouteTable,
    destination: &RouteDestination,
) -> Result<(), Fault> {
    let vpc = snapshot.get::<Vpc>(&Key::new(&table.scope, &[&table.vpc]));
    let is_inside = match destination {
        RouteDestination::Ipv4(cidr) => vpc.is_some_and(|vpc| vpc.cidr.covers(cidr)),
        RouteDestination::Ipv6(cidr) => {
            vpc.is_some_and(|vpc| vpc.ipv6.as_ref().is_some_and(|ipv6| ipv6.cidr.covers(cidr)))
        }
        RouteDestination::PrefixList(id) => {
            return prefix_list::KIND.find::<PrefixList>(snapshot, &table.scope, id).map(drop);
        }
    };
    if !is_inside {
        return Ok(());
    }
    Err(faults::invalid_value(
        "The destination CIDR block is equal to or more specific than one of this VPC's CIDR blocks. This route can \
         target only an interface or an instance.",
    ))
}

/// Checks that a table has not more routes than it may. A prefix list counts as its size.
pub(crate) fn check_count(snapshot: &Snapshot, table: &RouteTable) -> Result<(), Fault> {
    let weight = |route: &Route| match &route.destination {
        RouteDestination::PrefixList(id) => {
            let (ipv4, ipv6) = prefix_list::weight(snapshot, &table.scope, id);
            ipv4 + ipv6
        }
        RouteDestination::Ipv4(_) | RouteDestination::Ipv6(_) => 1,
    };
    if table.routes.iter().map(weight).sum::<i64>() <= ROUTES_PER_TABLE {
        return Ok(());
    }
    Err(Fault::new("RouteLimitExceeded", "The maximum number of routes has been reached.", 400))
}

/// The table that has an association.
pub(crate) fn with_association(
    snapshot: &Snapshot,
    scope: &Scope,
    association: &str,
) -> Result<Versioned<RouteTable>, Fault> {
    let mut tables = snapshot.scan::<RouteTable>(Key::prefix(scope, &[]), None);
    let found = tables.find(|table| table.associations.iter().any(|one| one.id == association));
    found.ok_or_else(|| {
        let message = format!("The association ID '{association}' does not exist");
        Fault::new("InvalidAssociationID.NotFound", message, 400)
    })
}

/// Whether an interface of a VPC is reached from outside: its gateway must stay.
pub(crate) fn has_public_addresses(snapshot: &Snapshot, scope: &Scope, vpc: &str) -> bool {
    let mut interfaces = snapshot.scan::<NetworkInterface>(Key::prefix(scope, &[]), None);
    interfaces.any(|interface| interface.vpc == vpc && interface.public_address.is_some())
}

/// Checks that a VPC has a way to the outside, without which a public address leads nowhere.
pub(crate) fn check_gateway(snapshot: &Snapshot, scope: &Scope, vpc: &str) -> Result<(), Fault> {
    let mut gateways = snapshot.scan::<InternetGateway>(Key::prefix(scope, &[]), None);
    if gateways.any(|gateway| gateway.vpc.as_deref() == Some(vpc)) {
        return Ok(());
    }
    let message = format!("Network {vpc} is not attached to any internet gateway");
    Err(Fault::new("Gateway.NotAttached", message, 400))
}
