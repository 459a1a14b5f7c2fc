//! Security groups: who may open a connection to a task, and to whom a task may open one.
//!
//! A table of its own, `roadstead_<name>_sg`, so that a start of the network leaves it in force until the first change
//! replaces it in one transaction.
//!
//! | object | is |
//! | --- | --- |
//! | `ingress`, `egress`, `ingress6`, `egress6` | maps: an address leads to the chain of its profile |
//! | `pi<n>`, `pe<n>` | a profile: the groups that an address is in, one after another, then drop |
//! | `i<n>`, `e<n>` | a group's rules: what matches is accepted |
//! | `m<n>`, `n<n>` | a group's members, IPv4 and IPv6, for rules that name it |
//! | `unfiltered`, `unfiltered6` | routers and resolvers of the VPCs |
//!
//! Connections are tracked: what belongs to one that was allowed passes, as AWS documents, also when its rule has gone.
//! What a task sends is looked at in base chains of their own, before those for what it gets: an accept ends one base chain,
//! not the other. Addresses that are in neither map are not this module's matter. The host is a source like any other
//! (`decisions/0021`).
//!
//! Changes are in proportion to what changed: a member is one element in two sets, a rule's change rewrites its group's
//! chain. Sources: nft(8); Amazon VPC user guide, "Security group rules" and "Connection tracking".

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base::{Ipv4Cidr, Ipv6Cidr};

use crate::nftables::{Batch, Chain, Element, Expression, Family, Verdict};

mod expressions;

use expressions::{encode_rules, skeleton};

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Every address of a network.
    Cidr(Ipv4Cidr),
    /// Every address of an IPv6 network.
    Ipv6Cidr(Ipv6Cidr),
    /// Every address that is in the group.
    Group(String),
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketRule {
    /// The protocol's number; `None` is all.
    pub protocol: Option<u8>,
    /// First and last port (TCP, UDP), or type and code (ICMP: `type << 8 | code`); `None` is all.
    pub ports: Option<(u16, u16)>,
    /// The other side.
    pub peer: Peer,
}

/// A security group's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupRules {
    /// What may reach its members.
    pub ingress: Vec<PacketRule>,
    /// What its members may reach.
    pub egress: Vec<PacketRule>,
}

/// Everything that is to be enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityGroupPolicy {
    /// Groups by id.
    pub groups: BTreeMap<String, GroupRules>,
    /// Addresses and the groups they are in. One that is in no group reaches nothing and is reached by nothing.
    pub members: BTreeMap<IpAddr, BTreeSet<String>>,
    /// Addresses of routers and resolvers: what tasks send there passes, whatever their groups say.
    pub unfiltered: BTreeSet<IpAddr>,
}

/// What is to be enforced from now on otherwise than before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityGroupChange {
    /// Groups by id; `None`: it is gone.
    pub groups: BTreeMap<String, Option<GroupRules>>,
    /// Addresses and their groups; `None`: it is nobody's.
    pub members: BTreeMap<IpAddr, Option<BTreeSet<String>>>,
    /// Addresses of routers and resolvers, and whether they are.
    pub unfiltered: BTreeMap<IpAddr, bool>,
}

impl SecurityGroupPolicy {
    /// What leads from `before` to this.
    pub fn since(&self, before: &Self) -> SecurityGroupChange {
        fn changed<K: Ord + Clone, V: PartialEq + Clone>(
            before: &BTreeMap<K, V>,
            now: &BTreeMap<K, V>,
        ) -> BTreeMap<K, Option<V>> {
            let new = now.iter().filter(|(key, value)| before.get(key) != Some(*value));
            let new = new.map(|(key, value)| (key.clone(), Some(value.clone())));
            let gone = before.keys().filter(|key| !now.contains_key(key)).map(|key| (key.clone(), None));
            new.chain(gone).collect()
        }
        let unfiltered = self.unfiltered.symmetric_difference(&before.unfiltered);
        SecurityGroupChange {
            groups: changed(&before.groups, &self.groups),
            members: changed(&before.members, &self.members),
            unfiltered: unfiltered.map(|address| (*address, self.unfiltered.contains(address))).collect(),
        }
    }

