//! Tags, and the resources that have them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::ec2::TagSpecification;
use base::{Arn, Scope, Tag, limits};
use domain::{
    ElasticAddress, InternetGateway, KeyPair, LaunchTemplate, NatGateway, NetworkInterface, PrefixList,
    RouteTable, SecurityGroup, Subnet, Vpc,
};
use store::{Key, Row, Snapshot, Transaction, Versioned, rows_vpc};
use wire::Fault;

use super::{
    elastic_address, internet_gateway, key_pair, launch_template, nat_gateway, network_interface,
    prefix_list, route_table, security_group, security_group_rule, subnet, value, vpc,
};
use crate::faults;
use crate::filter::{FilterName, Filterable};

/// Characters. Source: CreateTags, `Tag`: one less than elsewhere.
const KEY_CHARACTERS: usize = 127;

pub(crate) const FILTERS: &[FilterName] =
    &[("key", &[]), ("resource-id", &[]), ("resource-type", &[]), ("value", &[])];

/// The wire form; absent where there is none, as EC2 has it.
pub(crate) fn describe(tags: &[Tag]) -> Option<Vec<api::ec2::Tag>> {
    let wire = |tag: &Tag| api::ec2::Tag { key: Some(tag.key.clone()), value: Some(tag.value.clone()) };
    (!tags.is_empty()).then(|| tags.iter().map(wire).collect())
}

/// A kind of resource that can have tags, in the order of how their ids start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaggedKind {
    Vpc,
    Subnet,
    SecurityGroup,
    SecurityGroupRule,
    NetworkInterface,
    RouteTable,
    InternetGateway,
    NatGateway,
    PrefixList,
    ElasticAddress,
    KeyPair,
    LaunchTemplate,
}

impl TaggedKind {
    const ALL: [Self; 12] = [
        Self::Vpc,
        Self::Subnet,
        Self::SecurityGroup,
        Self::SecurityGroupRule,
        Self::NetworkInterface,
        Self::RouteTable,
        Self::InternetGateway,
        Self::NatGateway,
        Self::PrefixList,
        Self::ElasticAddress,
        Self::KeyPair,
        Self::LaunchTemplate,
    ];

    /// Told by how the id starts.
    pub(crate) fn of(id: &str) -> Option<Self> {
        let start = id.split_once('-')?.0;
        Self::ALL.into_iter().find(|kind| kind.start() == start)
    }

    fn start(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Subnet => "subnet",
            Self::SecurityGroup => "sg",
            Self::SecurityGroupRule => "sgr",
            Self::NetworkInterface => "eni",
            Self::RouteTable => "rtb",
            Self::InternetGateway => "igw",
            Self::NatGateway => "nat",
            Self::PrefixList => "pl",
            Self::ElasticAddress => "eipalloc",
            Self::KeyPair => "key",
            Self::LaunchTemplate => "lt",
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
            Self::RouteTable => "route-table",
            Self::InternetGateway => "internet-gateway",
            Self::NatGateway => "natgateway",
            Self::PrefixList => "prefix-list",
            Self::ElasticAddress => "elastic-ip",
            Self::KeyPair => "key-pair",
            Self::LaunchTemplate => "launch-template",
        }
    }

    fn not_found(self, id: &str) -> Fault {
        let (code, noun) = match self {
            Self::Vpc => (vpc::KIND.not_found, vpc::KIND.noun),
            Self::Subnet => (subnet::KIND.not_found, subnet::KIND.noun),
            Self::SecurityGroup => (security_group::KIND.not_found, security_group::KIND.noun),
            Self::SecurityGroupRule => (security_group_rule::KIND.not_found, security_group_rule::KIND.noun),
            Self::NetworkInterface => (network_interface::KIND.not_found, network_interface::KIND.noun),
            Self::RouteTable => (route_table::KIND.not_found, route_table::KIND.noun),
            Self::InternetGateway => (internet_gateway::KIND.not_found, internet_gateway::KIND.noun),
            Self::NatGateway => (nat_gateway::KIND.not_found, nat_gateway::KIND.noun),
            Self::PrefixList => (prefix_list::KIND.not_found, prefix_list::KIND.noun),
            Self::ElasticAddress => (elastic_address::KIND.not_found, elastic_address::KIND.noun),
            Self::KeyPair => (key_pair::KIND.not_found, key_pair::KIND.noun),
            Self::LaunchTemplate => (launch_template::KIND.not_found, launch_template::KIND.noun),
        };
        Fault::new(code, format!("The {noun} '{id}' does not exist"), 400)
    }
}

