//! What nodes are to enforce on their networks: a view of security groups, network interfaces and subnets by VPC, which says
//! what changed of a VPC since a version of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_protocol::network_policy::{InterfacePolicy, SecurityGroupRule, SecurityGroupRules, VpcPolicy};
use domain::{NetworkInterface, PrefixList, PublicAddressPool, SecurityGroup, SecurityGroupPeer, Subnet};
use store::rows_addresses::public_address_pool;
use store::{Change, ChangeBatch, Prefix, RowChange, Snapshot, View};

/// What is gone and remembered of a VPC, so that nodes can be told: beyond it, those that have not heard get the whole.
const GONE_MAXIMUM: usize = 4096;
/// Rules of groups, interfaces and subnets that one message may have: well below a frame's 4 MiB.
const ENTRIES_MAXIMUM: usize = 4000;

/// The networks of all VPCs.
#[derive(Debug, Default)]
pub struct NetworkPolicies {
    vpcs: BTreeMap<String, Vpc>,
    /// VPCs of interfaces that no task has (load balancers), and how many each has.
    hosted: BTreeMap<String, usize>,
    /// Where public addresses come from, as it was when this process started.
    pool: PublicAddressPool,
    /// The networks of each prefix list.
    prefix_lists: BTreeMap<String, Vec<String>>,
    /// The groups whose rules name a prefix list.
    naming: BTreeMap<String, BTreeMap<String, Arc<SecurityGroup>>>,
}

#[derive(Debug, Default)]
struct Vpc {
    groups: BTreeMap<String, SecurityGroupRules>,
    interfaces: BTreeMap<String, InterfacePolicy>,
    unfiltered: BTreeMap<String, Vec<String>>,
    /// When each of them changed last, those that are gone included.
    changed: BTreeMap<String, u64>,
    /// The same, by version.
    log: BTreeSet<(u64, String)>,
    /// What changed up to here is known only as a whole.
    floor: u64,
}

impl View for NetworkPolicies {
    fn of(snapshot: &Snapshot) -> Self {
        let mut made = Self { pool: public_address_pool(snapshot), ..Self::default() };
        let version = snapshot.version().number();
        for list in snapshot.scan::<PrefixList>(Prefix::everything(), None) {
            made.prefix_list(None, Some(&list), version);
        }
        for group in snapshot.scan::<SecurityGroup>(Prefix::everything(), None) {
            made.group(None, Some(&group.value), version);
        }
        for interface in snapshot.scan::<NetworkInterface>(Prefix::everything(), None) {
            made.interface(None, Some(&interface), version);
        }
        for subnet in snapshot.scan::<Subnet>(Prefix::everything(), None) {
            made.subnet(None, Some(&subnet), version);
        }
        for vpc in made.vpcs.values_mut() {
            vpc.floor = version;
        }
        made
    }

    fn follow(&mut self, batches: &[ChangeBatch], _snapshot: &Snapshot) {
        for batch in batches {
            for change in batch.changes.iter() {
                self.take_in(change, batch.version.number());
            }
        }
    }
}

impl NetworkPolicies {
    /// VPCs that have interfaces which no task has: their addresses are the balancer's.
    pub fn hosted(&self) -> impl Iterator<Item = &String> {
        self.hosted.keys()
    }

    /// What changed of a VPC after a version, in parts that each fit a message; nothing where nothing did. `None` asks for the
    /// whole, which is never nothing.
    pub fn since(&self, vpc: &str, after: Option<u64>) -> Vec<VpcPolicy> {
        let nothing = Vpc::default();
        let vpc = self.vpcs.get(vpc).unwrap_or(&nothing);
        let version = vpc.log.last().map_or(vpc.floor, |(version, _)| (*version).max(vpc.floor));
        match after {
            Some(after) if after >= version => Vec::new(),
            Some(after) if after >= vpc.floor => {
                let ids = vpc.log.range((after + 1, String::new())..).map(|(_, id)| id);
                vpc.parts(ids, version, Some(after))
            }
            _ => {
                let there = vpc.groups.keys().chain(vpc.interfaces.keys()).chain(vpc.unfiltered.keys());
                vpc.parts(there, version, None)
            }
        }
    }

    fn take_in(&mut self, change: &Change, version: u64) {
        if let Some(change) = change.of::<NetworkInterface>() {
            self.interface(change.before.as_deref(), change.after.as_deref(), version);
        } else if let Some(change) = change.of::<SecurityGroup>() {
            self.group(change.before.as_ref(), change.after.as_ref(), version);
        } else if let Some(change) = change.of::<PrefixList>() {
            self.prefix_list(change.before.as_deref(), change.after.as_deref(), version);
        } else if let Some(change) = change.of::<Subnet>() {
            self.subnet(change.before.as_deref(), change.after.as_deref(), version);
        }
    }

