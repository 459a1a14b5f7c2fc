//! Security groups, with their rules grouped into permissions as EC2 shows them.

use std::sync::Arc;

use base::{Scope, Tag};
use domain::{NetworkInterface, SecurityGroup, SecurityGroupPeer, SecurityGroupRule};
use store::rows_vpc::{self, NETWORK_INTERFACES_BY_SECURITY_GROUP};
use store::{Key, Snapshot, Versioned};
use wire::Fault;

use super::{tag, value};
use crate::faults;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeSecurityGroups",
    prefix: "sg-",
    malformed: "InvalidGroupId.Malformed",
    not_found: "InvalidGroup.NotFound",
    noun: "security group",
    filters: &[
        ("description", &[]),
        ("egress.ip-permission.cidr", &[]),
        ("egress.ip-permission.from-port", &[]),
        ("egress.ip-permission.group-id", &[]),
        ("egress.ip-permission.group-name", &[]),
        ("egress.ip-permission.ipv6-cidr", &[]),
        ("egress.ip-permission.prefix-list-id", &[]),
        ("egress.ip-permission.protocol", &[]),
        ("egress.ip-permission.to-port", &[]),
        ("egress.ip-permission.user-id", &[]),
        ("group-id", &["groupId"]),
        ("group-name", &["groupName"]),
        ("ip-permission.cidr", &[]),
        ("ip-permission.from-port", &[]),
        ("ip-permission.group-id", &[]),
        ("ip-permission.group-name", &[]),
        ("ip-permission.ipv6-cidr", &[]),
        ("ip-permission.prefix-list-id", &[]),
        ("ip-permission.protocol", &[]),
        ("ip-permission.to-port", &[]),
        ("ip-permission.user-id", &[]),
        ("owner-id", &[]),
        ("vpc-id", &["vpcId"]),
    ],
    has_tags: true,
};

/// As GetSecurityGroupsForVpc lists them.
pub(crate) const FOR_VPC: Kind = Kind {
    operation: "GetSecurityGroupsForVpc",
    filters: &[
        ("description", &[]),
        ("group-id", &[]),
        ("group-name", &[]),
        ("owner-id", &[]),
        ("primary-vpc-id", &[]),
    ],
    ..KIND
};

/// The group that a call means: by id, or by name in the default VPC.
pub(crate) fn find(
    snapshot: &Snapshot,
    scope: &Scope,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<Versioned<SecurityGroup>, Fault> {
    match (id, name) {
        (Some(id), _) => KIND.find::<SecurityGroup>(snapshot, scope, id),
        (None, Some(name)) => {
            let default = rows_vpc::find_default_vpc(snapshot, scope);
            let found = default.and_then(|default| named(snapshot, scope, &default.vpc.id, name));
            found.ok_or_else(|| {
                let message = format!("The security group '{name}' does not exist in default VPC");
                Fault::new("InvalidGroup.NotFound", message, 400)
            })
        }
        (None, None) => Err(faults::missing("GroupName or GroupId")),
    }
}

/// The group of this name in a VPC.
pub(crate) fn named(
    snapshot: &Snapshot,
    scope: &Scope,
    vpc: &str,
    name: &str,
) -> Option<Versioned<SecurityGroup>> {
    let mut groups = snapshot.scan::<SecurityGroup>(Key::prefix(scope, &[]), None);
    groups.find(|group| group.vpc == vpc && group.name == name)
}

/// Whether an interface has the group.
pub(crate) fn has_interfaces(snapshot: &Snapshot, group: &SecurityGroup) -> bool {
    let parts = [group.scope.account.as_str(), group.scope.region.as_str(), group.id.as_str()];
    snapshot.index::<NetworkInterface>(NETWORK_INTERFACES_BY_SECURITY_GROUP, &parts, None).next().is_some()
}

/// Whether an interface has the group, or a rule of another group names it.
pub(crate) fn is_used(snapshot: &Snapshot, group: &SecurityGroup) -> bool {
    let peer = SecurityGroupPeer::Group(group.id.clone());
    let mut others = snapshot.scan::<SecurityGroup>(Key::prefix(&group.scope, &[]), None);
    has_interfaces(snapshot, group)
        || others.any(|other| other.id != group.id && other.rules.iter().any(|rule| rule.peer == peer))
}

/// A group, and the names of all groups, which rules refer to by id.
pub(crate) struct DescribedGroup {
    pub(crate) row: Arc<SecurityGroup>,
    pub(crate) names: Arc<[(String, String)]>,
}

/// All groups of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedGroup> {
    let names = names(snapshot, scope);
    let rows = snapshot.scan::<SecurityGroup>(Key::prefix(scope, &[]), None);
    rows.map(|row| DescribedGroup { row: row.value, names: Arc::clone(&names) }).collect()
}

/// Ids and names of all groups of a scope.
pub(crate) fn names(snapshot: &Snapshot, scope: &Scope) -> Arc<[(String, String)]> {
    let rows = snapshot.scan::<SecurityGroup>(Key::prefix(scope, &[]), None);
    rows.map(|row| (row.id.clone(), row.name.clone())).collect()
}

impl DescribedGroup {
    fn rule_values(&self, is_egress: bool, name: &str) -> Vec<String> {
        let rules = self.row.rules.iter().filter(|rule| rule.is_egress == is_egress);
        rules.filter_map(|rule| self.rule_value(rule, name)).collect()
    }

