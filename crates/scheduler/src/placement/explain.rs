//! Why tasks would go where they would: every candidate with its refusal, or with what the strategies see in it.

use std::collections::BTreeMap;

use super::{Action, Candidate, Desired, Observed, Reason, STRATEGIES_MAXIMUM, Strategy, plain, refusal};

/// One candidate, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Index in [`Observed::candidates`].
    pub candidate: usize,
    /// Why it cannot take the first of the tasks.
    pub refusal: Option<Reason>,
    /// What each strategy in turn looks at, before the first task is placed; the least is the best.
    pub scores: Vec<(Strategy, i64)>,
    /// How many of the tasks it would get.
    pub tasks: usize,
}

/// Explains every candidate: those that fit first, best first, and then the refused ones.
pub fn explain(desired: &Desired<'_>, observed: &Observed<'_>) -> Vec<Explanation> {
    let mut tasks: BTreeMap<usize, usize> = BTreeMap::new();
    for Action::Place { candidate, .. } in
        super::decide(desired, observed, base::Timestamp::default()).actions
    {
        *tasks.entry(candidate).or_default() += 1;
    }
    let strategies: Vec<(&Strategy, BTreeMap<&str, usize>)> = desired
        .strategies
        .iter()
        .take(STRATEGIES_MAXIMUM)
        .take_while(|strategy| **strategy != Strategy::Random)
        .map(|strategy| (strategy, counts(desired, observed, strategy)))
        .collect();
    let mut explanations: Vec<Explanation> = observed
        .candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| Explanation {
            candidate: index,
            refusal: refusal(desired, candidate),
            scores: strategies
                .iter()
                .map(|(strategy, counts)| ((*strategy).clone(), score(strategy, counts, candidate)))
                .collect(),
            tasks: tasks.get(&index).copied().unwrap_or(0),
        })
        .collect();
    explanations.sort_by_cached_key(|one| {
        let scores: Vec<i64> = one.scores.iter().map(|(_, score)| *score).collect();
        (one.refusal.clone(), scores, one.candidate)
    });
    explanations
}

fn counts<'a>(
    desired: &Desired<'_>,
    observed: &'a Observed<'_>,
    strategy: &Strategy,
) -> BTreeMap<&'a str, usize> {
    match strategy {
        Strategy::Spread(attribute) => {
            plain::tasks_by_value(&observed.candidates, attribute.as_deref(), desired.group)
        }
        Strategy::Random | Strategy::BinpackCpu | Strategy::BinpackMemory => BTreeMap::new(),
    }
}

fn score(strategy: &Strategy, counts: &BTreeMap<&str, usize>, candidate: &Candidate<'_>) -> i64 {
    match strategy {
        Strategy::Random => 0,
        Strategy::Spread(attribute) => {
            let count = counts.get(plain::value_of(candidate, attribute.as_deref())).copied();
            i64::try_from(count.unwrap_or(0)).unwrap_or(i64::MAX)
        }
        Strategy::BinpackCpu => plain::remaining(candidate).cpu_units,
        Strategy::BinpackMemory => plain::remaining(candidate).memory_mib,
    }
}

#[cfg(test)]
mod tests {
    use domain::Resources;

    use super::super::tests::instance;
    use super::super::{Constraint, PlacedTask};
    use super::*;

    #[test]
    fn the_best_stand_first_and_the_refused_last() {
        let machines: Vec<_> =
            (0..4).map(|number| instance(number, 1000, 1000 + 100 * number as i64)).collect();
        let task = |group: &str| PlacedTask { group: group.to_owned(), running: true };
        let tasks = [vec![], vec![task("other")], vec![task("family:web"); 2], vec![task("other")]];
        let held = [0, 0, 0, 1200].map(|memory_mib| Resources { memory_mib, ..Resources::default() });
        let candidates = machines.iter().zip(tasks).zip(held);
        let candidates = candidates.map(|((container_instance, tasks), held)| Candidate {
            container_instance,
            held,
            tasks,
        });
        let observed = Observed { candidates: candidates.collect() };
        let zone = Strategy::Spread(Some("ecs.availability-zone".to_owned()));
        let strategies = [zone.clone(), Strategy::BinpackMemory];
        let resources = Resources { memory_mib: 200, ..Resources::default() };
        let desired = Desired {
            count: 3,
            group: "family:web",
            resources: &resources,
            gpus: 0,
            required_attributes: &[],
            constraints: &[Constraint::DistinctInstance],
            strategies: &strategies,
            availability_zones: None,
            seed: 1,
        };
        let explained = explain(&desired, &observed);
        let short: Vec<_> =
            explained.iter().map(|one| (one.candidate, one.refusal.clone(), one.tasks)).collect();
        assert_eq!(
            short,
            [
                (0, None, 1),
                (1, None, 1),
                (2, Some(Reason::DistinctInstance), 0),
                (3, Some(Reason::ResourceMemory), 0),
            ]
        );
        assert_eq!(explained[0].scores, [(zone.clone(), 0), (Strategy::BinpackMemory, 1000)]);
        assert_eq!(explained[2].scores, [(zone, 2), (Strategy::BinpackMemory, 1200)]);
    }
}
