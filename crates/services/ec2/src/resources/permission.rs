//! `IpPermissions`: how calls say rules of security groups, and the rules that they mean.

use api::ec2::IpPermission;
use base::{Ipv4Cidr, Ipv6Cidr, Scope};
use domain::{PrefixList, SecurityGroup, SecurityGroupPeer, SecurityGroupRule};
use store::Snapshot;
use wire::Fault;

use super::{prefix_list, security_group};
use crate::faults;

/// Rules of a group in one direction and for one family of addresses. Source: "Amazon VPC quotas".
pub(crate) const RULES_PER_GROUP: i64 = 60;
/// Rules that one call names. Ours: no group can have as many.
const RULES_PER_CALL: usize = 1000;
/// Characters of a rule's description. Source: IpRange, `Description`.
const DESCRIPTION_CHARACTERS: usize = 255;
/// What stands for all protocols, all ports, all types and codes of ICMP.
const ALL: i32 = -1;

/// The flat parameters that stand for one permission: what the first version of the API had.
#[derive(Default)]
pub(crate) struct Flat {
    pub(crate) cidr_ip: Option<String>,
    pub(crate) ip_protocol: Option<String>,
    pub(crate) from_port: Option<i32>,
    pub(crate) to_port: Option<i32>,
    pub(crate) source_group: Option<String>,
    pub(crate) source_owner: Option<String>,
}

/// The permissions of a call, in whichever form it has them.
pub(crate) fn of_call(
    permissions: Option<Vec<IpPermission>>,
    flat: Flat,
) -> Result<Vec<IpPermission>, Fault> {
    let permissions = permissions.unwrap_or_default();
    let has_flat = flat.cidr_ip.is_some() || flat.ip_protocol.is_some() || flat.source_group.is_some();
    match (permissions.is_empty(), has_flat) {
        (false, false) => Ok(permissions),
        (false, true) => Err(faults::invalid_combination(
            "The parameter 'ipPermissions' may not be used in combination with the parameters of a single permission",
        )),
        (true, false) => Err(faults::missing("ipPermissions")),
        (true, true) => {
            // A whole group, without protocol and ports: Source: AuthorizeSecurityGroupIngress, `SourceSecurityGroupName`.
            let is_whole = flat.source_group.is_some() && flat.ip_protocol.is_none();
            let pair = flat.source_group.map(|name| api::ec2::UserIdGroupPair {
                group_name: Some(name),
                user_id: flat.source_owner,
                ..Default::default()
            });
            Ok(vec![IpPermission {
                from_port: flat.from_port,
                ip_protocol: flat.ip_protocol.or_else(|| is_whole.then(|| "-1".to_owned())),
                ip_ranges: flat
                    .cidr_ip
                    .map(|cidr| vec![api::ec2::IpRange { cidr_ip: Some(cidr), description: None }]),
                to_port: flat.to_port,
                user_id_group_pairs: pair.map(|pair| vec![pair]),
                ..Default::default()
            }])
        }
    }
}

/// The rules that permissions mean, without ids and tags: one for each peer.
pub(crate) fn rules(
    snapshot: &Snapshot,
    group: &SecurityGroup,
    is_egress: bool,
    permissions: &[IpPermission],
) -> Result<Vec<SecurityGroupRule>, Fault> {
    let mut rules: Vec<SecurityGroupRule> = Vec::new();
    for permission in permissions {
        let traffic =
            Traffic::parse(permission.ip_protocol.as_deref(), permission.from_port, permission.to_port)?;
        let before = rules.len();
        for (peer, description) in peers(snapshot, group, permission)? {
            let rule = traffic.rule(is_egress, peer, description);
            if rules.iter().any(|known| known.is_same_traffic(&rule)) {
                return Err(faults::invalid_value("The same permission must not appear multiple times"));
            }
            rules.push(rule);
            if rules.len() > RULES_PER_CALL {
                return Err(limit_exceeded());
            }
        }
        if rules.len() == before {
            return Err(faults::missing("ipRanges, ipv6Ranges, prefixListIds or userIdGroupPairs"));
        }
    }
    Ok(rules)
}

/// Protocol and ports of a rule.
pub(crate) struct Traffic {
    protocol: String,
    from: i32,
    to: i32,
}

