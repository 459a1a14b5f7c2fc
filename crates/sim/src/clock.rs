//! [`SimClock`]: the time of the runtime, which stands still while anyone has something to do.

use base::{Clock, Timestamp};
use tokio::time::Instant;

/// 2026-11-22T12:00:00Z: when every world begins.
pub const START: i64 = 1_795_348_800_000;

/// A clock over the paused time of the runtime that it is made in.
#[derive(Clone, Copy, Debug)]
pub struct SimClock(Instant);

impl SimClock {
    /// Begins at [`START`].
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the world began.
    pub fn elapsed_millis(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(START).plus_millis(i64::try_from(self.elapsed_millis()).unwrap_or(i64::MAX))
    }
}
