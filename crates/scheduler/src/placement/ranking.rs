//! The order of preference among the instances that tasks of one shape fit on.
//!
//! The strategies of a placement are the levels of a tree: at each level the instances are parted by what the strategy
//! looks at, and its leaves hold the instances that no strategy tells apart. The best lie under the least branches. A
//! placement changes one instance, so it moves one entry; nothing else is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use domain::{ContainerInstance, Resources};

use super::room::Slot;
use super::{Chance, Constraint, Desired, STRATEGIES_MAXIMUM, Strategy};

/// What tasks have in common that are alike for placement: all of [`Desired`] but how many and the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    group: String,
    resources: Resources,
    gpus: usize,
    required_attributes: Vec<(String, Option<String>)>,
    constraints: Vec<Constraint>,
    strategies: Vec<Strategy>,
    availability_zones: Option<BTreeSet<String>>,
}

impl Shape {
    pub fn of(desired: &Desired<'_>) -> Self {
        Self {
            group: desired.group.to_owned(),
            resources: desired.resources.clone(),
            gpus: desired.gpus,
            required_attributes: desired.required_attributes.to_vec(),
            constraints: desired.constraints.to_vec(),
            strategies: desired.strategies.to_vec(),
            availability_zones: desired.availability_zones.cloned(),
        }
    }

    pub fn is_of(&self, desired: &Desired<'_>) -> bool {
        self.group == desired.group
            && self.resources == *desired.resources
            && self.gpus == desired.gpus
            && self.required_attributes == desired.required_attributes
            && self.constraints == desired.constraints
            && self.strategies == desired.strategies
            && self.availability_zones.as_ref() == desired.availability_zones
    }
}

/// What one strategy parts instances by.
#[derive(Debug)]
enum Level {
    CpuLeft,
    MemoryLeft,
    /// Tasks of the group on the instance itself.
    TasksHere,
    /// Tasks of the group on all instances that share the attribute's value.
    TasksByValue {
        attribute: String,
        numbers: BTreeMap<String, usize>,
        /// By the value's number.
        tasks: Vec<usize>,
    },
}

/// A part of the tree. No branch is empty but the root.
#[derive(Debug)]
enum Node {
    Branches(BTreeMap<i64, Node>),
    /// Slots in rising order.
    Leaf(Vec<usize>),
}

/// What the ranking knows of one slot.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// The instance's generation that `eligible` and the values' numbers were worked out for; 0 for none.
    generation: u64,
    /// Whether the task could be there as far as tasks have no say in it.
    eligible: bool,
    /// Tasks of the group that were counted.
    tasks: usize,
    /// Whether the slot is in the tree, under its keys.
    ranked: bool,
    keys: Keys,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Ranking {
    pub shape: Shape,
    /// How many of the room's changes are taken in.
    pub seen: u64,
    levels: Vec<Level>,
    root: Node,
    standings: Vec<Standing>,
}

/// What a slot stands under, level by level; what is beyond the last level is 0.
type Keys = [i64; STRATEGIES_MAXIMUM];

impl Ranking {
    /// An empty one.
    pub fn new(desired: &Desired<'_>) -> Self {
        let levels: Vec<Level> = desired
            .strategies
            .iter()
            .take(STRATEGIES_MAXIMUM)
            .take_while(|strategy| **strategy != Strategy::Random)
            .map(|strategy| match strategy {
                // Random ends the chain above.
                Strategy::Random | Strategy::Spread(None) => Level::TasksHere,
                Strategy::Spread(Some(attribute)) => Level::TasksByValue {
                    attribute: attribute.clone(),
                    numbers: BTreeMap::new(),
                    tasks: Vec::new(),
                },
                Strategy::BinpackCpu => Level::CpuLeft,
                Strategy::BinpackMemory => Level::MemoryLeft,
            })
            .collect();
        let root = if levels.is_empty() { Node::Leaf(Vec::new()) } else { Node::Branches(BTreeMap::new()) };
        Self { shape: Shape::of(desired), seen: 0, levels, root, standings: Vec::new() }
    }

    /// Takes in how a slot is now; `None`: the instance is gone.
    pub fn update<I: Deref<Target = ContainerInstance>>(
        &mut self,
        desired: &Desired<'_>,
        index: usize,
        slot: Option<&Slot<I>>,
    ) {
        if self.standings.len() <= index {
            self.standings.resize_with(index + 1, Standing::default);
        }
        let before = self.standings[index];
        let Some(slot) = slot else {
            self.count(&before.keys, before.tasks, 0);
            self.unrank(index, &before);
            self.standings[index] = Standing::default();
            return;
        };
        let known = before.generation == slot.generation;
        let eligible = if known { before.eligible } else { slot.is_eligible(desired) };
        let tasks = slot.tasks_of_group(desired.group);
        let mut keys = before.keys;
        for (level, key) in self.levels.iter_mut().zip(&mut keys) {
            *key = match level {
                Level::CpuLeft => slot.cpu_left(),
                Level::MemoryLeft => slot.memory_left(),
                Level::TasksHere => i64::try_from(tasks).unwrap_or(i64::MAX),
                Level::TasksByValue { .. } if known => *key,
                Level::TasksByValue { attribute, numbers, tasks } => {
                    let value = slot.instance.attribute(attribute).flatten().unwrap_or_default();
                    number(numbers, tasks, value)
                }
            };
        }
        let ranked = eligible && slot.is_fit(desired);
        let stays = before.ranked && ranked && keys == before.keys;
        if !stays {
            self.unrank(index, &before);
        }
        if !known || tasks != before.tasks {
            self.count(&before.keys, before.tasks, 0);
            self.count(&keys, 0, tasks);
        }
        if ranked && !stays {
            self.root.insert(&keys[..self.levels.len()], index);
        }
        self.standings[index] = Standing { generation: slot.generation, eligible, tasks, ranked, keys };
    }