    fn group(
        &mut self,
        before: Option<&Arc<SecurityGroup>>,
        after: Option<&Arc<SecurityGroup>>,
        version: u64,
    ) {
        for list in before.into_iter().flat_map(|row| prefix_lists_of(row)) {
            if let Some(naming) = self.naming.get_mut(list) {
                naming.remove(&before.map(|row| row.id.clone()).unwrap_or_default());
                if naming.is_empty() {
                    self.naming.remove(list);
                }
            }
        }
        if let Some(row) = after {
            for list in prefix_lists_of(row) {
                self.naming.entry(list.clone()).or_default().insert(row.id.clone(), Arc::clone(row));
            }
        }
        let Some(row) = after.or(before) else { return };
        let rules = after.map(|row| rules_of(row, &self.prefix_lists));
        let vpc = self.vpcs.entry(row.vpc.clone()).or_default();
        if vpc.groups.get(&row.id) != rules.as_ref() {
            put(&mut vpc.groups, &row.id, rules);
            vpc.note(&row.id, version);
        }
    }

    fn prefix_list(&mut self, before: Option<&PrefixList>, after: Option<&PrefixList>, version: u64) {
        let Some(row) = after.or(before) else { return };
        let networks =
            after.map(|row| row.entries.iter().map(|entry| entry.cidr.to_string()).collect::<Vec<_>>());
        if self.prefix_lists.get(&row.id) == networks.as_ref() {
            return;
        }
        put(&mut self.prefix_lists, &row.id, networks);
        for group in self.naming.get(&row.id).cloned().unwrap_or_default().values() {
            self.group(Some(group), Some(group), version);
        }
    }

    fn interface(
        &mut self,
        before: Option<&NetworkInterface>,
        after: Option<&NetworkInterface>,
        version: u64,
    ) {
        for (row, is_there) in before.map(|row| (row, false)).into_iter().chain(after.map(|row| (row, true)))
        {
            if row.owner_task.is_none() {
                let count = self.hosted.entry(row.vpc.clone()).or_default();
                *count = if is_there { *count + 1 } else { count.saturating_sub(1) };
                if *count == 0 {
                    self.hosted.remove(&row.vpc);
                }
            }
        }
        let Some(row) = after.or(before) else { return };
        let vpc = self.vpcs.entry(row.vpc.clone()).or_default();
        // A network load balancer without security groups takes what comes: nothing is to be known of it but where its public
        // address leads.
        let is_unfiltered =
            |row: &NetworkInterface| row.owner_task.is_none() && row.security_groups.is_empty();
        let is_told = |row: &&NetworkInterface| {
            !row.security_groups.is_empty() || is_unfiltered(row) && row.public_address.is_some()
        };
        let policy = after.filter(is_told).map(|row| InterfacePolicy {
            addresses: addresses_of(row),
            security_groups: row.security_groups.clone(),
            is_unfiltered: is_unfiltered(row),
            public_address: row.public_address.as_ref().map(|public| public.address.to_string()),
            public_address_is_routed: row
                .public_address
                .as_ref()
                .is_some_and(|public| self.pool.is_routed && self.pool.cidr.contains(public.address)),
        });
        if vpc.interfaces.get(&row.id) != policy.as_ref() {
            put(&mut vpc.interfaces, &row.id, policy);
            vpc.note(&row.id, version);
        }
    }

    fn subnet(&mut self, before: Option<&Subnet>, after: Option<&Subnet>, version: u64) {
        let Some(row) = after.or(before) else { return };
        let vpc = self.vpcs.entry(row.vpc.clone()).or_default();
        let addresses = after.map(|row| {
            let ipv4 = [row.gateway().to_string(), row.resolver().to_string()];
            ipv4.into_iter().chain(row.ipv6_gateway().map(|address| address.to_string())).collect::<Vec<_>>()
        });
        if vpc.unfiltered.get(&row.id) != addresses.as_ref() {
            put(&mut vpc.unfiltered, &row.id, addresses);
            vpc.note(&row.id, version);
        }
    }
}

/// The primary address first.
fn addresses_of(row: &NetworkInterface) -> Vec<String> {
    let ipv6 = row.ipv6_addresses.iter().map(ToString::to_string);
    std::iter::once(row.private_address.to_string()).chain(ipv6).collect()
}

