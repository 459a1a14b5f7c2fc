//! Managed prefix lists.

use std::sync::Arc;

use api::ec2::{AddPrefixListEntry, RemovePrefixListEntry};
use base::{Scope, Tag};
use domain::{
    AddressFamily, PrefixList, PrefixListCidr, PrefixListEntry, PrefixListVersion, RouteDestination,
    RouteTable, SecurityGroup, SecurityGroupPeer,
};
use store::{Key, Snapshot, Transaction, rows_vpc};
use wire::Fault;

use super::permission::{ipv4_cidr, ipv6_cidr};
use super::{tag, value};
use crate::faults;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

/// Source: "Amazon VPC quotas", maximum number of entries per prefix list.
const ENTRIES_MAXIMUM: i32 = 1000;
/// Entries that one call adds or removes. Source: "Work with prefix lists".
const ENTRIES_PER_CALL: usize = 100;
/// Source: "Amazon VPC quotas", versions of a prefix list.
const VERSIONS_MAXIMUM: i64 = 1000;
/// Characters of a name and of an entry's description. Source: CreateManagedPrefixList, AddPrefixListEntry.
const TEXT_CHARACTERS: usize = 255;

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeManagedPrefixLists",
    prefix: "pl-",
    malformed: "InvalidPrefixListId.Malformed",
    not_found: "InvalidPrefixListID.NotFound",
    noun: "prefix list ID",
    filters: &[("owner-id", &[]), ("prefix-list-id", &[]), ("prefix-list-name", &[])],
    has_tags: true,
};

impl Filterable for Arc<PrefixList> {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "owner-id" => value(&self.scope.account),
            "prefix-list-id" => value(&self.id),
            "prefix-list-name" => value(&self.name),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.tags
    }
}

impl Listed for Arc<PrefixList> {
    fn id(&self) -> &str {
        &self.id
    }
}

/// All lists of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<Arc<PrefixList>> {
    snapshot.scan::<PrefixList>(Key::prefix(scope, &[]), None).map(|row| row.value).collect()
}

/// As how many rules of each family (IPv4, IPv6) a list counts where a security group names it.
pub(crate) fn weight(snapshot: &Snapshot, scope: &Scope, id: &str) -> (i64, i64) {
    let list = snapshot.get::<PrefixList>(&Key::new(scope, &[id]));
    list.map_or((0, 0), |list| match list.address_family {
        AddressFamily::Ipv4 => (i64::from(list.max_entries), 0),
        AddressFamily::Ipv6 => (0, i64::from(list.max_entries)),
    })
}

/// A checked name.
pub(crate) fn name(name: &str) -> Result<String, Fault> {
    if name.starts_with("com.amazonaws") {
        return Err(faults::invalid_value("Prefix list names cannot start with com.amazonaws."));
    }
    if name.is_empty() || name.chars().count() > TEXT_CHARACTERS {
        let message = format!("A prefix list name must have between 1 and {TEXT_CHARACTERS} characters.");
        return Err(faults::invalid_value(message));
    }
    Ok(name.to_owned())
}

/// A checked entry: its network is of the list's family, and cut off behind its prefix.
pub(crate) fn entry(
    family: AddressFamily,
    cidr: Option<&str>,
    description: Option<String>,
) -> Result<PrefixListEntry, Fault> {
    let description = description.filter(|description| !description.is_empty());
    if description.as_ref().is_some_and(|description| description.chars().count() > TEXT_CHARACTERS) {
        let message = format!("An entry's description must have at most {TEXT_CHARACTERS} characters.");
        return Err(faults::invalid_value(message));
    }
    Ok(PrefixListEntry { cidr: network(family, cidr)?, description })
}

/// A checked network of an entry.
pub(crate) fn network(family: AddressFamily, cidr: Option<&str>) -> Result<PrefixListCidr, Fault> {
    let cidr = cidr.ok_or_else(|| faults::missing("Cidr"))?;
    match family {
        AddressFamily::Ipv4 => ipv4_cidr(cidr).map(PrefixListCidr::Ipv4),
        AddressFamily::Ipv6 => ipv6_cidr(cidr).map(PrefixListCidr::Ipv6),
    }
}

/// Checks how many entries one call adds or removes.
pub(crate) fn check_per_call(count: usize) -> Result<(), Fault> {
    if count <= ENTRIES_PER_CALL {
        return Ok(());
    }
    let message =
        format!("The request cannot contain more than {ENTRIES_PER_CALL} entry additions or removals");
    Err(faults::invalid_value(message))
}

