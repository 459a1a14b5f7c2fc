//! How many targets a target group may have, and a load balancer in all of those that it forwards to. Source: "Quotas for your
//! Application Load Balancers", "Quotas for your Network Load Balancers".

use std::collections::BTreeMap;

use crate::LoadBalancerType;

/// Targets of a target group.
pub const TARGETS_PER_TARGET_GROUP: usize = 1000;
/// Targets of all target groups of an application load balancer.
pub const TARGETS_PER_APPLICATION_LOAD_BALANCER: usize = 1000;
/// Targets of all target groups of a network load balancer.
pub const TARGETS_PER_NETWORK_LOAD_BALANCER: usize = 3000;
/// Those of them in one Availability Zone.
pub const TARGETS_PER_ZONE_OF_NETWORK_LOAD_BALANCER: usize = 500;
/// Registrations of one target, at several ports or in several target groups, with an application load balancer.
pub const REGISTRATIONS_PER_TARGET: usize = 1000;

/// A quota that one more target would be beyond; as a sentence without a full stop. The wording of the second is AWS's, the others
/// go by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetQuota {
    /// Of a target group, by its ARN.
    #[error(
        "The maximum number of targets per target group '{TARGETS_PER_TARGET_GROUP}' has been reached on target group '{0}'"
    )]
    TargetGroup(String),
    /// Of a load balancer: how many, and its ARN.
    #[error("The maximum number of targets per load balancer '{0}' has been reached on load balancer '{1}'")]
    LoadBalancer(usize, String),
    /// Of a zone of a network load balancer, by its ARN.
    #[error(
        "The maximum number of targets per Availability Zone '{TARGETS_PER_ZONE_OF_NETWORK_LOAD_BALANCER}' has been reached on load \
         balancer '{0}'"
    )]
    Zone(String),
    /// Of one target with a load balancer: the target, and the load balancer's ARN.
    #[error(
        "The maximum number of registrations per target '{REGISTRATIONS_PER_TARGET}' has been reached by target '{0}' on load \
         balancer '{1}'"
    )]
    Registrations(String, String),
}

/// The targets of a load balancer, counted. One counts as often as it is registered.
#[derive(Clone, Debug)]
pub struct LoadBalancerTargets {
    arn: String,
    load_balancer_type: LoadBalancerType,
    total: usize,
    of_target: BTreeMap<String, usize>,
    in_zone: BTreeMap<String, usize>,
}

impl LoadBalancerTargets {
    /// None as yet.
    pub const fn new(arn: String, load_balancer_type: LoadBalancerType) -> Self {
        Self { arn, load_balancer_type, total: 0, of_target: BTreeMap::new(), in_zone: BTreeMap::new() }
    }

    /// Counts one in, whatever the quotas say.
    pub fn count(&mut self, target: &str, zone: Option<&str>) {
        self.total += 1;
        *self.of_target.entry(target.to_owned()).or_insert(0) += 1;
        if let Some(zone) = zone {
            *self.in_zone.entry(zone.to_owned()).or_insert(0) += 1;
        }
    }

    /// Whether those that were counted are within the quotas; `target` and `zone` are what is looked at besides the total.
    pub fn check(&self, target: &str, zone: Option<&str>) -> Result<(), TargetQuota> {
        let maximum = if self.load_balancer_type == LoadBalancerType::Application {
            if self.of_target.get(target).is_some_and(|count| *count > REGISTRATIONS_PER_TARGET) {
                return Err(TargetQuota::Registrations(target.to_owned(), self.arn.clone()));
            }
            TARGETS_PER_APPLICATION_LOAD_BALANCER
        } else {
            TARGETS_PER_NETWORK_LOAD_BALANCER
        };
        if self.total > maximum {
            return Err(TargetQuota::LoadBalancer(maximum, self.arn.clone()));
        }
        let of_zone = zone.and_then(|zone| self.in_zone.get(zone)).copied().unwrap_or(0);
        let is_network = self.load_balancer_type == LoadBalancerType::Network;
        if is_network && of_zone > TARGETS_PER_ZONE_OF_NETWORK_LOAD_BALANCER {
            return Err(TargetQuota::Zone(self.arn.clone()));
        }
        Ok(())
    }

    /// Whether all those that were counted are within the quotas.
    pub fn check_all(&self) -> Result<(), TargetQuota> {
        self.of_target.keys().try_for_each(|target| self.check(target, None))?;
        self.in_zone.keys().try_for_each(|zone| self.check("", Some(zone)))
    }

    fn take_back(&mut self, target: &str, zone: Option<&str>) {
        self.total -= 1;
        let counts = [self.of_target.get_mut(target), zone.and_then(|zone| self.in_zone.get_mut(zone))];
        for count in counts.into_iter().flatten() {
            *count -= 1;
        }
    }
}

