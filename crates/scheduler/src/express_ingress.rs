//! What stands in front of Express services: which load balancer a new one shares, and what is to be made, changed and taken
//! away of load balancers, listeners, rules, target groups, certificates and security groups.
//!
//! Source: AWS, "Resources created by Amazon ECS Express Mode services".
//!
//! Vocabulary: a *path* is the way to one service: a rule for its host name, two target groups that deployments shift traffic
//! between, a certificate, and a security group that lets the load balancer in. A path is *wanted* as long as its service is
//! there, also while that drains: its tasks drain through it. What a path that is not wanted has goes at once, but for the
//! security group, which stays until no interface and no other group's rule names it; the path is forgotten with it. The load
//! balancer goes with its last path.

use std::collections::BTreeSet;

/// Services that share a load balancer at most. Source: "Resources created by Amazon ECS Express Mode services".
pub const SERVICES_PER_LOAD_BALANCER: usize = 25;

/// The last priority of a rule: never reached, as paths are few. Source: CreateRule, `Priority`.
const PRIORITY_MAXIMUM: u32 = 50_000;

/// What a new service asks of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The VPC's id.
    pub vpc: &'a str,
    /// `internet-facing` or `internal`.
    pub scheme: &'a str,
    /// Zones of the service's subnets: a load balancer sends nothing to targets in zones that it is not in.
    pub zones: BTreeSet<&'a str>,
}

/// A load balancer that could be shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared<'a> {
    /// The VPC's id.
    pub vpc: &'a str,
    /// `internet-facing` or `internal`.
    pub scheme: &'a str,
    /// Its zones.
    pub zones: BTreeSet<&'a str>,
    /// Paths that it has, those on their way out too.
    pub paths: usize,
}

/// The place of the load balancer that a new service shares: the first that fits and has room. `None`: a new one.
pub fn choose(wanted: &Wanted, there: &[Shared]) -> Option<usize> {
    there.iter().position(|shared| {
        shared.vpc == wanted.vpc
            && shared.scheme == wanted.scheme
            && wanted.zones.is_subset(&shared.zones)
            && shared.paths < SERVICES_PER_LOAD_BALANCER
    })
}

/// The priority of a new path's rule: the lowest that is free.
pub fn free_priority(taken: &BTreeSet<u32>) -> u32 {
    (1..=PRIORITY_MAXIMUM).find(|priority| !taken.contains(priority)).unwrap_or(PRIORITY_MAXIMUM)
}

/// What is wished for on one load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Its paths, in the order in which they were made.
    pub paths: Vec<Path>,
}

/// A path as it is wished for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// Whether its service is there.
    pub is_wanted: bool,
    /// Ports of its revisions' containers, those of older revisions that still run too.
    pub ports: BTreeSet<u16>,
    /// Port and path of the health check of each target group: those of the revision that is in it.
    pub checks: [Check; 2],
}

/// What a target group asks its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// The group's port.
    pub port: u16,
    /// Path of the health check.
    pub path: String,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The load balancer.
    pub has_load_balancer: bool,
    /// Places of the paths whose certificates the listener has, in its order; `None`: there is no listener. A certificate
    /// that is none of theirs is `None`.
    pub listener: Option<Vec<Option<usize>>>,
    /// The load balancer's security group.
    pub has_security_group: bool,
    /// Whether something else than the load balancer and the paths' groups uses that group.
    pub is_security_group_used: bool,
    /// Of each of [`Desired::paths`], in the same order.
    pub paths: Vec<PathSeen>,
}

/// What there is of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathSeen {
    /// Whether it says of itself that it is there.
    pub is_active: bool,
    /// The certificate.
    pub has_certificate: bool,
    /// The rule.
    pub has_rule: bool,
    /// What the target groups ask; `None`: there is no such group.
    pub target_groups: [Option<Check>; 2],
    /// Ports that the security group opens to the load balancer; `None`: there is no group.
    pub open_ports: Option<BTreeSet<u16>>,
    /// Whether an interface has the group, or another group's rule names it.
    pub is_security_group_used: bool,
}

