//! Network ACLs: every VPC has its default one, which lets everything through. None is stored.

use std::sync::Arc;

use base::{Scope, Tag};
use domain::{Subnet, Vpc};
use store::{Key, Snapshot};

use super::{subnet, value};
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

/// Numbers of the rules of a default network ACL: what is let through, and what is left, which is nothing.
/// Source: "Default network ACLs", Amazon VPC user guide.
const IPV4_RULES: [(i32, &str); 2] = [(100, "allow"), (32767, "deny")];
/// The same for IPv6.
const IPV6_RULES: [(i32, &str); 2] = [(101, "allow"), (32768, "deny")];

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeNetworkAcls",
    prefix: "acl-",
    malformed: "InvalidNetworkAclId.Malformed",
    not_found: "InvalidNetworkAclID.NotFound",
    noun: "networkAcl ID",
    filters: &[
        ("association.association-id", &[]),
        ("association.network-acl-id", &[]),
        ("association.subnet-id", &[]),
        ("default", &[]),
        ("entry.cidr", &[]),
        ("entry.egress", &[]),
        ("entry.icmp.code", &[]),
        ("entry.icmp.type", &[]),
        ("entry.ipv6-cidr", &[]),
        ("entry.port-range.from", &[]),
        ("entry.port-range.to", &[]),
        ("entry.protocol", &[]),
        ("entry.rule-action", &[]),
        ("entry.rule-number", &[]),
        ("network-acl-id", &[]),
        ("owner-id", &[]),
        ("vpc-id", &[]),
    ],
    has_tags: true,
};

/// The ACL of a VPC.
pub(crate) struct DescribedAcl {
    vpc: Arc<Vpc>,
    id: String,
    subnets: Vec<Arc<Subnet>>,
}

/// One for each VPC.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedAcl> {
    let vpcs = snapshot.scan::<Vpc>(Key::prefix(scope, &[]), None);
    let acl = |vpc: Arc<Vpc>| DescribedAcl {
        id: vpc.network_acl_id(),
        subnets: subnet::of_vpc(snapshot, &vpc).collect(),
        vpc,
    };
    vpcs.map(|vpc| acl(vpc.value)).collect()
}

impl DescribedAcl {
    fn entries(&self) -> Vec<api::ec2::NetworkAclEntry> {
        let mut entries = Vec::new();
        for egress in [true, false] {
            let entry = |(number, action): (i32, &str)| api::ec2::NetworkAclEntry {
                egress: Some(egress),
                protocol: Some("-1".to_owned()),
                rule_action: Some(action.to_owned()),
                rule_number: Some(number),
                ..Default::default()
            };
            for rule in IPV4_RULES {
                let cidr_block = Some("0.0.0.0/0".to_owned());
                entries.push(api::ec2::NetworkAclEntry { cidr_block, ..entry(rule) });
            }
            for rule in IPV6_RULES.into_iter().filter(|_| self.vpc.ipv6.is_some()) {
                let ipv6_cidr_block = Some("::/0".to_owned());
                entries.push(api::ec2::NetworkAclEntry { ipv6_cidr_block, ..entry(rule) });
            }
        }
        entries
    }

    fn of_entries<T: ToString>(
        &self,
        property: impl Fn(&api::ec2::NetworkAclEntry) -> Option<T>,
    ) -> Vec<String> {
        self.entries().iter().filter_map(property).map(|value| value.to_string()).collect()
    }
}

impl Filterable for DescribedAcl {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "association.association-id" => {
                self.subnets.iter().map(|subnet| subnet.network_acl_association_id()).collect()
            }
            "association.network-acl-id" => self.subnets.iter().map(|_| self.id.clone()).collect(),
            "association.subnet-id" => self.subnets.iter().map(|subnet| subnet.id.clone()).collect(),
            "default" => value(true),
            "entry.cidr" => self.of_entries(|entry| entry.cidr_block.clone()),
            "entry.egress" => self.of_entries(|entry| entry.egress),
            "entry.ipv6-cidr" => self.of_entries(|entry| entry.ipv6_cidr_block.clone()),
            "entry.protocol" => self.of_entries(|entry| entry.protocol.clone()),
            "entry.rule-action" => self.of_entries(|entry| entry.rule_action.clone()),
            "entry.rule-number" => self.of_entries(|entry| entry.rule_number),
            "network-acl-id" => value(&self.id),
            "owner-id" => value(&self.vpc.scope.account),
            "vpc-id" => value(&self.vpc.id),
            // Its rules have neither ports nor types.
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &[]
    }
}

impl Listed for DescribedAcl {
    fn id(&self) -> &str {
        &self.id
    }
}

/// The wire form.
pub(crate) fn describe(acl: &DescribedAcl) -> api::ec2::NetworkAcl {
    let association = |subnet: &Arc<Subnet>| api::ec2::NetworkAclAssociation {
        network_acl_association_id: Some(subnet.network_acl_association_id()),
        network_acl_id: Some(acl.id.clone()),
        subnet_id: Some(subnet.id.clone()),
    };
    api::ec2::NetworkAcl {
        associations: Some(acl.subnets.iter().map(association).collect()),
        entries: Some(acl.entries()),
        is_default: Some(true),
        network_acl_id: Some(acl.id.clone()),
        owner_id: Some(acl.vpc.scope.account.to_string()),
        tags: Some(Vec::new()),
        vpc_id: Some(acl.vpc.id.clone()),
    }
}
