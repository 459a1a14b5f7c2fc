//! In which order surplus tasks are stopped.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use base::{Arn, Timestamp};
use domain::TaskStatus;

use super::{Known, Verdict};

/// What counts before where a task is: the protected last, then those that run last.
type Class = (bool, Reverse<TaskStatus>, bool);
/// A place to be evened out over, and a zone.
type Spot<'a> = (Option<&'a str>, Option<&'a str>);
/// Live tasks of its machine, when it was created, and its number among those that were given.
type Rank = (u32, Timestamp, usize);

/// Gives tasks one by one: one that does not run yet, else one that runs where most are, else the newest; the protected last.
///
/// What a task's machine, zone and place count changes with each that is stopped. Only the tasks of that machine are then
/// sorted in anew, so that stopping all of thousands costs what sorting them does.
pub(super) struct StopOrder<'k> {
    candidates: Vec<&'k Known<'k>>,
    classes: BTreeMap<Class, BTreeMap<Spot<'k>, BTreeSet<Rank>>>,
    places: BTreeMap<Option<&'k str>, u32>,
    zones: BTreeMap<Option<&'k str>, u32>,
    instances: BTreeMap<Option<&'k Arn>, Machine>,
}

/// A machine's live tasks, and its candidates by their numbers.
#[derive(Default)]
struct Machine {
    live: u32,
    candidates: BTreeSet<usize>,
}

impl<'k> StopOrder<'k> {
    /// `candidates` are to be ordered; `live` are all that count, the candidates among them.
    pub fn new(candidates: Vec<&'k Known<'k>>, live: impl Iterator<Item = &'k Known<'k>>) -> Self {
        let mut order = Self {
            candidates: Vec::new(),
            classes: BTreeMap::new(),
            places: BTreeMap::new(),
            zones: BTreeMap::new(),
            instances: BTreeMap::new(),
        };
        for known in live {
            let (place, zone) = spot(known);
            *order.places.entry(place).or_default() += 1;
            *order.zones.entry(zone).or_default() += 1;
            order.instances.entry(machine(known)).or_default().live += 1;
        }
        for (number, known) in candidates.iter().enumerate() {
            let there = order.instances.entry(machine(known)).or_default();
            there.candidates.insert(number);
            let rank = (there.live, known.seen.facts.created_at, number);
            order.classes.entry(class(known)).or_default().entry(spot(known)).or_default().insert(rank);
        }
        order.candidates = candidates;
        order
    }

    /// The next one. It goes on counting where it is, until it is [stopped](Self::stopped).
    pub fn next(&mut self) -> Option<&'k Known<'k>> {
        let mut class = self.classes.last_entry()?;
        let spots = class.get_mut();
        let (places, zones) = (&self.places, &self.zones);
        let best = spots.iter().max_by_key(|((place, zone), ranks)| {
            (places.get(place).copied(), zones.get(zone).copied(), ranks.last().copied())
        });
        let spot = best.map(|(spot, _)| *spot)?;
        let ranks = spots.get_mut(&spot)?;
        let (_, _, number) = ranks.pop_last()?;
        if ranks.is_empty() {
            spots.remove(&spot);
        }
        if spots.is_empty() {
            class.remove();
        }
        let known = self.candidates[number];
        if let Some(there) = self.instances.get_mut(&machine(known)) {
            there.candidates.remove(&number);
        }
        Some(known)
    }

    /// It counts no longer where it was.
    pub fn stopped(&mut self, known: &Known<'k>) {
        let (place, zone) = spot(known);
        for count in self.places.get_mut(&place).into_iter().chain(self.zones.get_mut(&zone)) {
            *count = count.saturating_sub(1);
        }
        let Some(there) = self.instances.get_mut(&machine(known)) else { return };
        let before = there.live;
        there.live = before.saturating_sub(1);
        for &number in &there.candidates {
            let other = self.candidates[number];
            let spots = self.classes.get_mut(&class(other));
            let Some(ranks) = spots.and_then(|spots| spots.get_mut(&spot(other))) else { continue };
            let created_at = other.seen.facts.created_at;
            ranks.remove(&(before, created_at, number));
            ranks.insert((there.live, created_at, number));
        }
    }
}

fn class(known: &Known<'_>) -> Class {
    (!known.protected, Reverse(known.seen.facts.last_status), known.verdict != Verdict::Healthy)
}

fn spot<'k>(known: &Known<'k>) -> Spot<'k> {
    (known.seen.place, known.seen.zone)
}

fn machine<'k>(known: &Known<'k>) -> Option<&'k Arn> {
    known.seen.machine
}
