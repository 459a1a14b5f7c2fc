//! What the control plane says is to be enforced on the node's networks, and what of it is new.
//!
//! Messages come over one ordered socket, and one may be lost with it. So each says which version it changes: one that does
//! not fit is refused, and the control plane sends the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use agent_protocol::network_policy::{
    InterfacePolicy, NetworkPolicyMessage, SecurityGroupRule, SecurityGroupRules, VpcPolicy,
};
use network::{GroupRules, PacketRule, Peer, PublicAddress, SecurityGroupChange, SecurityGroupPolicy};

/// VPCs that a node is told of. Ours: far above what a machine has bridges for.
const VPCS_MAXIMUM: usize = 4096;

/// What this node was told, by VPC.
#[derive(Debug, Default)]
pub struct NetworkPolicies {
    vpcs: BTreeMap<String, Vpc>,
    /// Not enforced yet.
    pending: Pending,
}

#[derive(Debug, Default)]
struct Vpc {
    version: u64,
    groups: BTreeMap<String, GroupRules>,
    interfaces: BTreeMap<String, Interface>,
    unfiltered: BTreeMap<String, BTreeSet<IpAddr>>,
}

#[derive(Debug, Default)]
struct Interface {
    addresses: BTreeSet<IpAddr>,
    /// `None`: no rule stands before it.
    groups: Option<BTreeSet<String>>,
    /// Of its first IPv4 address.
    public: Option<(Ipv4Addr, PublicAddress)>,
}

#[derive(Debug)]
enum Pending {
    Whole,
    Change(Change),
}

impl Default for Pending {
    fn default() -> Self {
        Self::Change(Change::default())
    }
}

/// What is to be done about a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Another message belongs to it.
    Wait,
    /// All of this is to be enforced, and nothing else.
    Whole(Whole),
    /// This is to be enforced otherwise than before.
    Change(Change),
}

/// Everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Who lets whom in.
    pub security_groups: SecurityGroupPolicy,
    /// Public addresses by private ones.
    pub public: BTreeMap<Ipv4Addr, PublicAddress>,
}

/// What changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Who lets whom in.
    pub security_groups: SecurityGroupChange,
    /// Public addresses by private ones; `None`: it has none.
    pub public: BTreeMap<Ipv4Addr, Option<PublicAddress>>,
}

/// Why a message cannot be followed, in words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A message before it is missing.
    #[error("version {after} of {vpc} is not here: it is at {here:?}")]
    Gap {
        /// The VPC.
        vpc: String,
        /// What the message changes.
        after: u64,
        /// What is here.
        here: Option<u64>,
    },
    /// Something in it makes no sense.
    #[error("{0} is no address or network")]
    Malformed(String),
    /// More VPCs than a node has.
    #[error("more than {VPCS_MAXIMUM} VPCs")]
    TooMany,
}

impl NetworkPolicies {
    /// Takes a message in and says what is to be done.
    pub fn take(&mut self, message: NetworkPolicyMessage) -> Result<Step, PolicyError> {
        if message.all {
            self.vpcs.clear();
            self.pending = Pending::Whole;
        }
        for (id, policy) in message.vpcs {
            self.take_vpc(id, policy)?;
        }
        if message.more {
            return Ok(Step::Wait);
        }
        Ok(match std::mem::take(&mut self.pending) {
            Pending::Whole => Step::Whole(self.whole()),
            Pending::Change(change) => Step::Change(change),
        })
    }

    fn take_vpc(&mut self, id: String, policy: VpcPolicy) -> Result<(), PolicyError> {
        let here = self.vpcs.get(&id).map(|vpc| vpc.version);
        match policy.after {
            None => {
                if self.vpcs.len() >= VPCS_MAXIMUM && here.is_none() {
                    return Err(PolicyError::TooMany);
                }
                let mut vpc = Vpc::default();
                let change = vpc.take(policy)?;
                if self.vpcs.insert(id, vpc).is_some() {
                    // What it had and has no more is not told.
                    self.pending = Pending::Whole;
                }
                self.pending.add(change);
            }
            Some(after) if here == Some(after) => {
                let change = self.vpcs.entry(id).or_default().take(policy)?;
                self.pending.add(change);
            }
            // Heard before.
            Some(_) if here >= Some(policy.version) => {}
            Some(after) => return Err(PolicyError::Gap { vpc: id, after, here }),
        }
        Ok(())
    }

    fn whole(&self) -> Whole {
        let mut whole = Whole::default();
        let groups = &mut whole.security_groups;
        for vpc in self.vpcs.values() {
            groups.groups.extend(vpc.groups.clone());
            for interface in vpc.interfaces.values() {
                groups.members.extend(interface.members());
                whole.public.extend(interface.public);
            }
            groups.unfiltered.extend(vpc.unfiltered.values().flatten());
        }
        whole
    }
}

