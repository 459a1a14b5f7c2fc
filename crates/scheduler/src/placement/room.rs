//! [`Room`]: what is free on every instance, kept up to date change by change and ordered for the questions that are
//! asked, so that placing a task costs about the same among ten instances and among thousands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use domain::{ContainerInstance, ContainerInstanceStatus, Ports, Resources};

use super::ranking::Ranking;
use super::touched::Touched;
use super::{Action, Candidate, Chance, Constraint, Decision, Desired, Observed, PlacedTask, Reason};
use crate::cluster_query_language::Subject;

/// Shapes of tasks whose ranking is kept. Ours: services that start tasks in turn, and some hundred bytes an instance
/// for each.
const RANKINGS: usize = 64;

/// An instance and what tasks hold of it.
#[derive(Clone, Debug)]
pub(super) struct Slot<I> {
    pub instance: I,
    /// Of the instance's row: another number for each that was put here. Never 0.
    pub generation: u64,
    capacity_cpu_units: i64,
    capacity_memory_mib: i64,
    held_cpu_units: i64,
    held_memory_mib: i64,
    /// How many tasks hold a port or GPU: one, unless what was observed is amiss.
    tcp: BTreeMap<u16, usize>,
    udp: BTreeMap<u16, usize>,
    gpu_ids: BTreeMap<String, usize>,
    /// Tasks of each group.
    groups: BTreeMap<String, usize>,
    running: usize,
}

/// Instances and what is free on them. An instance is known by its slot, a number that it keeps until it is removed.
#[derive(Debug)]
pub struct Room<I> {
    slots: Vec<Option<Slot<I>>>,
    vacant: Vec<usize>,
    generation: u64,
    /// Slots in the order in which they changed: for rankings, which take in those that changed since they were used last.
    changed: Touched,
    /// The one used last is last.
    rankings: Vec<Ranking>,
}

impl<I> Default for Room<I> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            generation: 0,
            changed: Touched::default(),
            rankings: Vec::new(),
        }
    }
}

impl<'a> Room<&'a ContainerInstance> {
    /// The room of what was observed; a candidate's slot is its index.
    pub fn of(observed: &Observed<'a>) -> Self {
        let mut room = Self::default();
        for candidate in &observed.candidates {
            let index = room.add(candidate.container_instance);
            room.hold(index, &candidate.held);
            for task in &candidate.tasks {
                room.enter(index, &task.group, task.running);
            }
        }
        room
    }
}

impl<I: Deref<Target = ContainerInstance>> Room<I> {
    /// Takes an instance in, with nothing on it, and gives its slot.
    pub fn add(&mut self, instance: I) -> usize {
        self.generation += 1;
        let capacity = instance.capacity();
        let slot = Slot {
            generation: self.generation,
            capacity_cpu_units: capacity.cpu_units,
            capacity_memory_mib: capacity.memory_mib,
            instance,
            held_cpu_units: 0,
            held_memory_mib: 0,
            tcp: BTreeMap::new(),
            udp: BTreeMap::new(),
            gpu_ids: BTreeMap::new(),
            groups: BTreeMap::new(),
            running: 0,
        };
        let index = self.vacant.pop().unwrap_or(self.slots.len());
        if index == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[index] = Some(slot);
        self.touch(index);
        index
    }

