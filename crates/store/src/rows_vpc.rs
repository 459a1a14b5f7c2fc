//! Where VPCs and what is in them live, and the default VPC's making.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use base::{Ids, Ipv4Cidr, Scope};
use domain::{DefaultVpc, NetworkInterface, SecurityGroup, Subnet, Vpc, default_vpc};
use serde::{Deserialize, Serialize};

use crate::key::Prefix;
use crate::{
    IndexSink, Key, Options, Row, Snapshot, Store, Table, TransactError, Transaction, UpdateError, Versioned,
};

/// Index of network interfaces by account, region and id.
pub const NETWORK_INTERFACES_BY_ID: &str = "id";
/// Index of network interfaces by the ARN of their task.
pub const NETWORK_INTERFACES_BY_TASK: &str = "task";

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

/// Which VPC is the default one of an account and region: there is one at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultVpcOf {
    /// Whose, where.
    pub scope: Scope,
    /// The VPC's id.
    pub vpc: String,
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
        if let Some(task) = &self.owner_task {
            sink.add(NETWORK_INTERFACES_BY_TASK, &[&task.to_string()]);
        }
    }
}

/// `options` with every row of this file.
pub fn register(options: Options) -> Options {
    options
        .row::<Vpc>()
        .row::<DefaultVpcOf>()
        .row::<VpcCidrUse>()
        .row::<Subnet>()
        .row::<SecurityGroup>()
        .row::<NetworkInterface>()
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
    let vpc = snapshot.get::<Vpc>(&Key::new(scope, &[&default.vpc]))?;
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
        let cidr = free_network(snapshot, networks);
        let cidr = cidr.ok_or_else(|| DefaultVpcError::NoNetworkLeft(scope.clone()))?;
        let made = default_vpc(scope, cidr, ids);
        let mut transaction = Transaction::new();
        transaction.insert(VpcCidrUse { cidr, scope: scope.clone(), vpc: made.vpc.id.clone() });
        transaction.insert(DefaultVpcOf { scope: scope.clone(), vpc: made.vpc.id.clone() });
        transaction.insert(made.vpc.clone());
        for subnet in &made.subnets {
            transaction.insert(subnet.clone());
        }
        transaction.insert(made.security_group.clone());
        Ok((transaction, made))
    });
    made.await.map_err(|error| match error {
        UpdateError::Refused(refused) => refused,
        UpdateError::Transact(error) => DefaultVpcError::Store(error),
    })
}

/// Puts every VPC, with its subnets and security groups, into `transaction`: for a reset, which keeps the networks that
/// are set up on the machine. Network interfaces go.
pub fn keep_networks(snapshot: &Snapshot, transaction: &mut Transaction) {
    fn keep<R: Row>(snapshot: &Snapshot, transaction: &mut Transaction) {
        for row in snapshot.scan::<R>(Prefix::everything(), None) {
            transaction.put_shared(row.value);
        }
    }
    keep::<Vpc>(snapshot, transaction);
    keep::<DefaultVpcOf>(snapshot, transaction);
    keep::<VpcCidrUse>(snapshot, transaction);
    keep::<Subnet>(snapshot, transaction);
    keep::<SecurityGroup>(snapshot, transaction);
}

fn free_network(snapshot: &Snapshot, networks: &[Ipv4Cidr]) -> Option<Ipv4Cidr> {
    let taken: Vec<Ipv4Cidr> =
        snapshot.scan::<VpcCidrUse>(Prefix::everything(), None).map(|used| used.cidr).collect();
    networks.iter().find(|network| taken.iter().all(|taken| !taken.overlaps(network))).copied()
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
