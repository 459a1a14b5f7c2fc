//! [`Backoff`]: how long to wait before the next attempt.

use std::time::Duration;

use base::Ids;

/// Waits that grow by a factor up to a maximum, each made up to a fifth shorter or longer so that many clients do not move in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    maximum: Duration,
    factor: f64,
    next: Duration,
}

impl Backoff {
    /// Waits of `first`, `first * factor` … up to `maximum`.
    pub fn new(first: Duration, maximum: Duration, factor: f64) -> Self {
        Self { first, maximum, factor, next: first }
    }

    /// The next wait.
    pub fn next(&mut self, ids: &dyn Ids) -> Duration {
        let wait = self.next;
        self.next = wait.mul_f64(self.factor).min(self.maximum);
        let mut byte = [0];
        ids.fill(&mut byte);
        wait.mul_f64(0.8 + 0.4 * f64::from(byte[0]) / 255.0)
    }

    /// After a success: the next wait is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_and_start_anew() {
        let ids = base::SeededIds::new(1);
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_mins(2), 1.5);
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next(&ids)).collect();
        assert!(waits[0] >= Duration::from_millis(200) && waits[0] <= Duration::from_millis(300));
        assert!(waits[39] >= Duration::from_secs(96) && waits[39] <= Duration::from_secs(144));
        assert!(waits.windows(4).all(|four| four[3] > four[0] || four[0] > Duration::from_mins(1)));
        backoff.reset();
        assert!(backoff.next(&ids) <= Duration::from_millis(300));
    }
}
