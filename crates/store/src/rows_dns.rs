//! Where hosted zones, record sets, health checks and their changes live, and the making of a zone.

use base::{AccountId, Ids, Timestamp};
use domain::{
    DnsChange, DnsName, HealthCheck, HealthCheckStatus, HostedZone, HostedZoneVpc, LinkedService,
    RecordSetContent, RecordType, ResourceRecordSet, RoutingPolicy,
};

use crate::key::{Prefix, number_part};
use crate::{IndexSink, Key, Options, Row, Snapshot, Table, Transaction, Versioned};

/// Index of private hosted zones by VPC and name.
pub const HOSTED_ZONES_BY_VPC: &str = "vpc";
/// Index of private hosted zones by name.
pub const HOSTED_ZONES_PRIVATE: &str = "private";
/// Index of public hosted zones by name.
pub const HOSTED_ZONES_PUBLIC: &str = "public";
/// Index of hosted zones by account, name with its labels turned around, and id.
pub const HOSTED_ZONES_BY_NAME: &str = "name";
/// Index of hosted zones by account and caller reference.
pub const HOSTED_ZONES_BY_CALLER_REFERENCE: &str = "caller_reference";
/// Index of health checks by account and caller reference.
pub const HEALTH_CHECKS_BY_CALLER_REFERENCE: &str = "caller_reference";
/// Index of changes by moment (milliseconds, [`number_part`]).
pub const DNS_CHANGES_BY_TIME: &str = "submitted_at";

/// Seconds for which a zone's NS records may be kept. Source: what Route 53 makes.
const NS_TTL_SECONDS: u32 = 172_800;
/// Seconds for which a zone's SOA record may be kept. Source: the same.
const SOA_TTL_SECONDS: u32 = 900;
/// Seconds for which "no such name" may be kept, unless said. Source: the same.
pub const NEGATIVE_TTL_SECONDS: u32 = 86_400;

impl Row for HostedZone {
    const TABLE: Table = Table::new("hosted_zones");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        hosted_zone_key(&self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let (account, name) = (self.account.as_str(), self.name.as_str());
        for vpc in &self.vpcs {
            sink.add(HOSTED_ZONES_BY_VPC, &[&vpc.vpc, name]);
        }
        sink.add(if self.is_private { HOSTED_ZONES_PRIVATE } else { HOSTED_ZONES_PUBLIC }, &[name]);
        sink.add(HOSTED_ZONES_BY_NAME, &[account, &self.name.reversed(), &self.id]);
        sink.add(HOSTED_ZONES_BY_CALLER_REFERENCE, &[account, &self.caller_reference]);
    }
}

/// The key of a hosted zone.
pub fn hosted_zone_key(id: &str) -> Key {
    Key::global(&[id])
}

impl Row for ResourceRecordSet {
    const TABLE: Table = Table::new("resource_record_sets");
    const FORMAT: u16 = 1;
    /// In the order in which Route 53 lists them: by name with its labels turned around, then by type.
    fn key(&self) -> Key {
        record_set_key(&self.hosted_zone, &self.name, self.record_type, self.set_identifier.as_deref())
    }
}

/// The key of a record set; those of one zone stand together, and in it those of one name.
pub fn record_set_key(
    hosted_zone: &str,
    name: &DnsName,
    record_type: RecordType,
    set_identifier: Option<&str>,
) -> Key {
    Key::global(&[hosted_zone, &name.reversed(), record_type.as_str(), set_identifier.unwrap_or_default()])
}

impl Row for HealthCheck {
    const TABLE: Table = Table::new("health_checks");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        health_check_key(&self.id)
    }
    fn indexes(&self, sink: &mut IndexSink) {
        sink.add(HEALTH_CHECKS_BY_CALLER_REFERENCE, &[self.account.as_str(), &self.caller_reference]);
    }
}

/// The key of a health check and of its status.
pub fn health_check_key(id: &str) -> Key {
    Key::global(&[id])
}

