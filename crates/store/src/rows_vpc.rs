//! Where VPCs and what is in them live, and the default VPC's making.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use base::{Ids, Ipv4Cidr, Scope};
use domain::{
    DefaultVpc, ElasticAddress, InternetGateway, KeyPair, LaunchTemplate, LaunchTemplateVersion, NatGateway,
    NetworkInterface, NewDefaultVpc, PrefixList, PrefixListVersion, RouteTable, SecurityGroup,
    SecurityGroupPeer, Subnet, Vpc, default_vpc,
};
use serde::{Deserialize, Serialize};

use crate::key::{Prefix, number_part};
use crate::{
    IndexSink, Key, Options, Row, Snapshot, Store, Table, TransactError, Transaction, UpdateError, Versioned,
};

/// Index of network interfaces by account, region and id.
pub const NETWORK_INTERFACES_BY_ID: &str = "id";
/// Index of network interfaces by their private address.
pub const NETWORK_INTERFACES_BY_ADDRESS: &str = "address";
/// Index of network interfaces by the ARN of their task.
pub const NETWORK_INTERFACES_BY_TASK: &str = "task";
/// Index of network interfaces by account, region and the id of each of their security groups.
pub const NETWORK_INTERFACES_BY_SECURITY_GROUP: &str = "security_group";
/// Index of network interfaces by account, region and the allocation of their public address.
pub const NETWORK_INTERFACES_BY_ALLOCATION: &str = "allocation";
/// Index of network interfaces by account, region and IPv6 address.
pub const NETWORK_INTERFACES_BY_IPV6_ADDRESS: &str = "ipv6_address";

/// The use of a network's addresses by one VPC: no other may have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcCidrUse {
    /// The addresses.
    pub cidr: Ipv4Cidr,
    /// Whose they are.
    pub scope: Scope,
    /// The VPC's id.
    pub vpc: String,
}

/// Raised whenever addresses become a VPC's: two calls that each found theirs free cannot both take them, for networks
/// may overlap without being the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcCidrCount {
    /// How often.
    pub count: u64,
}

/// Which VPC is the default one of an account and region: there is one at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultVpcOf {
    /// Whose, where.
    pub scope: Scope,
    /// The VPC's id; `None` once it was deleted: it is not made again but by CreateDefaultVpc.
    pub vpc: Option<String>,
}

impl Row for DefaultVpcOf {
    const TABLE: Table = Table::new("default_vpcs");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[])
    }
}

impl Row for Vpc {
    const TABLE: Table = Table::new("vpcs");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.id])
    }
}

impl Row for VpcCidrUse {
    const TABLE: Table = Table::new("vpc_cidrs");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::global(&[&self.cidr.to_string()])
    }
}

impl Row for VpcCidrCount {
    const TABLE: Table = Table::new("vpc_cidr_counts");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::global(&[])
    }
}

impl Row for Subnet {
    const TABLE: Table = Table::new("subnets");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        subnet_key(&self.scope, &self.id)
    }
}

/// The key of a subnet.
pub fn subnet_key(scope: &Scope, id: &str) -> Key {
    Key::new(scope, &[id])
}

impl Row for SecurityGroup {
    const TABLE: Table = Table::new("security_groups");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        security_group_key(&self.scope, &self.id)
    }
}

/// The key of a security group.
pub fn security_group_key(scope: &Scope, id: &str) -> Key {
    Key::new(scope, &[id])
}

impl Row for NetworkInterface {
    const TABLE: Table = Table::new("network_interfaces");
    const FORMAT: u16 = 1;
    /// By address, not by id: so the store itself keeps an address from being given out twice.
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.subnet, &self.private_address.to_string()])
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, region) = (self.scope.account.as_str(), self.scope.region.as_str());
        sink.add(NETWORK_INTERFACES_BY_ID, &[account, region, &self.id]);
        sink.add(NETWORK_INTERFACES_BY_ADDRESS, &[&self.private_address.to_string()]);
        if let Some(task) = &self.owner_task {
            sink.add(NETWORK_INTERFACES_BY_TASK, &[&task.to_string()]);
        }
        for group in &self.security_groups {
            sink.add(NETWORK_INTERFACES_BY_SECURITY_GROUP, &[account, region, group]);
        }
        if let Some(allocation) =
            self.public_address.as_ref().and_then(|public| public.allocation_id.as_ref())
        {
            sink.add(NETWORK_INTERFACES_BY_ALLOCATION, &[account, region, allocation]);
        }
        for address in &self.ipv6_addresses {
            sink.add(NETWORK_INTERFACES_BY_IPV6_ADDRESS, &[account, region, &address.to_string()]);
        }
    }
}

impl Row for RouteTable {
    const TABLE: Table = Table::new("route_tables");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.id])
    }
}

