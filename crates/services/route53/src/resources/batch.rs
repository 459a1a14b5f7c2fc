//! A batch of changes on a zone's record sets: all of it, or the reasons why not.

use std::collections::{BTreeMap, BTreeSet};

use api::route53::{Change, faults as modelled};
use domain::{
    DnsName, HealthCheck, HostedZone, LoadBalancer, RecordSetContent, RecordType, ResourceRecordSet,
    RoutingPolicy,
};
use store::rows_dns::{health_check_key, record_sets_of_name};
use store::rows_load_balancing::LOAD_BALANCERS_BY_DNS_NAME;
use store::{Row as _, Snapshot, Transaction, Versioned};
use wire::Fault;

use super::record_set::{self, Refusal, title};
use super::zone::RECORD_SETS_MAXIMUM;
use crate::faults;

/// Records of one batch; those of an UPSERT count twice. Source: "ChangeResourceRecordSets", "Limits".
const RECORDS_MAXIMUM: usize = 1000;
/// Characters of all values of a batch. Source: the same.
const CHARACTERS_MAXIMUM: usize = 32_000;

type Place = (RecordType, Option<String>);

/// The record sets of the names that a batch touches, as they will be.
struct Names<'a> {
    snapshot: &'a Snapshot,
    zone: &'a HostedZone,
    sets: BTreeMap<DnsName, BTreeMap<Place, ResourceRecordSet>>,
    /// How many sets there were of the names before.
    before: usize,
}

impl Names<'_> {
    fn of(&mut self, name: &DnsName) -> &mut BTreeMap<Place, ResourceRecordSet> {
        if !self.sets.contains_key(name) {
            let rows = record_sets_of_name(self.snapshot, &self.zone.id, name);
            let sets: BTreeMap<Place, ResourceRecordSet> =
                rows.map(|row| (place(&row), ResourceRecordSet::clone(&row))).collect();
            self.before += sets.len();
            self.sets.insert(name.clone(), sets);
        }
        self.sets.entry(name.clone()).or_default()
    }
}

fn place(set: &ResourceRecordSet) -> Place {
    (set.record_type, set.set_identifier.clone())
}

/// Puts a batch into `transaction`, with the zone's new count.
pub(crate) fn apply(
    snapshot: &Snapshot,
    zone: &Versioned<HostedZone>,
    changes: &[Change],
    transaction: &mut Transaction,
) -> Result<(), Fault> {
    check_size(changes)?;
    let mut names = Names { snapshot, zone, sets: BTreeMap::new(), before: 0 };
    let mut done: BTreeMap<(DnsName, Place), Vec<&str>> = BTreeMap::new();
    let mut problems = Vec::new();
    for change in changes {
        let action = change.action.as_deref().unwrap_or_default();
        let given = change.resource_record_set.clone().unwrap_or_default();
        let set = match record_set::parse(zone, action, given) {
            Ok(set) => set,
            Err(Refusal::Request(fault)) => return Err(fault),
            Err(Refusal::Change(problem)) => {
                problems.push(problem);
                continue;
            }
        };
        check_health_check(snapshot, zone, &set)?;
        let earlier = done.entry((set.name.clone(), place(&set))).or_default();
        // A set may be deleted and made again in one batch; anything else contradicts itself.
        if !(earlier.is_empty() || (earlier[..] == ["DELETE"] && action == "CREATE")) {
            problems.push(format!(
                "The request contains an invalid set of changes for a resource record set '{} {}'",
                set.record_type, set.name
            ));
            continue;
        }
        earlier.push(action);
        problems.extend(step(&mut names, action, set).err());
    }
    if problems.is_empty() {
        problems.extend(names.sets.iter().filter_map(|(name, sets)| conflict(zone, name, sets)));
    }
    if problems.is_empty() {
        problems.extend(dangling_aliases(&mut names, changes));
    }
    if !problems.is_empty() {
        return Err(refused(&problems));
    }
    write(&names, zone, transaction)
}