/// A row with tags of its own.
pub(crate) trait Tagged: Row + Clone {
    fn tags(&self) -> &Vec<Tag>;
    fn tags_mut(&mut self) -> &mut Vec<Tag>;
    fn tagged_id(&self) -> &str;
}

macro_rules! tagged {
    ($($row:ident by $id:ident),+ $(,)?) => {
        $(impl Tagged for $row {
            fn tags(&self) -> &Vec<Tag> {
                &self.tags
            }
            fn tags_mut(&mut self) -> &mut Vec<Tag> {
                &mut self.tags
            }
            fn tagged_id(&self) -> &str {
                &self.$id
            }
        })+
    };
}

tagged!(
    Vpc by id,
    Subnet by id,
    SecurityGroup by id,
    NetworkInterface by id,
    RouteTable by id,
    InternetGateway by id,
    NatGateway by id,
    PrefixList by id,
    ElasticAddress by allocation_id,
    KeyPair by id,
    LaunchTemplate by id,
);

/// The tags that a call gives to what it makes, if it makes only one kind of resource.
pub(crate) fn of_specifications(
    specifications: Option<Vec<TagSpecification>>,
    kind: TaggedKind,
) -> Result<Vec<Tag>, Fault> {
    let mut tags = Vec::new();
    for specification in specifications.unwrap_or_default() {
        let resource_type = specification.resource_type.unwrap_or_default();
        if resource_type != kind.word() {
            let message =
                format!("'{resource_type}' is not a valid taggable resource type for this operation.");
            return Err(faults::invalid_value(message));
        }
        tags.extend(specification.tags.unwrap_or_default());
    }
    let mut tags = check(tags)?;
    tags.sort();
    Ok(tags)
}

/// Checks tags that a call gives. Source: "Tag restrictions", Amazon EC2 user guide.
pub(crate) fn check(tags: Vec<api::ec2::Tag>) -> Result<Vec<Tag>, Fault> {
    if tags.len() > limits::TAGS_PER_RESOURCE {
        return Err(too_many());
    }
    let mut checked: Vec<Tag> = Vec::new();
    for tag in tags {
        let key = tag.key.filter(|key| !key.is_empty()).ok_or_else(|| faults::missing("Tag.Key"))?;
        let value = tag.value.unwrap_or_default();
        if key.to_ascii_lowercase().starts_with("aws:") {
            let message = format!("Tag keys starting with 'aws:' are reserved for internal use: {key}");
            return Err(faults::invalid_value(message));
        }
        if key.chars().count() > KEY_CHARACTERS {
            let message = format!("Tag key exceeds the maximum length of {KEY_CHARACTERS} characters");
            return Err(faults::invalid_value(message));
        }
        if value.chars().count() > limits::TAG_VALUE_CHARACTERS {
            let maximum = limits::TAG_VALUE_CHARACTERS;
            return Err(faults::invalid_value(format!(
                "Tag value exceeds the maximum length of {maximum} characters"
            )));
        }
        if checked.iter().any(|known| known.key == key) {
            return Err(faults::invalid_value(format!("Duplicate tag key '{key}' specified.")));
        }
        checked.push(Tag { key, value });
    }
    Ok(checked)
}

/// The fault for more tags than a resource may have.
pub(crate) fn too_many() -> Fault {
    Fault::new("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.", 400)
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
    let mut changes =
        Changes { snapshot, scope, change, transaction: Transaction::new(), groups: BTreeMap::new() };
    for id in ids {
        let invalid = || Fault::new("InvalidID", format!("The ID '{id}' is not valid"), 400);
        let kind = TaggedKind::of(id).ok_or_else(invalid)?;
        if !changes.add(kind, id)? {
            return Err(kind.not_found(id));
        }
    }
    Ok(changes.finish())
}

struct Changes<'a, C> {
    snapshot: &'a Snapshot,
    scope: &'a Scope,
    change: &'a C,
    transaction: Transaction,
    /// A group and its rules are one row, which is written once.
    groups: BTreeMap<String, (Versioned<SecurityGroup>, SecurityGroup)>,
}