/// A target that is to be registered.
#[derive(Clone, Copy, Debug)]
pub struct NewTarget<'a> {
    /// The ARN of its target group.
    pub target_group: &'a str,
    /// An address or an instance id.
    pub target: &'a str,
    /// The zone that it is in, where it is in one.
    pub zone: Option<&'a str>,
}

/// The targets of target groups and of the load balancers that forward to them, counted.
#[derive(Clone, Debug, Default)]
pub struct TargetCounts {
    groups: BTreeMap<String, (usize, Vec<String>)>,
    load_balancers: BTreeMap<String, LoadBalancerTargets>,
}

impl TargetCounts {
    /// Takes a target group in: its ARN, how many targets it has, and the ARNs of the load balancers that forward to it.
    pub fn add_group(&mut self, arn: String, targets: usize, load_balancers: Vec<String>) {
        self.groups.insert(arn, (targets, load_balancers));
    }

    /// Whether the load balancer is counted.
    pub fn has_load_balancer(&self, arn: &str) -> bool {
        self.load_balancers.contains_key(arn)
    }

    /// Takes a load balancer in, with its targets in all groups that it forwards to.
    pub fn add_load_balancer(&mut self, targets: LoadBalancerTargets) {
        self.load_balancers.insert(targets.arn.clone(), targets);
    }

    /// Counts targets in, all of them or none. Groups that were not taken in have no quota.
    pub fn enter(&mut self, targets: &[NewTarget<'_>]) -> Result<(), TargetQuota> {
        for (index, new) in targets.iter().enumerate() {
            if let Err(quota) = self.enter_one(*new) {
                for entered in &targets[..=index] {
                    self.take_back(*entered);
                }
                return Err(quota);
            }
        }
        Ok(())
    }

    /// Counts it in, and then says whether that is too many.
    fn enter_one(&mut self, new: NewTarget<'_>) -> Result<(), TargetQuota> {
        let Some((count, load_balancers)) = self.groups.get_mut(new.target_group) else { return Ok(()) };
        *count += 1;
        let mut entered = if *count > TARGETS_PER_TARGET_GROUP {
            Err(TargetQuota::TargetGroup(new.target_group.to_owned()))
        } else {
            Ok(())
        };
        for arn in load_balancers {
            if let Some(load_balancer) = self.load_balancers.get_mut(arn) {
                load_balancer.count(new.target, new.zone);
                entered = load_balancer.check(new.target, new.zone).and(entered);
            }
        }
        entered
    }

    fn take_back(&mut self, entered: NewTarget<'_>) {
        let Some((count, load_balancers)) = self.groups.get_mut(entered.target_group) else { return };
        *count -= 1;
        for arn in load_balancers {
            if let Some(load_balancer) = self.load_balancers.get_mut(arn) {
                load_balancer.take_back(entered.target, entered.zone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(kind: LoadBalancerType, of_group: usize, of_load_balancer: usize) -> TargetCounts {
        let mut counts = TargetCounts::default();
        counts.add_group("g".to_owned(), of_group, vec!["lb".to_owned()]);
        let mut load_balancer = LoadBalancerTargets::new("lb".to_owned(), kind);
        for number in 0..of_load_balancer {
            load_balancer.count(&number.to_string(), Some("a"));
        }
        counts.add_load_balancer(load_balancer);
        counts
    }

    fn new(target: &str) -> NewTarget<'_> {
        NewTarget { target_group: "g", target, zone: Some("a") }
    }

    #[test]
    fn the_last_one_that_there_is_room_for() {
        let mut group = counts(LoadBalancerType::Application, 998, 10);
        assert_eq!(group.enter(&[new("x")]), Ok(()));
        // All or none: the first of two has room, and gives it back.
        assert_eq!(group.enter(&[new("y"), new("z")]), Err(TargetQuota::TargetGroup("g".to_owned())));
        assert_eq!(group.enter(&[new("y")]), Ok(()));
        assert_eq!(group.enter(&[new("z")]), Err(TargetQuota::TargetGroup("g".to_owned())));

        let mut application = counts(LoadBalancerType::Application, 5, 999);
        assert_eq!(application.enter(&[new("x")]), Ok(()));
        let full = application.enter(&[new("y")]).unwrap_err();
        assert_eq!(
            full.to_string(),
            "The maximum number of targets per load balancer '1000' has been reached on load balancer 'lb'"
        );
        let mut network = counts(LoadBalancerType::Network, 5, 499);
        assert_eq!(network.enter(&[new("x")]), Ok(()));
        assert_eq!(network.enter(&[new("y")]), Err(TargetQuota::Zone("lb".to_owned())));
        let elsewhere = NewTarget { zone: Some("b"), ..new("y") };
        assert_eq!(network.enter(&[elsewhere]), Ok(()));
        let unknown = NewTarget { target_group: "other", ..new("y") };
        assert_eq!(network.enter(&[unknown]), Ok(()));
    }
}