/// The entries after some were removed and others added. One that is there is described anew.
pub(crate) fn changed(
    list: &PrefixList,
    add: &[AddPrefixListEntry],
    remove: &[RemovePrefixListEntry],
) -> Result<Vec<PrefixListEntry>, Fault> {
    let mut entries = list.entries.clone();
    let mut named: Vec<PrefixListCidr> = Vec::new();
    for asked in remove {
        let cidr = network(list.address_family, asked.cidr.as_deref())?;
        let at = entries.iter().position(|entry| entry.cidr == cidr).ok_or_else(|| {
            let message = format!("Cannot remove {cidr}: the entry does not exist.");
            Fault::new("InvalidPrefixListModification", message, 400)
        })?;
        entries.remove(at);
        named.push(cidr);
    }
    for asked in add {
        let entry = entry(list.address_family, asked.cidr.as_deref(), asked.description.clone())?;
        if named.contains(&entry.cidr) {
            return Err(twice(&entry.cidr));
        }
        named.push(entry.cidr);
        entries.retain(|known| known.cidr != entry.cidr);
        entries.push(entry);
    }
    if entries.len() > usize::try_from(list.max_entries).unwrap_or_default() {
        return Err(too_many_entries());
    }
    Ok(entries)
}

/// The fault for a network that a call names more than once.
pub(crate) fn twice(cidr: &PrefixListCidr) -> Fault {
    faults::invalid_value(format!("The CIDR {cidr} must not appear more than once in a request."))
}

/// The fault for a change of what is no longer there.
pub(crate) fn version_mismatch() -> Fault {
    Fault::new("PrefixListVersionMismatch", "The prefix list has the incorrect version number.", 400)
}

/// The present version, as it is kept.
pub(crate) fn version_of(list: &PrefixList) -> PrefixListVersion {
    PrefixListVersion {
        scope: list.scope.clone(),
        prefix_list: list.id.clone(),
        version: list.version,
        entries: list.entries.clone(),
    }
}

/// Makes the entries of the list its next version.
pub(crate) fn next_version(transaction: &mut Transaction, list: &mut PrefixList) -> Result<(), Fault> {
    if list.version >= VERSIONS_MAXIMUM {
        let message = "You've reached the maximum number of versions for the prefix list.";
        return Err(Fault::new("PrefixListVersionLimitExceeded", message, 400));
    }
    list.version += 1;
    transaction.insert(version_of(list));
    Ok(())
}

/// The entries in a version, or at present.
pub(crate) fn entries(
    snapshot: &Snapshot,
    list: &PrefixList,
    version: Option<i64>,
) -> Result<Vec<PrefixListEntry>, Fault> {
    let Some(version) = version else { return Ok(list.entries.clone()) };
    let key = rows_vpc::prefix_list_version_key(&list.scope, &list.id, version);
    let found = snapshot.get::<PrefixListVersion>(&key).filter(|_| version > 0);
    let missing = || {
        let message = format!("The version {version} of the prefix list '{}' does not exist.", list.id);
        faults::invalid_value(message)
    };
    found.map(|found| found.entries.clone()).ok_or_else(missing)
}

/// Ids of the security groups and route tables that name the list, in order.
pub(crate) fn users(snapshot: &Snapshot, list: &PrefixList) -> Vec<String> {
    let everything = || Key::prefix(&list.scope, &[]);
    let peer = SecurityGroupPeer::PrefixList(list.id.clone());
    let groups = snapshot.scan::<SecurityGroup>(everything(), None);
    let groups = groups.filter(|group| group.rules.iter().any(|rule| rule.peer == peer));
    let destination = RouteDestination::PrefixList(list.id.clone());
    let tables = snapshot.scan::<RouteTable>(everything(), None);
    let tables = tables.filter(|table| table.routes.iter().any(|route| route.destination == destination));
    let mut users: Vec<String> = groups.map(|group| group.id.clone()).collect();
    users.extend(tables.map(|table| table.id.clone()));
    users.sort();
    users
}

/// The fault for more entries than a list may have.
pub(crate) fn too_many_entries() -> Fault {
    let message = "You've reached the maximum number of entries for the prefix list.";
    Fault::new("PrefixListMaxEntriesExceeded", message, 400)
}

/// Checks the size of a list.
pub(crate) fn check_max_entries(max_entries: i32) -> Result<(), Fault> {
    if (1..=ENTRIES_MAXIMUM).contains(&max_entries) {
        return Ok(());
    }
    let message = format!(
        "Value ({max_entries}) for parameter MaxEntries is invalid. It must be between 1 and {ENTRIES_MAXIMUM}."
    );
    Err(faults::invalid_value(message))
}

/// The wire form.
pub(crate) fn describe(list: &PrefixList) -> api::ec2::ManagedPrefixList {
    api::ec2::ManagedPrefixList {
        address_family: Some(list.address_family.to_string()),
        max_entries: Some(list.max_entries),
        owner_id: Some(list.scope.account.to_string()),
        prefix_list_arn: Some(list.arn().to_string()),
        prefix_list_id: Some(list.id.clone()),
        prefix_list_name: Some(list.name.clone()),
        state: Some(list.state.to_string()),
        tags: Some(tag::describe(&list.tags).unwrap_or_default()),
        version: Some(list.version),
        ..Default::default()
    }
}
