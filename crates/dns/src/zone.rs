//! A zone: a hosted zone's record sets, and with them what Cloud Map's services and instances say in it.

use std::sync::Arc;

use domain::{
    DiscoveryNamespace, DiscoveryNamespaceType, DnsName, HealthCheck, HealthCheckStatus, HealthCheckType,
    HostedZone, RecordSetContent, RecordType, RecordValue, ResourceRecordSet, RoutingPolicy,
};
use store::Snapshot;
use store::rows_dns::{
    HOSTED_ZONES_BY_VPC, HOSTED_ZONES_PRIVATE, HOSTED_ZONES_PUBLIC, NEGATIVE_TTL_SECONDS, has_names_below,
    health_check_key, record_set_key, record_sets_of_name,
};
use store::rows_service_discovery::{NAMESPACES_BY_HOSTED_ZONE, NAMESPACES_BY_VPC, NAMESPACES_PUBLIC};

use crate::cloud_map::{self, Found};
use crate::limits::{ALIASES_MAXIMUM, MULTIVALUE_MAXIMUM};
use crate::look_up::{Asker, Authority, Lookup, View};
use crate::routing::{choose, rotated};
use crate::system;

/// A zone that says what there is below a name.
pub(crate) struct Zone {
    name: DnsName,
    hosted: Option<Arc<HostedZone>>,
    namespace: Option<Arc<DiscoveryNamespace>>,
}

struct Set(Arc<ResourceRecordSet>);

impl AsRef<ResourceRecordSet> for Set {
    fn as_ref(&self) -> &ResourceRecordSet {
        &self.0
    }
}

/// The private zone with the longest name that `name` is within and that the asker may see.
pub(crate) fn private(view: &View, name: &DnsName) -> Option<Zone> {
    let namespaces = private_namespaces(view);
    name.upwards().find_map(|candidate| {
        let hosted = private_hosted(view, &candidate);
        let namespace = match &hosted {
            Some(hosted) => namespace_of(view.snapshot, &hosted.id),
            None => namespaces.iter().find(|namespace| is_named(namespace, &candidate)).cloned(),
        };
        (hosted.is_some() || namespace.is_some()).then_some(Zone { name: candidate, hosted, namespace })
    })
}

/// The same of public zones.
pub(crate) fn public(view: &View, name: &DnsName) -> Option<Zone> {
    let snapshot = view.snapshot;
    let namespaces: Vec<_> =
        snapshot.index::<DiscoveryNamespace>(NAMESPACES_PUBLIC, &[], None).map(|row| row.value).collect();
    name.upwards().find_map(|candidate| {
        let hosted = snapshot.index::<HostedZone>(HOSTED_ZONES_PUBLIC, &[candidate.as_str()], None).next();
        let namespace = match &hosted {
            Some(hosted) => namespace_of(snapshot, &hosted.id),
            None => namespaces.iter().find(|namespace| is_named(namespace, &candidate)).cloned(),
        };
        let hosted = hosted.map(|row| row.value);
        (hosted.is_some() || namespace.is_some()).then_some(Zone { name: candidate, hosted, namespace })
    })
}

/// The zone with this id, whoever asks.
pub(crate) fn of_hosted_zone(snapshot: &Snapshot, hosted: Arc<HostedZone>) -> Zone {
    let namespace = namespace_of(snapshot, &hosted.id);
    Zone { name: hosted.name.clone(), hosted: Some(hosted), namespace }
}

fn private_hosted(view: &View, name: &DnsName) -> Option<Arc<HostedZone>> {
    let in_vpc = view.asker.vpc().and_then(|vpc| {
        view.snapshot.index::<HostedZone>(HOSTED_ZONES_BY_VPC, &[vpc, name.as_str()], None).next()
    });
    let found = in_vpc.or_else(|| match view.asker {
        Asker::Host { .. } => {
            view.snapshot.index::<HostedZone>(HOSTED_ZONES_PRIVATE, &[name.as_str()], None).next()
        }
        Asker::Vpc { .. } => None,
    });
    found.map(|row| row.value)
}

/// Those of the asker's VPC first.
fn private_namespaces(view: &View) -> Vec<Arc<DiscoveryNamespace>> {
    let snapshot = view.snapshot;
    let mut namespaces: Vec<Arc<DiscoveryNamespace>> = Vec::new();
    let scope = view.asker.scope();
    if let Some(vpc) = view.asker.vpc() {
        let parts = [scope.account.as_str(), scope.region.as_str(), vpc];
        namespaces.extend(
            snapshot.index::<DiscoveryNamespace>(NAMESPACES_BY_VPC, &parts, None).map(|row| row.value),
        );
    }
    if matches!(view.asker, Asker::Host { .. }) {
        namespaces
            .extend(snapshot.index::<DiscoveryNamespace>(NAMESPACES_BY_VPC, &[], None).map(|row| row.value));
    }
    namespaces
}

