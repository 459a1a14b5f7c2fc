//! When a loop that follows changes looks at everything, whether changes come or not.

use std::time::Duration;

use tokio::time::Instant;

/// A moment that changes do not put off: one that was counted anew after each of them would never come while they come often.
#[derive(Debug)]
pub struct SlowScan {
    every: Duration,
    at: Instant,
}

impl SlowScan {
    /// The first one is due after `every`.
    pub fn new(every: Duration) -> Self {
        Self { every, at: Instant::now() + every }
    }

    /// When it is due.
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// Sees to it that it is due after so long, or sooner.
    pub fn within(&mut self, wait: Duration) {
        self.at = self.at.min(Instant::now() + wait);
    }

    /// Whether it is due. The next one is counted from then on.
    pub fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = now >= self.at;
        if is_due {
            self.at = now + self.every;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn changes_do_not_put_it_off() {
        let mut scan = SlowScan::new(Duration::from_secs(60));
        let mut due = Vec::new();
        for second in 1..=150 {
            // A change each second: the wait for the scan begins anew after each.
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = tokio::time::sleep_until(scan.at()) => {}
            }
            if scan.is_due() {
                due.push(second);
            }
        }
        assert_eq!(due, [60, 120]);
        scan.within(Duration::from_secs(2));
        scan.within(Duration::from_secs(90));
        tokio::time::sleep_until(scan.at()).await;
        assert!(scan.is_due() && !scan.is_due());
        assert_eq!(scan.at(), Instant::now() + Duration::from_secs(60));
    }
}