fn prefix_lists_of(group: &SecurityGroup) -> impl Iterator<Item = &String> {
    group.rules.iter().filter_map(|rule| match &rule.peer {
        SecurityGroupPeer::PrefixList(id) => Some(id),
        _ => None,
    })
}

fn put<V>(map: &mut BTreeMap<String, V>, id: &str, value: Option<V>) {
    match value {
        Some(value) => map.insert(id.to_owned(), value),
        None => map.remove(id),
    };
}

impl Vpc {
    fn note(&mut self, id: &str, version: u64) {
        if let Some(old) = self.changed.insert(id.to_owned(), version) {
            self.log.remove(&(old, id.to_owned()));
        }
        self.log.insert((version, id.to_owned()));
        let there = self.groups.len() + self.interfaces.len() + self.unfiltered.len();
        while self.log.len() > there + GONE_MAXIMUM {
            let Some((version, id)) = self.log.pop_first() else { break };
            self.changed.remove(&id);
            self.floor = self.floor.max(version);
        }
    }

    fn parts<'a>(
        &self,
        ids: impl Iterator<Item = &'a String>,
        version: u64,
        after: Option<u64>,
    ) -> Vec<VpcPolicy> {
        let mut parts = vec![VpcPolicy { version, after, ..VpcPolicy::default() }];
        let mut entries = 0;
        for id in ids {
            if entries >= ENTRIES_MAXIMUM {
                parts.push(VpcPolicy { version, after: Some(version), ..VpcPolicy::default() });
                entries = 0;
            }
            let Some(part) = parts.last_mut() else { break };
            entries += 1;
            if let Some(rules) = self.groups.get(id) {
                entries += rules.ingress.len() + rules.egress.len();
                part.security_groups.insert(id.clone(), rules.clone());
            } else if let Some(interface) = self.interfaces.get(id) {
                part.network_interfaces.insert(id.clone(), interface.clone());
            } else if let Some(addresses) = self.unfiltered.get(id) {
                part.unfiltered.insert(id.clone(), addresses.clone());
            } else {
                part.gone.push(id.clone());
            }
        }
        parts
    }
}

/// A group's rules as nodes take them. A prefix list is as many rules as it has entries.
fn rules_of(group: &SecurityGroup, prefix_lists: &BTreeMap<String, Vec<String>>) -> SecurityGroupRules {
    let mut rules = SecurityGroupRules::default();
    for rule in &group.rules {
        let Some(traffic) = traffic(&rule.ip_protocol, rule.from_port, rule.to_port) else { continue };
        let of = |network: String| SecurityGroupRule { network: Some(network), ..traffic.clone() };
        let made = match &rule.peer {
            SecurityGroupPeer::Ipv4(cidr) => vec![of(cidr.to_string())],
            SecurityGroupPeer::Ipv6(cidr) => vec![of(cidr.to_string())],
            SecurityGroupPeer::Group(id) => {
                vec![SecurityGroupRule { group: Some(id.clone()), ..traffic.clone() }]
            }
            SecurityGroupPeer::PrefixList(id) => {
                prefix_lists.get(id).into_iter().flatten().cloned().map(of).collect()
            }
        };
        if rule.is_egress { rules.egress.extend(made) } else { rules.ingress.extend(made) }
    }
    rules
}

/// Protocol and ports of a rule, as the API has them. Ports count for TCP, UDP, ICMP and ICMPv6 alone, as at AWS
/// (IpPermission, `IpProtocol`).
fn traffic(protocol: &str, from: i32, to: i32) -> Option<SecurityGroupRule> {
    const ALL: i32 = -1;
    let number = match protocol {
        "-1" => return Some(SecurityGroupRule::default()),
        "tcp" => 6,
        "udp" => 17,
        "icmp" => 1,
        "icmpv6" => 58,
        number => number.parse().ok()?,
    };
    let ports = match number {
        6 | 17 if from == ALL => None,
        6 | 17 => Some((u16::try_from(from).ok()?, u16::try_from(to).ok()?)),
        1 | 58 if from == ALL => None,
        1 | 58 => {
            let kind = u16::from(u8::try_from(from).ok()?) << 8;
            let code = |code: i32| u8::try_from(code).ok().map(u16::from);
            Some(if to == ALL { (kind, kind | 0xff) } else { (kind | code(to)?, kind | code(to)?) })
        }
        _ => None,
    };
    Some(SecurityGroupRule { protocol: Some(number), ports, ..SecurityGroupRule::default() })
}

