//! Which addresses are free: neither in use nor given back so lately that a connection to their last owner may live.

use std::net::{Ipv4Addr, Ipv6Addr};

use base::{Ids, Scope, Timestamp};
use domain::{
    NetworkInterface, PublicAddressPool, PublicAddressUse, ReleasedAddress, Subnet, in_quarantine,
    next_free_address,
};

use crate::rows_vpc::NETWORK_INTERFACES_BY_IPV6_ADDRESS;
use crate::{IndexSink, Key, Options, Row, Snapshot, Table, Transaction, number_part};

/// Index of released addresses by subnet and address.
pub const RELEASED_ADDRESSES_BY_ADDRESS: &str = "address";
/// Rows that are over and taken out with each that is written: more than one, so that they become fewer.
const TAKEN_OUT_TOGETHER: usize = 4;

impl Row for ReleasedAddress {
    const TABLE: Table = Table::new("released_addresses");
    const FORMAT: u16 = 1;
    /// By time: those that are over stand first.
    fn key(&self) -> Key {
        let millis = u64::try_from(self.released_at.as_millis()).unwrap_or_default();
        Key::new(&self.scope, &[&number_part(millis), &self.subnet, &self.address.to_string()])
    }
    fn indexes(&self, sink: &mut IndexSink) {
        sink.add(RELEASED_ADDRESSES_BY_ADDRESS, &[&self.subnet, &self.address.to_string()]);
    }
}

impl Row for PublicAddressUse {
    const TABLE: Table = Table::new("public_addresses");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        public_address_key(self.address)
    }
}

impl Row for PublicAddressPool {
    const TABLE: Table = Table::new("public_address_pools");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::global(&[])
    }
}

fn public_address_key(address: Ipv4Addr) -> Key {
    Key::global(&[&address.to_string()])
}

/// `options` with every row of this file.
pub fn register(options: Options) -> Options {
    options.row::<ReleasedAddress>().row::<PublicAddressUse>().row::<PublicAddressPool>()
}

/// Whether an address of a subnet must not be given to a new interface.
pub fn is_address_taken(snapshot: &Snapshot, subnet: &Subnet, address: Ipv4Addr, now: Timestamp) -> bool {
    let text = address.to_string();
    let in_use = snapshot.get::<NetworkInterface>(&Key::new(&subnet.scope, &[&subnet.id, &text]));
    if in_use.is_some() {
        return true;
    }
    let parts = [subnet.id.as_str(), text.as_str()];
    snapshot
        .index::<ReleasedAddress>(RELEASED_ADDRESSES_BY_ADDRESS, &parts, None)
        .any(|released| in_quarantine(released.released_at, now))
}

/// Whether an IPv6 address of an account is an interface's.
pub fn is_ipv6_address_taken(snapshot: &Snapshot, scope: &Scope, address: Ipv6Addr) -> bool {
    let text = address.to_string();
    let parts = [scope.account.as_str(), scope.region.as_str(), text.as_str()];
    snapshot.index::<NetworkInterface>(NETWORK_INTERFACES_BY_IPV6_ADDRESS, &parts, None).next().is_some()
}

/// Notes that an interface, which the caller removes, gives its addresses back, a public one that came with it included: nobody
/// gets them for a while.
pub fn release_addresses(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    interface: &NetworkInterface,
    now: Timestamp,
) {
    let over = snapshot
        .scan::<ReleasedAddress>(Key::prefix(&interface.scope, &[]), None)
        .take(TAKEN_OUT_TOGETHER)
        .take_while(|released| !in_quarantine(released.released_at, now));
    for released in over {
        // Another call may take out the same: no matter.
        transaction.delete::<ReleasedAddress>(&released.key());
    }
    transaction.put(ReleasedAddress {
        scope: interface.scope.clone(),
        subnet: interface.subnet.clone(),
        address: interface.private_address,
        released_at: now,
    });
    if let Some(public) = interface.public_address.as_ref().filter(|public| public.allocation_id.is_none()) {
        release_public_address(snapshot, transaction, public.address, &interface.id, now);
    }
}

/// The pool of public addresses.
pub fn public_address_pool(snapshot: &Snapshot) -> PublicAddressPool {
    let row = snapshot.get::<PublicAddressPool>(&Key::global(&[]));
    row.map_or_else(PublicAddressPool::default, |row| PublicAddressPool::clone(&row))
}

/// Takes a free address of the pool for `owner`, the id of an interface or an allocation; `None` where there is none left. The
/// transaction conflicts with another one that takes the same.
pub fn take_public_address(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    ids: &dyn Ids,
    (scope, owner): (&Scope, &str),
    now: Timestamp,
) -> Option<Ipv4Addr> {
    let mut random = [0; 4];
    ids.fill(&mut random);
    let is_taken = |address| {
        let there = snapshot.get::<PublicAddressUse>(&public_address_key(address));
        there.is_some_and(|there| there.released_at.is_none_or(|released| in_quarantine(released, now)))
    };
    let pool = public_address_pool(snapshot).cidr;
    let address = next_free_address(&pool, is_taken, u32::from_ne_bytes(random))?;
    let taken =
        PublicAddressUse { address, scope: scope.clone(), owner: owner.to_owned(), released_at: None };
    match snapshot.get::<PublicAddressUse>(&taken.key()) {
        Some(released) => transaction.replace(&released, taken),
        None => transaction.insert(taken),
    };
    Some(address)
}