impl Pending {
    /// What comes later counts.
    fn add(&mut self, change: Change) {
        if let Self::Change(Change { security_groups, public }) = self {
            security_groups.groups.extend(change.security_groups.groups);
            security_groups.members.extend(change.security_groups.members);
            security_groups.unfiltered.extend(change.security_groups.unfiltered);
            public.extend(change.public);
        }
    }
}

impl Vpc {
    fn take(&mut self, policy: VpcPolicy) -> Result<Change, PolicyError> {
        let mut change = SecurityGroupChange::default();
        let mut public = BTreeMap::new();
        // What goes before what comes: an address may change hands.
        let replaced = policy.gone.iter().chain(policy.network_interfaces.keys());
        for id in replaced {
            if let Some(old) = self.interfaces.remove(id) {
                change.members.extend(old.addresses.into_iter().map(|address| (address, None)));
                public.extend(old.public.map(|(private, _)| (private, None)));
            }
        }
        for id in policy.gone.iter().chain(policy.unfiltered.keys()) {
            let old = self.unfiltered.remove(id).unwrap_or_default();
            change.unfiltered.extend(old.into_iter().map(|address| (address, false)));
        }
        for id in &policy.gone {
            if self.groups.remove(id).is_some() {
                change.groups.insert(id.clone(), None);
            }
        }
        for (id, rules) in policy.security_groups {
            let rules = group_rules(&rules)?;
            change.groups.insert(id.clone(), Some(rules.clone()));
            self.groups.insert(id, rules);
        }
        for (id, interface) in policy.network_interfaces {
            let interface = Interface::read(interface)?;
            change.members.extend(interface.members().map(|(address, groups)| (address, Some(groups))));
            public.extend(interface.public.map(|(private, public)| (private, Some(public))));
            self.interfaces.insert(id, interface);
        }
        for (id, addresses) in policy.unfiltered {
            let addresses = addresses.iter().map(|text| address(text)).collect::<Result<BTreeSet<_>, _>>()?;
            change.unfiltered.extend(addresses.iter().map(|address| (*address, true)));
            self.unfiltered.insert(id, addresses);
        }
        self.version = policy.version;
        Ok(Change { security_groups: change, public })
    }
}

impl Interface {
    /// Its addresses and the groups that they are in.
    fn members(&self) -> impl Iterator<Item = (IpAddr, BTreeSet<String>)> {
        let groups = self.groups.iter();
        groups.flat_map(|groups| self.addresses.iter().map(|address| (*address, groups.clone())))
    }

    fn read(policy: InterfacePolicy) -> Result<Self, PolicyError> {
        let addresses = policy.addresses.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
        let private = addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let public = match &policy.public_address {
            Some(text) => Some(text.parse().map_err(|_| malformed(text))?),
            None => None,
        };
        let is_routed = policy.public_address_is_routed;
        let public = private.zip(public.map(|address| PublicAddress { address, is_routed }));
        let groups = (!policy.is_unfiltered).then(|| policy.security_groups.into_iter().collect());
        Ok(Self { addresses: addresses.into_iter().collect(), groups, public })
    }
}

fn malformed(text: &str) -> PolicyError {
    PolicyError::Malformed(text.chars().take(64).collect())
}

fn address(text: &str) -> Result<IpAddr, PolicyError> {
    text.parse().map_err(|_| malformed(text))
}

fn group_rules(rules: &SecurityGroupRules) -> Result<GroupRules, PolicyError> {
    let read = |rules: &[SecurityGroupRule]| rules.iter().map(packet_rule).collect::<Result<Vec<_>, _>>();
    Ok(GroupRules { ingress: read(&rules.ingress)?, egress: read(&rules.egress)? })
}

