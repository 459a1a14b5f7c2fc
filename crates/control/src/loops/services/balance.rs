//! Over what a service's tasks are evened out while it is at rest.
//!
//! Availability Zones where the service asks for it (`availabilityZoneRebalancing`). Beyond AWS, with the service's tag
//! `roadstead:rebalance` = `enabled`: what its first placement strategy spreads over, or the instances where that
//! strategy is `random`. With `binpack` nothing is moved: an even spread is not what it asks for.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base::Timestamp;
use domain::{LaunchType, Service};
use ecs::launch::service::{Spot, Workload, call, daemon_instances, prepare, values_to_balance};
use ecs::launch::wishes::REBALANCE;
use store::Snapshot;

use super::gather::Gathered;
use super::members::Member;

const ZONE: &str = "ecs.availability-zone";

/// Places, and how a task's is found.
#[derive(Clone, Debug)]
pub struct Balance {
    /// Whether they are zones, evened out as AWS does, with its messages.
    pub zones: bool,
    /// The instance attribute whose values they are; `None`: the instances themselves.
    attribute: Option<String>,
    /// All of them.
    pub places: BTreeSet<String>,
}

/// Whether tasks of the service may be moved at all.
pub fn is_asked_for(service: &Service) -> bool {
    service.availability_zone_rebalancing || has_tag(service)
}

/// The tag that turns on the moving of tasks for any strategy.
fn has_tag(service: &Service) -> bool {
    service.tags.iter().any(|tag| tag.key == REBALANCE && tag.value == "enabled")
}

/// Over what the service's tasks are to be even; `None` where they are left alone.
pub fn of(snapshot: &Snapshot, service: &Service, workload: &Workload, now: Timestamp) -> Option<Balance> {
    if service.scheduling_strategy == domain::SchedulingStrategy::Daemon {
        return None;
    }
    let attribute = if service.availability_zone_rebalancing {
        Some(ZONE.to_owned())
    } else if has_tag(service) && workload.launch_type != LaunchType::Fargate {
        let first = service.placement_strategy.first();
        match first.map(|(kind, field)| (kind.as_str(), field.as_deref())) {
            Some(("binpack", _)) => return None,
            Some(("spread", Some(field))) => field.strip_prefix("attribute:").map(str::to_owned),
            None => Some(ZONE.to_owned()),
            Some(_) => None,
        }
    } else {
        return None;
    };
    let call = call(&service.scope, now);
    let launch = prepare(snapshot, &call, service, workload).ok()?;
    let places = match &attribute {
        Some(attribute) => values_to_balance(snapshot, &launch, attribute),
        None => daemon_instances(snapshot, &launch, &BTreeSet::new()),
    };
    Some(Balance { zones: service.availability_zone_rebalancing, attribute, places })
}

impl Balance {
    /// Where a task counts.
    pub fn place_of<'a>(&self, member: &'a Member, gathered: &'a Gathered) -> Option<Cow<'a, str>> {
        match self.attribute.as_deref() {
            None => gathered.seen.machine_arn(member).map(|arn| Cow::Owned(arn.to_string())),
            Some(ZONE) => member.zone.as_deref().map(Cow::Borrowed),
            Some(attribute) => {
                gathered.seen.machine(member)?.attribute(attribute).flatten().map(Cow::Borrowed)
            }
        }
    }

    /// Where a task must go to be in the place.
    pub fn spot(&self, place: &str) -> Spot {
        match self.attribute.as_deref() {
            None => Spot::Instances(vec![place.to_owned()]),
            Some(ZONE) => Spot::Zone(place.to_owned()),
            Some(attribute) => Spot::Attribute(attribute.to_owned(), place.to_owned()),
        }
    }

    /// Live tasks by place.
    pub fn counts(&self, gathered: &Gathered) -> BTreeMap<String, u32> {
        let mut counts: BTreeMap<String, u32> = self.places.iter().map(|place| (place.clone(), 0)).collect();
        for member in gathered.members().filter(|member| member.facts.live) {
            let place = self.place_of(member, gathered);
            if let Some(count) = place.and_then(|place| counts.get_mut(place.as_ref())) {
                *count += 1;
            }
        }
        counts
    }
}