/// Gives a public address back, if it is `owner`'s.
pub fn release_public_address(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    address: Ipv4Addr,
    owner: &str,
    now: Timestamp,
) {
    let there = snapshot.get::<PublicAddressUse>(&public_address_key(address));
    if let Some(there) = there.filter(|there| there.owner == owner && there.released_at.is_none()) {
        let released = PublicAddressUse { released_at: Some(now), ..PublicAddressUse::clone(&there) };
        transaction.replace(&there, released);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows_vpc::{self, ensure_default_vpc};
    use crate::{Prefix, Store, TransactError};
    use base::SeededIds;
    use domain::{ADDRESS_QUARANTINE, TaskNetworkInterface};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(i64::try_from(seconds * 1000).unwrap())
    }

    fn store() -> Store {
        Store::ephemeral(register(rows_vpc::register(Options::ephemeral())))
    }

    fn scope() -> Scope {
        Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap())
    }

    async fn commit(
        store: &Store,
        fill: impl FnOnce(&Snapshot, &mut Transaction),
    ) -> Result<(), TransactError> {
        let mut transaction = Transaction::new();
        fill(&store.snapshot(), &mut transaction);
        store.transact(transaction).await.map(drop)
    }

    #[tokio::test]
    async fn an_address_that_was_given_back_is_nobodys_for_a_while() {
        let (store, ids) = (store(), SeededIds::new(1));
        let networks = ["10.0.0.0/26".parse().unwrap()];
        let made = ensure_default_vpc(&store, &scope(), &networks, &ids).await.unwrap();
        let subnet = &made.subnets[0];
        let make = |now| {
            let wish = TaskNetworkInterface {
                subnet,
                security_groups: Vec::new(),
                task: "arn:aws:ecs:us-east-1:123456789012:task/default/0".parse().unwrap(),
                attachment: String::new(),
                now,
            };
            let snapshot = store.snapshot();
            wish.make(&ids, |address| is_address_taken(&snapshot, subnet, address, now))
        };
        let mut interfaces = Vec::new();
        while let Some(interface) = make(at(0)) {
            interfaces.push(interface.clone());
            let insert = |_: &Snapshot, transaction: &mut Transaction| {
                transaction.insert(interface);
            };
            commit(&store, insert).await.unwrap();
        }
        assert_eq!(interfaces.len() as u64, subnet.usable_addresses());
        for (second, interface) in (10..).zip(&interfaces) {
            let removed = commit(&store, |snapshot, transaction| {
                transaction.delete::<NetworkInterface>(&interface.key());
                release_addresses(snapshot, transaction, interface, at(second));
            });
            removed.await.unwrap();
        }
        let quarantine = ADDRESS_QUARANTINE.as_secs();
        assert!(make(at(10 + quarantine - 1)).is_none(), "all of them are in quarantine");
        let first = make(at(10 + quarantine)).unwrap();
        assert_eq!(first.private_address, interfaces[0].private_address, "the one that has waited longest");
        // What is over goes when others come.
        let late = at(1000 + quarantine);
        for interface in &interfaces {
            commit(&store, |snapshot, transaction| release_addresses(snapshot, transaction, interface, late))
                .await
                .unwrap();
        }
        let left = store.snapshot().scan::<ReleasedAddress>(Prefix::everything(), None).collect::<Vec<_>>();
        assert!(left.iter().all(|released| released.released_at == late));
    }

    #[tokio::test]
    async fn a_public_address_is_one_owners_at_a_time() {
        let (store, ids) = (store(), SeededIds::new(1));
        let pool = PublicAddressPool { cidr: "198.51.100.0/29".parse().unwrap(), is_routed: true };
        commit(&store, |_, transaction| {
            transaction.put(pool);
        })
        .await
        .unwrap();
        let mut taken = Vec::new();
        for owner in ["eni-1", "eni-2", "eni-3"] {
            commit(&store, |snapshot, transaction| {
                taken.extend(take_public_address(snapshot, transaction, &ids, (&scope(), owner), at(0)));
            })
            .await
            .unwrap();
        }
        assert_eq!(taken.len(), 3, "of eight, five are kept");
        let again =
            |now| take_public_address(&store.snapshot(), &mut Transaction::new(), &ids, (&scope(), "x"), now);
        assert_eq!(again(at(0)), None);
        let release = |owner: &'static str| {
            let address = taken[0];
            commit(&store, move |snapshot, transaction| {
                release_public_address(snapshot, transaction, address, owner, at(5));
            })
        };
        release("eni-2").await.unwrap();
        assert_eq!(again(at(1000)), None, "only its owner gives it back");
        release("eni-1").await.unwrap();
        assert_eq!(again(at(6)), None, "in quarantine");
        assert_eq!(again(at(5 + ADDRESS_QUARANTINE.as_secs())), Some(taken[0]));
        // Two at once: one of them has to look again.
        let (one, other) = (store.snapshot(), store.snapshot());
        let late = at(1000);
        let first = commit(&store, |_, transaction| {
            take_public_address(&one, transaction, &ids, (&scope(), "a"), late);
        });
        first.await.unwrap();
        let second = commit(&store, |_, transaction| {
            take_public_address(&other, transaction, &ids, (&scope(), "b"), late);
        });
        assert!(matches!(second.await, Err(TransactError::Conflict { .. })));
    }
}
