//! From the shares of traffic that a service's revisions are to have to the weights of a listener rule's target groups.
//!
//! Source: AWS, "ForwardActionConfig" and "TargetGroupTuple" data types (weights from 0 to 999), "How Amazon ECS blue/green
//! deployments work".
//!
//! Vocabulary: a *share* is in tenths of a percent; several revisions may be in one target group, which then has the sum. A
//! group that is to have no requests yet stays in the rule with the weight 0, so that its targets are checked.

use std::collections::BTreeMap;

/// The greatest weight. Source: AWS, "TargetGroupTuple" data type.
const GREATEST: u32 = 999;

/// The weight of each target group, in the order of their ARNs; `None` where nobody has a share: then the rule stays as it is.
pub fn weights(shares: &BTreeMap<String, u32>) -> Option<Vec<(String, u32)>> {
    let all: u32 = shares.values().sum();
    if all == 0 {
        return None;
    }
    // In percent wherever that says the same, as AWS writes them; in tenths of a percent otherwise.
    let percent = shares.values().all(|share| share % 10 == 0);
    let weight = |share: u32| if percent { share / 10 } else { share.min(GREATEST) };
    Some(shares.iter().map(|(group, share)| (group.clone(), weight(*share))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(a: u32, b: u32) -> Option<Vec<u32>> {
        let shares = BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]);
        weights(&shares).map(|weights| weights.into_iter().map(|(_, weight)| weight).collect())
    }

    #[test]
    fn in_percent_where_that_is_the_same() {
        assert_eq!(of(1000, 0), Some(vec![100, 0]));
        assert_eq!(of(900, 100), Some(vec![90, 10]));
        assert_eq!(of(999, 1), Some(vec![999, 1]));
        assert_eq!(of(0, 0), None);
    }

    proptest! {
        /// The shares are what the weights come to, and no weight is one that a rule cannot have.
        #[test]
        fn laws(target in 0_u32..=1000) {
            let weights = of(target, 1000 - target).unwrap();
            let all: u32 = weights.iter().sum();
            prop_assert!(weights.iter().all(|weight| *weight <= GREATEST));
            prop_assert_eq!(weights[0] * 1000, target * all);
        }
    }
}