/// What to do. Paths by their place in [`Desired::paths`]. Each action makes, changes or removes one thing, and none of them
/// is asked for twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the load balancer's security group.
    MakeSecurityGroup,
    /// Make the load balancer.
    MakeLoadBalancer,
    /// Make the listener, with the certificates of these paths.
    MakeListener(Vec<usize>),
    /// Give the listener the certificates of these paths, the default one first.
    Serve(Vec<usize>),
    /// Make a certificate.
    MakeCertificate(usize),
    /// Make the tasks' security group, with these ports open to the load balancer.
    MakeServiceGroup(usize, BTreeSet<u16>),
    /// Open these ports, and no others.
    Open(usize, BTreeSet<u16>),
    /// Make one of the target groups.
    MakeTargetGroup(usize, usize, Check),
    /// Have one of the target groups ask this.
    Check(usize, usize, Check),
    /// Make the rule.
    MakeRule(usize),
    /// Say that the path is there: its service's tasks may start.
    Activate(usize),
    /// Take rule, target groups and certificate away, as far as they are there.
    Remove(usize),
    /// Say that the path is on its way out, since its security group is still used.
    Wait(usize),
    /// Take the security group away, and the path itself.
    Forget(usize),
    /// Take the load balancer away, with its listener.
    RemoveLoadBalancer,
    /// Take its security group away, and forget it.
    ForgetLoadBalancer,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In the order in which it is to be done.
    pub actions: Vec<Action>,
    /// Whether something stays only because somebody still uses it: nothing of ours changes when that ends.
    pub waits: bool,
}

/// Decides what is to be done for one load balancer.
pub fn decide(desired: &Desired, observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    let places = || desired.paths.iter().zip(&observed.paths).enumerate();
    let wanted: Vec<usize> = places().filter(|(_, (path, _))| path.is_wanted).map(|(at, _)| at).collect();
    if !wanted.is_empty() {
        make_load_balancer(&wanted, observed, &mut decision.actions);
    }
    for (at, (path, seen)) in places() {
        if path.is_wanted {
            make_path(at, path, seen, &mut decision.actions);
        } else {
            remove_path(at, seen, &mut decision);
        }
    }
    if wanted.is_empty() {
        remove_load_balancer(observed, &mut decision);
    }
    decision
}

fn make_load_balancer(wanted: &[usize], observed: &Observed, actions: &mut Vec<Action>) {
    if !observed.has_security_group {
        actions.push(Action::MakeSecurityGroup);
    }
    if !observed.has_load_balancer {
        actions.push(Action::MakeLoadBalancer);
    }
    match &observed.listener {
        None => actions.push(Action::MakeListener(wanted.to_vec())),
        Some(there) => {
            // Certificates that somebody added stay, behind ours.
            let ours: Vec<usize> = there.iter().copied().flatten().collect();
            if ours != wanted {
                actions.push(Action::Serve(wanted.to_vec()));
            }
        }
    }
}

fn make_path(at: usize, path: &Path, seen: &PathSeen, actions: &mut Vec<Action>) {
    if !seen.has_certificate {
        actions.push(Action::MakeCertificate(at));
    }
    match &seen.open_ports {
        None => actions.push(Action::MakeServiceGroup(at, path.ports.clone())),
        Some(open) if *open != path.ports => actions.push(Action::Open(at, path.ports.clone())),
        Some(_) => {}
    }
    for (group, (check, there)) in path.checks.iter().zip(&seen.target_groups).enumerate() {
        match there {
            None => actions.push(Action::MakeTargetGroup(at, group, check.clone())),
            Some(there) if there != check => actions.push(Action::Check(at, group, check.clone())),
            Some(_) => {}
        }
    }
    if !seen.has_rule {
        actions.push(Action::MakeRule(at));
    }
    if !seen.is_active {
        actions.push(Action::Activate(at));
    }
}

fn remove_path(at: usize, seen: &PathSeen, decision: &mut Decision) {
    let has_parts = seen.has_rule || seen.has_certificate || seen.target_groups.iter().any(Option::is_some);
    if has_parts {
        decision.actions.push(Action::Remove(at));
    }
    if seen.open_ports.is_some() && seen.is_security_group_used {
        decision.waits = true;
        if seen.is_active {
            decision.actions.push(Action::Wait(at));
        }
    } else {
        decision.actions.push(Action::Forget(at));
    }
}

