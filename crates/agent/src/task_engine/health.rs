//! Health checks: the state of one container's check, and what an outcome makes of it. Docker's rules: the first check comes an interval
//! after the start; one success makes it healthy at once; failures within the start period do not count.

use base::Timestamp;
use engine::ExecResult;

use super::decide::Verdict;
use super::plan::HealthCheckPlan;

/// Bytes of a check's output that are kept and reported.
const OUTPUT_BYTES_MAXIMUM: usize = 4096;

/// How a container's health stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The verdict.
    pub verdict: Verdict,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Exit code of the last check.
    pub exit_code: Option<i32>,
    /// Its output.
    pub output: String,
    /// Failures in a row that counted.
    failures: u32,
}

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran.
    Ran(ExecResult),
    /// It could not be run.
    Failed(String),
}

impl Health {
    /// What an earlier agent knew.
    pub fn known(healthy: Option<(bool, Timestamp)>) -> Self {
        let verdict = match healthy {
            Some((true, _)) => Verdict::Healthy,
            Some((false, _)) => Verdict::Unhealthy,
            None => Verdict::Unknown,
        };
        Self { verdict, since: healthy.map(|(_, since)| since), ..Self::default() }
    }

    /// What a later agent needs to know.
    pub fn to_keep(&self) -> Option<(bool, Timestamp)> {
        match self.verdict {
            Verdict::Unknown => None,
            verdict => Some((verdict == Verdict::Healthy, self.since?)),
        }
    }

    /// Takes in the outcome of a check. Returns whether the verdict changed.
    pub fn take(
        &mut self,
        outcome: Outcome,
        check: &HealthCheckPlan,
        started_at: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        let before = self.verdict;
        let passed = match outcome {
            Outcome::Ran(result) => {
                let timed_out = result.timed_out;
                self.exit_code = Some(if timed_out { -1 } else { result.exit_code });
                self.output = if timed_out {
                    format!("Health check exceeded timeout ({:?})", check.timeout)
                } else {
                    let kept = result.output.len().min(OUTPUT_BYTES_MAXIMUM);
                    String::from_utf8_lossy(result.output.get(..kept).unwrap_or_default()).into_owned()
                };
                !timed_out && result.exit_code == 0
            }
            Outcome::Failed(error) => {
                self.exit_code = Some(-1);
                self.output = error;
                false
            }
        };
        if passed {
            self.failures = 0;
            self.verdict = Verdict::Healthy;
        } else {
            let in_start_period = started_at.is_some_and(|started| {
                now.since_millis(started) < i64::try_from(check.start_period.as_millis()).unwrap_or(i64::MAX)
            });
            // Once it was healthy the start is over.
            if !in_start_period || before == Verdict::Healthy {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= check.retries {
                    self.verdict = Verdict::Unhealthy;
                }
            }
        }
        if self.verdict != before || self.since.is_none() {
            self.since = Some(now);
        }
        self.verdict != before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check() -> HealthCheckPlan {
        HealthCheckPlan {
            arguments: vec!["true".to_owned()],
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            retries: 2,
            start_period: Duration::from_secs(10),
        }
    }

    fn ran(exit_code: i32) -> Outcome {
        Outcome::Ran(ExecResult { exit_code, timed_out: false, output: b"out".to_vec() })
    }

    #[test]
    fn failures_in_a_row_after_the_start_period_make_it_unhealthy() {
        let started = Some(Timestamp::from_millis(0));
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut health = Health::default();
        for seconds in [1, 5, 9] {
            assert!(!health.take(ran(1), &check(), started, at(seconds)));
        }
        assert_eq!(health.verdict, Verdict::Unknown);
        assert!(!health.take(ran(1), &check(), started, at(10)));
        assert!(health.take(Outcome::Failed("no shell".to_owned()), &check(), started, at(15)));
        assert_eq!((health.verdict, health.since), (Verdict::Unhealthy, Some(at(15))));
        assert_eq!((health.exit_code, health.output.as_str()), (Some(-1), "no shell"));
        assert!(health.take(ran(0), &check(), started, at(20)));
        assert_eq!((health.verdict, health.output.as_str()), (Verdict::Healthy, "out"));
    }

    #[test]
    fn once_healthy_the_start_period_is_over_and_a_timeout_is_a_failure() {
        let started = Some(Timestamp::from_millis(0));
        let mut health = Health::default();
        assert!(health.take(ran(0), &check(), started, Timestamp::from_millis(1)));
        let late = || Outcome::Ran(ExecResult { exit_code: 0, timed_out: true, output: Vec::new() });
        assert!(!health.take(late(), &check(), started, Timestamp::from_millis(2)));
        assert!(health.take(late(), &check(), started, Timestamp::from_millis(3)));
        assert_eq!(health.verdict, Verdict::Unhealthy);
        assert!(health.output.contains("exceeded timeout"));
    }
}