impl Row for InternetGateway {
    const TABLE: Table = Table::new("internet_gateways");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.id])
    }
}

impl Row for NatGateway {
    const TABLE: Table = Table::new("nat_gateways");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.id])
    }
}

impl Row for PrefixList {
    const TABLE: Table = Table::new("prefix_lists");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.id])
    }
}

impl Row for PrefixListVersion {
    const TABLE: Table = Table::new("prefix_list_versions");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        prefix_list_version_key(&self.scope, &self.prefix_list, self.version)
    }
}

/// The key of a version of a prefix list; those of one list stand together.
pub fn prefix_list_version_key(scope: &Scope, prefix_list: &str, version: i64) -> Key {
    Key::new(scope, &[prefix_list, &number_part(version.unsigned_abs())])
}

impl Row for ElasticAddress {
    const TABLE: Table = Table::new("elastic_addresses");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.allocation_id])
    }
}

impl Row for KeyPair {
    const TABLE: Table = Table::new("key_pairs");
    const FORMAT: u16 = 1;
    /// By name: so the store itself keeps a name from being given out twice.
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.name])
    }
}

impl Row for LaunchTemplate {
    const TABLE: Table = Table::new("launch_templates");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::new(&self.scope, &[&self.id])
    }
}

impl Row for LaunchTemplateVersion {
    const TABLE: Table = Table::new("launch_template_versions");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        launch_template_version_key(&self.scope, &self.launch_template, self.version)
    }
}

/// The key of a version of a launch template; those of one template stand together.
pub fn launch_template_version_key(scope: &Scope, launch_template: &str, version: i64) -> Key {
    Key::new(scope, &[launch_template, &number_part(version.unsigned_abs())])
}

/// `options` with every row of this file.
pub fn register(options: Options) -> Options {
    crate::rows_addresses::register(options)
        .row::<Vpc>()
        .row::<DefaultVpcOf>()
        .row::<VpcCidrUse>()
        .row::<VpcCidrCount>()
        .row::<Subnet>()
        .row::<SecurityGroup>()
        .row::<NetworkInterface>()
        .row::<RouteTable>()
        .row::<InternetGateway>()
        .row::<NatGateway>()
        .row::<PrefixList>()
        .row::<PrefixListVersion>()
        .row::<ElasticAddress>()
        .row::<KeyPair>()
        .row::<LaunchTemplate>()
        .row::<LaunchTemplateVersion>()
}

/// The interface with this id.
pub fn network_interface(
    snapshot: &Snapshot,
    scope: &Scope,
    id: &str,
) -> Option<Versioned<NetworkInterface>> {
    let parts = [scope.account.as_str(), scope.region.as_str(), id];
    snapshot.index::<NetworkInterface>(NETWORK_INTERFACES_BY_ID, &parts, None).next()
}

/// The interface of a task, by the task's ARN.
pub fn network_interface_of_task(snapshot: &Snapshot, task: &str) -> Option<Versioned<NetworkInterface>> {
    snapshot.index::<NetworkInterface>(NETWORK_INTERFACES_BY_TASK, &[task], None).next()
}

/// The addresses of a subnet that interfaces have.
pub fn taken_addresses(snapshot: &Snapshot, subnet: &Subnet) -> BTreeSet<Ipv4Addr> {
    let prefix = Key::prefix(&subnet.scope, &[&subnet.id]);
    snapshot.scan::<NetworkInterface>(prefix, None).map(|interface| interface.private_address).collect()
}

/// The default VPC of an account and region, where it has been made.
pub fn find_default_vpc(snapshot: &Snapshot, scope: &Scope) -> Option<DefaultVpc> {
    let default = snapshot.get::<DefaultVpcOf>(&Key::new(scope, &[]))?;
    let vpc = snapshot.get::<Vpc>(&Key::new(scope, &[default.vpc.as_ref()?]))?;
    let mut subnets: Vec<Subnet> = snapshot
        .scan::<Subnet>(Key::prefix(scope, &[]), None)
        .filter(|subnet| subnet.vpc == vpc.id && subnet.default_for_az)
        .map(|subnet| Subnet::clone(&subnet))
        .collect();
    subnets.sort_by(|one, other| one.availability_zone.cmp(&other.availability_zone));
    let security_group = snapshot
        .scan::<SecurityGroup>(Key::prefix(scope, &[]), None)
        .find(|group| group.vpc == vpc.id && group.name == "default")?;
    Some(DefaultVpc { vpc: Vpc::clone(&vpc), subnets, security_group: SecurityGroup::clone(&security_group) })
}

/// Why there is no default VPC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefaultVpcError {
    /// As many (account, region) pairs as networks.
    #[error("no private network is left for the default VPC of {0}")]
    NoNetworkLeft(Scope),
    /// It was deleted, and CreateDefaultVpc was not called since.
    #[error("the default VPC of {0} was deleted")]
    Deleted(Scope),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] TransactError),
}