impl<C: Fn(&mut Vec<Tag>) -> Result<(), Fault>> Changes<'_, C> {
    /// Changes the tags of one resource; false where it is not there.
    fn add(&mut self, kind: TaggedKind, id: &str) -> Result<bool, Fault> {
        match kind {
            TaggedKind::Vpc => self.by_key::<Vpc>(id),
            TaggedKind::Subnet => self.by_key::<Subnet>(id),
            TaggedKind::RouteTable => self.by_key::<RouteTable>(id),
            TaggedKind::InternetGateway => self.by_key::<InternetGateway>(id),
            TaggedKind::NatGateway => self.by_key::<NatGateway>(id),
            TaggedKind::PrefixList => self.by_key::<PrefixList>(id),
            TaggedKind::ElasticAddress => self.by_key::<ElasticAddress>(id),
            TaggedKind::LaunchTemplate => self.by_key::<LaunchTemplate>(id),
            TaggedKind::NetworkInterface => {
                self.replace(rows_vpc::network_interface(self.snapshot, self.scope, id))
            }
            TaggedKind::KeyPair => {
                let mut all = self.snapshot.scan::<KeyPair>(Key::prefix(self.scope, &[]), None);
                let found = all.find(|key_pair| key_pair.id == id);
                self.replace(found)
            }
            TaggedKind::SecurityGroup | TaggedKind::SecurityGroupRule => self.in_group(id),
        }
    }

    fn by_key<R: Tagged>(&mut self, id: &str) -> Result<bool, Fault> {
        self.replace(self.snapshot.get::<R>(&Key::new(self.scope, &[id])))
    }

    fn replace<R: Tagged>(&mut self, row: Option<Versioned<R>>) -> Result<bool, Fault> {
        let Some(row) = row else { return Ok(false) };
        let mut changed = R::clone(&row.value);
        (self.change)(changed.tags_mut())?;
        self.transaction.replace(&row, changed);
        Ok(true)
    }

    fn in_group(&mut self, id: &str) -> Result<bool, Fault> {
        let mut all = self.snapshot.scan::<SecurityGroup>(Key::prefix(self.scope, &[]), None);
        let group = all.find(|group| group.id == id || group.rules.iter().any(|rule| rule.id == id));
        let Some(group) = group else { return Ok(false) };
        let entry = self.groups.entry(group.id.clone());
        let (_, changed) = entry.or_insert_with(|| (group.clone(), SecurityGroup::clone(&group)));
        let rule = changed.rules.iter_mut().find(|rule| rule.id == id);
        (self.change)(rule.map_or(&mut changed.tags, |rule| &mut rule.tags))?;
        Ok(true)
    }

    fn finish(mut self) -> Transaction {
        for (read, changed) in self.groups.into_values() {
            self.transaction.replace(&read, changed);
        }
        self.transaction
    }
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
    let mut all = Vec::new();
    of_rows::<Vpc>(&mut all, snapshot, scope, TaggedKind::Vpc);
    of_rows::<Subnet>(&mut all, snapshot, scope, TaggedKind::Subnet);
    of_rows::<SecurityGroup>(&mut all, snapshot, scope, TaggedKind::SecurityGroup);
    of_rows::<NetworkInterface>(&mut all, snapshot, scope, TaggedKind::NetworkInterface);
    of_rows::<RouteTable>(&mut all, snapshot, scope, TaggedKind::RouteTable);
    of_rows::<InternetGateway>(&mut all, snapshot, scope, TaggedKind::InternetGateway);
    of_rows::<NatGateway>(&mut all, snapshot, scope, TaggedKind::NatGateway);
    of_rows::<PrefixList>(&mut all, snapshot, scope, TaggedKind::PrefixList);
    of_rows::<ElasticAddress>(&mut all, snapshot, scope, TaggedKind::ElasticAddress);
    of_rows::<KeyPair>(&mut all, snapshot, scope, TaggedKind::KeyPair);
    of_rows::<LaunchTemplate>(&mut all, snapshot, scope, TaggedKind::LaunchTemplate);
    for group in snapshot.scan::<SecurityGroup>(Key::prefix(scope, &[]), None) {
        for rule in &group.rules {
            add(&mut all, TaggedKind::SecurityGroupRule, &rule.id, &rule.tags);
        }
    }
    all
}

fn of_rows<R: Tagged>(all: &mut Vec<DescribedTag>, snapshot: &Snapshot, scope: &Scope, kind: TaggedKind) {
    for row in snapshot.scan::<R>(Key::prefix(scope, &[]), None) {
        add(all, kind, row.tagged_id(), row.tags());
    }
}

fn add(all: &mut Vec<DescribedTag>, kind: TaggedKind, id: &str, tags: &[Tag]) {
    let resource: Arc<str> = Arc::from(id);
    let described = |tag: &Tag| DescribedTag { resource: Arc::clone(&resource), kind, tags: [tag.clone()] };
    all.extend(tags.iter().map(described));
}