    fn take_in(&mut self, change: &SecurityGroupChange) {
        for (id, rules) in &change.groups {
            match rules {
                Some(rules) => self.groups.insert(id.clone(), rules.clone()),
                None => self.groups.remove(id),
            };
        }
        for (address, groups) in &change.members {
            match groups {
                Some(groups) => self.members.insert(*address, groups.clone()),
                None => self.members.remove(address),
            };
        }
        for (address, is_unfiltered) in &change.unfiltered {
            if *is_unfiltered {
                self.unfiltered.insert(*address);
            } else {
                self.unfiltered.remove(address);
            }
        }
    }
}

/// A group as the kernel has it. It is there while it has rules, members, or is named by a rule.
#[derive(Debug, Default)]
struct Group {
    number: u32,
    has_chains: bool,
    ingress: Vec<Vec<Expression>>,
    egress: Vec<Vec<Expression>>,
    members: BTreeSet<IpAddr>,
    /// The groups that its rules name.
    names: BTreeSet<String>,
    /// By how many groups' rules it is named.
    named: usize,
}

/// The groups that some addresses are in.
#[derive(Debug)]
struct Profile {
    number: u32,
    users: usize,
}

/// What the kernel has, and how to get it elsewhere.
#[derive(Debug, Default)]
pub(crate) struct SecurityGroups {
    /// Whether the kernel has what is below.
    written: bool,
    policy: SecurityGroupPolicy,
    last_number: u32,
    groups: BTreeMap<String, Group>,
    /// Profiles by the numbers of their groups.
    profiles: BTreeMap<BTreeSet<u32>, Profile>,
    /// The groups of every address.
    members: BTreeMap<IpAddr, BTreeSet<String>>,
}

impl SecurityGroups {
    /// Takes the change in and gives the batch that makes the kernel enforce it. Where the kernel refuses that, the caller says so
    /// by [`Self::refused`], and the next batch writes everything anew.
    pub(crate) fn change(&mut self, instance: &str, change: &SecurityGroupChange) -> Batch {
        self.policy.take_in(change);
        let mut batch = Batch::new(Family::Inet, &table_name(instance));
        if self.written {
            self.follow(change, &mut batch);
        } else {
            *self = Self { policy: std::mem::take(&mut self.policy), ..Self::default() };
            batch.add_table().delete_table();
            batch.add_table();
            skeleton(&mut batch);
            let everything = self.policy.since(&SecurityGroupPolicy::default());
            self.follow(&everything, &mut batch);
            self.written = true;
        }
        batch
    }

    /// The kernel did not take the last batch.
    pub(crate) fn refused(&mut self) {
        self.written = false;
    }

    /// What is enforced, or is to be.
    pub(crate) fn policy(&self) -> &SecurityGroupPolicy {
        &self.policy
    }

    /// Whether the rules of this address are in force.
    pub(crate) fn is_member(&self, address: IpAddr) -> bool {
        self.written && self.policy.members.contains_key(&address)
    }

    fn follow(&mut self, change: &SecurityGroupChange, batch: &mut Batch) {
        for (address, is_unfiltered) in &change.unfiltered {
            let elements = [element(*address)];
            let set = if address.is_ipv4() { "unfiltered" } else { "unfiltered6" };
            if *is_unfiltered {
                batch.add_elements(set, &elements);
            } else {
                batch.delete_elements(set, &elements);
            }
        }
        let mut touched: BTreeSet<String> = change.groups.keys().cloned().collect();
        for (id, rules) in &change.groups {
            self.write_rules(id, rules.as_ref(), &mut touched, batch);
        }
        let mut unused = Vec::new();
        for (address, groups) in &change.members {
            self.write_member(*address, groups.as_ref(), &mut touched, &mut unused, batch);
        }
        self.drop_profiles(&unused, batch);
        self.drop_groups(&touched, batch);
    }

