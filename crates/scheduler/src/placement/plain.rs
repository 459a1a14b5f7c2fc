//! The plain way to place tasks, which looks at every candidate for every task: what [`Room`](super::Room) must agree
//! with, in every choice.

use std::collections::{BTreeMap, BTreeSet};

use domain::Resources;

use super::{
    Action, Candidate, Chance, Decision, Desired, Observed, PlacedTask, STRATEGIES_MAXIMUM, Strategy, refusal,
};

/// As [`super::decide`], and with the same result: for tests and benchmarks.
pub fn decide(desired: &Desired<'_>, observed: &Observed<'_>) -> Decision {
    let mut room: Vec<Candidate<'_>> = observed.candidates.clone();
    let mut chance = Chance(desired.seed);
    let mut decision = Decision::default();
    for _ in 0..desired.count {
        let mut fit = Vec::new();
        let mut refusals = Vec::new();
        for (index, candidate) in room.iter().enumerate() {
            match refusal(desired, candidate) {
                Some(reason) => refusals.push((index, reason)),
                None => fit.push(index),
            }
        }
        let Some(chosen) = choose(desired, &room, fit, &mut chance) else {
            decision.report.refusals = refusals;
            break;
        };
        let candidate = &mut room[chosen];
        let free = candidate.container_instance.remaining(&candidate.held).gpu_ids;
        let gpu_ids: BTreeSet<String> = free.into_iter().take(desired.gpus).collect();
        candidate.held.add(desired.resources);
        candidate.held.gpu_ids.extend(gpu_ids.iter().cloned());
        candidate.tasks.push(PlacedTask { group: desired.group.to_owned(), running: false });
        decision.actions.push(Action::Place { candidate: chosen, gpu_ids });
    }
    decision
}

fn choose(
    desired: &Desired<'_>,
    room: &[Candidate<'_>],
    mut best: Vec<usize>,
    chance: &mut Chance,
) -> Option<usize> {
    for strategy in desired.strategies.iter().take(STRATEGIES_MAXIMUM) {
        match strategy {
            Strategy::Random => break,
            Strategy::Spread(attribute) => {
                let counts = tasks_by_value(room, attribute.as_deref(), desired.group);
                keep_least(&mut best, |index| {
                    counts.get(value_of(&room[index], attribute.as_deref())).copied().unwrap_or(0)
                });
            }
            Strategy::BinpackCpu => keep_least(&mut best, |index| remaining(&room[index]).cpu_units),
            Strategy::BinpackMemory => keep_least(&mut best, |index| remaining(&room[index]).memory_mib),
        }
    }
    if best.is_empty() {
        return None;
    }
    let pick = chance.below(best.len());
    best.get(pick).copied()
}

pub(super) fn remaining(candidate: &Candidate<'_>) -> Resources {
    candidate.container_instance.remaining(&candidate.held)
}

/// The value that a candidate counts under when tasks are spread.
pub(super) fn value_of<'a>(candidate: &'a Candidate<'_>, attribute: Option<&str>) -> &'a str {
    match attribute {
        None => &candidate.container_instance.id,
        Some(name) => candidate.container_instance.attribute(name).flatten().unwrap_or_default(),
    }
}

/// Tasks of the group by value of the attribute, candidates that are refused included.
pub(super) fn tasks_by_value<'a>(
    room: &'a [Candidate<'_>],
    attribute: Option<&str>,
    group: &str,
) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for candidate in room {
        let tasks = candidate.tasks.iter().filter(|task| task.group == group).count();
        *counts.entry(value_of(candidate, attribute)).or_insert(0) += tasks;
    }
    counts
}

fn keep_least<K: Ord>(best: &mut Vec<usize>, key: impl Fn(usize) -> K) {
    if let Some(least) = best.iter().map(|&index| key(index)).min() {
        best.retain(|&index| key(index) == least);
    }
}

#[cfg(test)]
mod tests {
    use base::Timestamp;
    use domain::{Attribute, ContainerInstance, ContainerInstanceStatus, Ports};
    use proptest::prelude::{ProptestConfig, TestCaseError, any, prop, prop_oneof, proptest};
    use proptest::sample::select;
    use proptest::strategy::Strategy as Generator;
    use proptest::{prop_assert, prop_assert_eq};