impl Row for HealthCheckStatus {
    const TABLE: Table = Table::new("health_check_statuses");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        health_check_key(&self.health_check)
    }
}

impl Row for DnsChange {
    const TABLE: Table = Table::new("dns_changes");
    const FORMAT: u16 = 1;
    fn key(&self) -> Key {
        Key::global(&[self.account.as_str(), &self.id])
    }
    fn indexes(&self, sink: &mut IndexSink) {
        let milliseconds = u64::try_from(self.submitted_at.as_millis()).unwrap_or_default();
        sink.add(DNS_CHANGES_BY_TIME, &[&number_part(milliseconds)]);
    }
}

/// `options` with the rows of this file.
pub fn register(options: Options) -> Options {
    options
        .row::<HostedZone>()
        .row::<ResourceRecordSet>()
        .row::<HealthCheck>()
        .row::<HealthCheckStatus>()
        .row::<DnsChange>()
}

/// The record sets of a name in a zone, in order of type and set identifier.
pub fn record_sets_of_name(
    snapshot: &Snapshot,
    hosted_zone: &str,
    name: &DnsName,
) -> impl Iterator<Item = Versioned<ResourceRecordSet>> {
    snapshot.scan::<ResourceRecordSet>(Prefix::global(&[hosted_zone, &name.reversed()]), None)
}

/// Whether a zone has record sets of names below this one.
pub fn has_names_below(snapshot: &Snapshot, hosted_zone: &str, name: &DnsName) -> bool {
    let (prefix, reversed) = (Prefix::global(&[hosted_zone]), name.reversed());
    // Names below stand right behind: their key's part begins with the name's own.
    let after = Key::global(&[hosted_zone, &reversed, "~"]);
    snapshot
        .scan::<ResourceRecordSet>(prefix, Some(&after))
        .next()
        .is_some_and(|next| next.name != *name && next.name.is_within(name))
}

/// What a hosted zone is made from.
#[derive(Clone, Debug)]
pub struct NewHostedZone<'a> {
    /// Whose.
    pub account: &'a AccountId,
    /// The name at its top.
    pub name: DnsName,
    /// Told by the caller; `None` makes one up.
    pub caller_reference: Option<String>,
    /// In words.
    pub comment: Option<String>,
    /// The VPC of a private zone; `None` makes a public one.
    pub vpc: Option<HostedZoneVpc>,
    /// The AWS service that makes it.
    pub linked_service: Option<LinkedService>,
    /// Seconds for which "no such name" may be kept.
    pub negative_ttl_seconds: u32,
    /// Now.
    pub now: Timestamp,
}

impl NewHostedZone<'_> {
    /// Puts the zone with its SOA and NS record sets into `transaction`; gives the zone.
    pub fn make(self, ids: &dyn Ids, transaction: &mut Transaction) -> HostedZone {
        let name_servers = name_servers(ids, self.vpc.is_some());
        let zone = HostedZone {
            account: self.account.clone(),
            id: hosted_zone_id(ids),
            name: self.name,
            caller_reference: self.caller_reference.unwrap_or_else(|| ids.uuid()),
            comment: self.comment,
            is_private: self.vpc.is_some(),
            vpcs: self.vpc.into_iter().collect(),
            name_servers,
            linked_service: self.linked_service,
            record_set_count: 2,
            created_at: self.now,
            tags: Vec::new(),
        };
        let primary = zone.name_servers.first().map(ToString::to_string).unwrap_or_default();
        let soa = format!(
            "{primary} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 {}",
            self.negative_ttl_seconds
        );
        let ttl = SOA_TTL_SECONDS.min(self.negative_ttl_seconds);
        let name_servers = zone.name_servers.iter().map(ToString::to_string).collect();
        for (record_type, ttl_seconds, values) in
            [(RecordType::Ns, NS_TTL_SECONDS, name_servers), (RecordType::Soa, ttl, vec![soa])]
        {
            transaction.insert(ResourceRecordSet {
                hosted_zone: zone.id.clone(),
                name: zone.name.clone(),
                record_type,
                set_identifier: None,
                routing: RoutingPolicy::Simple,
                content: RecordSetContent::Records { ttl_seconds, values },
                health_check: None,
            });
        }
        transaction.insert(zone.clone());
        zone
    }
}

