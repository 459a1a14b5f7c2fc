//! [`look_up`]: what the rows say about a name, to one asker.

use std::net::IpAddr;
use std::sync::Arc;

use base::Scope;
use domain::{DnsName, HostedZone, RecordType, RecordValue, SoaValue, Vpc};
use store::rows_vpc::{VpcCidrUse, find_default_vpc};
use store::{Key, Prefix, Snapshot, Versioned};

use crate::{system, zone};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// An interface in a VPC.
    Vpc {
        /// Whose and where the VPC is.
        scope: Scope,
        /// The VPC's id.
        vpc: String,
    },
    /// The host, or what shares its network: it is in the default VPC of the main account and region, and may ask for the
    /// names of every other.
    Host {
        /// The main account and region.
        scope: Scope,
        /// The default VPC, where it has been made.
        vpc: Option<String>,
    },
}

impl Asker {
    /// Its account and region.
    pub fn scope(&self) -> &Scope {
        match self {
            Self::Vpc { scope, .. } | Self::Host { scope, .. } => scope,
        }
    }

    /// The VPC that it is in.
    pub fn vpc(&self) -> Option<&str> {
        match self {
            Self::Vpc { vpc, .. } => Some(vpc),
            Self::Host { vpc, .. } => vpc.as_deref(),
        }
    }

    /// Whether it may ask for names of this VPC.
    pub fn sees(&self, vpc: &str) -> bool {
        matches!(self, Self::Host { .. }) || self.vpc() == Some(vpc)
    }
}

/// Who asks from this address: no two VPCs have the same.
pub fn asker_of(snapshot: &Snapshot, main: &Scope, source: IpAddr) -> Asker {
    let source = source.to_canonical();
    let contains = |used: &Versioned<VpcCidrUse>| match source {
        IpAddr::V4(source) => used.cidr.contains(source),
        IpAddr::V6(source) => {
            let vpc = snapshot.get::<Vpc>(&Key::new(&used.scope, &[&used.vpc]));
            vpc.and_then(|vpc| vpc.ipv6.as_ref().map(|ipv6| ipv6.cidr))
                .is_some_and(|cidr| cidr.contains(source))
        }
    };
    let mut uses = snapshot.scan::<VpcCidrUse>(Prefix::everything(), None);
    match uses.find(contains) {
        Some(used) => Asker::Vpc { scope: used.scope.clone(), vpc: used.vpc.clone() },
        None => Asker::Host {
            scope: main.clone(),
            vpc: find_default_vpc(snapshot, main).map(|default| default.vpc.id),
        },
    }
}

/// What a name is looked up in.
pub struct View<'a> {
    /// All rows.
    pub snapshot: &'a Snapshot,
    /// Who asks.
    pub asker: &'a Asker,
    /// A number that differs from question to question: order and choice of answers.
    pub chance: u64,
}

/// What the rows say about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Records, with seconds for which they may be kept.
    Records(Vec<(u32, RecordValue)>),
    /// Another name, likewise.
    Cname(u32, DnsName),
    /// There is such a name, without such records.
    NoRecords(Box<Authority>),
    /// There is no such name.
    NoSuchName(Box<Authority>),
    /// The rows say nothing about names of this kind.
    NotHere,
}

/// The zone that says that there is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The zone's name.
    pub zone: DnsName,
    /// Seconds for which it may be kept.
    pub ttl_seconds: u32,
    /// Its start of authority.
    pub value: SoaValue,
}

/// What the rows say about a name. A private zone is asked before a public one of the same name or a longer one, as at AWS;
/// of two zones of a kind the one with the longer name. `record_type` is `None` for types that no record can have here.
pub fn look_up(view: &View, name: &DnsName, record_type: Option<RecordType>) -> Lookup {
    if let Some(zone) = zone::private(view, name) {
        return zone.look_up(view, name, record_type);
    }
    let answer = system::look_up(view, name, record_type);
    if answer != Lookup::NotHere {
        return answer;
    }
    match zone::public(view, name) {
        Some(zone) => zone.look_up(view, name, record_type),
        None => Lookup::NotHere,
    }
}

/// What one hosted zone says about a name within it, whoever asks: for TestDNSAnswer.
pub fn look_up_in(
    view: &View,
    hosted_zone: Arc<HostedZone>,
    name: &DnsName,
    record_type: Option<RecordType>,
) -> Lookup {
    zone::of_hosted_zone(view.snapshot, hosted_zone).look_up(view, name, record_type)
}

/// Whether a health check lets its record sets answer.
pub fn health_check_is_healthy(snapshot: &Snapshot, id: &str) -> bool {
    zone::health_check_is_healthy(snapshot, id)
}