fn remove_load_balancer(observed: &Observed, decision: &mut Decision) {
    if observed.has_load_balancer {
        decision.actions.push(Action::RemoveLoadBalancer);
    }
    // Groups that stay have a rule that names this one.
    if decision.waits || (observed.has_security_group && observed.is_security_group_used) {
        decision.waits = true;
    } else {
        decision.actions.push(Action::ForgetLoadBalancer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str) -> Check {
        Check { port: 80, path: path.to_owned() }
    }

    fn wanted() -> Path {
        Path { is_wanted: true, ports: [80].into(), checks: [check("/ping"), check("/ping")] }
    }

    /// What there is once everything was made.
    fn complete() -> PathSeen {
        PathSeen {
            is_active: true,
            has_certificate: true,
            has_rule: true,
            target_groups: [Some(check("/ping")), Some(check("/ping"))],
            open_ports: Some([80].into()),
            is_security_group_used: true,
        }
    }

    fn standing(paths: Vec<PathSeen>) -> Observed {
        Observed {
            has_load_balancer: true,
            listener: Some((0..paths.len()).map(Some).collect()),
            has_security_group: true,
            is_security_group_used: false,
            paths,
        }
    }

    fn actions(paths: Vec<Path>, observed: &Observed) -> Vec<Action> {
        decide(&Desired { paths }, observed).actions
    }

    #[test]
    fn a_first_service_gets_everything() {
        let observed = Observed { paths: vec![PathSeen::default()], ..Observed::default() };
        assert_eq!(
            actions(vec![wanted()], &observed),
            [
                Action::MakeSecurityGroup,
                Action::MakeLoadBalancer,
                Action::MakeListener(vec![0]),
                Action::MakeCertificate(0),
                Action::MakeServiceGroup(0, [80].into()),
                Action::MakeTargetGroup(0, 0, check("/ping")),
                Action::MakeTargetGroup(0, 1, check("/ping")),
                Action::MakeRule(0),
                Action::Activate(0),
            ]
        );
    }

    #[test]
    fn what_is_there_stays() {
        let observed = standing(vec![complete(), complete()]);
        assert_eq!(decide(&Desired { paths: vec![wanted(), wanted()] }, &observed), Decision::default());
    }

    #[test]
    fn a_new_revision_has_its_own_check_and_port() {
        let mut path = wanted();
        path.ports.insert(8080);
        path.checks[1] = Check { port: 8080, path: "/health".to_owned() };
        assert_eq!(
            actions(vec![path.clone()], &standing(vec![complete()])),
            [Action::Open(0, [80, 8080].into()), Action::Check(0, 1, path.checks[1].clone())]
        );
    }

    #[test]
    fn one_of_two_goes_and_the_load_balancer_stays() {
        let gone = Path::default();
        let free = PathSeen { is_security_group_used: false, ..complete() };
        assert_eq!(
            actions(vec![gone, wanted()], &standing(vec![free, complete()])),
            [Action::Serve(vec![1]), Action::Remove(0), Action::Forget(0)]
        );
    }

    #[test]
    fn the_last_one_takes_the_load_balancer_along() {
        let free = PathSeen { is_security_group_used: false, ..complete() };
        assert_eq!(
            actions(vec![Path::default()], &standing(vec![free])),
            [Action::Remove(0), Action::Forget(0), Action::RemoveLoadBalancer, Action::ForgetLoadBalancer]
        );
    }

    #[test]
    fn a_group_that_is_used_is_waited_for() {
        let decision = decide(&Desired { paths: vec![Path::default()] }, &standing(vec![complete()]));
        assert_eq!(decision.actions, [Action::Remove(0), Action::Wait(0), Action::RemoveLoadBalancer]);
        assert!(decision.waits);
        let removed = PathSeen {
            is_active: false,
            has_certificate: false,
            has_rule: false,
            target_groups: [None, None],
            ..complete()
        };
        let bare = Observed { has_load_balancer: false, listener: None, ..standing(vec![removed]) };
        let decision = decide(&Desired { paths: vec![Path::default()] }, &bare);
        assert_eq!((decision.actions, decision.waits), (vec![], true));
    }

    #[test]
    fn a_load_balancer_has_room_for_twenty_five() {
        let zones: BTreeSet<&str> = ["a", "b"].into();
        let wanted = Wanted { vpc: "vpc-1", scheme: "internet-facing", zones: zones.clone() };
        let there = |paths, vpc, scheme, zones| Shared { vpc, scheme, zones, paths };
        let full = there(25, "vpc-1", "internet-facing", zones.clone());
        let room = there(24, "vpc-1", "internet-facing", zones.clone());
        let others = [
            there(0, "vpc-2", "internet-facing", zones.clone()),
            there(0, "vpc-1", "internal", zones.clone()),
            there(0, "vpc-1", "internet-facing", ["a"].into()),
        ];
        assert_eq!(choose(&wanted, &[full.clone(), room]), Some(1));
        assert_eq!(choose(&wanted, &[full]), None);
        assert_eq!(choose(&wanted, &others), None);
        assert_eq!(free_priority(&[1, 2, 4].into()), 3);
    }

    fn seen() -> impl Strategy<Value = PathSeen> {
        let group = || proptest::option::of(prop_oneof![Just(check("/ping")), Just(check("/old"))]);
        let ports = proptest::option::of(proptest::collection::btree_set(80_u16..83, 0..3));
        (any::<[bool; 4]>(), group(), group(), ports).prop_map(|(flags, one, other, open_ports)| PathSeen {
            is_active: flags[0],
            has_certificate: flags[1],
            has_rule: flags[2],
            target_groups: [one, other],
            open_ports,
            is_security_group_used: flags[3],
        })
    }

    /// What is there after the actions.
    fn after(desired: &Desired, observed: &Observed, decision: &Decision) -> (Desired, Observed) {
        let (mut desired, mut next) = (desired.clone(), observed.clone());
        let mut forgotten = BTreeSet::new();
        for action in &decision.actions {
            match action.clone() {
                Action::MakeSecurityGroup => next.has_security_group = true,
                Action::MakeLoadBalancer => next.has_load_balancer = true,
                Action::MakeListener(paths) | Action::Serve(paths) => {
                    next.listener = Some(paths.into_iter().map(Some).collect());
                }
                Action::MakeCertificate(at) => next.paths[at].has_certificate = true,
                Action::MakeServiceGroup(at, ports) | Action::Open(at, ports) => {
                    next.paths[at].open_ports = Some(ports);
                }
                Action::MakeTargetGroup(at, group, check) | Action::Check(at, group, check) => {
                    next.paths[at].target_groups[group] = Some(check);
                }
                Action::MakeRule(at) => next.paths[at].has_rule = true,
                Action::Activate(at) => next.paths[at].is_active = true,
                Action::Remove(at) => {
                    let there = &mut next.paths[at];
                    (there.has_rule, there.has_certificate) = (false, false);
                    there.target_groups = [None, None];
                }
                Action::Wait(at) => next.paths[at].is_active = false,
                Action::Forget(at) => {
                    forgotten.insert(at);
                }
                Action::RemoveLoadBalancer => (next.has_load_balancer, next.listener) = (false, None),
                Action::ForgetLoadBalancer => next.has_security_group = false,
            }
        }
        let kept: Vec<usize> = (0..next.paths.len()).filter(|at| !forgotten.contains(at)).collect();
        desired.paths = kept.iter().map(|at| desired.paths[*at].clone()).collect();
        next.paths = kept.iter().map(|at| next.paths[*at].clone()).collect();
        let place = |at: Option<usize>| at.and_then(|at| kept.iter().position(|kept| *kept == at));
        next.listener = next.listener.map(|there| there.into_iter().map(place).collect());
        (desired, next)
    }

    proptest! {
        /// Whatever is there, one pass makes the wish true, and a second one finds nothing to do.
        #[test]
        fn one_pass_is_enough(
            paths in proptest::collection::vec((any::<bool>(), seen()), 0..4),
            flags in any::<[bool; 3]>(),
            listener in proptest::option::of(proptest::collection::vec(proptest::option::of(0_usize..4), 0..4)),
        ) {
            let desired = Desired {
                paths: paths
                    .iter()
                    .map(|(is_wanted, _)| Path { is_wanted: *is_wanted, ..wanted() })
                    .collect(),
            };
            let observed = Observed {
                has_load_balancer: flags[0],
                // A listener goes with its load balancer.
                listener: listener.filter(|_| flags[0]),
                has_security_group: flags[1],
                is_security_group_used: flags[2],
                paths: paths.into_iter().map(|(_, seen)| seen).collect(),
            };
            let decision = decide(&desired, &observed);
            let (desired, observed) = after(&desired, &observed, &decision);
            let is_gone = decision.actions.contains(&Action::ForgetLoadBalancer);
            prop_assert_eq!(is_gone, desired.paths.is_empty() && !decision.waits);
            if !is_gone {
                prop_assert_eq!(decide(&desired, &observed).actions, vec![]);
            }
            for (path, seen) in desired.paths.iter().zip(&observed.paths) {
                prop_assert_eq!(path.is_wanted, seen.has_rule && seen.is_active && seen.has_certificate);
            }
        }
    }
}
