//! Where tasks go: constraints, resources, ports, strategies; and for each container instance refused, why.
//!
//! Source: AWS, "How Amazon ECS places tasks on container instances": instances are filtered by attributes and
//! resources, then by constraints, then chosen by the strategies in the order given.
//!
//! Vocabulary: a *candidate* is a container instance that could take tasks at all; it is *refused* for a [`Reason`]
//! or is *fit*. Among the fit ones the strategies leave the *best*; of several best the seed picks one.

pub mod explain;
pub mod plain;
mod ranking;
mod room;
mod touched;

use std::collections::BTreeSet;

use base::Timestamp;
use domain::{ContainerInstance, ContainerInstanceStatus, Resources};

use crate::cluster_query_language::{Expression, Subject};

pub use room::Room;

/// Strategies that count; further ones are passed over. Source: RunTask takes five.
pub const STRATEGIES_MAXIMUM: usize = 5;

/// A rule on where a task may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// No two tasks of the group on one instance.
    DistinctInstance,
    /// Only on instances that the expression selects.
    MemberOf(Expression),
}

/// A preference among the instances where a task may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Any.
    Random,
    /// Evenly over the values of an attribute; `None` is over the instances themselves.
    Spread(Option<String>),
    /// Where the least CPU is left.
    BinpackCpu,
    /// Where the least memory is left.
    BinpackMemory,
}

/// What is to be placed: tasks that are all alike.
#[derive(Clone, Debug)]
pub struct Desired<'a> {
    /// How many.
    pub count: usize,
    /// Their group.
    pub group: &'a str,
    /// What one of them takes (ports: the fixed ones on the host).
    pub resources: &'a Resources,
    /// Whole GPUs that one of them takes.
    pub gpus: usize,
    /// Attributes that the instance must have, and the value where one is needed.
    pub required_attributes: &'a [(String, Option<String>)],
    /// All must hold.
    pub constraints: &'a [Constraint],
    /// First to last.
    pub strategies: &'a [Strategy],
    /// Availability zones of the subnets given; `None` where the zone does not matter.
    pub availability_zones: Option<&'a BTreeSet<String>>,
    /// Where chance comes from.
    pub seed: u64,
}

/// A task on a candidate, as far as placement cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedTask {
    /// Its group.
    pub group: String,
    /// Whether it is RUNNING.
    pub running: bool,
}

/// A container instance and what is on it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The instance.
    pub container_instance: &'a ContainerInstance,
    /// What tasks hold of it already.
    pub held: Resources,
    /// Its tasks that are not stopped.
    pub tasks: Vec<PlacedTask>,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Observed<'a> {
    /// In a stable order.
    pub candidates: Vec<Candidate<'a>>,
}

/// Why a candidate was refused, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The instance was deregistered, or drains.
    Inactive,
    /// Its agent is not connected.
    Agent,
    /// It lacks an attribute that the task definition needs.
    Attribute,
    /// It lies in none of the subnets' zones.
    Location,
    /// A `memberOf` constraint does not select it.
    MemberOf,
    /// A task of the group is there already.
    DistinctInstance,
    /// Not enough CPU units.
    ResourceCpu,
    /// Not enough memory.
    ResourceMemory,
    /// A port is taken.
    ResourcePorts,
    /// Not enough free GPUs.
    ResourceGpu,
}

impl Reason {
    /// AWS's text. Source: "Amazon ECS API failure reasons".
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Inactive => "INACTIVE",
            Self::Agent => "AGENT",
            Self::Attribute => "ATTRIBUTE",
            Self::Location => "LOCATION",
            Self::MemberOf => "MemberOf placement constraint unsatisfied.",
            Self::DistinctInstance => "DistinctInstance placement constraint unsatisfied.",
            Self::ResourceCpu => "RESOURCE:CPU",
            Self::ResourceMemory => "RESOURCE:MEMORY",
            Self::ResourcePorts => "RESOURCE:PORTS",
            Self::ResourceGpu => "RESOURCE:GPU",
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put one task on a candidate.
    Place {
        /// Index in [`Observed::candidates`].
        candidate: usize,
        /// The GPUs that it gets.
        gpu_ids: BTreeSet<String>,
    },
}

/// Why fewer tasks than wanted were placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// For the first task that found no place: every candidate and its reason. Empty when all were placed.
    pub refusals: Vec<(usize, Reason)>,
}

