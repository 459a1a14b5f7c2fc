//! The deployment circuit breaker: how failures are counted, and how many are too many.
//!
//! A failure is a task that could not be started, ended by itself, or was stopped for its health. In the consecutive
//! mode (`resetOnHealthyTask`) a task that settles sets the count back to zero; in the cumulative mode nothing does.
//! Source: AWS, "How the Amazon ECS deployment circuit breaker detects failures" and "ThresholdConfiguration".

use super::configuration::{CircuitBreaker, ThresholdType, percent_up};

/// The least threshold of BOUNDED_PERCENT.
pub const THRESHOLD_MINIMUM: i32 = 3;
/// The greatest threshold of BOUNDED_PERCENT.
pub const THRESHOLD_MAXIMUM: i32 = 200;

/// The number of failures that trips the breaker. It follows the service's latest desired count. Never less than one: a
/// deployment without failures does not fail.
pub fn threshold(breaker: &CircuitBreaker, desired_count: i32) -> u32 {
    let value = match breaker.threshold_type {
        ThresholdType::Count => breaker.threshold_value,
        ThresholdType::BoundedPercent => {
            percent_up(desired_count, breaker.threshold_value).clamp(THRESHOLD_MINIMUM, THRESHOLD_MAXIMUM)
        }
        ThresholdType::UnboundedPercent => percent_up(desired_count, breaker.threshold_value),
    };
    value.max(1).unsigned_abs()
}

/// The new count, from the old one, the failures since, and whether a task has settled since. Where both came together the
/// failures count: which came first is not known, and a reset that is too late is the safer error.
pub fn count(breaker: &CircuitBreaker, before: u32, failures: u32, a_task_settled: bool) -> u32 {
    let kept = if breaker.reset_on_healthy_task && a_task_settled { 0 } else { before };
    kept.saturating_add(failures)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn breaker(threshold_type: ThresholdType, threshold_value: i32) -> CircuitBreaker {
        CircuitBreaker { threshold_type, threshold_value, ..CircuitBreaker::default() }
    }

    #[test]
    fn f24_thresholds_as_documented() {
        let default = CircuitBreaker::default();
        let of_default = [0, 1, 2, 6, 7, 8, 25, 400, 401, 800].map(|desired| threshold(&default, desired));
        assert_eq!(of_default, [3, 3, 3, 3, 4, 4, 13, 200, 200, 200]);
        let unbounded = breaker(ThresholdType::UnboundedPercent, 50);
        assert_eq!([0, 1, 2, 3, 800].map(|desired| threshold(&unbounded, desired)), [1, 1, 1, 2, 400]);
        let count = breaker(ThresholdType::Count, 5);
        assert_eq!([0, 1, 1000].map(|desired| threshold(&count, desired)), [5, 5, 5]);
    }

    proptest! {
        #[test]
        fn the_bounds_hold(value in -10..1000i32, desired in -5..100_000i32) {
            let bounded = threshold(&breaker(ThresholdType::BoundedPercent, value), desired);
            prop_assert!((3..=200).contains(&bounded));
            let unbounded = threshold(&breaker(ThresholdType::UnboundedPercent, value), desired);
            prop_assert!(unbounded >= 1);
        }

        #[test]
        fn only_the_consecutive_mode_forgets(before in 0u32..1000, failures in 0u32..1000, settled: bool) {
            let consecutive = CircuitBreaker::default();
            let cumulative = CircuitBreaker { reset_on_healthy_task: false, ..consecutive };
            prop_assert_eq!(count(&cumulative, before, failures, settled), before + failures);
            let expected = if settled { failures } else { before + failures };
            prop_assert_eq!(count(&consecutive, before, failures, settled), expected);
        }
    }
}