impl Traffic {
    /// Source: "Security group rules", IpPermission.
    pub(crate) fn parse(protocol: Option<&str>, from: Option<i32>, to: Option<i32>) -> Result<Self, Fault> {
        let given = protocol.ok_or_else(|| faults::missing("ipProtocol"))?;
        let protocol = known_protocol(given).ok_or_else(|| {
            faults::invalid_value(format!("Invalid value '{given}' for IP protocol. Unknown protocol."))
        })?;
        let both = |family: &str| match (from, to) {
            (Some(from), Some(to)) => Ok((from, to)),
            _ => Err(faults::invalid_value(format!(
                "Invalid value 'Must specify both from and to ports with {family}.' for portRange."
            ))),
        };
        let (from, to) = match protocol.as_str() {
            "tcp" | "udp" => both("TCP/UDP").and_then(check_ports)?,
            "icmp" => both("ICMP").and_then(check_icmp)?,
            "icmpv6" => check_icmp((from.unwrap_or(ALL), to.unwrap_or(ALL)))?,
            // Other protocols have no ports: whatever is said of them does not count.
            _ => (ALL, ALL),
        };
        Ok(Self { protocol, from, to })
    }

    pub(crate) fn rule(
        &self,
        is_egress: bool,
        peer: SecurityGroupPeer,
        description: Option<String>,
    ) -> SecurityGroupRule {
        SecurityGroupRule {
            id: String::new(),
            is_egress,
            ip_protocol: self.protocol.clone(),
            from_port: self.from,
            to_port: self.to,
            peer,
            description,
            tags: Vec::new(),
        }
    }
}

/// The name or number under which EC2 keeps a protocol.
fn known_protocol(given: &str) -> Option<String> {
    let given = given.to_ascii_lowercase();
    let name = match given.as_str() {
        "-1" | "all" => "-1",
        "tcp" | "6" => "tcp",
        "udp" | "17" => "udp",
        "icmp" | "1" => "icmp",
        "icmpv6" | "58" => "icmpv6",
        number => return number.parse::<u8>().ok().map(|number| number.to_string()),
    };
    Some(name.to_owned())
}

fn check_ports((from, to): (i32, i32)) -> Result<(i32, i32), Fault> {
    for port in [from, to] {
        if !(0..=65_535).contains(&port) {
            return Err(faults::invalid_value(format!("TCP/UDP port ({port}) out of range")));
        }
    }
    if from > to {
        return Err(faults::invalid_value(format!("Invalid TCP/UDP port range ({from}:{to})")));
    }
    Ok((from, to))
}

fn check_icmp((kind, code): (i32, i32)) -> Result<(i32, i32), Fault> {
    for (noun, value) in [("type", kind), ("code", code)] {
        if !(ALL..=255).contains(&value) {
            return Err(faults::invalid_value(format!("ICMP {noun} ({value}) out of range")));
        }
    }
    if kind == ALL && code != ALL {
        return Err(faults::invalid_value("ICMP code cannot be given for all types"));
    }
    Ok((kind, code))
}

type Peer = (SecurityGroupPeer, Option<String>);

fn peers(snapshot: &Snapshot, group: &SecurityGroup, permission: &IpPermission) -> Result<Vec<Peer>, Fault> {
    let mut peers = Vec::new();
    for range in permission.ip_ranges.iter().flatten() {
        let cidr = range.cidr_ip.as_deref().ok_or_else(|| faults::missing("cidrIp"))?;
        peers.push((SecurityGroupPeer::Ipv4(ipv4_cidr(cidr)?), described(range.description.as_deref())?));
    }
    for range in permission.ipv6_ranges.iter().flatten() {
        let cidr = range.cidr_ipv6.as_deref().ok_or_else(|| faults::missing("cidrIpv6"))?;
        peers.push((SecurityGroupPeer::Ipv6(ipv6_cidr(cidr)?), described(range.description.as_deref())?));
    }
    for list in permission.prefix_list_ids.iter().flatten() {
        let id = list.prefix_list_id.as_deref().ok_or_else(|| faults::missing("prefixListId"))?;
        peers.push((prefix_list_peer(snapshot, &group.scope, id)?, described(list.description.as_deref())?));
    }
    for pair in permission.user_id_group_pairs.iter().flatten() {
        let user_id = pair.user_id.as_deref();
        let peer =
            group_peer(snapshot, group, pair.group_id.as_deref(), pair.group_name.as_deref(), user_id)?;
        peers.push((peer, described(pair.description.as_deref())?));
    }
    Ok(peers)
}

