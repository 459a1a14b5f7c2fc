//! [`Tree`]: an ordered map whose clones share all that none of them has changed since. What snapshots and indexes are made of.
//!
//! A B+ tree of reference-counted nodes. A change copies the nodes on its way that others hold too, and changes in place those
//! that nobody else does: of a group of transactions the first to come by a node pays for it. Rows stand side by side in the
//! leaves, so that finding one follows few pointers and each costs little beside itself.

use std::ops::Bound;
use std::sync::Arc;

/// Entries of a node at most. Ours: twice as many make a lookup no faster, and a change that finds a leaf shared copies all of it.
const WIDTH: usize = 16;
/// A node with fewer is joined with one beside it, where both together leave room for some more.
const NARROW: usize = WIDTH / 4;
/// How many such a pair may have together.
const JOINED: usize = WIDTH * 3 / 4;

/// See the file's head. Cheap to clone.
pub(crate) struct Tree<K, V> {
    root: Option<Arc<Node<K, V>>>,
    size: usize,
}

/// No node is empty. All leaves are equally far from the root.
#[derive(Clone)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    /// Each with a key that is not above any of its own and above all of those before it. The first one's is not looked at.
    Branch(Vec<Child<K, V>>),
}

type Child<K, V> = (K, Arc<Node<K, V>>);

impl<K, V> Clone for Tree<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), size: self.size }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self { root: None, size: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> Tree<K, V> {
    /// How many entries there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The value under a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Branch(children) => node = &children[child_of(children, key)].1,
                Node::Leaf(entries) => {
                    let place = entries.binary_search_by(|(there, _)| there.cmp(key)).ok()?;
                    return Some(&entries[place].1);
                }
            }
        }
    }

    /// Puts a value under a key, in place of one that is there.
    pub fn insert(&mut self, key: K, value: V) {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![(key, value)])));
            self.size = 1;
            return;
        };
        let (is_new, split) = Arc::make_mut(root).insert(key, value);
        self.size += usize::from(is_new);
        if let Some((separator, right)) = split {
            let left = Arc::clone(root);
            *root = Arc::new(Node::Branch(vec![(separator.clone(), left), (separator, right)]));
        }
    }

    /// Takes a key out; whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        // Looked up first, so that nothing is copied for a key that is not there.
        if self.get(key).is_none() {
            return false;
        }
        let Some(root) = &mut self.root else { return false };
        Arc::make_mut(root).remove(key);
        self.size -= 1;
        while let Some(node) = self.root.as_deref() {
            match node {
                Node::Branch(children) if children.len() == 1 => self.root = Some(Arc::clone(&children[0].1)),
                node if node.length() == 0 => self.root = None,
                _ => break,
            }
        }
        true
    }

    /// The entries from a place on, in order.
    pub fn from(&self, start: Bound<&K>) -> Iter<'_, K, V> {
        let mut iter = Iter { above: Vec::new(), entries: [].iter() };
        let Some(mut node) = self.root.as_deref() else { return iter };
        loop {
            match node {
                Node::Branch(children) => {
                    let place = match start {
                        Bound::Included(key) | Bound::Excluded(key) => child_of(children, key),
                        Bound::Unbounded => 0,
                    };
                    iter.above.push(children[place + 1..].iter());
                    node = &children[place].1;
                }
                Node::Leaf(entries) => {
                    let place = match start {
                        Bound::Included(key) => entries.partition_point(|(there, _)| there < key),
                        Bound::Excluded(key) => entries.partition_point(|(there, _)| there <= key),
                        Bound::Unbounded => 0,
                    };
                    iter.entries = entries[place..].iter();
                    return iter;
                }
            }
        }
    }

    /// All entries in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.from(Bound::Unbounded)
    }
}

/// Which child a key is in, if it is there.
fn child_of<K: Ord, N>(children: &[(K, N)], key: &K) -> usize {
    children[1..].partition_point(|(there, _)| there <= key)
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    fn length(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(children) => children.len(),
        }
    }

    /// Whether the key is new; and, where the node became too wide, its right half with a key that parts the two.
    fn insert(&mut self, key: K, value: V) -> (bool, Option<(K, Arc<Self>)>) {
        match self {
            Self::Leaf(entries) => match entries.binary_search_by(|(there, _)| there.cmp(&key)) {
                Ok(place) => {
                    entries[place].1 = value;
                    (false, None)
                }
                Err(place) => {
                    let at_end = place == entries.len();
                    entries.insert(place, (key, value));
                    (true, split(entries, at_end).map(|(key, right)| (key, Arc::new(Self::Leaf(right)))))
                }
            },
            Self::Branch(children) => {
                let place = child_of(children, &key);
                let (is_new, new) = Arc::make_mut(&mut children[place].1).insert(key, value);
                let Some(new) = new else { return (is_new, None) };
                let at_end = place + 1 == children.len();
                children.insert(place + 1, new);
                (is_new, split(children, at_end).map(|(key, right)| (key, Arc::new(Self::Branch(right)))))
            }
        }
    }

    /// Takes out a key that is there.
    fn remove(&mut self, key: &K) {
        match self {
            Self::Leaf(entries) => {
                if let Ok(place) = entries.binary_search_by(|(there, _)| there.cmp(key)) {
                    entries.remove(place);
                }
            }
            Self::Branch(children) => {
                let place = child_of(children, key);
                let child = Arc::make_mut(&mut children[place].1);
                child.remove(key);
                match child.length() {
                    0 => drop(children.remove(place)),
                    length if length < NARROW => join(children, place),
                    _ => {}
                }
            }
        }
    }

    /// Takes in all of a node that stands right behind this one, under `separator`.
    fn append(&mut self, separator: K, right: Self) {
        match (self, right) {
            (Self::Leaf(entries), Self::Leaf(right)) => entries.extend(right),
            (Self::Branch(children), Self::Branch(right)) => {
                // What was first, and not looked at, is among others now.
                let mut keys = right.into_iter();
                children.extend(keys.next().map(|(_, node)| (separator, node)));
                children.extend(keys);
            }
            _ => unreachable!("two nodes beside each other are of one kind"),
        }
    }
}