    fn unrank(&mut self, index: usize, standing: &Standing) {
        if standing.ranked {
            self.root.remove(&standing.keys[..self.levels.len()], index);
        }
    }

    /// Tasks of the group under the values that `keys` name.
    fn count(&mut self, keys: &Keys, less: usize, more: usize) {
        for (level, key) in self.levels.iter_mut().zip(keys) {
            if let Level::TasksByValue { tasks, .. } = level
                && let Some(there) = usize::try_from(*key).ok().and_then(|number| tasks.get_mut(number))
            {
                *there = (*there + more).saturating_sub(less);
            }
        }
    }

    /// The slot for the next task: one of the best, by chance.
    pub fn pick(&self, chance: &mut Chance) -> Option<usize> {
        let mut best = vec![&self.root];
        for level in &self.levels {
            best = match level {
                Level::TasksByValue { tasks, .. } => least_counted(&best, tasks),
                Level::CpuLeft | Level::MemoryLeft | Level::TasksHere => least(&best),
            };
        }
        let leaves: Vec<&[usize]> = best
            .into_iter()
            .filter_map(|node| match node {
                Node::Leaf(slots) => Some(slots.as_slice()),
                Node::Branches(_) => None,
            })
            .collect();
        let all: usize = leaves.iter().map(|slots| slots.len()).sum();
        if all == 0 {
            return None;
        }
        Some(nth(&leaves, chance.below(all)))
    }
}

fn number(numbers: &mut BTreeMap<String, usize>, tasks: &mut Vec<usize>, value: &str) -> i64 {
    let number = match numbers.get(value) {
        Some(number) => *number,
        None => {
            numbers.insert(value.to_owned(), tasks.len());
            tasks.push(0);
            tasks.len() - 1
        }
    };
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The first branches, as far as none of the others begins with a lesser key.
fn least<'a>(nodes: &[&'a Node]) -> Vec<&'a Node> {
    let first = |node: &&'a Node| match node {
        Node::Branches(branches) => branches.first_key_value().map(|(key, node)| (*key, node)),
        Node::Leaf(_) => None,
    };
    let least = nodes.iter().filter_map(first).map(|(key, _)| key).min();
    nodes.iter().filter_map(first).filter(|(key, _)| Some(*key) == least).map(|(_, node)| node).collect()
}

/// The branches of the values with the fewest tasks.
fn least_counted<'a>(nodes: &[&'a Node], tasks: &[usize]) -> Vec<&'a Node> {
    let mut least = usize::MAX;
    let mut best = Vec::new();
    for node in nodes {
        let Node::Branches(branches) = node else { continue };
        for (value, branch) in branches {
            let count = usize::try_from(*value).ok().and_then(|value| tasks.get(value)).copied();
            let count = count.unwrap_or_default();
            if count < least {
                least = count;
                best.clear();
            }
            if count == least {
                best.push(branch);
            }
        }
    }
    best
}

/// The slot at a place in the rising order of all leaves together.
fn nth(leaves: &[&[usize]], place: usize) -> usize {
    if let [only] = leaves {
        return only[place];
    }
    let below =
        |slot: usize| leaves.iter().map(|slots| slots.partition_point(|there| *there < slot)).sum::<usize>();
    // The greatest number that at most `place` slots lie below is the slot itself.
    let (mut low, mut high) =
        (0, leaves.iter().filter_map(|slots| slots.last()).max().map_or(1, |last| last + 1));
    while high - low > 1 {
        let middle = usize::midpoint(low, high);
        if below(middle) <= place {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

impl Node {
    fn insert(&mut self, keys: &[i64], slot: usize) {
        match (self, keys) {
            (Self::Branches(branches), [key, rest @ ..]) => {
                let branch = branches.entry(*key).or_insert_with(|| {
                    if rest.is_empty() { Self::Leaf(Vec::new()) } else { Self::Branches(BTreeMap::new()) }
                });
                branch.insert(rest, slot);
            }
            (Self::Leaf(slots), _) => {
                if let Err(place) = slots.binary_search(&slot) {
                    slots.insert(place, slot);
                }
            }
            (Self::Branches(_), []) => {}
        }
    }

    fn remove(&mut self, keys: &[i64], slot: usize) {
        match (self, keys) {
            (Self::Branches(branches), [key, rest @ ..]) => {
                if let Some(branch) = branches.get_mut(key) {
                    branch.remove(rest, slot);
                    if branch.is_empty() {
                        branches.remove(key);
                    }
                }
            }
            (Self::Leaf(slots), _) => {
                if let Ok(place) = slots.binary_search(&slot) {
                    slots.remove(place);
                }
            }
            (Self::Branches(_), []) => {}
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Branches(branches) => branches.is_empty(),
            Self::Leaf(slots) => slots.is_empty(),
        }
    }
}