/// What to do, and why no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// One for each task that found a place.
    pub actions: Vec<Action>,
    /// Why not all did.
    pub report: Report,
}

/// Finds places for as many of the tasks as there is room for.
///
/// Whoever places often keeps a [`Room`] instead, which does not look at every candidate again for each call.
pub fn decide(desired: &Desired<'_>, observed: &Observed<'_>, _now: Timestamp) -> Decision {
    Room::of(observed).place(desired)
}

/// Why the candidate cannot take one more of the tasks; `None` if it can.
pub fn refusal(desired: &Desired<'_>, candidate: &Candidate<'_>) -> Option<Reason> {
    let instance = candidate.container_instance;
    if instance.status != ContainerInstanceStatus::Active {
        return Some(Reason::Inactive);
    }
    if !instance.agent_connected {
        return Some(Reason::Agent);
    }
    let has = |(name, wanted): &(String, Option<String>)| match instance.attribute(name) {
        None => false,
        Some(value) => wanted.as_deref().is_none_or(|wanted| value == Some(wanted)),
    };
    if !desired.required_attributes.iter().all(has) {
        return Some(Reason::Attribute);
    }
    if let Some(zones) = desired.availability_zones {
        let zone = instance.attribute("ecs.availability-zone").flatten();
        if !zone.is_some_and(|zone| zones.contains(zone)) {
            return Some(Reason::Location);
        }
    }
    constraint_refusal(desired, candidate).or_else(|| resource_refusal(desired, candidate))
}

fn constraint_refusal(desired: &Desired<'_>, candidate: &Candidate<'_>) -> Option<Reason> {
    let groups: Vec<String> = candidate.tasks.iter().map(|task| task.group.clone()).collect();
    for constraint in desired.constraints {
        match constraint {
            Constraint::DistinctInstance if groups.iter().any(|group| group == desired.group) => {
                return Some(Reason::DistinctInstance);
            }
            Constraint::MemberOf(expression) => {
                let running_tasks = candidate.tasks.iter().filter(|task| task.running).count();
                let container_instance = candidate.container_instance;
                if !expression.selects(Subject { container_instance, groups: &groups, running_tasks }) {
                    return Some(Reason::MemberOf);
                }
            }
            Constraint::DistinctInstance => {}
        }
    }
    None
}

fn resource_refusal(desired: &Desired<'_>, candidate: &Candidate<'_>) -> Option<Reason> {
    let remaining = candidate.container_instance.remaining(&candidate.held);
    if desired.resources.cpu_units > remaining.cpu_units {
        Some(Reason::ResourceCpu)
    } else if desired.resources.memory_mib > remaining.memory_mib {
        Some(Reason::ResourceMemory)
    } else if !desired.resources.ports.is_disjoint(&remaining.ports) {
        Some(Reason::ResourcePorts)
    } else if desired.gpus > remaining.gpu_ids.len() {
        Some(Reason::ResourceGpu)
    } else {
        None
    }
}