/// A prefix list that is there.
pub(crate) fn prefix_list_peer(
    snapshot: &Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<SecurityGroupPeer, Fault> {
    prefix_list::KIND.find::<PrefixList>(snapshot, scope, id)?;
    Ok(SecurityGroupPeer::PrefixList(id.to_owned()))
}

/// A group that is there, in the VPC of `group`.
pub(crate) fn group_peer(
    snapshot: &Snapshot,
    group: &SecurityGroup,
    id: Option<&str>,
    name: Option<&str>,
    user_id: Option<&str>,
) -> Result<SecurityGroupPeer, Fault> {
    let wanted = id.or(name).ok_or_else(|| faults::missing("groupId"))?;
    if user_id.is_some_and(|user_id| user_id != group.scope.account.as_str()) {
        return Err(security_group::KIND.not_found(wanted));
    }
    let peer = match (id, name) {
        (Some(id), _) => security_group::KIND.find::<SecurityGroup>(snapshot, &group.scope, id)?,
        (None, _) => security_group::named(snapshot, &group.scope, &group.vpc, wanted)
            .ok_or_else(|| security_group::KIND.not_found(wanted))?,
    };
    if peer.vpc != group.vpc {
        let message = "You have specified two resources that belong to different networks.";
        return Err(Fault::new("InvalidGroup.NotFound", message, 400));
    }
    Ok(SecurityGroupPeer::Group(peer.id.clone()))
}

/// A network, with what stands behind its prefix cut off. Source: AuthorizeSecurityGroupIngress, "canonicalizes".
pub(crate) fn ipv4_cidr(text: &str) -> Result<Ipv4Cidr, Fault> {
    let parsed = text.split_once('/').and_then(|(address, prefix_length)| {
        Ipv4Cidr::containing(address.parse().ok()?, prefix_length.parse().ok()?)
    });
    parsed.ok_or_else(|| malformed(text))
}

/// As [`ipv4_cidr`].
pub(crate) fn ipv6_cidr(text: &str) -> Result<Ipv6Cidr, Fault> {
    let parsed = text.split_once('/').and_then(|(address, prefix_length)| {
        Ipv6Cidr::containing(address.parse().ok()?, prefix_length.parse().ok()?)
    });
    parsed.ok_or_else(|| malformed(text))
}

fn malformed(text: &str) -> Fault {
    faults::invalid_value(format!("CIDR block {text} is malformed"))
}

/// A checked description; an empty one is none.
pub(crate) fn described(text: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.chars().count() > DESCRIPTION_CHARACTERS || !text.chars().all(is_plain) {
        return Err(faults::invalid_value(
            "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set:  \
             a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// Characters of names and descriptions. Source: CreateSecurityGroup, "Constraints".
pub(crate) fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-:/()#,@[]+=&;{}!$* ".contains(character)
}

/// Checks that a group has not more rules than it may. A prefix list counts as its size, a group in both families.
pub(crate) fn check_count(snapshot: &Snapshot, group: &SecurityGroup) -> Result<(), Fault> {
    check_count_with(snapshot, group, ("", 0))
}

/// As [`check_count`], as if a prefix list were larger by some entries.
pub(crate) fn check_count_with(
    snapshot: &Snapshot,
    group: &SecurityGroup,
    (list, more): (&str, i64),
) -> Result<(), Fault> {
    for is_egress in [false, true] {
        let (mut of_ipv4, mut of_ipv6) = (0_i64, 0_i64);
        for rule in group.rules.iter().filter(|rule| rule.is_egress == is_egress) {
            let (ipv4, ipv6) = match &rule.peer {
                SecurityGroupPeer::Ipv4(_) => (1, 0),
                SecurityGroupPeer::Ipv6(_) => (0, 1),
                SecurityGroupPeer::Group(_) => (1, 1),
                SecurityGroupPeer::PrefixList(id) => {
                    let (ipv4, ipv6) = prefix_list::weight(snapshot, &group.scope, id);
                    let more = if id == list { more } else { 0 };
                    (if ipv4 > 0 { ipv4 + more } else { 0 }, if ipv6 > 0 { ipv6 + more } else { 0 })
                }
            };
            (of_ipv4, of_ipv6) = (of_ipv4 + ipv4, of_ipv6 + ipv6);
        }
        if of_ipv4 > RULES_PER_GROUP || of_ipv6 > RULES_PER_GROUP {
            return Err(limit_exceeded());
        }
    }
    Ok(())
}

fn limit_exceeded() -> Fault {
    let message = "The maximum number of rules per security group has been reached.";
    Fault::new("RulesPerSecurityGroupLimitExceeded", message, 400)
}

/// The fault for a rule that is there already.
pub(crate) fn duplicate(rule: &SecurityGroupRule) -> Fault {
    let message = format!("the specified rule \"{}\" already exists", in_words(rule));
    Fault::new("InvalidPermission.Duplicate", message, 400)
}

/// The fault for a rule that is not there.
pub(crate) fn not_found() -> Fault {
    let message = "The specified rule does not exist in this security group.";
    Fault::new("InvalidPermission.NotFound", message, 400)
}

fn in_words(rule: &SecurityGroupRule) -> String {
    let peer = match &rule.peer {
        SecurityGroupPeer::Ipv4(cidr) => cidr.to_string(),
        SecurityGroupPeer::Ipv6(cidr) => cidr.to_string(),
        SecurityGroupPeer::Group(id) | SecurityGroupPeer::PrefixList(id) => id.clone(),
    };
    let (from, to) = (rule.from_port, rule.to_port);
    let traffic = match rule.ip_protocol.as_str() {
        "-1" => "ALL".to_owned(),
        protocol @ ("tcp" | "udp") => {
            format!("{}, from port: {from}, to port: {to}", protocol.to_ascii_uppercase())
        }
        protocol @ ("icmp" | "icmpv6") => {
            format!("{}, type: {from}, code: {to}", protocol.to_ascii_uppercase())
        }
        protocol => protocol.to_owned(),
    };
    format!("peer: {peer}, {traffic}, ALLOW")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_one_name_each() {
        for (given, known) in [
            ("tcp", Some("tcp")),
            ("TCP", Some("tcp")),
            ("6", Some("tcp")),
            ("17", Some("udp")),
            ("58", Some("icmpv6")),
            ("-1", Some("-1")),
            ("47", Some("47")),
            ("256", None),
            ("", None),
            ("carrier-pigeon", None),
        ] {
            assert_eq!(known_protocol(given).as_deref(), known, "{given}");
        }
    }

    #[test]
    fn ports_are_checked_where_there_are_any() {
        let parse = |protocol, from, to| {
            let parsed = Traffic::parse(protocol, from, to);
            parsed.map(|traffic| (traffic.from, traffic.to)).map_err(|fault| fault.message().to_owned())
        };
        assert_eq!(parse(Some("tcp"), Some(80), Some(443)), Ok((80, 443)));
        assert_eq!(parse(Some("-1"), Some(80), Some(443)), Ok((-1, -1)));
        assert_eq!(parse(Some("50"), Some(80), Some(443)), Ok((-1, -1)));
        assert_eq!(parse(Some("icmpv6"), None, None), Ok((-1, -1)));
        assert_eq!(parse(Some("icmp"), Some(8), Some(-1)), Ok((8, -1)));
        assert!(parse(Some("tcp"), Some(80), None).is_err());
        assert!(parse(Some("icmp"), None, None).is_err());
        assert!(parse(Some("icmp"), Some(-1), Some(3)).is_err());
        assert!(parse(Some("icmp"), Some(8), Some(256)).is_err());
        assert_eq!(parse(Some("udp"), Some(-1), Some(-1)), Err("TCP/UDP port (-1) out of range".to_owned()));
        assert_eq!(parse(Some("tcp"), Some(2), Some(1)), Err("Invalid TCP/UDP port range (2:1)".to_owned()));
        assert!(parse(None, Some(2), Some(1)).is_err());
    }

    #[test]
    fn networks_are_cut_off_behind_their_prefix() {
        assert_eq!(ipv4_cidr("100.68.0.18/18").unwrap().to_string(), "100.68.0.0/18");
        assert_eq!(ipv6_cidr("2001:db8:1::8/32").unwrap().to_string(), "2001:db8::/32");
        for bad in ["10.0.0.1", "10.0.0.0/33", "x/8", "", "10.0.0.0/", "::/0"] {
            assert_eq!(ipv4_cidr(bad).unwrap_err().message(), format!("CIDR block {bad} is malformed"));
        }
        assert!(ipv6_cidr("10.0.0.0/8").is_err());
    }
}
