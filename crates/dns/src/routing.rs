//! Which of several record sets of a name and type answers. Source: "Choosing a routing policy" and "How Amazon Route 53
//! chooses records when health checking is configured", Amazon Route 53 developer guide.

use base::Region;
use domain::{FailoverRole, ResourceRecordSet, RoutingPolicy};

use crate::limits::MULTIVALUE_MAXIMUM;

/// The sets that answer: one, or up to eight of multivalue ones. Where none is healthy, all count as healthy.
pub fn choose<'a, S: AsRef<ResourceRecordSet>>(
    sets: &'a [S],
    is_healthy: impl Fn(&ResourceRecordSet) -> bool,
    region: &Region,
    chance: u64,
) -> Vec<&'a S> {
    let Some(first) = sets.first() else { return Vec::new() };
    let healthy: Vec<&S> = sets.iter().filter(|set| is_healthy((*set).as_ref())).collect();
    let all: Vec<&S> = sets.iter().collect();
    let usable = if healthy.is_empty() { all } else { healthy };
    match &first.as_ref().routing {
        RoutingPolicy::Simple => sets.iter().take(1).collect(),
        RoutingPolicy::Weighted(_) => weighted(sets, &usable, chance),
        RoutingPolicy::Failover(_) => {
            let with = |role| {
                usable.iter().find(|set| (**set).as_ref().routing == RoutingPolicy::Failover(role)).copied()
            };
            with(FailoverRole::Primary).or_else(|| with(FailoverRole::Secondary)).into_iter().collect()
        }
        RoutingPolicy::MultiValue => rotated(usable, chance, MULTIVALUE_MAXIMUM),
        RoutingPolicy::Latency(_) => {
            // All regions are this machine: the asker's own is nearest, all others are equally far.
            let own = usable
                .iter()
                .find(|set| matches!(&(**set).as_ref().routing, RoutingPolicy::Latency(at) if at == region));
            own.or(usable.first()).copied().into_iter().collect()
        }
        RoutingPolicy::Geolocation { .. } => {
            // Where a private address is nobody knows: the default answers, as documented for such addresses.
            let is_default = |set: &&&S| {
                matches!(&(**set).as_ref().routing,
                    RoutingPolicy::Geolocation { country: Some(country), .. } if country == "*")
            };
            usable.iter().find(is_default).copied().into_iter().collect()
        }
    }
}

/// By weight; a weight of 0 never answers, but where all have it, or where the others are unhealthy.
fn weighted<'a, S: AsRef<ResourceRecordSet>>(all: &'a [S], usable: &[&'a S], chance: u64) -> Vec<&'a S> {
    let weight = |set: &S| match set.as_ref().routing {
        RoutingPolicy::Weighted(weight) => u64::from(weight),
        _ => 0,
    };
    let sum: u64 = usable.iter().map(|set| weight(set)).sum();
    if sum == 0 {
        // Those of weight 0 are considered once no other is healthy.
        let candidates: Vec<&S> = if usable.is_empty() { all.iter().collect() } else { usable.to_vec() };
        return rotated(candidates, chance, 1);
    }
    let mut place = chance % sum;
    for set in usable {
        let weight = weight(set);
        if place < weight {
            return vec![*set];
        }
        place -= weight;
    }
    Vec::new()
}

/// At most `maximum` of the items, starting at a place by chance.
pub fn rotated<T>(mut items: Vec<T>, chance: u64, maximum: usize) -> Vec<T> {
    if !items.is_empty() {
        let by = (chance % items.len() as u64) as usize;
        items.rotate_left(by);
    }
    items.truncate(maximum);
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{DnsName, RecordSetContent, RecordType};

    struct Set(ResourceRecordSet);

    impl AsRef<ResourceRecordSet> for Set {
        fn as_ref(&self) -> &ResourceRecordSet {
            &self.0
        }
    }

    fn set(id: &str, routing: RoutingPolicy) -> Set {
        Set(ResourceRecordSet {
            hosted_zone: "Z1".to_owned(),
            name: DnsName::parse("a.example").unwrap(),
            record_type: RecordType::A,
            set_identifier: Some(id.to_owned()),
            routing,
            content: RecordSetContent::Records { ttl_seconds: 60, values: vec!["192.0.2.1".to_owned()] },
            health_check: None,
        })
    }

    fn chosen(sets: &[Set], unhealthy: &[&str], chance: u64) -> Vec<String> {
        let id = |set: &ResourceRecordSet| set.set_identifier.clone().unwrap();
        let region = "us-east-1".parse().unwrap();
        choose(sets, |set| !unhealthy.contains(&id(set).as_str()), &region, chance)
            .into_iter()
            .map(|set| id(&set.0))
            .collect()
    }

    #[test]
    fn weights_are_kept_exactly() {
        let sets = [1, 3, 0].map(|weight| set(&format!("w{weight}"), RoutingPolicy::Weighted(weight)));
        let count = |unhealthy: &[&str], id: &str| {
            (0..4).filter(|chance| chosen(&sets, unhealthy, *chance) == [id]).count()
        };
        assert_eq!((count(&[], "w1"), count(&[], "w3"), count(&[], "w0")), (1, 3, 0));
        assert_eq!(count(&["w3"], "w1"), 4);
        assert_eq!(count(&["w1", "w3"], "w0"), 4, "the last resort");
        assert_eq!(count(&["w0", "w1", "w3"], "w3"), 3, "none healthy: all are");
    }

    #[test]
    fn the_secondary_answers_while_the_primary_is_unhealthy() {
        let sets = [
            set("second", RoutingPolicy::Failover(FailoverRole::Secondary)),
            set("first", RoutingPolicy::Failover(FailoverRole::Primary)),
        ];
        assert_eq!(chosen(&sets, &[], 0), ["first"]);
        assert_eq!(chosen(&sets, &["first"], 0), ["second"]);
        assert_eq!(chosen(&sets, &["first", "second"], 0), ["first"]);
    }

    #[test]
    fn eight_healthy_ones_at_most_in_changing_order() {
        let sets: Vec<Set> = (0..12).map(|n| set(&format!("{n:02}"), RoutingPolicy::MultiValue)).collect();
        assert_eq!(chosen(&sets, &["00"], 0).len(), 8);
        assert!(!chosen(&sets, &["00"], 5).contains(&"00".to_owned()));
        assert_ne!(chosen(&sets, &[], 1), chosen(&sets, &[], 2));
    }

    #[test]
    fn the_own_region_and_the_default_place_answer() {
        let latency = |region: &str| set(region, RoutingPolicy::Latency(region.parse().unwrap()));
        let sets = [latency("eu-west-1"), latency("us-east-1")];
        assert_eq!(chosen(&sets, &[], 0), ["us-east-1"]);
        assert_eq!(chosen(&sets, &["us-east-1"], 0), ["eu-west-1"]);
        let place = |country: &str| {
            set(
                country,
                RoutingPolicy::Geolocation {
                    continent: None,
                    country: Some(country.to_owned()),
                    subdivision: None,
                },
            )
        };
        assert_eq!(chosen(&[place("DE"), place("*")], &[], 0), ["*"]);
        assert!(chosen(&[place("DE")], &[], 0).is_empty());
    }
}