/// The default VPC of an account and region, which is made on first use: in the first of `networks` that no VPC has.
///
/// `networks` are those that the machine does not route elsewhere, best first (`network::usable_vpc_cidrs`).
pub async fn ensure_default_vpc(
    store: &Store,
    scope: &Scope,
    networks: &[Ipv4Cidr],
    ids: &dyn Ids,
) -> Result<DefaultVpc, DefaultVpcError> {
    if let Some(found) = find_default_vpc(&store.snapshot(), scope) {
        return Ok(found);
    }
    let made = store.update(|snapshot| {
        if let Some(found) = find_default_vpc(snapshot, scope) {
            return Ok((Transaction::new(), found));
        }
        if snapshot.get::<DefaultVpcOf>(&Key::new(scope, &[])).is_some() {
            return Err(DefaultVpcError::Deleted(scope.clone()));
        }
        make_default_vpc(snapshot, scope, networks, ids)
    });
    made.await.map_err(|error| match error {
        UpdateError::Refused(refused) => refused,
        UpdateError::Transact(error) => DefaultVpcError::Store(error),
    })
}

/// The transaction that makes a default VPC where there is none, and what it makes.
pub fn make_default_vpc(
    snapshot: &Snapshot,
    scope: &Scope,
    networks: &[Ipv4Cidr],
    ids: &dyn Ids,
) -> Result<(Transaction, DefaultVpc), DefaultVpcError> {
    let free = networks.iter().find(|network| vpc_that_overlaps(snapshot, network).is_none());
    let cidr = *free.ok_or_else(|| DefaultVpcError::NoNetworkLeft(scope.clone()))?;
    let NewDefaultVpc { default: made, route_table, internet_gateway } = default_vpc(scope, cidr, ids);
    let mut transaction = Transaction::new();
    take_vpc_cidr(snapshot, &mut transaction, &made.vpc);
    let default = DefaultVpcOf { scope: scope.clone(), vpc: Some(made.vpc.id.clone()) };
    match snapshot.get::<DefaultVpcOf>(&default.key()) {
        Some(deleted) => transaction.replace(&deleted, default),
        None => transaction.insert(default),
    };
    transaction.insert(made.vpc.clone());
    for subnet in &made.subnets {
        transaction.insert(subnet.clone());
    }
    transaction.insert(made.security_group.clone());
    transaction.insert(route_table);
    transaction.insert(internet_gateway);
    Ok((transaction, made))
}

/// The VPC, of whatever account and region, that has some of these addresses.
pub fn vpc_that_overlaps(snapshot: &Snapshot, network: &Ipv4Cidr) -> Option<Versioned<VpcCidrUse>> {
    snapshot.scan::<VpcCidrUse>(Prefix::everything(), None).find(|used| used.cidr.overlaps(network))
}

/// Makes the VPC's addresses its own, which [`vpc_that_overlaps`] has found to be nobody's.
pub fn take_vpc_cidr(snapshot: &Snapshot, transaction: &mut Transaction, vpc: &Vpc) {
    let cidr_use = VpcCidrUse { cidr: vpc.cidr, scope: vpc.scope.clone(), vpc: vpc.id.clone() };
    transaction.insert(cidr_use);
    match snapshot.get::<VpcCidrCount>(&Key::global(&[])) {
        Some(read) => transaction.replace(&read, VpcCidrCount { count: read.count + 1 }),
        None => transaction.insert(VpcCidrCount { count: 1 }),
    };
}

/// Gives the addresses of a VPC, which the caller removes, back. Where it was the default one, none is made again by itself.
pub fn release_vpc_cidr(snapshot: &Snapshot, transaction: &mut Transaction, vpc: &Vpc) {
    transaction.delete::<VpcCidrUse>(&Key::global(&[&vpc.cidr.to_string()]));
    let default = snapshot.get::<DefaultVpcOf>(&Key::new(&vpc.scope, &[]));
    if let Some(default) = default.filter(|default| default.vpc.as_ref() == Some(&vpc.id)) {
        transaction.replace(&default, DefaultVpcOf { scope: vpc.scope.clone(), vpc: None });
    }
}

