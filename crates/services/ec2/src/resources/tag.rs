//! Tags, and the resources that have them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{Arn, Scope, Tag};
use domain::{NetworkInterface, SecurityGroup, Subnet, Vpc};
use store::{Key, Row, Snapshot, Transaction, Versioned, rows_vpc};
use wire::Fault;

use super::{network_interface, security_group, security_group_rule, subnet, value, vpc};
use crate::filter::{FilterName, Filterable};

pub(crate) const FILTERS: &[FilterName] =
    &[("key", &[]), ("resource-id", &[]), ("resource-type", &[]), ("value", &[])];

/// The wire form; absent where there is none, as EC2 has it.
pub(crate) fn describe(tags: &[Tag]) -> Option<Vec<api::ec2::Tag>> {
    let wire = |tag: &Tag| api::ec2::Tag { key: Some(tag.key.clone()), value: Some(tag.value.clone()) };
    (!tags.is_empty()).then(|| tags.iter().map(wire).collect())
}

/// A kind of resource that can have tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaggedKind {
    Vpc,
    Subnet,
    SecurityGroup,
    SecurityGroupRule,
    NetworkInterface,
}

impl TaggedKind {
    /// Told by how the id starts.
    pub(crate) fn of(id: &str) -> Option<Self> {
        match id.split_once('-')?.0 {
            "vpc" => Some(Self::Vpc),
            "subnet" => Some(Self::Subnet),
            "sg" => Some(Self::SecurityGroup),
            "sgr" => Some(Self::SecurityGroupRule),
            "eni" => Some(Self::NetworkInterface),
            _ => None,
        }
    }

    /// As in ARNs and in DescribeTags.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Subnet => "subnet",
            Self::SecurityGroup => "security-group",
            Self::SecurityGroupRule => "security-group-rule",
            Self::NetworkInterface => "network-interface",
        }
    }

    fn not_found(self, id: &str) -> Fault {
        let kind = match self {
            Self::Vpc => &vpc::KIND,
            Self::Subnet => &subnet::KIND,
            Self::SecurityGroup => &security_group::KIND,
            Self::SecurityGroupRule => &security_group_rule::KIND,
            Self::NetworkInterface => &network_interface::KIND,
        };
        kind.not_found(id)
    }
}

/// The ARN of a resource with tags; for one that cannot have any, `*`.
pub(crate) fn resource_arn(scope: &Scope, id: &str) -> String {
    TaggedKind::of(id).map_or_else(
        || "*".to_owned(),
        |kind| Arn::new("ec2", scope, format!("{}/{id}", kind.word())).to_string(),
    )
}

/// Changes the tags of all these resources, or of none.
pub(crate) fn change_all(
    snapshot: &Snapshot,
    scope: &Scope,
    ids: &BTreeSet<String>,
    change: &impl Fn(&mut Vec<Tag>) -> Result<(), Fault>,
) -> Result<Transaction, Fault> {
    let mut transaction = Transaction::new();
    // A group and its rules are one row, which is written once.
    let mut groups: BTreeMap<String, (Versioned<SecurityGroup>, SecurityGroup)> = BTreeMap::new();
    for id in ids {
        let invalid = || Fault::new("InvalidID", format!("The ID '{id}' is not valid"), 400);
        let kind = TaggedKind::of(id).ok_or_else(invalid)?;
        let key = Key::new(scope, &[id]);
        let changed = match kind {
            TaggedKind::Vpc => {
                replace(&mut transaction, snapshot.get::<Vpc>(&key), |row| change(&mut row.tags))
            }
            TaggedKind::Subnet => {
                replace(&mut transaction, snapshot.get::<Subnet>(&key), |row| change(&mut row.tags))
            }
            TaggedKind::NetworkInterface => {
                let row = rows_vpc::network_interface(snapshot, scope, id);
                replace(&mut transaction, row, |row| change(&mut row.tags))
            }
            TaggedKind::SecurityGroup | TaggedKind::SecurityGroupRule => {
                let mut all = snapshot.scan::<SecurityGroup>(Key::prefix(scope, &[]), None);
                let group =
                    all.find(|group| group.id == *id || group.rules.iter().any(|rule| rule.id == *id));
                group.map(|group| {
                    let entry = groups.entry(group.id.clone());
                    let (_, changed) = entry.or_insert_with(|| (group.clone(), SecurityGroup::clone(&group)));
                    let rule = changed.rules.iter_mut().find(|rule| rule.id == *id);
                    change(rule.map_or(&mut changed.tags, |rule| &mut rule.tags))
                })
            }
        };
        changed.unwrap_or_else(|| Err(kind.not_found(id)))?;
    }
    for (read, changed) in groups.into_values() {
        transaction.replace(&read, changed);
    }
    Ok(transaction)
}

fn replace<R: Row + Clone>(
    transaction: &mut Transaction,
    row: Option<Versioned<R>>,
    change: impl FnOnce(&mut R) -> Result<(), Fault>,
) -> Option<Result<(), Fault>> {
    let row = row?;
    let mut changed = R::clone(&row.value);
    Some(change(&mut changed).map(|()| {
        transaction.replace(&row, changed);
    }))
}

/// One tag of one resource.
pub(crate) struct DescribedTag {
    pub(crate) resource: Arc<str>,
    pub(crate) kind: TaggedKind,
    pub(crate) tags: [Tag; 1],
}

impl DescribedTag {
    fn tag(&self) -> &Tag {
        &self.tags[0]
    }

    /// What DescribeTags orders and pages by.
    pub(crate) fn position(&self) -> String {
        format!("{}\0{}", self.resource, self.tag().key)
    }
}

impl Filterable for DescribedTag {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "key" => value(&self.tag().key),
            "resource-id" => value(&self.resource),
            "resource-type" => value(self.kind.word()),
            "value" => value(&self.tag().value),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.tags
    }
}

/// The wire form.
pub(crate) fn describe_one(tag: &DescribedTag) -> api::ec2::TagDescription {
    api::ec2::TagDescription {
        key: Some(tag.tag().key.clone()),
        resource_id: Some(tag.resource.to_string()),
        resource_type: Some(tag.kind.word().to_owned()),
        value: Some(tag.tag().value.clone()),
    }
}

/// All tags of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<DescribedTag> {
    let prefix = || Key::prefix(scope, &[]);
    let mut all = Vec::new();
    let mut add = |kind, id: &str, tags: &[Tag]| {
        let resource: Arc<str> = Arc::from(id);
        let described =
            |tag: &Tag| DescribedTag { resource: Arc::clone(&resource), kind, tags: [tag.clone()] };
        all.extend(tags.iter().map(described));
    };
    for row in snapshot.scan::<Vpc>(prefix(), None) {
        add(TaggedKind::Vpc, &row.id, &row.tags);
    }
    for row in snapshot.scan::<Subnet>(prefix(), None) {
        add(TaggedKind::Subnet, &row.id, &row.tags);
    }
    for row in snapshot.scan::<SecurityGroup>(prefix(), None) {
        add(TaggedKind::SecurityGroup, &row.id, &row.tags);
        for rule in &row.rules {
            add(TaggedKind::SecurityGroupRule, &rule.id, &rule.tags);
        }
    }
    for row in snapshot.scan::<NetworkInterface>(prefix(), None) {
        add(TaggedKind::NetworkInterface, &row.id, &row.tags);
    }
    all
}