/// The VPCs in which a change is to be enforced.
pub fn vpcs_of(change: &Change, snapshot: &Snapshot) -> Vec<String> {
    fn both<R>(change: &RowChange<R>, vpc: impl Fn(&R) -> &String) -> Vec<String> {
        change.before.iter().chain(&change.after).map(|row| vpc(row).clone()).collect()
    }
    if let Some(change) = change.of::<NetworkInterface>() {
        both(&change, |row| &row.vpc)
    } else if let Some(change) = change.of::<SecurityGroup>() {
        both(&change, |row| &row.vpc)
    } else if let Some(change) = change.of::<Subnet>() {
        both(&change, |row| &row.vpc)
    } else if let Some(change) = change.of::<PrefixList>() {
        let lists = both(&change, |row| &row.id);
        snapshot.view(|policies: &mut NetworkPolicies| {
            let naming = lists.iter().filter_map(|list| policies.naming.get(list));
            naming.flat_map(|groups| groups.values().map(|group| group.vpc.clone())).collect()
        })
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{SeededIds, Timestamp};
    use domain::{NetworkInterface, TaskNetworkInterface};
    use store::rows_vpc::{ensure_default_vpc, register};
    use store::{Options, Row, Store, Transaction};

    struct World {
        store: Store,
        ids: SeededIds,
        made: domain::DefaultVpc,
    }

    async fn world() -> World {
        let store = Store::ephemeral(register(Options::ephemeral()));
        let ids = SeededIds::new(1);
        let scope = base::Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap());
        let networks = ["172.31.0.0/16".parse().unwrap()];
        let made = ensure_default_vpc(&store, &scope, &networks, &ids).await.unwrap();
        World { store, ids, made }
    }

    impl World {
        fn since(&self, after: Option<u64>) -> Vec<VpcPolicy> {
            let vpc = &self.made.vpc.id;
            self.store.snapshot().view(|policies: &mut NetworkPolicies| policies.since(vpc, after))
        }

        fn interface(&self) -> NetworkInterface {
            let wish = TaskNetworkInterface {
                subnet: &self.made.subnets[0],
                security_groups: vec![self.made.security_group.id.clone()],
                task: "arn:aws:ecs:us-east-1:123456789012:task/default/0".parse().unwrap(),
                attachment: String::new(),
                now: Timestamp::from_millis(0),
            };
            wish.make(&self.ids, |_| false).unwrap()
        }

        async fn put<R: Row>(&self, row: R) {
            let mut transaction = Transaction::new();
            transaction.put(row);
            self.store.transact(transaction).await.unwrap();
        }

        async fn delete<R: Row>(&self, row: &R) {
            let mut transaction = Transaction::new();
            transaction.delete::<R>(&row.key());
            self.store.transact(transaction).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_node_is_told_the_whole_and_then_what_changed() {
        let world = world().await;
        let whole = world.since(None);
        let [whole] = whole.as_slice() else { panic!("one part") };
        assert_eq!((whole.after, whole.security_groups.len(), whole.unfiltered.len()), (None, 1, 3));
        let group = &world.made.security_group;
        let rules = &whole.security_groups[&group.id];
        assert_eq!(rules.ingress[0].group.as_ref(), Some(&group.id));
        assert_eq!(rules.egress[0].network.as_deref(), Some("0.0.0.0/0"));
        assert!(whole.unfiltered.values().flatten().any(|address| address == "172.31.16.2"));
        assert!(world.since(Some(whole.version)).is_empty(), "nothing new");
        let interface = world.interface();
        world.put(interface.clone()).await;
        let news = world.since(Some(whole.version));
        assert_eq!(news[0].after, Some(whole.version));
        assert_eq!(news[0].network_interfaces[&interface.id].security_groups, interface.security_groups);
        assert!(news[0].security_groups.is_empty(), "what did not change is not sent");
        // A description changes nothing that is enforced.
        world.put(NetworkInterface { description: "other".to_owned(), ..interface.clone() }).await;
        assert!(world.since(Some(news[0].version)).is_empty());
        world.delete(&interface).await;
        let gone = world.since(Some(news[0].version));
        assert_eq!(gone[0].gone, [interface.id]);
        assert!(world.since(None)[0].network_interfaces.is_empty());
    }

    #[tokio::test]
    async fn interfaces_of_no_task_are_hosted() {
        let world = world().await;
        let mut interface = world.interface();
        let hosted =
            || world.store.snapshot().view(|policies: &mut NetworkPolicies| policies.hosted().count());
        world.put(interface.clone()).await;
        assert_eq!(hosted(), 0);
        interface.owner_task = None;
        world.put(interface.clone()).await;
        assert_eq!(hosted(), 1);
        // A network load balancer without groups is not filtered.
        interface.security_groups.clear();
        let version = world.since(None)[0].version;
        world.put(interface.clone()).await;
        assert_eq!(world.since(Some(version))[0].gone, [interface.id.clone()]);
        interface.public_address = Some(domain::PublicAddress {
            address: [198, 18, 0, 9].into(),
            allocation_id: Some("eipalloc-1".to_owned()),
            association_id: None,
        });
        let version = world.since(None)[0].version;
        world.put(interface.clone()).await;
        let told = world.since(Some(version))[0].network_interfaces[&interface.id].clone();
        assert!(told.is_unfiltered, "{told:?}");
        assert_eq!(told.public_address.as_deref(), Some("198.18.0.9"));
        world.delete(&interface).await;
        assert_eq!(hosted(), 0);
    }

    #[tokio::test]
    async fn what_is_gone_for_long_is_told_by_the_whole() {
        let world = world().await;
        let version = world.since(None)[0].version;
        let mut group = world.made.security_group.clone();
        for number in 0..GONE_MAXIMUM + 10 {
            group.id = format!("sg-{number}");
            world.put(group.clone()).await;
            world.delete(&group).await;
            let _ = world.since(Some(version));
        }
        assert_eq!(world.since(Some(version))[0].after, None);
    }

    #[tokio::test]
    async fn a_big_vpc_comes_in_parts_that_fit_a_message() {
        let world = world().await;
        let mut group = world.made.security_group.clone();
        let rule = group.rules[0].clone();
        group.rules = vec![rule; 60];
        for number in 0..200 {
            group.id = format!("sg-{number}");
            world.put(group.clone()).await;
        }
        let parts = world.since(None);
        assert!(parts.len() > 2);
        assert!(parts[0].after.is_none() && parts[1..].iter().all(|part| part.after == Some(part.version)));
        assert_eq!(parts.iter().map(|part| part.security_groups.len()).sum::<usize>(), 201);
    }

    #[tokio::test]
    async fn a_prefix_list_is_as_many_rules_as_it_has_entries() {
        let world = world().await;
        let entry = |cidr: &str| domain::PrefixListEntry {
            cidr: domain::PrefixListCidr::Ipv4(cidr.parse().unwrap()),
            description: None,
        };
        let mut list = PrefixList {
            scope: world.made.vpc.scope.clone(),
            id: "pl-1".to_owned(),
            name: "offices".to_owned(),
            address_family: domain::AddressFamily::Ipv4,
            max_entries: 5,
            version: 1,
            state: domain::PrefixListState::CreateComplete,
            entries: vec![entry("10.1.0.0/16"), entry("10.2.0.0/16")],
            tags: Vec::new(),
        };
        world.put(list.clone()).await;
        let mut group = world.made.security_group.clone();
        group.rules.truncate(1);
        group.rules[0].peer = SecurityGroupPeer::PrefixList("pl-1".to_owned());
        let ingress = || world.since(None)[0].security_groups[&group.id].ingress.clone();
        world.put(group.clone()).await;
        assert_eq!(ingress().len(), 2);
        let version = world.since(None)[0].version;
        list.entries.pop();
        world.put(list.clone()).await;
        assert_eq!(
            world.since(Some(version))[0].security_groups.len(),
            1,
            "the list's change is the group's"
        );
        assert_eq!(ingress()[0].network.as_deref(), Some("10.1.0.0/16"));
        // A group that names it no longer is not touched by it.
        world.put(world.made.security_group.clone()).await;
        let version = world.since(None)[0].version;
        world.delete(&list).await;
        assert!(world.since(Some(version)).is_empty());
    }

    #[test]
    fn traffic_is_what_the_api_says() {
        let of = |protocol, from, to| traffic(protocol, from, to).map(|rule| (rule.protocol, rule.ports));
        assert_eq!(of("-1", -1, -1), Some((None, None)));
        assert_eq!(of("tcp", 80, 443), Some((Some(6), Some((80, 443)))));
        assert_eq!(of("udp", 0, 65535), Some((Some(17), Some((0, 65535)))));
        assert_eq!(of("17", -1, -1), Some((Some(17), None)));
        assert_eq!(of("icmp", 8, 0), Some((Some(1), Some((0x800, 0x800)))));
        assert_eq!(of("icmp", 3, -1), Some((Some(1), Some((0x300, 0x3ff)))));
        assert_eq!(of("icmpv6", -1, -1), Some((Some(58), None)));
        assert_eq!(of("50", 1, 2), Some((Some(50), None)), "protocols without ports");
        assert_eq!(of("tcp", -5, 80), None);
        assert_eq!(of("gre", 0, 0), None);
    }
}
