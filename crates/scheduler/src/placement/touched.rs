//! [`Touched`]: numbers in the order in which something happened to them last.

/// No number.
const NONE: usize = usize::MAX;

/// Each number that was ever touched, once, in the order of its last touch. Everything takes the same time however many there
/// are, and whoever has seen a part reads the rest only: a number that was touched a hundred times since is one of it.
#[derive(Debug)]
pub(super) struct Touched {
    links: Vec<Link>,
    newest: usize,
    /// How many touches there were.
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    older: usize,
    newer: usize,
    /// Which touch was its last; 0 for none.
    last: u64,
}

impl Default for Touched {
    fn default() -> Self {
        Self { links: Vec::new(), newest: NONE, count: 0 }
    }
}

impl Touched {
    /// Something happened to a number.
    pub fn touch(&mut self, number: usize) {
        self.count += 1;
        if self.links.len() <= number {
            self.links.resize(number + 1, Link { older: NONE, newer: NONE, last: 0 });
        }
        let Link { older, newer, last } = self.links[number];
        self.links[number].last = self.count;
        if self.newest == number {
            return;
        }
        if last > 0 {
            self.links[newer].older = older;
            if let Some(link) = self.links.get_mut(older) {
                link.newer = newer;
            }
        }
        if let Some(link) = self.links.get_mut(self.newest) {
            link.newer = number;
        }
        self.links[number].older = self.newest;
        self.links[number].newer = NONE;
        self.newest = number;
    }

    /// How many touches there were: what a reader has seen who has read all.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The numbers that were touched after the first `seen` touches, each once, the newest first.
    pub fn since(&self, seen: u64) -> impl Iterator<Item = usize> {
        let first = Some(self.newest);
        let all = std::iter::successors(first, |number| self.links.get(*number).map(|link| link.older));
        all.take_while(move |number| self.links.get(*number).is_some_and(|link| link.last > seen))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_number_stands_once_by_its_last_touch(touches in prop::collection::vec(0_usize..6, 0..40), seen in 0_usize..45) {
            let mut touched = Touched::default();
            for number in &touches {
                touched.touch(*number);
            }
            prop_assert_eq!(touched.count(), touches.len() as u64);
            let mut expected: Vec<usize> = Vec::new();
            for number in touches.iter().skip(seen).rev() {
                if !expected.contains(number) {
                    expected.push(*number);
                }
            }
            prop_assert_eq!(touched.since(seen as u64).collect::<Vec<_>>(), expected);
        }
    }
}