    fn number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    /// The group of this id, made where it is missing.
    fn group(&mut self, id: &str, batch: &mut Batch) -> &mut Group {
        if !self.groups.contains_key(id) {
            let number = self.number();
            for set in expressions::member_sets(number) {
                batch.add_set(&set);
            }
            self.groups.insert(id.to_owned(), Group { number, ..Group::default() });
        }
        self.groups.entry(id.to_owned()).or_default()
    }

    /// The chains that members of this group go through, made where they are missing.
    fn chains(&mut self, id: &str, batch: &mut Batch) -> u32 {
        let group = self.group(id, batch);
        if !group.has_chains {
            group.has_chains = true;
            for letter in ['i', 'e'] {
                batch.add_chain(&Chain { name: &chain_name(letter, group.number), hook: None });
            }
        }
        group.number
    }

    /// Writes a group's rules; with `None` it has none. Groups that they no longer name go to `touched`.
    fn write_rules(
        &mut self,
        id: &str,
        rules: Option<&GroupRules>,
        touched: &mut BTreeSet<String>,
        batch: &mut Batch,
    ) {
        let none = GroupRules::default();
        let rules = rules.unwrap_or(&none);
        let number = self.chains(id, batch);
        let names = rules.names();
        let old_names = std::mem::replace(&mut self.group(id, batch).names, names.clone());
        for new in names.difference(&old_names) {
            self.group(new, batch).named += 1;
        }
        for old in old_names.difference(&names) {
            let named = &mut self.group(old, batch).named;
            *named = named.saturating_sub(1);
            touched.insert(old.clone());
        }
        let numbers = names.iter().map(|name| (name.as_str(), self.group(name, batch).number)).collect();
        for (letter, rules) in [('i', &rules.ingress), ('e', &rules.egress)] {
            let new = encode_rules(rules, letter == 'i', &numbers);
            let group = self.group(id, batch);
            let there = if letter == 'i' { &mut group.ingress } else { &mut group.egress };
            if *there == new {
                continue;
            }
            let chain = chain_name(letter, number);
            if !there.is_empty() {
                batch.flush_chain(&chain);
            }
            for rule in &new {
                batch.add_rule(&chain, rule);
            }
            *there = new;
        }
    }

    /// Puts an address into its groups, or takes it out. Groups that it leaves go to `touched`, the profile to `unused`.
    fn write_member(
        &mut self,
        address: IpAddr,
        ids: Option<&BTreeSet<String>>,
        touched: &mut BTreeSet<String>,
        unused: &mut Vec<BTreeSet<u32>>,
        batch: &mut Batch,
    ) {
        let old = self.members.get(&address).cloned();
        if old.as_ref() == ids {
            return;
        }
        let elements = [element(address)];
        if let Some(old) = old {
            let profile = self.numbers(&old, batch);
            self.lead(address, &profile, false, batch);
            unused.push(profile);
            for id in old.iter().filter(|id| ids.is_none_or(|ids| !ids.contains(*id))) {
                let group = self.group(id, batch);
                if group.members.remove(&address) {
                    batch.delete_elements(&members_name(address, group.number), &elements);
                }
                touched.insert(id.clone());
            }
        }
        let Some(ids) = ids else {
            self.members.remove(&address);
            return;
        };
        let profile = self.numbers(ids, batch);
        for id in ids {
            let group = self.group(id, batch);
            if group.members.insert(address) {
                batch.add_elements(&members_name(address, group.number), &elements);
            }
        }
        self.lead(address, &profile, true, batch);
        self.members.insert(address, ids.clone());
    }

    fn numbers(&mut self, ids: &BTreeSet<String>, batch: &mut Batch) -> BTreeSet<u32> {
        ids.iter().map(|id| self.chains(id, batch)).collect()
    }