    /// The instance's row is another now; what is on it stays.
    pub fn replace(&mut self, index: usize, instance: I) {
        self.generation += 1;
        let generation = self.generation;
        if let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) {
            let capacity = instance.capacity();
            slot.capacity_cpu_units = capacity.cpu_units;
            slot.capacity_memory_mib = capacity.memory_mib;
            slot.instance = instance;
            slot.generation = generation;
            self.touch(index);
        }
    }

    /// The instance is gone. Its slot is given to the next one that comes.
    pub fn remove(&mut self, index: usize) {
        if self.slots.get_mut(index).and_then(Option::take).is_some() {
            self.vacant.push(index);
            self.touch(index);
        }
    }

    /// The instance in a slot.
    pub fn instance(&self, index: usize) -> Option<&I> {
        self.slots.get(index)?.as_ref().map(|slot| &slot.instance)
    }

    /// An instance and what is on it. Which of its tasks are the running ones is not known, only how many.
    pub fn candidate(&self, index: usize) -> Option<Candidate<'_>> {
        let slot = self.slots.get(index)?.as_ref()?;
        let held = Resources {
            cpu_units: slot.held_cpu_units,
            memory_mib: slot.held_memory_mib,
            ports: Ports { tcp: slot.tcp.keys().copied().collect(), udp: slot.udp.keys().copied().collect() },
            gpu_ids: slot.gpu_ids.keys().cloned().collect(),
        };
        let groups = slot.groups.iter().flat_map(|(group, count)| std::iter::repeat_n(group, *count));
        let tasks = groups
            .enumerate()
            .map(|(number, group)| PlacedTask { group: group.clone(), running: number < slot.running })
            .collect();
        Some(Candidate { container_instance: &slot.instance, held, tasks })
    }

    /// Every instance with what is on it.
    pub fn observed(&self) -> Observed<'_> {
        Observed { candidates: (0..self.slots.len()).filter_map(|index| self.candidate(index)).collect() }
    }

    /// How many instances there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// Whether there is no instance.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A task takes these resources.
    pub fn hold(&mut self, index: usize, resources: &Resources) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        slot.held_cpu_units = slot.held_cpu_units.saturating_add(resources.cpu_units);
        slot.held_memory_mib = slot.held_memory_mib.saturating_add(resources.memory_mib);
        resources.ports.tcp.iter().for_each(|port| more(&mut slot.tcp, port));
        resources.ports.udp.iter().for_each(|port| more(&mut slot.udp, port));
        resources.gpu_ids.iter().for_each(|id| more(&mut slot.gpu_ids, id));
        self.touch(index);
    }

    /// A task gives these resources back.
    pub fn free(&mut self, index: usize, resources: &Resources) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        slot.held_cpu_units = slot.held_cpu_units.saturating_sub(resources.cpu_units);
        slot.held_memory_mib = slot.held_memory_mib.saturating_sub(resources.memory_mib);
        resources.ports.tcp.iter().for_each(|port| less(&mut slot.tcp, port));
        resources.ports.udp.iter().for_each(|port| less(&mut slot.udp, port));
        resources.gpu_ids.iter().for_each(|id| less(&mut slot.gpu_ids, id));
        self.touch(index);
    }

    /// One more task of the group is there.
    pub fn enter(&mut self, index: usize, group: &str, running: bool) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        match slot.groups.get_mut(group) {
            Some(count) => *count += 1,
            None => drop(slot.groups.insert(group.to_owned(), 1)),
        }
        slot.running += usize::from(running);
        self.touch(index);
    }

    /// One task of the group fewer is there.
    pub fn leave(&mut self, index: usize, group: &str, running: bool) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        if let Some(count) = slot.groups.get_mut(group) {
            *count -= 1;
            if *count == 0 {
                slot.groups.remove(group);
            }
        }
        slot.running = slot.running.saturating_sub(usize::from(running));
        self.touch(index);
    }

    /// Finds places for as many of the tasks as there is room for, and takes them.
    pub fn place(&mut self, desired: &Desired<'_>) -> Decision {
        let mut ranking = self.ranking(desired);
        let mut chance = Chance(desired.seed);
        let mut decision = Decision::default();
        for _ in 0..desired.count {
            let Some(index) = ranking.pick(&mut chance) else {
                decision.report.refusals = self.refusals(desired);
                break;
            };
            let gpu_ids = self.free_gpus(index, desired.gpus);
            self.take(index, desired, &gpu_ids);
            ranking.update(desired, index, self.slots[index].as_ref());
            decision.actions.push(Action::Place { candidate: index, gpu_ids });
        }
        ranking.seen = self.changed.count();
        self.rankings.push(ranking);
        if self.rankings.len() > RANKINGS {
            self.rankings.remove(0);
        }
        decision
    }

    /// Gives back what a decision of [`Room::place`] took.
    pub fn undo(&mut self, desired: &Desired<'_>, decision: &Decision) {
        for Action::Place { candidate, gpu_ids } in &decision.actions {
            self.free(*candidate, desired.resources);
            self.free(*candidate, &Resources { gpu_ids: gpu_ids.clone(), ..Resources::default() });
            self.leave(*candidate, desired.group, false);
        }
    }

    /// Every instance that has no room for one more of the tasks, and why.
    pub fn refusals(&self, desired: &Desired<'_>) -> Vec<(usize, Reason)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, slot)| Some((index, slot.as_ref()?.refusal(desired)?))).collect()
    }

    fn take(&mut self, index: usize, desired: &Desired<'_>, gpu_ids: &BTreeSet<String>) {
        self.hold(index, desired.resources);
        if !gpu_ids.is_empty() {
            self.hold(index, &Resources { gpu_ids: gpu_ids.clone(), ..Resources::default() });
        }
        self.enter(index, desired.group, false);
    }

    fn free_gpus(&self, index: usize, count: usize) -> BTreeSet<String> {
        let slot = self.slots.get(index).and_then(Option::as_ref);
        let free = slot.into_iter().flat_map(|slot| {
            slot.instance.registered.gpu_ids.iter().filter(|id| !slot.gpu_ids.contains_key(*id))
        });
        free.take(count).cloned().collect()
    }

    /// The ranking for such tasks, up to date; taken out of the room.
    fn ranking(&mut self, desired: &Desired<'_>) -> Ranking {
        let known = self.rankings.iter().position(|ranking| ranking.shape.is_of(desired));
        if let Some(known) = known {
            let mut ranking = self.rankings.remove(known);
            for index in self.changed.since(ranking.seen) {
                ranking.update(desired, index, self.slots[index].as_ref());
            }
            return ranking;
        }
        let mut ranking = Ranking::new(desired);
        for (index, slot) in self.slots.iter().enumerate() {
            ranking.update(desired, index, slot.as_ref());
        }
        ranking
    }

    fn touch(&mut self, index: usize) {
        self.changed.touch(index);
    }
}

