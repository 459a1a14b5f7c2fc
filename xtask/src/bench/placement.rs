//! The placement decider alone: one thread, in memory, against the plain decider that looks at every instance.
//!
//! 5,000 instances in three zones, 50,000 tasks of fifty services: spread over the zones, then packed by memory, at most
//! one of a service on an instance. A scheduler is asked for tasks in calls: a service's thousand at once, or ten at a
//! time (a RunTask), services in turn.

use std::time::Instant;

use base::{Scope, Timestamp};
use domain::{Attribute, ContainerInstance, ContainerInstanceStatus, Ports, Resources, VersionInfo};
use scheduler::placement::{
    Action, Candidate, Constraint, Decision, Desired, Observed, PlacedTask, Room, Strategy, plain,
};

use super::compare::{Metric, Side, compare};
use super::{Bench, Setup};

/// See the file's head.
pub const BENCH: Bench = Bench {
    name: "placement",
    about: "tasks placed per second by the decider: 5,000 instances, 50,000 tasks, one thread",
    run,
};

const INSTANCES: usize = 5_000;
const TASKS: usize = 50_000;
const SERVICES: usize = 50;
/// Attributes of an instance: as many as an agent registers.
const ATTRIBUTES: usize = 30;
/// What the plain decider is given to do in one sample: the rest would take minutes.
const PLAIN_TASKS: usize = 200;

const RATE: Metric = Metric { name: "placed", unit: "tasks/s", less_is_better: false };

fn run(setup: &Setup) -> Result<(), String> {
    let instances: Vec<ContainerInstance> = (0..INSTANCES).map(instance).collect();
    check(&instances)?;
    println!(
        "\nthe first {PLAIN_TASKS} tasks of the first service and of the last: placed as the plain decider places them"
    );
    for (calls_of, name) in [(1000, "a thousand a call"), (100, "a hundred a call"), (10, "ten a call")] {
        compare(
            setup.pairs,
            &[RATE],
            Side { name, measure: &mut || fill(&instances, calls_of).map(|rate| vec![rate]) },
            Side { name: "plain, from empty", measure: &mut || Ok(vec![plain_rate(&instances)]) },
        )?;
    }
    println!("(published, other machines: kube-scheduler 160-810 a second, Nomad 1,500-3,750 a second)");
    Ok(())
}

fn instance(number: usize) -> ContainerInstance {
    let account = "000000000000".parse().expect("an account");
    let mut attributes: Vec<Attribute> = (0..ATTRIBUTES)
        .map(|one| Attribute { name: format!("ecs.capability.number-{one}"), value: None })
        .collect();
    attributes.push(Attribute {
        name: "ecs.availability-zone".to_owned(),
        value: Some(["us-east-1a", "us-east-1b", "us-east-1c"][number % 3].to_owned()),
    });
    ContainerInstance {
        scope: Scope::new(account, "us-east-1".parse().expect("a region")),
        id: format!("{number:032x}"),
        cluster: "default".to_owned(),
        ec2_instance_id: format!("i-{number:017x}"),
        status: ContainerInstanceStatus::Active,
        status_reason: None,
        agent_connected: true,
        version: 1,
        registered: Resources {
            cpu_units: 16_384,
            memory_mib: 32_768 + 1024 * (number as i64 % 7),
            ports: Ports { tcp: [22, 51678].into(), ..Ports::default() },
            ..Resources::default()
        },
        attributes,
        version_info: VersionInfo::default(),
        registered_at: Timestamp::default(),
        capacity_provider: None,
        tags: Vec::new(),
        fargate_capacity: false,
        over_commit_percent: 100,
        session_epoch: 1,
        node_access_key_id: None,
    }
}

/// The parts of a service's wish that do not change.
struct Service {
    group: String,
    resources: Resources,
    attributes: Vec<(String, Option<String>)>,
    constraints: Vec<Constraint>,
    strategies: Vec<Strategy>,
}

impl Service {
    fn new(number: usize) -> Self {
        Self {
            group: format!("service:web-{number}"),
            resources: Resources {
                cpu_units: 128 + 64 * (number as i64 % 3),
                memory_mib: 256 + 128 * (number as i64 % 5),
                ..Resources::default()
            },
            attributes: (0..6).map(|one| (format!("ecs.capability.number-{}", one * 4), None)).collect(),
            constraints: vec![Constraint::DistinctInstance],
            strategies: vec![
                Strategy::Spread(Some("ecs.availability-zone".to_owned())),
                Strategy::BinpackMemory,
            ],
        }
    }

    fn desired(&self, count: usize, seed: u64) -> Desired<'_> {
        Desired {
            count,
            group: &self.group,
            resources: &self.resources,
            gpus: 0,
            required_attributes: &self.attributes,
            constraints: &self.constraints,
            strategies: &self.strategies,
            availability_zones: None,
            seed,
        }
    }
}

fn empty(instances: &[ContainerInstance]) -> Room<&ContainerInstance> {
    let mut room = Room::default();
    for instance in instances {
        room.add(instance);
    }
    room
}

/// Every call in its turn: which service, and how many.
fn calls(calls_of: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..TASKS / calls_of).map(move |call| (call % SERVICES, calls_of))
}

/// Tasks per second from the empty cluster to the full one.
fn fill(instances: &[ContainerInstance], calls_of: usize) -> Result<f64, String> {
    let services: Vec<Service> = (0..SERVICES).map(Service::new).collect();
    let mut room = empty(instances);
    let start = Instant::now();
    let mut placed = 0;
    for (seed, (service, count)) in calls(calls_of).enumerate() {
        placed += room.place(&services[service].desired(count, seed as u64)).actions.len();
    }
    let rate = placed as f64 / start.elapsed().as_secs_f64();
    if placed == TASKS { Ok(rate) } else { Err(format!("only {placed} tasks have a place")) }
}

fn observed(instances: &[ContainerInstance]) -> Observed<'_> {
    let candidate =
        |container_instance| Candidate { container_instance, held: Resources::default(), tasks: Vec::new() };
    Observed { candidates: instances.iter().map(candidate).collect() }
}

fn plain_rate(instances: &[ContainerInstance]) -> f64 {
    let observed = observed(instances);
    let service = Service::new(0);
    let start = Instant::now();
    let decision = plain::decide(&service.desired(PLAIN_TASKS, 1), &observed);
    decision.actions.len() as f64 / start.elapsed().as_secs_f64()
}

/// Both ways take the same places: at the start, and when the cluster is nearly full.
fn check(instances: &[ContainerInstance]) -> Result<(), String> {
    let mut room = empty(instances);
    let mut observed = observed(instances);
    for (seed, (number, count)) in calls(1000).enumerate() {
        let service = Service::new(number);
        let desired = service.desired(count, seed as u64);
        let few = Desired { count: PLAIN_TASKS.min(count), ..desired.clone() };
        let compared = number == 0 || number + 1 == SERVICES;
        let expected = compared.then(|| plain::decide(&few, &observed));
        let decision = room.place(&desired);
        if let Some(Decision { actions, .. }) = expected
            && actions != decision.actions[..few.count.min(decision.actions.len())]
        {
            return Err(format!("the two deciders place tasks of {} differently", service.group));
        }
        for Action::Place { candidate, .. } in &decision.actions {
            let candidate = &mut observed.candidates[*candidate];
            candidate.held.add(&service.resources);
            candidate.tasks.push(PlacedTask { group: service.group.clone(), running: false });
        }
    }
    Ok(())
}