fn namespace_of(snapshot: &Snapshot, hosted_zone: &str) -> Option<Arc<DiscoveryNamespace>> {
    let mut found = snapshot.index::<DiscoveryNamespace>(NAMESPACES_BY_HOSTED_ZONE, &[hosted_zone], None);
    found.next().map(|row| row.value)
}

fn is_named(namespace: &DiscoveryNamespace, name: &DnsName) -> bool {
    namespace.namespace_type != DiscoveryNamespaceType::Http
        && DnsName::parse(&namespace.name).is_ok_and(|own| own == *name)
}

impl Zone {
    /// What it says about a name within it.
    pub(crate) fn look_up(&self, view: &View, name: &DnsName, record_type: Option<RecordType>) -> Lookup {
        self.look_up_from(view, name, record_type, 0)
    }

    fn look_up_from(
        &self,
        view: &View,
        name: &DnsName,
        record_type: Option<RecordType>,
        aliases: usize,
    ) -> Lookup {
        let sets = self.sets(view, name);
        if !sets.is_empty() {
            return self.of_sets(view, &sets, record_type, aliases);
        }
        if let Some(namespace) = &self.namespace {
            match cloud_map::look_up(view, namespace, &self.name, name, record_type) {
                Found::Records(found) => return found,
                Found::NoRecords => return Lookup::NoRecords(Box::new(self.authority(view))),
                Found::NoSuchName => {}
            }
        }
        let hosted = self.hosted.as_ref();
        if hosted.is_some_and(|zone| has_names_below(view.snapshot, &zone.id, name)) {
            return Lookup::NoRecords(Box::new(self.authority(view)));
        }
        if self.is_delegated(view, name) {
            return Lookup::NotHere;
        }
        match self.wildcard(view, name) {
            Some(sets) => self.of_sets(view, &sets, record_type, aliases),
            None if *name == self.name => Lookup::NoRecords(Box::new(self.authority(view))),
            None => Lookup::NoSuchName(Box::new(self.authority(view))),
        }
    }

    fn sets(&self, view: &View, name: &DnsName) -> Vec<Set> {
        let Some(hosted) = &self.hosted else { return Vec::new() };
        record_sets_of_name(view.snapshot, &hosted.id, name).map(|row| Set(row.value)).collect()
    }

    /// The record sets of `*` below the closest name that there is. Source: RFC 4592, section 3.3.1.
    fn wildcard(&self, view: &View, name: &DnsName) -> Option<Vec<Set>> {
        let hosted = self.hosted.as_ref()?;
        for encloser in name.upwards().skip(1).take_while(|encloser| encloser.is_within(&self.name)) {
            let sets = self.sets(view, &encloser.wildcard());
            if !sets.is_empty() {
                return Some(sets);
            }
            let exists = encloser == self.name
                || !self.sets(view, &encloser).is_empty()
                || has_names_below(view.snapshot, &hosted.id, &encloser);
            if exists {
                return None;
            }
        }
        None
    }

    /// Whether the name is below one whose NS records hand it to someone else. Where that is a zone of ours its longer name
    /// has come first.
    fn is_delegated(&self, view: &View, name: &DnsName) -> bool {
        let Some(hosted) = self.hosted.as_ref() else { return false };
        name.upwards().take_while(|above| *above != self.name && above.is_within(&self.name)).any(|above| {
            let key = record_set_key(&hosted.id, &above, RecordType::Ns, None);
            view.snapshot.get::<ResourceRecordSet>(&key).is_some()
        })
    }

    fn of_sets(&self, view: &View, sets: &[Set], record_type: Option<RecordType>, aliases: usize) -> Lookup {
        let nothing = || Lookup::NoRecords(Box::new(self.authority(view)));
        let of_type = |wanted| -> Vec<Set> {
            sets.iter().filter(|set| set.0.record_type == wanted).map(|set| Set(Arc::clone(&set.0))).collect()
        };
        let own = record_type.map(of_type).unwrap_or_default();
        let is_cname = own.is_empty();
        let candidates = if is_cname { of_type(RecordType::Cname) } else { own };
        let is_healthy = |set: &ResourceRecordSet| self.is_healthy(view, set, aliases);
        let chosen = choose(&candidates, is_healthy, &view.asker.scope().region, view.chance);
        let mut records = Vec::new();
        for set in chosen {
            match self.of_set(view, &set.0, aliases) {
                Lookup::Records(more) => records.extend(more),
                Lookup::Cname(ttl, name) => return Lookup::Cname(ttl, name),
                _ => {}
            }
        }
        match records.first() {
            None => nothing(),
            Some((ttl, RecordValue::Name(target))) if is_cname => Lookup::Cname(*ttl, target.clone()),
            Some(_) => {
                let all = records.len();
                Lookup::Records(rotated(records, view.chance, all))
            }
        }
    }