fn more<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, key: &K) {
    *counts.entry(key.clone()).or_insert(0) += 1;
}

fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl<I: Deref<Target = ContainerInstance>> Slot<I> {
    pub fn cpu_left(&self) -> i64 {
        self.capacity_cpu_units.saturating_sub(self.held_cpu_units)
    }

    pub fn memory_left(&self) -> i64 {
        self.capacity_memory_mib.saturating_sub(self.held_memory_mib)
    }

    pub fn tasks_of_group(&self, group: &str) -> usize {
        self.groups.get(group).copied().unwrap_or(0)
    }

    /// Whether a task could be here as far as tasks have no say in it: this changes with the instance's row only.
    pub fn is_eligible(&self, desired: &Desired<'_>) -> bool {
        self.row_refusal(desired).is_none()
            && desired.constraints.iter().all(|constraint| match constraint {
                Constraint::MemberOf(expression) => {
                    expression.depends_on_tasks() || self.constraint_refusal(desired, constraint).is_none()
                }
                Constraint::DistinctInstance => true,
            })
    }

    /// Of an eligible one: whether there is room now.
    pub fn is_fit(&self, desired: &Desired<'_>) -> bool {
        self.resource_refusal(desired).is_none()
            && desired.constraints.iter().all(|constraint| match constraint {
                Constraint::MemberOf(expression) if !expression.depends_on_tasks() => true,
                _ => self.constraint_refusal(desired, constraint).is_none(),
            })
    }

    /// As [`super::refusal`].
    pub fn refusal(&self, desired: &Desired<'_>) -> Option<Reason> {
        self.row_refusal(desired)
            .or_else(|| {
                desired.constraints.iter().find_map(|constraint| self.constraint_refusal(desired, constraint))
            })
            .or_else(|| self.resource_refusal(desired))
    }

    fn row_refusal(&self, desired: &Desired<'_>) -> Option<Reason> {
        if self.instance.status != ContainerInstanceStatus::Active {
            return Some(Reason::Inactive);
        }
        if !self.instance.agent_connected {
            return Some(Reason::Agent);
        }
        let lacks = |(name, wanted): &(String, Option<String>)| match self.instance.attribute(name) {
            None => true,
            Some(value) => wanted.is_some() && value != wanted.as_deref(),
        };
        if desired.required_attributes.iter().any(lacks) {
            return Some(Reason::Attribute);
        }
        let zones = desired.availability_zones?;
        let zone = self.instance.attribute("ecs.availability-zone").flatten();
        (!zone.is_some_and(|zone| zones.contains(zone))).then_some(Reason::Location)
    }

    fn constraint_refusal(&self, desired: &Desired<'_>, constraint: &Constraint) -> Option<Reason> {
        match constraint {
            Constraint::DistinctInstance => {
                self.groups.contains_key(desired.group).then_some(Reason::DistinctInstance)
            }
            Constraint::MemberOf(expression) => {
                let groups: Vec<String> = if expression.depends_on_tasks() {
                    self.groups.keys().cloned().collect()
                } else {
                    Vec::new()
                };
                let container_instance = &*self.instance;
                let subject = Subject { container_instance, groups: &groups, running_tasks: self.running };
                (!expression.selects(subject)).then_some(Reason::MemberOf)
            }
        }
    }

    fn resource_refusal(&self, desired: &Desired<'_>) -> Option<Reason> {
        let wanted = desired.resources;
        let registered = &self.instance.registered;
        let taken = |ports: &BTreeSet<u16>, from_the_start: &BTreeSet<u16>, held: &BTreeMap<u16, usize>| {
            ports.iter().any(|port| from_the_start.contains(port) || held.contains_key(port))
        };
        if wanted.cpu_units > self.cpu_left() {
            Some(Reason::ResourceCpu)
        } else if wanted.memory_mib > self.memory_left() {
            Some(Reason::ResourceMemory)
        } else if taken(&wanted.ports.tcp, &registered.ports.tcp, &self.tcp)
            || taken(&wanted.ports.udp, &registered.ports.udp, &self.udp)
        {
            Some(Reason::ResourcePorts)
        } else if desired.gpus > 0 && desired.gpus > self.gpus_left() {
            Some(Reason::ResourceGpu)
        } else {
            None
        }
    }

    fn gpus_left(&self) -> usize {
        self.instance.registered.gpu_ids.iter().filter(|id| !self.gpu_ids.contains_key(*id)).count()
    }
}