fn packet_rule(rule: &SecurityGroupRule) -> Result<PacketRule, PolicyError> {
    let peer = match (&rule.network, &rule.group) {
        (_, Some(group)) => Peer::Group(group.clone()),
        (Some(network), None) => match network.parse() {
            Ok(cidr) => Peer::Cidr(cidr),
            Err(_) => Peer::Ipv6Cidr(network.parse().map_err(|_| malformed(network))?),
        },
        (None, None) => return Err(malformed("a rule's other side")),
    };
    Ok(PacketRule { protocol: rule.protocol, ports: rule.ports, peer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(text: serde_json::Value) -> NetworkPolicyMessage {
        serde_json::from_value(text).unwrap()
    }

    fn whole(version: u64) -> NetworkPolicyMessage {
        message(json!({"all": true, "vpcs": {"vpc-1": {"version": version,
            "securityGroups": {"sg-1": {"ingress": [{"protocol": 6, "ports": [80, 80], "network": "0.0.0.0/0"},
                                                    {"network": "::/0"}, {"group": "sg-1"}]}},
            "networkInterfaces": {"eni-1": {"addresses": ["10.0.0.4", "fd00::4"], "securityGroups": ["sg-1"],
                                            "publicAddress": "198.18.0.9"}},
            "unfiltered": {"subnet-1": ["10.0.0.1"]}}}}))
    }

    fn change(after: u64, version: u64, rest: serde_json::Value) -> NetworkPolicyMessage {
        let mut vpc = json!({"after": after, "version": version});
        vpc.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        message(json!({"vpcs": {"vpc-1": vpc}}))
    }

    #[test]
    fn the_whole_and_then_what_changed() {
        let mut policies = NetworkPolicies::default();
        let Step::Whole(all) = policies.take(whole(5)).unwrap() else { panic!("the whole comes first") };
        let (private, public) = all.public.first_key_value().unwrap();
        assert_eq!(
            (private.to_string(), public.address.to_string()),
            ("10.0.0.4".into(), "198.18.0.9".into())
        );
        let all = all.security_groups;
        assert_eq!(all.groups["sg-1"].ingress.len(), 3);
        assert_eq!(all.members.len(), 2);
        assert!(all.unfiltered.contains(&"10.0.0.1".parse().unwrap()));
        // The interface's address goes to another one, in one message.
        let moved = json!({"networkInterfaces": {"eni-0": {"addresses": ["10.0.0.4"], "securityGroups": []}},
                           "gone": ["eni-1", "sg-1"]});
        let Step::Change(news) = policies.take(change(5, 7, moved)).unwrap() else { panic!("a change") };
        assert_eq!(news.public[&"10.0.0.4".parse().unwrap()], None);
        let news = news.security_groups;
        assert_eq!(news.members[&"10.0.0.4".parse().unwrap()], Some(BTreeSet::new()));
        assert_eq!(news.members[&"fd00::4".parse().unwrap()], None);
        assert_eq!(news.groups["sg-1"], None);
    }

    #[test]
    fn before_what_is_not_filtered_stands_no_rule() {
        let mut policies = NetworkPolicies::default();
        policies.take(whole(5)).unwrap();
        let interface =
            json!({"addresses": ["10.0.0.6"], "isUnfiltered": true, "publicAddress": "198.18.0.8"});
        let bare = json!({"networkInterfaces": {"eni-6": interface}});
        let Step::Change(news) = policies.take(change(5, 6, bare)).unwrap() else { panic!("a change") };
        assert_eq!(news.security_groups.members.len(), 0);
        let public = news.public[&"10.0.0.6".parse().unwrap()].map(|public| public.address.to_string());
        assert_eq!(public.as_deref(), Some("198.18.0.8"));
        assert!(!policies.whole().security_groups.members.contains_key(&"10.0.0.6".parse().unwrap()));
    }

    #[test]
    fn a_message_that_is_lost_or_comes_twice_does_no_harm() {
        let mut policies = NetworkPolicies::default();
        policies.take(whole(5)).unwrap();
        let gone = || json!({"gone": ["eni-1"]});
        assert!(policies.take(change(5, 6, gone())).is_ok());
        let Step::Change(again) = policies.take(change(5, 6, gone())).unwrap() else { panic!("a change") };
        assert_eq!(again, Change::default(), "heard before");
        let gap = policies.take(change(7, 8, gone()));
        assert_eq!(gap, Err(PolicyError::Gap { vpc: "vpc-1".into(), after: 7, here: Some(6) }));
        assert!(matches!(policies.take(whole(8)), Ok(Step::Whole(_))));
        assert!(matches!(policies.take(change(8, 9, gone())), Ok(Step::Change(_))));
        let other = message(json!({"vpcs": {"vpc-2": {"version": 3, "after": 2}}}));
        assert!(matches!(policies.take(other), Err(PolicyError::Gap { here: None, .. })));
    }

    #[test]
    fn parts_are_enforced_together() {
        let mut policies = NetworkPolicies::default();
        let mut first = whole(5);
        first.more = true;
        assert_eq!(policies.take(first).unwrap(), Step::Wait);
        let second =
            json!({"networkInterfaces": {"eni-2": {"addresses": ["10.0.0.5"], "securityGroups": ["sg-1"]}}});
        let Step::Whole(all) = policies.take(change(5, 5, second)).unwrap() else { panic!("the whole") };
        assert_eq!(all.security_groups.members.len(), 3);
        // A VPC that is not named again is gone.
        let Step::Whole(none) = policies.take(message(json!({"all": true}))).unwrap() else {
            panic!("the whole")
        };
        assert_eq!(none, Whole::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            json!({"networkInterfaces": {"eni-1": {"addresses": ["x"]}}}),
            json!({"networkInterfaces": {"eni-1": {"addresses": ["10.0.0.9"], "publicAddress": "::1"}}}),
            json!({"securityGroups": {"sg-1": {"ingress": [{"protocol": 6}]}}}),
            json!({"securityGroups": {"sg-1": {"egress": [{"network": "10.0.0.1/8"}]}}}),
            json!({"unfiltered": {"subnet-1": ["10.0.0"]}}),
        ] {
            let mut policies = NetworkPolicies::default();
            policies.take(whole(5)).unwrap();
            assert!(matches!(policies.take(change(5, 6, bad)), Err(PolicyError::Malformed(_))));
        }
    }
}