/// A repeatable stream of numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, not including, `bound` (at least 1).
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % (bound.max(1) as u64)) as usize
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Strategy;
    use super::*;
    use crate::laws;
    use base::Scope;
    use domain::{Attribute, Ports, VersionInfo};
    use proptest::prelude::*;

    pub(crate) fn instance(number: usize, cpu_units: i64, memory_mib: i64) -> ContainerInstance {
        ContainerInstance {
            scope: Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap()),
            id: format!("{number:032x}"),
            cluster: "default".into(),
            ec2_instance_id: format!("i-{number:017x}"),
            status: ContainerInstanceStatus::Active,
            status_reason: None,
            agent_connected: true,
            version: 1,
            registered: Resources {
                cpu_units,
                memory_mib,
                ports: Ports { tcp: [22].into(), udp: BTreeSet::new() },
                gpu_ids: BTreeSet::new(),
            },
            attributes: vec![Attribute {
                name: "ecs.availability-zone".into(),
                value: Some(["us-east-1a", "us-east-1b", "us-east-1c"][number % 3].into()),
            }],
            version_info: VersionInfo::default(),
            registered_at: Timestamp::default(),
            capacity_provider: None,
            tags: Vec::new(),
            fargate_capacity: false,
            over_commit_percent: 100,
            session_epoch: 0,
            node_access_key_id: None,
        }
    }

    fn take(cpu_units: i64, memory_mib: i64) -> Resources {
        Resources { cpu_units, memory_mib, ..Resources::default() }
    }

    fn desired<'a>(count: usize, resources: &'a Resources, strategies: &'a [Strategy]) -> Desired<'a> {
        Desired {
            count,
            group: "family:web",
            resources,
            gpus: 0,
            required_attributes: &[],
            constraints: &[],
            strategies,
            availability_zones: None,
            seed: 7,
        }
    }

    fn observed(instances: &[ContainerInstance]) -> Observed<'_> {
        let candidates = instances
            .iter()
            .map(|container_instance| Candidate {
                container_instance,
                held: Resources::default(),
                tasks: Vec::new(),
            })
            .collect();
        Observed { candidates }
    }

    fn places(decision: &Decision) -> Vec<usize> {
        decision.actions.iter().map(|Action::Place { candidate, .. }| *candidate).collect()
    }

    #[test]
    fn what_does_not_fit_is_reported_by_instance() {
        let instances = [instance(0, 1024, 512), instance(1, 256, 4096)];
        let resources = take(512, 1024);
        let decision = decide(&desired(1, &resources, &[]), &observed(&instances), Timestamp::default());
        assert!(decision.actions.is_empty());
        assert_eq!(decision.report.refusals, [(0, Reason::ResourceMemory), (1, Reason::ResourceCpu)]);
    }

    #[test]
    fn as_many_as_fit_are_placed() {
        let instances = [instance(0, 1024, 1024)];
        let resources = take(256, 400);
        let decision = decide(&desired(5, &resources, &[]), &observed(&instances), Timestamp::default());
        assert_eq!(places(&decision), [0, 0]);
        assert_eq!(decision.report.refusals, [(0, Reason::ResourceMemory)]);
    }

    #[test]
    fn reasons_other_than_resources() {
        let resources = take(1, 1);
        let base = desired(1, &resources, &[]);
        let mut away = instance(0, 100, 100);
        away.agent_connected = false;
        let mut draining = instance(0, 100, 100);
        draining.status = ContainerInstanceStatus::Draining;
        let here = instance(0, 100, 100);
        let reason = |desired: &Desired<'_>, instance: &ContainerInstance| {
            refusal(desired, &observed(std::slice::from_ref(instance)).candidates[0])
        };
        assert_eq!(reason(&base, &away), Some(Reason::Agent));
        assert_eq!(reason(&base, &draining), Some(Reason::Inactive));
        assert_eq!(reason(&base, &here), None);

        let attributes = [("ecs.capability.task-eni".to_owned(), None)];
        let needs = Desired { required_attributes: &attributes, ..base.clone() };
        assert_eq!(reason(&needs, &here), Some(Reason::Attribute));
        let zones = ["us-east-1b".to_owned()].into();
        let elsewhere = Desired { availability_zones: Some(&zones), ..base.clone() };
        assert_eq!(reason(&elsewhere, &here), Some(Reason::Location));
        let member = [Constraint::MemberOf(Expression::parse("attribute:stack == prod").unwrap())];
        let member = Desired { constraints: &member, ..base.clone() };
        assert_eq!(reason(&member, &here), Some(Reason::MemberOf));
        let gpus = Desired { gpus: 1, ..base.clone() };
        assert_eq!(reason(&gpus, &here), Some(Reason::ResourceGpu));
        let ssh = Resources { ports: Ports { tcp: [22].into(), udp: BTreeSet::new() }, ..take(1, 1) };
        assert_eq!(reason(&desired(1, &ssh, &[]), &here), Some(Reason::ResourcePorts));
    }

    #[test]
    fn a_fixed_port_is_taken_once_an_instance() {
        let instances = [instance(0, 1024, 1024), instance(1, 1024, 1024)];
        let web = Resources { ports: Ports { tcp: [80].into(), udp: BTreeSet::new() }, ..take(1, 1) };
        let decision = decide(&desired(3, &web, &[]), &observed(&instances), Timestamp::default());
        assert_eq!(places(&decision).into_iter().collect::<BTreeSet<_>>(), [0, 1].into());
        assert_eq!(decision.report.refusals, [(0, Reason::ResourcePorts), (1, Reason::ResourcePorts)]);
    }

    #[test]
    fn over_commit_is_a_setting() {
        let mut machine = instance(0, 1000, 1000);
        machine.over_commit_percent = 250;
        let resources = take(500, 500);
        let decision = decide(&desired(9, &resources, &[]), &observed(&[machine]), Timestamp::default());
        assert_eq!(decision.actions.len(), 5);
    }

    #[test]
    fn strategies_in_their_order() {
        let instances: Vec<_> =
            (0..6).map(|number| instance(number, 4096 - 100 * number as i64, 4096)).collect();
        let resources = take(100, 100);
        let spread = [Strategy::Spread(Some("ecs.availability-zone".into())), Strategy::BinpackCpu];
        let decision = decide(&desired(3, &resources, &spread), &observed(&instances), Timestamp::default());
        // One a zone, and in each zone the instance with the least CPU left.
        assert_eq!(places(&decision).into_iter().collect::<BTreeSet<_>>(), [3, 4, 5].into());
        let pack = [Strategy::BinpackMemory];
        let decision = decide(&desired(3, &resources, &pack), &observed(&instances), Timestamp::default());
        let there = places(&decision);
        assert!(there.iter().all(|place| *place == there[0]), "{there:?}");
        let spread = [Strategy::Spread(None)];
        let decision = decide(&desired(6, &resources, &spread), &observed(&instances), Timestamp::default());
        assert_eq!(places(&decision).into_iter().collect::<BTreeSet<_>>().len(), 6);
    }

    #[test]
    fn distinct_instances() {
        let instances = [instance(0, 1024, 1024), instance(1, 1024, 1024)];
        let resources = take(1, 1);
        let constraints = [Constraint::DistinctInstance];
        let desired = Desired { constraints: &constraints, ..desired(3, &resources, &[]) };
        let decision = decide(&desired, &observed(&instances), Timestamp::default());
        assert_eq!(decision.actions.len(), 2);
        assert_eq!(decision.report.refusals, [(0, Reason::DistinctInstance), (1, Reason::DistinctInstance)]);
    }

    #[test]
    fn gpus_are_given_out_by_id() {
        let mut machine = instance(0, 1024, 1024);
        machine.registered.gpu_ids = ["gpu0".to_owned(), "gpu1".to_owned(), "gpu2".to_owned()].into();
        let resources = take(1, 1);
        let desired = Desired { gpus: 2, ..desired(2, &resources, &[]) };
        let decision = decide(&desired, &observed(&[machine]), Timestamp::default());
        let [Action::Place { gpu_ids, .. }] = &decision.actions[..] else { panic!("{decision:?}") };
        assert_eq!(*gpu_ids, ["gpu0".to_owned(), "gpu1".to_owned()].into());
        assert_eq!(decision.report.refusals, [(0, Reason::ResourceGpu)]);
    }

    proptest! {
        #[test]
        fn the_laws_hold(
            machines in prop::collection::vec((0_i64..4000, 0_i64..4000, 100_i64..300), 0..5),
            count in 0_usize..12,
            cpu in 0_i64..1500,
            memory in 1_i64..1500,
            port in prop::option::of(20_u16..24),
            seed: u64,
            order in 0_usize..5,
        ) {
            let instances: Vec<_> = machines.iter().enumerate().map(|(number, (cpu, memory, percent))| {
                let mut machine = instance(number, *cpu, *memory);
                machine.over_commit_percent = *percent;
                machine
            }).collect();
            let strategies = [vec![], vec![Strategy::Random], vec![Strategy::BinpackCpu],
                vec![Strategy::Spread(None), Strategy::BinpackMemory],
                vec![Strategy::Spread(Some("ecs.availability-zone".into()))]][order].clone();
            let resources = Resources {
                ports: Ports { tcp: port.into_iter().collect(), udp: BTreeSet::new() },
                ..take(cpu, memory)
            };
            let desired = Desired { seed, ..desired(count, &resources, &strategies) };
            let observed = observed(&instances);
            let decision = decide(&desired, &observed, Timestamp::default());
            prop_assert_eq!(&decision, &decide(&desired, &observed, Timestamp::default()));
            prop_assert_eq!(laws::placement(&desired, &observed, &decision), Ok(()));
            // Tasks that are alike fill the same number of places in whatever order: count them by brute force.
            let fit = |machine: &ContainerInstance| {
                let capacity = machine.capacity();
                (1..=count).take_while(|n| {
                    let n = *n as i64;
                    n * cpu <= capacity.cpu_units && n * memory <= capacity.memory_mib
                        && port.is_none_or(|port| n == 1 && port != 22)
                }).count()
            };
            let most: usize = instances.iter().map(fit).sum();
            prop_assert_eq!(decision.actions.len(), count.min(most));
        }
    }
}