/// Parts a list that has become too long. Where keys come in rising order the left part stays full.
fn split<K: Clone, T>(entries: &mut Vec<(K, T)>, at_end: bool) -> Option<(K, Vec<(K, T)>)> {
    if entries.len() <= WIDTH {
        return None;
    }
    let right = entries.split_off(if at_end { WIDTH } else { WIDTH / 2 });
    let separator = right.first()?.0.clone();
    Some((separator, right))
}

/// Joins a narrow child with the one before or behind it, if both together are not too wide.
fn join<K: Ord + Clone, V: Clone>(children: &mut Vec<Child<K, V>>, place: usize) {
    let left = if place > 0 { place - 1 } else { place };
    let Some((_, behind)) = children.get(left + 1) else { return };
    if children[left].1.length() + behind.length() > JOINED {
        return;
    }
    let (separator, right) = children.remove(left + 1);
    Arc::make_mut(&mut children[left].1).append(separator, Arc::unwrap_or_clone(right));
}

/// Entries in order. See [`Tree::from`].
pub(crate) struct Iter<'a, K, V> {
    /// What is left of the branches above, the root's first.
    above: Vec<std::slice::Iter<'a, Child<K, V>>>,
    entries: std::slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.entries.next() {
                return Some((key, value));
            }
            let Some((_, node)) = self.above.last_mut()?.next() else {
                self.above.pop();
                continue;
            };
            match &**node {
                Node::Leaf(entries) => self.entries = entries.iter(),
                Node::Branch(children) => self.above.push(children.iter()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<K: Ord + Clone + std::fmt::Debug, V: Clone> Tree<K, V> {
        /// Every node is as it should be.
        fn check(&self) {
            let Some(root) = &self.root else { return assert_eq!(self.size, 0) };
            assert!(root.length() > 1 || matches!(**root, Node::Leaf(_)), "a root with one child");
            let mut depths = Vec::new();
            assert_eq!(root.check(None, None, 0, &mut depths), self.size);
            assert!(depths.iter().all(|depth| *depth == depths[0]), "{depths:?}");
        }
    }

    impl<K: Ord + Clone + std::fmt::Debug, V: Clone> Node<K, V> {
        fn check(&self, from: Option<&K>, to: Option<&K>, depth: usize, depths: &mut Vec<usize>) -> usize {
            assert!((1..=WIDTH).contains(&self.length()), "{} entries", self.length());
            match self {
                Self::Leaf(entries) => {
                    depths.push(depth);
                    assert!(entries.is_sorted_by(|(one, _), (other, _)| one < other));
                    let within = |(key, _): &(K, V)| {
                        from.is_none_or(|from| from <= key) && to.is_none_or(|to| key < to)
                    };
                    assert!(entries.iter().all(within), "a key in the wrong leaf");
                    entries.len()
                }
                Self::Branch(children) => {
                    let bound = |place: usize| children.get(place).map(|(key, _)| key).filter(|_| place > 0);
                    let parts = children.iter().enumerate().map(|(place, (_, node))| {
                        let (from, to) = (bound(place).or(from), bound(place + 1).or(to));
                        node.check(from, to, depth + 1, depths)
                    });
                    parts.sum()
                }
            }
        }
    }

    fn entries(tree: &Tree<u16, u32>) -> Vec<(u16, u32)> {
        tree.iter().map(|(key, value)| (*key, *value)).collect()
    }

    proptest! {
        #[test]
        fn it_is_as_the_standard_map(
            steps in prop::collection::vec((0_u16..400, 0_u8..10), 0..1500),
            rising in any::<bool>(),
            looks in prop::collection::vec(0_u16..400, 10),
        ) {
            let (mut tree, mut model) = (Tree::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for (number, (key, what)) in (0_u32..).zip(steps) {
                // First more is put in, then more is taken out.
                let remove = what < if number < 700 { 3 } else { 8 };
                let key = if rising && !remove { u16::try_from(number % 400).unwrap() } else { key };
                if remove {
                    prop_assert_eq!(tree.remove(&key), model.remove(&key).is_some());
                } else {
                    tree.insert(key, number);
                    model.insert(key, number);
                }
                if number % 100 == 0 {
                    kept.push((tree.clone(), entries(&tree)));
                }
                prop_assert_eq!(tree.get(&key), model.get(&key));
                prop_assert_eq!(tree.size(), model.len());
            }
            tree.check();
            prop_assert_eq!(entries(&tree), model.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>());
            for key in looks {
                for start in [Bound::Included(&key), Bound::Excluded(&key)] {
                    let found: Vec<u16> = tree.from(start).map(|(key, _)| *key).collect();
                    let expected: Vec<u16> =
                        model.range::<u16, _>((start, Bound::Unbounded)).map(|(key, _)| *key).collect();
                    prop_assert_eq!(found, expected);
                }
            }
            for (old, then) in kept {
                prop_assert_eq!(entries(&old), then, "a clone stays as it was");
            }
        }
    }
}