    /// Leads an address to the profile of these groups, or no longer.
    fn lead(&mut self, address: IpAddr, groups: &BTreeSet<u32>, there: bool, batch: &mut Batch) {
        if !self.profiles.contains_key(groups) {
            let number = self.number();
            for letter in ['i', 'e'] {
                let chain = profile_name(letter, number);
                batch.add_chain(&Chain { name: &chain, hook: None });
                for group in groups {
                    let jump = Verdict::Jump(chain_name(letter, *group));
                    batch.add_rule(&chain, &[Expression::Verdict(jump)]);
                }
                batch.add_rule(&chain, &[Expression::Counter, Expression::Verdict(Verdict::Drop)]);
            }
            self.profiles.insert(groups.clone(), Profile { number, users: 0 });
        }
        let Some(profile) = self.profiles.get_mut(groups) else { return };
        for letter in ['i', 'e'] {
            let to = Verdict::Jump(profile_name(letter, profile.number));
            let elements = [element(address).leading_to(to)];
            if there {
                batch.add_elements(map_name(letter, address), &elements);
            } else {
                batch.delete_elements(map_name(letter, address), &elements);
            }
        }
        profile.users = if there { profile.users + 1 } else { profile.users.saturating_sub(1) };
    }

    fn drop_profiles(&mut self, unused: &[BTreeSet<u32>], batch: &mut Batch) {
        for groups in unused {
            let Some(profile) = self.profiles.get(groups).filter(|profile| profile.users == 0) else {
                continue;
            };
            for letter in ['i', 'e'] {
                batch.flush_chain(&profile_name(letter, profile.number));
                batch.delete_chain(&profile_name(letter, profile.number));
            }
            self.profiles.remove(groups);
        }
    }

    /// Drops what of these groups nothing needs any more.
    fn drop_groups(&mut self, touched: &BTreeSet<String>, batch: &mut Batch) {
        // All chains before all sets: their rules name the sets.
        let mut sets = Vec::new();
        for id in touched {
            let is_defined = self.policy.groups.contains_key(id);
            let Some(group) = self.groups.get_mut(id) else { continue };
            if is_defined || !group.members.is_empty() {
                continue;
            }
            if group.has_chains {
                group.has_chains = false;
                for letter in ['i', 'e'] {
                    batch.flush_chain(&chain_name(letter, group.number));
                    batch.delete_chain(&chain_name(letter, group.number));
                }
            }
            if group.named == 0 {
                sets.extend(expressions::member_sets(group.number));
                self.groups.remove(id);
            }
        }
        for set in sets {
            batch.delete_set(&set.name);
        }
    }
}

impl GroupRules {
    /// The groups that the rules name.
    fn names(&self) -> BTreeSet<String> {
        let rules = self.ingress.iter().chain(&self.egress);
        let groups = rules.filter_map(|rule| match &rule.peer {
            Peer::Group(id) => Some(id.clone()),
            Peer::Cidr(_) | Peer::Ipv6Cidr(_) => None,
        });
        groups.collect()
    }
}

/// The table's name for an instance.
pub(crate) fn table_name(instance: &str) -> String {
    format!("roadstead_{instance}_sg")
}

/// Deletes the table.
pub(crate) fn remove(instance: &str) -> Batch {
    let mut batch = Batch::new(Family::Inet, &table_name(instance));
    batch.add_table().delete_table();
    batch
}

fn chain_name(letter: char, number: u32) -> String {
    format!("{letter}{number}")
}

fn profile_name(letter: char, number: u32) -> String {
    format!("p{letter}{number}")
}

/// The map that leads an address of this family to its profile.
fn map_name(letter: char, address: IpAddr) -> &'static str {
    match (letter, address) {
        ('i', IpAddr::V4(_)) => "ingress",
        ('i', IpAddr::V6(_)) => "ingress6",
        (_, IpAddr::V4(_)) => "egress",
        (_, IpAddr::V6(_)) => "egress6",
    }
}

/// The set of a group's members of this family.
fn members_name(address: IpAddr, number: u32) -> String {
    format!("{}{number}", if address.is_ipv4() { 'm' } else { 'n' })
}

fn element(address: IpAddr) -> Element {
    match address {
        IpAddr::V4(address) => Element::new(&[&address.octets()]),
        IpAddr::V6(address) => Element::new(&[&address.octets()]),
    }
}