    use super::super::tests::instance;
    use super::super::{Constraint, Room};
    use super::*;
    use crate::cluster_query_language::Expression;
    use crate::laws;

    /// A task on an instance, as the model keeps it.
    #[derive(Clone, Debug)]
    struct Held {
        resources: Resources,
        group: String,
        running: bool,
    }

    /// Something that happens to a room.
    #[derive(Clone, Debug)]
    enum Event {
        Add(ContainerInstance),
        Replace(usize, ContainerInstance),
        Remove(usize),
        Task(usize, Held),
        TaskEnds(usize, usize),
        TaskRuns(usize, usize),
        /// One of the shapes, how many, a seed, and whether the tasks stay.
        Place(usize, usize, u64, bool),
    }

    #[derive(Clone, Debug)]
    struct Shape {
        group: String,
        resources: Resources,
        gpus: usize,
        required_attributes: Vec<(String, Option<String>)>,
        constraints: Vec<Constraint>,
        strategies: Vec<Strategy>,
        availability_zones: Option<BTreeSet<String>>,
    }

    impl Shape {
        fn desired(&self, count: usize, seed: u64) -> Desired<'_> {
            Desired {
                count,
                group: &self.group,
                resources: &self.resources,
                gpus: self.gpus,
                required_attributes: &self.required_attributes,
                constraints: &self.constraints,
                strategies: &self.strategies,
                availability_zones: self.availability_zones.as_ref(),
                seed,
            }
        }
    }

    fn machine() -> impl Generator<Value = ContainerInstance> {
        let size = (select(vec![0_i64, 500, 1000, 1000, 2000]), select(vec![0_i64, 512, 1024, 1024, 4096]));
        let zone = prop::option::of(select(vec!["us-east-1a", "us-east-1b", "us-east-1c"]));
        let rack = prop::option::of(prop::option::of(0_u8..4));
        let rare = (0_u8..12, 0_u8..12, select(vec![100_i64, 100, 150]), 0_usize..4);
        (0_usize..1000, size, zone, rack, rare).prop_map(|(number, (cpu, memory), zone, rack, rare)| {
            let mut machine = instance(number, cpu, memory);
            machine.attributes.clear();
            let mut add = |name: &str, value: Option<String>| {
                machine.attributes.push(Attribute { name: name.into(), value });
            };
            if let Some(zone) = zone {
                add("ecs.availability-zone", Some(zone.into()));
            }
            if let Some(rack) = rack {
                add("rack", rack.map(|rack| rack.to_string()));
            }
            if rare.0 == 0 {
                machine.status = ContainerInstanceStatus::Draining;
            }
            machine.agent_connected = rare.1 != 0;
            machine.over_commit_percent = rare.2;
            machine.registered.gpu_ids = (0..rare.3).map(|gpu| format!("gpu{gpu}")).collect();
            machine
        })
    }

    fn resources() -> impl Generator<Value = Resources> {
        let port = || prop::collection::btree_set(select(vec![22_u16, 80, 81, 443]), 0..2);
        let ports = (any::<bool>(), port(), port())
            .prop_map(|(none, tcp, udp)| if none { Ports::default() } else { Ports { tcp, udp } });
        (select(vec![0_i64, 100, 250, 600]), select(vec![1_i64, 128, 256, 700]), ports).prop_map(
            |(cpu_units, memory_mib, ports)| Resources {
                cpu_units,
                memory_mib,
                ports,
                ..Resources::default()
            },
        )
    }

    fn group() -> impl Generator<Value = String> {
        select(vec!["family:web", "service:api", "batch"]).prop_map(str::to_owned)
    }

    fn shape() -> impl Generator<Value = Shape> {
        let strategy = select(vec![
            Strategy::Random,
            Strategy::Spread(None),
            Strategy::Spread(Some("ecs.availability-zone".into())),
            Strategy::Spread(Some("rack".into())),
            Strategy::BinpackCpu,
            Strategy::BinpackMemory,
        ]);
        let constraint = select(vec![
            "attribute:rack in [0, 1, 2]",
            "not(task:group == service:api)",
            "runningTasksCount < 2",
            "attribute:ecs.availability-zone != us-east-1b",
            "distinct",
        ])
        .prop_map(|text| match text {
            "distinct" => Constraint::DistinctInstance,
            text => Constraint::MemberOf(Expression::parse(text).unwrap()),
        });
        let attributes = prop::collection::vec(
            select(vec![("rack".to_owned(), None), ("rack".to_owned(), Some("1".to_owned()))]),
            0..2,
        );
        let zones = prop::option::weighted(
            0.2,
            prop::collection::btree_set(select(vec!["us-east-1a".to_owned(), "us-east-1b".to_owned()]), 0..3),
        );
        (
            group(),
            resources(),
            select(vec![0_usize, 0, 0, 1, 2]),
            attributes,
            prop::collection::vec(constraint, 0..3),
            prop::collection::vec(strategy, 0..7),
            zones,
        )
            .prop_map(
                |(group, resources, gpus, required_attributes, constraints, strategies, zones)| Shape {
                    group,
                    resources,
                    gpus,
                    required_attributes: if gpus > 0 { Vec::new() } else { required_attributes },
                    constraints,
                    strategies,
                    availability_zones: zones,
                },
            )
    }

    fn event() -> impl Generator<Value = Event> {
        let held = (resources(), group(), any::<bool>(), prop::option::of(0_usize..4)).prop_map(
            |(mut resources, group, running, gpu)| {
                resources.gpu_ids = gpu.map(|gpu| format!("gpu{gpu}")).into_iter().collect();
                Held { resources, group, running }
            },
        );
        prop_oneof![
            2 => machine().prop_map(Event::Add),
            1 => (any::<usize>(), machine()).prop_map(|(at, machine)| Event::Replace(at, machine)),
            1 => any::<usize>().prop_map(Event::Remove),
            2 => (any::<usize>(), held).prop_map(|(at, held)| Event::Task(at, held)),
            2 => (any::<usize>(), any::<usize>()).prop_map(|(at, task)| Event::TaskEnds(at, task)),
            1 => (any::<usize>(), any::<usize>()).prop_map(|(at, task)| Event::TaskRuns(at, task)),
            8 => (any::<usize>(), 0_usize..6, any::<u64>(), any::<bool>())
                .prop_map(|(shape, count, seed, stay)| Event::Place(shape, count, seed, stay)),
        ]
    }

    /// The same room, kept as plain lists: by slot, the instance and its tasks.
    #[derive(Default)]
    struct Model {
        added: usize,
        slots: BTreeMap<usize, (ContainerInstance, Vec<Held>)>,
    }

    impl Model {
        fn slot(&self, at: usize) -> Option<usize> {
            self.slots.keys().nth(at % self.slots.len().max(1)).copied()
        }

        fn task(&self, at: usize, task: usize) -> Option<(usize, usize)> {
            let slot = self.slot(at)?;
            let tasks = self.slots[&slot].1.len();
            (tasks > 0).then(|| (slot, task % tasks))
        }

        /// What the plain decider sees, and the slot of each candidate.
        fn observed(&self) -> (Observed<'_>, Vec<usize>) {
            let candidates = self.slots.values().map(|(container_instance, tasks)| {
                let mut held = Resources::default();
                for task in tasks {
                    held.add(&task.resources);
                }
                let tasks = tasks.iter();
                let tasks = tasks.map(|task| PlacedTask { group: task.group.clone(), running: task.running });
                Candidate { container_instance, held, tasks: tasks.collect() }
            });
            (Observed { candidates: candidates.collect() }, self.slots.keys().copied().collect())
        }
    }

    fn happen(
        room: &mut Room<Box<ContainerInstance>>,
        model: &mut Model,
        event: &Event,
        shapes: &[Shape],
    ) -> Result<(), TestCaseError> {
        match event {
            Event::Add(machine) => {
                let machine = ContainerInstance { id: format!("{:032x}", model.added), ..machine.clone() };
                model.added += 1;
                let slot = room.add(Box::new(machine.clone()));
                prop_assert!(model.slots.insert(slot, (machine.clone(), Vec::new())).is_none());
            }
            Event::Replace(at, machine) => {
                let Some(slot) = model.slot(*at) else { return Ok(()) };
                let machine = ContainerInstance { id: model.slots[&slot].0.id.clone(), ..machine.clone() };
                room.replace(slot, Box::new(machine.clone()));
                if let Some(there) = model.slots.get_mut(&slot) {
                    there.0 = machine.clone();
                }
            }
            Event::Remove(at) => {
                let Some(slot) = model.slot(*at) else { return Ok(()) };
                room.remove(slot);
                model.slots.remove(&slot);
            }
            Event::Task(at, held) => {
                let Some(slot) = model.slot(*at) else { return Ok(()) };
                room.hold(slot, &held.resources);
                room.enter(slot, &held.group, held.running);
                model.slots.get_mut(&slot).unwrap().1.push(held.clone());
            }
            Event::TaskEnds(at, task) => {
                let Some((slot, task)) = model.task(*at, *task) else { return Ok(()) };
                let gone = model.slots.get_mut(&slot).unwrap().1.remove(task);
                room.free(slot, &gone.resources);
                room.leave(slot, &gone.group, gone.running);
            }
            Event::TaskRuns(at, task) => {
                let Some((slot, task)) = model.task(*at, *task) else { return Ok(()) };
                let there = &mut model.slots.get_mut(&slot).unwrap().1[task];
                room.leave(slot, &there.group, there.running);
                there.running = true;
                room.enter(slot, &there.group, true);
            }
            Event::Place(shape, count, seed, stay) => {
                let desired = shapes[shape % shapes.len()].desired(*count, *seed);
                let (observed, slots) = model.observed();
                let mut expected = decide(&desired, &observed);
                prop_assert_eq!(laws::placement(&desired, &observed, &expected), Ok(()));
                prop_assert_eq!(&super::super::decide(&desired, &observed, Timestamp::default()), &expected);
                for Action::Place { candidate, .. } in &mut expected.actions {
                    *candidate = slots[*candidate];
                }
                for (candidate, _) in &mut expected.report.refusals {
                    *candidate = slots[*candidate];
                }
                let decision = room.place(&desired);
                prop_assert_eq!(&decision, &expected);
                if !stay {
                    room.undo(&desired, &decision);
                    return Ok(());
                }
                for Action::Place { candidate, gpu_ids } in &decision.actions {
                    let mut resources = desired.resources.clone();
                    resources.gpu_ids.extend(gpu_ids.iter().cloned());
                    let held = Held { resources, group: desired.group.to_owned(), running: false };
                    model.slots.get_mut(candidate).unwrap().1.push(held);
                }
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]
        #[test]
        fn whatever_happens_the_room_decides_as_the_plain_way_does(
            machines in prop::collection::vec(machine(), 0..10),
            shapes in prop::collection::vec(shape(), 1..4),
            events in prop::collection::vec(event(), 1..40),
        ) {
            let (mut room, mut model) = (Room::default(), Model::default());
            for event in machines.into_iter().map(Event::Add).chain(events) {
                happen(&mut room, &mut model, &event, &shapes)?;
                prop_assert_eq!(room.len(), model.slots.len());
            }
        }
    }

    /// More changes than are kept, and more shapes than have a ranking.
    #[test]
    fn a_ranking_that_was_left_behind_catches_up() {
        let (mut room, mut model) = (Room::default(), Model::default());
        for number in 0..30 {
            let machine = Event::Add(instance(number, 100_000, 100_000));
            happen(&mut room, &mut model, &machine, &[]).unwrap();
        }
        let resources = Resources { cpu_units: 1, memory_mib: 1, ..Resources::default() };
        let shapes: Vec<Shape> = (0..100)
            .map(|number| Shape {
                group: format!("family:{number}"),
                resources: resources.clone(),
                gpus: 0,
                required_attributes: Vec::new(),
                constraints: Vec::new(),
                strategies: vec![
                    Strategy::Spread(Some("ecs.availability-zone".into())),
                    Strategy::BinpackMemory,
                ],
                availability_zones: None,
            })
            .collect();
        for round in 0..400_usize {
            let place = Event::Place(round * round, 1 + round % 7, round as u64, round % 3 > 0);
            happen(&mut room, &mut model, &place, &shapes).unwrap();
        }
    }
}