/// Puts every default VPC, with what it was made with, into `transaction`: for a reset, which keeps the networks that are
/// set up on the machine. VPCs that were made by calls go, and what calls made of the default ones.
pub fn keep_networks(snapshot: &Snapshot, transaction: &mut Transaction, ids: &dyn Ids) {
    transaction.put(crate::rows_addresses::public_address_pool(snapshot));
    for default in snapshot.scan::<DefaultVpcOf>(Prefix::everything(), None) {
        let Some(found) = find_default_vpc(snapshot, &default.scope) else { continue };
        let NewDefaultVpc { default: made, mut route_table, mut internet_gateway } =
            default_vpc(&default.scope, found.vpc.cidr, ids);
        route_table.vpc.clone_from(&found.vpc.id);
        internet_gateway.vpc = Some(found.vpc.id.clone());
        transaction.put_shared(default.value);
        transaction.put(VpcCidrUse {
            cidr: found.vpc.cidr,
            scope: found.vpc.scope.clone(),
            vpc: found.vpc.id.clone(),
        });
        for mut subnet in made.subnets {
            // The ids are those that clients know from before.
            let known = found.subnets.iter().find(|known| known.cidr == subnet.cidr);
            subnet.id = known.map_or(subnet.id, |known| known.id.clone());
            subnet.vpc.clone_from(&found.vpc.id);
            transaction.put(subnet);
        }
        let (old, new) = (&found.security_group.id, &made.security_group.id);
        let mut security_group = made.security_group.clone();
        security_group.vpc.clone_from(&found.vpc.id);
        for rule in &mut security_group.rules {
            if rule.peer == SecurityGroupPeer::Group(new.clone()) {
                rule.peer = SecurityGroupPeer::Group(old.clone());
            }
        }
        security_group.id.clone_from(old);
        transaction.put(security_group);
        transaction.put(route_table);
        transaction.put(internet_gateway);
        transaction.put(Vpc {
            id: found.vpc.id,
            cidr_association_id: found.vpc.cidr_association_id,
            dhcp_options_id: found.vpc.dhcp_options_id,
            ..made.vpc
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{SeededIds, Timestamp};
    use domain::TaskNetworkInterface;

    fn scope(region: &str) -> Scope {
        Scope::new("123456789012".parse().unwrap(), region.parse().unwrap())
    }

    fn networks() -> Vec<Ipv4Cidr> {
        vec!["172.31.0.0/16".parse().unwrap(), "172.30.0.0/16".parse().unwrap()]
    }

    #[tokio::test]
    async fn a_default_vpc_is_made_once_and_never_overlaps_another() {
        let store = Store::ephemeral(register(Options::ephemeral()));
        let ids = SeededIds::new(1);
        assert_eq!(find_default_vpc(&store.snapshot(), &scope("us-east-1")), None);
        let (scope_1, scope_2, networks) = (scope("us-east-1"), scope("eu-west-1"), networks());
        let ensure = |scope| ensure_default_vpc(&store, scope, &networks, &ids);
        let (one, again, other) = tokio::join!(ensure(&scope_1), ensure(&scope_1), ensure(&scope_2));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one, again.unwrap());
        assert_eq!(ensure(&scope_1).await.unwrap(), one);
        assert!(!one.vpc.cidr.overlaps(&other.vpc.cidr));
        assert_eq!(find_default_vpc(&store.snapshot(), &scope_1), Some(one));
        let third = scope("ap-south-1");
        assert_eq!(ensure(&third).await, Err(DefaultVpcError::NoNetworkLeft(third.clone())));
    }

    #[tokio::test]
    async fn an_address_is_given_out_once() {
        let store = Store::ephemeral(register(Options::ephemeral()));
        let ids = SeededIds::new(1);
        let made = ensure_default_vpc(&store, &scope("us-east-1"), &networks(), &ids).await.unwrap();
        let subnet = &made.subnets[0];
        let make = |address: Option<Ipv4Addr>| {
            let wish = TaskNetworkInterface {
                subnet,
                security_groups: Vec::new(),
                task: "arn:aws:ecs:us-east-1:123456789012:task/default/0".parse().unwrap(),
                attachment: String::new(),
                now: Timestamp::from_millis(0),
            };
            let mut interface = wish.make(&ids, |_| false).unwrap();
            interface.private_address = address.unwrap_or(interface.private_address);
            interface
        };
        let interface = make(None);
        let mut transaction = Transaction::new();
        transaction.insert(interface.clone());
        store.transact(transaction).await.unwrap();
        let mut transaction = Transaction::new();
        transaction.insert(make(Some(interface.private_address)));
        assert!(matches!(store.transact(transaction).await, Err(TransactError::Conflict { .. })));
        let snapshot = store.snapshot();
        assert!(taken_addresses(&snapshot, subnet).contains(&interface.private_address));
        let found = network_interface(&snapshot, &subnet.scope, &interface.id).unwrap();
        assert_eq!(*found, interface);
        let task = interface.owner_task.as_ref().unwrap().to_string();
        assert_eq!(*network_interface_of_task(&snapshot, &task).unwrap(), interface);
        assert!(network_interface(&snapshot, &scope("eu-west-1"), &interface.id).is_none());
    }
}