fn check_size(changes: &[Change]) -> Result<(), Fault> {
    let (mut records, mut characters) = (0, 0);
    for change in changes {
        let times = if change.action.as_deref() == Some("UPSERT") { 2 } else { 1 };
        let values = change.resource_record_set.iter().flat_map(|set| set.resource_records.iter().flatten());
        for value in values {
            records += times;
            characters += times * value.value.as_ref().map_or(0, String::len);
        }
    }
    if records > RECORDS_MAXIMUM || changes.len() > RECORDS_MAXIMUM {
        return Err(refused(&[format!("Number of records limit of {RECORDS_MAXIMUM} exceeded.")]));
    }
    if characters > CHARACTERS_MAXIMUM {
        return Err(refused(&[format!("RDATA character limit of {CHARACTERS_MAXIMUM} exceeded.")]));
    }
    Ok(())
}

fn check_health_check(snapshot: &Snapshot, zone: &HostedZone, set: &ResourceRecordSet) -> Result<(), Fault> {
    let Some(id) = &set.health_check else { return Ok(()) };
    let found = snapshot.get::<HealthCheck>(&health_check_key(id));
    match found.filter(|check| check.account == zone.account) {
        Some(_) => Ok(()),
        None => Err(faults::no_health_check(id)),
    }
}

/// One change on the names.
fn step(names: &mut Names, action: &str, set: ResourceRecordSet) -> Result<(), String> {
    let zone = names.zone;
    let (title, place) = (title(&set), place(&set));
    let sets = names.of(&set.name);
    match (action, sets.get(&place)) {
        ("CREATE", Some(_)) => {
            return Err(format!("Tried to create resource record set {title} but it already exists"));
        }
        ("DELETE", None) => {
            return Err(format!("Tried to delete resource record set {title} but it was not found"));
        }
        ("DELETE", Some(known)) if !is_same(known, &set) => {
            return Err(format!(
                "Tried to delete resource record set {title} but the values provided do not match the current values"
            ));
        }
        ("DELETE", Some(_)) => {
            sets.remove(&place);
        }
        _ => {
            sets.insert(place, set.clone());
        }
    }
    if set.name == zone.name {
        let has = |record_type| sets.keys().any(|(known, _)| *known == record_type);
        if !has(RecordType::Soa) && action == "DELETE" {
            return Err("A HostedZone must contain exactly one SOA record.".to_owned());
        }
        if !has(RecordType::Ns) && action == "DELETE" {
            return Err("A HostedZone must contain at least one NS record for the zone itself.".to_owned());
        }
    }
    Ok(())
}

/// Whether a DELETE says what there is: the values in any order.
fn is_same(known: &ResourceRecordSet, given: &ResourceRecordSet) -> bool {
    let content = match (&known.content, &given.content) {
        (
            RecordSetContent::Records { ttl_seconds: one, values: known },
            RecordSetContent::Records { ttl_seconds: other, values: given },
        ) => one == other && known.iter().collect::<BTreeSet<_>>() == given.iter().collect::<BTreeSet<_>>(),
        (known, given) => known == given,
    };
    content && known.routing == given.routing && known.health_check == given.health_check
}

/// What of one name's record sets cannot stand side by side.
fn conflict(zone: &HostedZone, name: &DnsName, sets: &BTreeMap<Place, ResourceRecordSet>) -> Option<String> {
    let cnames = sets.keys().filter(|(record_type, _)| *record_type == RecordType::Cname).count();
    if cnames > 0 && *name == zone.name {
        return Some(format!(
            "RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {}",
            zone.name
        ));
    }
    if cnames > 0 && cnames < sets.len() {
        return Some(format!(
            "RRSet of type CNAME with DNS name {name} is not permitted as it conflicts with other records with the \
             same DNS name in zone {}",
            zone.name
        ));
    }
    let kind = |set: &ResourceRecordSet| std::mem::discriminant(&set.routing);
    let mut earlier: Option<&ResourceRecordSet> = None;
    for set in sets.values() {
        if let Some(other) = earlier.filter(|other| other.record_type == set.record_type)
            && (kind(other) != kind(set) || is_twin(other, set))
        {
            return Some(format!(
                "RRSet with DNS name {name}, type {}, SetIdentifier {} cannot be created as other RRSets exist with the \
                 same name and type.",
                set.record_type,
                set.set_identifier.as_deref().unwrap_or("null")
            ));
        }
        earlier = Some(set);
    }
    None
}