/// Puts the going of a zone and all its record sets into `transaction`.
pub fn remove_hosted_zone(snapshot: &Snapshot, zone: &Versioned<HostedZone>, transaction: &mut Transaction) {
    transaction.remove(zone);
    for set in snapshot.scan::<ResourceRecordSet>(Prefix::global(&[&zone.id]), None) {
        transaction.delete::<ResourceRecordSet>(&set.key());
    }
}

/// `Z` and twenty capital letters and digits.
fn hosted_zone_id(ids: &dyn Ids) -> String {
    format!("Z{}", capitals(ids, 20))
}

/// Capital letters and digits, as in the ids of zones and changes.
pub fn capitals(ids: &dyn Ids, characters: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let mut bytes = vec![0; characters];
    ids.fill(&mut bytes);
    bytes.into_iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

/// Four names of Route 53's form. A private zone has the same four everywhere, as at AWS.
fn name_servers(ids: &dyn Ids, is_private: bool) -> Vec<DnsName> {
    let mut random = [0; 8];
    if !is_private {
        ids.fill(&mut random);
    }
    let number = |index: usize| {
        512 * index + usize::from(u16::from_le_bytes([random[2 * index], random[2 * index + 1]])) % 512
    };
    let ends = ["com", "net", "org", "co.uk"];
    let texts = ends
        .iter()
        .enumerate()
        .map(|(index, end)| format!("ns-{}.awsdns-{:02}.{end}", number(index), number(index) % 64));
    texts.filter_map(|text| DnsName::parse(&text).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use base::SeededIds;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_zone_is_made_with_its_own_records_and_found() {
        let store = Store::ephemeral(register(Options::ephemeral()));
        let ids = SeededIds::new(1);
        let mut transaction = Transaction::new();
        let account = "123456789012".parse().unwrap();
        let new = NewHostedZone {
            account: &account,
            name: name("insurance.local"),
            caller_reference: None,
            comment: None,
            vpc: Some(HostedZoneVpc { region: "us-east-1".parse().unwrap(), vpc: "vpc-1".to_owned() }),
            linked_service: None,
            negative_ttl_seconds: 15,
            now: Timestamp::from_millis(0),
        };
        let zone = new.make(&ids, &mut transaction);
        let record = |text: &str| ResourceRecordSet {
            hosted_zone: zone.id.clone(),
            name: name(text),
            record_type: RecordType::A,
            set_identifier: None,
            routing: RoutingPolicy::Simple,
            content: RecordSetContent::Records { ttl_seconds: 60, values: vec!["192.0.2.1".to_owned()] },
            health_check: None,
        };
        transaction.insert(record("a.b.insurance.local"));
        transaction.insert(record("bc.insurance.local"));
        store.transact(transaction).await.unwrap();
        let snapshot = store.snapshot();
        let found: Vec<_> =
            snapshot.index::<HostedZone>(HOSTED_ZONES_BY_VPC, &["vpc-1", "insurance.local."], None).collect();
        assert_eq!(*found[0], zone);
        let types: Vec<_> =
            record_sets_of_name(&snapshot, &zone.id, &zone.name).map(|set| set.record_type).collect();
        assert_eq!(types, [RecordType::Ns, RecordType::Soa]);
        assert!(has_names_below(&snapshot, &zone.id, &name("b.insurance.local")));
        assert!(!has_names_below(&snapshot, &zone.id, &name("a.b.insurance.local")));
        assert!(!has_names_below(&snapshot, &zone.id, &name("c.insurance.local")));
        let mut transaction = Transaction::new();
        remove_hosted_zone(&snapshot, &found[0], &mut transaction);
        store.transact(transaction).await.unwrap();
        assert_eq!(store.snapshot().count::<ResourceRecordSet>(), 0);
    }
}
