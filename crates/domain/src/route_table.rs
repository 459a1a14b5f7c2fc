//! Route tables, and the gateways that routes lead to.

use std::net::Ipv4Addr;

use base::{Ids, Ipv4Cidr, Ipv6Cidr, Scope, Tag, Timestamp};
use serde::{Deserialize, Serialize};

/// Where traffic of subnets goes. The local routes of the VPC are not stored: every table has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `rtb-0123456789abcdef0`.
    pub id: String,
    /// The VPC's id.
    pub vpc: String,
    /// Other than the local ones; one for a destination.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The subnets that it is for; the main one is for those that no table names.
    #[serde(default)]
    pub associations: Vec<RouteTableAssociation>,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// A way for some destinations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What it is for.
    pub destination: RouteDestination,
    /// Where it leads.
    pub target: RouteTarget,
}

/// What a [`Route`] is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteDestination {
    /// IPv4 addresses.
    Ipv4(Ipv4Cidr),
    /// IPv6 addresses.
    Ipv6(Ipv6Cidr),
    /// The networks of a prefix list, by its id.
    PrefixList(String),
}

/// Where a [`Route`] leads, by id. What it names may be gone: the route leads nowhere then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    /// An internet gateway.
    InternetGateway(String),
    /// A NAT gateway.
    NatGateway(String),
    /// A network interface.
    NetworkInterface(String),
}

/// One use of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTableAssociation {
    /// Such as `rtbassoc-0123456789abcdef0`.
    pub id: String,
    /// The subnet's id; `None`: the table is the VPC's main one.
    #[serde(default)]
    pub subnet: Option<String>,
}

impl RouteTableAssociation {
    /// Whether it makes its table the main one.
    pub fn is_main(&self) -> bool {
        self.subnet.is_none()
    }
}

impl RouteTable {
    /// The main route table of a new VPC.
    pub(crate) fn main(scope: &Scope, vpc: &str, ids: &dyn Ids) -> Self {
        Self {
            scope: scope.clone(),
            id: format!("rtb-{}", ids.hex(17)),
            vpc: vpc.to_owned(),
            routes: Vec::new(),
            associations: vec![RouteTableAssociation {
                id: format!("rtbassoc-{}", ids.hex(17)),
                subnet: None,
            }],
            tags: Vec::new(),
        }
    }

    /// Whether it is the VPC's main one.
    pub fn is_main(&self) -> bool {
        self.associations.iter().any(RouteTableAssociation::is_main)
    }
}

/// The way between a VPC and the outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetGateway {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `igw-0123456789abcdef0`.
    pub id: String,
    /// The VPC that it is attached to.
    #[serde(default)]
    pub vpc: Option<String>,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

word_enum! {
    /// How far a NAT gateway is. Source: AWS, NatGateway, `state`.
    NatGatewayState {
        /// It is there.
        Available = "available",
        /// It is gone, and told of for a while.
        Deleted = "deleted",
    }
}

/// The way out for subnets without public addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// Whose, where.
    pub scope: Scope,
    /// Such as `nat-0123456789abcdef0`.
    pub id: String,
    /// The VPC's id.
    pub vpc: String,
    /// The subnet's id.
    pub subnet: String,
    /// How far it is.
    pub state: NatGatewayState,
    /// Whether it leads to other networks only, not to the internet.
    pub is_private: bool,
    /// Its interface, which goes when it does.
    pub network_interface: String,
    /// The interface's address.
    pub private_address: Ipv4Addr,
    /// The elastic address of one that is not private.
    #[serde(default)]
    pub allocation_id: Option<String>,
    /// The association of that.
    #[serde(default)]
    pub association_id: Option<String>,
    /// That address.
    #[serde(default)]
    pub public_address: Option<Ipv4Addr>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was deleted.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
    /// In order of their keys.
    #[serde(default)]
    pub tags: Vec<Tag>,
}