/// Two of a kind of which there can be one only.
fn is_twin(one: &ResourceRecordSet, other: &ResourceRecordSet) -> bool {
    one.routing == other.routing
        && matches!(
            one.routing,
            RoutingPolicy::Simple
                | RoutingPolicy::Failover(_)
                | RoutingPolicy::Latency(_)
                | RoutingPolicy::Geolocation { .. }
        )
}

/// Aliases of the batch whose targets are not there.
fn dangling_aliases(names: &mut Names, changes: &[Change]) -> Vec<String> {
    let mut problems = Vec::new();
    let zone = names.zone;
    for change in changes.iter().filter(|change| change.action.as_deref() != Some("DELETE")) {
        let given = change.resource_record_set.clone().unwrap_or_default();
        let Ok(set) = record_set::parse(zone, "", given) else { continue };
        let RecordSetContent::Alias { hosted_zone, name, .. } = &set.content else { continue };
        let problem = if *hosted_zone != zone.id {
            let is_target = matches!(set.record_type, RecordType::A | RecordType::Aaaa)
                && find_load_balancer(names.snapshot, hosted_zone, name);
            (!is_target).then_some("the alias target name does not lie within the target zone")
        } else if !name.is_within(&zone.name) {
            Some("the alias target name does not lie within the target zone")
        } else {
            let has_type = names.of(name).keys().any(|(record_type, _)| *record_type == set.record_type);
            (!has_type).then_some("that target was not found")
        };
        problems.extend(problem.map(|problem| {
            format!(
                "Tried to create an alias that targets {name}, type {} in zone {hosted_zone}, but {problem}",
                set.record_type
            )
        }));
    }
    problems
}

/// Whether a load balancer of this name has its names in this zone.
fn find_load_balancer(snapshot: &Snapshot, hosted_zone: &str, name: &DnsName) -> bool {
    let text = name.as_str().trim_end_matches('.');
    let text = text.strip_prefix("dualstack.").unwrap_or(text);
    let mut found = snapshot.index::<LoadBalancer>(LOAD_BALANCERS_BY_DNS_NAME, &[text], None);
    found.next().is_some_and(|row| row.canonical_hosted_zone_id() == hosted_zone)
}

fn write(names: &Names, zone: &Versioned<HostedZone>, transaction: &mut Transaction) -> Result<(), Fault> {
    let mut after = 0;
    for (name, sets) in &names.sets {
        after += sets.len();
        for row in record_sets_of_name(names.snapshot, &zone.id, name) {
            if !sets.contains_key(&place(&row)) {
                transaction.delete::<ResourceRecordSet>(&row.key());
            }
        }
        for set in sets.values() {
            transaction.put(set.clone());
        }
    }
    let count = (zone.record_set_count + after as u64).saturating_sub(names.before as u64);
    if count > RECORD_SETS_MAXIMUM && after > names.before {
        return Err(refused(&[format!(
            "The zone {} would have more than {RECORD_SETS_MAXIMUM} resource record sets.",
            zone.name
        )]));
    }
    // The zone's row changes with every batch, so that two batches at once cannot both be checked against what was before.
    transaction.replace(zone, HostedZone { record_set_count: count, ..HostedZone::clone(zone) });
    Ok(())
}

fn refused(problems: &[String]) -> Fault {
    // In one text, as Route 53 answers; the member `messages` of the model is that of an older form.
    modelled::invalid_change_batch(format!("[{}]", problems.join(", ")))
}