    fn of_set(&self, view: &View, set: &ResourceRecordSet, aliases: usize) -> Lookup {
        match &set.content {
            RecordSetContent::Records { ttl_seconds, values } => Lookup::Records(
                values
                    .iter()
                    .filter_map(|value| {
                        Some((*ttl_seconds, RecordValue::parse(set.record_type, value).ok()?))
                    })
                    .collect(),
            ),
            RecordSetContent::Alias { hosted_zone, name, .. } => {
                let is_own = self.hosted.as_ref().is_some_and(|own| own.id == *hosted_zone);
                if !is_own {
                    system::load_balancer(view, name, Some(set.record_type)).unwrap_or(Lookup::NotHere)
                } else if aliases < ALIASES_MAXIMUM {
                    self.look_up_from(view, name, Some(set.record_type), aliases + 1)
                } else {
                    Lookup::NotHere
                }
            }
        }
    }

    /// Whether a record set may answer: its health check says so, and where an alias is evaluated, its target.
    fn is_healthy(&self, view: &View, set: &ResourceRecordSet, aliases: usize) -> bool {
        if !set.health_check.as_ref().is_none_or(|id| health_check_is_healthy(view.snapshot, id)) {
            return false;
        }
        let RecordSetContent::Alias { hosted_zone, name, evaluate_target_health: true } = &set.content else {
            return true;
        };
        if self.hosted.as_ref().is_none_or(|own| own.id != *hosted_zone) {
            return system::load_balancer_is_healthy(view.snapshot, name);
        }
        let targets = self.sets(view, name);
        let mut targets = targets.iter().filter(|target| target.0.record_type == set.record_type);
        aliases < ALIASES_MAXIMUM && targets.any(|target| self.is_healthy(view, &target.0, aliases + 1))
    }

    fn authority(&self, view: &View) -> Authority {
        let set = self.hosted.as_ref().and_then(|hosted| {
            let key = record_set_key(&hosted.id, &self.name, RecordType::Soa, None);
            view.snapshot.get::<ResourceRecordSet>(&key)
        });
        let read = set.and_then(|set| match &set.content {
            RecordSetContent::Records { ttl_seconds, values } => {
                let RecordValue::Soa(value) = RecordValue::parse(RecordType::Soa, values.first()?).ok()?
                else {
                    return None;
                };
                Some((*ttl_seconds, value))
            }
            RecordSetContent::Alias { .. } => None,
        });
        let (ttl, value) = read.unwrap_or_else(|| {
            let namespace_ttl = self.namespace.as_ref().and_then(|namespace| namespace.soa_ttl_seconds);
            let ttl = namespace_ttl.unwrap_or(NEGATIVE_TTL_SECONDS);
            (ttl, system::start_of_authority(&self.name, ttl))
        });
        // Source: RFC 2308, section 5.
        Authority { zone: self.name.clone(), ttl_seconds: ttl.min(value.minimum), value }
    }
}

/// Whether a health check lets its record sets answer. One that has not been looked at yet does, as at AWS.
pub(crate) fn health_check_is_healthy(snapshot: &Snapshot, id: &str) -> bool {
    health_check_verdict(snapshot, id, 0)
}

fn health_check_verdict(snapshot: &Snapshot, id: &str, depth: usize) -> bool {
    // A calculated check's children are no calculated ones at AWS: one step is enough.
    const DEPTH_MAXIMUM: usize = 2;
    let Some(check) = snapshot.get::<HealthCheck>(&health_check_key(id)) else { return true };
    if check.disabled == Some(true) {
        return true;
    }
    let is_healthy = if check.check_type == HealthCheckType::Calculated {
        let healthy = check
            .children
            .iter()
            .filter(|child| depth < DEPTH_MAXIMUM && health_check_verdict(snapshot, child, depth + 1))
            .count();
        healthy >= check.health_threshold.unwrap_or_default() as usize
    } else {
        let status = snapshot.get::<HealthCheckStatus>(&health_check_key(id));
        status.is_none_or(|status| status.is_healthy)
    };
    is_healthy != (check.inverted == Some(true))
}

/// What Cloud Map's record sets of one type say: up to eight, or one.
pub(crate) fn cut<T>(answers: Vec<T>, routing: &RoutingPolicy, chance: u64) -> Vec<T> {
    let maximum = if *routing == RoutingPolicy::MultiValue { MULTIVALUE_MAXIMUM } else { 1 };
    rotated(answers, chance, maximum)
}