    fn rule_value(&self, rule: &SecurityGroupRule, name: &str) -> Option<String> {
        match (name, &rule.peer) {
            ("protocol", _) => Some(rule.ip_protocol.clone()),
            ("from-port", _) => Some(rule.from_port.to_string()),
            ("to-port", _) => Some(rule.to_port.to_string()),
            ("cidr", SecurityGroupPeer::Ipv4(cidr)) => Some(cidr.to_string()),
            ("ipv6-cidr", SecurityGroupPeer::Ipv6(cidr)) => Some(cidr.to_string()),
            ("group-id", SecurityGroupPeer::Group(id)) => Some(id.clone()),
            ("group-name", SecurityGroupPeer::Group(id)) => {
                self.names.iter().find(|(known, _)| known == id).map(|(_, name)| name.clone())
            }
            ("user-id", SecurityGroupPeer::Group(_)) => Some(self.row.scope.account.to_string()),
            ("prefix-list-id", SecurityGroupPeer::PrefixList(id)) => Some(id.clone()),
            _ => None,
        }
    }
}

impl Filterable for DescribedGroup {
    fn filter_values(&self, name: &str) -> Vec<String> {
        let row = &self.row;
        match name {
            "description" => value(&row.description),
            "group-id" => value(&row.id),
            "group-name" => value(&row.name),
            "owner-id" => value(&row.scope.account),
            "vpc-id" | "primary-vpc-id" => value(&row.vpc),
            name => match (name.strip_prefix("egress.ip-permission."), name.strip_prefix("ip-permission.")) {
                (Some(property), _) => self.rule_values(true, property),
                (None, Some(property)) => self.rule_values(false, property),
                (None, None) => Vec::new(),
            },
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.row.tags
    }
}

impl Listed for DescribedGroup {
    fn id(&self) -> &str {
        &self.row.id
    }
}

/// The wire form.
pub(crate) fn describe(group: &SecurityGroup) -> api::ec2::SecurityGroup {
    api::ec2::SecurityGroup {
        description: Some(group.description.clone()),
        group_id: Some(group.id.clone()),
        group_name: Some(group.name.clone()),
        ip_permissions: Some(permissions(group, false)),
        ip_permissions_egress: Some(permissions(group, true)),
        owner_id: Some(group.scope.account.to_string()),
        security_group_arn: Some(group.arn().to_string()),
        tags: tag::describe(&group.tags),
        vpc_id: Some(group.vpc.clone()),
    }
}

/// The wire form of GetSecurityGroupsForVpc.
pub(crate) fn describe_for_vpc(group: &SecurityGroup) -> api::ec2::SecurityGroupForVpc {
    api::ec2::SecurityGroupForVpc {
        description: Some(group.description.clone()),
        group_id: Some(group.id.clone()),
        group_name: Some(group.name.clone()),
        owner_id: Some(group.scope.account.to_string()),
        primary_vpc_id: Some(group.vpc.clone()),
        tags: tag::describe(&group.tags),
    }
}

/// Rules of the same traffic make one permission with several peers.
fn permissions(group: &SecurityGroup, is_egress: bool) -> Vec<api::ec2::IpPermission> {
    let mut permissions: Vec<api::ec2::IpPermission> = Vec::new();
    for rule in group.rules.iter().filter(|rule| rule.is_egress == is_egress) {
        // Traffic without ports has none to show.
        let has_ports = matches!(rule.ip_protocol.as_str(), "tcp" | "udp" | "icmp" | "icmpv6");
        let port = |port: i32| has_ports.then_some(port);
        let (from_port, to_port) = (port(rule.from_port), port(rule.to_port));
        let is_same = |known: &&mut api::ec2::IpPermission| {
            known.ip_protocol.as_deref() == Some(rule.ip_protocol.as_str())
                && (known.from_port, known.to_port) == (from_port, to_port)
        };
        if let Some(known) = permissions.iter_mut().find(is_same) {
            add_peer(known, group, rule);
            continue;
        }
        let mut permission = api::ec2::IpPermission {
            from_port,
            ip_protocol: Some(rule.ip_protocol.clone()),
            ip_ranges: Some(Vec::new()),
            ipv6_ranges: Some(Vec::new()),
            prefix_list_ids: Some(Vec::new()),
            to_port,
            user_id_group_pairs: Some(Vec::new()),
        };
        add_peer(&mut permission, group, rule);
        permissions.push(permission);
    }
    permissions
}

fn add_peer(permission: &mut api::ec2::IpPermission, group: &SecurityGroup, rule: &SecurityGroupRule) {
    let description = rule.description.clone();
    match &rule.peer {
        SecurityGroupPeer::Ipv4(cidr) => permission
            .ip_ranges
            .get_or_insert_default()
            .push(api::ec2::IpRange { cidr_ip: Some(cidr.to_string()), description }),
        SecurityGroupPeer::Ipv6(cidr) => permission
            .ipv6_ranges
            .get_or_insert_default()
            .push(api::ec2::Ipv6Range { cidr_ipv6: Some(cidr.to_string()), description }),
        SecurityGroupPeer::PrefixList(id) => permission
            .prefix_list_ids
            .get_or_insert_default()
            .push(api::ec2::PrefixListId { description, prefix_list_id: Some(id.clone()) }),
        SecurityGroupPeer::Group(id) => {
            permission.user_id_group_pairs.get_or_insert_default().push(api::ec2::UserIdGroupPair {
                description,
                group_id: Some(id.clone()),
                user_id: Some(group.scope.account.to_string()),
                ..Default::default()
            });
        }
    }
}
